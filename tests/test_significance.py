"""Tests of differences: against scipy, against enumeration by hand, and by how often they
are wrong where the truth is known."""

from __future__ import annotations

import itertools
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test, ttest_1samp, ttest_ind

from gensar_lite.evaluation import significance
from gensar_lite.evaluation.significance import (
    crossed_difference,
    crossed_interval,
    holm,
    randomisation,
    sign_flip,
)
from gensar_lite.evaluation.uncertainty import bootstrap_interval, paired_difference

numbers = st.floats(-10, 10, allow_nan=False, width=32)


def scipy_p(differences: np.ndarray, draws: float = np.inf) -> float:
    """The paired two-sided permutation test of scipy, exact unless `draws` are given."""
    return permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=draws,
        rng=np.random.default_rng(0),
    ).pvalue


# ---------------------------------------------------------------------------------------- sign flip


@pytest.mark.parametrize("size", [2, 3, 5, 8, 11])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_sign_flip_is_that_of_scipy(size, shift):
    for seed in range(5):
        differences = np.random.default_rng(seed).normal(shift, 1, size)
        assert sign_flip(differences) == pytest.approx(scipy_p(differences), abs=1e-9)


def test_sign_flip_by_hand():
    assert sign_flip(np.full(5, 0.1)) == 2 / 32  # ties in value, all of one sign
    assert sign_flip(np.array([3.0, 2.0, -1.0])) == 4 / 8  # 4 among 6, 4, 2, 0 and their mirrors
    assert sign_flip(np.array([0.3])) == 1
    assert sign_flip(np.zeros(4)) == 1
    # .1 + .2 - .3 is not 0 in floating point: a tie all the same
    assert sign_flip(np.array([0.1, 0.2, -0.3])) == 1


@pytest.mark.parametrize("ahead", range(8))
def test_sign_flip_of_equal_sizes_is_the_sign_test(ahead):
    differences = np.where(np.arange(7) < ahead, 0.1, -0.1)
    assert sign_flip(differences) == pytest.approx(binomtest(ahead, 7).pvalue, abs=1e-12)


def test_sign_flip_refuses_what_it_cannot_enumerate():
    for wrong in (np.zeros(0), np.zeros(21), np.zeros((2, 2))):
        with pytest.raises(ValueError, match="1 to 20 differences"):
            sign_flip(wrong)
    with pytest.raises(ValueError, match="NaN"):
        sign_flip(np.array([1.0, np.nan]))


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=7))
def test_sign_flip_by_enumeration(differences):
    p = sign_flip(np.array(differences))
    sizes = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    slack = 1e-12 * sum(map(abs, differences))
    assert p == np.mean([size >= abs(sum(differences)) - slack for size in sizes])
    assert 0 < p <= 1
    assert p == sign_flip(-np.array(differences))  # the systems swapped


# ------------------------------------------------------------------------------------ randomisation


def test_randomisation_is_near_the_exact_value():
    rng = np.random.default_rng(0)
    first, second = rng.random(12) + 0.2, rng.random(12)
    exact = sign_flip(first - second)
    assert exact == pytest.approx(scipy_p(first - second), abs=1e-9)
    assert 0.01 < exact < 0.5
    error = 4 * np.sqrt(exact * (1 - exact) / 40_000)
    assert randomisation(first, second, 40_000) == pytest.approx(exact, abs=error)


def test_randomisation_of_clusters_is_near_the_exact_value_of_their_sums():
    rng = np.random.default_rng(1)
    first, second, clusters = rng.random(60) + 0.1, rng.random(60), np.arange(60) % 10
    sums = np.bincount(clusters, first - second)
    exact = sign_flip(sums)
    names = np.array([f"user {c}" for c in clusters], dtype=object)
    p = randomisation(first, second, 40_000, clusters=names)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000))


def test_randomisation_does_not_depend_on_queries_that_agree(monkeypatch):
    rng = np.random.default_rng(3)
    first, second = rng.random(30), rng.random(30)
    longer = [np.r_[values, np.full(500, 0.5)] for values in (first, second)]
    whole = randomisation(first, second, 999)
    assert whole == randomisation(*longer, 999)
    assert randomisation(first, first) == 1
    monkeypatch.setattr(significance, "_CHUNK", 200)  # a few draws at a time
    assert randomisation(first, second, 999) == pytest.approx(whole, abs=0.1)


def test_randomisation_refuses_what_is_not_paired():
    with pytest.raises(ValueError, match="pair by event_id"):
        randomisation(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="NaN"):
        randomisation(np.zeros(2), np.array([0, np.inf]))
    with pytest.raises(ValueError, match="name one for each query"):
        randomisation(np.zeros(2), np.ones(2), clusters=np.zeros(3))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20), st.integers(0, 5))
def test_randomisation_properties(pairs, seed):
    first, second = np.array(pairs).T
    p = randomisation(first, second, 200, seed)
    assert 1 / 201 <= p <= 1
    assert p == randomisation(first, second, 200, seed)
    assert p == randomisation(second, first, 200, seed)


# --------------------------------------------------------------------------------------------- Holm


