"""Figures of a run, each with its alt text.

In: points, metrics, vectors, codes. Out: ``(Figure, alt_text)``. Systems, codes and groups are told
apart by colour and by marker. This file reads no artefact. Names that come from data are passed
through `no_formula`, since ``$`` starts a formula.
"""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gensar_lite.drawing.canvas import canvas, drawable_labels
from gensar_lite.drawing.palette import DARK_GREY, GREY, MARKERS, OKABE_ITO, TASK_TITLE, no_formula
from gensar_lite.evaluation.tradeoff import Point, pareto_front, tradeoff_points
from gensar_lite.evaluation.uncertainty import Interval

COLOURS = (*OKABE_ITO, DARK_GREY)
NUM_FREQUENT = len(OKABE_ITO) - 1  # groups that a map tells apart
_PLACES = (  # of a system in COLOURS and MARKERS
    *("joint", "popularity", "category-popularity", "bm25", "recommender", "oracle"),
    *("transitions", "item-knn", "query-clicks", "joint+channel"),
)
# systems of search alone are lines of one colour without a marker: none that another such line has
_APART = {"svd x likelihood": 13, "sasrec x likelihood": 13, "dense": 16}
_BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "frameon": False}  # a legend
_SIZE = {"ms": 8, "capsize": 3}  # of a point and its error bars
Drawn = tuple[Figure, str]


def tradeoff_figure(points: list[Point], metric: str = "ndcg@10") -> Drawn:
    """Search (x) against recommendation (y) with error bars.

    A system of one task alone is a dashed line. A grey staircase joins the Pareto front of the
    systems that do both, the oracle left out. A log of one task has one axis: a line per system.
    """
    present = {task for task in TASK_TITLE for point in points if getattr(point, task)}
    if len(present) == 1:
        return _one_axis(points, present.pop(), metric)
    figure, (axes,) = canvas(6.4, 4.6)
    for point in points:
        colour, marker = _style(point.system)
        style = {"color": colour, "label": no_formula(point.system)}
        search, recommend = point.search, point.recommend
        if search and recommend:
            errors = {"xerr": _error(search), "yerr": _error(recommend)}
            axes.errorbar(search.value, recommend.value, fmt=marker, **errors, **_SIZE, **style)
        elif search:  # one task gives one number: a line across the other axis
            axes.axvline(search.value, ls="--", lw=1.5, **style)
        elif recommend:
            axes.axhline(recommend.value, ls=":", lw=1.5, **style)
    # the oracle knows the answers: it is no system to be compared
    staircase(axes, [p for p in points if p.search and p.recommend and p.system != "oracle"])
    names = [f"{title} {metric}, full catalogue" for title in TASK_TITLE.values()]
    # from 0: a small difference looks small
    axes.set(xlabel=names[0], ylabel=names[1], xlim=(0, None), ylim=(0, None))
    if points:
        axes.legend(fontsize=9, **_BESIDE)
    return figure, (
        f"Search {metric} against recommendation {metric}, higher is better on both. "
        f"{'; '.join(map(_in_words, points))}."
    )


def _one_axis(points: list[Point], task: str, metric: str) -> Drawn:
    """Intervals of the only task that there is, the first system on top."""
    figure, (axes,) = canvas(6.4, 0.8 + 0.4 * len(points))
    upwards = points[::-1]
    for place, point in enumerate(upwards):
        colour, marker = _style(point.system)
        interval = getattr(point, task)
        style = {"fmt": marker, "color": colour, **_SIZE}
        axes.errorbar(interval.value, place, xerr=_error(interval), **style)
    axes.set_yticks(range(len(points)), [no_formula(point.system) for point in upwards])
    axes.set(xlabel=f"{TASK_TITLE[task]} {metric}, full catalogue", xlim=(0, None))
    words = "; ".join(map(_in_words, points))
    return figure, f"{TASK_TITLE[task]} {metric}, higher is better. {words}."


def staircase(axes: Axes, both: list[Point], **look: object) -> None:
    """The border of what the systems on the Pareto front dominate, down to both axes; `look` are
    settings of a line."""
    if not both:
        return
    values = np.array([[p.search.value, p.recommend.value] for p in both])
    front = values[pareto_front(values)]
    front = front[np.argsort(front[:, 0])]  # from left to right, so from top to bottom
    x = np.r_[0, front[:, 0], front[-1, 0]]
    y = np.r_[front[0, 1], front[:, 1], 0]
    axes.step(x, y, where="pre", **({"color": GREY, "lw": 1, "zorder": 0} | look))


def _in_words(point: Point) -> str:
    both = (("search", point.search), ("recommendation", point.recommend))
    words = ", ".join(f"{task} {interval.value:.3f}" for task, interval in both if interval)
    return f"{point.system}: {words}"


def metric_bars(metrics: list[dict], metric: str = "ndcg@10", protocol: str = "full") -> Drawn:
    """One bar per system with its interval, search on the left, recommendation on the right.

    A task that the log lacks has no panel.
    """
    points = tradeoff_points(metrics, metric, protocol)
    # no row at all: two empty panels, so that a page keeps its shape
    present = [task for task in TASK_TITLE if any(getattr(point, task) for point in points)]
    tasks = present or list(TASK_TITLE)
    figure, panels = canvas(4.5 * len(tasks), 3.2, columns=len(tasks))
    words = []
    for axes, task in zip(panels, tasks, strict=True):
        bars = [(p.system, getattr(p, task)) for p in points if getattr(p, task)]
        listed = ", ".join(f"{system} {interval.value:.3f}" for system, interval in bars)
        words.append(f"{TASK_TITLE[task]}: {listed}")
        bars.reverse()  # they grow from the bottom
        axes.barh(
            [no_formula(system) for system, _ in bars],
            [interval.value for _, interval in bars],
            xerr=np.reshape([_error(interval) for _, interval in bars], (-1, 2)).T,  # (2, systems)
            color=[_style(system)[0] for system, _ in bars],
            capsize=3,
        )
        axes.set(title=TASK_TITLE[task], xlabel=f"{metric} ({protocol})")
    return figure, f"Bars of {metric}. {'. '.join(words)}."


