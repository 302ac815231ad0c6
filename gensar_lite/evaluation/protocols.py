"""Who competes with the target: the whole catalogue, 99 random items, or 99 items that BM25 likes.

In: target events and the log they stand in. Out: candidate lists (B, 1 + num_negatives), the target
in column 0. This file scores nothing. Names: ``full``, ``random-99``, ``bm25-99``; the suffix
``/all-relevant`` says that every relevant item counts as an answer, without it only the clicked one
does. Sampled candidates flatter every system and can change their order (Krichene & Rendle 2020),
so they are only ever shown beside ``full``.
"""

from __future__ import annotations

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
    """The target and `num_negatives` random items that are neither it nor, with `seen`, in the
    user's history.

    Returns (B, 1 + num_negatives), padded with -1 when the catalogue has too few other items. An
    event's draw depends on (seed, event id) alone, so any subset of events in any order gets the
    same candidates.
    """
    table = np.full((len(targets), 1 + num_negatives), -1, dtype=np.int64)
    first = np.zeros(0, dtype=np.int64)  # nobody is chosen before the draw
    pairs = zip(targets["event_id"], targets["item_id"], strict=True)
    for row, (event, target) in enumerate(pairs):
        allowed = np.ones(num_items, dtype=bool)
        if seen is not None:
            allowed[seen.of(event)] = False
        allowed[target] = False
        _fill(table[row], target, first, np.flatnonzero(allowed), (seed, event))
    return table


def bm25_candidates(
    targets: pd.DataFrame, scores: np.ndarray, num_negatives: int = 99, seed: int = 0
) -> np.ndarray:
    """The target and the `num_negatives` other items that BM25 ranks highest for the query.

    `scores` (B, N) come from the BM25 baseline, ``-inf`` where no word matches; ties by item id.
    Where fewer items match, random other items fill up (seeded by event). These negatives hold
    relevant items: that is the protocol's known fault, and why ``full`` stands beside it.
    """
    table = np.full((len(targets), 1 + num_negatives), -1, dtype=np.int64)
    pairs = zip(targets["event_id"], targets["item_id"], strict=True)
    for row, (event, target) in enumerate(pairs):
        # best first; what matches no word stands at the end and is drawn from
        order = np.argsort(-scores[row], kind="stable")
        order = order[order != target]
        matches = np.isfinite(scores[row][order])
        _fill(table[row], target, order[matches], np.sort(order[~matches]), (seed, event))
    return table


def _fill(
    row: np.ndarray, target: int, first: np.ndarray, pool: np.ndarray, seed: tuple[int, int]
) -> None:
    """Write the target, then `first`, then random items of `pool` into `row`, as far as there are
    any."""
    first = first[: len(row) - 1]  # one place is the target's
    missing = min(len(row) - 1 - len(first), len(pool))
    more = np.random.default_rng(seed).choice(pool, missing, replace=False) if missing else pool[:0]
    chosen = np.r_[target, first, more]
    row[: len(chosen)] = chosen
