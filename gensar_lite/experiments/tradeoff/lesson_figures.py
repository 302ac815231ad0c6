"""The pictures of lesson 07, each with its alt text.

In: rows of an analysis (analysis.py), means of single seeds. Out: ``(Figure, alt text)``. A task
has its colour, a setting or a system one of the free ones with a marker. This file computes
nothing and reads no file.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gensar_lite.drawing.canvas import canvas
from gensar_lite.drawing.palette import (
    BLACK,
    DARK_GREY,
    FREE_COLOURS,
    GREY,
    MARKERS,
    TASK_COLOUR,
    TASK_TITLE,
    no_formula,
)
from gensar_lite.experiments.tradeoff.frontier import AXES

Drawn = tuple[Figure, str]
_LINE = {"lw": 1.4, "ms": 7}
_BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "frameon": False, "fontsize": 9}


def _bars(interval: dict) -> np.ndarray:
    """(2, 1) lengths of an interval's arms, as matplotlib wants them."""
    value = interval["value"]
    return np.maximum([[value - interval["low"]], [interval["high"] - value]], 0)


def point_figure(
    name: str, intervals: dict[str, dict], seeds: np.ndarray, alone: dict[str, float]
) -> Drawn:
    """One system with its cross, its single `seeds` (S, 2) as dots, and the specialists of both
    tasks as lines; `intervals` and `alone` by task."""
    figure, (axes,) = canvas(6.0, 4.4)
    for task, line in zip(AXES, (axes.axvline, axes.axhline), strict=True):
        label = f"{TASK_TITLE[task]} alone"
        line(alone[task], color=TASK_COLOUR[task], ls="--", lw=1.5, label=label)
    axes.scatter(*seeds.T, s=24, color=DARK_GREY, label=f"one of {len(seeds)} seeds", zorder=3)
    search, recommend = (intervals[task] for task in AXES)
    arms = {"xerr": _bars(search), "yerr": _bars(recommend), "capsize": 3}
    place = (search["value"], recommend["value"])
    axes.errorbar(*place, fmt="D", color=BLACK, label=no_formula(name), zorder=2, **arms)
    axes.set(**{f"{x}label": f"{TASK_TITLE[t]} NDCG@10" for x, t in zip("xy", AXES, strict=True)})
    axes.legend(**_BESIDE)
    told = "; ".join(
        f"{TASK_TITLE[task].lower()} {intervals[task]['value']:.3f} [{intervals[task]['low']:.3f}, "
        f"{intervals[task]['high']:.3f}], the specialist {alone[task]:.3f}, single seeds "
        f"{seeds[:, axis].min():.3f} to {seeds[:, axis].max():.3f}"
        for axis, task in enumerate(AXES)
    )
    return figure, f"{name} as a point with a cross, its single seeds as dots around it. {told}."


def lines_figure(points: Sequence[dict], lines: dict[str, list[str]], base: str) -> Drawn:
    """The systems that one setting moves as a line through the plane of both changes against the
    specialists, a line per setting; `base` has a cross."""
    by_name = {row["system"]: row for row in points}
    figure, (axes,) = canvas(7.4, 5.0)
    axes.axvline(0, color=TASK_COLOUR["search"], ls="--", lw=1)
    axes.axhline(0, color=TASK_COLOUR["recommend"], ls="--", lw=1)
    axes.axline((0, 0), slope=1, color=GREY, lw=1, ls=":", label="both change alike")
    told = []
    for (setting, names), colour, marker in zip(lines.items(), FREE_COLOURS, MARKERS, strict=False):
        x, y = _changes([by_name[name] for name in names])
        axes.plot(x, y, marker=marker, color=colour, label=setting, **_LINE)
        # the ends say in which direction the line runs
        for i in (0, len(names) - 1):
            shift = {"textcoords": "offset points", "xytext": (6, 5), "fontsize": 8}
            axes.annotate(no_formula(names[i]), (x[i], y[i]), **shift)
        told.append(f"{setting}: {'; '.join(map(_in_words, (by_name[n] for n in names)))}")
    search, recommend = (by_name[base][f"{task}_change"] for task in AXES)
    arms = {"xerr": _bars(search), "yerr": _bars(recommend), "capsize": 3}
    place = (search["value"], recommend["value"])
    axes.errorbar(*place, fmt="D", ms=11, color=GREY, label=no_formula(base), zorder=1, **arms)
    _percent(axes)
    axes.legend(**_BESIDE)
    return figure, (
        "Relative change in search (x) and in recommendation (y) against the specialists, which "
        f"stand at 0 on both axes; a line for each setting. {'. '.join(told)}."
    )


