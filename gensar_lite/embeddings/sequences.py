"""What a sequence model learns from: each user's train items in windows, and what comes after them.

In: a `Corpus`, a window's length. Out: `Sequences`. Windows of a long history overlap by half, so
every target stands behind half a window of items or all that there are. Items of one time step (a
basket) have no order: what the step before knew predicts them all. No model is known here.
"""

from typing import NamedTuple

import numpy as np

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
        items_read = int((self.inputs >= 0).sum())
        sizes = {"windows": len(self.inputs), "items_read": items_read}
        return sizes | {"items_asked_for": len(self.target)}


def train_sequences(corpus: Corpus, max_length: int) -> Sequences:
    """Windows of at most `max_length` train items of each user, and their questions.

    A purchase and its search twin are one item. A target is a recommendation: a click after a query
    answers the query and not what comes next, so it is read and not asked for. Users without a
    question have no window.
    """
    # 1. one row per user, time step and item, wanted if one of its events is a recommendation:
    #    E rows, a user's together, oldest first
    train = corpus.events[(corpus.events["split"] == "train").to_numpy()]
    train = train.assign(wanted=(train["task"] == "recommend").to_numpy())
    steps = train.groupby(["user_id", "time", "item_id"], as_index=False)["wanted"].any()
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
    first, length, home = windows(read, max_length)  # (W,) each
    inputs = np.full((len(first), max_length), -1, dtype=np.int64)
    filled = np.repeat(np.arange(len(first)), length), within(length)
    inputs[filled] = item[ranges(start[home] + first, length)]
    # 5. each question goes to the first window of its user that ends behind its place: one rising
    #    number per window, user before end, and a single binary search answers all questions
    end = first + length
    wide = int(end.max(initial=0)) + 1
    row = np.searchsorted(home * wide + end, owner * wide + place, side="right")
    # its place is counted from that window's first item
    order = np.argsort(row, kind="stable")
    return Sequences(inputs, users[home], row[order], (place - first[row])[order], target[order])


def windows(read: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows over users who read `read` (U,) items: ``first, length, user``, (W,) each, in order.

    A user's last window ends with the last item, as a history does when a model is asked; each one
    before it ends half a window earlier, and the first begins at 0.
    """
    stride = max(size // 2, 1)
    count = np.where(read > 0, 1 + -(-np.maximum(read - size, 0) // stride), 0)
    user = np.repeat(np.arange(len(read)), count)
    end = read[user] - stride * (count[user] - 1 - within(count))
    first = np.maximum(end - size, 0)
    return first, end - first, user
