"""Rules for strangers' items, queries and events: nothing is merged, lost or misleading without a
word.

Tables are written by hand, so that the right answer is known; what a whole file gives goes through
`load_files`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own_logs import FILMS, checked, checked_table, load, log, messages

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.own.rules import check_items, check_queries
from gensar_lite.data.own.times import read_times, rounded_times

# ------------------------------------------------------------------------------------- merged users

NOBODY = [
    "NA",
    "NULL",
    "None",
    "nan",
    "unknown",
    "Anonymous",
    "-1",
    "<NA>",
    "(not set)",
    r"\N",
    "n/a",
    "guest",
]


@pytest.mark.parametrize("user", NOBODY)
@pytest.mark.parametrize("count", [3, 1656])
def test_a_word_for_nobody_is_warned_about_whatever_its_share(user, count):
    counts = {f"u{n}": 5 for n in range(164)} | {user: count}
    (message,) = messages(checked(log(counts))[1], "belong to one user")
    assert message.startswith(
        f"WARN events: {count:,} of {820 + count:,} rows belong to one user, {user!r} ("
    )
    assert f"{count / (820 + count):.1%} of the log; the median user has 5" in message
    assert "If strangers are merged here, take these rows out" in message


@pytest.mark.parametrize(("user", "count", "warned"), [
    # numbered from 0, or a nobody ten times the median
    ("0", 50, True), ("0", 49, False), ("0", 5, False),
    ("00000000-0000-0000-0000-000000000000", 50, True),
    # a name may be anybody's: a large share alone tells
    ("shop account", 500, True), ("shop account", 50, False),
    ("natasha", 50, False), ("nil7", 5, False), ("x" * 900, 500, True),
])  # fmt: skip
def test_who_leads_the_log_by_far_is_warned_about(user, count, warned):
    findings = checked(log({f"u{n}": 5 for n in range(400)} | {user: count}))[1]
    assert len(messages(findings, "belong to one user")) == warned


@given(st.lists(st.integers(3, 25), min_size=2, max_size=10))
@settings(max_examples=30, deadline=None)
def test_ordinary_small_logs_are_not_warned_about(counts):
    assert not messages(
        checked(log({str(n): count for n, count in enumerate(counts)}))[1], "belong to one user"
    )


def test_ids_that_look_alike_are_named_and_stay_apart():
    events = log({"Ann": 3, "ann": 3, "a nn": 3, "007": 3, "7": 3, "bob": 3})
    table, findings = checked(events)
    assert table["user"].nunique() == 6
    (message,) = messages(findings, "differs from another")
    assert message == (
        "WARN events: 5 of 6 ids are a user_id that differs from another one in case, spaces or "
        "leading zeros only "
        "(first: '007', '7'). They stay different. If they are one, write them alike."
    )
    (message,) = messages(
        checked_table(check_items, pd.DataFrame({"item_id": ["b1", "B1", "b2"]}))[1], "differs from"
    )
    assert "(first: 'B1', 'b1')" in message
    assert not messages(checked(log({"u1": 3, "u2": 3}))[1], "differs from")


# ----------------------------------------------------------------------------------- ids of numbers

ROUNDED = ["1.001E+12", "1e+05", "1.0e-5", "1,001E+12", "2.5E10", "-1.5e+3", "1E+12"]
IDS = ["e5", "1e5", "2E9F", "12E04", "E+5", "1e5.jpg", "1.2.3", "3-1e5", "A1.5E+3"]


@pytest.mark.parametrize("value", ROUNDED)
@pytest.mark.parametrize("field", ["user_id", "item_id", "query_id"])
def test_ids_that_a_spreadsheet_rounded_stop(field, value):
    events = log({"u1": 5, "u2": 5}).assign(query_id="")
    events.loc[3, field] = value
    with pytest.raises(
        ArtifactError, match=rf"1 of 10 rows have a rounded number for {field} \(row 3; "
    ) as error:
        checked(events.set_index(events.index.astype(int)), pd.Series({"q": "tent"}))
    assert f"export the {field} again, as text" in str(error.value)
    for rule, table in (
        (check_items, {"item_id": [value]}),
        (check_queries, {"query_id": [value], "query": ["x"]}),
    ):
        with pytest.raises(ArtifactError, match="have a rounded number for"):
            checked_table(rule, pd.DataFrame(table))


@pytest.mark.parametrize("value", IDS)
def test_ids_with_an_e_stay_ids(value):
    assert checked(log({value: 5}))[0]["user"].tolist() == [value] * 5
    items, _ = checked_table(check_items, pd.DataFrame({"item_id": [value]}))
    assert items["item_id"].tolist() == [value]


def test_query_ids_as_decimal_numbers_stop():
    """A column of whole numbers with gaps is written as 12.0 by many tools: no query would be
    known.
    """
    events = log({"u1": 5}).assign(query_id=["12.0", "", "", "", ""])
    with pytest.raises(ArtifactError, match="have a decimal number for query_id"):
        checked(events, pd.Series({"12": "red tent"}))


# -------------------------------------------------------------------------------------------- times

SECONDS = [1_406_073_600, 1_406_160_000, 1_420_000_000]


@pytest.mark.parametrize(
    ("form", "unit"),
    [("%Y%m%d", 86_400), ("%Y%m%d.0", 86_400), ("%Y%m%d%H%M", 60), ("%Y%m%d%H%M%S", 1)],
)
def test_dates_without_signs_are_dates(form, unit):
    dates = pd.Series(pd.to_datetime(SECONDS, unit="s").strftime(form).tolist(), dtype="str")
    seconds, name = read_times(dates)
    assert seconds.tolist() == [s // unit * unit for s in SECONDS]
    assert name.startswith("dates written YYYYMMDD")
    events = log({"u": 3}).assign(time=dates)
    (message,) = messages(checked(events)[1], "have a time like YYYYMMDD")
    assert message.startswith("FIX events: 3 of 3 rows")


def test_a_wrong_date_among_dates_without_signs_is_no_time():
    seconds, _ = read_times(
        pd.Series(["20140723", "20140231", "20140724", "20149999"], dtype="str")
    )
    assert np.isnan(seconds).tolist() == [False, True, False, True]


@pytest.mark.parametrize("values", [
    ["1406073600", "1406160000"], ["19891231", "19891230"], ["21010101"], ["20140001", "20141301"],
    ["12345678", "87654321"], ["1", "20140723", "3"], ["1406073600000"],
])  # fmt: skip
def test_other_numbers_are_seconds_still(values):
    seconds, unit = read_times(pd.Series(values, dtype="str"))
    assert unit in ("seconds", "milliseconds")
    assert seconds.tolist() == [int(v) / (1000 if unit == "milliseconds" else 1) for v in values]


ROUNDED_TIMES = ["1.40607E+12", "1.4E+9", "1,40607E+12", "1e9", "1.4e09", "14E+8"]


@pytest.mark.parametrize("time", ROUNDED_TIMES)
def test_times_that_a_spreadsheet_rounded_stop(time):
    events = log({"u1": 5, "u2": 5})
    events.loc[3, "time"] = time
    with pytest.raises(
        ArtifactError, match=r"1 of 10 rows have a rounded number for time \(row 3; "
    ) as error:
        checked(events)
    assert "cut their seconds: export the column again, as text." in str(error.value)


def test_doubles_with_all_their_digits_are_no_rounded_times():
    """As pandas writes nanoseconds that are doubles: one of them just ends in zeros."""
    texts = pd.Series([repr(1e9 * s) for s in (1_406_073_612, 1_400_000_000)], dtype="str")
    assert texts.tolist() == ["1.406073612e+18", "1.4e+18"]
    assert not rounded_times(texts).any()
    assert read_times(texts)[0].tolist() == [1_406_073_612, 1_400_000_000]
    assert rounded_times(texts[1:]).all()
    assert not rounded_times(
        pd.Series(["1.5e-05", "1406073612", "", "2014-07-23"], dtype="str")
    ).any()


@pytest.mark.parametrize("zone", [" UTC", "UTC", " GMT", "Z", " Z", "+00:00", ""])
def test_universal_time_by_every_name(zone):
    seconds, unit = read_times(
        pd.Series([f"2019-10-01 00:00:0{n}{zone}" for n in range(3)], dtype="str")
    )
    assert (seconds.tolist(), unit) == ([1_569_888_000, 1_569_888_001, 1_569_888_002], "dates")


@pytest.mark.parametrize("date", ["2019-10-01 00:00:00 CET", "UTC", "2019-10-01 00:00:00 UTC+2"])
def test_a_zone_of_another_name_is_not_guessed(date):
    assert np.isnan(read_times(pd.Series([date], dtype="str"))[0]).all()


@pytest.mark.parametrize("date", ["23/07/2014", "07/23/2014", "23.07.2014"])
def test_dates_of_other_forms_are_refused_with_one_that_is_read(date):
    with pytest.raises(
        ArtifactError, match=r"neither a number nor an ISO date.*2014-07-23T00:00:00"
    ):
        checked(log({"u": 3}).assign(time=date))


# -------------------------------------------------------------------------------- losses and limits


def test_large_losses_of_users_are_warned_about(tmp_path):
    counts = {f"u{n}": 5 for n in range(62)} | {f"v{n}": 2 for n in range(38)}
    (message,) = messages(load(tmp_path, FILMS, log(counts)).report.findings, "are dropped")
    assert message == (
        "WARN events: 38 of 100 users are dropped, 38% of them. All figures will be about the "
        "others. "
        "Bring longer logs."
    )
    few = {f"u{n}": 5 for n in range(81)} | {f"v{n}": 2 for n in range(19)}
    assert not messages(load(tmp_path, FILMS, log(few)).report.findings, "are dropped")


def test_large_losses_of_items_are_warned_about(tmp_path):
    findings = load(
        tmp_path, FILMS, log({f"u{n}": 8 for n in range(9)}), min_item_events=2
    ).report.findings
    (message,) = messages(findings, "are dropped")
    assert message.startswith(
        "WARN items: 42 of 50 rows are dropped, 84% of them. All figures will be"
    )
    assert message.endswith("Lower data.min_item_events.")
    assert any(f.level == "DROP" and f.table == "items" for f in findings), "and listed as before"


# ------------------------------------------------------------------------------------------- advice


def test_tasks_that_are_neither_search_nor_recommend_are_named():
    events = log({"u": 6}).assign(
        task=["CLICK", "CART", "ORD", "click", "search", ""], query=[""] * 4 + ["tent", ""]
    )
    (message,) = messages(checked(events)[1], "have a task")
    assert message.startswith(
        "WARN events: 4 of 6 rows have a task that is no search and no recommendation ('cart', "
    )
    assert "All of them count alike" in message


def test_an_item_in_another_case_is_named():
    items = pd.Index([f"AB{n:04d}" for n in range(9000)])
    events = pd.DataFrame({"user_id": ["u"], "item_id": ["ab8000"], "time": ["1"]})
    with pytest.raises(
        ArtifactError, match="Items has 'AB8000' where events has 'ab8000': write ids alike"
    ):
        checked(events, items=items)
