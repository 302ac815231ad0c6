"""Sources of histories and queries that stand in no corpus: what a running shop has at hand.

In: what a user did, in time order, and perhaps a query. Out: the token ids that a builder makes
of equal events. This file does not know models, beams or whether an item exists.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gensar_lite.config import TrainingConfig
from gensar_lite.training.sequences.behaviours import BEHAVIOURS
from gensar_lite.training.sequences.events import EventBuilder
from gensar_lite.training.sequences.examples import SequenceBuilder
from gensar_lite.training.sequences.ragged import Ragged
from gensar_lite.training.sequences.tasks import Task


class Event(NamedTuple):
    """One thing a user did: took an item, or clicked it after typing `query`.

    item_id  the row number; in what a `Recommender` is asked and answers, the id that it knows
    """

    item_id: int | str
    query: str | None = None


def recent(history: Sequence[Event], settings: TrainingConfig) -> list[Event]:
    """What is read of a history: the last `max_recommend` purchases, `max_search` searches."""
    left = {False: settings.max_recommend, True: settings.max_search}
    kept = []
    for event in reversed(history):
        is_search = event.query is not None
        if left[is_search] > 0:
            left[is_search] -= 1
            kept.append(event)
    return kept[::-1]


def adhoc_sources(
    builder: SequenceBuilder | EventBuilder,
    task: Task,
    histories: Sequence[Sequence[Event]],
    queries: Sequence[str] = (),
) -> Ragged:
    """What the model reads for each history: the task's first prompt, history, (query), end.

    `queries` are as many as `histories` where the task reads a query, else none. All texts of a
    call are tokenised together, each once.
    """
    if isinstance(builder, EventBuilder):
        return _event_sources(builder, histories, queries if "query" in task.reads else ())
    settings = builder.settings
    windows = [recent(history, settings) for history in histories]
    events = [event for window in windows for event in window]
    history_of = np.repeat(np.arange(len(windows)), [len(window) for window in windows])  # (E,)
    items = np.array([event.item_id for event in events], dtype=np.int64)
    is_search = np.array([event.query is not None for event in events], dtype=bool)

    past = [event.query if settings.history_queries else None for event in events]
    asked = list(queries) if "query" in task.reads else [None] * len(histories)
    texts = list(dict.fromkeys(text for text in [*past, *asked] if text is not None))
    row_of = {text: row for row, text in enumerate(texts)} | {None: -1}  # -1: an empty row
    spelled = builder.spell_queries(texts)
    past_queries, asked_queries = (
        spelled.take_or_empty(np.array([row_of[text] for text in wanted], dtype=np.int64))
        for wanted in (past, asked)
    )
    history = builder.spell_history(items, is_search, past_queries)
    return builder.frame(task, [history.merge(history_of, len(windows)), asked_queries])


def _event_sources(
    builder: EventBuilder, histories: Sequence[Sequence[Event]], queries: Sequence[str]
) -> Ragged:
    """As `adhoc_sources`, for a tree: the newest events, marked as those of a log, the words of the
    query. A search right behind the purchase of its item is its twin: they are one event."""
    settings = builder.settings
    apart = builder.num_items if settings.behaviour_tokens else 0
    rows = [_marked_items(history, apart)[-settings.max_history :] for history in histories]
    words = builder.spell_queries(list(queries) or [""] * len(histories))
    return builder.spell(Ragged.of(rows), words)


def _marked_items(history: Sequence[Event], apart: int) -> list[int]:
    """``item + apart * behaviour`` of what a history counts, see behaviours.py."""
    bought, found, both = (apart * place for place in range(len(BEHAVIOURS)))
    marked: list[int] = []
    for last, event in zip([None, *history], history, strict=False):
        if event.query is None:
            marked.append(event.item_id + bought)
        elif last == Event(event.item_id):
            marked[-1] = event.item_id + both
        else:
            marked.append(event.item_id + found)
    return marked
