"""Which rows each task learns from, which ones it never sees, and the loss on those.

In: a generator and settings. Out: rows per task, and figures by task name. For tasks on events the
held-out rows are validation's; for tasks on items a twentieth of the catalogue, drawn anew for each
task. This file does not know epochs, optimisers or ranking quality.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import torch

from gensar_lite.config import TrainingConfig
from gensar_lite.training.loop.losses import task_loss
from gensar_lite.training.sequences.examples import SequenceBuilder
from gensar_lite.training.sequences.tasks import TASK_NAMES, TASKS, variants

HELD_OUT_RATE = 0.05  # of the items, in tasks whose rows are items or their pseudo-queries


def task_rows(generator, settings: TrainingConfig, split: str) -> dict[str, np.ndarray]:
    """Rows of every task (by variant) that ``settings.tasks`` names: those of ``train``, or the
    held-out ones of ``validation``. A task that reads only the history skips events without one."""
    corpus, builder = generator.corpus, generator.builder
    one_view = builder.layout.num_shared == builder.layout.num_levels
    rows_by_task = {}
    for task in (task for name in settings.tasks for task in variants(name, one_view)):
        if task.events:
            rows = corpus.targets(split, task.events)["event_id"].to_numpy()
            if task.reads == ("history",):
                rows = rows[builder.end[rows] > builder.start[rows]]
        else:
            text = builder.pseudo_queries if "pseudo" in task.reads else builder.texts
            rows = np.flatnonzero(text.lengths)  # an item without a text is no example
            # a draw per task, the same in both of its views: an item may be learned by one task and
            # tested by another
            rng = np.random.default_rng([settings.seed, TASK_NAMES.index(task.base)])
            num_out = max(round(HELD_OUT_RATE * corpus.num_items), 1)
            out = np.isin(builder.items(task, rows), rng.permutation(corpus.num_items)[:num_out])
            rows = rows[out == (split == "validation")]
        rows_by_task[task.name] = rows
    return rows_by_task


@torch.no_grad()
def evaluate_loss(
    model, builder: SequenceBuilder, rows_by_task: dict[str, np.ndarray], settings: TrainingConfig
) -> dict[str, float]:
    """Cross-entropy per target token and accuracy per level (of codes) or of all tokens (``@1``, of
    text), by task name; tasks without a row are absent.

    At most ``settings.eval_sample`` rows of each variant are looked at, the same ones every time;
    without dropout and label smoothing. Leaves the model in the mode it was in.
    """
    layout, was_training = builder.layout, model.training
    plain = dataclasses.replace(settings, label_smoothing=0.0)
    model.eval()
    # variants of a task are summed up under its name, see `Loss.row`
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3 + layout.num_levels))
    for task, rows in ((TASKS[name], rows) for name, rows in rows_by_task.items()):
        # a fixed sample in batches of like lengths
        chosen = np.random.default_rng(settings.seed).permutation(rows)[: settings.eval_sample]
        chosen = chosen[np.argsort(builder.lengths(task, chosen), kind="stable")]
        for begin in range(0, len(chosen), settings.batch_size):
            batch = builder.batch(task, chosen[begin : begin + settings.batch_size])
            loss = task_loss(model, batch.to(model.device), layout, plain)
            sums[task.base] += loss.row(layout.num_levels)
    model.train(was_training)
    writes = {task.base: task.writes for task in TASKS.values()}
    row = {}
    for name, (loss, tokens, count, *hits) in sums.items():
        row[f"{name}/held_out_loss"] = loss / tokens
        right = hits if writes[name] == "codes" else hits[:1]
        row |= {f"{name}/held_out_accuracy@{i}": hit / count for i, hit in enumerate(right, 1)}
    return row
