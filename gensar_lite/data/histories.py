"""A history is a slice of the event table: the rows of the same user that are strictly earlier.

In: events sorted by user, then time. Out: row bounds, never copies of rows.
This file does not know how a history is turned into tokens or vectors.
"""

from typing import Self

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.machine.ranges import ranges


def run_starts(*columns: np.ndarray) -> np.ndarray:
    """(E,) bool: rows that differ in any of the columns (E,) from the row above, and the first row:
    ``run_starts(user)`` is where a new user begins, ``run_starts(user, time)`` a new time step."""
    starts = np.zeros(len(columns[0]), dtype=bool)
    starts[:1] = True
    for column in columns:
        starts[1:] |= column[1:] != column[:-1]
    return starts


def history_bounds(events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """For each event the rows ``start[e]:end[e]`` of its history, two (E,) integer arrays. It ends
    before the first event of the user with the same time: no event sees itself, nor its twin."""
    user, time = events["user_id"].to_numpy(), events["time"].to_numpy()
    rows = np.arange(len(events))
    # the row at which each event's user began, and the row at which its time step began
    start = np.maximum.accumulate(np.where(run_starts(user), rows, 0))
    end = np.maximum.accumulate(np.where(run_starts(user, time), rows, 0))
    return start, end


def history_items(
    events: pd.DataFrame, rows: np.ndarray, length: int, task: str | None = None
) -> np.ndarray:
    """The last `length` items before each of `rows` (positions in `events`), oldest first: (B,
    length) item ids, padded with -1 on the left. With `task`, only events of that task count; else
    an item that stands twice at one time (a purchase and its search twin) is listed once."""
    start, end = history_bounds(events)
    item = events["item_id"].to_numpy()
    if task is None:  # a twin directly follows its purchase: the first of the two counts
        counts = run_starts(events["user_id"].to_numpy(), events["time"].to_numpy(), item)
    else:
        counts = (events["task"] == task).to_numpy()
    counting = np.flatnonzero(counts)  # rows that count
    before = np.r_[0, np.cumsum(counts)]  # (E + 1,) how many of them stand before row e
    low, high = before[start[rows]], before[end[rows]]  # (B,) bounds among the counting rows
    columns = high[:, None] - length + np.arange(length)  # (B, length)
    valid = columns >= low[:, None]
    items = np.full((len(rows), length), -1, dtype=np.int64)
    items[valid] = item[counting[columns[valid]]]
    return items


class Seen:
    """What each event's user had met before it: strictly earlier events of the user, of both tasks.
    `events` is the whole log (row number = event id); ``start, end`` (E,) as `history_bounds` gives
    them. Built once per log, asked many times."""

    def __init__(self, events: pd.DataFrame, start: np.ndarray, end: np.ndarray):
        self.items = events["item_id"].to_numpy()
        self.start, self.end = np.asarray(start), np.asarray(end)

    @classmethod
    def of_log(cls, events: pd.DataFrame) -> Self:
        """Of a log whose bounds nobody has computed yet."""
        return cls(events, *history_bounds(events))

    def rows(self, event_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flat pairs (P,): a place in `event_ids` (B,) and the row of an event of its history."""
        start = self.start[event_ids]
        length = self.end[event_ids] - start
        return np.repeat(np.arange(len(start)), length), ranges(start, length)

    def pairs(self, event_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``places, items`` (P,): event i of `event_ids` (B,) has met that item; index a (B, N)."""
        place, row = self.rows(event_ids)
        return place, self.items[row]

    def hide(self, scores: np.ndarray, targets: pd.DataFrame) -> None:
        """Set the histories of *recommendation* targets (B events) to -inf in `scores` (B, N), in
        place. A search may be answered with what its user knows."""
        place, item = self.pairs(targets["event_id"].to_numpy())
        recommend = (targets["task"] == "recommend").to_numpy()[place]
        scores[place[recommend], item[recommend]] = -np.inf

    def of(self, event_id: int) -> np.ndarray:
        """The items met before one event, oldest first."""
        return self.items[self.start[event_id] : self.end[event_id]]

    def last(self, event_ids: np.ndarray) -> np.ndarray:
        """The item met last before each event (B,); -1 for a user's first time step."""
        start, end = self.start[event_ids], self.end[event_ids]
        return np.where(end > start, self.items[np.maximum(end - 1, 0)], -1)


def seen_items(events: pd.DataFrame, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every item in the histories of `rows`: ``place`` in rows and ``item`` id, both (P,)."""
    return Seen.of_log(events).pairs(rows)


def left_out(corpus: Corpus) -> Seen | None:
    """What no list of recommendations may return, for judges, baselines and decoders alike: each
    event's history; None where items repeat so often that they stay (`Corpus.exclude_seen`)."""
    return Seen.of_log(corpus.events) if corpus.exclude_seen else None


def repeated(events: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """(B,) bool: which of the events `rows` take an item that stands in their own history."""
    place, item = seen_items(events, rows)
    again = np.zeros(len(rows), dtype=bool)
    again[place[item == events["item_id"].to_numpy()[rows[place]]]] = True
    return again


def train_counts(corpus: Corpus) -> np.ndarray:
    """How often each item occurs in train events of both tasks, (N,); one user's purchase and its
    search twin (same user, time and item) are one occurrence."""
    train = corpus.events[corpus.events["split"] == "train"]
    train = train.drop_duplicates(["user_id", "time", "item_id"])
    return np.bincount(train["item_id"], minlength=corpus.num_items)
