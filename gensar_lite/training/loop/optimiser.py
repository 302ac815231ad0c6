"""Optimiser steps: AdamW, the learning rate of a step, who computes which of its batches.

In: a model, settings, a step's plans. Out: an optimiser, rates, slots: functions of numbers, so
that 2 processes x 1 micro-batch and 1 process x 2 micro-batches compute the same step.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from gensar_lite.config import TrainingConfig
from gensar_lite.training.sequences.mixture import Plan


def new_optimiser(model: nn.Module, settings: TrainingConfig) -> torch.optim.AdamW:
    """AdamW whose weight decay spares vectors: scales of norms are no weights to shrink."""
    learned = [p for p in model.parameters() if p.requires_grad]  # frozen weights stay out
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.lr, fused=True)


def learning_rate(step: int, num_steps: int, settings: TrainingConfig) -> float:
    """Linear warm-up, then a half cosine down to 2 % of the peak."""
    # one step at least: the first must not have a rate of 0
    warmup = max(round(settings.warmup_rate * num_steps), 1)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    # share of the way down, 0 to 1
    rest = (step - warmup) / max(num_steps - warmup, 1)
    return settings.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0))))


class Slot(NamedTuple):
    """A micro-batch of one process. `number` counts within the step, over processes; `counts` is
    0.0 for a stand-in: a process without a batch of its own computes one row more, since every
    process must take part in the sum."""

    number: int
    plan: Plan
    counts: float


def my_slots(plans: list[Plan], rank: int, world: int) -> list[Slot]:
    """What process `rank` computes of a step: every world-th batch, or a stand-in."""
    mine = [Slot(number, plans[number], 1.0) for number in range(rank, len(plans), world)]
    first = plans[0]
    return mine or [Slot(rank, first._replace(rows=first.rows[:1], prompt=first.prompt[:1]), 0.0)]


def dropout_seed(seed: int, step: int, slot: int) -> int:
    """The seed of one micro-batch's dropout: of the slot, whichever process computes it."""
    return int(np.random.SeedSequence([seed, step, slot]).generate_state(1)[0])
