"""How sure a mean over queries is: the percentile bootstrap.

In: one value a query. Out: intervals. Queries are drawn with replacement, the mean is taken each time, and the
middle `confidence` of those means is the interval (Efron & Tibshirani 1993, ch. 13). It speaks of other queries
like these; it does not know, and cannot tell, how much a model would change with another training seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_CHUNK = 4_000_000  # numbers drawn at once, to bound memory


class Interval(NamedTuple):
    """A mean with the ends of its interval; ``low <= high``."""

    value: float
    low: float
    high: float


def bootstrap_means(values: np.ndarray, num_bootstrap: int, seed: int) -> np.ndarray:
    """Means of resampled queries: `values` (n, m), m series over the same queries -> (num_bootstrap, m).

    All series share each draw of queries, so differences of columns are paired. The same seed and n give the same
    draws. Raises `ValueError` when there is no query or a value is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(f"bootstrap: expected values of shape (queries, series) with a query, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("bootstrap: a value is NaN or infinite; every query needs a number, 0 if it has no answer")
    n, rng = len(values), np.random.default_rng(seed)
    means = np.empty((num_bootstrap, values.shape[1]))
    step = max(1, _CHUNK // n)
    for first in range(0, num_bootstrap, step):
        size = min(step, num_bootstrap - first)
        drawn = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)  # how often each query was drawn
        means[first : first + size] = times.astype(np.float64) @ values / n
    return means


def bootstrap_intervals(
    values: np.ndarray, num_bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0
) -> list[Interval]:
    """One `Interval` a column of `values` (n, m)."""
    tail = (1 - confidence) / 2
    means = bootstrap_means(values, num_bootstrap, seed)
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return [Interval(*map(float, row)) for row in zip(np.mean(values, axis=0), low, high, strict=True)]


def bootstrap_interval(
    values: np.ndarray, num_bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The `Interval` of the mean of `values` (n,)."""
    return bootstrap_intervals(np.asarray(values)[:, None], num_bootstrap, confidence, seed)[0]


def paired_difference(
    first: np.ndarray, second: np.ndarray, num_bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The `Interval` of mean(first - second), both (n,) over the same queries in the same order.

    An interval that does not hold 0 says that the systems differ on queries like these.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ValueError(f"paired difference: shapes differ, {first.shape} and {second.shape}; pair by event_id first")
    return bootstrap_interval(first - second, num_bootstrap, confidence, seed)
