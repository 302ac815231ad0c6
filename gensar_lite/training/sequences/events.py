"""Events for a tree backbone: a history is one token per item, a query a bag of words.

In: a corpus, identifiers, a `WordCodec`. Out: `EventBatch` records, and sources as token ids:
words, then items from `first_item` on. One row of training is a window of a user's items with all
that is asked about it: every purchase and search, and for each purchase as many searches that could
have led to it as ``adhoc`` weighs, by queries made from the item's text, drawn anew in each epoch.
This file does not know models, losses or beams.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gensar_lite.artifacts import Corpus, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.data import history_bounds
from gensar_lite.data.histories import run_starts
from gensar_lite.embeddings.sequences import windows
from gensar_lite.identifiers import TokenLayout
from gensar_lite.machine.ranges import ranges
from gensar_lite.training.sequences.pseudo import NO_QUERIES, PseudoQueries
from gensar_lite.training.sequences.ragged import Ragged, hstack, pad_and_mask
from gensar_lite.training.sequences.tasks import EVENTS, Task, answering_views
from gensar_lite.training.text import WordCodec

PHRASE_DROPOUT = 0.3


class EventBatch(NamedTuple):
    """P questions about B histories; recommendations first, then searches.

    items   (B, T) item ids, oldest first, -1 after the last one
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


