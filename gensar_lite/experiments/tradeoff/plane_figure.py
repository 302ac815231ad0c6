"""The plane of both tasks as a figure, names set where they hide nothing.

In: the dictionary of `analyse`. Out: ``(Figure, alt text)``; the bounds of both its views, and what
each system looks like, which the page's own drawing shares. This file computes no interval.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from gensar_lite.drawing.canvas import canvas
from gensar_lite.drawing.palette import (
    BLACK,
    DARK_GREY,
    FAINT,
    SKY,
    TASK_COLOUR,
    TASK_TITLE,
    WHITE,
    YELLOW,
    no_formula,
)
from gensar_lite.evaluation.plots import Drawn, staircase
from gensar_lite.evaluation.tradeoff import Point
from gensar_lite.evaluation.uncertainty import Interval
from gensar_lite.experiments.tradeoff.frontier import AXES
from gensar_lite.experiments.tradeoff.labels import label_shifts
from gensar_lite.experiments.tradeoff.lookup import group_of, metric_of, notable


class Look(NamedTuple):
    """How a kind of systems is drawn: a name for the legend, matplotlib's marker, fill."""

    title: str
    marker: str
    colour: str


LOOKS = {
    "task_weights": Look("task weights (line)", "o", SKY),
    "num_shared": Look("length of the trunk (line)", "s", BLACK),
    "fusion": Look("fusion of both identifiers (line)", "^", DARK_GREY),
    "strategy": Look("one identifier", "D", WHITE),
    "quantizer": Look("other quantizer", "P", WHITE),
    "ablation": Look("without one task", "v", WHITE),
    "baseline": Look("no identifiers (unisar)", "X", YELLOW),
}


def kinds_of(result: dict) -> dict[str, str]:
    """The key of `LOOKS` of every joint system: the line that it lies on, else its group."""
    groups = group_of(result)
    kinds = {point["system"]: groups[point["system"]] for point in result["points"]}
    # the joint model lies on two lines: it is drawn as a part of the trunk's
    return kinds | {name: line for line, names in result["lines"].items() for name in names}


def joint_points(result: dict) -> list[Point]:
    """Joint systems with their intervals on both axes."""
    rows = {task: metric_of(result, task) for task in AXES}
    return [
        Point(name, *(_ends(rows[task][name]) for task in AXES))
        for name in (point["system"] for point in result["points"])
    ]


def _ends(row: dict) -> Interval:
    return Interval(row["value"], row["low"], row["high"])


def alone_of(result: dict) -> dict[str, float]:
    """NDCG@10 of the specialist of each task."""
    return {t: metric_of(result, t)[result["specialists"][t]]["value"] for t in AXES}


def bounds_of(result: dict, near: bool) -> np.ndarray:
    """(2, 2) from and to of x and y: all systems with their intervals, or, `near`, the points of
    the lines and the specialists."""
    on_lines = {name for names in result["lines"].values() for name in names} | {result["base"]}
    alone, sides = alone_of(result), []
    for axis, task in enumerate(AXES):
        ends = [alone[task]]
        for point in joint_points(result):
            interval = point[1 + axis]
            if not near:
                ends += [interval.low, interval.high]
            elif point.system in on_lines:
                ends.append(interval.value)
        margin = 0.12 * (max(ends) - min(ends)) or 0.01
        sides.append((max(min(ends) - margin, 0), max(ends) + margin))
    return np.array(sides)


def frontier_figure(result: dict) -> Drawn:
    """Search (x) against recommendation (y): all joint systems with their intervals on the left,
    a closer look at the lines that one setting draws on the right."""
    points = joint_points(result)
    figure, panels = canvas(12.5, 6.2, columns=2)
    for axes, near in zip(panels, (False, True), strict=True):
        _plane(axes, result, points, near)
    handles, labels = panels[0].get_legend_handles_labels()
    legend = {"loc": "outside lower center", "ncols": 4, "frameon": False, "fontsize": 9}
    figure.legend(handles, labels, **legend)
    figure.draw_without_rendering()  # places are known from here on
    for axes, near in zip(panels, (False, True), strict=True):
        _name_points(axes, points, named_in(result, near), result["lines"])
    each = "; ".join(
        f"{p.system} {_words(p.search)}, {_words(p.recommend)}"
        for p in sorted(points, key=lambda p: -p.search.value)
    )
    alone = alone_of(result)
    ways = ", ".join(f"{TASK_TITLE[t].lower()} {alone[t]:.3f}" for t in AXES)
    return figure, (
        "Search NDCG@10 against recommendation NDCG@10 of all joint systems, over the whole "
        f"catalogue; the specialists are dashed lines ({ways}). Search, recommendation: {each}."
    )


