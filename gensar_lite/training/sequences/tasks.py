"""Tasks: from an event or an item to what the model reads (source ids) and writes (target ids).

In: a `Corpus`, `Identifiers`, a `TextCodec`. Out: padded integer batches, built without touching text again.
A history item is ``<R_I> + collaborative ID``; a history search is ``<S_Q> + query + <S_I> + semantic ID``
(GenSAR, section 3.3). This file does not know models, losses, beams, nor where pseudo-queries come from.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from gensar_lite.artifacts import VIEWS, Corpus, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.data import history_bounds
from gensar_lite.embeddings.semantic import item_texts
from gensar_lite.identifiers import TokenLayout
from gensar_lite.machine.ranges import ranges
from gensar_lite.training.sequences.mixture import Plan
from gensar_lite.training.sequences.prompts import PROMPTS
from gensar_lite.training.sequences.pseudo import PseudoQueries
from gensar_lite.training.sequences.ragged import Ragged, hstack, pad, pad_and_mask
from gensar_lite.training.text import EOS, PAD, TextCodec


class Task(NamedTuple):
    """One thing to learn. Its rows are events of one kind (`events`), pseudo-queries (adhoc), or items.

    name    as in `TASKS`; tasks on both identifiers have a variant a view, so that every batch has one view
    events  recommend | search, or "" where a row is no event
    writes  codes | text
    view    of the codes it writes: semantic | collaborative; None for text
    reads   what stands between the prompt and the end: history | query | text | pseudo | a view's name
    """

    name: str
    events: str
    writes: str
    view: str | None
    reads: tuple[str, ...]

    @property
    def base(self) -> str:
        """The name in ``training.tasks``, under which figures are logged: ``desc2id`` of ``desc2id/semantic``."""
        return self.name.partition("/")[0]


_TASKS = (
    Task(
        "nrip", "recommend", "codes", "collaborative", ("history",)
    ),  # next recommended item prediction
    Task(
        "nsip", "search", "codes", "semantic", ("history", "query")
    ),  # next search item prediction
    Task("nsqp", "search", "text", None, ("history",)),  # next search query prediction
    *(
        Task(f"desc2id/{view}", "", "codes", view, ("text",)) for view in VIEWS
    ),  # an item's text -> its identifier
    *(
        Task(f"id2desc/{view}", "", "text", None, (view,)) for view in VIEWS
    ),  # its identifier -> its text
    Task(
        "adhoc", "", "codes", "semantic", ("pseudo",)
    ),  # a query made from an item's text -> the item
)
TASKS = {task.name: task for task in _TASKS}  # with variants
TASK_NAMES = tuple(
    dict.fromkeys(task.base for task in _TASKS)
)  # what training.tasks may name: the paper's six
TASK_OF_EVENTS = {
    "recommend": TASKS["nrip"],
    "search": TASKS["nsip"],
}  # the two that rank items for a user
NEEDS_HISTORY = ("nrip", "nsqp")  # nothing else stands in their source


def variants(name: str, one_view: bool) -> list[Task]:
    """The tasks behind one of `TASK_NAMES`: a task a view, or the first where both views are one identifier."""
    found = [task for task in _TASKS if task.base == name]
    return found[:1] if one_view else found


class Batch(NamedTuple):
    """Examples of one task, arrays or tensors.

    source  (B, S) token ids, padded with PAD
    mask    (B, S) which of them are real; or which tokens each of them sees (B, S, S), and the target (B, S + 1, S)
    target  (B, T) behaviour token, then code tokens (T = 1 + L), or text that ends with EOS and is padded with PAD
    weight  None; or `target` is what each source token foretells (T = S), and this is how much it counts (B, S)
    """

    task: Task
    source: np.ndarray
    mask: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same as tensors on a device."""
        return Batch(
            self.task, *(None if a is None else torch.as_tensor(a).to(device) for a in self[1:])
        )


