"""The mixture: which examples an epoch holds and in which order, as a pure function of seed and epoch.

In: event rows and source lengths of each task. Out: batches of one task, each of similar lengths.
This file does not build tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MEGA_BATCH = 32  # batches that are sorted by length together: long enough to bucket, short enough to stay random


class Plan(NamedTuple):
    """One batch to be built: a task's name, event rows (B,), prompt numbers (B,)."""

    task: str
    rows: np.ndarray
    prompt: np.ndarray


class TaskMixture:
    """A seeded index over tasks. `weights` scale how often each task's examples are drawn an epoch:
    1 means every example once, 0.5 a random half, 2 each twice."""

    def __init__(
        self,
        rows: dict[str, np.ndarray],
        lengths: dict[str, np.ndarray],
        weights: dict[str, float],
        batch_size: int,
        num_prompts: int,
        seed: int,
    ):
        self.rows, self.lengths, self.weights = rows, lengths, weights
        self.batch_size, self.num_prompts, self.seed = batch_size, num_prompts, seed

    def num_examples(self, task: str) -> int:
        return round(self.weights[task] * len(self.rows[task]))

    @property
    def num_batches(self) -> int:
        """Batches an epoch."""
        return sum(-(-self.num_examples(task) // self.batch_size) for task in self.rows)

    def epoch(self, epoch: int) -> list[Plan]:
        """The batches of one epoch, in order; the same for equal (seed, epoch)."""
        rng = np.random.default_rng([self.seed, epoch])
        plans = []
        for task, rows in self.rows.items():
            index = self._draw(len(rows), self.num_examples(task), rng)
            mega = self.batch_size * MEGA_BATCH
            for low in range(0, len(index), mega):
                part = index[low : low + mega]
                part = part[np.argsort(self.lengths[task][part], kind="stable")]
                for begin in range(0, len(part), self.batch_size):
                    chosen = part[begin : begin + self.batch_size]
                    plans.append(
                        Plan(task, rows[chosen], rng.integers(self.num_prompts, size=len(chosen)))
                    )
        return [plans[i] for i in rng.permutation(len(plans))]

    @staticmethod
    def _draw(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
        rounds = [rng.permutation(size) for _ in range(-(-count // size))] if size else []
        return np.concatenate(rounds)[:count] if rounds else np.zeros(0, dtype=np.int64)
