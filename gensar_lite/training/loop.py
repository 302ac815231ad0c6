"""The training loop: one Accelerate loop for one CPU, one GPU or many processes.

In: batches as a pure function of (seed, epoch), a model, a judge of ranking quality. Out: the best weights and
one row of figures an epoch. Data order, dropout and learning rate depend on (seed, epoch, step, process) alone,
so a run that was killed goes on from its last checkpoint as if nothing had happened.
This file does not know how ranking quality is measured: it calls `judge`.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from torch import nn
from tqdm.auto import tqdm
from transformers import T5ForConditionalGeneration

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import TrainingConfig
from gensar_lite.embeddings.precision import use_bf16
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.checkpoint import load_checkpoint, optimiser_tensors, restore_optimiser, save_checkpoint
from gensar_lite.training.mixture import Plan, TaskMixture
from gensar_lite.training.model import task_loss
from gensar_lite.training.tasks import TASKS, SequenceBuilder

Judge = Callable[[T5ForConditionalGeneration], dict[str, float]]


class Objective(nn.Module):
    """The loss as a module's forward, so that Accelerate can wrap it for many processes."""

    def __init__(self, model: T5ForConditionalGeneration, layout: TokenLayout, settings: TrainingConfig):
        super().__init__()
        self.model, self.layout, self.settings = model, layout, settings

    def forward(self, source, mask, target, view: str | None):
        return task_loss(self.model, source, mask, target, view, self.layout, self.settings)


def learning_rate(step: int, num_steps: int, settings: TrainingConfig) -> float:
    """Linear warm-up, then a half cosine down to 2 % of the peak."""
    warmup = max(round(settings.warmup_rate * num_steps), 1)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    rest = (step - warmup) / max(num_steps - warmup, 1)
    return settings.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0))))


def harmonic_mean(values: list[float]) -> float:
    """0 when any value is 0: a model that gives up one task wins nothing."""
    return len(values) / sum(1 / v for v in values) if values and min(values) > 0 else 0.0