def _changes(rows: Sequence[dict]) -> tuple[list[float], list[float]]:
    """Both coordinates of points."""
    x, y = ([row[f"{task}_change"]["value"] for row in rows] for task in AXES)
    return x, y


def _in_words(row: dict) -> str:
    search, recommend = (row[f"{task}_change"]["value"] for task in AXES)
    return f"{row['system']} {search:+.1%}, {recommend:+.1%}"


def _percent(axes) -> None:
    for axis, task in zip((axes.xaxis, axes.yaxis), AXES, strict=True):
        axis.set_major_formatter(PercentFormatter(1))
        axis.set_label_text(f"{TASK_TITLE[task]}, change against its specialist")


def flip_figure(rows: Sequence[dict], flip: dict) -> Drawn:
    """The two systems of a flip under both protocols; `rows` are the metrics of an analysis."""
    figure, (axes,) = canvas(5.4, 3.4)
    ways, told = ("full", flip["protocol"]), []
    for name, colour, marker in zip(
        (flip["first"], flip["second"]), FREE_COLOURS, MARKERS, strict=False
    ):
        mine = {
            row["protocol"]: row
            for row in rows
            if (row["system"], row["task"], row["metric"]) == (name, flip["task"], "ndcg@10")
        }
        y = [mine[way]["value"] for way in ways]
        axes.plot((0, 1), y, color=colour, marker=marker, label=no_formula(name), **_LINE)
        told.append(f"{name} {y[0]:.3f} full, {y[1]:.3f} sampled")
    axes.set_xticks((0, 1), ("whole catalogue", f"1 + 99 ({flip['protocol']})"))
    axes.set(ylabel=f"{TASK_TITLE[flip['task']]} NDCG@10", xlim=(-0.2, 1.2), ylim=(0, None))
    axes.legend(**_BESIDE)
    return figure, f"Two systems under two protocols; their lines cross. {'; '.join(told)}."


def _place(name: str) -> tuple[int, str]:
    """From frequent to rare, where names say so; else by name."""
    order = ("head", "torso", "tail", "cold")
    return (order.index(name) if name in order else len(order), name)


def groups_figure(groups: Sequence[dict], column: str, systems: Sequence[str]) -> Drawn:
    """NDCG@10 of `systems` inside the groups of a column, a panel per task that has them."""
    mine = [row for row in groups if row["column"] == column and row["system"] in systems]
    tasks = [task for task in TASK_TITLE if any(row["task"] == task for row in mine)]
    figure, panels = canvas(4.6 * max(len(tasks), 1), 3.3, columns=max(len(tasks), 1))
    told = []
    for axes, task in zip(panels, tasks, strict=False):
        of_task = [row for row in mine if row["task"] == task]
        names = sorted({row["name"] for row in of_task}, key=_place)
        shown = [name for name in systems if any(row["system"] == name for row in of_task)]
        width = 0.8 / len(shown)
        for i, (system, colour) in enumerate(zip(shown, FREE_COLOURS, strict=False)):
            cells = {row["name"]: row for row in of_task if row["system"] == system}
            place = np.arange(len(names)) + (i - (len(shown) - 1) / 2) * width
            height = [cells[name]["value"] for name in names]
            arms = np.concatenate([_bars(cells[name]) for name in names], axis=1)
            look = {"color": colour, "label": no_formula(system), "capsize": 2, "ecolor": DARK_GREY}
            axes.bar(place, height, width, yerr=arms, **look)
            each = ", ".join(f"{n} {v:.3f}" for n, v in zip(names, height, strict=True))
            told.append(f"{TASK_TITLE[task]}, {system}: {each}")
        axes.set_xticks(range(len(names)), [no_formula(name) for name in names])
        axes.set(title=TASK_TITLE[task], ylabel="NDCG@10")
        axes.legend(frameon=False, fontsize=8)
    return figure, f"Bars of NDCG@10 by {column}. {'. '.join(told)}."
