"""The training loop: one Accelerate loop for one CPU, one GPU or many processes.

In: batches as a pure function of (seed, epoch), a model, a judge of ranking quality. Out: the best weights and
one row of figures an epoch. Data order, dropout and learning rate depend on (seed, epoch, step, micro-batch) alone,
so a run that was killed at any instant goes on from its last checkpoint as if nothing had happened.
This file does not know how ranking quality is measured: it calls `judge`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, TrainingConfig, section_dict
from gensar_lite.machine.memory import give_back
from gensar_lite.machine.precision import use_bf16
from gensar_lite.machine.processes import rank_and_world, together
from gensar_lite.training.loop.checkpoint import Checkpoints
from gensar_lite.training.loop.interrupt import Interrupt
from gensar_lite.training.loop.objective import new_objective
from gensar_lite.training.loop.optimiser import learning_rate, new_optimiser, put_tensors
from gensar_lite.training.loop.progress import Progress, figures, harmonic_mean
from gensar_lite.training.loop.state import State
from gensar_lite.training.loop.steps import dropout_seed, my_slots, plans_of_step, steps_an_epoch
from gensar_lite.training.loop.tracking import LOG_STEPS, Reporter, Watch, check_tracker
from gensar_lite.training.sequences.mixture import Plan, TaskMixture
from gensar_lite.training.sequences.tasks import SequenceBuilder

Judge = Callable[[PreTrainedModel], dict[str, float]]
# these change when something is done, but no weight: a stopped run goes on with other values
FREE_SETTINGS = ("max_minutes", "checkpoint_minutes", "tracker")


class Trainer:
    """Holds what one run needs; `fit` does the work. Rebuilt from disk when a run goes on.

    checkpoints  folder of checkpoints, or None for none; `inputs` are digests of what the examples were made from
    watch        called with rows of figures while the run goes on, see `tracking`; `logs` is a tracker's folder
    """

    def __init__(
        self,
        model: PreTrainedModel,
        builder: SequenceBuilder,
        mixture: TaskMixture,
        settings: TrainingConfig,
        judge: Judge | None = None,
        checkpoints: Path | None = None,
        inputs: dict[str, str] | None = None,
        watch: Watch | None = None,
        logs: Path | None = None,
    ):
        if settings.accumulate < 1:
            raise ConfigError(
                f"training.accumulate: {settings.accumulate} micro-batches a step; it takes 1 or more."
            )
        self.settings, self.builder, self.mixture, self.judge, self.watch = (
            settings,
            builder,
            mixture,
            judge,
            watch,
        )
        self.rank, self.world = rank_and_world()
        self.accelerator = _accelerator(settings, logs, self.world)
        identity = {
            f"training.{k}": v for k, v in section_dict(settings).items() if k not in FREE_SETTINGS
        }
        # how many processes share an epoch changes its steps: a checkpoint of two is none of one
        identity |= {"processes": self.world, **(inputs or {})}
        folder = Checkpoints(checkpoints, identity, tqdm.write) if checkpoints else None
        self.model = model
        objective = new_objective(model, builder.layout, settings, self.accelerator.device)
        self.objective, self.optimiser = self.accelerator.prepare(
            objective, new_optimiser(model, settings)
        )
        self.steps_an_epoch = steps_an_epoch(mixture.num_batches, self.world, settings.accumulate)
        self.num_steps = self.steps_an_epoch * settings.epochs
        self.tasks = sorted({_logged(name) for name in mixture.rows})
        self.state = State(model, self.optimiser, Progress(self._no_sums()), folder, self.rank)
        self.saved = time.monotonic()

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.state.progress.step

    @property
    def curve(self) -> list[dict]:
        """One row a finished epoch."""
        return self.state.progress.curve

    def fit(self) -> list[dict]:
        """Train to the last epoch, the end of patience or of time; leaves the best weights in the model.

        A signal to stop ends it after the step at work, saved: `KeyboardInterrupt`. Called again, it goes on.
        """
        if self.state.resume() and self.rank == 0:
            tqdm.write(f"training: goes on after step {self.step} of {self.num_steps}")
        reporter = Reporter(self.accelerator, self._first_untold(), self.watch)
        # once a second: a notebook's client keeps a thousand messages, and drops the cell's end when more wait
        shown = {"desc": "training", "unit": "step", "mininterval": 1.0, "disable": self.rank > 0}
        bar = tqdm(total=self.num_steps, initial=self.step, **shown)
        try:
            with Interrupt(patient=self.world > 1) as interrupt:
                while len(self.curve) < self.settings.epochs and not self._finished():
                    self._epoch(len(self.curve) + 1, bar, interrupt, reporter)
        finally:
            bar.close()
            reporter.close()
        if not self.state.progress.best_step:  # time ran out before the first validation
            self.state.keep_best(0.0)
        put_tensors(self.model, self.state.best_tensors)
        self.model.eval()
        return self.curve

    def _finished(self) -> bool:
        late = bool(self.curve) and self.state.progress.seconds > 60 * self.settings.max_minutes
        scores = [row["score"] for row in self.curve if "score" in row]
        patient = not scores or len(scores) - 1 - int(np.argmax(scores)) < self.settings.patience
        # clocks differ: the first process decides for all, or one would wait for another that has left
        return bool(together(np.array([late or not patient]))[0, 0])

    def _epoch(self, epoch: int, bar: tqdm, interrupt: Interrupt, reporter: Reporter) -> None:
        """The rest of an epoch, from wherever the run stands in it, then validation and the curve's row."""
        plans, progress = self.mixture.epoch(epoch), self.state.progress
        self.objective.train()
        told, since, examples = progress.sums.copy(), time.perf_counter(), 0
        for position in range(self.step - (epoch - 1) * self.steps_an_epoch, self.steps_an_epoch):
            started = time.perf_counter()
            together_now = plans_of_step(plans, position, self.world, self.settings.accumulate)
            progress.sums += self._one_step(together_now)
            progress.seconds += time.perf_counter() - started
            examples += sum(len(plan.rows) for plan in together_now)
            bar.update()
            if position + 1 < self.steps_an_epoch:
                if self.step % LOG_STEPS == 0:
                    speed = {"examples/s": round(examples / (time.perf_counter() - since), 1)}
                    reporter.tell(
                        self._row() | figures(self.tasks, together(progress.sums - told)) | speed
                    )
                    told, since, examples = progress.sums.copy(), time.perf_counter(), 0
                self._pause(interrupt)
        row = (
            {"epoch": epoch}
            | self._row()
            | figures(self.tasks, together(progress.sums), levels=True)
        )
        if self.judge is not None and self._due(epoch):
            self._save()  # validation takes long: nothing before it is lost
            self._stop_if(self._agreed(interrupt.asked))
            with interrupt.at_once():
                row |= self._validated()
        if (
            self.judge is None or "score" in row
        ):  # without a judge there is nothing to choose by: the last one stands
            self.state.keep_best(row.get("score", float(epoch)))
        progress.curve.append(row | {"seconds": round(progress.seconds, 2)})
        progress.sums = self._no_sums()
        bar.set_postfix({k: f"{v:.4f}" for k, v in row.items() if k.endswith(("/loss", "score"))})
        reporter.tell(self.curve[-1])
        give_back()
        self._save()
        self._stop_if(self._agreed(interrupt.asked))

    def _one_step(self, plans: list[Plan]) -> np.ndarray:
        """One optimiser step on the batches of all processes; returns this process's sums (tasks, 3 + L).

        The loss is summed over target tokens and divided by those of the whole step, so how a step is split over
        processes and micro-batches does not change it.
        """
        tokens = sum(self.builder.plan_tokens(plan) for plan in plans)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.num_steps, self.settings)
        found, slots = [], my_slots(plans, self.rank, self.world)
        for slot in slots:
            torch.manual_seed(dropout_seed(self.settings.seed, self.step, slot.number))
            batch = self.builder.of(slot.plan).to(self.accelerator.device)
            last = slot is slots[-1]  # processes meet once a step
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.objective):
                loss = self.objective(batch)
                # processes' gradients are averaged, but their losses must be added up
                self.accelerator.backward(loss.total * (slot.counts * self.world / tokens))
            found.append(loss._replace(total=loss.total.detach()))
        norm = float(self.accelerator.clip_grad_norm_(self.objective.parameters(), 1.0))
        sums = self._no_sums()
        for slot, loss in zip(slots, found, strict=True):
            own = sums[self.tasks.index(_logged(slot.plan.task))]
            own += slot.counts * loss.row(self.builder.layout.num_levels)
        if not math.isfinite(
            norm
        ):  # of all processes: they stop together, before the weights are touched
            raise ArtifactError(
                f"training: loss {sums[:, 0].sum():.4g}, length of its gradient {norm} in step {self.step + 1}. The "
                "last checkpoint is kept; lower training.lr or set training.precision=fp32."
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.state.progress.step += 1
        return sums

    def _row(self) -> dict:
        return {
            "step": self.step,
            "lr": learning_rate(self.step - 1, self.num_steps, self.settings),
        }

    def _no_sums(self) -> np.ndarray:
        return np.zeros((len(self.tasks), 3 + self.builder.layout.num_levels))

    def _due(self, epoch: int) -> bool:
        return epoch % self.settings.eval_every == 0 or epoch == self.settings.epochs

    def _validated(self) -> dict[str, float]:
        """What the judge says of the model as it is, and the score that chooses among epochs."""
        started = time.perf_counter()
        self.model.eval()
        found = self.judge(self.model)
        found["score"] = harmonic_mean([v for k, v in found.items() if k.endswith("/ndcg@10")])
        self.state.progress.seconds += time.perf_counter() - started
        return found

    def _pause(self, interrupt: Interrupt) -> None:
        """Between two steps: save if it is time to, stop if someone asks to. All processes do the same."""
        due = (
            self.rank == 0
            and time.monotonic() - self.saved >= 60 * self.settings.checkpoint_minutes
        )
        asked, due = together(np.array([interrupt.asked, due], dtype=np.int64)).any(axis=0)
        if asked or due:
            self._save()
        self._stop_if(asked)

    def _save(self) -> None:
        self.state.save()
        self.saved = time.monotonic()

    def _agreed(self, asked: bool) -> bool:
        """Whether any process was asked to stop: all must do the same."""
        return bool(together(np.array([asked], dtype=np.int64)).any())

    def _stop_if(self, agreed: bool) -> None:
        if not agreed:
            return
        self.accelerator.wait_for_everyone()  # a launcher ends all processes as soon as one has ended
        kept = (
            "everything is saved"
            if self.state.checkpoints
            else "nothing is on disk, this trainer holds it"
        )
        raise KeyboardInterrupt(
            f"training: stopped after step {self.step} of {self.num_steps}, {kept}. Run the same cell or command "
            "again: it goes on."
        )

    def _first_untold(self) -> int:
        """The first step whose row a killed run may have told, but will tell again."""
        closed = self.step < (len(self.curve) + 1) * self.steps_an_epoch
        return self.step + closed


def _logged(task: str) -> str:
    """The name under which a task's figures are summed up."""
    return task.partition("/")[0]


def _accelerator(settings: TrainingConfig, logs: Path | None, world: int) -> Accelerator:
    tracker = check_tracker(settings.tracker)
    AcceleratorState._reset_state()  # or a notebook could not train again with another precision
    return Accelerator(
        mixed_precision="bf16" if use_bf16(settings.precision) else "no",
        cpu=world > 1 and not torch.accelerator.is_available(),
        log_with=tracker if logs else None,
        project_config=ProjectConfiguration(logging_dir=str(logs)) if logs else None,
    )
