"""The system ``joint+channel``: the joint model's search, times the likelihood of the query.

In: a trained `Decoder`, weights that were fitted on validation searches or are given. Out: a run
of exact lists, and scores of given candidates. Strings that training has searched have weights of
their own. This file knows no metric and no test answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from gensar_lite.config import DecodingConfig
from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.likelihood import QueryLikelihood
from gensar_lite.decoding.parts import Weights, search_sum
from gensar_lite.decoding.paths import Ranking
from gensar_lite.decoding.weights import Known
from gensar_lite.machine.processes import my_share

SYSTEM = "joint+channel"


@dataclass(frozen=True)
class Channel:
    """What a search score needs besides the model.

    weights  by group of queries: seen, unseen
    """

    decoder: Decoder
    weights: dict[str, Weights]
    words: QueryLikelihood
    prior: np.ndarray  # (N,) log popularity
    seen: np.ndarray  # (Q,)

    @classmethod
    def of(cls, decoder: Decoder, weights: dict[str, Weights], known: Known | None = None) -> Self:
        """`known` is made here where nobody hands it on."""
        return cls(decoder, weights, *(known or Known.of(decoder.generator.corpus)))

    def known(self, targets: pd.DataFrame, weights: Weights) -> np.ndarray:
        """(B, N) what is known of every item without the model."""
        texts = self.decoder.generator.corpus.queries["text"].to_numpy()[targets["query_id"]]
        likelihood = weights.likelihood * self.words.log_probability(texts)
        return (likelihood + weights.popularity * self.prior).astype(np.float32)

    def rank(
        self, targets: pd.DataFrame, settings: DecodingConfig, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[np.ndarray, Ranking]]:
        """Event ids (b,) and the exact list of each, batch by batch, of search targets; with
        `world` processes those of this one's `rank`."""
        batches = my_share(list(self._batches(targets, settings.batch_size)), rank, world)
        for weights, part in tqdm(batches, desc=SYSTEM, unit="batch", disable=rank > 0):
            rows = part["event_id"].to_numpy()
            question = self.decoder.question("search", rows)
            history = self.decoder.question("recommend", rows) if weights.history else None
            known = self.known(part, weights)
            beams, k = settings.num_beams, settings.top_k
            yield (
                rows,
                search_sum(self.decoder, question, known, history, weights.history, beams, k),
            )

    def score_candidates(
        self, targets: pd.DataFrame, candidates: np.ndarray, batch_size: int = 64
    ) -> np.ndarray:
        """Sums (B, C) of candidate items (B, C)."""
        scores = np.zeros(candidates.shape, dtype=np.float32)
        targets = targets.assign(place=np.arange(len(targets)))
        for weights, part in self._batches(targets, batch_size):
            place, rows = part["place"].to_numpy(), part["event_id"].to_numpy()
            items = candidates[place]
            total = np.take_along_axis(self.known(part, weights), items, axis=1)
            total += self.decoder.score_rows("search", rows, items)
            if weights.history:
                total += weights.history * self.decoder.score_rows("recommend", rows, items)
            scores[place] = total
        return scores

    def _batches(
        self, targets: pd.DataFrame, batch_size: int
    ) -> Iterator[tuple[Weights, pd.DataFrame]]:
        """Targets of one group and of like source length."""
        seen = self.seen[targets["query_id"]]
        rows = targets["event_id"].to_numpy()
        for name, group in (("seen", seen), ("unseen", ~seen)):
            places = np.flatnonzero(group)
            for part in self.decoder.batches("search", places, rows, batch_size):
                yield self.weights[name], targets.iloc[part]
