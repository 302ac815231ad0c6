"""What a tree is asked: a batch of questions, and those of training: every train event, after a
window of its user's train items.

In: the log as arrays. Out: windows of items and `Questions`. This file does not know words or
tasks' weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gensar_lite.embeddings.sequences import windows
from gensar_lite.machine.ranges import ranges
from gensar_lite.training.sequences.tasks import Task


class EventBatch(NamedTuple):
    """P questions about B histories; recommendations first, then searches.

    items   (B, T) marked item ids, oldest first, -1 after the last one
    row     (P,) the history of each question; place (P,) its last event that is known, -1: none
    target  (P,) the item that answers it; weight (P,) how much it counts
    words   (E,) words of all S searches, of which those from ``first[s]`` (S,) on are search s's
    """

    task: Task
    items: Tensor
    row: np.ndarray
    place: np.ndarray
    target: np.ndarray
    weight: Tensor
    words: Tensor
    first: Tensor

    def to(self, device: torch.device | str) -> EventBatch:
        """The same, what is computed with as tensors on a device."""
        moved = {
            name: torch.as_tensor(getattr(self, name)).to(device)
            for name in ("items", "weight", "words", "first")
        }
        return self._replace(**moved)

    @property
    def num_recommend(self) -> int:
        """Questions that are no search."""
        return len(self.target) - len(self.first)


class Questions(NamedTuple):
    """Train questions (P,), sorted by window: ``window, place, target``, query id (-1: none), and
    whether it is a purchase with a history, which is a recommendation."""

    window: np.ndarray
    place: np.ndarray
    target: np.ndarray
    query: np.ndarray
    is_recommend: np.ndarray


class Log(NamedTuple):
    """Events (E,): the rows ``start:end`` of each one's history, its item, what a history holds of
    it, query id, what it is, and the rows that count in histories (twins count once)."""

    start: np.ndarray
    end: np.ndarray
    item: np.ndarray
    met: np.ndarray
    query: np.ndarray
    is_search: np.ndarray
    is_train: np.ndarray
    counting: np.ndarray


def train_questions(log: Log, max_history: int) -> tuple[np.ndarray, Questions]:
    """Windows (W, T) of users' train items, padded with -1, and all that is asked of them."""
    # 1. questions: every train event; a user is its first row
    event = np.flatnonzero(log.is_train)
    owner, home = np.unique(log.start[event], return_inverse=True)
    # 2. train rows that count, oldest first per user, and where each user's begin; a user whose
    #    purchase is no train event, but its twin is, may have none
    kept = log.counting[log.is_train[log.counting]]
    begin = np.searchsorted(kept, owner)
    held = np.diff(np.r_[begin, len(kept)])
    # the place of a question among the user's own counting rows
    place = np.searchsorted(kept, log.end[event]) - begin[home] - 1
    # 3. windows up to the last place that is asked for, one for every user
    read = np.ones(len(owner), dtype=np.int64)
    np.maximum.at(read, home, place + 1)
    first, length, user = windows(read, max_history)
    end = first + length
    length = np.minimum(length, held[user])
    table = np.full((len(first), max(int(length.max(initial=0)), 1)), -1, dtype=np.int64)
    within = np.arange(table.shape[1]) < length[:, None]
    table[within] = log.met[kept[ranges(begin[user] + first, length)]]
    # 4. each question goes to the first window of its user that ends behind its place
    wide = int(end.max(initial=0)) + 2
    window = np.searchsorted(user * wide + end, home * wide + np.maximum(place, 0), "right")
    order = np.argsort(window, kind="stable")
    window, event, place = window[order], event[order], place[order]
    place = np.where(place < 0, -1, place - first[window])
    is_recommend = ~log.is_search[event] & (place >= 0)
    query = np.where(log.is_search[event], log.query[event], -1)
    return table, Questions(window, place, log.item[event], query, is_recommend)
