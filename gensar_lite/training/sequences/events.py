"""Events for a tree backbone: a history is one token per item, a query a bag of words.

In: a corpus, identifiers, a `WordCodec`. Out: `EventBatch` records, and sources as token ids:
words, then items from `first_item` on, marked with what was done (behaviours.py). One row of
training is a window of a user's items with all that is asked about it: every purchase and search,
and for each purchase as many searches that could have led to it as ``adhoc`` weighs, by queries
made from the item's text, drawn anew in each epoch. This file does not know models, losses or
beams.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from gensar_lite.artifacts import Corpus, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.data import history_bounds
from gensar_lite.data.histories import run_starts
from gensar_lite.identifiers import TokenLayout
from gensar_lite.machine.ranges import ranges
from gensar_lite.training.sequences.behaviours import marked_items
from gensar_lite.training.sequences.pseudo import NO_QUERIES, PseudoQueries
from gensar_lite.training.sequences.questions import (
    EventBatch,
    Log,
    Questions,
    train_questions,
)
from gensar_lite.training.sequences.ragged import Ragged, hstack, pad_and_mask
from gensar_lite.training.sequences.tasks import EVENTS, Task, answering_views
from gensar_lite.training.text import WordCodec

PHRASE_DROPOUT = 0.3


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
        # what a history holds of an event: its item, and what was done with it
        self.met = self.item
        if settings.behaviour_tokens:
            self.met = marked_items(events, self.num_items)
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
        """The last ``max_history`` marked items of strictly earlier steps than events `rows`."""
        high = self._before[self.end[rows]]
        low = np.maximum(self._before[self.start[rows]], high - self.settings.max_history)
        return Ragged.cut(self.met[self._counting[ranges(low, high - low)]], high - low)

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
        """Histories of item ids, marked or plain ones (purchases), and the words of queries as
        sources."""
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
        """Windows (W, T) of users' marked train items, -1 for none, and what is asked of them."""
        columns = (self.start, self.end, self.item, self.met)
        columns += (self.query, self.is_search, self.is_train)
        return train_questions(Log(*columns, self._counting), self.settings.max_history)

    @cached_property
    def _edges(self) -> np.ndarray:
        """(W + 1,) where the questions of each window begin."""
        table, asked = self.train
        return np.searchsorted(asked.window, np.arange(len(table) + 1))

    @cached_property
    def windows(self) -> np.ndarray:
        """The windows (W',) of `train` that ask something which counts."""
        return np.flatnonzero(np.diff(self._counted[self._edges]))

    @cached_property
    def _pool(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pseudo-queries with a word, and of each item its first one of these, and how many it has,
        (N,) each."""
        rows = np.flatnonzero(self.pseudo_queries.lengths)
        edges = np.searchsorted(self.pseudo.item[rows], np.arange(self.num_items + 1))
        return rows, edges[:-1], np.diff(edges)

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
        return (asked.query < 0) & (self._pool[2][asked.target] > 0)

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
        pool, *of_item = self._pool
        begin, size = (part[asked.target[chosen[made]]] for part in of_item)
        turn = np.repeat(np.arange(self.num_made), len(made) // max(self.num_made, 1))
        drawn = (_uniform(draw[row[made]] + turn, chosen[made]) * size).astype(np.int64)
        asked_words = self.queries.take(asked.query[chosen[search]])
        asked_words = self._without_phrases(asked_words, draw[row[search]], chosen[search])
        words = [asked_words, self.pseudo_queries.take(pool[begin + drawn])]
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
