"""What a whole log gives away: strangers merged into one user, ids that are one, a wrong order.

In: tables with clean ids. Out: findings of level WARN in the table's `Checks`; nothing is changed.
This file does not know what is broken in a single row (rules.py, event_rules.py).
"""

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


def merged_users(table: pd.DataFrame, checks: Checks) -> None:
    """Users that may be many people, the one with most events first: a word for nobody (NA, -1),
    whatever its share; a ``0`` that leads the log with `_TIMES` the median user's events; anybody
    with that and a share of more than `_LARGE`."""
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
        if is_nobody or (is_much and share > _LARGE):
            name = show(user)
            nobody = f"{name} is what programs write where there is no user. " if is_nobody else ""
            words = {"user": name, "share": share, "median": median, "nobody": nobody}
            checks.find("one-user", table, codes == place, **words)


def look_alikes(table: pd.DataFrame, checks: Checks, field: str) -> None:
    """Ids that may be one: their plain forms are equal."""
    ids = pd.Series(sorted(table[field].unique()), dtype="str")
    plain = ids.map(plain_id)
    is_twin = plain.duplicated(keep=False)
    if is_twin.any():
        first = ", ".join(map(show, ids[plain == plain[is_twin].iloc[0]][:3]))
        count = int(is_twin.sum())
        checks.note("look-alike", count, len(ids), "ids", first=first, field=field)


def doubtful_order(table: pd.DataFrame, beside: pd.DataFrame, checks: Checks) -> None:
    """For ``data.order=file``: is the order of a user's rows that of something else than time?

    Warned about: an order by item id, by the item's number of events, or by a numeric column of
    `beside`, those that no field was taken from; only where there is none, a time that disagrees.
    """
    user = pd.factorize(table["user_id"])[0]
    every_row = np.ones(len(table), dtype=bool)
    better = "write them as they happened"
    # What the rows may follow: (name, values (E,), advice). Numeric ids sort as numbers ...
    item = pd.Series(pd.factorize(table["item_id"], sort=True)[0])
    ids = _numbers(table["item_id"])
    popularity = item.groupby(item).transform("size")
    bring = f"{better}, or bring a column of times."
    orders = [("item id", item if ids is None else ids, bring)]
    orders.append(("item's popularity", popularity, bring))
    # ... and any other column may be a time that nobody named so
    for column in beside.columns:
        values = _numbers(beside[column].reindex(table.index))
        settings = f"data.order=time and data.columns=events.time={as_typed(column)}"
        then = f"if {show(column)} is a time, set {settings}, else {better}."
        if values is not None:
            orders.append((f"column {show(column)}", values, then))
    is_sorted = False
    for name, values, then in orders:
        rate = rank_order(user, np.asarray(values))
        if rate is not None and abs(rate) >= _SORTED:
            is_sorted = True
            checks.find("sorted", table, every_row, name=name, rate=rate, then=then)
    if "time" in table and not is_sorted:
        # a time that was read and is not used: the file should follow it
        seconds, _ = read_times(table["time"].str.strip())
        rate = rank_order(user, seconds) if np.isfinite(seconds).all() else None
        if rate is not None and rate < _SORTED:
            checks.find("against-time", table, every_row, rate=rate)


def _numbers(cells: pd.Series) -> np.ndarray | None:
    """A column's finite numbers (E,) float64; None when a cell is none."""
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    return numbers if np.isfinite(numbers).all() else None


def rank_order(user: np.ndarray, values: np.ndarray) -> float | None:
    """Rank correlation in [-1, 1] of each user's values (E,) with the order of their rows, over all
    users together; ties say nothing. None where too few users have values that differ."""
    log = pd.DataFrame({"user": user, "value": values, "place": np.arange(len(user))})
    # ranks inside each user, from their mean on, so that all users have one scale
    ranks = log.groupby("user")[["value", "place"]].rank()
    ranks -= ranks.groupby(log["user"]).transform("mean")
    squares = ranks["value"] ** 2
    differ = squares.groupby(log["user"]).transform("sum") > 0
    if differ.sum() < _LEAST_ROWS or log.loc[differ, "user"].nunique() < _LEAST_USERS:
        return None
    # of all orders of the rows, the sorted one has the largest sum of products
    return float((ranks["value"] * ranks["place"]).sum() / squares.sum())
