"""What a whole log gives away: strangers merged into one user, ids that are one, a wrong order.

In: tables with clean ids. Out: findings of level WARN in the table's `Checks`; nothing is changed.
This file does not know what is broken in a single row (rules.py, event_rules.py).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gensar_lite.data.own.columns import as_typed
from gensar_lite.data.own.times import read_times
from gensar_lite.data.report import Checks, show
from gensar_lite.data.text import NOTHING, is_nothing, plain_id, plain_words

_NO_USER = NOTHING | {"unknown", "anonymous", "anon", "guest", "missing", "unregistered", "default"}
# share of a log's events, and times the median user's: who has both may be many people
_LARGE = 0.05
_TIMES = 10
_SORTED = 0.9  # rank correlation with the order of the file: from here on it is sorted by that
_LEAST_ROWS = 20  # fewer are sorted by chance
_LEAST_USERS = 5
_BY_FILE = "data.order=file takes the order of the rows for time, so a user's last rows test: "


def merged_users(table: pd.DataFrame, checks: Checks) -> None:
    """Users that may be many people, the one with most events first.

    These are: a word for nobody (NA, anonymous, -1), whatever its share; a ``0`` that leads the log
    with `_TIMES` the median user's events; anybody with that and a share of more than `_LARGE`.
    """
    codes, users = pd.factorize(table["user_id"], sort=True)
    counts = np.bincount(codes, minlength=len(users))  # (U,) events
    if not len(users):
        return
    median = np.median(counts)
    for place in np.argsort(-counts, kind="stable"):
        user = users[place]
        share = counts[place] / len(table)
        is_much = counts[place] >= _TIMES * median
        # 0 or 00000000-0000-... is where many systems begin to count, so it may be a user as well
        is_zero = set(user) <= set("0-") and counts[place] == counts.max()
        is_nobody = user == "-1" or is_nothing(user) or plain_words(user) in _NO_USER
        is_nobody = is_nobody or (is_zero and is_much)
        if not is_nobody and not (is_much and share > _LARGE):
            continue
        counted = f"{share:.1%} of the log; the median user has {median:g}"
        then = "If strangers are merged here, take these rows out: they tell of no user."
        if is_nobody:
            then = f"{show(user)} is what programs write where there is no user. {then}"
        what = f"belong to one user, {show(user)} ({counted})"
        checks.find("WARN", table, codes == place, what, then)


def look_alikes(table: pd.DataFrame, checks: Checks, field: str) -> None:
    """Ids that may be one: their plain forms are equal."""
    ids = pd.Series(sorted(table[field].unique()), dtype="str")
    plain = ids.map(plain_id)
    is_twin = plain.duplicated(keep=False)
    if is_twin.any():
        first = ", ".join(map(show, ids[plain == plain[is_twin].iloc[0]][:3]))
        what = f"are a {field} that differs from another one in case, spaces or leading zeros only"
        then = "They stay different. If they are one, write them alike."
        checks.note("WARN", what, then, int(is_twin.sum()), len(ids), "ids", first=first)


def doubtful_order(table: pd.DataFrame, beside: pd.DataFrame, checks: Checks) -> None:
    """For ``data.order=file``: is the order of a user's rows that of something else than time?

    `beside` holds the events' columns that no field was taken from. Warned about: an order by item
    id, by the item's number of events, or by a numeric column (`rank_order` of `_SORTED` or more,
    or minus that); only where there is none, a time that disagrees.
    """
    user = pd.factorize(table["user_id"])[0]
    every_row = np.ones(len(table), dtype=bool)
    better = "write them as they happened"
    # What the rows may follow: (name, values (E,), advice). Numeric ids sort as numbers ...
    item = pd.Series(pd.factorize(table["item_id"], sort=True)[0])
    ids = _numbers(table["item_id"])
    popularity = item.groupby(item).transform("size")
    orders = [
        ("item id", item if ids is None else ids, f"{better}, or bring a column of times."),
        ("item's popularity", popularity, f"{better}, or bring a column of times."),
    ]
    # ... and any other column may be a time that nobody named so
    for column in beside.columns:
        values = _numbers(beside[column].reindex(table.index))
        if values is not None:
            settings = f"data.order=time and data.columns=events.time={as_typed(column)}"
            then = f"if {show(column)} is a time, set {settings}, else {better}."
            orders.append((f"column {show(column)}", values, then))
    is_sorted = False
    for name, values, then in orders:
        rate = rank_order(user, np.asarray(values))
        if rate is not None and abs(rate) >= _SORTED:
            is_sorted = True
            what = f"follow the {name} inside their user (rank correlation {rate:.2f})"
            checks.find("WARN", table, every_row, what, _BY_FILE + then)
    if "time" not in table or is_sorted:
        return
    # a time that was read and is not used: the file should follow it
    seconds, _ = read_times(table["time"].str.strip())
    rate = rank_order(user, seconds) if np.isfinite(seconds).all() else None
    if rate is not None and rate < _SORTED:
        what = f"stand in another order than their time says (rank correlation {rate:.2f})"
        then = "Set data.order=time to follow the times."
        checks.find("WARN", table, every_row, what, then)


def _numbers(cells: pd.Series) -> np.ndarray | None:
    """A column's finite numbers (E,) float64; None when a cell is none."""
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    return numbers if np.isfinite(numbers).all() else None


def rank_order(user: np.ndarray, values: np.ndarray) -> float | None:
    """Rank correlation in [-1, 1] of each user's values (E,) with the order of their rows, over all
    users together.

    Equal values say nothing: a sorted column is 1 with any number of ties. None where fewer than
    `_LEAST_USERS` users with `_LEAST_ROWS` rows have values that differ.
    """
    log = pd.DataFrame({"user": user, "value": values, "place": np.arange(len(user))})
    # ranks inside each user, from their mean on, so that all users have one scale
    ranks = log.groupby("user")[["value", "place"]].rank()
    ranks -= ranks.groupby(log["user"]).transform("mean")
    differ = (ranks["value"] ** 2).groupby(log["user"]).transform("sum") > 0
    if differ.sum() < _LEAST_ROWS or log.loc[differ, "user"].nunique() < _LEAST_USERS:
        return None
    # of all orders of the rows, the sorted one has the largest sum of products: that of the value
    # ranks' squares
    return float((ranks["value"] * ranks["place"]).sum() / (ranks["value"] ** 2).sum())
