"""The leak laboratory: five events by hand, the shop's numbers, slow loops, and what copying wins
where.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.artifacts import Corpus, Workspace
from gensar_lite.config import DataConfig, override, preset
from gensar_lite.data import Tables, build_corpus, history_bounds, prepare
from gensar_lite.data.families import semi_synthetic_search
from gensar_lite.data.leaks import (
    leak_counts,
    per_task_split,
    purchases_in_two_splits,
    release,
    released_order,
    targets_in_own_history,
    to_days,
)
from gensar_lite.data.shop.synthetic import make_shop
from gensar_lite.data.sources import load_source
from gensar_lite.data.splitting import joint_time_split
from gensar_lite.evaluation.baselines import CategoryPopularity
from gensar_lite.experiments.copying import (
    LENGTH,
    Copying,
    copying_scores,
    from_history,
    from_train,
)

COLUMNS = ["user_id", "time", "task", "item_id", "query_id"]


def frame(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def five_events() -> pd.DataFrame:
    """One user, two days: on the second one two purchases and the search twins of both, twins side
    by side.
    """
    return frame(
        [
            (0, 0, "recommend", 4, -1),
            (0, 1, "recommend", 5, -1),
            (0, 1, "search", 5, 0),
            (0, 1, "recommend", 6, -1),
            (0, 1, "search", 6, 1),
        ]
    )


# -------------------------------------------------------------------------------------- by hand


def test_the_released_order_of_five_events():
    events = released_order(five_events())
    assert events["item_id"].tolist() == [4, 5, 6, 5, 6]
    assert events["task"].tolist() == ["recommend"] * 3 + ["search"] * 2
    assert events["time"].tolist() == [
        0,
        1,
        2,
        3,
        4,
    ]  # a history is all rows above: item 5 is not the last one above
    start, end = history_bounds(events)
    histories = [events["item_id"].tolist()[a:b] for a, b in zip(start, end, strict=True)]
    assert histories == [[], [4], [4, 5], [4, 5, 6], [4, 5, 6, 5]]


def test_a_twin_is_taken_out_where_it_is_the_very_last_event():
    events = released_order(five_events().iloc[[0, 1, 2]])
    assert events["time"].tolist() == [0, 1, 1]  # the search does not see its purchase
    later = released_order(
        five_events().iloc[[0, 1, 3, 4]]
    )  # purchases 5 and 6, only 6 searched for
    assert later["time"].tolist() == [0, 1, 2, 2]
    other = released_order(
        five_events().iloc[[0, 1, 2, 3]]
    )  # purchases 5 and 6, only 5 searched for
    assert other["time"].tolist() == [0, 1, 2, 3]


def test_counts_of_five_events():
    events = release(five_events())
    assert events["split"].tolist() == ["train", "validation", "test", "validation", "test"]
    own = targets_in_own_history(events)
    assert own.loc["search", ["train", "validation", "test", "events"]].tolist() == [0, 1, 1, 2]
    assert own.loc["recommend", ["train", "validation", "test", "events"]].tolist() == [0, 0, 0, 3]
    assert purchases_in_two_splits(events).to_numpy().tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert leak_counts(events) == {
        "recommend targets in own history": 0,
        "search targets in own history": 1,
        "recommend targets": 1,
        "search targets": 1,
        "train and test": 0,
    }


def test_one_clock_over_the_same_five_events_leaks_nothing():
    events = five_events()
    events = events.assign(split=joint_time_split(events))
    assert targets_in_own_history(events)[["train", "validation", "test"]].to_numpy().sum() == 0
    assert purchases_in_two_splits(events).to_numpy().tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 2]]


def test_a_purchase_that_trains_while_its_search_tests():
    rows = [(0, t, "recommend", t, -1) for t in range(5)] + [(0, 1, "search", 1, 0)]
    events = frame(rows).sort_values("time", kind="stable", ignore_index=True)
    split = per_task_split(events)
    assert split.tolist() == ["train", "train", "test", "train", "validation", "test"]
    torn = purchases_in_two_splits(events.assign(split=split))
    assert torn.loc["train", "test"] == torn.to_numpy().sum() == 1
    assert leak_counts(events.assign(split=split))["train and test"] == 1


def test_days():
    events = frame([(0, t, "recommend", t, -1) for t in range(5)])
    assert to_days(events, 2)["time"].tolist() == [0, 0, 1, 1, 2]
    pd.testing.assert_frame_equal(to_days(events, 1), events)
    with pytest.raises(ValueError, match="0 steps"):
        to_days(events, 0)


# ------------------------------------------------------------------------------------- properties


@st.composite
def logs(draw) -> pd.DataFrame:
    """A log with twins in which no user meets an item twice, several purchases a time."""
    rows = []
    for user in range(draw(st.integers(1, 4))):
        for item in range(draw(st.integers(3, 9))):
            time = draw(st.integers(0, 3))
            rows.append((user, time, "recommend", item, -1))
            if draw(st.booleans()):
                rows.append((user, time, "search", item, 0))
    return frame(rows).sort_values(["user_id", "time"], kind="stable", ignore_index=True)


@given(logs())
@settings(max_examples=40, deadline=None)
def test_the_counts_equal_a_loop_over_rows(log):
    events = release(log)
    # the same events, time in its old order, purchases first
    key = ["user_id", "task", "item_id", "query_id"]
    assert sorted(map(tuple, events[key].to_numpy().tolist())) == sorted(
        map(tuple, log[key].to_numpy().tolist())
    )
    old = log.set_index(key)["time"]
    place = [
        (row.user_id, old.loc[tuple(getattr(row, k) for k in key)], row.task)
        for row in events.itertuples()
    ]
    assert place == sorted(place)
    # histories: every row above of the same user, but the own purchase where it stands directly
    # above
    own, rows = {"recommend": 0, "search": 0}, list(events.itertuples())
    for at, row in enumerate(rows):
        above = [r for r in rows[:at] if r.user_id == row.user_id]
        if (
            row.task == "search"
            and above
            and (above[-1].item_id, above[-1].task) == (row.item_id, "recommend")
        ):
            above = above[:-1]
        own[row.task] += row.item_id in [r.item_id for r in above]
    counted = targets_in_own_history(events)
    assert counted[["train", "validation", "test"]].sum(axis=1).to_dict() == own
    # a user's last event of a task is test, the one before validation
    for _, mine in events.groupby(["user_id", "task"]):
        assert (
            mine["split"].tolist() == (["train"] * len(mine) + ["validation", "test"])[-len(mine) :]
        )
    torn = sum(
        {mine.loc[mine["task"] == t, "split"].iloc[0] for t in ("recommend", "search")}
        == {"train", "test"}
        for _, mine in events.groupby(["user_id", "item_id"])
        if len(mine) == 2
    )
    assert leak_counts(events)["train and test"] == torn


# ----------------------------------------------------------------------------- the shop, seed 0


@pytest.fixture(scope="module")
def twins() -> Tables:
    """The shop's purchases with category twins: what lesson 01 works on."""
    tables = make_shop(DataConfig())
    search = semi_synthetic_search(
        tables.items, tables.events[tables.events["task"] == "recommend"], DataConfig()
    )
    return Tables(tables.items, search.queries, search.events, search.relevance, search.facts)


