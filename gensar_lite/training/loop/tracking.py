"""What a run tells while it runs: rows of figures to one of Accelerate's trackers, and to a notebook's callback.

In: rows of named numbers. Out: a tracker's files (TensorBoard's under ``artifacts/<run>/training-logs/``), calls of
`watch`. This file does not know how the figures came about.
"""

from __future__ import annotations

from collections.abc import Callable

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

from gensar_lite.config import ConfigError

# called with a row every few steps (step, lr, examples/s, <task>/loss) and with the curve's row after each epoch,
# which alone has an "epoch"
Watch = Callable[[dict], None]
LOG_STEPS = 10  # optimiser steps between two rows


def check_tracker(name: str) -> str | None:
    """Accelerate's word for a tracker, None for ``none``. Raises `ConfigError` that names the valid ones, or the
    package that is missing."""
    if name == "none":
        return None
    if name not in LOGGER_TYPE_TO_CLASS:
        raise ConfigError(
            f"training.tracker: there is no {name!r}. Choose from: none, {', '.join(LOGGER_TYPE_TO_CLASS)}."
        )
    if name not in [str(tracker) for tracker in get_available_trackers()]:
        raise ConfigError(
            f"training.tracker: {name} needs a package that is not installed. Run: pip install {name}; or set "
            "training.tracker=none."
        )
    return name


class Reporter:
    """Sends rows where they are wanted. The first process alone does. `first` is the first step it will tell of."""

    def __init__(self, accelerator: Accelerator, first: int, watch: Watch | None):
        self.accelerator, self.watch = accelerator, watch
        # what a killed run has told after its last checkpoint is told again: the old figures make way
        purge = {"tensorboard": {"purge_step": first}}
        accelerator.init_trackers("training", init_kwargs=purge)

    def tell(self, row: dict) -> None:
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
