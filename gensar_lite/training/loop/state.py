"""What a run must not lose, where it stands, and how it is stopped: to disk and back, bit by bit.

In: a model and its optimiser in training; signals. Out: checkpoints, a run put back to one. All
else is a function of the step. This file does not know batches, nor when it is time to save.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

import numpy as np
import torch
from torch import nn

from gensar_lite.machine.processes import together
from gensar_lite.training.loop.checkpoint import Checkpoints, Group, Tensors, checkpoint_name


@dataclass
class Progress:
    """Where a run stands. The epoch at work is the one after the curve's last row.

    sums       (tasks, 3 + L) of this process in the epoch at work: loss, target tokens, answers
               (what hits are counted in: examples, or the tokens of texts), hits per level
    best       the best score yet, that of the weights after `best_step` steps
    bf16       the number format, which a run that goes on keeps
    """

    sums: np.ndarray
    step: int = 0
    curve: list[dict] = field(default_factory=list)
    best: float = -1.0
    best_step: int = 0
    seconds: float = 0.0
    bf16: bool | None = None


@dataclass
class State:
    """One run's state. All processes call a method at the same step; the first one writes."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    progress: Progress
    checkpoints: Checkpoints | None
    rank: int

    def __post_init__(self):
        self.best_tensors = self._copied()

    def _copied(self) -> Tensors:
        return {name: tensor.clone() for name, tensor in learned_tensors(self.model).items()}

    def keep_best(self, score: float) -> None:
        """Remember the weights, if their score is the best yet: of equal ones the first."""
        if score > self.progress.best:
            self.progress.best = score
            self.progress.best_step = self.progress.step
            self.best_tensors = self._copied()

    def save(self) -> None:
        """A checkpoint of this instant, if there is a folder for it."""
        if self.checkpoints is None:
            return
        progress = self.progress
        # each process goes on with its own sums: added up earlier or later, they would differ in
        # their last bits; the first process writes those of all, (processes, tasks, 3 + L)
        sums = together(progress.sums)
        if self.rank > 0:
            return
        moments = {
            f"{i}.{name}": torch.as_tensor(value)
            for i, entry in self.optimiser.state_dict()["state"].items()
            for name, value in entry.items()
        }
        # contents are named after the step that made them: where the best weights are those of the
        # last checkpoint, or of this very step, they are linked and not written again
        groups = {
            "model": Group(f"weights-{progress.step}", learned_tensors(self.model)),
            "best": Group(f"weights-{progress.best_step}", self.best_tensors),
            "optimizer": Group(f"moments-{progress.step}", moments),
        }
        name = checkpoint_name(progress.step, len(progress.curve))
        record = vars(progress) | {"sums": sums.tolist()}  # JSON keeps every bit of a float
        self.checkpoints.save(name, groups, record)

    def resume(self) -> bool:
        """Put the newest whole checkpoint into model, optimiser, progress; whether there is one."""
        if self.checkpoints is None:
            return False
        # 1. the first process chooses for all: they may see the disk at different moments
        place = self.checkpoints.newest() if self.rank == 0 else None
        step, epochs = together(np.array(place or (-1, -1)))[0].tolist()
        if step < 0:
            return False
        # 2. weights and moments in place, since the optimiser points at these very tensors
        tensors, record = self.checkpoints.load(checkpoint_name(step, epochs))
        put_tensors(self.model, tensors["model"])
        moments: dict[int, Tensors] = {}
        for key, value in tensors["optimizer"].items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})
        # 3. the best weights, on the device where they are put at the end
        device_of = {name: tensor.device for name, tensor in learned_tensors(self.model).items()}
        self.best_tensors = {k: tensor.to(device_of[k]) for k, tensor in tensors["best"].items()}
        # 4. step, curve and score, and of the sums those of this process
        self.progress = Progress(**record | {"sums": np.array(record["sums"][self.rank])})
        return True


def learned_tensors(model: nn.Module) -> Tensors:
    """What training changes, each tensor once: weights that are not frozen, and saved buffers.

    A tied table has several names in `state_dict`, and a frozen backbone is on disk already:
    neither is repeated.
    """
    saved = model.state_dict().keys()
    weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return weights | {name: b for name, b in model.named_buffers() if name in saved}


@torch.no_grad()
def put_tensors(model: nn.Module, tensors: Tensors) -> None:
    """The reverse of `learned_tensors`, in place."""
    for name, tensor in learned_tensors(model).items():
        tensor.copy_(tensors[name])


class Interrupt:
    """The stop button. Between entering and leaving, the first SIGINT (Ctrl-C, a notebook's stop
    button) or SIGTERM (a cluster that wants its machine back) only sets `asked`. A second one
    raises, as does any within `at_once`, where nothing would be lost.

    patient  a second one does not raise either: a launcher passes signals on, often twice
    """

    def __init__(self, patient: bool = False):
        self.asked, self.patient = False, patient
        self._at_once = False
        self._before: dict = {}

    def __enter__(self) -> Interrupt:
        # Python handles signals in its main thread alone: in others nothing changes
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():  # None: not set from Python
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a signal raises `KeyboardInterrupt`: for long work that leaves nothing."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._at_once or (self.asked and not self.patient):
            raise KeyboardInterrupt(
                "training: stopped. Run the same cell or command again: it goes on."
            )
        self.asked = True