def test_holm_by_hand():
    # .01 x 4, .02 x 3, .03 x 2, .5 x 1; given out of order
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    # .04 x 1 would fall below .03 x 2: none falls below the one before
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert holm([]).shape == (0,)


def test_holm_leaves_out_what_was_not_tested():
    np.testing.assert_allclose(holm([np.nan, 0.02, 0.03]), [np.nan, 0.04, 0.04])
    assert np.isnan(holm([np.nan])).all()
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        holm([0.5, 1.5])


def test_holm_is_bonferroni_on_every_set_of_tests():
    """Closed testing (Marcus et al. 1976): a test is adjusted by the worst set that it stands in,
    and Bonferroni's rule is applied to each of these sets."""
    p_values = np.random.default_rng(0).random(8) ** 3
    for place, found in enumerate(holm(p_values)):
        sets = (np.array(bits, dtype=bool) for bits in product([0, 1], repeat=8) if bits[place])
        assert found == pytest.approx(max(min(1, s.sum() * p_values[s].min()) for s in sets))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_properties(p_values):
    p_values = np.array(p_values)
    adjusted, order = holm(p_values), np.argsort(p_values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()  # the order stays
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, p_values * len(p_values) + 1e-12)).all()  # Bonferroni
    np.testing.assert_array_equal(holm(p_values[::-1]), adjusted[::-1])


# -------------------------------------------------------------------------------- crossed intervals


def close(first, second) -> None:
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)


def test_one_row_is_the_ordinary_bootstrap():
    values = np.random.default_rng(0).random((2, 80))
    close(crossed_interval(values[:1], seed=3), bootstrap_interval(values[0], seed=3))
    close(crossed_interval(values[0], seed=3), bootstrap_interval(values[0], seed=3))
    close(crossed_difference(*values, seed=3), paired_difference(*values, seed=3))
    # seeds that agree are no more than one
    close(crossed_interval(values[[0, 0, 0]]), bootstrap_interval(values[0]))


def test_clusters_are_drawn_whole():
    rng = np.random.default_rng(0)
    values, clusters = rng.random(9), np.array(list("aabbbcdde"))
    drawn = np.random.default_rng(4).integers(0, 5, size=(300, 5))  # the draws of seed 4, plainly
    members = [np.flatnonzero(clusters == name) for name in "abcde"]
    means = [values[np.concatenate([members[c] for c in draw])].mean() for draw in drawn]
    interval = crossed_interval(values, clusters, num_bootstrap=300, seed=4)
    close(interval, (values.mean(), *np.quantile(means, [0.025, 0.975])))


