"""Sources of histories and queries that stand in no corpus: what a running shop has at hand.

In: what a user did, in time order, and perhaps a query, as items and texts. Out: the token ids that a `SequenceBuilder`
makes of equal events of its corpus. This file does not know models, beams or whether an item exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gensar_lite.config import TrainingConfig
from gensar_lite.training.sequences.ragged import Ragged
from gensar_lite.training.sequences.streams import StreamBuilder
from gensar_lite.training.sequences.tasks import TASKS, SequenceBuilder, Task
from gensar_lite.training.text import EOS


class Event(NamedTuple):
    """One thing a user did: took an item, or clicked it after typing `query`.

    item_id  the row number; in what a `Recommender` is asked and answers, the id that it knows the item by
    """

    item_id: int | str
    query: str | None = None


def recent(history: Sequence[Event], settings: TrainingConfig) -> list[Event]:
    """What the model reads of a history, in order: the last `max_recommend` purchases and `max_search` searches."""
    left = {False: settings.max_recommend, True: settings.max_search}
    kept = []
    for event in reversed(history):
        search = event.query is not None
        if left[search] > 0:
            left[search] -= 1
            kept.append(event)
        if not any(left.values()):
            break
    return kept[::-1]


def fitting(history: Sequence[Event], lengths: Sequence[int], room: int) -> list[Event]:
    """What a stream holds of a history, in order: the newest events, of these `lengths`, within `room` tokens."""
    kept = len(history)
    while kept and lengths[kept - 1] <= room:
        kept -= 1
        room -= lengths[kept]
    return list(history[kept:])


def adhoc_sources(
    builder: SequenceBuilder,
    task: Task,
    histories: Sequence[Sequence[Event]],
    queries: Sequence[str] = (),
) -> Ragged:
    """What the model reads for each history: the task's first prompt, history, (query), end; a stream has neither
    prompt nor end, and as many events as fit.

    `queries` are as many as `histories` where the task reads a query; else there are none. All texts of a call are
    tokenised together, each once. In a stream every event of these histories has a moment of its own.
    """
    settings, stream = builder.settings, isinstance(builder, StreamBuilder)
    asked = list(queries) if "query" in task.reads else [None] * len(histories)
    windows = histories if stream else [recent(history, settings) for history in histories]
    past = (
        [e.query for window in windows for e in window]
        if stream or settings.history_queries
        else []
    )
    spoken = _spoken(builder, [*past, *asked])
    after = builder.codec.encode(["; "])[0] if settings.history_separator else []
    first, last = ([], []) if stream else (builder.prompts[task.base][0].tolist(), [EOS])
    rows = []
    for window, query in zip(windows, asked, strict=True):
        if stream:
            size = len(builder.shown["semantic"][0])
            lengths = [len(spoken.get(event.query, [])) + size for event in window]
            window = fitting(
                window, lengths, settings.max_stream_tokens - len(spoken.get(query, [])) - size
            )
        row = list(first)
        for event in window:
            if event.query is not None and settings.history_queries:
                row += spoken[event.query]
            view = "collaborative" if event.query is None else "semantic"
            row += [*builder.shown[view][event.item_id].tolist(), *after]
        rows.append([*row, *spoken.get(query, []), *last])
    return Ragged.of(rows)


def _spoken(builder: SequenceBuilder, texts: list[str | None]) -> dict[str, list[int]]:
    """Each query as it stands in a source."""
    texts = [text for text in dict.fromkeys(texts) if text is not None]
    marker = builder.forced(
        TASKS["nsqp"]
    )  # what a written query starts with, a read one starts with as well
    ids = builder.codec.encode(texts, builder.settings.max_query_tokens)
    return {text: [*marker, *own] for text, own in zip(texts, ids, strict=True)}
