"""Which rows each task learns from, which ones it never sees, and the loss on those.

In: a corpus's sequence builder and settings. Out: rows a task, and figures by task name. For tasks on events the
held-out rows are validation's; for tasks on items a twentieth of the catalogue, drawn anew for each task.
This file does not know epochs, optimisers or ranking quality.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import torch

from gensar_lite.artifacts import Corpus
from gensar_lite.config import TrainingConfig
from gensar_lite.training.loop.losses import task_loss
from gensar_lite.training.sequences.tasks import (
    NEEDS_HISTORY,
    TASK_NAMES,
    TASKS,
    SequenceBuilder,
    Task,
    variants,
)

HELD_OUT_RATE = 0.05  # of the items, in tasks whose rows are items or their pseudo-queries


def task_rows(
    corpus: Corpus, builder: SequenceBuilder, settings: TrainingConfig, split: str
) -> dict[str, np.ndarray]:
    """Rows of every task (by variant) that ``settings.tasks`` names: those of ``train``, or the held-out ones of
    ``validation``. A task that reads nothing but the history leaves out events without one."""
    one_view = builder.layout.num_shared == builder.layout.num_levels
    found = {}
    for name in settings.tasks:
        for task in variants(name, one_view):
            if task.events:
                rows = corpus.targets(split, task.events)["event_id"].to_numpy()
                found[task.name] = (
                    rows[builder.end[rows] > builder.start[rows]] if name in NEEDS_HISTORY else rows
                )
            else:
                rows = _rows_with_text(task, builder)
                out = held_out_items(name, corpus.num_items, settings.seed)[
                    builder.items(task, rows)
                ]
                found[task.name] = rows[out == (split == "validation")]
    return found


def held_out(generator, settings: TrainingConfig) -> dict[str, np.ndarray]:
    """Rows of each task (by variant) that are never trained for it; tasks without any are absent."""
    rows = task_rows(generator.corpus, generator.builder, settings, "validation")
    return {name: own for name, own in rows.items() if len(own)}


def held_out_items(name: str, num_items: int, seed: int) -> np.ndarray:
    """Which items a task never sees, (N,) booleans: one at least; the same in both of its views."""
    rng = np.random.default_rng([seed, TASK_NAMES.index(name)])
    out = np.zeros(num_items, dtype=bool)
    out[rng.permutation(num_items)[: max(round(HELD_OUT_RATE * num_items), 1)]] = True
    return out


def _rows_with_text(task: Task, builder: SequenceBuilder) -> np.ndarray:
    text = builder.pseudo_queries if "pseudo" in task.reads else builder.texts
    return np.flatnonzero(text.lengths)


@torch.no_grad()
def evaluate_loss(
    model, builder: SequenceBuilder, rows_by_task: dict[str, np.ndarray], settings: TrainingConfig
) -> dict[str, float]:
    """Cross-entropy a target token and accuracy a level (of codes) or of all tokens (``@1``, of text), by task name.

    At most ``settings.eval_sample`` rows of each variant are looked at, the same ones every time; without dropout
    and label smoothing. Leaves the model in the mode it was in.
    """
    plain, was_training = dataclasses.replace(settings, label_smoothing=0.0), model.training
    model.eval()
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3 + builder.layout.num_levels))
    widths = {}
    for name, rows in rows_by_task.items():
        task = TASKS[name]
        widths[task.base] = builder.layout.num_levels if task.writes == "codes" else 1
        for part in _batches(task, builder, rows, settings):
            loss = task_loss(
                model, builder.batch(task, part).to(model.device), builder.layout, plain
            )
            sums[task.base] += loss.row(builder.layout.num_levels)
    model.train(was_training)
    found = {}
    for name, (loss, tokens, count, *hits) in sums.items():
        found[f"{name}/held_out_loss"] = loss / tokens
        found |= {f"{name}/held_out_accuracy@{i + 1}": hits[i] / count for i in range(widths[name])}
    return found


def _batches(
    task: Task, builder: SequenceBuilder, rows: np.ndarray, settings: TrainingConfig
) -> list[np.ndarray]:
    chosen = np.random.default_rng(settings.seed).permutation(rows)[: settings.eval_sample]
    chosen = chosen[np.argsort(builder.lengths(task, chosen), kind="stable")]
    return [chosen[i : i + settings.batch_size] for i in range(0, len(chosen), settings.batch_size)]