def test_seeds_and_queries_are_drawn_at_once():
    """The variance that Owen (2007) states for the pigeonhole bootstrap, from the same table."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 1)) + rng.normal(size=(1, 8)) + rng.normal(size=(6, 8))
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    rest = values - rows - columns + values.mean()
    stated = rows.var() / 6 + columns.var() / 8 + rest.var() / 48
    times = (
        rng.multinomial(6, np.full(6, 1 / 6), 40_000),
        rng.multinomial(8, np.full(8, 1 / 8), 40_000),
    )
    plain = np.einsum("bs,sn,bn->b", times[0], values, times[1]) / 48
    assert plain.var() == pytest.approx(stated, rel=0.05)
    # never nearer than the draws have it, nor than Student's t of the seeds alone
    value, low, high = crossed_interval(values, num_bootstrap=20_000)
    ends = np.quantile(plain, [0.025, 0.975])
    assert low <= ends[0] + 0.02
    assert high >= ends[1] - 0.02
    alone = ttest_1samp(rows[:, 0], 0).confidence_interval(0.95)
    assert value - low > (alone.high - alone.low) / 2 * 0.9


def test_an_interval_has_a_width():
    for hits, clusters in itertools.product((0.0, 1.0), (None, np.arange(40) // 4)):
        values, size = np.full((3, 40), hits), 40 if clusters is None else 10
        interval = crossed_interval(values, clusters)
        exact = binomtest(int(hits) * size, size).proportion_ci(0.95, method="exact")
        close(interval, (hits, exact.low, exact.high))
        rare = binomtest(0, size).proportion_ci(0.95).high
        close(crossed_difference(values, values[:1], clusters), (0, -rare, rare))
    nothing, everything = np.zeros((2, 40)), np.ones(40)
    rare = binomtest(0, 40).proportion_ci(0.95).high
    close(crossed_difference(everything, nothing), (1, 1 - rare, 1))
    close(crossed_difference(nothing, everything), (-1, -1, rare - 1))


def test_where_queries_agree_seeds_have_welchs_interval():
    """Every query has its seed's value, so that only seeds vary: scipy's t interval of them."""
    rng = np.random.default_rng(0)
    first, second = rng.random((4, 1)), rng.random((3, 1)) * 0.1
    interval = crossed_difference(*(np.tile(seeds, (1, 20)) for seeds in (first, second)))
    theirs = ttest_ind(first[:, 0], second[:, 0], equal_var=False).confidence_interval(0.95)
    close(interval[1:], theirs)
    alone = crossed_interval(np.tile(second, (1, 20)) + 0.4)
    close(alone[1:], np.array(ttest_1samp(second[:, 0] + 0.4, 0).confidence_interval(0.95)))


def test_ends_of_few_seeds_stay_on_the_scale():
    values = np.zeros((2, 30))
    values[0, :3] = 1  # one seed hits, the other never
    interval = crossed_interval(values)
    assert interval.value == 0.05
    assert 0 == interval.low < interval.high <= 1


def test_crossed_refuses_other_queries():
    with pytest.raises(ValueError, match="not over the same queries"):
        crossed_difference(np.zeros((2, 5)), np.zeros((2, 6)))
    with pytest.raises(ValueError, match="name one for each query"):
        crossed_interval(np.zeros((2, 5)), np.zeros(4))
    with pytest.raises(ValueError, match="NaN"):
        crossed_interval(np.full((2, 5), np.nan))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(2, 30), st.integers(0, 99))
def test_a_swap_mirrors_the_value_and_the_draws_repeat(num_first, num_second, n, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((num_first, n)), rng.random((num_second, n))
    there = crossed_difference(first, second, num_bootstrap=100, seed=seed)
    back = crossed_difference(second, first, num_bootstrap=100, seed=seed)
    assert there.value == pytest.approx(-back.value)
    assert there.low <= there.high
    assert there == crossed_difference(first, second, num_bootstrap=100, seed=seed)
    if num_first == num_second == 1:
        close(there, (-back.value, -back.high, -back.low))


# -------------------------------------------------------------------------------- how often it errs


def false_alarms(differs, num_trials: int = 400) -> float:
    """The share of trials, each with a generator of its own, in which a difference is called."""
    return np.mean([differs(np.random.default_rng(trial)) for trial in range(num_trials)])


NOISE = 2.6 * np.sqrt(0.05 * 0.95 / 400)  # 99 % of such shares of 400 trials lie within


def test_randomisation_holds_its_level_and_sees_what_is_there():
    def differs(rng, shift=0.0):
        query = rng.normal(size=150)  # hard and easy queries, for both
        first, second = query + rng.normal(size=(2, 150))
        return randomisation(first + shift, second, 300) <= 0.05

    assert false_alarms(differs) <= 0.05 + NOISE
    assert false_alarms(lambda rng: differs(rng, 0.4), 100) > 0.8


def clustered(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two systems without a difference over 50 users of 1 to 9 queries; a user likes one of them
    for all queries."""
    clusters = np.repeat(np.arange(50), rng.integers(1, 10, 50))
    first, second = rng.normal(size=(2, 50))[:, clusters] + rng.normal(size=(2, len(clusters)))
    return first, second, clusters


def test_clusters_hold_the_level_where_single_queries_do_not():
    def by_test(rng, known):
        first, second, clusters = clustered(rng)
        return randomisation(first, second, 300, clusters=clusters if known else None) <= 0.05

    def by_interval(rng, known):
        first, second, clusters = clustered(rng)
        _, low, high = crossed_difference(first, second, clusters if known else None, 300)
        return not low <= 0 <= high

    for differs in (by_test, by_interval):
        assert false_alarms(lambda rng, f=differs: f(rng, False)) > 0.15
    assert false_alarms(lambda rng: by_test(rng, True)) <= 0.05 + NOISE
    # a percentile interval of 50 unequal clusters is a little narrow
    assert false_alarms(lambda rng: by_interval(rng, True)) <= 0.06 + NOISE


# spread of seeds, beside 1 / sqrt(100) of queries; how many of each system, 1 for no seeds
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (5, 3), (3, 1)])
def test_few_seeds_hold_the_level(spread, sizes):
    def differs(rng):
        query, draws = rng.normal(size=100), []
        for size in sizes:
            seeds = rng.normal(size=(size, 1)) * (spread if size > 1 else 0)
            own = rng.normal(size=100) * 0.5  # queries that this recipe likes, whatever the seed
            draws.append(query + own + seeds + rng.normal(size=(size, 100)) * 0.5)
        _, low, high = crossed_difference(*draws, num_bootstrap=200)
        return not low <= 0 <= high

    # three seeds alone that decide against a fixed system are too few, as `_reach` says
    level = 0.09 if (sizes, spread) == ((3, 1), 0.5) else 0.05
    assert false_alarms(differs) <= level + NOISE


def test_queries_alone_would_take_a_lucky_seed_for_a_better_recipe():
    def models(rng):
        return (
            rng.normal(size=100) + rng.normal(size=(2, 3, 1)) * 0.3 + rng.normal(size=(2, 3, 100))
        )

    def naive(rng):
        first, second = models(rng)
        _, low, high = paired_difference(first.mean(axis=0), second.mean(axis=0), 200)
        return not low <= 0 <= high

    def crossed(rng, shift=0.0):
        first, second = models(rng)
        _, low, high = crossed_difference(first + shift, second, num_bootstrap=200)
        return not low <= 0 <= high

    assert false_alarms(naive) > 0.2
    assert false_alarms(crossed) <= 0.05 + NOISE
    assert false_alarms(lambda rng: crossed(rng, 1.5), 60) > 0.8  # and a real lead is seen