class EventBuilder:
    """Batches and sources of one corpus; offers what training and decoding ask of a builder."""

    def __init__(
        self,
        corpus: Corpus,
        identifiers: Identifiers,
        layout: TokenLayout,
        codec: WordCodec,
        settings: TrainingConfig,
        pseudo: PseudoQueries = NO_QUERIES,
    ):
        self.layout, self.codec, self.settings, self.pseudo = layout, codec, settings, pseudo
        self.num_items = corpus.num_items
        self.first_item = layout.size  # token of item 0: items stand after all codes
        self.weights = dict(zip(settings.tasks, settings.task_weights, strict=True))
        events = corpus.events
        self.start, self.end = history_bounds(events)
        columns = ("user_id", "time", "item_id", "query_id", "task", "split")
        user, time, self.item, self.query, task, split = (events[c].to_numpy() for c in columns)
        self.is_search, self.is_train = task == "search", split == "train"
        self.queries = self.spell_queries(corpus.queries["text"].tolist())
        # a purchase and its search twin are one event of a history: the first of the two counts
        counts = run_starts(user, time, self.item)
        self._counting = np.flatnonzero(counts)
        self._before = np.r_[0, np.cumsum(counts)]  # (E + 1,) of them before each row
        num_views = 1 if layout.num_shared == layout.num_levels else 2
        self.num_targets = {  # identifiers that a task writes
            name: len(answering_views(name, settings.views, num_views))
            for name in ("recommend", "search")
        }

    def spell_queries(self, texts: list[str]) -> Ragged:
        """The words of queries, cut after ``max_query_tokens``."""
        return Ragged.of(self.codec.encode(texts, self.settings.max_query_tokens))

    @cached_property
    def pseudo_queries(self) -> Ragged:
        """The words of pseudo-queries, P rows."""
        return self.spell_queries(self.pseudo.texts)

    def histories(self, rows: np.ndarray) -> Ragged:
        """The last ``max_history`` item ids of strictly earlier steps than events `rows` (B,)."""
        high = self._before[self.end[rows]]
        low = np.maximum(self._before[self.start[rows]], high - self.settings.max_history)
        return Ragged.cut(self.item[self._counting[ranges(low, high - low)]], high - low)

    def items(self, task: Task, rows: np.ndarray) -> np.ndarray:
        """The item (B,) behind each row of a task."""
        return self.item[rows] if task.events else self.pseudo.item[rows]

    def given(self, task: Task) -> list[int]:
        """The behaviour token that says which identifier is written."""
        is_recommend = task.events == "recommend"
        return [self.layout.recommend_item if is_recommend else self.layout.search_item]

    def sources(self, task: Task, rows: np.ndarray) -> Ragged:
        """Items, then words, as tokens, of rows (B,) of a task."""
        if not task.events:
            return self.pseudo_queries.take(rows)
        items = self.histories(rows)
        query = self.query[rows] if "query" in task.reads else np.full(len(rows), -1)
        return self.spell(items, self.queries.take_or_empty(query))

    def spell(self, items: Ragged, words: Ragged) -> Ragged:
        """Histories of item ids and the words of queries as sources."""
        return hstack([Ragged(items.flat + self.first_item, items.offsets), words])

    def lengths(self, task: Task, rows: np.ndarray) -> np.ndarray:
        """Tokens (B,) of each source."""
        return self.sources(task, rows).lengths

    def target_tokens(self, task: Task, rows: np.ndarray) -> float:
        """How much the targets of rows count in the loss."""
        if task is EVENTS:
            edge = self._edges
            return float((self._counted[edge[rows + 1]] - self._counted[edge[rows]]).sum())
        name = "recommend" if task.events == "recommend" else "search"
        return float(len(rows) * self.layout.num_levels * self.num_targets[name])

    def batch(self, task: Task, rows: np.ndarray, draw: np.ndarray | None = None) -> EventBatch:
        """The questions of windows (rows of `EVENTS`), or one question per row of another task.

        `draw` (B,) are seeds of the pseudo-queries of each window, default 0.
        """
        if task is EVENTS:
            return self._windows(rows, np.zeros(len(rows), int) if draw is None else draw)
        none = Ragged.repeat([], len(rows))
        items = self.histories(rows) if task.events else none
        if task.events == "recommend":
            words = Ragged.repeat([], 0)
        else:
            words = self.queries.take(self.query[rows]) if task.events else self.sources(task, rows)
        weight = np.ones(len(rows), dtype=np.float32)
        place, row = items.lengths - 1, np.arange(len(rows))
        table = pad_and_mask(items, -1)[0]
        target = self.items(task, rows)
        return EventBatch(task, table, row, place, target, weight, words.flat, words.offsets[:-1])

    @cached_property
    def train(self) -> tuple[np.ndarray, Questions]:
        """Windows (W, T) of users' train items, padded with -1, and all that is asked of them."""
        # 1. train rows that count, oldest first per user; E of them
        kept = self._counting[self.is_train[self._counting]]
        owner, begin = np.unique(self.start[kept], return_index=True)  # a user is its first row
        item = self.item[kept]
        # 2. questions: every train event; its place among the user's own counting rows
        event = np.flatnonzero(self.is_train)
        home = np.searchsorted(owner, self.start[event])
        place = np.searchsorted(kept, self.end[event]) - begin[home] - 1
        # 3. windows up to the last place that is asked for, one for every user
        read = np.ones(len(owner), dtype=np.int64)
        np.maximum.at(read, home, place + 1)
        first, length, user = windows(read, self.settings.max_history)
        table = np.full((len(first), max(int(length.max(initial=0)), 1)), -1, dtype=np.int64)
        within = np.arange(table.shape[1]) < length[:, None]
        table[within] = item[ranges(begin[user] + first, length)]
        # 4. each question goes to the first window of its user that ends behind its place
        end = first + length
        wide = int(end.max(initial=0)) + 2
        window = np.searchsorted(user * wide + end, home * wide + np.maximum(place, 0), "right")
        order = np.argsort(window, kind="stable")
        window, event, place = window[order], event[order], place[order]
        place = np.where(place < 0, -1, place - first[window])
        is_recommend = ~self.is_search[event] & (place >= 0)
        query = np.where(self.is_search[event], self.query[event], -1)
        return table, Questions(window, place, self.item[event], query, is_recommend)

    @cached_property
    def _edges(self) -> np.ndarray:
        """(W + 1,) where the questions of each window begin."""
        table, asked = self.train
        return np.searchsorted(asked.window, np.arange(len(table) + 1))

    @cached_property
    def _pool(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each item its first pseudo-query with a word, and how many it has, (N,) each."""
        edges = np.searchsorted(self.pseudo.item, np.arange(self.num_items + 1))
        return edges[:-1], np.diff(edges)

    @property
    def num_made(self) -> int:
        """Searches made for a purchase: ``adhoc``'s weight, or the next whole number."""
        return math.ceil(self.weights.get("adhoc", 0.0))

    @cached_property
    def _counted(self) -> np.ndarray:
        """(P + 1,) how much the questions before each one count, its pseudo-query with it."""
        _, asked = self.train
        is_search = asked.query >= 0
        counts = self.weights.get("nrip", 0.0) * self.num_targets["recommend"] * asked.is_recommend
        counts = counts + self.weights.get("nsip", 0.0) * self.num_targets["search"] * is_search
        counts += self.weights.get("adhoc", 0.0) * self.num_targets["search"] * self._may_be_made
        return np.r_[0.0, np.cumsum(counts)] * self.layout.num_levels

    @cached_property
    def _may_be_made(self) -> np.ndarray:
        """(P,) whether a search is made: for purchases whose item has pseudo-queries."""
        _, asked = self.train
        return (asked.query < 0) & (self._pool[1][asked.target] > 0)

    def _windows(self, rows: np.ndarray, draw: np.ndarray) -> EventBatch:
        """All questions of windows `rows` (B,)."""
        table, asked = self.train
        low, count = self._edges[rows], self._edges[rows + 1] - self._edges[rows]
        chosen = ranges(low, count)  # (P,) questions
        row = np.repeat(np.arange(len(rows)), count)
        recommend = np.flatnonzero(asked.is_recommend[chosen] & ("nrip" in self.weights))
        search = np.flatnonzero((asked.query[chosen] >= 0) & ("nsip" in self.weights))
        made = np.flatnonzero(self._may_be_made[chosen] & ("adhoc" in self.weights))
        made = np.tile(made, self.num_made)
        # a pseudo-query of the bought item, as the window's seed and the number of the draw have it
        begin, size = (part[asked.target[chosen[made]]] for part in self._pool)
        turn = np.repeat(np.arange(self.num_made), len(made) // max(self.num_made, 1))
        number = begin + (_uniform(draw[row[made]] + turn, chosen[made]) * size).astype(np.int64)
        asked_words = self.queries.take(asked.query[chosen[search]])
        asked_words = self._without_phrases(asked_words, draw[row[search]], chosen[search])
        words = [asked_words, self.pseudo_queries.take(number)]
        first = np.r_[words[0].offsets[:-1], words[0].offsets[-1] + words[1].offsets[:-1]]
        order = np.r_[recommend, search, made]
        sizes = zip(("nrip", "nsip", "adhoc"), (recommend, search, made), strict=True)
        each = self.weights | {"adhoc": self.weights.get("adhoc", 0.0) / max(self.num_made, 1)}
        weight = [np.full(len(part), each.get(name, 0.0)) for name, part in sizes]
        items = table[rows]
        items = items[:, : max(int((items >= 0).sum(axis=1).max(initial=0)), 1)]
        return EventBatch(
            EVENTS,
            items,
            row[order],
            asked.place[chosen[order]],
            asked.target[chosen[order]],
            np.concatenate(weight).astype(np.float32),
            np.concatenate([part.flat for part in words]),
            first,
        )

    def _without_phrases(self, words: Ragged, draw: np.ndarray, number: np.ndarray) -> Ragged:
        """Queries without their phrases' numbers, a share `PHRASE_DROPOUT` of them: what is known
        by heart must be learned from words, too."""
        owner = np.repeat(np.arange(len(number)), words.lengths)
        dropped = _uniform(draw - 1, number) < PHRASE_DROPOUT
        kept = (words.flat < self.codec.first_phrase) | ~dropped[owner]
        return Ragged.cut(words.flat[kept], np.bincount(owner[kept], minlength=len(number)))


def _uniform(seed: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) that follow from (seed, number) alone, (P,) each: whatever batch a window
    stands in, its draws are the same. Two rounds of splitmix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        x = seed.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + number.astype(np.uint64)
        for _ in range(2):
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) / float(1 << 53)
