"""What a sequence model learns from: each user's train items in windows, and what comes after them.

In: a `Corpus`, a window's length. Out: `Sequences`. Whole histories are read, however long: a log
of more items than a window holds is cut into windows that overlap by half, and every target stands
in one of them, behind half a window of items or all that there are. Items of one time step (a
basket) have no order and do not see each other: what the step before it knew predicts them all.
This file does not know a model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.data.histories import run_starts
from gensar_lite.machine.ranges import ranges, within


class Sequences(NamedTuple):
    """W windows of at most T items, P questions: what follows ``inputs[row, :place + 1]``?"""

    inputs: np.ndarray  # (W, T) item ids, oldest first, -1 after the last one
    user: np.ndarray  # (W,) whose items they are
    row: np.ndarray  # (P,) the window, rising
    place: np.ndarray  # (P,) the last item of the time step before the target's
    target: np.ndarray  # (P,) item id

    def questions(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The questions of windows `rows` (B,) as ``which of rows, place, target``, flat."""
        first = np.searchsorted(self.row, rows)
        count = np.searchsorted(self.row, rows, side="right") - first
        chosen = ranges(first, count)
        which = np.repeat(np.arange(len(rows)), count)
        return which, self.place[chosen], self.target[chosen]

    def counts(self) -> dict[str, int]:
        """For a report: windows, items they hold (twice where windows overlap), items asked for."""
        return {
            "windows": len(self.inputs),
            "items_read": int((self.inputs >= 0).sum()),
            "items_asked_for": len(self.target),
        }


def train_sequences(corpus: Corpus, max_length: int) -> Sequences:
    """Windows of at most `max_length` train items of each user, and their questions.

    A purchase and its search twin are one item. A target is a recommendation: a click after a query
    answers the query and not what comes next, so it is read and not asked for. Users without a
    question have no window.
    """
    # 1. one row per user, time step and item: E rows, a user's together, oldest first
    steps = _train_steps(corpus.events)
    user = steps["user_id"].to_numpy()
    item = steps["item_id"].to_numpy()
    users = np.unique(user)  # (U,)
    start = np.searchsorted(user, users)  # (U,) row of each user's first item
    owner = np.repeat(np.arange(len(users)), np.diff(np.r_[start, len(user)]))  # (E,) 0 to U - 1
    # 2. where a basket is asked for: the row before its first row, the same for all its items
    first_of_step = run_starts(user, steps["time"].to_numpy())  # (E,)
    before = np.maximum.accumulate(np.where(first_of_step, np.arange(len(user)), 0)) - 1  # (E,)
    # 3. questions: recommendations with something of the same user before them
    asked = steps["wanted"].to_numpy() & (before >= start[owner])
    target = item[asked]  # (P,)
    owner = owner[asked]  # (P,)
    place = before[asked] - start[owner]  # (P,) counted among the user's own items
    # 4. a user is read up to the last place that a question needs, and cut into windows
    read = np.zeros(len(users), dtype=np.int64)
    np.maximum.at(read, owner, place + 1)  # (U,)
    first, length, home = _windows(read, max_length)  # (W,) each
    inputs = np.full((len(first), max_length), -1, dtype=np.int64)
    filled = np.repeat(np.arange(len(first)), length), within(length)
    inputs[filled] = item[ranges(start[home] + first, length)]
    # 5. each question goes to its window, with its place counted from that window's first item
    row = _window_of(owner, place, home, first + length)
    order = np.argsort(row, kind="stable")
    return Sequences(inputs, users[home], row[order], (place - first[row])[order], target[order])


def _train_steps(events: pd.DataFrame) -> pd.DataFrame:
    """``user_id, time, item_id, wanted``: a step's items once each, wanted if one recommends it."""
    train = events[(events["split"] == "train").to_numpy()]
    train = train.assign(wanted=(train["task"] == "recommend").to_numpy())
    return train.groupby(["user_id", "time", "item_id"], as_index=False, sort=True)["wanted"].any()


def _windows(read: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows over users who read `read` (U,) items: ``first, length, user``, (W,) each, in order.

    The last window ends where the user's items end, as a history does when a model is asked; each
    one before it ends half a window earlier, and the first begins at 0.
    """
    stride = max(size // 2, 1)
    count = np.where(read > 0, 1 + -(-np.maximum(read - size, 0) // stride), 0)
    user = np.repeat(np.arange(len(read)), count)
    end = read[user] - stride * (count[user] - 1 - within(count))
    first = np.maximum(end - size, 0)
    return first, end - first, user


def _window_of(
    owner: np.ndarray, place: np.ndarray, home: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """(P,) the first window of user `owner` (P,) that ends behind `place` (P,).

    There it has at least half a window of items before it, or all that there are. `home`, `end`
    (W,) are the windows' users and ends.
    """
    # one rising number per window, user before end: a single binary search answers all questions
    wide = int(end.max(initial=0)) + 1
    return np.searchsorted(home * wide + end, owner * wide + place, side="right")
