"""The figures of a run while it runs: from sums to rows, to a tracker and to a notebook's callback.

In: sums over batches. Out: rows of named numbers, a tracker's files (TensorBoard's under
``artifacts/<run>/training-logs/``), calls of `watch`. This file does not know models or batches.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import ProjectConfiguration

from gensar_lite.config import ConfigError, one_of
from gensar_lite.machine.processes import rank_and_world

# called with a row every few steps (step, lr, examples/s, <task>/loss) and with the curve's row
# after each epoch, which alone has an "epoch"
Watch = Callable[[dict], None]
LOG_STEPS = 10  # optimiser steps between two rows


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


def harmonic_mean(values: list[float]) -> float:
    """0 when any value is 0: a model that gives up one task wins nothing."""
    return len(values) / sum(1 / v for v in values) if values and min(values) > 0 else 0.0


def check_tracker(name: str) -> str | None:
    """Accelerate's word for a tracker, or None. `ConfigError` names what is valid or missing."""
    if name == "none":
        return None
    one_of("training.tracker", name, ["none", *map(str, LOGGER_TYPE_TO_CLASS)])
    if name not in map(str, get_available_trackers()):
        raise ConfigError(
            f"training.tracker: {name} needs a package that is not installed. "
            f"Run: pip install {name}; or set training.tracker=none."
        )
    return name


def new_accelerator(tracker: str, bf16: bool, logs: Path | None) -> Accelerator:
    """Accelerate's view of the devices, processes and number format of a run, and of its tracker,
    which writes to `logs`. Raises `ConfigError` as `check_tracker` does."""
    tracker = check_tracker(tracker)
    AcceleratorState._reset_state()  # or a notebook could not train again with another precision
    return Accelerator(
        mixed_precision="bf16" if bf16 else "no",
        cpu=rank_and_world()[1] > 1 and not torch.accelerator.is_available(),
        log_with=tracker if logs else None,
        project_config=ProjectConfiguration(logging_dir=str(logs)) if logs else None,
    )


class Reporter:
    """Sends rows where they are wanted; the first process alone does.

    first_step  the first step that it will report
    """

    def __init__(self, accelerator: Accelerator, first_step: int, watch: Watch | None):
        self.accelerator, self.watch = accelerator, watch
        # what a killed run reported after its last checkpoint is reported again: old rows make way
        purge = {"tensorboard": {"purge_step": first_step}}
        accelerator.init_trackers("training", init_kwargs=purge)

    def report(self, row: dict) -> None:
        """Numbers of one row, at its ``step``."""
        if not self.accelerator.is_main_process:
            return
        self.accelerator.log({k: v for k, v in row.items() if k != "step"}, step=row["step"])
        if self.watch is not None:
            self.watch(dict(row))

    def close(self) -> None:
        """Let the trackers write what they hold."""
        # not Accelerate's end_training, which would also end the processes' connection
        for tracker in self.accelerator.trackers:
            tracker.finish()