class SequenceBuilder:
    """Builds sources and targets for events and items of one corpus.

    Everything that depends on text (queries, prompts, item texts) is tokenised once: item texts and pseudo-queries
    when a task first asks for them.
    """

    def __init__(
        self,
        corpus: Corpus,
        identifiers: Identifiers,
        layout: TokenLayout,
        codec: TextCodec,
        settings: TrainingConfig,
        pseudo: PseudoQueries | None = None,
    ):
        self.layout, self.settings, self.codec = layout, settings, codec
        self.pseudo = pseudo or PseudoQueries.none()
        self._items = corpus.items
        events = corpus.events
        self.start, self.end = history_bounds(events)
        self.is_search = (events["task"] == "search").to_numpy()
        self.item, self.query = events["item_id"].to_numpy(), events["query_id"].to_numpy()
        self.item_tokens = {
            v: layout.tokens(identifiers.view(v), v).astype(np.int32) for v in VIEWS
        }  # (N, L) each
        self.queries = self._encode(
            corpus.queries["text"].tolist(), settings.max_query_tokens, self._asked
        )
        self.prompts = {
            name: Ragged.of(
                codec.encode(list(PROMPTS[name])) if settings.prompts else [[]] * len(PROMPTS[name])
            )
            for name in TASK_NAMES
        }
        self.shown = {
            view: self._shown(view) for view in VIEWS
        }  # each item as it stands in a source
        self.chunks = self._chunks()
        # how many events of each kind precede a row, over the whole table: a window's edge is a difference
        self.before = {
            kind: np.r_[0, np.cumsum(self.is_search == (kind == "search"))]
            for kind in ("recommend", "search")
        }

    @cached_property
    def texts(self) -> Ragged:
        """Title and description of every item, N rows."""
        texts = item_texts(self._items["title"].tolist(), self._items["text"].tolist())
        return self._encode(texts, self.settings.max_text_tokens)

    @cached_property
    def pseudo_queries(self) -> Ragged:
        """Pseudo-queries as they stand in a source, P rows."""
        return self._encode(self.pseudo.texts, self.settings.max_query_tokens, self._asked)

    def behaviour(self, view: str) -> list[int]:
        """The behaviour token before an identifier of a view, or nothing where the settings say so."""
        token = self.layout.search_item if view == "semantic" else self.layout.recommend_item
        return [token] if self.settings.behaviour_tokens else []

    def given(self, task: Task) -> list[int]:
        """Tokens that a decoder is given before it goes on by itself: a start token, then what is forced."""
        return [PAD, *self.forced(task)]

    def forced(self, task: Task) -> list[int]:
        """Tokens that start every target of a task: decoding gives them and predicts what follows."""
        if task.writes == "codes":
            return self.behaviour(task.view)
        return self._asked if task.events else []

    @property
    def _asked(self) -> list[int]:
        return [self.layout.search_query] if self.settings.behaviour_tokens else []

    def _encode(self, texts: list[str], limit: int, first: list[int] | tuple = ()) -> Ragged:
        return Ragged.of([*first, *ids] for ids in self.codec.encode(texts, limit))

    def _shown(self, view: str) -> Ragged:
        codes = self.item_tokens[view]
        return hstack([Ragged.repeat(self.behaviour(view), len(codes)), Ragged.table(codes)])

    def _chunks(self) -> Ragged:
        """Each event as it stands in a history."""
        after = self.codec.encode(["; "])[0] if self.settings.history_separator else []
        events = self.spelled(self.is_search & self.settings.history_queries)
        return hstack([events, Ragged.repeat(after, len(self.item))])

    def spelled(self, tells_query: np.ndarray) -> Ragged:
        """Each event: its query where `tells_query` (E,) says so, then its item, after its behaviour token."""
        asked = self.queries.take_or_empty(np.where(tells_query, self.query, -1))
        item = np.where(self.is_search, self.item, self.item + len(self.shown["semantic"].lengths))
        return hstack(
            [
                asked,
                Ragged.concatenate([self.shown["semantic"], self.shown["collaborative"]]).take(
                    item
                ),
            ]
        )

    def window(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """History rows of events, pairs (position in `rows`, event row): the last few of each kind, in time order."""
        start, end = self.start[rows], self.end[rows]
        lengths = end - start
        position, row = np.repeat(np.arange(len(rows)), lengths), ranges(start, lengths)
        search = self.is_search[row]
        keep = np.zeros(len(row), dtype=bool)
        for kind, limit in (
            ("recommend", self.settings.max_recommend),
            ("search", self.settings.max_search),
        ):
            count = self.before[kind]
            left = (
                count[end[position]] - count[row]
            )  # this event and later ones of its kind, inside the history
            keep |= (search == (kind == "search")) & (left <= limit)
        return position[keep], row[keep]

    def sources(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Ragged:
        """What the model reads for `rows` of a task: prompt, what the task reads, end. `prompt` (B,) defaults to 0."""
        prompt = np.zeros(len(rows), dtype=np.int64) if prompt is None else prompt
        parts = [
            self.prompts[task.base].take(prompt),
            *(self._part(name, rows) for name in task.reads),
        ]
        return hstack([*parts, Ragged.repeat([EOS], len(rows))])

    def _part(self, name: str, rows: np.ndarray) -> Ragged:
        if name == "history":
            position, row = self.window(rows)
            return self.chunks.take(row).merge(position, len(rows))
        if name == "query":
            return self.queries.take(self.query[rows])
        if name == "text":
            return self.texts.take(rows)
        return self.pseudo_queries.take(rows) if name == "pseudo" else self.shown[name].take(rows)

    def items(self, task: Task, rows: np.ndarray) -> np.ndarray:
        """The item (B,) behind each row of a task."""
        if task.events:
            return self.item[rows]
        return self.pseudo.item[rows] if "pseudo" in task.reads else rows

    def written(self, task: Task, rows: np.ndarray) -> Ragged:
        """What the model writes for `rows` of a task, not padded."""
        if task.writes == "codes":
            return self.shown[task.view].take(self.items(task, rows))
        text = self._part("query" if task.events else "text", rows)
        return hstack([text, Ragged.repeat([EOS], len(rows))])

    def targets(self, task: Task, rows: np.ndarray) -> np.ndarray:
        """What the model writes, (B, T): behaviour token and identifier, or text, its end and padding."""
        return pad(self.written(task, rows), PAD)

    def target_tokens(self, task: Task, rows: np.ndarray) -> int:
        """How many target tokens count in the loss: with the level head a behaviour token before codes is given."""
        given = (
            len(self.forced(task))
            if task.writes == "codes" and self.settings.head == "level"
            else 0
        )
        return int(self.written(task, rows).lengths.sum()) - given * len(rows)

    def of(self, plan: Plan) -> Batch:
        """What a mixture has planned."""
        return self.batch(TASKS[plan.task], plan.rows, plan.prompt)

    def plan_tokens(self, plan: Plan) -> float:
        """How many target tokens of a planned batch count in the loss, without building it."""
        return self.target_tokens(TASKS[plan.task], plan.rows)

    def batch(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Batch:
        """Padded examples for rows (B,)."""
        return Batch(
            task, *pad_and_mask(self.sources(task, rows, prompt), PAD), self.targets(task, rows)
        )

    def lengths(self, task: Task, rows: np.ndarray, chunk: int = 100_000) -> np.ndarray:
        """Lengths (B,) for bucketing: the source with the first prompt, and the target where it is text."""
        found = [np.zeros(0, dtype=np.int64)]
        for part in (rows[i : i + chunk] for i in range(0, len(rows), chunk)):
            text = self.written(task, part).lengths if task.writes == "text" else 0
            found.append(self.sources(task, part).lengths + text)
        return np.concatenate(found)
