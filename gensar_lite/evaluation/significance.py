"""Is a difference more than chance? Three tests, and intervals over seeds and queries at once.

In: one value per query, or a row of them per training seed. Out: p-values, an `Interval`. Each
answers its own question: `randomisation`, do these two trained models differ on queries like these;
`sign_flip`, does the lead hold over seeds; `crossed_difference`, does one recipe, trained anew and
asked other queries, beat the other. This file does not know systems, metrics or files.

Queries of one user, or of one string, stand or fall together: named as `clusters`, they are drawn,
or change their sign, as one.
"""

import numpy as np
from scipy.special import stdtrit

from gensar_lite.evaluation.uncertainty import Interval, bootstrap_means, rare_share

_CHUNK = 4_000_000  # numbers drawn at once, to bound memory
_MAX_SEEDS = 20  # of a sign flip: half a million sums
_TIE = 1e-12  # of the sum of all sizes: sums of other order that are equal but for rounding


# ----------------------------------------------------------------------------------------- p-values


def sign_flip(differences: np.ndarray) -> float:
    """The exact two-sided p-value of paired `differences` (S,), one per seed, under all ``2 ** S``
    changes of sign (Fisher 1935): the share whose sum is at least as far from 0.

    It can be no smaller than ``2 ** (1 - S)``: six seeds are the fewest that can reach 5 %. Raises
    `ValueError` for none, for more than 20, and for a difference that is not finite.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 1 or not 1 <= len(differences) <= _MAX_SEEDS:
        raise ValueError(
            f"sign flip: expected 1 to {_MAX_SEEDS} differences, got shape {differences.shape}; "
            "for more, e.g. one per query, use randomisation"
        )
    _refuse_infinite("sign flip", differences)
    # the first sign stays: the other half of the changes mirrors this one, with the same sizes
    sums = differences[:1]
    for difference in differences[1:]:
        sums = np.concatenate([sums + difference, sums - difference])
    # the sum without a change comes first, and is added up in the same order as the others
    return float((np.abs(sums) >= abs(sums[0]) - _slack(differences)).mean())


def randomisation(
    first: np.ndarray,
    second: np.ndarray,
    num_draws: int = 10_000,
    seed: int = 0,
    clusters: np.ndarray | None = None,
) -> float:
    """The two-sided p-value of mean(first - second), both (n,) over the same queries, where
    changing the two systems' answers with each other should change nothing (Fisher-Pitman; Smucker,
    Allan & Carterette 2007).

    ``(1 + hits) / (1 + num_draws)`` over random changes of sign, so never 0; queries of one cluster
    in `clusters` (n,) change together. It holds for these two models: a new training is another
    model. Deterministic given `seed`. Raises `ValueError` for shapes and values that do not fit.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(
            f"randomisation: expected two (n,) over the same queries, got {first.shape} and "
            f"{second.shape}; pair by event_id first"
        )
    _refuse_infinite("randomisation", first, second)
    sums = _cluster_sums((first - second)[None], clusters)[:, 0]  # (C,)
    sums = sums[sums != 0]  # a sign changes nothing of the others
    total, slack, rng = abs(sums.sum()), _slack(sums), np.random.default_rng(seed)
    hits, step = 0, max(1, _CHUNK // max(len(sums), 1))
    for start in range(0, num_draws, step):
        size = min(step, num_draws - start)
        # eight signs per random byte; a cluster with bit 1 counts against itself, twice its sum
        drawn = rng.integers(256, size=(size, -(-len(sums) // 8)), dtype=np.uint8)
        bits = np.unpackbits(drawn, axis=1, count=len(sums)).astype(np.float64)  # (size, C)
        hits += int((np.abs(sums.sum() - 2 * (bits @ sums)) >= total - slack).sum())
    return (1 + hits) / (1 + num_draws)


def holm(p_values: np.ndarray) -> np.ndarray:
    """`p_values` (m,) adjusted for their number (Holm 1979), in the same order: a table in which
    those below 5 % are called different errs at all in 5 % of tables without a difference.

    NaN stands for a test that was not made: it stays NaN and does not count. Raises `ValueError`
    for what lies outside [0, 1].
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if p_values.ndim != 1 or ((p_values < 0) | (p_values > 1)).any():
        raise ValueError(f"holm: expected p-values (m,) in [0, 1], got {p_values}")
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values, kind="stable")[: int((~np.isnan(p_values)).sum())]  # NaN last
    # the smallest of m times m, the next times m - 1, ...; none may fall below the one before it
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


# ------------------------------------------------------------------------ intervals over both draws


def crossed_interval(
    values: np.ndarray,
    clusters: np.ndarray | None = None,
    num_bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The `Interval` of the mean of `values` (S, n) in [0, 1], S trainings asked the same n
    queries, for other seeds and other queries (or `clusters` (n,) of them): both are drawn with
    replacement at once, the pigeonhole bootstrap (Owen 2007).

    A row alone, as (1, n) or (n,), gives the ordinary bootstrap. Percentiles of a few seeds are too
    narrow, so with seeds no end is nearer than Student's t has it (`_reach`). No hit at all, or
    hits only, has the open end of `rare_share` over clusters. Raises `ValueError` as
    `bootstrap_means` does.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    interval = _crossed([values], clusters, num_bootstrap, confidence, seed)
    # Student's ends must not leave the scale of a metric
    low, high = max(interval.low, min(0, values.min())), min(interval.high, max(1, values.max()))
    rare = rare_share(_number(clusters, values.shape[1]), confidence)
    high = rare if (values == 0).all() else high
    low = 1 - rare if (values == 1).all() else low
    return Interval(interval.value, float(low), float(high))


def crossed_difference(
    first: np.ndarray,
    second: np.ndarray,
    clusters: np.ndarray | None = None,
    num_bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The `Interval` of mean(first) - mean(second), (S1, n) and (S2, n) over the same queries in
    the same order, for other seeds and other queries.

    A draw has the same queries for both, which pairs them, and seeds of its own for each: seed 1 of
    one system shares nothing with seed 1 of another. A system that no seed changes is one row. Two
    single rows give `paired_difference`. Where all rows agree everywhere, the interval reaches
    `rare_share` to both sides. Raises `ValueError` for shapes and values that do not fit.
    """
    first, second = (np.atleast_2d(np.asarray(rows, np.float64)) for rows in (first, second))
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(
            f"crossed difference: {first.shape} and {second.shape} are not over the same queries; "
            "pair by event_id first"
        )
    value, low, high = _crossed([first, second], clusters, num_bootstrap, confidence, seed)
    rare = rare_share(_number(clusters, first.shape[1]), confidence)
    if (first == first[0]).all() and (second == first[0]).all():
        low, high = -rare, rare
    # one has every hit and the other none: the inner end is open
    low = 1 - rare if (first == 1).all() and (second == 0).all() else low
    high = rare - 1 if (first == 0).all() and (second == 1).all() else high
    return Interval(value, float(low), float(high))


def _crossed(
    systems: list[np.ndarray],
    clusters: np.ndarray | None,
    num_bootstrap: int,
    confidence: float,
    seed: int,
) -> Interval:
    """The interval of the mean of the first of `systems` (S, n), less that of the second if there
    is one."""
    # 1. one draw of clusters for all rows of all systems: sums over it, and how many queries it has
    rows = np.concatenate([*systems, np.ones((1, systems[0].shape[1]))])
    means = bootstrap_means(_cluster_sums(rows, clusters), num_bootstrap, seed)
    means = means[:, :-1] / means[:, -1:]  # (B, all rows)
    # 2. seeds of each system by itself; `still` keeps all of them, so that only queries vary
    rng = np.random.default_rng([seed, 1])  # not the stream that drew the clusters
    drawn, still, value, spread = np.zeros(num_bootstrap), np.zeros(num_bootstrap), 0.0, []
    for sign, system in zip((1, -1), systems, strict=False):
        size = len(system)
        of_system, means = means[:, :size], means[:, size:]  # (B, S)
        times = rng.multinomial(size, np.full(size, 1 / size), size=num_bootstrap)  # (B, S)
        drawn += sign * (times * of_system).sum(axis=1) / size
        still += sign * of_system.mean(axis=1)
        value += sign * system.mean()
        if size > 1:
            spread.append((system.mean(axis=1).var(ddof=1) / size, size - 1))
    # 3. the middle of the draws, and no less than Student's t where there are seeds
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    reach = _reach(still.var(), spread, tail)
    return Interval(float(value), float(min(low, value - reach)), float(max(high, value + reach)))


def _reach(still: float, spread: list[tuple[float, int]], tail: float) -> float:
    """Half of a t interval for a mean over queries and seeds; 0 without seeds, or if they agree.

    still   variance of the mean over other queries
    spread  (variance of a system's mean over its seeds, degrees of freedom) where it has several

    Drawn from S seeds, means show (S - 1) / S of their variance, and no tail beyond those seeds.
    Degrees of freedom after Welch and Satterthwaite, many where queries decide. Where three seeds
    of one system outweigh all queries, it errs in up to 9 % of cases, not 5: train more.
    """
    seeds = sum(variance for variance, _ in spread)
    if seeds == 0:
        return 0.0
    freedom = (still + seeds) ** 2 / sum(variance**2 / degrees for variance, degrees in spread)
    return float(stdtrit(freedom, 1 - tail) * np.sqrt(still + seeds))


def _cluster_sums(values: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """Sums of `values` (m, n) inside each of C clusters, (C, m); each query is one without any."""
    if clusters is None:
        return values.T
    clusters = np.asarray(clusters)
    if clusters.shape != values.shape[1:]:
        raise ValueError(
            f"clusters: {clusters.shape} for {values.shape[1]} queries; name one for each query"
        )
    names, place = np.unique(clusters, return_inverse=True)
    return np.stack([np.bincount(place, row, len(names)) for row in values], axis=1)


def _number(clusters: np.ndarray | None, num_queries: int) -> int:
    return num_queries if clusters is None else len(np.unique(clusters))


def _slack(sums: np.ndarray) -> float:
    return _TIE * float(np.abs(sums).sum())


def _refuse_infinite(where: str, *arrays: np.ndarray) -> None:
    if not all(np.isfinite(values).all() for values in arrays):
        raise ValueError(
            f"{where}: a value is NaN or infinite; every query needs a number, 0 if it has no "
            "answer"
        )