def identifier_map(
    codes: np.ndarray, xy: np.ndarray, groups: np.ndarray, name: str = "semantic"
) -> Drawn:
    """Items at `xy` (N, 2), by the first of their `codes` (N, L), beside the same by `groups` (N,).

    The seven most frequent codes or groups have a colour and marker each, all others are grey. A
    group whose letters no font has is ``category 1`` (`map_note` writes it out).
    """
    figure, panels = canvas(9.6, 4.2, columns=2)
    first = np.array([f"code {code}" for code in np.asarray(codes)[:, 0]], dtype=object)
    sides = {"first code": first, "category": np.asarray(groups)}
    for axes, (title, labels) in zip(panels, sides.items(), strict=True):
        _scatter(axes, xy, labels)
        axes.set(title=f"{name} vectors by {title}", xticks=[], yticks=[])
    return figure, (
        f"Two maps of the same {len(xy)} items, their {name} vectors reduced to two dimensions by "
        f"PCA. Left: coloured by the first code of the {name} identifier ({len(set(first))} in "
        f"use). Right: by top category ({len(set(groups))})."
    )


def map_note(groups: np.ndarray) -> str:
    """Names of groups that `identifier_map` shows by number, for a caption; "" if there is none."""
    return _labels(_frequent(groups))[2]


def _labels(names: list) -> tuple[list[str], list[str], str]:
    return drawable_labels([no_formula(name, 28) for name in names], "category")


def _scatter(axes: Axes, xy: np.ndarray, labels: np.ndarray) -> None:
    names = _frequent(labels)
    shown, families, _ = _labels(names)
    size = float(np.clip(8000 / max(len(xy), 1), 5, 24))  # many points are small
    # the rest lies below, so that it hides nothing
    rest = ~np.isin(labels, names)
    if rest.any():
        others = f"{len(set(labels)) - len(names)} others"
        axes.scatter(*xy[rest].T, s=size, color=GREY, marker=".", linewidths=0, label=others)
    for name, label, colour, marker in zip(names, shown, OKABE_ITO, MARKERS, strict=False):
        mine = xy[labels == name]
        style = {"color": colour, "marker": marker, "label": label}
        axes.scatter(*mine.T, s=size, linewidths=0, alpha=0.85, **style)
    axes.legend(prop={"family": families, "size": 8}, markerscale=2, **_BESIDE)


def _frequent(labels: np.ndarray) -> list:
    """The most frequent of `labels`, which a map tells apart, most frequent first."""
    # equals by name: value_counts leaves their order open
    counts = pd.Series(labels).value_counts()
    return sorted(counts.index, key=lambda name: (-counts[name], str(name)))[:NUM_FREQUENT]


def curve_figure(log: pd.DataFrame) -> Drawn | None:
    """A training log as lines: losses on the left, validation metrics on the right.

    The x axis is ``epoch`` or ``step``, else the row; columns are recognised by their names
    (``loss``; ``ndcg@``, ``score``). None if the log holds neither.
    """
    x = next((column for column in ("epoch", "step") if column in log), None)
    numbers = [column for column in log.select_dtypes("number").columns if column != x]
    sides = {
        "Loss in training": [c for c in numbers if "loss" in c],
        "Validation": [c for c in numbers if "ndcg@" in c or c == "score"],
    }
    sides = {title: columns for title, columns in sides.items() if columns}
    if not sides:
        return None
    figure, panels = canvas(4.8 * len(sides), 3.2, columns=len(sides))
    words = []
    for axes, (title, columns) in zip(panels, sides.items(), strict=True):
        # rows that lack a metric (epochs without validation) are left out of its line alone
        for column, colour, marker in zip(columns, cycle(OKABE_ITO), cycle(MARKERS), strict=False):
            part = log[column].dropna()
            place = log.loc[part.index, x] if x else part.index
            few = {"marker": marker, "ms": 4} if len(part) < 60 else {}
            axes.plot(place, part, color=colour, label=no_formula(column), **few)
            words.append(f"{column} from {part.iloc[0]:.4g} to {part.iloc[-1]:.4g}")
        axes.set(title=title, xlabel=x or "row")
        axes.legend(frameon=False, fontsize=8)
    return figure, f"Training curves. {'; '.join(words)}."


def _style(system: str) -> tuple[str, str]:
    """Colour and marker of a system, the same in every figure."""
    if system == "svd" or system.startswith("sasrec-"):
        system = "recommender"  # a run has one of them
    other = len(_PLACES) + sum(map(ord, system)) % 2  # a name that this file does not know
    place = _PLACES.index(system) if system in _PLACES else _APART.get(system, other)
    # markers are shifted when they begin again, so that no two systems have both in common
    return COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(MARKERS)) % len(MARKERS)]


def _error(interval: Interval) -> np.ndarray:
    """Distances to both ends, (2, 1), as matplotlib wants them."""
    return np.array([[interval.value - interval.low], [interval.high - interval.value]]).clip(0)
