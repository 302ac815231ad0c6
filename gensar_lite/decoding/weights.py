"""Weights of the parts of a search score, chosen on validation searches.

In: a `Decoder` of a trained model, its corpus. Out: `Weights`, for strings that training has
searched and for all others: a model knows the former by heart, and is a stranger to the latter.
Each target is ranked among what any part alone ranks high, and among these every combination of a
small grid is tried. Test events are never read.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.data.histories import train_counts
from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.likelihood import QueryLikelihood, WordCounts
from gensar_lite.decoding.parts import Weights
from gensar_lite.metrics import ndcg_at

SMOOTHING = 2.0  # mu of the likelihood, in words
MAX_TARGETS = 300  # validation searches per group that a choice is made by ...
MAX_TREE_TARGETS = 2000  # ... and of a tree, which scores a catalogue at once, ...
MAX_SCORES = 50_000_000  # ... as long as their scores fit in memory
MIN_TARGETS = 50  # a smaller group takes the other one's weights, or those of all
DEEP = 50  # items that each part brings among the candidates
GRID = Weights(
    history=(0.0, 0.3, 0.6, 1.0, 2.0, 4.0),
    likelihood=(0.0, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0),
    popularity=(0.0, 0.3, 0.6, 1.0, 1.5, 2.0),
)


class Fitted(NamedTuple):
    """The weights of one group of searches, and what they reached on validation candidates.

    ndcg         of the weights, NDCG@10 among candidates; `ndcg_without` of the model alone
    num_targets  validation searches that they were chosen by
    """

    weights: Weights
    ndcg: float
    ndcg_without: float
    num_targets: int


class Known(NamedTuple):
    """What is known of items and queries without the model; its words are counted once.

    words  the likelihood of a query; prior (N,) log popularity; seen (Q,) whether a train
           search has the query's string
    """

    words: QueryLikelihood
    prior: np.ndarray
    seen: np.ndarray

    @staticmethod
    def of(corpus: Corpus) -> "Known":
        """Of a corpus: items' texts and train events."""
        words = QueryLikelihood(WordCounts.of(corpus), SMOOTHING)
        return Known(words, log_popularity(corpus), corpus.queries["seen"].to_numpy())


def log_popularity(corpus: Corpus) -> np.ndarray:
    """(N,) log of each item's share of train events, one more counted for all."""
    counts = 1.0 + train_counts(corpus)
    return np.log(counts / counts.sum()).astype(np.float32)


def fit_weights(decoder: Decoder, seed: int = 0, known: Known | None = None) -> dict[str, Fitted]:
    """``{"seen": ..., "unseen": ...}``; empty where validation has no search. `known` is made
    here where nobody hands it on."""
    corpus = decoder.generator.corpus
    targets = corpus.targets("validation", "search")
    if targets.empty:
        return {}
    known = known or Known.of(corpus)
    seen = known.seen[targets["query_id"]]
    groups = {"seen": targets[seen], "unseen": targets[~seen]}
    rng = np.random.default_rng(seed)
    most = MAX_TARGETS
    if decoder.is_tree:
        most = max(most, min(MAX_TREE_TARGETS, MAX_SCORES // corpus.num_items))
    fitted = {}
    for name, pool in groups.items():
        if len(pool) >= MIN_TARGETS:
            chosen = np.sort(rng.permutation(len(pool))[:most])
            fitted[name] = _best(*part_scores(decoder, pool.iloc[chosen], known))
    if not fitted:
        chosen = np.sort(rng.permutation(len(targets))[:most])
        fitted["all"] = _best(*part_scores(decoder, targets.iloc[chosen], known))
    # a group that is too small takes the weights of the other, or of all
    return {name: fitted.get(name) or next(iter(fitted.values())) for name in groups}


def part_scores(
    decoder: Decoder, targets: pd.DataFrame, known: Known
) -> tuple[np.ndarray, Weights]:
    """Log-probabilities of the model (B, C), and of every other part, for candidates of B search
    targets: the target in column 0, -inf where a place is empty."""
    corpus = decoder.generator.corpus
    texts = corpus.queries["text"].to_numpy()[targets["query_id"]]
    words = known.words.log_probability(texts)  # (B, N)
    rows = targets["event_id"].to_numpy()
    lists = [targets["item_id"].to_numpy()[:, None], np.argsort(-words, axis=1)[:, :DEEP]]
    for task in ("search", "recommend"):
        lists.append(_lists(decoder, task, rows))
    candidates = np.concatenate(lists, axis=1)
    # an item that two parts bring is a candidate once
    first = np.sort(candidates[:, 1:], axis=1)
    repeat = np.diff(first, axis=1, prepend=-2) == 0
    first[repeat | (first == candidates[:, :1])] = -1
    candidates = np.concatenate([candidates[:, :1], first], axis=1)  # (B, C)
    items = np.maximum(candidates, 0)
    model = decoder.score_candidates(targets, items, 16)
    history = decoder.score_candidates(targets.assign(task="recommend"), items, 16)
    model[candidates < 0] = -np.inf
    return model, Weights(history, np.take_along_axis(words, items, axis=1), known.prior[items])


def _lists(decoder: Decoder, task: str, rows: np.ndarray) -> np.ndarray:
    """(B, DEEP) what the model answers to a task alone, -1 where there is no more."""
    items = np.full((len(rows), DEEP), -1)
    for part in decoder.batches(task, np.arange(len(rows)), rows, 64):
        ranking = decoder.search(task, rows[part], DEEP)
        items[part, : ranking.items.shape[1]] = ranking.items
    return items


def _best(model: np.ndarray, parts: Weights) -> Fitted:
    """The first of the best combinations of the grid by NDCG@10 of column 0."""

    def ndcg(weights: Weights) -> float:
        total = model + sum(weight * part for weight, part in zip(weights, parts, strict=True))
        rank = (total >= total[:, :1]).sum(axis=1)  # ties count against the target
        return float(ndcg_at(rank, 10).mean())

    values = {weights: ndcg(weights) for weights in map(Weights._make, product(*GRID))}
    best = max(values, key=values.get)
    return Fitted(best, values[best], values[Weights()], len(model))
