"""How sure a mean over queries is: the percentile bootstrap.

In: one value per query. Out: intervals. Queries are drawn with replacement, the mean is taken each
time, and the middle `confidence` of those means is the interval (Efron & Tibshirani 1993, ch. 13).
It speaks of other queries like these, not of another training seed.

Where all values are 0, or all 1, every draw is alike and that interval has no width. Its open end
is then Clopper and Pearson's (1934) for the share of queries that are different, `rare_share`,
which bounds the mean of any metric in [0, 1], if more widely than need be.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

_CHUNK = 4_000_000  # numbers drawn at once, to bound memory
_KEPT = 32_000_000  # counts that are kept for the next call


class Interval(NamedTuple):
    """A mean with the ends of its interval; ``low <= high``."""

    value: float
    low: float
    high: float


def bootstrap_means(values: np.ndarray, num_bootstrap: int, seed: int) -> np.ndarray:
    """Means (num_bootstrap, m) of resampled queries; `values` (n, m) are m series over n queries,
    which share each draw: differences of columns are paired.

    The same seed and n give the same draws. Raises `ValueError` when there is no query or a value
    is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(
            "bootstrap: expected values of shape (queries, series) with a query, got "
            f"{values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "bootstrap: a value is NaN or infinite; every query needs a number, 0 if it has no "
            "answer"
        )
    n = len(values)
    means = np.empty((num_bootstrap, values.shape[1]))
    # counts of a moderate size are kept: studies ask for the same draws thousands of times
    draws = _kept_times if n * num_bootstrap <= _KEPT else _times
    first = 0
    for times in draws(n, num_bootstrap, seed):
        # how often each query was drawn (size, n), times its values (n, m): the sums of the draws
        means[first : first + len(times)] = times.astype(np.float64) @ values / n
        first += len(times)
    return means


def _times(n: int, num_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `n` queries is drawn, (size, n) for one part of the draws after another."""
    rng, step = np.random.default_rng(seed), max(1, _CHUNK // n)
    for first in range(0, num_bootstrap, step):
        size = min(step, num_bootstrap - first)
        # n query numbers per draw; those of draw b are moved by b * n, so that one count serves all
        drawn = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)


@lru_cache(maxsize=8)
def _kept_times(n: int, num_bootstrap: int, seed: int) -> list[np.ndarray]:
    """The same in the smallest whole numbers that hold the counts, nearly always bytes."""
    return [part.astype(np.min_scalar_type(part.max())) for part in _times(n, num_bootstrap, seed)]


def rare_share(num_queries: int, confidence: float = 0.95) -> float:
    """The upper end of Clopper and Pearson's interval for a share of which `num_queries` queries
    showed none: ``1 - ((1 - confidence) / 2) ** (1 / n)``, about 3.7 / n at 95 %."""
    return 1 - ((1 - confidence) / 2) ** (1 / num_queries)


def bootstrap_intervals(
    values: np.ndarray, num_bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0
) -> list[Interval]:
    """One `Interval` per column of `values` (n, m), which lie in [0, 1]; never [0, 0] nor [1, 1],
    see `rare_share`."""
    values, tail = np.asarray(values, dtype=np.float64), (1 - confidence) / 2
    means = bootstrap_means(values, num_bootstrap, seed)
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)  # (m,) each
    # a column without a hit, or without a miss, has no width: open its inner end
    rare = rare_share(len(values), confidence)
    high = np.where((values == 0).all(axis=0), rare, high)
    low = np.where((values == 1).all(axis=0), 1 - rare, low)
    return [Interval(*map(float, row)) for row in zip(values.mean(axis=0), low, high, strict=True)]


def bootstrap_interval(
    values: np.ndarray, num_bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The `Interval` of the mean of `values` (n,): one column of `bootstrap_intervals`."""
    return bootstrap_intervals(np.asarray(values)[:, None], num_bootstrap, confidence, seed)[0]


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    num_bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The `Interval` of mean(first - second), both (n,) over the same queries in the same order.

    An interval that does not hold 0 says that the systems differ on queries like these. Where they
    agree on every query it reaches `rare_share` to both sides.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ValueError(
            f"paired difference: shapes differ, {first.shape} and {second.shape}; pair by event_id "
            "first"
        )
    interval = bootstrap_interval(first - second, num_bootstrap, confidence, seed)
    return interval._replace(low=-interval.high) if (first == second).all() else interval
