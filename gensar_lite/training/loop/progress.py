"""Where a run stands: what a checkpoint's manifest says, and the figures that are made of it.

In: sums over batches. Out: a record that JSON can hold, rows of losses and accuracies.
This file does not know models, nor how a batch is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gensar_lite.training.loop.checkpoint import checkpoint_name


@dataclass
class Progress:
    """The epoch at work is the one after the curve's last row.

    sums  (tasks, 3 + L) of this process in the epoch at work: loss, target tokens, what hits are counted in (answers:
          examples, or the tokens of texts), hits per level
    best  the best score yet, that of the weights after `best_step` steps
    """

    sums: np.ndarray
    step: int = 0
    curve: list[dict] = field(default_factory=list)
    best: float = -1.0
    best_step: int = 0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Its checkpoint's name."""
        return checkpoint_name(self.step, len(self.curve))

    def told(self, sums: np.ndarray) -> dict:
        """The record of a manifest, with `sums` (processes, tasks, 3 + L). JSON keeps every bit of a float.

        Each process keeps sums of its own: added up earlier or later, they would differ in their last bits.
        """
        return {k: v for k, v in vars(self).items() if k != "sums"} | {"sums": sums.tolist()}


def figures(tasks: list[str], sums: np.ndarray, levels: bool = False) -> dict[str, float]:
    """From sums (processes, tasks, 3 + L): each task's loss a token and, with `levels`, its share of right codes."""
    row = {}
    for task, (loss, tokens, answers, *hits) in zip(tasks, sums.sum(axis=0).tolist(), strict=True):
        if tokens:
            row[f"{task}/loss"] = loss / tokens
        if answers and levels:
            row |= {
                f"{task}/accuracy@{level}": count / answers
                for level, count in enumerate(hits, start=1)
            }
    return row


def harmonic_mean(values: list[float]) -> float:
    """0 when any value is 0: a model that gives up one task wins nothing."""
    return len(values) / sum(1 / v for v in values) if values and min(values) > 0 else 0.0
