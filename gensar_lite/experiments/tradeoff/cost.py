"""What a joint model costs: the worse of the changes that it brings to both tasks.

In: a `Plane`, points and rows of an analysis. Out: tables and sentences made from their numbers.
A mean of both tasks would let a gain in one hide a loss in the other; the worse change does not.
This file draws nothing.
"""

from collections.abc import Sequence

import numpy as np

from gensar_lite.drawing.palette import TASK_TITLE
from gensar_lite.evaluation.uncertainty import Interval
from gensar_lite.experiments.tradeoff.frontier import AXES, Plane
from gensar_lite.experiments.tradeoff.lookup import changes_of, is_sure
from gensar_lite.experiments.tradeoff.tables import Draws


def crossed_points(result: dict) -> list[dict]:
    """The points of an analysis whose changes have intervals over seeds and users, not over users
    alone."""
    changes = {task: changes_of(result, task) for task in AXES}
    return [
        row | {f"{task}_change": changes[task][row["system"]] for task in AXES}
        for row in result["points"]
    ]


def cost_rows(points: Sequence[dict], names: Sequence[str]) -> list[dict]:
    """Of each of `names`: both relative changes against the specialists and the worse of them, the
    best system first."""
    changes = {
        row["system"]: {task: row[f"{task}_change"]["value"] for task in AXES} for row in points
    }
    rows = [
        {"system": name} | changes[name] | {"worse": min(changes[name].values())}
        for name in names
        if name in changes
    ]
    return sorted(rows, key=lambda row: -row["worse"])


def cost_difference(plane: Plane, first: str, second: str, draws: Draws) -> Interval:
    """The worse change of `first` less that of `second`, with its interval over users: positive
    where `first` costs less."""
    change = plane.means / plane.unit - 1  # (P, 2)
    drawn = plane.drawn / plane.drawn_unit[:, None] - 1  # (B, P, 2)
    i, j = plane.systems.index(first), plane.systems.index(second)
    worse, tail = drawn.min(axis=2), (1 - draws.confidence) / 2  # (B, P)
    low, high = np.quantile(worse[:, i] - worse[:, j], [tail, 1 - tail])
    return Interval(float(change[i].min() - change[j].min()), float(low), float(high))


def cost_sentence(plane: Plane, first: str, second: str, draws: Draws) -> str:
    """`cost_difference` in words, whatever it is."""
    change = plane.means / plane.unit - 1
    parts = []
    for name in (first, second):
        pair = change[plane.systems.index(name)]
        task = AXES[int(pair.argmin())]
        parts.append(f"{pair.min():+.1%} for {name} ({TASK_TITLE[task].lower()})")
    ends = cost_difference(plane, first, second, draws)
    # the better one is named first, so that the verb is always the same
    better, worse, sign = (first, second, 1) if ends.value > 0 else (second, first, -1)
    low, high = sorted((sign * ends.low, sign * ends.high))
    sure = "" if low > 0 else ", which may be chance"
    return (
        f"The worse of both changes is {' and '.join(parts)}: {better} costs "
        f"{100 * abs(ends.value):.1f} points less than {worse} [{100 * low:+.1f}, "
        f"{100 * high:+.1f}]{sure}."
    )


def point_sentence(row: dict) -> str:
    """Where a system stands: both changes against the specialists with their intervals."""
    parts = []
    for task in AXES:
        change = row[f"{task}_change"]
        ends = f"[{change['low']:+.1%}, {change['high']:+.1%}]"
        parts.append(f"{TASK_TITLE[task].lower()} {change['value']:+.1%} {ends}")
    return f"{row['system']}: {', '.join(parts)} against the specialists"


def balance_sentence(name: str, found: dict | None) -> str:
    """Where a line of systems changes both tasks alike."""
    if found is None:
        return f"{name}: no place on this line changes both tasks by the same share."
    first, second = found["between"]
    return (
        f"{name}: both tasks change by {found['change']:+.1%} between {first} and {second}, "
        f"{found['share']:.0%} of the way."
    )


def gain_sentences(gains: Sequence[dict]) -> list[str]:
    """For each task the quarter of targets that loses most and the one that gains most, among those
    whose interval leaves 0 out."""
    sentences = []
    for task, title in TASK_TITLE.items():
        mine = [row for row in gains if row["task"] == task]
        sure = [row for row in mine if is_sure(row)]
        ends = {"loses": min(sure, key=_value, default=None)}
        ends["gains"] = max(sure, key=_value, default=None)
        parts = [
            f"{verb} most where {row['cause']} is {row['from']:.3g} to {row['to']:.3g}: "
            f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
            for verb, row in ends.items()
            if row and (row["value"] < 0) == (verb == "loses")
        ]
        who = f"{mine[0]['system']} against {mine[0]['other']}" if mine else "no rows"
        told = "; it ".join(parts) or "has no quarter whose change is more than chance"
        sentences.append(f"{title}, {who}: it {told}.")
    return sentences


def _value(row: dict) -> float:
    return row["value"]


def flip_sentence(row: dict) -> str:
    """Whom the sampled protocol turns round, and by how much."""
    full, sampled = row["full"], row["sampled"]
    first, second = row["first"], row["second"]
    better, worse = (first, second) if full["value"] > 0 else (second, first)
    return (
        f"{TASK_TITLE[row['task']]}: over the whole catalogue {better} leads {worse} by "
        f"{abs(full['value']):.4f} NDCG@10, among {row['protocol']} candidates {worse} leads by "
        f"{abs(sampled['value']):.4f}."
    )