def corpus_of(tables: Tables, split: str, steps: int, base: DataConfig | None = None) -> Corpus:
    events = to_days(tables.events, steps)
    return build_corpus(
        tables._replace(events=events), dataclasses.replace(base or DataConfig(), split=split)
    )[0]


@pytest.mark.parametrize(
    ("steps", "own", "targets", "torn"),
    [(1, 0, 2_706, 139), (2, 651, 2_436, 128), (3, 781, 1_936, 96)],
)
def test_leaks_of_the_shop(twins, steps, own, targets, torn):
    assert leak_counts(corpus_of(twins, "per-task", steps).events) == {
        "recommend targets in own history": 0,
        "search targets in own history": own,
        "recommend targets": {1: 2_710, 2: 2_440, 3: 1_938}[steps],
        "search targets": targets,
        "train and test": torn,
    }
    honest = leak_counts(corpus_of(twins, "joint-time", steps).events)
    assert honest["train and test"] == honest["search targets in own history"] == 0
    assert honest["recommend targets in own history"] == 0


def test_the_score_that_a_leak_buys_on_the_shop(twins):
    score = {}
    for split in ("joint-time", "per-task"):
        table = copying_scores(corpus_of(twins, split, 2), max_targets=10_000)
        assert (table["num_queries"] > 2_000).all()
        score[split] = table.set_index(["task", "ranker"])["ndcg@10"]
    for split, task in (
        ("joint-time", "search"),
        ("joint-time", "recommend"),
        ("per-task", "recommend"),
    ):
        mine = score[split][task]
        assert mine["copies history"] <= mine["popularity"], (
            "nobody takes an item twice: copying wins nothing"
        )
        assert mine["copies train"] <= mine["popularity"]
    leaky = score["per-task"]["search"]
    assert leaky["copies history"] - leaky["popularity"] == pytest.approx(0.128, abs=0.01)
    assert leaky["copies train"] - leaky["popularity"] == pytest.approx(0.018, abs=0.006)


