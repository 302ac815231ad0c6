"""The figures of a run: from sums to rows, the loss on rows that are held out, a tracker.

In: sums over batches, or a model and rows. Out: rows of named numbers, Accelerate with a tracker
(its files lie in ``artifacts/<run>/training-logs/``). This file does not know epochs or ranking.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import ProjectConfiguration

from gensar_lite.config import ConfigError, TrainingConfig, one_of
from gensar_lite.machine.processes import rank_and_world
from gensar_lite.training.loop.losses import task_loss
from gensar_lite.training.sequences.examples import SequenceBuilder
from gensar_lite.training.sequences.tasks import TASKS

# called with a row every few steps (step, lr, examples/s, <task>/loss) and with the curve's row
# after each epoch, which alone has an "epoch"
Watch = Callable[[dict], None]


def figures(tasks: list[str], sums: np.ndarray, levels: bool = False) -> dict[str, float]:
    """Each task's loss per token and, with `levels`, its share of right codes at each level.

    sums  (processes, tasks, 3 + L), see `Progress`
    """
    row = {}
    for task, (loss, tokens, answers, *hits) in zip(tasks, sums.sum(axis=0).tolist(), strict=True):
        if tokens:
            row[f"{task}/loss"] = loss / tokens
        if answers and levels:
            row |= {f"{task}/accuracy@{i}": count / answers for i, count in enumerate(hits, 1)}
    return row


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
    row = figures(list(sums), np.array([*sums.values()])[None], levels=True)
    # of a text there is one figure of accuracy
    texts = tuple(f"{task.base}/" for task in TASKS.values() if task.writes == "text")
    return {
        name.replace("/", "/held_out_"): value
        for name, value in row.items()
        if not name.startswith(texts) or name.endswith(("/loss", "@1"))
    }


def harmonic_mean(values: list[float]) -> float:
    """0 when any value is 0: a model that gives up one task wins nothing."""
    return len(values) / sum(1 / v for v in values) if values and min(values) > 0 else 0.0


def new_accelerator(tracker: str, bf16: bool, logs: Path | None) -> Accelerator:
    """Accelerate's view of the devices, processes and number format of a run, and of its tracker,
    which writes to `logs`. Raises `ConfigError` for a tracker that is unknown or not installed."""
    one_of("training.tracker", tracker, ["none", *map(str, LOGGER_TYPE_TO_CLASS)])
    if tracker not in ("none", *map(str, get_available_trackers())):
        raise ConfigError(
            f"training.tracker: {tracker} needs a package that is not installed. "
            f"Run: pip install {tracker}; or set training.tracker=none."
        )
    AcceleratorState._reset_state()  # or a notebook could not train again with another precision
    return Accelerator(
        mixed_precision="bf16" if bf16 else "no",
        cpu=rank_and_world()[1] > 1 and not torch.accelerator.is_available(),
        log_with=tracker if logs and tracker != "none" else None,
        project_config=ProjectConfiguration(logging_dir=str(logs)) if logs else None,
    )