def _words(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def named_in(result: dict, near: bool) -> list[str]:
    """Systems that have their name in the figure: in the closer look also the ends of lines, in the
    whole plane none of those that the closer look shows, but the joint model."""
    front = [point["system"] for point in result["points"] if point["on_front"]]
    names = list(dict.fromkeys([*notable(result), *front]))
    if near:
        ends = [line[i] for line in result["lines"].values() for i in (0, -1)]
        return list(dict.fromkeys([*names, *ends]))
    (left, right), (low, high) = bounds_of(result, near=True)
    outside = {
        p.system
        for p in joint_points(result)
        if not (left < p.search.value < right and low < p.recommend.value < high)
    }
    return [name for name in names if name in outside or name == result["base"]]


def _plane(axes: Axes, result: dict, points: list[Point], near: bool) -> None:
    kinds, by_name = kinds_of(result), {point.system: point for point in points}
    for task, line, style in zip(AXES, (axes.axvline, axes.axhline), ("--", "-."), strict=True):
        label = f"{TASK_TITLE[task]} alone: {no_formula(result['specialists'][task])}"
        line(alone_of(result)[task], color=TASK_COLOUR[task], ls=style, lw=1.5, label=label)
    staircase(axes, points, color=DARK_GREY, lw=1.6, ls=":", zorder=2, label="Pareto front")
    for kind, look in LOOKS.items():
        mine = [by_name[name] for name in result["lines"].get(kind, ())]
        if mine:
            line = {"color": look.colour, "lw": 1.6, "zorder": 3}
            axes.plot(
                *zip(*((p.search.value, p.recommend.value) for p in mine), strict=True), **line
            )
        mine = [point for point in points if kinds[point.system] == kind]
        for point in mine if not near else ():
            _cross(axes, point)
        if mine:
            xy = [(p.search.value, p.recommend.value) for p in mine]
            dots = {"marker": look.marker, "color": look.colour, "edgecolor": BLACK, "s": 52}
            axes.scatter(*zip(*xy, strict=True), label=look.title, lw=0.9, zorder=4, **dots)
    base = by_name[result["base"]]
    ring = {"s": 190, "facecolor": "none", "edgecolor": BLACK, "lw": 1.4, "zorder": 5}
    title = f"the joint model, {no_formula(base.system)}"
    axes.scatter(base.search.value, base.recommend.value, label=title, **ring)
    (left, right), (low, high) = bounds_of(result, near)
    axes.set(xlim=(left, right), ylim=(low, high))
    axes.set(**{f"{x}label": f"{TASK_TITLE[t]} NDCG@10" for x, t in zip("xy", AXES, strict=True)})
    what = "A closer look at the lines" if near else "All joint systems, with intervals"
    axes.set_title(what, fontsize=10.5)


def _cross(axes: Axes, point: Point) -> None:
    """Both intervals of a system, faint: many of them lie on one another."""
    look = {"color": FAINT, "lw": 0.9, "zorder": 1}
    search, recommend = point.search, point.recommend
    axes.plot((search.low, search.high), (recommend.value,) * 2, **look)
    axes.plot((search.value,) * 2, (recommend.low, recommend.high), **look)


def _name_points(
    axes: Axes, points: list[Point], names: list[str], lines: dict[str, list[str]]
) -> None:
    """Write `names` beside their points."""
    scale, window = axes.figure.dpi / 72, axes.get_window_extent()
    places = {p.system: axes.transData.transform((p[1].value, p[2].value)) for p in points}
    arrow = {"arrowstyle": "-", "lw": 0.7, "color": DARK_GREY, "shrinkA": 0, "shrinkB": 4}
    where = {"textcoords": "offset points", "xytext": (0, 0), "arrowprops": arrow}
    texts = {}
    for name in (name for name in names if window.contains(*places[name])):
        at = axes.transData.inverted().transform(places[name])
        texts[name] = axes.annotate(no_formula(name), at, **where)
        texts[name].set(fontsize=9, ha="center", va="center", in_layout=False, zorder=6)
    sizes = {name: text.get_window_extent().size for name, text in texts.items()}
    for name, shift in label_shifts(places, sizes, lines.values(), window).items():
        texts[name].set_position(tuple(shift / scale))
