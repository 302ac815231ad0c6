"""Whole streams of behaviour: every event of a user is a target of one pass.

In: a corpus and identifiers. Out: batches of streams, and of single events that read the same way.
A stream is a user's events in time order: ``<R_I> codes`` and ``<S_Q> query <S_I> codes``. A token
sees its own event up to itself, and the events of strictly earlier time steps: never its event's
twin. So the states of an event are those of a decoder that reads the event's own history.
"""

from functools import cached_property

import numpy as np

from gensar_lite.machine.ranges import ranges
from gensar_lite.training.sequences.examples import SequenceBuilder
from gensar_lite.training.sequences.ragged import Ragged, hstack, pad_and_mask
from gensar_lite.training.sequences.tasks import STREAM, Batch, Task
from gensar_lite.training.text import EOS, PAD


class StreamBuilder(SequenceBuilder):
    """As `SequenceBuilder`, for a decoder-only model: tasks on events are read as streams.

    ``max_recommend`` and ``max_search`` do not bound a history here, ``max_stream_tokens`` does:
    the newest events that fit. With ``history_queries`` off, a query is seen by its event alone.
    """

    @cached_property
    def tokens(self) -> Ragged:
        """Every event as it stands in a stream, E rows of M tokens in all."""
        return self.spell_events(self.item, self.is_search, self._queries_of(self.is_search))

    @cached_property
    def event_of(self) -> np.ndarray:
        """The event row (M,) that each token belongs to."""
        return np.repeat(np.arange(len(self.item), dtype=np.int32), self.tokens.lengths)

    @cached_property
    def is_query(self) -> np.ndarray:
        """Which tokens (M,) belong to a query, its <S_Q> included: all that stand before items."""
        end = np.repeat(self.tokens.offsets[1:], self.tokens.lengths)
        return end - np.arange(len(end)) > 1 + self.layout.num_levels

    @cached_property
    def wanted(self) -> tuple[np.ndarray, np.ndarray]:
        """What each token predicts (M,) (PAD: nothing), and the weight of its task (M,)."""
        weights = dict(zip(self.settings.tasks, self.settings.task_weights, strict=True))
        known = self.end > self.start  # (E,) there is a history
        # (2, E) what an event's codes count, and what its query counts
        codes = np.where(self.is_search, weights.get("nsip", 0.0), weights.get("nrip", 0.0) * known)
        counts = np.stack([codes, weights.get("nsqp", 0.0) * known]) * self.is_train
        codes, query = np.repeat(counts, self.tokens.lengths, axis=1)  # (M,)
        weight = np.where(self.is_query, query, codes).astype(np.float32)
        # each token predicts the next one, but for two at an edge: a query's last word predicts the
        # end, not <S_I>, and an item's last code nothing, since what a user does next is open
        target = np.r_[self.tokens.flat[1:], PAD]
        target[self.is_query & ~np.r_[self.is_query[1:], False]] = EOS
        weight[self.tokens.offsets[1:] - 1] = 0.0
        return np.where(weight > 0, target, PAD), weight

    def given(self, task: Task) -> list[int]:
        """An event goes on from the one before it, without a start token."""
        return self.forced(task) if task.events else super().given(task)

    def sources(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Ragged:
        """As in `SequenceBuilder`, for tasks on events without prompt and end."""
        if not task.events:
            return super().sources(task, rows, prompt)
        places = self._read(task, rows)
        return Ragged(self.tokens.flat[places.flat], places.offsets)

    def target_tokens(self, task: Task, rows: np.ndarray) -> float:
        """As in `SequenceBuilder`; an event's first token is always given, and tokens of `pieces`
        count as much as their tasks."""
        if task is STREAM:
            begin, end = self.tokens.offsets[self.pieces[rows, 1:]].T
            return float((self._weight_before[end] - self._weight_before[begin]).sum())
        if not task.events:
            return super().target_tokens(task, rows)
        return int(self.written(task, rows).lengths.sum()) - len(rows)

    def batch(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Batch:
        """As in `SequenceBuilder`; the mask of a task on events is (B, S + 1, S), see `Batch`. The
        rows of `STREAM` are numbers of `pieces`."""
        if task is STREAM:
            return self.stream(rows)
        if not task.events:
            return super().batch(task, rows, prompt)
        tokens, owner, is_query, _ = self._tables(self._read(task, rows))
        # the target sees all that is read, which is earlier or its own query, unless it is hidden
        seen = (owner >= 0) & (self._not_hidden(is_query) | (owner == rows[:, None]))  # (B, S)
        mask = np.concatenate([self._sees(owner, is_query), seen[:, None]], axis=1)
        return Batch(task, tokens, mask, pad_and_mask(self.written(task, rows), PAD)[0])

    def _read(self, task: Task, rows: np.ndarray) -> Ragged:
        """Places among the M tokens that the source of each event holds: as many of the newest
        events as fit beside the event itself, and its query where the task reads it."""
        edge = self.tokens.offsets  # event i is the tokens from edge[i] to edge[i + 1]
        room = self.settings.max_stream_tokens - self.tokens.lengths[rows]
        end = self.end[rows]
        first = np.searchsorted(edge, edge[end] - room)  # the first event from which on all fit
        first = np.minimum(np.maximum(self.start[rows], first), end)
        history = edge[end] - edge[first]  # (B,) tokens
        places = Ragged.cut(ranges(edge[first], history), history)
        if "query" not in task.reads:
            return places
        query = self.queries.lengths[self.query[rows]]  # an event's own tokens begin with its query
        return hstack([places, Ragged.cut(ranges(edge[rows], query), query)])

    def _tables(self, places: Ragged) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Padded (B, S) tables of places among the M tokens: token ids, event rows (-1 for
        padding), which are of a query, and the places themselves (-1 for padding)."""
        place, real = pad_and_mask(places, -1)
        tokens = np.where(real, self.tokens.flat[place], np.int64(PAD))
        return tokens, np.where(real, self.event_of[place], -1), real & self.is_query[place], place

    def _sees(self, owner: np.ndarray, is_query: np.ndarray) -> np.ndarray:
        """Whether token i sees token j, (B, S, S), from tokens' event rows (B, S), -1: padding."""
        real = owner >= 0
        # the first event row of each token's time step is the end of its event's history: tokens of
        # one moment, twins included, have equal numbers; padding has a larger one than any event
        moment = np.where(real, self.end[owner], len(self.end)).astype(np.int32)  # (B, S)
        # 1. tokens of a strictly earlier moment, but for queries that are hidden
        earlier = moment[:, None, :] < moment[:, :, None]  # (B, S, S)
        earlier &= self._not_hidden(is_query)[:, None, :]
        # 2. tokens of the same event, from left to right
        same_event = owner[:, None, :] == owner[:, :, None]
        same_event &= np.tri(owner.shape[1], dtype=bool)
        # 3. padding sees nothing (and, its moment being the latest, is seen by nothing)
        return (earlier | same_event) & real[:, :, None]

    def _not_hidden(self, is_query: np.ndarray) -> np.ndarray:
        """What later events may see: with ``history_queries`` off, no query."""
        return ~is_query | self.settings.history_queries

    @cached_property
    def pieces(self) -> np.ndarray:
        """Streams as rows (C, 3) ``start, first, end``: events from `start` to `end` are read, from
        `first` on they are learned.

        A user is one piece, or, where longer than ``max_stream_tokens``, several: each later one
        reads as many events again as fit, so that none is predicted from less than half a row.
        Rows without a target are left out.
        """
        edge = self.tokens.offsets
        # a user's train events are the rows from the user's first to the last one of train
        train = np.flatnonzero(self.is_train)
        start, place = np.unique(self.start[train], return_index=True)
        end = np.r_[train[place[1:] - 1], train[-1:]] + 1
        short = edge[end] - edge[start] <= self.settings.max_stream_tokens
        pieces = [np.stack([start, start, end], axis=1)[short]]
        pieces += [self._cut(*user) for user in zip(start[~short], end[~short], strict=True)]
        pieces = np.concatenate(pieces)
        num_targets = np.r_[0, np.cumsum(self.wanted[1] > 0)][edge]  # (E + 1,) before each event
        return pieces[num_targets[pieces[:, 2]] > num_targets[pieces[:, 1]]]

    def _cut(self, start: int, end: int) -> np.ndarray:
        """One long user's events, `start` to `end`, cut into pieces, rows as in `pieces`."""
        edge, limit = self.tokens.offsets, self.settings.max_stream_tokens
        pieces = []
        first = start  # the first event that is not learned yet
        while first < end:
            # 1. learn on: a whole row at first; later half a row, the other half is for history
            room = limit if first == start else limit // 2
            stop = int(np.searchsorted(edge, edge[first] + room, side="right")) - 1
            stop = min(max(stop, first + 1), end)  # one event at least, however long it is
            # 2. read again: from the earliest event from which on everything up to `stop` fits
            again = int(np.searchsorted(edge, edge[stop] - limit))
            pieces.append((min(max(start, again), first), first, stop))
            first = stop
        return np.array(pieces)

    def piece_lengths(self) -> np.ndarray:
        """Tokens (C,) of each piece."""
        return self.tokens.offsets[self.pieces[:, 2]] - self.tokens.offsets[self.pieces[:, 0]]

    def stream(self, rows: np.ndarray) -> Batch:
        """Whole pieces by their numbers (B,), see `Batch`."""
        start, first, end = self.tokens.offsets[self.pieces[rows]].T  # (B,) each, in tokens
        places = Ragged.cut(ranges(start, end - start), end - start)
        tokens, owner, is_query, place = self._tables(places)
        learned = place >= first[:, None]  # (B, S); what stands before was learned in another piece
        target = np.where(learned, self.wanted[0][place], np.int64(PAD))
        weight = np.where(learned, self.wanted[1][place], np.float32(0))
        return Batch(STREAM, tokens, self._sees(owner, is_query), target, weight)

    @cached_property
    def _weight_before(self) -> np.ndarray:
        return np.r_[0.0, np.cumsum(self.wanted[1], dtype=np.float64)]
