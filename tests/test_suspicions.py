"""An order of rows that is no time: what is warned about, on logs sorted by something that is
known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from gensar_lite.config import DataConfig
from gensar_lite.data.own.files import load_files
from gensar_lite.data.own.suspicions import rank_order
from gensar_lite.data.report import Finding


def plays(num_users: int = 30, length: int = 8, seed: int = 0) -> pd.DataFrame:
    """Users who play `length` of 40 artists, in a random order, with a play count: ``user, artist,
    plays``.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(num_users):
        artists = np.minimum(rng.geometric(0.08, size=200), 40)
        chosen = pd.unique(artists)[:length]  # popular ones are many users'
        rows += [
            (f"u{user}", f"{a:03d}", n)
            for a, n in zip(chosen, rng.integers(1, 5000, len(chosen)), strict=True)
        ]
    return pd.DataFrame(rows, columns=["user", "artist", "plays"])


def warned(folder, events: pd.DataFrame, **changes) -> list[Finding]:
    """Findings about the order of own files, read with data.order=file."""
    pd.DataFrame({"item_id": [f"{n:03d}" for n in range(1, 41)]}).to_csv(
        folder / "items.csv", index=False
    )
    events.to_csv(folder / "events.csv", index=False)
    paths = {name: str(folder / f"{name}.csv") for name in ("items", "events")}
    settings = {"order": "file", "columns": ("events.item_id=artist",)} | changes
    findings = load_files(DataConfig(source="files", **paths | settings)).report.findings
    return [f for f in findings if "rank correlation" in f.what]


def popularity(events: pd.DataFrame) -> pd.Series:
    return events["artist"].map(events["artist"].value_counts())


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("by_user", [True, False], ids=["inside users", "the whole file"])
@pytest.mark.parametrize(
    ("key", "name"),
    [("plays", "column 'plays'"), ("artist", "item id"), ("popularity", "item's popularity")],
)
def test_an_order_by_something_else_than_time_is_warned_about(
    tmp_path, key, name, by_user, ascending
):
    events = plays().assign(popularity=lambda t: popularity(t))
    events = events.sort_values(
        ["user", key] if by_user else [key], ascending=ascending, kind="stable"
    )
    (finding,) = [f for f in warned(tmp_path, events.drop(columns="popularity")) if name in f.what]
    assert finding.level == "WARN"
    assert (
        finding.what
        == f"follow the {name} inside their user (rank correlation {1 if ascending else -1:.2f})"
    )
    assert "data.order=file takes the order of the rows for time" in finding.then


def test_the_message_tells_how_to_use_a_column_that_is_a_time(tmp_path):
    events = plays().sort_values(["user", "plays"]).rename(columns={"plays": "moment"})
    (finding,) = warned(tmp_path, events)
    assert "set data.order=time and data.columns=events.time=moment" in finding.then


@pytest.mark.parametrize("seed", range(5))
def test_an_order_that_follows_nothing_is_not_warned_about(tmp_path, seed):
    assert warned(tmp_path, plays(seed=seed)) == []


def test_a_few_rows_are_sorted_by_chance_and_not_warned_about(tmp_path):
    events = plays(num_users=6, length=3).sort_values(["user", "plays"])
    assert warned(tmp_path, events) == []


def test_a_time_that_disagrees_with_the_file_is_warned_about(tmp_path):
    events = plays().drop(columns="plays")
    when = np.arange(len(events))
    assert warned(tmp_path, events.assign(timestamp=when)) == []
    (finding,) = warned(
        tmp_path, events.assign(timestamp=np.random.default_rng(0).permutation(when))
    )
    assert finding.what.startswith("stand in another order than their time says")
    assert finding.then == "Set data.order=time to follow the times."


def test_with_times_nothing_is_said_about_the_order_of_the_file(tmp_path):
    events = plays().sort_values(["user", "plays"]).assign(timestamp=np.arange(240))
    assert warned(tmp_path, events, order="time") == []


@given(st.lists(st.integers(0, 6), min_size=20, max_size=60), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_without_ties_it_is_spearmans_correlation(values, seed):
    """Of one user's rows repeated for five users, so that there are enough of them."""
    values = np.array(values) + np.random.default_rng(seed).permutation(len(values)) / 100
    rate = rank_order(np.repeat(np.arange(5), len(values)), np.tile(values, 5))
    assert rate == pytest.approx(spearmanr(np.arange(len(values)), values)[0])


@given(st.lists(st.integers(0, 3), min_size=20, max_size=60))
@settings(max_examples=60, deadline=None)
def test_ties_do_not_hide_a_sorted_column(values):
    user, rows = np.repeat(np.arange(5), len(values)), np.tile(np.sort(values), 5)
    rate = rank_order(user, rows)
    assert rate is None if len(set(values)) == 1 else rate == pytest.approx(1)
    assert rate is None or rank_order(user, -rows) == pytest.approx(-1)
