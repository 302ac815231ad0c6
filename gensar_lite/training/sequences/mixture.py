"""The mixture: which examples an epoch holds and in which order, a pure function of seed and epoch.

In: rows and source lengths of each task, lengths of streams. Out: batches of one task, each of
similar lengths. This file does not build tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gensar_lite.training.sequences.tasks import STREAM

MEGA_BATCH = 32  # batches sorted by length together: enough to bucket, few enough to stay random


class Plan(NamedTuple):
    """One batch to be built: a task's name, event rows (B,), prompt numbers (B,)."""

    task: str
    rows: np.ndarray
    prompt: np.ndarray


@dataclass(frozen=True)
class TaskMixture:
    """A seeded index over tasks. `weights` scale how often a task's examples come up per epoch:
    1 means every example once, 0.5 a random half, 2 each twice."""

    rows: dict[str, np.ndarray]
    lengths: dict[str, np.ndarray]
    weights: dict[str, float]
    batch_size: int
    num_prompts: int
    seed: int

    def num_examples(self, task: str) -> int:
        """Examples of a task per epoch."""
        return round(self.weights[task] * len(self.rows[task]))

    @property
    def num_batches(self) -> int:
        """Batches per epoch."""
        return sum(-(-self.num_examples(task) // self.batch_size) for task in self.rows)

    def epoch(self, epoch: int) -> list[Plan]:
        """The batches of one epoch, in order; the same for equal (seed, epoch)."""
        # one generator, asked in a fixed order: whatever epoch was asked for before, nothing moves
        rng = np.random.default_rng([self.seed, epoch])
        plans = []
        for task, rows in self.rows.items():
            # 1. which examples: places in `rows`, in random order, each as often as any other, give
            #    or take one
            count = self.num_examples(task)
            rounds = [rng.permutation(len(rows)) for _ in range(-(-count // max(len(rows), 1)))]
            index = np.concatenate([*rounds, np.zeros(0, dtype=np.int64)])[:count]
            mega = self.batch_size * MEGA_BATCH
            for low in range(0, len(index), mega):
                # 2. a mega-batch of them is sorted by length, so that a batch holds little padding
                part = index[low : low + mega]
                part = part[np.argsort(self.lengths[task][part], kind="stable")]
                # 3. and cut into batches, each example with a prompt of its own
                for begin in range(0, len(part), self.batch_size):
                    chosen = part[begin : begin + self.batch_size]
                    prompt = rng.integers(self.num_prompts, size=len(chosen))
                    plans.append(Plan(task, rows[chosen], prompt))
        # 4. tasks and lengths come in random order
        return [plans[i] for i in rng.permutation(len(plans))]


class StreamMixture:
    """A `TaskMixture` of tasks on items, and streams of like lengths, ``batch_tokens`` per batch.

    There are as many batches in every epoch; which streams of one length stand together changes.
    """

    def __init__(self, rest: TaskMixture, lengths: np.ndarray, batch_tokens: int, seed: int):
        self.rest, self.lengths, self.seed = rest, lengths, seed
        self.rows = rest.rows | {STREAM.name: np.arange(len(lengths))}
        # places, in order of length, where a batch begins: one more stream would overfill the last
        self.edges: list[int] = []
        begin = 0
        for place, length in enumerate(np.sort(lengths)):
            if place > begin and (place + 1 - begin) * length > batch_tokens:
                self.edges.append(place)
                begin = place
        self.num_batches = rest.num_batches + len(self.edges) + 1

    def num_examples(self, task: str) -> int:
        """Examples of a task per epoch."""
        return len(self.lengths) if task == STREAM.name else self.rest.num_examples(task)

    def epoch(self, epoch: int) -> list[Plan]:
        """As of a `TaskMixture`."""
        rng = np.random.default_rng([self.seed, epoch])
        # shuffled, then sorted by length in a stable way: random among streams of one length
        order = rng.permutation(len(self.lengths))
        order = order[np.argsort(self.lengths[order], kind="stable")]
        batches = np.split(order, self.edges)
        plans = [Plan(STREAM.name, rows, np.zeros_like(rows)) for rows in batches]
        plans += self.rest.epoch(epoch)
        return [plans[i] for i in rng.permutation(len(plans))]
