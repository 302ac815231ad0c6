"""The figures of a run while it runs: from sums to rows, and where a tracker writes them.

In: sums over batches. Out: rows of named numbers, Accelerate with a tracker (TensorBoard's files
lie under ``artifacts/<run>/training-logs/``). This file does not know models or batches.
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
