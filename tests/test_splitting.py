"""A split that gives each task its targets: logs whose right answer is known, a slow reference, and
what must never be.

The reference is written from the definition alone, event by event; a log is rows of (user, time,
task).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.artifacts import TASKS, ArtifactError, Corpus
from gensar_lite.config import DataConfig
from gensar_lite.data import Tables, build_corpus, history_bounds
from gensar_lite.data.report import Report
from gensar_lite.data.splitting import LEFT_OUT, choose_split, each_task_split, joint_time_split
from gensar_lite.data.stage import check_splits, with_targets

TARGETS = ("validation", "test")
ITEMS = 50


def table(rows: list[tuple[int, int, str]]) -> pd.DataFrame:
    """A sorted log of (user, time, "r" or "s"); items and queries are of no account to a split."""
    log = pd.DataFrame(sorted(rows), columns=["user_id", "time", "task"])
    log["task"] = log["task"].map({"r": "recommend", "s": "search"})
    log["item_id"] = np.arange(len(log)) % ITEMS
    log["query_id"] = np.where(log["task"] == "search", 0, -1)
    return log


def user(number: int, word: str) -> list[tuple[int, int, str]]:
    """A user who does one thing a step: ``"ssr"`` searches twice, then buys."""
    return [(number, time, task) for time, task in enumerate(word)]


def letters(word: str) -> str:
    """``t | v | T | .`` per event of a user of that word: train, validation, test, left out."""
    names = {"train": "t", "validation": "v", "test": "T", LEFT_OUT: "."}
    return "".join(names[split] for split in each_task_split(table(user(0, word))))


def corpus_of(rows: list | pd.DataFrame, split: str = "auto") -> tuple[Corpus, dict]:
    items = pd.DataFrame(
        {"item_id": range(ITEMS), "title": "t", "text": "", "brand": "", "category": ""}
    )
    queries = pd.DataFrame({"query_id": [0], "text": ["red tent"], "kind": ["typed"]})
    relevance = pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=np.int64)
    log = rows if isinstance(rows, pd.DataFrame) else table(rows)
    return build_corpus(Tables(items, queries, log, relevance, {}), DataConfig(split=split))


@st.composite
def logs(draw) -> pd.DataFrame:
    """Users of one to eight time steps, each step with events of one task or both, some of them
    more than once.
    """
    step = st.sampled_from(["r", "s", "rs", "rr", "ss", "rrs", "rss"])
    rows = []
    for number in range(draw(st.integers(1, 4))):
        for time, tasks in enumerate(draw(st.lists(step, min_size=1, max_size=8))):
            rows += [(number, time, task) for task in tasks]
    return table(rows)


# ------------------------------------------------------------------------------ by construction


@pytest.mark.parametrize(
    ("word", "split"),
    [
        # who searches first and buys last keeps a search target: of the purchases after it the last
        # is one, too, and the others are left out
        ("sssrrr", "tvT..T"),
        ("ssssrr", "ttvT.T"),
        ("rrrsss", "tvT..T"),
        ("rsrsrs", "ttvvTT"),
        # one task alone: the last step tests, the one before validates, as one clock does
        ("rrrr", "ttvT"),
        ("sss", "tvT"),
        # a task that stands at the very start alone gets no target: there is nothing before it to
        # train on
        ("srrrr", "tttvT"),
        ("rsrrr", "tv.vT"),
        ("rrsrr", "tvT.T"),
        # nor does one that is done in the first third alone: most of the log would be left out
        ("rrssrrrrrrrr", "ttttttttttvT"),
        # nobody shorter than three steps has a test target
        ("rs", "tv"),
        ("r", "t"),
    ],
)
def test_by_hand(word, split):
    assert letters(word) == split


def test_a_step_with_both_tasks_is_the_last_of_one_of_them():
    log = table([(0, 0, "r"), (0, 1, "r"), (0, 2, "r"), (0, 2, "s"), (0, 3, "r")])
    # step 2 holds the last search, so what else happens there comes after the first target and is
    # left out
    assert list(zip(log["time"], log["task"], each_task_split(log), strict=True))[2:] == [
        (2, "recommend", LEFT_OUT),
        (2, "search", "test"),
        (3, "recommend", "test"),
    ]


def starved() -> list:
    """58 users with many searches; for 50 of them a purchase is the last step: one clock leaves 8
    search targets.
    """
    return [
        row for number in range(58) for row in user(number, "srsrssr" if number < 50 else "srsrrss")
    ]


def test_one_clock_that_starves_a_task_is_not_chosen():
    log = table(starved())
    searches = (log["task"] == "search").to_numpy()
    assert (searches & (joint_time_split(log) == "test")).sum() == 8
    assert (searches & (each_task_split(log) == "test")).sum() == 58
    assert choose_split(log) == "each-task"
    corpus, funnel = corpus_of(starved())
    assert (funnel["split"], len(corpus.targets("test", "search"))) == ("each-task", 58)
    assert (
        len(corpus.targets("validation", "search"))
        == len(corpus.targets("test", "recommend"))
        == 58
    )


def test_one_clock_is_kept_where_it_leaves_both_tasks_their_targets():
    # every second user ends on a search: half of what each task could have, more than a quarter
    rows = [row for number in range(20) for row in user(number, "rsrs" if number % 2 else "srsr")]
    assert choose_split(table(rows)) == "joint-time"
    assert corpus_of(rows)[1] | {"split": "", "events_after_targets": 0} == (
        corpus_of(rows, "joint-time")[1] | {"split": "", "events_after_targets": 0}
    )


@pytest.mark.parametrize(("enders", "split"), [(4, "each-task"), (5, "joint-time")])
def test_a_quarter_is_the_border(enders, split):
    rows = [
        row for number in range(20) for row in user(number, "rsrs" if number < enders else "srsr")
    ]
    assert choose_split(table(rows)) == split


def test_a_log_is_not_thrown_away_for_a_task_of_the_start():
    """200 users of 30 steps who search at the start, 20 of them at the end as well: one clock keeps
    all events.
    """
    rows = [
        row for n in range(200) for row in user(n, "rrss" + "r" * 24 + ("ss" if n < 20 else "rr"))
    ]
    assert choose_split(table(rows)) == "joint-time"
    # searches in the middle are worth a split of their own only while half of the log stays
    middle = [row for n in range(200) for row in user(n, "r" * 11 + "ss" + "r" * 17)]
    left_out = each_task_split(table(middle)) == LEFT_OUT
    assert left_out.mean() > 0.5
    assert choose_split(table(middle)) == "joint-time"
    later = [row for n in range(200) for row in user(n, "r" * 20 + "ss" + "r" * 8)]
    assert choose_split(table(later)) == "each-task"


# -------------------------------------------------------------------------------- the reference


def slow_split(events: list[tuple[int, int, str]]) -> list[str]:
    """The definition, user by user and event by event."""
    split = ["train"] * len(events)
    for person in {user for user, _, _ in events}:
        rows = [row for row, (user, _, _) in enumerate(events) if user == person]
        steps = sorted({events[row][1] for row in rows})
        remaining = list(rows)
        for name, least in (("test", 2), ("validation", 1)):
            # task -> the last step at which the user does it, of those with enough steps before
            # them
            last = {}
            third = max((steps.index(events[row][1]) for row in remaining), default=0) / 3
            for row in remaining:
                _, time, task = events[row]
                if steps.index(time) >= max(least, third):
                    last[task] = max(time, last.get(task, time))
            if not last:
                continue
            cut = min(last.values())
            for row in remaining:
                _, time, task = events[row]
                if time >= cut:
                    split[row] = name if last.get(task) == time else LEFT_OUT
            remaining = [row for row in remaining if events[row][1] < cut]
    return split


@given(logs())
@settings(max_examples=300, deadline=None)
def test_it_equals_a_loop_over_events(log):
    rows = list(log[["user_id", "time", "task"]].itertuples(index=False, name=None))
    assert each_task_split(log).tolist() == slow_split(rows)


# --------------------------------------------------------------------------- what must never be


@given(logs())
@settings(max_examples=200, deadline=None)
def test_what_the_split_promises(log):
    log = log.assign(split=each_task_split(log))
    for _, mine in log.groupby("user_id"):
        if mine["time"].nunique() < 3:
            continue
        for name in TARGETS:
            targets = mine[mine["split"] == name]
            assert len(targets), "who stays long enough validates and tests"
            assert (targets.groupby("task")["time"].nunique() == 1).all(), "at most one step a task"
            cut = targets["time"].min()
            earlier = ("train",) if name == "validation" else ("train", "validation")
            after = mine[mine["time"] >= cut]
            assert not after["split"].isin(earlier).any(), (
                "nothing after the first target trains or validates"
            )
        train = mine.loc[mine["split"] == "train", "time"]
        assert train.min() < mine.loc[mine["split"].isin(TARGETS), "time"].min(), (
            "something trains before any target"
        )


@given(logs())
@settings(max_examples=100, deadline=None)
def test_no_history_holds_what_comes_after_the_first_target(log):
    """Seen from the corpus: what any event's history holds is train, or a target of the same user's
    other task.
    """
    try:
        corpus, funnel = corpus_of(log, "each-task")
    except ArtifactError:
        assert (log.groupby("user_id")["time"].nunique() < 3).all()
        return
    kept, (start, end) = corpus.events, history_bounds(corpus.events)
    assert set(kept["split"]) <= {"train", *TARGETS}
    assert funnel["events_read"] >= funnel["events_after_targets"] + len(kept)
    for row in range(len(kept)):
        me, past = kept.iloc[row], kept.iloc[start[row] : end[row]]
        assert (past["time"] < me["time"]).all()
        if me["split"] == "train":
            assert (past["split"] == "train").all()
        # of the targets of its own split, a history holds the user's other task's alone
        assert not (
            (past["split"] == me["split"]) & (past["task"] == me["task"]) & (me["split"] != "train")
        ).any()


@given(logs(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_users_do_not_know_of_each_other(log, seed):
    whole = pd.Series(each_task_split(log))
    for _, mine in log.groupby("user_id"):
        assert each_task_split(mine.reset_index(drop=True)).tolist() == whole[mine.index].tolist()


# ----------------------------------------------------------------------- too small, and said so


@pytest.mark.parametrize(
    ("word", "split", "counts", "advised"),
    [
        ("rrrss", "joint-time", "3 train, 0 validation, 0 test", True),  # both targets are searches
        ("rrsrs", "joint-time", "2 train, 1 validation, 0 test", True),
        ("srr", "each-task", "0 train, 1 validation, 1 test", False),
    ],
)
def test_a_log_without_recommendations_in_a_split_stops(word, split, counts, advised):
    corpus, _ = corpus_of(user(0, word), split)
    with pytest.raises(ArtifactError) as error:
        check_splits(corpus, split)
    assert f"there are {counts} recommendations" in str(error.value)
    assert ("data.split=each-task" in str(error.value)) == advised


@pytest.mark.parametrize(
    ("word", "split", "counts", "advised"),
    [
        ("rsrrr", "joint-time", "1 train, 0 validation, 0 test", True),
        ("srrrr", "each-task", "1 train, 0 validation, 0 test", False),
    ],
)
def test_searches_that_no_split_can_judge_stop(word, split, counts, advised):
    corpus, _ = corpus_of(user(0, word), split)
    with pytest.raises(
        ArtifactError, match=rf"there are {counts} searches.*leave the queries out"
    ) as error:
        check_splits(corpus, split)
    assert ("data.split=each-task" in str(error.value)) == advised


def test_a_log_of_both_tasks_or_of_one_passes():
    for word in ("rsrsrsrs", "rrrr"):
        check_splits(corpus_of(user(0, word), "each-task")[0], "each-task")


def reported(rows: list, split: str) -> Report:
    corpus, funnel = corpus_of(rows, split)
    return with_targets(Report({}, {}, {}, [], {"events": len(rows)}), corpus, funnel)


def test_the_report_counts_the_targets_of_each_task_and_what_is_left_out():
    report = reported(starved(), "each-task")
    assert report.kept["test search targets"] == report.kept["validation search targets"] == 58
    assert (
        report.kept["test recommend targets"] == report.kept["validation recommend targets"] == 58
    )
    left_out = [f for f in report.findings if "after their user's first target" in f.what]
    wanted = (each_task_split(table(starved())) == LEFT_OUT).sum()
    assert [(f.level, f.count, f.total) for f in left_out] == [("WARN", wanted, len(starved()))]


@pytest.mark.parametrize(("users", "warned"), [(99, True), (100, False)])
def test_fewer_than_a_hundred_targets_are_warned_about(users, warned):
    rows = [row for number in range(users) for row in user(number, "rsrsrs")]
    few = [f for f in reported(rows, "each-task").findings if "targets of" in f.what]
    assert len(few) == (4 if warned else 0)
    assert all(f.level == "WARN" and f.count == users and "each-task" not in f.then for f in few)


def test_each_task_is_advised_to_the_task_that_one_clock_starves():
    rows = [row for number in range(50) for row in user(number, "srsrsr" if number else "rsrsrs")]
    few = {f.what: f for f in reported(rows, "joint-time").findings if "targets of" in f.what}
    assert (
        few["are test targets of search"].count,
        few["are test targets of recommend"].count,
    ) == (1, 49)
    assert "set data.split=each-task" in few["are test targets of search"].then
    assert "each-task" not in few["are test targets of recommend"].then


def test_each_split_of_a_task_is_part_of_its_events():
    corpus, _ = corpus_of(starved(), "each-task")
    for task in TASKS:
        counts = [len(corpus.targets(split, task)) for split in ("train", *TARGETS)]
        assert sum(counts) == (corpus.events["task"] == task).sum()
