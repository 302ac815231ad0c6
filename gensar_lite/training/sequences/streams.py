"""Whole streams of behaviour: every event of a user is a target of one pass, not one example an event.

In: a corpus and identifiers. Out: batches of streams, and of single events that read the same way. A stream is a user's
events in time order: ``<R_I> codes`` and ``<S_Q> query <S_I> codes``. A token sees its own event up to itself, and the
events of strictly earlier time steps: never its event's twin, nor any other event of its own moment. Its position is
the number of tokens that it sees before itself. So the states of an event are those of a decoder that reads the
event's own history. This file does not know models or losses.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from gensar_lite.artifacts import Corpus
from gensar_lite.config import ConfigError
from gensar_lite.machine.ranges import ranges
from gensar_lite.training.sequences.mixture import Plan, TaskMixture
from gensar_lite.training.sequences.ragged import Ragged, hstack, pad
from gensar_lite.training.sequences.tasks import Batch, SequenceBuilder, Task
from gensar_lite.training.text import EOS, PAD

STREAM = Task(
    "stream", "", "codes", None, ()
)  # not in training.tasks: its weights come from the tasks on events
ON_EVENTS = ("nrip", "nsip", "nsqp")  # tasks whose targets stand in a stream


class StreamBuilder(SequenceBuilder):
    """As `SequenceBuilder`, for a decoder-only model: tasks on events are read as streams, without prompts.

    ``max_recommend`` and ``max_search`` do not bound a history here, ``max_stream_tokens`` does: the newest events
    that fit. With ``history_queries`` off, a query is seen by its own event alone.
    """

    def __init__(self, corpus: Corpus, *others, **named):
        super().__init__(corpus, *others, **named)
        if not self.settings.behaviour_tokens or self.settings.history_separator:
            raise ConfigError(
                "training.stream: events are parted by behaviour tokens alone. Set training.behaviour_tokens=true and "
                "training.history_separator=false."
            )
        self.is_train = (corpus.events["split"] == "train").to_numpy()

    def given(self, task: Task) -> list[int]:
        """An event goes on from the one before it, without a start token."""
        return self.forced(task) if task.events else super().given(task)

    # ------------------------------------------------------------------------------ every event, token by token

    @cached_property
    def tokens(self) -> Ragged:
        """Every event as it stands in a stream."""
        return self.spelled(self.is_search)

    @cached_property
    def is_query(self) -> np.ndarray:
        """Which tokens of `tokens` belong to a query, its <S_Q> included: all that stand before the item."""
        left = np.repeat(self.tokens.offsets[1:], self.tokens.lengths) - np.arange(
            len(self.tokens.flat)
        )
        return left > 1 + self.layout.num_levels

    @cached_property
    def wanted(self) -> tuple[np.ndarray, np.ndarray]:
        """What each token of `tokens` foretells (PAD: nothing), and how much that counts: its task's weight."""
        flat, asked = self.tokens.flat, self.is_query
        weights = dict(zip(self.settings.tasks, self.settings.task_weights, strict=True))
        known = self.end > self.start  # there is a history
        codes = (
            np.where(self.is_search, weights.get("nsip", 0.0), weights.get("nrip", 0.0) * known)
            * self.is_train
        )
        weight = np.repeat(
            np.stack([codes, weights.get("nsqp", 0.0) * known * self.is_train]),
            self.tokens.lengths,
            1,
        )
        weight = np.where(asked, weight[1], weight[0]).astype(np.float32)
        target = np.r_[flat[1:], PAD]
        target[asked & ~np.r_[asked[1:], False]] = EOS  # after a query's last word
        weight[self.tokens.offsets[1:] - 1] = 0.0  # after an item's last code
        return np.where(weight > 0, target, PAD), weight

    # ---------------------------------------------------------------------------------------- one event, to be read

    def window(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As in `SequenceBuilder`: the newest events that fit beside the event's own tokens."""
        ends = self.tokens.offsets
        room = self.settings.max_stream_tokens - self.tokens.lengths[rows]
        end = self.end[rows]
        start = np.maximum(self.start[rows], np.searchsorted(ends, ends[end] - room))
        lengths = np.maximum(end - start, 0)
        return np.repeat(np.arange(len(rows)), lengths), ranges(end - lengths, lengths)

    def sources(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Ragged:
        """As in `SequenceBuilder`, for tasks on events without prompt and end."""
        return self._read(task, rows)[0] if task.events else super().sources(task, rows, prompt)

    def target_tokens(self, task: Task, rows: np.ndarray) -> int:
        """As in `SequenceBuilder`; an event's first token is always given."""
        if not task.events:
            return super().target_tokens(task, rows)
        return int(self.written(task, rows).lengths.sum()) - len(rows)

    def batch(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Batch:
        """As in `SequenceBuilder`; the mask of a task on events is (B, S + 1, S), its last row what the target sees."""
        if not task.events:
            return super().batch(task, rows, prompt)
        tokens, owner, query = self._read(task, rows)
        owner, query = pad(owner, -1), pad(query, 0) > 0
        seen = (owner >= 0) & (
            self._not_hidden(query) | (owner == rows[:, None])
        )  # all are earlier, or its own query
        mask = np.concatenate([self._sees(owner, query), seen[:, None]], axis=1)
        return Batch(task, pad(tokens, PAD), mask, self.targets(task, rows))

    def _read(self, task: Task, rows: np.ndarray) -> tuple[Ragged, Ragged, Ragged]:
        """Tokens of the history (and the query) of events, which event row each belongs to, which are a query's."""
        position, row = self.window(rows)
        lengths = self.tokens.lengths[row]
        place = ranges(self.tokens.offsets[row], lengths)
        offsets = np.r_[
            0,
            np.cumsum(np.bincount(position, weights=lengths, minlength=len(rows)).astype(np.int64)),
        ]
        found = (self.tokens.flat[place], np.repeat(row, lengths), self.is_query[place])
        found = tuple(Ragged(flat, offsets) for flat in found)
        if "query" not in task.reads:
            return found
        asked = self.queries.take(self.query[rows])
        own = (asked.flat, np.repeat(rows, asked.lengths), np.ones(len(asked.flat)))
        return tuple(
            hstack([a, Ragged(flat, asked.offsets)]) for a, flat in zip(found, own, strict=True)
        )

    def _sees(self, owner: np.ndarray, query: np.ndarray) -> np.ndarray:
        """Which token sees which, (B, S, S), from each one's event row (B, S), -1 for padding; a `query` may hide."""
        real = owner >= 0
        moment = np.where(real, self.end[owner], len(self.end)).astype(
            np.int32
        )  # a time step's first row
        earlier = (moment[:, None, :] < moment[:, :, None]) & self._not_hidden(query)[:, None, :]
        own = (owner[:, None, :] == owner[:, :, None]) & np.tri(owner.shape[1], dtype=bool)
        return (earlier | own) & real[:, :, None]

    def _not_hidden(self, query: np.ndarray) -> np.ndarray:
        """What later events may see: with ``history_queries`` off, no query."""
        return ~query | self.settings.history_queries

    # ------------------------------------------------------------------------------------------------ whole streams

    @cached_property
    def pieces(self) -> np.ndarray:
        """Streams as rows (C, 3) ``start, first, end``: events start to end are read, those from `first` on learned.

        A user is one piece, or, where longer than ``max_stream_tokens``, several: each later one reads as many events
        again as fit, so that none is foretold from less than half a row. Rows without a target are left out.
        """
        ends, limit = self.tokens.offsets, self.settings.max_stream_tokens
        train = np.flatnonzero(self.is_train)
        start, place = np.unique(self.start[train], return_index=True)
        end = np.r_[train[place[1:] - 1], train[-1:]] + 1  # after each user's last train event
        short = ends[end] - ends[start] <= limit
        found = [np.stack([start, start, end], axis=1)[short]]
        found += [
            self._cut(low, high) for low, high in zip(start[~short], end[~short], strict=True)
        ]
        pieces = np.concatenate(found)
        counted = np.r_[0, np.cumsum(self.wanted[1] > 0)][ends]
        return pieces[counted[pieces[:, 2]] > counted[pieces[:, 1]]]

    def _cut(self, start: int, end: int) -> np.ndarray:
        ends, limit, first, found = self.tokens.offsets, self.settings.max_stream_tokens, start, []
        while first < end:
            room = limit if first == start else limit // 2
            stop = int(np.searchsorted(ends, ends[first] + room, side="right")) - 1
            stop = min(max(stop, first + 1), end)
            again = int(np.searchsorted(ends, ends[stop] - limit))
            found.append((min(max(start, again), first), first, stop))
            first = stop
        return np.array(found)

    def piece_lengths(self) -> np.ndarray:
        """Tokens (C,) of each piece."""
        return self.tokens.offsets[self.pieces[:, 2]] - self.tokens.offsets[self.pieces[:, 0]]

    def of(self, plan: Plan) -> Batch:
        """As in `SequenceBuilder`; the rows of a stream are numbers of `pieces`."""
        return self.stream(plan.rows) if plan.task == STREAM.name else super().of(plan)

    def plan_tokens(self, plan: Plan) -> float:
        """As in `SequenceBuilder`; of a stream the weights of its tokens, summed."""
        if plan.task != STREAM.name:
            return super().plan_tokens(plan)
        ends = self.tokens.offsets[self.pieces[plan.rows, 1:]]  # (B, 2)
        return float((self._weight_before[ends[:, 1]] - self._weight_before[ends[:, 0]]).sum())

    @cached_property
    def _weight_before(self) -> np.ndarray:
        return np.r_[0.0, np.cumsum(self.wanted[1], dtype=np.float64)]

    def stream(self, rows: np.ndarray) -> Batch:
        """Whole pieces, see `Batch`."""
        start, first, end = self.pieces[rows].T
        ends = self.tokens.offsets
        lengths = ends[end] - ends[start]
        place, offsets = (
            ranges(ends[start], lengths),
            np.r_[0, np.cumsum(lengths)],
        )  # positions in `tokens.flat`
        event = ranges(start, end - start)
        owner = pad(Ragged(np.repeat(event, self.tokens.lengths[event]), offsets), -1)
        target, weight = (a[place] for a in self.wanted)
        again = place < np.repeat(ends[first], lengths)  # learned from in an earlier piece
        target, weight = np.where(again, PAD, target), np.where(again, 0, weight)
        table = np.zeros(owner.shape, dtype=np.float32)
        table[owner >= 0] = weight
        query = np.zeros(owner.shape, dtype=bool)
        query[owner >= 0] = self.is_query[place]
        tokens, target = (
            pad(Ragged(flat, offsets), PAD) for flat in (self.tokens.flat[place], target)
        )
        return Batch(STREAM, tokens, self._sees(owner, query), target, table)


class StreamMixture:
    """A `TaskMixture` of tasks on items with batches of streams: of one length each, ``batch_tokens`` at most.

    Their number is the same in every epoch; which of the streams of one length stand together changes.
    """

    def __init__(self, rest: TaskMixture, lengths: np.ndarray, batch_tokens: int, seed: int):
        self.rest, self.lengths, self.seed = rest, lengths, seed
        self.rows = rest.rows | {STREAM.name: np.arange(len(lengths))}
        ordered, edges = np.sort(lengths), [0]
        for place, length in enumerate(ordered):
            if place > edges[-1] and (place + 1 - edges[-1]) * length > batch_tokens:
                edges.append(place)
        self.edges = edges[1:]

    def num_examples(self, task: str) -> int:
        return len(self.lengths) if task == STREAM.name else self.rest.num_examples(task)

    @property
    def num_batches(self) -> int:
        """Batches an epoch."""
        return self.rest.num_batches + len(self.edges) + 1

    def epoch(self, epoch: int) -> list[Plan]:
        """The batches of one epoch, in order; the same for equal (seed, epoch)."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.lengths))
        order = order[np.argsort(self.lengths[order], kind="stable")]
        plans = [
            Plan(STREAM.name, rows, np.zeros(len(rows), dtype=np.int64))
            for rows in np.split(order, self.edges)
        ]
        plans += self.rest.epoch(epoch)
        return [plans[i] for i in rng.permutation(len(plans))]
