"""From an epoch's list of batches to optimiser steps, and to the part of a step that each process computes.

In: plans in order, how many processes, how many micro-batches. Out: slots, as pure functions of these numbers, so
that 2 processes x 1 micro-batch and 1 process x 2 micro-batches compute the same step.
This file does not know models or tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gensar_lite.training.sequences.mixture import Plan


class Slot(NamedTuple):
    """A micro-batch of one process. `number` counts within the step, over processes; `counts` is 0.0 for a stand-in:
    a process without a batch of its own computes one row more, since every process must take part in the sum."""

    number: int
    plan: Plan
    counts: float


def steps_an_epoch(num_batches: int, world: int, accumulate: int) -> int:
    """The last step of an epoch may be smaller than the others: no example is drawn twice to fill it up."""
    return -(-num_batches // (world * accumulate))


def plans_of_step(plans: list[Plan], position: int, world: int, accumulate: int) -> list[Plan]:
    """The batches that all processes together compute in step `position` (from 0) of an epoch."""
    size = world * accumulate
    return plans[position * size : (position + 1) * size]


def my_slots(plans: list[Plan], rank: int, world: int) -> list[Slot]:
    """What process `rank` computes of a step: every world-th batch, or a stand-in where none is left for it."""
    mine = [Slot(number, plans[number], 1.0) for number in range(rank, len(plans), world)]
    first = plans[0]
    return mine or [Slot(rank, first._replace(rows=first.rows[:1], prompt=first.prompt[:1]), 0.0)]


def dropout_seed(seed: int, step: int, slot: int) -> int:
    """The seed of one micro-batch's dropout. It names the slot, not the process that computes it."""
    return int(np.random.SeedSequence([seed, step, slot]).generate_state(1)[0])
