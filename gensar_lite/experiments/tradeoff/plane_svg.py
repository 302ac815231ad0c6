"""The plane of both tasks for the page: what a template draws as SVG, each point with its words.

In: the dictionary of `analyse`. Out: `plane_marks`, pixels and texts. This file writes no markup.
"""

import numpy as np
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from gensar_lite.drawing.palette import TASK_TITLE
from gensar_lite.evaluation.report import short
from gensar_lite.evaluation.tradeoff import Point, pareto_front
from gensar_lite.experiments.tradeoff.frontier import AXES
from gensar_lite.experiments.tradeoff.labels import label_shifts
from gensar_lite.experiments.tradeoff.lookup import changes_of
from gensar_lite.experiments.tradeoff.plane_figure import (
    LOOKS,
    alone_of,
    bounds_of,
    joint_points,
    kinds_of,
    named_in,
)

WIDTH, HEIGHT = 560, 440
LEFT, RIGHT, TOP, BOTTOM = 72, 12, 12, 52  # around the frame
SHAPES = {  # of matplotlib's markers, around (0, 0)
    "o": "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z",
    "s": "M-4.5,-4.5h9v9h-9z",
    "^": "M0,-6l5.5,10h-11z",
    "v": "M0,6l5.5,-10h-11z",
    "D": "M0,-6.5l6.5,6.5l-6.5,6.5l-6.5,-6.5z",
    "P": "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    "X": "M-5.5,-3l2.5,-2.5l3,3l3,-3l2.5,2.5l-3,3l3,3l-2.5,2.5l-3,-3l-3,3l-2.5,-2.5l3,-3z",
}
LETTER, LINE = 7.4, 15  # pixels that a letter of a name, and its line, take about


def plane_marks(result: dict, near: bool) -> dict[str, object]:
    """All that the template draws: frame, ticks, specialists, front, lines, points, names."""
    points, bounds, kinds = joint_points(result), bounds_of(result, near), kinds_of(result)
    by_name = {point.system: _place(bounds, point[1].value, point[2].value) for point in points}
    inside = [p for p in points if _frame().contains(*by_name[p.system])]
    lines = [[by_name[name] for name in names] for names in result["lines"].values()]
    alone = _place(bounds, *alone_of(result).values())
    told = _told(result)
    marks = [
        {
            "name": point.system,
            "kind": kinds[point.system],
            "shape": SHAPES[LOOKS[kinds[point.system]].marker],
            "at": _pixels(by_name[point.system]),
            "cross": [] if near else _cross(bounds, point),
            "words": told[point.system],
            "base": point.system == result["base"],
        }
        for point in inside
    ]
    return {
        "title": "A closer look at the lines" if near else "All joint systems, with intervals",
        "near": near,
        "size": (WIDTH, HEIGHT),
        "frame": (LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM),
        "ticks": _ticks(bounds),
        "alone": _pixels(alone),
        "front": _joined(_front(bounds, points)),
        "lines": list(zip(result["lines"], map(_joined, lines), strict=True)),
        "points": marks,
        "names": _names(result, by_name, near),
    }


def _place(bounds: np.ndarray, x: float, y: float) -> np.ndarray:
    """(2,) pixels of a point of the plane, from the top left corner."""
    share = (np.array([x, y]) - bounds[:, 0]) / (bounds[:, 1] - bounds[:, 0])
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return np.array([LEFT + share[0] * wide, TOP + (1 - share[1]) * high])


def _frame() -> Bbox:
    return Bbox([[LEFT, TOP], [WIDTH - RIGHT, HEIGHT - BOTTOM]])


def _pixels(place: np.ndarray) -> tuple[str, str]:
    x, y = (f"{value:.1f}" for value in place)
    return x, y


def _joined(places: list[np.ndarray]) -> str:
    """Points as SVG writes them."""
    return " ".join(",".join(_pixels(place)) for place in places)


def _cross(bounds: np.ndarray, point: Point) -> list[tuple[str, ...]]:
    """Both arms of a system's intervals: x1, y1, x2, y2 of each."""
    x, y = point.search, point.recommend
    arms = ((x.low, y.value, x.high, y.value), (x.value, y.low, x.value, y.high))
    return [(*_pixels(_place(bounds, *a[:2])), *_pixels(_place(bounds, *a[2:]))) for a in arms]


def _front(bounds: np.ndarray, points: list[Point]) -> list[np.ndarray]:
    """Corners of the staircase of what the Pareto front dominates, from the left to the bottom."""
    values = np.array([[p.search.value, p.recommend.value] for p in points])
    front = values[pareto_front(values)]
    front = front[np.argsort(front[:, 0])]
    corners, x = [], bounds[0, 0]
    for right, height in front:
        corners += [(x, height), (right, height)]
        x = right
    return [_place(bounds, *corner) for corner in [*corners, (x, bounds[1, 0])]]


def _ticks(bounds: np.ndarray) -> list[list[tuple[str, str]]]:
    """Of each axis, (pixel, label)."""
    ticks = []
    for axis, (low, high) in enumerate(bounds):
        values = [v for v in MaxNLocator(5).tick_values(low, high) if low <= v <= high]
        digits = next((n for n in (2, 3) if np.allclose(values, np.round(values, n), atol=1e-9)), 4)
        ends = bounds[:, 0].copy()
        part = []
        for value in values:
            ends[axis] = value
            part.append((_pixels(_place(bounds, *ends))[axis], f"{value:.{digits}f}"))
        ticks.append(part)
    return ticks


def _told(result: dict) -> dict[str, list[str]]:
    """What is said of each system: its name, then a line per task."""
    changes = {task: changes_of(result, task) for task in AXES}
    told = {}
    for point in joint_points(result):
        lines = [point.system]
        for axis, task in enumerate(AXES):
            interval, change = point[1 + axis], changes[task].get(point.system)
            ends = f"{short(interval.low)}, {short(interval.high)}"
            line = f"{TASK_TITLE[task]} {short(interval.value)} [{ends}]"
            lines.append(line + (f", {change['value']:+.1%}" if change else ""))
        told[point.system] = lines
    return told


def _names(result: dict, by_name: dict[str, np.ndarray], near: bool) -> list[dict]:
    """Names that stand in the drawing, with the place of their middle."""
    names = [name for name in named_in(result, near) if _frame().contains(*by_name[name])]
    sizes = {name: np.array([LETTER * len(name), LINE]) for name in names}
    shifts = label_shifts(by_name, sizes, result["lines"].values(), _frame())
    return [
        {"name": name, "at": _pixels(by_name[name] + shift), "from": _pixels(by_name[name])}
        for name, shift in shifts.items()
    ]
