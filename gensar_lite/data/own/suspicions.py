"""What a whole log gives away: strangers merged into one user, ids that are one, a wrong order.

In: tables with clean ids. Out: findings of level WARN, nothing is changed. This file does not know
what is broken in a single row (rules.py, event_rules.py).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gensar_lite.data.own.times import read_times
from gensar_lite.data.report import Finding, find, show
from gensar_lite.data.text import NOTHING, is_nothing, plain_words

NO_USER = NOTHING | {"unknown", "anonymous", "anon", "guest", "missing", "unregistered", "default"}
# of a log's events, and times the median user's: who has both may be many people
LARGE, TIMES = 0.05, 10
SORTED = 0.9  # rank correlation with the order of the file: from here on it is sorted by that
LEAST_ROWS, LEAST_USERS = 20, 5  # fewer are sorted by chance


def merged_users(table: pd.DataFrame) -> list[Finding]:
    """Users that may be many people: a word for nobody (NA, anonymous, -1), whatever its share; a
    ``0`` that leads the log with `TIMES` the median user's events; anybody with that and a share of
    more than `LARGE`.
    """
    codes, users = pd.factorize(table["user_id"], sort=True)
    counts = np.bincount(codes, minlength=len(users))
    much = counts >= TIMES * np.median(counts) if len(users) else np.zeros(0, dtype=bool)
    findings = []
    for place in np.argsort(-counts, kind="stable"):
        user, share = users[place], counts[place] / len(table)
        zero = set(user) <= set("0-") and counts[place] == counts.max()
        nobody = _is_nobody(user) or (zero and much[place])
        if not nobody and not (much[place] and share > LARGE):
            continue
        what = f"belong to one user, {show(user)} ({share:.1%} of the log; the median user has {np.median(counts):g})"
        then = "If strangers are merged here, take these rows out: they tell of no user."
        if nobody:
            then = f"{show(user)} is what programs write where there is no user. {then}"
        findings += find("WARN", "events", table, codes == place, what, then)
    return findings


def _is_nobody(user: str) -> bool:
    return user == "-1" or is_nothing(user) or plain_words(user) in NO_USER


def alike(ids: pd.Series) -> pd.Series:
    """Ids without what people and programs change in them: case, spaces, zeros, wide characters."""
    plain = ids.str.normalize("NFKC").str.casefold().str.replace(r"\s+", "", regex=True)
    return plain.str.lstrip("0")


def look_alikes(table: pd.DataFrame, name: str, field: str) -> list[Finding]:
    """Ids that may be one: they differ in case, spaces or leading zeros only."""
    ids = pd.Series(np.sort(table[field].unique().astype(object)), dtype="str")
    key = alike(ids)
    twins = key.duplicated(keep=False)
    if not twins.any():
        return []
    first = ", ".join(map(show, ids[key == key[twins].iloc[0]][:3]))
    what = f"are a {field} that differs from another one in case, spaces or leading zeros only"
    then = "They stay different. If they are one, write them alike."
    return [Finding("WARN", name, what, int(twins.sum()), len(ids), (), first, then, "ids")]


def doubtful_order(table: pd.DataFrame, beside: pd.DataFrame) -> list[Finding]:
    """For ``data.order=file``: is the order of a user's rows that of something else than time?

    `beside` holds the events' columns that no field was taken from. Warned about: an order by item
    id, by the item's number of events, or by a numeric column (`rank_order` of `SORTED` or more, or
    minus that); and a time that disagrees.
    """
    user, rows = pd.factorize(table["user_id"])[0], np.ones(len(table), dtype=bool)
    item = pd.Series(pd.factorize(table["item_id"], sort=True)[0])
    numbers = pd.to_numeric(table["item_id"], errors="coerce")
    ids = numbers.to_numpy() if np.isfinite(numbers).all() else item.to_numpy()
    then = "data.order=file takes the order of the rows for time, so a user's last rows test: "
    better = then + "write them as they happened, or bring a column of times."
    findings = []
    for values, what in (
        (ids, "item id"),
        (item.groupby(item).transform("size").to_numpy(), "item's popularity"),
    ):
        findings += _sorted_by(table, rank_order(user, values), what, better)
    for column in beside.columns:
        values = pd.to_numeric(beside[column].reindex(table.index), errors="coerce").to_numpy(
            dtype=np.float64
        )
        if np.isfinite(values).all():
            hint = f"if {show(column)} is a time, set data.order=time and data.columns=events.time={column[:40]}, else "
            hint += "write them as they happened."
            findings += _sorted_by(
                table, rank_order(user, values), f"column {show(column)}", then + hint
            )
    if "time" in table and not findings:
        seconds, _ = read_times(table["time"].str.strip())
        if (
            np.isfinite(seconds).all()
            and (rate := rank_order(user, seconds)) is not None
            and rate < SORTED
        ):
            what = f"stand in another order than their time says (rank correlation {rate:.2f})"
            findings += find(
                "WARN", "events", table, rows, what, "Set data.order=time to follow the times."
            )
    return findings


def _sorted_by(table: pd.DataFrame, rate: float | None, name: str, then: str) -> list[Finding]:
    if rate is None or abs(rate) < SORTED:
        return []
    what = f"follow the {name} inside their user (rank correlation {rate:.2f})"
    return find("WARN", "events", table, np.ones(len(table), dtype=bool), what, then)


def rank_order(user: np.ndarray, values: np.ndarray) -> float | None:
    """Rank correlation in [-1, 1] of each user's values with the order of their rows, over all
    users together.

    Equal values say nothing: a sorted column is 1 with any number of ties. None where fewer than
    `LEAST_USERS` users with `LEAST_ROWS` rows have values that differ.
    """
    log = pd.DataFrame({"user": user, "value": values, "place": np.arange(len(user))})
    ranks = log.groupby("user")[["value", "place"]].rank()
    ranks -= ranks.groupby(log["user"]).transform("mean")
    differ = (ranks["value"] ** 2).groupby(log["user"]).transform("sum") > 0
    if differ.sum() < LEAST_ROWS or log.loc[differ, "user"].nunique() < LEAST_USERS:
        return None
    # of all orders of the rows, the sorted one has the largest sum of products: that of the value
    # ranks' squares
    return float((ranks["value"] * ranks["place"]).sum() / (ranks["value"] ** 2).sum())
