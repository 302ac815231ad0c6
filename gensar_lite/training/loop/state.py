"""What a run must not lose: weights, the best weights, the optimiser's state and progress, to disk and back.

In: a model and its optimiser while they train. Out: checkpoints, and a run put back to where one was written.
This file does not know batches, nor when it is time to save.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from gensar_lite.machine.processes import together
from gensar_lite.training.loop.checkpoint import Checkpoints, Group, checkpoint_name
from gensar_lite.training.loop.optimiser import (
    learned_tensors,
    optimiser_tensors,
    put_tensors,
    restore_optimiser,
)
from gensar_lite.training.loop.progress import Progress


class State:
    """One run's state. With several processes all call the same method at the same step; the first one writes."""

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        progress: Progress,
        checkpoints: Checkpoints | None,
        rank: int,
    ):
        self.model, self.progress, self.checkpoints, self.rank = model, progress, checkpoints, rank
        self.optimiser = getattr(
            optimiser, "optimizer", optimiser
        )  # the one that Accelerate has wrapped
        self.best_tensors = self._copied()

    def keep_best(self, score: float) -> None:
        """Remember the weights as they are, if their score is the best yet."""
        if score > self.progress.best:
            self.progress.best, self.progress.best_step = score, self.progress.step
            self.best_tensors = self._copied()

    def save(self) -> None:
        """A checkpoint of this instant, if there is a folder for it."""
        if self.checkpoints is None:
            return
        sums, progress = together(self.progress.sums), self.progress
        if self.rank > 0:
            return
        groups = {
            "model": Group(f"weights-{progress.step}", learned_tensors(self.model)),
            "best": Group(f"weights-{progress.best_step}", self.best_tensors),
            "optimizer": Group(f"moments-{progress.step}", optimiser_tensors(self.optimiser)),
        }
        self.checkpoints.save(progress.name, groups, progress.told(sums))

    def resume(self) -> bool:
        """Put the newest whole checkpoint into model, optimiser and progress. Returns whether there was one."""
        if self.checkpoints is None:
            return False
        place = self.checkpoints.newest() if self.rank == 0 else None
        step, epochs = together(np.array(place or (-1, -1)))[
            0
        ].tolist()  # the first process chooses for all
        if step < 0:
            return False
        tensors, told = self.checkpoints.load(checkpoint_name(step, epochs))
        put_tensors(self.model, tensors["model"])
        restore_optimiser(self.optimiser, tensors["optimizer"])
        there = learned_tensors(self.model)
        self.best_tensors = {
            name: tensor.to(there[name].device) for name, tensor in tensors["best"].items()
        }
        self.progress = Progress(**told | {"sums": np.array(told["sums"][self.rank])})
        return True

    def _copied(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in learned_tensors(self.model).items()}