def test_a_whole_run_can_use_the_released_split(tmp_path):
    ws = Workspace.open(override(preset("tiny"), {"data.split": "per-task"}), tmp_path)
    corpus = Corpus.load(prepare(ws))
    tests = corpus.events[corpus.events["split"] == "test"]
    assert tests.groupby(["user_id", "task"]).size().max() == 1
    both = tests.groupby("user_id")["task"].nunique()
    assert (both == 2).any(), "a user is tested on both tasks, at two times"


# -------------------------------------------------------------------------------------- copying


def test_copied_items_stand_on_top_of_their_grade():
    """Items 0-2 answer query 0 (grades 2, 1, 1), 3-5 nothing; the history is 2, 3, 1 (oldest
    first).
    """
    rows = [(0, t, "recommend", i, -1) for t, i in enumerate((2, 3, 1))] + [(0, 3, "search", 0, 0)]
    rows += [(u, t, "recommend", i, -1) for u in (1, 2) for t, i in enumerate((4, 5, 0, 2))]
    items = pd.DataFrame(
        {"item_id": range(6), "title": "t", "text": "", "brand": "", "category": "c"}
    )
    relevance = pd.DataFrame({"query_id": 0, "item_id": [0, 1, 2], "grade": [2, 1, 1]})
    tables = Tables(
        items, pd.DataFrame({"query_id": [0], "text": ["a"]}), frame(rows), relevance, {}
    )
    corpus, _ = build_corpus(tables, DataConfig())
    target = corpus.targets("test", "search")
    ranker = Copying(CategoryPopularity.fit(corpus), from_history(corpus))
    order = np.argsort(-ranker.scores(target)[0], kind="stable").tolist()
    assert order == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]  # grade 2; then 1 and 2, the later first; then the copied 3; then by train count
    assert from_history(corpus)(target)[0].tolist() == [-1] * (LENGTH - 3) + [2, 3, 1]
    assert from_train(corpus)(target)[0].tolist() == [-1] * (LENGTH - 2) + [
        2,
        3,
    ]  # item 1 is validation's


@given(logs())
@settings(max_examples=25, deadline=None)
def test_what_training_saw_equals_a_loop(log):
    events = release(log)
    events.insert(0, "event_id", np.arange(len(events)))
    items = pd.DataFrame({"item_id": range(9)})
    corpus = Corpus(items, items, events, items)
    found = from_train(corpus)(events)
    for row, mine in zip(events.itertuples(), found.tolist(), strict=True):
        train = events[(events["user_id"] == row.user_id) & (events["split"] == "train")]
        wanted = list(dict.fromkeys(train["item_id"]))[-LENGTH:]
        assert mine == [-1] * (LENGTH - len(wanted)) + wanted


@pytest.mark.real_data
def test_leaks_of_beauty():
    whole = DataConfig(source="beauty")
    tables = load_source(whole)
    counts = {
        steps: leak_counts(corpus_of(tables, "per-task", steps, whole).events) for steps in (1, 2)
    }
    assert [counts[s]["search targets in own history"] for s in (1, 2)] == [0, 9_598]
    assert counts[1]["train and test"] == counts[2]["train and test"] == 1_296
    assert counts[1]["search targets"] == 22_361
    honest = corpus_of(tables, "joint-time", 2, whole)
    assert leak_counts(honest.events)["search targets in own history"] == 0
    leaky = copying_scores(corpus_of(tables, "per-task", 2, whole), 500)
    leaky, fair = (
        t.set_index(["task", "ranker"])["ndcg@10"]["search"]
        for t in (leaky, copying_scores(honest, 500))
    )
    assert fair["copies history"] < fair["popularity"]
    assert leaky["copies history"] - leaky["popularity"] > 0.15