class Trainer:
    """Holds what one run needs; `fit` does the work. Rebuilt from disk when a run goes on."""

    def __init__(
        self,
        model: T5ForConditionalGeneration,
        builder: SequenceBuilder,
        mixture: TaskMixture,
        settings: TrainingConfig,
        judge: Judge | None = None,
        checkpoints: Path | None = None,
        fingerprint: str = "",
    ):
        self.settings, self.builder, self.mixture, self.judge = settings, builder, mixture, judge
        mixed = "bf16" if use_bf16(settings.precision) else "no"
        # Accelerate finds GPUs by itself; that several launched processes have only CPUs it must be told
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        AcceleratorState._reset_state()  # or a notebook could not train again with another precision
        self.accelerator = Accelerator(mixed_precision=mixed, cpu=several and not torch.accelerator.is_available())
        # how many processes share an epoch changes its batches: a checkpoint of two is none of one
        self.checkpoints, self.fingerprint = checkpoints, f"{fingerprint}/{self.accelerator.num_processes}"
        decay = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=settings.lr, fused=True)
        objective = Objective(model, builder.layout, settings)
        self.model = model
        self.objective, self.optimiser = self.accelerator.prepare(objective, optimiser)
        self.steps_an_epoch = -(-mixture.num_batches // self.accelerator.num_processes)
        self.num_steps = self.steps_an_epoch * settings.epochs
        self.curve: list[dict] = []
        self.step, self.best, self.seconds = 0, -1.0, 0.0
        self.best_state = {k: v.clone() for k, v in model.state_dict().items()}

    def fit(self) -> list[dict]:
        """Train to the last epoch, the end of patience or of time; leaves the best weights in the model."""
        self._resume()
        first = self.step // self.steps_an_epoch + 1
        # once a second: a notebook's client keeps a thousand messages, and drops the cell's end when more wait
        shown = {"desc": "training", "unit": "step", "mininterval": 1.0, "disable": not self._is_main}
        bar = tqdm(total=self.num_steps, initial=self.step, **shown)
        for epoch in range(first, self.settings.epochs + 1):
            if self._finished():
                break
            self._epoch(epoch, bar)
        bar.close()
        self.model.load_state_dict(self.best_state)
        self.model.eval()
        return self.curve

    @property
    def _is_main(self) -> bool:
        return self.accelerator.is_main_process

    def _finished(self) -> bool:
        late = bool(self.curve) and self.seconds > 60 * self.settings.max_minutes
        scores = [row["score"] for row in self.curve if "score" in row]
        patient = not scores or len(scores) - 1 - int(np.argmax(scores)) < self.settings.patience
        # clocks differ: the first process decides for all, or one would wait for another that has left
        return bool(broadcast_object_list([late or not patient])[0])

    def _epoch(self, epoch: int, bar: tqdm) -> None:
        started = time.perf_counter()
        plans, world, rank = self.mixture.epoch(epoch), self.accelerator.num_processes, self.accelerator.process_index
        sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3 + self.builder.layout.num_levels))
        self.objective.train()
        for i in range(self.steps_an_epoch):
            plan = plans[(i * world + rank) % len(plans)]  # the last step of an epoch wraps around
            sums[TASKS[plan.task].base] += self._one_step(plan)
            bar.update()
        self.seconds += time.perf_counter() - started
        row = {"epoch": epoch, "step": self.step, "lr": self.optimiser.param_groups[0]["lr"]}
        for task, total in sorted(sums.items()):
            row[f"{task}/loss"] = total[0] / total[1]
            row |= {f"{task}/accuracy@{level + 1}": hits / total[2] for level, hits in enumerate(total[3:])}
        self._validate(epoch, row)
        self.curve.append(row | {"seconds": round(self.seconds, 2)})
        shown = {k: f"{v:.4f}" for k, v in row.items() if k.endswith(("/loss", "score"))}
        bar.set_postfix(shown)
        self._save()

    def _one_step(self, plan: Plan) -> np.ndarray:
        """One optimiser step; returns summed loss, its tokens, what hits are counted in, hits per level."""
        seed = np.random.SeedSequence([self.settings.seed, self.step, self.accelerator.process_index])
        torch.manual_seed(int(seed.generate_state(1)[0]))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.num_steps, self.settings)
        batch = self.builder.batch(TASKS[plan.task], plan.rows, plan.prompt)
        device = self.accelerator.device
        source, mask, target = (torch.from_numpy(a).to(device) for a in (batch.source, batch.mask, batch.target))
        total, hits = self.objective(source, mask, target, batch.task.view)
        tokens = self.builder.target_tokens(batch.task, plan.rows)
        loss = total / tokens
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.objective.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ArtifactError(
                f"training: the loss became {value} in step {self.step} ({plan.task}). The last checkpoint is kept; "
                "lower training.lr or set training.precision=fp32."
            )
        count = tokens if batch.task.writes == "text" else len(plan.rows)
        hits = np.pad(hits.cpu().numpy(), (0, self.builder.layout.num_levels - len(hits)))
        return np.r_[value * tokens, tokens, count, hits]

    def _validate(self, epoch: int, row: dict) -> None:
        due = epoch % self.settings.eval_every == 0 or epoch == self.settings.epochs
        if self.judge is None or not due:
            if self.judge is None:  # nothing to choose by: the last epoch stands
                self._keep_best(float(epoch))
            return
        started = time.perf_counter()
        self.model.eval()
        row |= self.judge(self.model)
        row["score"] = harmonic_mean([v for k, v in row.items() if k.endswith("/ndcg@10")])
        self._keep_best(row["score"])
        self.seconds += time.perf_counter() - started

    def _keep_best(self, score: float) -> None:
        if score > self.best:
            self.best = score
            self.best_state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def _save(self) -> None:
        if self.checkpoints is None or not self._is_main:
            return
        optimiser = getattr(self.optimiser, "optimizer", self.optimiser)
        tensors = {"model": self.model.state_dict(), "best": self.best_state, "optimiser": optimiser_tensors(optimiser)}
        progress = {"step": self.step, "best": self.best, "seconds": self.seconds, "curve": self.curve}
        save_checkpoint(self.checkpoints, tensors, progress | {"fingerprint": self.fingerprint})

    def _resume(self) -> None:
        found = load_checkpoint(self.checkpoints, self.fingerprint) if self.checkpoints else None
        if found is None:
            return
        tensors, progress = found
        self.model.load_state_dict(tensors["model"])
        restore_optimiser(getattr(self.optimiser, "optimizer", self.optimiser), tensors["optimiser"])
        self.best_state, self.best = tensors["best"], progress["best"]
        self.step, self.seconds, self.curve = progress["step"], progress["seconds"], progress["curve"]
        if self._is_main:
            tqdm.write(f"training: goes on after step {self.step} of {self.num_steps}")
