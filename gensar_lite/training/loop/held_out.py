"""Which rows each task learns from, which ones it never sees, and the loss on those.

In: a corpus's sequence builder and settings. Out: rows per task, and figures by task name. For
tasks on events the held-out rows are validation's; for tasks on items a twentieth of the catalogue,
drawn anew for each task. This file does not know epochs, optimisers or ranking quality.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import torch

from gensar_lite.artifacts import Corpus
from gensar_lite.config import TrainingConfig
from gensar_lite.training.loop.losses import task_loss
from gensar_lite.training.sequences.examples import SequenceBuilder
from gensar_lite.training.sequences.tasks import NEEDS_HISTORY, TASK_NAMES, TASKS, Task, variants

HELD_OUT_RATE = 0.05  # of the items, in tasks whose rows are items or their pseudo-queries


def task_rows(
    corpus: Corpus, builder: SequenceBuilder, settings: TrainingConfig, split: str
) -> dict[str, np.ndarray]:
    """Rows of every task (by variant) that ``settings.tasks`` names: those of ``train``, or the
    held-out ones of ``validation``. A task that reads only the history skips events without one."""
    one_view = builder.layout.num_shared == builder.layout.num_levels
    rows_by_task = {}
    for task in (task for name in settings.tasks for task in variants(name, one_view)):
        if task.events:
            rows = corpus.targets(split, task.events)["event_id"].to_numpy()
            if task.base in NEEDS_HISTORY:
                rows = rows[builder.end[rows] > builder.start[rows]]
        else:
            text = builder.pseudo_queries if "pseudo" in task.reads else builder.texts
            rows = np.flatnonzero(text.lengths)  # an item without a text is no example
            out = held_out_items(task.base, corpus.num_items, settings.seed)
            rows = rows[out[builder.items(task, rows)] == (split == "validation")]
        rows_by_task[task.name] = rows
    return rows_by_task


def held_out(generator, settings: TrainingConfig) -> dict[str, np.ndarray]:
    """Rows of each task (by variant) that it never learns from; tasks without any are absent."""
    rows_by_task = task_rows(generator.corpus, generator.builder, settings, "validation")
    return {name: rows for name, rows in rows_by_task.items() if len(rows)}


def held_out_items(name: str, num_items: int, seed: int) -> np.ndarray:
    """Which items a task never sees, (N,) booleans: one at least; the same in both of its views."""
    rng = np.random.default_rng([seed, TASK_NAMES.index(name)])
    out = np.zeros(num_items, dtype=bool)
    # a draw per task: an item may be learned by one and tested by another
    out[rng.permutation(num_items)[: max(round(HELD_OUT_RATE * num_items), 1)]] = True
    return out


@torch.no_grad()
def evaluate_loss(
    model, builder: SequenceBuilder, rows_by_task: dict[str, np.ndarray], settings: TrainingConfig
) -> dict[str, float]:
    """Cross-entropy per target token and accuracy per level (of codes) or of all tokens (``@1``, of
    text), by task name.

    At most ``settings.eval_sample`` rows of each variant are looked at, the same ones every time;
    without dropout and label smoothing. Leaves the model in the mode it was in.
    """
    layout, was_training = builder.layout, model.training
    plain = dataclasses.replace(settings, label_smoothing=0.0)
    model.eval()
    # variants of a task are summed up under its name, see `Loss.row`
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3 + layout.num_levels))
    for name, rows in rows_by_task.items():
        for part in _batches(TASKS[name], builder, rows, settings):
            batch = builder.batch(TASKS[name], part).to(model.device)
            sums[TASKS[name].base] += task_loss(model, batch, layout, plain).row(layout.num_levels)
    model.train(was_training)
    levels = {TASKS[name].base: TASKS[name].writes == "codes" for name in rows_by_task}
    row = {}
    for name, (loss, tokens, count, *hits) in sums.items():
        row[f"{name}/held_out_loss"] = loss / tokens
        right = hits if levels[name] else hits[:1]
        row |= {f"{name}/held_out_accuracy@{i}": hit / count for i, hit in enumerate(right, 1)}
    return row


def _batches(
    task: Task, builder: SequenceBuilder, rows: np.ndarray, settings: TrainingConfig
) -> list[np.ndarray]:
    """A fixed sample of rows in batches of like lengths."""
    chosen = np.random.default_rng(settings.seed).permutation(rows)[: settings.eval_sample]
    chosen = chosen[np.argsort(builder.lengths(task, chosen), kind="stable")]
    return [chosen[i : i + settings.batch_size] for i in range(0, len(chosen), settings.batch_size)]
