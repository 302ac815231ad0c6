"""The plane of both tasks: points, lines, what a set of systems covers, where a line is balanced.

In: a `Study`, the specialists of both tasks. Out: rows for json. All numbers are NDCG@10 over the
whole catalogue; *relative* ones are shares of the specialist's, so that (1, 1) is a joint model
that costs nothing. Users are drawn with all that they asked, in both tasks at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gensar_lite.evaluation.tradeoff import hypervolume, pareto_front
from gensar_lite.evaluation.uncertainty import bootstrap_means
from gensar_lite.experiments.tradeoff.results import Study, values
from gensar_lite.experiments.tradeoff.tables import Draws

METRIC = "ndcg@10"
AXES = ("search", "recommend")  # x and y


class Plane(NamedTuple):
    """P systems that do both tasks, and what both axes are measured by.

    means     (P, 2) search and recommendation
    drawn     (B, P, 2) the same for B draws of users
    unit      (2,) the specialists, and `drawn_unit` (B, 2); ones where there are none
    """

    systems: list[str]
    means: np.ndarray
    drawn: np.ndarray
    unit: np.ndarray
    drawn_unit: np.ndarray


def plane_of(study: Study, systems: Sequence[str], others: dict[str, str], draws: Draws) -> Plane:
    """The plane of `systems`; `others` are the specialists, task -> name."""
    columns, counts = [], []
    users = np.concatenate([study.targets[task]["user_id"].to_numpy() for task in AXES])
    names, place = np.unique(users, return_inverse=True)
    low = 0
    for task in AXES:
        size = len(study.targets[task])
        mine = place[low : low + size]
        low += size
        wanted = [*systems, others[task]]
        for name in wanted:
            row = values(study.outcomes[name, task], METRIC).mean(axis=0)  # over seeds
            columns.append(np.bincount(mine, row, len(names)))
        counts.append(np.bincount(mine, minlength=len(names)).astype(float))
    sums = np.stack(columns + counts, axis=1)  # (U, 2 * (P + 1) + 2)
    drawn = bootstrap_means(sums, draws.num_bootstrap, draws.seed)
    per_task = len(systems) + 1
    parts = []
    for table in (sums.mean(axis=0)[None], drawn):
        sides = [table[:, i * per_task : (i + 1) * per_task] for i in range(2)]
        shares = [side / table[:, -2 + i, None] for i, side in enumerate(sides)]
        parts.append(np.stack(shares, axis=2))  # (B, P + 1, 2)
    mean, drawn = parts
    return Plane(list(systems), mean[0, :-1], drawn[:, :-1], mean[0, -1], drawn[:, -1])


def point_rows(plane: Plane, draws: Draws) -> list[dict]:
    """Each system's place, how it compares with the specialists, and how often a draw of users puts
    it on the Pareto front of all."""
    tail = (1 - draws.confidence) / 2
    on_front = pareto_front(plane.means)
    often = np.mean([pareto_front(draw) for draw in plane.drawn], axis=0)  # (P,)
    change = plane.means / plane.unit - 1
    drawn = plane.drawn / plane.drawn_unit[:, None] - 1
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)  # (P, 2) each
    rows = []
    for i, name in enumerate(plane.systems):
        row = {"system": name, "on_front": bool(on_front[i]), "front_share": float(often[i])}
        for axis, task in enumerate(AXES):
            row[task] = float(plane.means[i, axis])
            ends = {"value": change[i, axis], "low": low[i, axis], "high": high[i, axis]}
            row[f"{task}_change"] = {name: float(value) for name, value in ends.items()}
        rows.append(row)
    return rows


def covered(plane: Plane, draws: Draws) -> dict[str, float]:
    """Hypervolume of all systems in units of the specialists, with its interval: 1 is the area of
    a system that is as good as both."""
    tail = (1 - draws.confidence) / 2
    drawn = [
        hypervolume(points / unit)
        for points, unit in zip(plane.drawn, plane.drawn_unit, strict=True)
    ]
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return {"value": hypervolume(plane.means / plane.unit), "low": float(low), "high": float(high)}


def balance(plane: Plane, line: Sequence[str]) -> dict[str, object] | None:
    """Where a line of systems, in order, changes both tasks by the same share of the specialists:
    that change, and the two systems that it lies between; None where it never does."""
    places = [plane.systems.index(name) for name in line]
    change = plane.means[places] / plane.unit - 1  # (n, 2)
    lead = change[:, 0] - change[:, 1]  # search's over recommendation's
    for i in range(len(line) - 1):
        if lead[i] == lead[i + 1] or lead[i] * lead[i + 1] > 0:
            continue
        share = lead[i] / (lead[i] - lead[i + 1])
        both = change[i] + share * (change[i + 1] - change[i])
        return {"change": float(both[0]), "between": [line[i], line[i + 1]], "share": float(share)}
    return None


def lines_of(systems: Sequence[str], base: str) -> dict[str, list[str]]:
    """The systems that one setting moves, in its order, by the setting's name."""
    shared = sorted(name for name in systems if name.startswith("dual-") and name[5:].isdigit())
    fused = [name for name in systems if name.startswith("both-views ")]

    def weight(name: str) -> float:
        recommend, search = name.split("-")[1:] if name != base else (1, 1)
        return int(recommend) / int(search)

    weighted = sorted([n for n in systems if n.startswith("weights-")] + [base], key=weight)
    lines = {"task_weights": weighted, "num_shared": shared, "fusion": fused}
    return {name: line for name, line in lines.items() if len(line) > 1}
