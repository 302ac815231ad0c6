"""What a sequence model learns from: each user's train items in windows, and which item comes after which place.

In: a `Corpus`, a window's length. Out: `Sequences`. Whole histories are read, however long: a log of more items than
a window holds is cut into windows that overlap by half, and every target stands in one of them, behind half a window of
items or all that there are. Items of one time step have no order and do not see each other: what the step before it
knew predicts them all. This file does not know a model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.machine.ranges import ranges, within


class Sequences(NamedTuple):
    """W windows of at most T items, and P questions about them: after ``inputs[row, :place + 1]``, which item?"""

    inputs: np.ndarray  # (W, T) item ids, oldest first, -1 after the last one
    user: np.ndarray  # (W,) whose items they are
    row: np.ndarray  # (P,) the window, rising
    place: np.ndarray  # (P,) the last item of the time step before the target's
    target: np.ndarray  # (P,) item id

    def questions(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The questions of windows `rows` (B,) as ``which of rows, place, target``, flat."""
        first, last = np.searchsorted(self.row, rows), np.searchsorted(self.row, rows, side="right")
        chosen = ranges(first, last - first)
        return (
            np.repeat(np.arange(len(rows)), last - first),
            self.place[chosen],
            self.target[chosen],
        )


def train_sequences(corpus: Corpus, max_length: int) -> Sequences:
    """Windows of at most `max_length` train items a user, and their questions.

    A purchase and its search twin are one item. A target is a recommendation: a click after a query says what was
    asked for, not what comes next, so it is read and not asked for. Users without a question have no window.
    """
    steps = _train_steps(corpus.events)
    user, item = steps["user_id"].to_numpy(), steps["item_id"].to_numpy()
    people = np.unique(user)
    start = np.searchsorted(user, people)  # (U,) row of each user's first item
    number = np.repeat(
        np.arange(len(start)), np.diff(np.r_[start, len(user)])
    )  # (E,) which user, from 0
    # (E,) the row before each time step's first row: where its items are asked for
    new = np.r_[True, (user[1:] != user[:-1]) | np.diff(steps["time"].to_numpy()).astype(bool)]
    before = np.maximum.accumulate(np.where(new, np.arange(len(user)), 0)) - 1
    asked = steps["wanted"].to_numpy() & (before >= start[number])
    place, target = (
        before[asked] - start[number[asked]],
        item[asked],
    )  # (P,) places among the user's items
    owner = number[asked]
    read = np.zeros(len(start), dtype=np.int64)
    np.maximum.at(
        read, owner, place + 1
    )  # (U,) items that a question needs: what follows the last place is not read
    first, length, home = _windows(read, max_length)
    inputs = np.full((len(first), max_length), -1, dtype=np.int64)
    inputs[np.repeat(np.arange(len(first)), length), within(length)] = item[
        ranges(start[home] + first, length)
    ]
    row = _window_of(owner, place, home, first + length)
    order = np.argsort(row, kind="stable")
    return Sequences(inputs, people[home], row[order], (place - first[row])[order], target[order])


def what_is_read(sequences: Sequences) -> dict[str, int]:
    """Counts for a report: windows, items they hold (those where windows overlap twice), items asked for."""
    held = int((sequences.inputs >= 0).sum())
    return {
        "windows": len(sequences.inputs),
        "items_read": held,
        "items_asked_for": len(sequences.target),
    }


def _train_steps(events: pd.DataFrame) -> pd.DataFrame:
    """``user_id, time, item_id, wanted``: each item of a time step once, wanted if one of its events recommends."""
    train = events[(events["split"] == "train").to_numpy()]
    train = train.assign(wanted=(train["task"] == "recommend").to_numpy())
    return train.groupby(["user_id", "time", "item_id"], as_index=False, sort=True)["wanted"].any()


def _windows(read: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows over users who read `read` (U,) items: ``first, length, user``, (W,) each, a user's oldest first.

    The last window ends where the user's items end, as a history does when a model is asked; each one before it ends
    half a window earlier, and the first begins at 0.
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
    """(P,) the first window of `owner` (P,) that ends behind `place` (P,): there it has at least half a window of
    items before it, or all that there are. `home`, `end` (W,) are the windows' users and ends."""
    wide = int(end.max(initial=0)) + 1
    return np.searchsorted(home * wide + end, owner * wide + place, side="right")
