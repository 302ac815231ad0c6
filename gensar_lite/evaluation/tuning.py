"""The parameters of the systems that count, chosen on validation targets by full ranking.

In: a corpus. Out: the best scorer of each system and what was chosen. The grids are small and stand
here; a choice costs seconds. Test events are never read. This file does not know how anything is
counted (counts.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.embeddings.judge import FullRanking
from gensar_lite.evaluation import counts
from gensar_lite.evaluation.baselines import Scorer
from gensar_lite.evaluation.protocols import sample_targets

MAX_TARGETS = 1000  # validation targets that a choice is made by, a fixed sample
REACHES = ((1, 1.0), (3, 0.5), (5, 0.7))  # transitions: steps back and decay per step
PRIORS = (1.0, 10.0, 100.0)  # transitions: pseudo-counts that follow popularity
SHRINKAGES = (0.0, 10.0, 100.0)  # item-knn
DECAYS = (1.0, 0.9, 0.7, 0.5)  # item-knn, per time step
CLICK_PRIORS = (0.1, 1.0, 10.0, 100.0)  # query-clicks: pseudo-counts that follow popularity

Grid = Iterator[tuple[dict[str, float], Scorer]]  # parameters and the scorer that has them


class Tuned(NamedTuple):
    """A system's best scorer and a record of the choice: parameters, ``validation_ndcg@10``,
    targets, choices."""

    scorer: Scorer
    record: dict[str, float]


def tune_transitions(corpus: Corpus, seed: int = 0) -> Tuned:
    """`transitions`: reach and prior."""
    past, share = counts.Past(corpus), counts.popularity_share(corpus)

    def grid() -> Grid:
        for back, decay in REACHES:
            followers = counts.transition_counts(corpus, back, decay)  # costly: once per reach
            for prior in PRIORS:
                names = {"back": back, "decay": decay, "prior": prior}
                yield names, counts.Transitions(past, followers, share, **names)

    return _best(grid(), corpus, "recommend", seed)


def tune_item_knn(corpus: Corpus, seed: int = 0) -> Tuned:
    """`item-knn`: shrinkage, decay, and whether an item speaks for itself where seen items stay
    candidates."""
    past, share = counts.Past(corpus), counts.popularity_share(corpus)
    # where seen items are left out anyway, what they add to themselves is never seen
    repeats = (0.0,) if corpus.exclude_seen else (0.0, 1.0)

    def grid() -> Grid:
        similarities = counts.neighbours(corpus, SHRINKAGES)  # one pass over the log for all
        for shrinkage, similarity in zip(SHRINKAGES, similarities, strict=True):
            for decay in DECAYS:
                for repeat in repeats:
                    names = {"shrinkage": shrinkage, "decay": decay, "repeat": repeat}
                    yield names, counts.ItemKNN(past, similarity, share, decay, repeat)

    return _best(grid(), corpus, "recommend", seed)


def tune_query_clicks(corpus: Corpus, seed: int = 0) -> Tuned:
    """`query-clicks`: the prior."""
    scorers = counts.query_clicks(corpus, CLICK_PRIORS)
    grid = (({"prior": scorer.prior}, scorer) for scorer in scorers)
    return _best(grid, corpus, "search", seed)


def counting_systems(
    corpus: Corpus, targets: dict[str, pd.DataFrame], seed: int = 0
) -> dict[str, dict[str, Tuned]]:
    """``task -> system -> Tuned`` for the tasks of `targets`.

    Without `query-clicks` where no target's query string occurs in train: it would be popularity by
    another name.
    """
    systems: dict[str, dict[str, Tuned]] = {task: {} for task in targets}
    if "recommend" in targets:
        systems["recommend"]["transitions"] = tune_transitions(corpus, seed)
        systems["recommend"]["item-knn"] = tune_item_knn(corpus, seed)
    if "search" in targets:
        clicks = tune_query_clicks(corpus, seed)
        if clicks.scorer.knows(targets["search"]).any():
            systems["search"]["query-clicks"] = clicks
    return systems


def _best(grid: Grid, corpus: Corpus, task: str, seed: int) -> Tuned:
    """The first of the best by NDCG@10; the first of all where there is no validation target."""
    targets = sample_targets(corpus.targets("validation", task), MAX_TARGETS, seed)
    judge = FullRanking(corpus, targets, batch=256)
    best, choices = None, 0
    for names, scorer in grid:  # one scorer in memory at a time, and the best
        value = judge(scorer)["ndcg@10"] if len(targets) else 0.0
        choices += 1
        if best is None or value > best[0]:
            best = value, names, scorer
    value, names, scorer = best
    figures = {"validation_ndcg@10": round(value, 4), "targets": len(targets), "choices": choices}
    return Tuned(scorer, names | figures)
