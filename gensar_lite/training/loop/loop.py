"""The training loop: one Accelerate loop for one CPU, one GPU or many processes.

In: batches, a model, a `judge` of ranking quality. Out: the best weights, a row of figures per
epoch. Order, dropout and learning rate depend on (seed, epoch, step, micro-batch) alone: a run that
was killed at any instant goes on from its last checkpoint as if nothing had happened.
"""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import TrainingConfig, section_dict
from gensar_lite.machine.memory import give_back
from gensar_lite.machine.precision import how_computed, use_bf16
from gensar_lite.machine.processes import rank_and_world, together
from gensar_lite.machine.threads import threads_for
from gensar_lite.training.loop.checkpoint import Checkpoints
from gensar_lite.training.loop.figures import Watch, figures, harmonic_mean, new_accelerator
from gensar_lite.training.loop.losses import Objective
from gensar_lite.training.loop.optimiser import dropout_seed, learning_rate, my_slots, new_optimiser
from gensar_lite.training.loop.state import Interrupt, Progress, State, put_tensors
from gensar_lite.training.sequences.examples import SequenceBuilder
from gensar_lite.training.sequences.mixture import Plan, TaskMixture
from gensar_lite.training.sequences.tasks import PLANNED

Judge = Callable[[PreTrainedModel], dict[str, float]]
LOG_STEPS = 10  # optimiser steps between two rows of figures
# these change when something is done, but no weight: a stopped run goes on with other values
FREE_SETTINGS = ("max_minutes", "checkpoint_minutes", "tracker")


