"""The parameters of the systems that count, chosen on validation targets by full ranking.

In: a corpus. Out: the best scorer of each system and what was chosen. A choice costs seconds; test
events are never read. This file does not know how anything is counted (counts.py).
"""

from collections.abc import Iterable, Iterator
from itertools import product
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


def _transitions(corpus: Corpus) -> Grid:
    past, share = counts.Past(corpus), counts.popularity_share(corpus)
    for back, decay in REACHES:
        followers = counts.transition_counts(corpus, back, decay)  # costly: once per reach
        for prior in PRIORS:
            names = {"back": back, "decay": decay, "prior": prior}
            yield names, counts.Transitions(past, followers, share, **names)


def _item_knn(corpus: Corpus) -> Grid:
    past, share = counts.Past(corpus), counts.popularity_share(corpus)
    # where seen items are left out anyway, what they add to themselves is never seen
    repeats = (0.0,) if corpus.exclude_seen else (0.0, 1.0)
    similarities = counts.neighbours(corpus, SHRINKAGES)  # one pass over the log for all
    for shrinkage, similarity in zip(SHRINKAGES, similarities, strict=True):
        for decay, repeat in product(DECAYS, repeats):
            names = {"shrinkage": shrinkage, "decay": decay, "repeat": repeat}
            yield names, counts.ItemKNN(past, similarity, share, decay, repeat)


def _query_clicks(corpus: Corpus) -> Grid:
    for scorer in counts.query_clicks(corpus, CLICK_PRIORS):
        yield {"prior": scorer.prior}, scorer


GRIDS = {  # of each system its task and its choices
    "transitions": ("recommend", _transitions),
    "item-knn": ("recommend", _item_knn),
    "query-clicks": ("search", _query_clicks),
}


def tune(corpus: Corpus, system: str, seed: int = 0) -> Tuned:
    """The `best_of` a system's grid."""
    task, grid = GRIDS[system]
    return best_of(corpus, task, grid(corpus), seed)


def best_of(
    corpus: Corpus, task: str, choices: Iterable[tuple[dict[str, float], Scorer]], seed: int = 0
) -> Tuned:
    """The first of the best by NDCG@10 on at most `MAX_TARGETS` validation targets; the first of
    all where there is no target."""
    targets = sample_targets(corpus.targets("validation", task), MAX_TARGETS, seed)
    judge = FullRanking(corpus, targets, batch=256)
    best, count = None, 0
    for names, scorer in choices:  # one in memory at a time, and the best
        value = judge(scorer)["ndcg@10"] if len(targets) else 0.0
        count += 1
        if best is None or value > best[0]:
            best = value, names, scorer
    value, names, scorer = best
    figures = {"validation_ndcg@10": round(value, 4), "targets": len(targets), "choices": count}
    return Tuned(scorer, names | figures)


def counting_systems(
    corpus: Corpus, targets: dict[str, pd.DataFrame], seed: int = 0
) -> dict[str, dict[str, Tuned]]:
    """``task -> system -> Tuned`` for the tasks of `targets`. Without `query-clicks` where no
    target's query string occurs in train: it would be popularity by another name."""
    systems: dict[str, dict[str, Tuned]] = {task: {} for task in targets}
    for system, (task, _) in GRIDS.items():
        if task in targets:
            systems[task][system] = tune(corpus, system, seed)
    clicks = systems.get("search", {}).get("query-clicks")
    if clicks and not clicks.scorer.knows(targets["search"]).any():
        del systems["search"]["query-clicks"]
    return systems
