"""Search against recommendation: who is good at both, and what a set of systems covers.

In: summaries (list of dicts, see scores.py). Out: points, the Pareto front, the hypervolume.
Higher is better on both axes. This file draws nothing (plots.py).
"""

from typing import NamedTuple

import numpy as np

from gensar_lite.evaluation.scores import system_order
from gensar_lite.evaluation.uncertainty import Interval


class Point(NamedTuple):
    """One system; a task that it does not do is None."""

    system: str
    search: Interval | None
    recommend: Interval | None


def tradeoff_points(
    metrics: list[dict], metric: str = "ndcg@10", protocol: str = "full"
) -> list[Point]:
    """One point per system, known systems first."""
    tasks: dict[str, dict[str, Interval]] = {}  # of each system
    for row in metrics:
        if row["metric"] == metric and row["protocol"] == protocol:
            interval = Interval(row["value"], row["low"], row["high"])
            tasks.setdefault(row["system"], {})[row["task"]] = interval
    systems = sorted(tasks, key=system_order)
    return [Point(name, *map(tasks[name].get, ("search", "recommend"))) for name in systems]


def pareto_front(values: np.ndarray) -> np.ndarray:
    """Which of `values` (P, 2) no other point beats: (P,) bool.

    A point is beaten by one that is at least as good on both axes and better on one; equal points
    stay together.
    """
    values = np.asarray(values, dtype=float).reshape(-1, 2)
    # (P, P): every point i against every point j
    at_least = (values[None] >= values[:, None]).all(axis=2)  # [i, j]: j is nowhere worse than i
    better = (values[None] > values[:, None]).any(axis=2)
    return ~(at_least & better).any(axis=1)


def hypervolume(values: np.ndarray, reference: tuple[float, float] = (0.0, 0.0)) -> float:
    """Area that `values` (P, 2) dominate above `reference`: one number for a whole front (Zitzler &
    Thiele 1999)."""
    values = np.asarray(values, dtype=float).reshape(-1, 2) - np.asarray(reference)
    # what lies below the reference on one axis dominates nothing
    front = values[(values > 0).all(axis=1)]
    front = front[np.lexsort((-front[:, 1], -front[:, 0]))]  # from the right to the left
    area, height = 0.0, 0.0
    for x, y in front:  # each point adds the strip by which it is higher than those before
        area += x * max(y - height, 0.0)
        height = max(height, y)
    return float(area)
