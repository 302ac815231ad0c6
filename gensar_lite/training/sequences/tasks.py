"""Tasks: what the model can be taught to read and to write, and what a batch of a task holds.

In: nothing; plain data, the prompts from ``prompts.toml``. Out: records.
A history item is ``<R_I> + collaborative ID``; a history search is ``<S_Q> + query + <S_I> +
semantic ID`` (GenSAR, section 3.3). This file does not know tokens, models or losses.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gensar_lite.artifacts import VIEW_OF_TASK, VIEWS


class Task(NamedTuple):
    """One thing to learn. Its rows are events of one kind (`events`), pseudo-queries, or items.

    name    as in `TASKS`; tasks on both identifiers have a variant per view: a batch has one view
    events  recommend | search, or "" where a row is no event
    writes  codes | text
    view    of the codes it writes: semantic | collaborative; None for text
    reads   between the prompt and the end: history | query | text | pseudo | the name of a view
    """

    name: str
    events: str
    writes: str
    view: str | None
    reads: tuple[str, ...]

    @property
    def base(self) -> str:
        """The name in ``training.tasks`` and in figures: ``desc2id`` of ``desc2id/semantic``."""
        return self.name.partition("/")[0]


_TASKS = (
    # next recommended item, next search item, next search query prediction
    Task("nrip", "recommend", "codes", "collaborative", ("history",)),
    Task("nsip", "search", "codes", "semantic", ("history", "query")),
    Task("nsqp", "search", "text", None, ("history",)),
    # an item's text -> its identifier; its identifier -> its text
    *(Task(f"desc2id/{view}", "", "codes", view, ("text",)) for view in VIEWS),
    *(Task(f"id2desc/{view}", "", "text", None, (view,)) for view in VIEWS),
    # a query made from an item's text -> the item
    Task("adhoc", "", "codes", "semantic", ("pseudo",)),
)
TASKS = {task.name: task for task in _TASKS}  # with variants
TASK_NAMES = tuple(dict.fromkeys(task.base for task in _TASKS))  # for training.tasks: the paper's
TASK_OF_EVENTS = {"recommend": TASKS["nrip"], "search": TASKS["nsip"]}  # rank items for a user
# not in training.tasks: its rows are windows of events, and its weights those of the tasks in them
EVENTS = Task("events", "", "codes", None, ())
PLANNED = TASKS | {EVENTS.name: EVENTS}  # what a batch may be of
_TOML = Path(__file__).with_name("prompts.toml").read_text(encoding="utf-8")
PROMPTS = {task: tuple(sentences) for task, sentences in tomllib.loads(_TOML).items()}


def variants(name: str, one_view: bool) -> list[Task]:
    """The tasks behind one of `TASK_NAMES`: one per view, or one where views are one identifier."""
    tasks = [task for task in _TASKS if task.base == name]
    return tasks[:1] if one_view else tasks


def answering_views(task: str, views: str, num_views: int) -> list[int]:
    """The identifiers, by place in `VIEWS`, that answer a task (recommend, search), its own first:
    see ``training.views``. One where both views are the same identifier."""
    if num_views == 1:
        return [0]
    own = VIEWS.index(VIEW_OF_TASK[task])
    return [own, 1 - own] if views in ("both", task) else [own]


class Batch(NamedTuple):
    """Examples of one task, arrays or tensors.

    source  (B, S) token ids, padded with PAD
    mask    (B, S) which of them are real
    target  (B, T) behaviour token, then code tokens (T = 1 + L), or text that ends with EOS, padded
    """

    task: Task
    source: np.ndarray
    mask: np.ndarray
    target: np.ndarray

    def to(self, device: torch.device | str) -> Batch:
        """The same as tensors on a device."""
        return Batch(self.task, *(torch.as_tensor(array).to(device) for array in self[1:]))
