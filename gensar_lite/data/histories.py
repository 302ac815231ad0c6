"""A history is a slice of the event table: the rows of the same user that are strictly earlier.

In: events sorted by user, then time. Out: row bounds, never copies of rows.
This file does not know how a history is turned into tokens or vectors.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.machine.ranges import ranges


def history_bounds(events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """For each event the rows ``start[e]:end[e]`` of its history, two (E,) integer arrays.

    The history ends before the first event of the same user with the same time, so an event never sees
    itself, nor its twin in the other task.
    """
    user, when = events["user_id"].to_numpy(), events["time"].to_numpy()
    rows = np.arange(len(events))
    new_user = np.r_[True, user[1:] != user[:-1]]
    new_step = new_user | np.r_[True, when[1:] != when[:-1]]
    start = np.maximum.accumulate(np.where(new_user, rows, 0))
    end = np.maximum.accumulate(np.where(new_step, rows, 0))
    return start, end


def history_items(
    events: pd.DataFrame, rows: np.ndarray, length: int, task: str | None = None
) -> np.ndarray:
    """The last `length` items before each of `rows` (positions in `events`), oldest first.

    Returns (B, length) item ids, padded with -1 on the left. With `task`, only events of that task count.
    An item that stands twice at one time (a purchase and its search twin) is listed once.
    """
    start, end = history_bounds(events)
    item = events["item_id"].to_numpy()
    # a twin directly follows its purchase (same user, time, item): keep the first of the two
    keep = np.r_[True, ~((item[1:] == item[:-1]) & (np.diff(end) == 0) & (np.diff(start) == 0))]
    if task is not None:
        keep = (events["task"] == task).to_numpy()
    order = np.flatnonzero(keep)  # kept rows
    before = np.r_[0, np.cumsum(keep)]  # kept rows before row e
    low, high = before[start[rows]], before[end[rows]]  # (B,)
    columns = high[:, None] - length + np.arange(length)  # (B, length) positions among kept rows
    found = np.full((len(rows), length), -1, dtype=np.int64)
    valid = columns >= low[:, None]
    found[valid] = item[order[columns[valid]]]
    return found


class Seen:
    """What each event's user had met before it: strictly earlier events of the user, of both tasks.

    `events` is the whole log (row number = event id); ``start, end`` (E,) are row bounds as `history_bounds` gives
    them. Built once a log, asked many times.
    """

    def __init__(self, events: pd.DataFrame, start: np.ndarray, end: np.ndarray):
        self.items, self.start, self.end = (
            events["item_id"].to_numpy(),
            np.asarray(start),
            np.asarray(end),
        )

    @staticmethod
    def of_log(events: pd.DataFrame) -> Seen:
        """Of a log whose bounds nobody has computed yet."""
        return Seen(events, *history_bounds(events))

    def pairs(self, event_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``rows, items``, flat: row i of `event_ids` (B,) has met that item. Made to index a (B, N) matrix."""
        first, length = self.start[event_ids], self.end[event_ids] - self.start[event_ids]
        return np.repeat(np.arange(len(first)), length), self.items[ranges(first, length)]

    def hide(self, scores: np.ndarray, targets: pd.DataFrame) -> None:
        """Set the histories of *recommendation* targets (B rows of the log) to -inf in their scores (B, N), in place.
        A search may be answered with what its user knows."""
        row, item = self.pairs(targets["event_id"].to_numpy())
        recommend = (targets["task"] == "recommend").to_numpy()[row]
        scores[row[recommend], item[recommend]] = -np.inf

    def of(self, event_id: int) -> np.ndarray:
        """The items met before one event, oldest first."""
        return self.items[self.start[event_id] : self.end[event_id]]

    def last(self, event_ids: np.ndarray) -> np.ndarray:
        """The item met last before each event (B,); -1 for a user's first time step."""
        start, end = self.start[event_ids], self.end[event_ids]
        return np.where(end > start, self.items[np.maximum(end - 1, 0)], -1)


def seen_items(events: pd.DataFrame, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every item in the histories of `rows`, as pairs: ``query`` (position in rows) and ``item`` id, both (P,)."""
    return Seen.of_log(events).pairs(rows)


def left_out(corpus: Corpus) -> Seen | None:
    """What no list of recommendations may return: each event's history, or None where the log repeats items so often
    that they stay candidates (`Corpus.exclude_seen`). The one rule of every judge, baseline and decoder."""
    return Seen.of_log(corpus.events) if corpus.exclude_seen else None


def repeated(events: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """(B,) bool: which of the events `rows` take an item that stands in their own history."""
    place, item = seen_items(events, rows)
    again = np.zeros(len(rows), dtype=bool)
    again[place[item == events["item_id"].to_numpy()[rows[place]]]] = True
    return again
