"""Bayes' rule for search: a recommender times the words of the query. No search trains it.

    score(i) = history    * log P(i | history)    the recommender's scores, log-softmax over items
             + popularity * log P(i)              its share of train events, smoothed by one
             + likelihood * log P(query | i)      words of its text (Zhai and Lafferty 2004), mu

In: a corpus, a recommender that scores the catalogue. Out: a scorer of searches, its weights and mu
chosen on validation searches. A search is answered from its strictly earlier history, as the
recommender does it; test events are never read. This file knows no generative model: it is what
``joint+channel`` must beat, the same words without one.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import torch

from gensar_lite.artifacts import Corpus
from gensar_lite.decoding.likelihood import QueryLikelihood, WordCounts
from gensar_lite.decoding.weights import log_popularity
from gensar_lite.evaluation.baselines import Scorer
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.evaluation.tuning import MAX_TARGETS, Tuned
from gensar_lite.metrics import ndcg_at

# the first of each is taken where nothing tells choices apart; only ratios of weights rank, so the
# likelihood's is 1
MUS = (2.0, 0.5, 5.0, 10.0, 30.0)  # words of the whole catalogue that smooth an item's own
HISTORY = (0.7, 0.0, 0.3, 0.5, 1.0, 2.0, 5.0, 20.0, 50.0)
POPULARITY = (0.3, 0.0, 0.6, 1.0)
_BATCH = 128  # validation targets that are ranked together: their tables stay in a CPU's cache


def bayes_name(recommender: str) -> str:
    """What tables call the system: ``sasrec x likelihood`` for ``sasrec-ce``."""
    return f"{recommender.partition('-')[0]} x likelihood"


@dataclass(frozen=True)
class Bayes:
    """Search only: the sum at the top of this file, the weight of the likelihood being 1.

    The scores of SVD are no logits: their log-softmax is no probability that anything was fitted
    to. It differs from the scores by one number per target, though, so ``history`` is what a
    temperature would be, and its grid reaches far enough for their small range.
    """

    ranker: Scorer
    texts: np.ndarray  # (Q,) query strings
    words: QueryLikelihood
    prior: np.ndarray  # (N,) log popularity
    history: float
    popularity: float

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        total = np.float32(self.history) * log_softmax(self.ranker.scores(targets))  # (B, N)
        # a string that several targets ask is looked up once
        total += self.words.log_probability(self.texts[targets["query_id"].to_numpy()])
        total += np.float32(self.popularity) * self.prior
        return total


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """log of the softmax over each row of `scores` (B, N), float32."""
    return torch.log_softmax(torch.as_tensor(scores, dtype=torch.float32), dim=1).numpy()


def tune_bayes(corpus: Corpus, ranker: Scorer, seed: int = 0) -> Tuned:
    """The first of the best by NDCG@10 of full ranking on validation searches; the first of all
    where there is none."""
    targets = sample_targets(corpus.targets("validation", "search"), MAX_TARGETS, seed)
    counts, prior = WordCounts.of(corpus), log_popularity(corpus)
    words = {mu: QueryLikelihood(counts, mu) for mu in MUS}
    texts = corpus.queries["text"].to_numpy()
    ranks = _ranks(targets, ranker, texts, words, prior)
    known = len(targets) > 0  # else all choices are level
    values = {c: float(ndcg_at(rank, 10).mean()) if known else 0.0 for c, rank in ranks.items()}
    mu, history, popularity = best = max(values, key=values.get)
    record = {"history": history, "popularity": popularity, "likelihood": 1.0, "mu": mu}
    record["validation_ndcg@10"] = round(values[best], 4)
    record |= {"targets": len(targets), "choices": len(values)}
    return Tuned(Bayes(ranker, texts, words[mu], prior, history, popularity), record)


def _ranks(
    targets: pd.DataFrame,
    ranker: Scorer,
    texts: np.ndarray,
    words: dict[float, QueryLikelihood],
    prior: np.ndarray,
) -> dict[tuple[float, float, float], np.ndarray]:
    """The rank of each target (T,) under each ``mu, history, popularity``, from 1, ties counted
    against it."""
    ranks = {c: np.zeros(len(targets), dtype=np.int64) for c in product(MUS, HISTORY, POPULARITY)}
    # costly parts once per batch, whatever the number of choices: the recommender, then the words
    for low in range(0, len(targets), _BATCH):
        part = targets.iloc[low : low + _BATCH]
        rows, item = np.arange(len(part)), part["item_id"].to_numpy()
        preferred = log_softmax(ranker.scores(part))  # (b, N)
        for mu, likelihood in words.items():
            likely = likelihood.log_probability(texts[part["query_id"].to_numpy()])  # (b, N)
            for history, popularity in product(HISTORY, POPULARITY):
                total = np.float32(history) * preferred
                total += likely
                total += np.float32(popularity) * prior
                rank = (total >= total[rows, item][:, None]).sum(axis=1)
                ranks[mu, history, popularity][low : low + _BATCH] = rank
    return ranks
