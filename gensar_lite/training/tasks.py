"""Tasks: from an event to what the model reads (source ids) and writes (target ids).

In: a `Corpus`, `Identifiers`, a `TextCodec`. Out: padded integer batches, built without touching text again.
A history item is ``<R_I> + collaborative ID``; a history search is ``<S_Q> + query + <S_I> + semantic ID``
(GenSAR, section 3.3). This file does not know models, losses or beams.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gensar_lite.artifacts import VIEW_OF_TASK, Corpus, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.data import history_bounds
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.prompts import PROMPTS
from gensar_lite.training.ragged import Ragged, hstack, pad
from gensar_lite.training.text import EOS, PAD, TextCodec


class Task(NamedTuple):
    """One thing to learn: events of `events` (recommend or search) become targets in `view`."""

    name: str
    events: str

    @property
    def view(self) -> str:
        return VIEW_OF_TASK[self.events]


TASKS = {
    "nrip": Task("nrip", "recommend"),  # next recommended item prediction
    "nsip": Task("nsip", "search"),  # next search item prediction
}
TASK_OF_EVENTS = {task.events: task for task in TASKS.values()}


class Batch(NamedTuple):
    """Examples of one task. `source` (B, S) and `target` (B, 1 + L): behaviour token, then code tokens."""

    task: Task
    source: np.ndarray
    mask: np.ndarray
    target: np.ndarray


class SequenceBuilder:
    """Builds sources and targets for events of one corpus.

    Everything that depends on text (queries, prompts) is tokenised once here.
    """

    def __init__(
        self, corpus: Corpus, identifiers: Identifiers, layout: TokenLayout, codec: TextCodec, settings: TrainingConfig
    ):
        self.layout, self.settings = layout, settings
        events = corpus.events
        self.start, self.end = history_bounds(events)
        self.is_search = (events["task"] == "search").to_numpy()
        self.item, self.query = events["item_id"].to_numpy(), events["query_id"].to_numpy()
        self.item_tokens = {
            task: layout.tokens(identifiers.view(task), view).astype(np.int32) for task, view in VIEW_OF_TASK.items()
        }  # (N, L) each
        queries = codec.encode(corpus.queries["text"].tolist(), settings.max_query_tokens)
        self.queries = Ragged.of([layout.search_query, *ids] for ids in queries)
        self.prompts = {
            name: Ragged.of(codec.encode(list(PROMPTS[name])) if settings.prompts else [[]] * len(PROMPTS[name]))
            for name in TASKS
        }
        self.chunks = self._chunks()
        # how many events of each kind precede a row, over the whole table: a window's edge is a difference
        self.before = {
            kind: np.r_[0, np.cumsum(self.is_search == (kind == "search"))] for kind in ("recommend", "search")
        }

    def _chunks(self) -> Ragged:
        """Each event as it stands in a history."""
        found, edges = [], np.array([self.layout.recommend_item, self.layout.search_item], dtype=np.int32)
        empty = Ragged(np.zeros(0, np.int32), np.zeros(len(self.item) + 1, dtype=np.int64))
        rows = np.flatnonzero(self.is_search & self.settings.history_queries)
        lengths = np.zeros(len(self.item), dtype=np.int64)
        asked = self.queries.take(self.query[rows])
        lengths[rows] = asked.lengths
        found.append(Ragged(asked.flat, np.r_[0, np.cumsum(lengths)]) if len(rows) else empty)
        own = np.where(
            self.is_search[:, None], self.item_tokens["search"][self.item], self.item_tokens["recommend"][self.item]
        )
        clicked = np.concatenate([edges[self.is_search.astype(int)][:, None], own], axis=1).astype(np.int32)
        found.append(Ragged(clicked.ravel(), np.arange(len(own) + 1) * clicked.shape[1]))
        return hstack(found)

    def window(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """History rows of events, pairs (position in `rows`, event row): the last few of each kind, in time order."""
        start, end = self.start[rows], self.end[rows]
        lengths = end - start
        position = np.repeat(np.arange(len(rows)), lengths)
        offset = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        row = start[position] + offset
        search = self.is_search[row]
        keep = np.zeros(len(row), dtype=bool)
        for kind, limit in (("recommend", self.settings.max_recommend), ("search", self.settings.max_search)):
            count = self.before[kind]
            left = count[end[position]] - count[row]  # this event and later ones of its kind, inside the history
            keep |= (search == (kind == "search")) & (left <= limit)
        return position[keep], row[keep]

    def sources(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Ragged:
        """What the model reads for events `rows`: prompt, history, (query), end. `prompt` (B,) defaults to 0."""
        prompt = np.zeros(len(rows), dtype=np.int64) if prompt is None else prompt
        position, row = self.window(rows)
        parts = [self.prompts[task.name].take(prompt), self.chunks.take(row).merge(position, len(rows))]
        if task.events == "search":
            parts.append(self.queries.take(self.query[rows]))
        parts.append(Ragged(np.full(len(rows), EOS, dtype=np.int32), np.arange(len(rows) + 1)))
        return hstack(parts)

    def targets(self, task: Task, rows: np.ndarray) -> np.ndarray:
        """What the model writes: (B, 1 + L) behaviour token and identifier."""
        behaviour = self.layout.search_item if task.events == "search" else self.layout.recommend_item
        codes = self.item_tokens[task.events][self.item[rows]]
        return np.concatenate([np.full((len(rows), 1), behaviour), codes], axis=1).astype(np.int64)

    def batch(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Batch:
        """Padded examples for event rows (B,)."""
        sources = self.sources(task, rows, prompt)
        table = pad(sources, PAD)
        mask = np.arange(table.shape[1]) < sources.lengths[:, None]
        return Batch(task, table, mask, self.targets(task, rows))

    def lengths(self, task: Task, rows: np.ndarray, chunk: int = 100_000) -> np.ndarray:
        """Source lengths (B,) with the first prompt, for bucketing."""
        parts = [self.sources(task, rows[i : i + chunk]).lengths for i in range(0, len(rows), chunk)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
