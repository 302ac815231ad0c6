"""Who competes with the target: the whole catalogue, 99 random items, or 99 items that BM25 likes.

In: target events and the log they stand in. Out: candidate lists (B, 1 + num_negatives), the target
in column 0, then -1 where the catalogue has too few other items. This file scores nothing. Names:
``full``, ``random-99``, ``bm25-99``; the suffix ``/all-relevant`` says that every relevant item
counts as an answer, not only the clicked one. Sampled candidates flatter every system and can
change their order (Krichene & Rendle 2020), so they are only ever shown beside ``full``.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from gensar_lite.data import Seen

FULL = "full"
ALL_RELEVANT = "full/all-relevant"


def sample_targets(targets: pd.DataFrame, max_sampled: int, seed: int) -> pd.DataFrame:
    """At most `max_sampled` rows of `targets`, drawn without replacement, in their old order."""
    if len(targets) <= max_sampled:
        return targets
    # which are drawn depends on the number of targets and the seed alone: all systems share them
    chosen = np.random.default_rng(seed).choice(len(targets), max_sampled, replace=False)
    return targets.iloc[np.sort(chosen)]


def random_candidates(
    targets: pd.DataFrame, seen: Seen | None, num_items: int, num_negatives: int = 99, seed: int = 0
) -> np.ndarray:
    """The target and random items that are neither it nor, with `seen`, in the user's history."""
    everything, nothing = np.arange(num_items), np.zeros(0, dtype=np.int64)

    def choice(event: int) -> tuple[np.ndarray, np.ndarray]:
        return nothing, np.delete(everything, seen.of(event)) if seen else everything

    return _candidates(targets, map(choice, targets["event_id"]), num_negatives, seed)


def bm25_candidates(
    targets: pd.DataFrame, scores: np.ndarray, num_negatives: int = 99, seed: int = 0
) -> np.ndarray:
    """The target and the items that BM25 ranks highest for the query, ties by id.

    `scores` (B, N) come from the BM25 baseline, ``-inf`` where no word matches; random items fill
    up where fewer match. These negatives hold relevant items: that is the protocol's known fault,
    and why ``full`` stands beside it.
    """

    def choice(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        best_first = np.argsort(-row, kind="stable")[: np.isfinite(row).sum()]
        return best_first, np.flatnonzero(np.isneginf(row))

    return _candidates(targets, map(choice, scores), num_negatives, seed)


def _candidates(
    targets: pd.DataFrame,
    choices: Iterable[tuple[np.ndarray, np.ndarray]],
    num_negatives: int,
    seed: int,
) -> np.ndarray:
    """For each target the first items of its choice, then random ones of the choice's pool.

    A draw depends on (seed, event id) alone, so any subset of events in any order gets the same.
    """
    table = np.full((len(targets), 1 + num_negatives), -1, dtype=np.int64)
    pairs = zip(targets["event_id"], targets["item_id"], strict=True)
    for row, (event, target), (first, pool) in zip(table, pairs, choices, strict=True):
        first, pool = first[first != target][:num_negatives], pool[pool != target]
        missing = min(num_negatives - len(first), len(pool))
        rng = np.random.default_rng((seed, event))
        more = rng.choice(pool, missing, replace=False) if missing else pool[:0]
        chosen = np.r_[target, first, more]
        row[: len(chosen)] = chosen
    return table