class Trainer:
    """Holds what one run needs; `fit` does the work. Rebuilt from disk when a run goes on.

    checkpoints  folder of checkpoints, or None for none
    inputs       digests of what the examples were made from
    watch        called with rows of figures while the run goes on, see `figures`
    logs         a tracker's folder
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
        self.model, self.builder, self.mixture = model, builder, mixture
        self.settings, self.judge, self.watch = settings, judge, watch
        self.rank, self.world = rank_and_world()
        identity = {
            f"training.{k}": v for k, v in section_dict(settings).items() if k not in FREE_SETTINGS
        }
        # how many processes share an epoch changes its steps: a checkpoint of two is none of one
        identity |= {"processes": self.world, **(inputs or {})}
        folder = Checkpoints(checkpoints, identity, tqdm.write) if checkpoints else None
        self.threads = lambda: threads_for(model.config.hidden_size)
        self.bf16 = self._first_decides(self._number_format(folder))
        self.accelerator = new_accelerator(settings.tracker, self.bf16, logs)
        objective = Objective(model, builder.layout, settings)
        optimiser = new_optimiser(model, settings)
        self.objective, self.optimiser = self.accelerator.prepare(objective, optimiser)
        self.step_size = self.world * settings.accumulate  # batches, of all processes together
        # the last step of an epoch may be smaller: no example is drawn twice
        self.steps_per_epoch = -(-mixture.num_batches // self.step_size)
        self.num_steps = self.steps_per_epoch * settings.epochs
        self.tasks = sorted({PLANNED[name].base for name in mixture.rows})
        progress = Progress(self._no_sums(), bf16=self.bf16)
        self.state = State(model, self.optimiser.optimizer, progress, folder, self.rank)
        self.saved = time.monotonic()

    def _number_format(self, checkpoints: Checkpoints | None) -> bool:
        """Whether products are in bf16: as in the checkpoint, else as set or measured."""
        begun = checkpoints.begun_with("bf16") if checkpoints else None
        if begun is not None:
            return begun
        with threads_for(self.model.config.hidden_size):
            return use_bf16(self.settings.precision)

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.state.progress.step

    @property
    def curve(self) -> list[dict]:
        """One row per finished epoch."""
        return self.state.progress.curve

    def fit(self) -> list[dict]:
        """Train until epochs, patience or time are over; leaves the best weights in the model.

        A signal to stop ends it after a step, saved: `KeyboardInterrupt`. Called again, it goes on.
        """
        if self.state.resume() and self.rank == 0:
            tqdm.write(f"training: goes on after step {self.step} of {self.num_steps}")
        # the first step whose row a killed run may have reported, but will report again, so that
        # old rows make way: the row of the epoch's last step is on disk with the epoch
        inside = self.step < (len(self.curve) + 1) * self.steps_per_epoch
        purge = {"tensorboard": {"purge_step": self.step + inside}}
        self.accelerator.init_trackers("training", init_kwargs=purge)
        # once a second: a notebook's client keeps a thousand messages, and drops the cell's end
        # when more wait
        shown = {"desc": "training", "unit": "step", "mininterval": 1.0, "disable": self.rank > 0}
        self.bar = tqdm(total=self.num_steps, initial=self.step, **shown)
        try:
            with Interrupt(patient=self.world > 1) as self.interrupt, self.threads():
                while len(self.curve) < self.settings.epochs and not self._finished():
                    self._epoch(len(self.curve) + 1)
        finally:
            self.bar.close()
            # not Accelerate's end_training, which would also end the processes' connection
            for tracker in self.accelerator.trackers:
                tracker.finish()
        if not self.state.progress.best_step:  # time ran out before the first validation
            self.state.keep_best(0.0)
        put_tensors(self.model, self.state.best_tensors)
        self.model.eval()
        return self.curve

    def _finished(self) -> bool:
        """Whether time or patience is at its end."""
        late = bool(self.curve) and self.state.progress.seconds > 60 * self.settings.max_minutes
        scores = [row["score"] for row in self.curve if "score" in row]
        since_best = len(scores) - 1 - int(np.argmax(scores)) if scores else 0
        # clocks differ: one that left would be waited for
        return self._first_decides(late or (bool(scores) and since_best >= self.settings.patience))

    @staticmethod
    def _first_decides(mine: bool) -> bool:
        return bool(together(np.array([mine]))[0, 0])

    def _epoch(self, epoch: int) -> None:
        """The rest of an epoch, from wherever the run stands in it, then its end."""
        progress, plans = self.state.progress, self.mixture.epoch(epoch)
        self.objective.train()
        # figures between two rows are those since the last one
        reported, since, examples = progress.sums.copy(), time.perf_counter(), 0
        for position in range(self.step - (epoch - 1) * self.steps_per_epoch, self.steps_per_epoch):
            started = time.perf_counter()
            batches = plans[position * self.step_size :][: self.step_size]
            progress.sums += self._one_step(batches)
            progress.seconds += time.perf_counter() - started
            examples += sum(len(plan.rows) for plan in batches)
            self.bar.update()
            if position + 1 == self.steps_per_epoch:
                break  # the epoch's own row and checkpoint follow
            if self.step % LOG_STEPS == 0:
                speed = {"examples/s": round(examples / (time.perf_counter() - since), 1)}
                losses = figures(self.tasks, together(progress.sums - reported))
                self._report(self._row() | losses | speed)
                reported, since, examples = progress.sums.copy(), time.perf_counter(), 0
            self._pause()
        self._end_epoch(epoch)

    def _end_epoch(self, epoch: int) -> None:
        """Validation where it is due, the curve's row, and a checkpoint."""
        progress = self.state.progress
        sums = together(progress.sums)
        row = {"epoch": epoch} | self._row() | figures(self.tasks, sums, levels=True)
        last = epoch == self.settings.epochs
        if self.judge is not None and (epoch % self.settings.eval_every == 0 or last):
            self._pause(save=True)  # validation takes long: nothing before it is lost
            with self.interrupt.at_once():
                row |= self._validated()
        # an epoch that was not validated cannot be the best one; without a judge there is nothing
        # to choose by, and the last one stands
        if self.judge is None or "score" in row:
            self.state.keep_best(row.get("score", float(epoch)))
        progress.curve.append(row | {"seconds": round(progress.seconds, 2)})
        progress.sums = self._no_sums()
        shown = {k: f"{v:.4f}" for k, v in row.items() if k.endswith(("/loss", "score"))}
        self.bar.set_postfix(shown)
        self._report(self.curve[-1])
        give_back()
        self._pause(save=True)

    def _report(self, row: dict) -> None:
        """Send the numbers of one row where they are wanted; the first process alone does."""
        if self.rank > 0:
            return
        self.accelerator.log({k: v for k, v in row.items() if k != "step"}, step=row["step"])
        if self.watch is not None:
            self.watch(dict(row))

    def _one_step(self, plans: list[Plan]) -> np.ndarray:
        """One optimiser step on the batches of all processes; returns this one's sums.

        The loss is summed over target tokens and divided by those of the whole step, so how a step
        is split over processes and micro-batches does not change it. Sums are (tasks, 3 + L), see
        `Progress`.
        """
        tokens = sum(self.builder.target_tokens(PLANNED[plan.task], plan.rows) for plan in plans)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.num_steps, self.settings)
        slots = my_slots(plans, self.rank, self.world)
        losses = []
        for slot in slots:
            torch.manual_seed(dropout_seed(self.settings.seed, self.step, slot.number))
            task, rows, prompt = slot.plan
            batch = self.builder.batch(PLANNED[task], rows, prompt).to(self.accelerator.device)
            last = slot is slots[-1]  # processes meet once per step
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.objective):
                loss = self.objective(batch)
                # processes' gradients are averaged, but their losses must be added up
                self.accelerator.backward(loss.total * (slot.counts * self.world / tokens))
            losses.append(loss._replace(total=loss.total.detach()))
        norm = float(self.accelerator.clip_grad_norm_(self.objective.parameters(), 1.0))
        # numbers are asked for now alone: a GPU would be waited for after every micro-batch
        sums = self._no_sums()
        for slot, loss in zip(slots, losses, strict=True):
            task = PLANNED[slot.plan.task].base
            sums[self.tasks.index(task)] += slot.counts * loss.row(self.builder.layout.num_levels)
        # the norm is that of all processes: they stop together, before the weights are touched
        if not math.isfinite(norm):
            raise ArtifactError(
                f"training: loss {sums[:, 0].sum():.4g}, length of its gradient {norm} in step "
                f"{self.step + 1}. The last checkpoint is kept; lower training.lr or set "
                "training.precision=fp32."
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.state.progress.step += 1
        return sums

    def how_computed(self) -> dict[str, object]:
        """Format and threads, for the stage's ``meta.json``."""
        with self.threads():
            return how_computed(self.settings.precision) | {"bf16": self.bf16}

    def _row(self) -> dict:
        lr = learning_rate(self.step - 1, self.num_steps, self.settings)
        return {"step": self.step, "lr": lr}

    def _no_sums(self) -> np.ndarray:
        return np.zeros((len(self.tasks), 3 + self.builder.layout.num_levels))

    def _validated(self) -> dict[str, float]:
        """What the judge says of the model as it is, and the score that chooses among epochs."""
        started = time.perf_counter()
        self.model.eval()
        row = self.judge(self.model)
        row["score"] = harmonic_mean([v for k, v in row.items() if k.endswith("/ndcg@10")])
        self.state.progress.seconds += time.perf_counter() - started
        return row

    def _pause(self, save: bool = False) -> None:
        """Between two steps: save if it is time to (or `save`), stop if someone asks to, saved.

        All processes do the same, whichever was asked.
        """
        if save:
            self._save()
        minutes = (time.monotonic() - self.saved) / 60
        due = self.rank == 0 and minutes >= self.settings.checkpoint_minutes and not save
        asked, due = together(np.array([self.interrupt.asked, due], dtype=np.int64)).any(axis=0)
        if due or (asked and not save):
            self._save()
        if not asked:
            return
        self.accelerator.wait_for_everyone()  # a launcher ends all processes when one has ended
        on_disk = "everything is saved"
        kept = on_disk if self.state.checkpoints else "nothing is on disk, this trainer holds it"
        raise KeyboardInterrupt(
            f"training: stopped after step {self.step} of {self.num_steps}, {kept}. Run the same "
            "cell or command again: it goes on."
        )

    def _save(self) -> None:
        self.state.save()
        self.saved = time.monotonic()
