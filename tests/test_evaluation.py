"""Metrics, intervals, protocols and runs against other ways of knowing: by hand, by construction,
by ranx."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import EvaluationConfig
from gensar_lite.evaluation.protocols import (
    Seen,
    bm25_candidates,
    random_candidates,
    sample_targets,
)
from gensar_lite.evaluation.report import console_table
from gensar_lite.evaluation.runs import check_run, run_from_scores, to_matrix, write_trec
from gensar_lite.evaluation.scores import by_group, join_scores, score_run, summary, values_of
from gensar_lite.evaluation.tradeoff import hypervolume, pareto_front, tradeoff_points
from gensar_lite.evaluation.uncertainty import (
    bootstrap_interval,
    bootstrap_intervals,
    bootstrap_means,
    paired_difference,
)
from gensar_lite.metrics import make_qrels, rank_of_target, relevance_metrics, target_metrics

KS = (1, 5, 10)


def random_lists(seed: int = 0, queries: int = 60, items: int = 80, k: int = 20) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ranked = np.stack([rng.permutation(items)[:k] for _ in range(queries)])
    ranked[
        np.arange(k)[None] >= rng.integers(1, k + 1, queries)[:, None]
    ] = -1  # some lists are short
    return ranked


def ranx_values(grades: dict, ranked: np.ndarray, metric: str) -> np.ndarray:
    """What ranx says for each query; lists become strictly decreasing scores, so there are no
    ties."""
    ranx = pytest.importorskip("ranx")
    run = {
        f"q{i}": {str(x): 1.0 / (j + 1) for j, x in enumerate(row) if x >= 0}
        for i, row in enumerate(ranked)
    }
    found = ranx.evaluate(
        ranx.Qrels(grades), ranx.Run(run), metric, return_mean=False, make_comparable=True
    )
    order = np.argsort([int(name[1:]) for name in sorted(grades)])  # ranx orders names as text
    return np.asarray(found)[order]


# ------------------------------------------------------------------------------------------ metrics


def test_metrics_of_one_target_by_hand():
    ranked = np.array([[7, 3, 5], [1, 2, 3], [4, -1, -1]])
    targets = np.array([5, 9, 4])
    assert rank_of_target(ranked, targets).tolist() == [3, 0, 1]
    values = target_metrics(ranked, targets, (1, 3))
    assert values["recall@1"].tolist() == [0, 0, 1]
    assert values["recall@3"].tolist() == [1, 0, 1]
    assert values["ndcg@3"] == pytest.approx([0.5, 0, 1])  # 1 / log2(1 + 3)
    assert values["mrr"] == pytest.approx([1 / 3, 0, 1])


def test_padding_is_never_a_hit():
    assert rank_of_target(np.array([[-1, -1]]), np.array([-1])).tolist() == [0]
    assert rank_of_target(np.zeros((2, 0), dtype=int), np.array([0, 1])).tolist() == [0, 0]
    with pytest.raises(ValueError, match="expected"):
        rank_of_target(np.zeros((2, 3)), np.zeros(3))


def test_all_relevant_by_hand():
    relevance = pd.DataFrame({"query_id": [0, 0, 0], "item_id": [2, 4, 6], "grade": [1, 2, 1]})
    qrels = make_qrels(relevance, num_queries=2, num_items=10, depth=3)
    ranked = np.array([[4, 9, 2], [4, 9, 2]])
    values = relevance_metrics(qrels, ranked, np.array([0, 1]), (1, 3))
    ideal = 2 + 1 / math.log2(3) + 1 / 2
    assert values["recall@1"] == pytest.approx([1 / 3, 0])
    assert values["recall@3"] == pytest.approx(
        [2 / 3, 0]
    )  # query 1 has no relevant item: 0, not skipped
    assert values["ndcg@3"] == pytest.approx([(2 + 1 / 2) / ideal, 0])
    assert values["mrr"] == pytest.approx([1, 0])


def test_the_click_counts_one_grade_more():
    relevance = pd.DataFrame({"query_id": [0, 0], "item_id": [2, 4], "grade": [1, 1]})
    qrels = make_qrels(relevance, num_queries=1, num_items=10, depth=3)
    ranked, queries = np.array([[2, 4, 9]] * 2), np.zeros(2, dtype=int)
    values = relevance_metrics(qrels, ranked, queries, (3,), clicked=np.array([4, 9]))
    second = 1 / math.log2(3)
    # click on 4: gains 1, 2, 0, best order 2, 1; click on 9, no answer by the table: it gets grade
    # 1
    assert values["ndcg@3"] == pytest.approx([(1 + 2 * second) / (2 + second), 1.0])
    assert values["recall@3"] == pytest.approx([1, 1])


def test_one_target_agrees_with_ranx():
    ranked, targets = random_lists(), np.random.default_rng(1).integers(0, 80, 60)
    ours = target_metrics(ranked, targets, KS)
    assert 0 < ours["recall@10"].sum() < 60
    grades = {f"q{i}": {str(t): 1} for i, t in enumerate(targets)}
    for metric, values in ours.items():
        np.testing.assert_allclose(values, ranx_values(grades, ranked, metric), atol=1e-9, rtol=0)


@pytest.mark.parametrize("click", [False, True])
def test_all_relevant_agrees_with_ranx(click):
    rng, ranked = np.random.default_rng(2), random_lists(3)
    queries, clicked = rng.integers(0, 7, 60), rng.integers(0, 80, 60)
    rows = [
        (q, int(i), int(rng.integers(1, 4)))
        for q in range(7)
        for i in rng.permutation(80)[: 3 + 4 * q]
    ]
    relevance = pd.DataFrame(rows, columns=["query_id", "item_id", "grade"])
    ours = relevance_metrics(
        make_qrels(relevance, 7, 80, 10), ranked, queries, KS, clicked if click else None
    )
    table = {
        q: dict(zip(part["item_id"], part["grade"], strict=True))
        for q, part in relevance.groupby("query_id")
    }
    grades = {
        f"q{i}": {str(item): int(grade) for item, grade in table[q].items()}
        for i, q in enumerate(queries)
    }
    for i, item in enumerate(clicked if click else []):
        grades[f"q{i}"][str(item)] = grades[f"q{i}"].get(str(item), 0) + 1
    for metric, values in ours.items():
        np.testing.assert_allclose(values, ranx_values(grades, ranked, metric), atol=1e-9, rtol=0)


def test_qrels_take_the_highest_grade_and_refuse_a_deeper_cut():
    relevance = pd.DataFrame({"query_id": [0, 0, 0], "item_id": [1, 1, 2], "grade": [1, 3, 0]})
    qrels = make_qrels(relevance, 1, 5, 2)
    assert qrels.counts.tolist() == [1]
    assert qrels.best.tolist() == [[3, 0]]
    with pytest.raises(ValueError, match="deeper"):
        relevance_metrics(qrels, np.array([[1]]), np.array([0]), (5,))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.permutations(range(8)), min_size=1, max_size=5), st.data())
def test_metric_properties(lists, data):
    ranked = np.array(lists)[:, :5]
    targets = np.array(
        data.draw(st.lists(st.integers(0, 7), min_size=len(lists), max_size=len(lists)))
    )
    values = target_metrics(ranked, targets, (1, 3, 5))
    for name, value in values.items():
        assert ((value >= 0) & (value <= 1)).all(), name
    assert (values["recall@1"] <= values["recall@3"]).all()
    assert (values["ndcg@5"] <= values["recall@5"]).all()
    assert (values["mrr"] <= values["ndcg@5"]).all()
    # one target = all relevant with one relevant item
    table = pd.DataFrame({"query_id": np.arange(len(targets)), "item_id": targets, "grade": 1})
    same = relevance_metrics(
        make_qrels(table, len(targets), 8, 5), ranked, np.arange(len(targets)), (1, 3, 5)
    )
    for name, value in values.items():
        np.testing.assert_allclose(value, same[name], atol=1e-12)
    # renaming the items changes nothing
    name_of = np.array(data.draw(st.permutations(range(8))))
    renamed = target_metrics(name_of[ranked], name_of[targets], (1, 3, 5))
    assert all((renamed[name] == value).all() for name, value in values.items())


# -------------------------------------------------------------------------------------- uncertainty


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.random((300, 120)) < 0.3
    intervals = [bootstrap_interval(s, num_bootstrap=300, seed=i) for i, s in enumerate(samples)]
    covered = np.mean([i.low <= 0.3 <= i.high for i in intervals])
    assert 0.91 <= covered <= 0.98
    narrow = np.mean([bootstrap_interval(s, 300, 0.5, seed=1).low > 0.3 for s in samples])
    assert 0.15 <= narrow <= 0.35  # a quarter of the 50 % intervals lies above the truth


def test_bootstrap_is_seeded_and_does_not_depend_on_chunks(monkeypatch):
    values = np.random.default_rng(0).random((50, 3))
    whole = bootstrap_means(values, 40, seed=5)
    assert (bootstrap_means(values, 40, seed=5) == whole).all()  # from the counts that were kept
    for limit, value in (("_CHUNK", 120), ("_KEPT", 0)):  # small parts, none of them kept
        monkeypatch.setattr(f"gensar_lite.evaluation.uncertainty.{limit}", value)
    np.testing.assert_allclose(
        bootstrap_means(values, 40, seed=5), whole, rtol=0, atol=1e-14
    )  # up to a product's rounding
    assert (bootstrap_means(values, 40, seed=6) != whole).any()
    draws = np.random.default_rng(5).integers(0, 50, size=(40, 50))  # the same draws, taken plainly
    np.testing.assert_allclose(whole, values[draws].mean(axis=1), atol=1e-12)


def test_bootstrap_of_equal_values_and_bad_values():
    assert bootstrap_interval(np.full(9, 0.25)) == (0.25, 0.25, 0.25)
    with pytest.raises(ValueError, match="NaN"):
        bootstrap_interval(np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match="query"):
        bootstrap_interval(np.array([]))


@pytest.mark.parametrize("n", [1, 8, 250])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_no_hit_and_only_hits_have_clopper_and_pearsons_open_end(n, confidence):
    columns = np.stack([np.zeros(n), np.ones(n), np.full(n, 0.5)], axis=1)
    none, all_, half = bootstrap_intervals(columns, num_bootstrap=50, confidence=confidence)
    for interval, hits in ((none, 0), (all_, n)):
        exact = binomtest(hits, n).proportion_ci(confidence, method="exact")
        assert interval == pytest.approx((hits / n, exact.low, exact.high))
        assert interval.low < interval.high
    assert half == (0.5, 0.5, 0.5)  # every query the same, and neither end of the scale


def test_systems_that_agree_everywhere_differ_by_a_rare_share_at_most():
    value, low, high = paired_difference(np.ones(40), np.ones(40))
    assert (value, low) == (0, -high)
    assert high == pytest.approx(binomtest(0, 40).proportion_ci(0.95).high)


def test_tables_never_say_that_nothing_is_certain():
    targets = pd.DataFrame(
        {"event_id": range(9), "item_id": range(9), "task": "search", "query_id": 0}
    )
    run = pd.DataFrame({"event_id": range(9), "item_id": range(9), "rank": 1, "score": 1.0})
    scores = join_scores(
        [
            score_run(run, targets, "oracle", "full", (10,), 5),
            score_run(run.iloc[:0], targets, "joint", "full", (10,), 5),
        ]
    )
    settings = EvaluationConfig(num_bootstrap=20)
    rows = summary(scores, settings) + by_group(scores, pd.Series(["a"] * 5 + ["b"] * 4), settings)
    assert {row["value"] for row in rows} == {0, 1}
    assert all(row["low"] < row["high"] for row in rows)
    text = console_table(
        [{**rows[0], "task": "search", "metric": "ndcg@10", "value": 0.0, "low": 0.0, "high": 1e-6}]
    )
    assert ".0000 [.0000, .0001]" in text


def test_paired_difference_is_sharper_than_two_intervals():
    rng = np.random.default_rng(0)
    first = rng.random(400)
    second = first - 0.02 + 0.01 * rng.standard_normal(400)
    value, low, high = paired_difference(first, second)
    assert 0 < low < value < high < 0.03
    assert bootstrap_interval(first).low < bootstrap_interval(second).high  # unpaired, they overlap
    with pytest.raises(ValueError, match="shapes"):
        paired_difference(first, second[1:])


# ---------------------------------------------------------------------------------------- protocols


def small_log() -> tuple[pd.DataFrame, Seen]:
    """Two users, five events each, one a step; items in the order 0..4 and 5..9."""
    events = pd.DataFrame(
        {"event_id": range(10), "user_id": [0] * 5 + [1] * 5, "time": [*range(5)] * 2}
    )
    events = events.assign(task="recommend", item_id=range(10), query_id=-1, split="train")
    start = np.repeat([0, 5], 5)
    return events, Seen(events, start, np.arange(10))


def test_seen_is_the_strictly_earlier_slice():
    _, seen = small_log()
    rows, items = seen.pairs(np.array([0, 2, 9]))
    assert list(zip(rows, items, strict=True)) == [(1, 0), (1, 1), (2, 5), (2, 6), (2, 7), (2, 8)]
    assert seen.of(7).tolist() == [5, 6]
    assert seen.last(np.array([0, 3, 5, 8])).tolist() == [-1, 2, -1, 7]


def test_random_candidates_are_new_items_and_depend_on_seed_and_event_only():
    events, seen = small_log()
    targets = events.iloc[[4, 8, 9]]
    table = random_candidates(targets, seen, num_items=30, num_negatives=12, seed=3)
    assert table.shape == (3, 13)
    for row, event, target in zip(table, targets["event_id"], targets["item_id"], strict=True):
        assert row[0] == target
        assert len(set(row)) == 13
        assert not set(row[1:]) & set(seen.of(event))
    again = random_candidates(targets.iloc[[2, 0]], seen, 30, 12, seed=3)
    assert (again == table[[2, 0]]).all()
    assert (random_candidates(targets, seen, 30, 12, seed=4) != table).any()


def test_candidates_may_be_known_items_where_the_log_keeps_them():
    events, seen = small_log()
    table = random_candidates(events.iloc[[9]], None, num_items=30, num_negatives=29)[0]
    assert set(table) == set(range(30))
    assert set(seen.of(9)) & set(table[1:])


def test_a_small_catalogue_pads_candidates():
    events, seen = small_log()
    row = random_candidates(events.iloc[[4]], seen, num_items=10, num_negatives=12)[0]
    assert set(row[row >= 0]) == {4, 5, 6, 7, 8, 9}
    assert (row[6:] == -1).all()


def test_bm25_candidates_are_the_best_others_then_random():
    events, _ = small_log()
    scores = np.full((1, 10), -np.inf)
    scores[0, [2, 4, 7, 9]] = [1.0, 5.0, 3.0, 3.0]
    table = bm25_candidates(events.iloc[[4]], scores, num_negatives=5, seed=0)
    assert table[0, :4].tolist() == [4, 7, 9, 2]  # the target, then by score, ties by id
    assert set(table[0, 4:]) <= {0, 1, 3, 5, 6, 8}
    assert len(set(table[0])) == 6


def test_samples_keep_their_order():
    events, _ = small_log()
    part = sample_targets(events, 4, seed=1)
    assert len(part) == 4
    assert part["event_id"].is_monotonic_increasing
    assert part.equals(sample_targets(events, 4, seed=1))
    assert len(sample_targets(events, 99, seed=1)) == 10


# --------------------------------------------------------------------------------------------- runs


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_top_k_equals_a_full_sort_with_ties_by_item(seed, k):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (3, 9)).astype(np.float32)  # many ties
    scores[rng.random((3, 9)) < 0.2] = -np.inf
    run = check_run(run_from_scores(np.array([4, 7, 9]), scores, k), num_items=9)
    for row, event in enumerate([4, 7, 9]):
        plain = [
            i
            for i in sorted(range(9), key=lambda i: (-scores[row, i], i))
            if scores[row, i] > -np.inf
        ][:k]
        assert run.loc[run["event_id"] == event, "item_id"].tolist() == plain


def test_candidates_keep_their_ids_and_padding_never_ranks():
    items = np.array([[8, 3, 5, -1]])
    run = run_from_scores(np.array([0]), np.array([[1.0, 2.0, 2.0, 9.0]]), 3, items)
    assert run["item_id"].tolist() == [3, 5, 8]


def test_matrix_and_trec_forms(tmp_path):
    run = pd.DataFrame(
        {
            "event_id": [5, 5, 9],
            "item_id": [1, 2, 3],
            "rank": [1, 2, 1],
            "score": [-1.0, -1.0, -4.0],
        }
    )
    assert to_matrix(run, np.array([9, 6, 5]), 2).tolist() == [[3, -1], [-1, -1], [1, 2]]
    lines = write_trec(run, tmp_path / "x.trec", "my system").read_text().splitlines()
    assert lines[1] == "5 Q0 2 2 0.500000000 my_system"
    assert len(lines) == 3
    names = ["x", "a b", "a%20b", "日本\u3000語"]
    lines = (
        write_trec(run, tmp_path / "own.trec", "joint", names)
        .read_text(encoding="utf-8")
        .splitlines()
    )
    assert [line.split()[2] for line in lines] == ["a%20b", "a%2520b", "日本%E3%80%80語"]
    assert all(len(line.split()) == 6 for line in lines)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("item_id", [1, 99, 3], "outside"),
        ("item_id", [1, 1, 3], "twice"),
        ("rank", [1, 3, 1], "ranks"),
        ("rank", [2, 3, 1], "ranks"),
        ("score", [1.0, 2.0, 0.0], "rise"),
        ("score", [1.0, np.nan, 0.0], "finite"),
        ("event_id", [5, 5, 6], "no target"),
    ],
)
def test_a_broken_run_is_refused(column, values, message):
    run = pd.DataFrame(
        {"event_id": [5, 5, 9], "item_id": [1, 2, 3], "rank": [1, 2, 1], "score": [1.0, 1.0, 0.0]}
    )
    check_run(run, 10, np.array([5, 9, 11]))
    with pytest.raises(ArtifactError, match=message):
        check_run(run.assign(**{column: values}), 10, np.array([5, 9, 11]))


def test_an_unsorted_or_empty_run_is_fine():
    run = pd.DataFrame(
        {"event_id": [9, 5, 5], "item_id": [3, 2, 1], "rank": [1, 2, 1], "score": [0.0, 1.0, 1.0]}
    )
    assert check_run(run, 10)["item_id"].tolist() == [1, 2, 3]
    assert check_run(run.iloc[:0], 10).empty


# -------------------------------------------------------------------------------- scores, trade-off


def test_summary_has_a_row_a_metric_and_counts_the_unanswered():
    events, _ = small_log()
    targets = events.iloc[:4]
    run = pd.DataFrame({"event_id": [0, 1], "item_id": [0, 1], "rank": [1, 1], "score": [1.0, 1.0]})
    parts = [score_run(run, targets, name, "full", (1,), 5) for name in ("joint", "popularity")]
    scores = join_scores(parts)
    assert len(scores) == 2 * 3 * 4
    rows = summary(scores, EvaluationConfig(num_bootstrap=50), seeds=(7,))
    assert [set(row) for row in rows] == [
        {"system", "task", "protocol", "metric", "value", "low", "high", "num_queries", "seeds"}
    ] * 6
    assert all(
        row["value"] == 0.5 and row["num_queries"] == 4 and row["seeds"] == [7] for row in rows
    )
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
    assert values_of(scores, "joint", "recommend", "mrr").tolist() == [1, 1, 0, 0]
    searches = scores.assign(task="search")
    groups = by_group(searches, pd.Series(["a", "a", "b", "b"]), EvaluationConfig(), "mrr")
    assert [(r["group"], r["system"], r["value"]) for r in groups[::2]] == [
        ("a", "joint", 1.0),
        ("b", "joint", 0.0),
    ]


def test_pareto_front_and_hypervolume_by_hand():
    values = np.array([[1, 3], [2, 2], [3, 1], [1, 2], [2, 2]])
    assert pareto_front(values).tolist() == [True, True, True, False, True]
    assert hypervolume(values) == pytest.approx(6.0)  # columns of 3 + 2 + 1
    assert hypervolume(values, reference=(1, 1)) == pytest.approx(1.0)
    assert hypervolume(np.zeros((0, 2))) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8))
def test_hypervolume_equals_counted_cells(points):
    cells = {(x, y) for a, b in points for x in range(a) for y in range(b)}
    assert hypervolume(np.array(points, dtype=float).reshape(-1, 2)) == len(cells)


def test_tradeoff_points_know_what_a_system_does_not_do():
    row = {"protocol": "full", "metric": "ndcg@10", "value": 0.2, "low": 0.1, "high": 0.3}
    rows = [row | {"system": "bm25", "task": "search"}, row | {"system": "joint", "task": "search"}]
    points = tradeoff_points([*rows, row | {"system": "joint", "task": "recommend"}])
    assert [(p.system, p.recommend is None) for p in points] == [("joint", False), ("bm25", True)]
