"""Runs of consecutive numbers, many at once and without a Python loop.

In: how long each run is, and where it starts. Out: one flat array. This file does not know what is
numbered.
"""

import numpy as np


def within(counts: np.ndarray) -> np.ndarray:
    """Places from 0 inside each group, one group after the other: (2, 0, 3) -> 0, 1, 0, 1, 2."""
    counts = np.asarray(counts, dtype=np.int64)
    ends = np.cumsum(counts)  # where each group ends in the flat array
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def ranges(start: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``start[i], start[i] + 1, ...``, ``counts[i]`` of them, one range after the other."""
    return np.repeat(start, counts) + within(counts)
