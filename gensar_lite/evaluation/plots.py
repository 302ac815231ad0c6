"""Figures of a run, each with its alt text.

In: points, metrics, vectors, codes. Out: ``(Figure, alt_text)``; `figure_png` and `figure_uri` make bytes of a figure.
Figures are drawn without pyplot, so nothing is kept open; colours are Okabe & Ito's, told apart by marker too.
This file reads no artefact. Names that come from data are passed through `plain`, since ``$`` starts a formula.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gensar_lite.drawing.canvas import canvas
from gensar_lite.drawing.fonts import drawable_labels
from gensar_lite.drawing.palette import DARK_GREY, GREY, MARKERS, OKABE_ITO, TASK_TITLE, no_formula
from gensar_lite.evaluation.scores import system_order
from gensar_lite.evaluation.tradeoff import Point, pareto_front
from gensar_lite.evaluation.uncertainty import Interval

COLOURS = (*OKABE_ITO, DARK_GREY)
_PLACES = (  # colour and marker
    *("joint", "popularity", "category-popularity", "bm25", "recommender", "oracle"),
    *("transitions", "item-knn", "query-clicks"),
)


def tradeoff_figure(points: list[Point], metric: str = "ndcg@10") -> tuple[Figure, str]:
    """Search (x) against recommendation (y) with error bars; a system of one task alone is a dashed line.

    A grey staircase joins the Pareto front of the systems that do both, the oracle left out. A log of one task has
    one axis: a system a line.
    """
    if points and not all(any(getattr(point, task) for point in points) for task in TASK_TITLE):
        return _one_axis(points, metric)
    figure, (axes,) = canvas(6.4, 4.6)
    said = []
    for point in points:
        colour, marker = _style(point.system)
        style = {"color": colour, "label": no_formula(point.system)}
        if point.search and point.recommend:
            bars = {"xerr": _error(point.search), "yerr": _error(point.recommend)}
            axes.errorbar(
                point.search.value,
                point.recommend.value,
                **bars,
                fmt=marker,
                ms=8,
                capsize=3,
                **style,
            )
        elif point.search:
            axes.axvline(point.search.value, ls="--", lw=1.5, **style)
        elif point.recommend:
            axes.axhline(point.recommend.value, ls=":", lw=1.5, **style)
        said.append(_say(point))
    _staircase(axes, [p for p in points if p.search and p.recommend and p.system != "oracle"])
    axes.set(
        xlabel=f"Search {metric}, full catalogue", ylabel=f"Recommendation {metric}, full catalogue"
    )
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    if points:
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return (
        figure,
        f"Search {metric} against recommendation {metric}, higher is better on both. "
        + "; ".join(said)
        + ".",
    )


def _one_axis(points: list[Point], metric: str) -> tuple[Figure, str]:
    """Intervals of the only task that there is, the first system on top."""
    task = next(task for task in TASK_TITLE if any(getattr(point, task) for point in points))
    figure, (axes,) = canvas(6.4, 0.8 + 0.4 * len(points))
    for place, point in enumerate(reversed(points)):
        colour, marker = _style(point.system)
        interval = getattr(point, task)
        axes.errorbar(
            interval.value, place, xerr=_error(interval), fmt=marker, ms=8, capsize=3, color=colour
        )
    axes.set_yticks(range(len(points)), [no_formula(point.system) for point in reversed(points)])
    axes.set(xlabel=f"{TASK_TITLE[task]} {metric}, full catalogue")
    axes.set_xlim(left=0)
    return figure, f"{TASK_TITLE[task]} {metric}, higher is better. {'; '.join(map(_say, points))}."


def _staircase(axes, both: list[Point]) -> None:
    values = np.array([[p.search.value, p.recommend.value] for p in both]).reshape(-1, 2)
    front = values[pareto_front(values)] if len(values) else values
    front = front[np.argsort(front[:, 0])]
    if len(front):
        x, y = np.r_[0, front[:, 0], front[-1, 0]], np.r_[front[0, 1], front[:, 1], 0]
        axes.step(x, y, where="pre", color=GREY, lw=1, zorder=0)


def _say(point: Point) -> str:
    parts = [f"search {point.search.value:.3f}"] if point.search else []
    parts += [f"recommendation {point.recommend.value:.3f}"] if point.recommend else []
    return f"{point.system}: {', '.join(parts)}"


def metric_bars(
    metrics: list[dict], metric: str = "ndcg@10", protocol: str = "full"
) -> tuple[Figure, str]:
    """One bar a system with its interval, search on the left, recommendation on the right; a task that the log lacks
    has no panel."""
    metrics = [row for row in metrics if (row["metric"], row["protocol"]) == (metric, protocol)]
    tasks = [task for task in TASK_TITLE if any(row["task"] == task for row in metrics)] or list(
        TASK_TITLE
    )
    figure, panels = canvas(4.5 * len(tasks), 3.2, columns=len(tasks))
    said = []
    for axes, task in zip(panels, tasks, strict=True):
        title, rows = TASK_TITLE[task], [row for row in metrics if row["task"] == task]
        rows.sort(key=lambda row: system_order(row["system"]), reverse=True)
        values = [row["value"] for row in rows]
        ends = (
            np.array([[r["value"] - r["low"], r["high"] - r["value"]] for r in rows])
            .reshape(-1, 2)
            .T
        )
        colours = [_style(row["system"])[0] for row in rows]
        axes.barh(
            [no_formula(row["system"]) for row in rows],
            values,
            xerr=ends.clip(0),
            color=colours,
            capsize=3,
        )
        axes.set(title=title, xlabel=f"{metric} ({protocol})")
        said.append(
            f"{title}: " + ", ".join(f"{r['system']} {r['value']:.3f}" for r in reversed(rows))
        )
    return figure, f"Bars of {metric}. " + ". ".join(said) + "."


def pca_2d(vectors: np.ndarray) -> np.ndarray:
    """The first two principal components of `vectors` (N, d) -> (N, 2); each axis' largest entry is positive."""
    centred = np.asarray(vectors, dtype=np.float64) - np.mean(vectors, axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    xy = centred @ axes[:, ::-1][:, :2]
    xy = np.pad(xy, ((0, 0), (0, 2 - xy.shape[1])))
    largest = xy[np.abs(xy).argmax(axis=0), np.arange(2)]
    return xy * np.where(largest < 0, -1, 1)


def identifier_map(
    codes: np.ndarray, xy: np.ndarray, groups: np.ndarray, name: str = "semantic"
) -> tuple[Figure, str]:
    """Items at `xy` (N, 2), coloured by the first of their `codes` (N, L), beside the same map by `groups` (N,).

    The seven most frequent codes or groups have a colour and marker each, all others are grey. A group whose letters no
    font has is ``category 1`` (`map_note` writes it out).
    """
    figure, panels = canvas(9.6, 4.2, columns=2)
    first = pd.Series(np.asarray(codes)[:, 0]).map(lambda code: f"code {code}").to_numpy()
    for axes, labels, title in (
        (panels[0], first, "first code"),
        (panels[1], np.asarray(groups), "category"),
    ):
        _scatter(axes, xy, labels)
        axes.set(title=f"{name} vectors by {title}", xticks=[], yticks=[])
    num_codes, num_groups = len(np.unique(first)), len(set(groups))
    return figure, (
        f"Two maps of the same {len(xy)} items, their {name} vectors reduced to two dimensions by PCA. Left: coloured "
        f"by the first code of the {name} identifier ({num_codes} in use). Right: by top category ({num_groups})."
    )


def map_note(groups: np.ndarray) -> str:
    """The names of groups that `identifier_map` shows by number, for a caption; "" where it can draw them all."""
    return drawable_labels([no_formula(name, 28) for name in frequent(groups)], "category").note


def _scatter(axes, xy: np.ndarray, labels: np.ndarray) -> None:
    counts = pd.Series(labels).value_counts()
    names = frequent(labels)
    shown = drawable_labels([no_formula(name, 28) for name in names], "category")
    size = float(np.clip(8000 / max(len(xy), 1), 5, 24))
    rest = ~np.isin(labels, names)
    if rest.any():
        axes.scatter(
            *xy[rest].T,
            s=size,
            color=GREY,
            marker=".",
            linewidths=0,
            label=f"{len(counts) - len(names)} others",
        )
    for i, (name, label) in enumerate(zip(names, shown.labels, strict=True)):
        mine = labels == name
        style = {"color": OKABE_ITO[i], "marker": MARKERS[i], "label": label}
        axes.scatter(*xy[mine].T, s=size, linewidths=0, alpha=0.85, **style)
    legend = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "markerscale": 2, "frameon": False}
    axes.legend(prop={"family": shown.families, "size": 8}, **legend)


def frequent(labels: np.ndarray) -> list:
    """The seven most frequent of `labels`, which a map tells apart, most frequent first."""
    counts = pd.Series(labels).value_counts()
    return sorted(counts.index, key=lambda name: (-counts[name], str(name)))[: len(OKABE_ITO) - 1]


def curve_figure(log: pd.DataFrame) -> tuple[Figure, str] | None:
    """A training log as lines: losses on the left, validation metrics on the right; None if it holds neither.

    The x axis is ``epoch`` or ``step``, else the row; columns are told by their names (``loss``; ``ndcg@``, ``score``).
    """
    x = next((c for c in ("epoch", "step") if c in log), None)
    lines = [c for c in log.select_dtypes("number").columns if c != x]
    sides = [[c for c in lines if "loss" in c], [c for c in lines if "ndcg@" in c or c == "score"]]
    titles = [
        title for title, side in zip(("Loss in training", "Validation"), sides, strict=True) if side
    ]
    sides = [side for side in sides if side]
    if not sides:
        return None
    figure, panels = canvas(4.8 * len(sides), 3.2, columns=len(sides))
    for axes, side, title in zip(panels, sides, titles, strict=True):
        for i, column in enumerate(side):
            part = log[column].dropna()
            place = log.loc[part.index, x] if x else part.index
            marker = MARKERS[i] if len(part) < 60 else None
            axes.plot(place, part, color=OKABE_ITO[i], marker=marker, ms=4, label=no_formula(column))
        axes.set(title=title, xlabel=x or "row")
        axes.legend(frameon=False, fontsize=8)
    ends = [
        f"{c} from {log[c].dropna().iloc[0]:.4g} to {log[c].dropna().iloc[-1]:.4g}"
        for s in sides
        for c in s
    ]
    return figure, "Training curves. " + "; ".join(ends) + "."


def _style(system: str) -> tuple[str, str]:
    alike = (
        "recommender" if system == "svd" or system.startswith("sasrec-") else system
    )  # a run has one of them
    place = _PLACES.index(alike) if alike in _PLACES else len(_PLACES) + sum(map(ord, system)) % 2
    return COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(MARKERS)) % len(MARKERS)]


def _error(interval: Interval) -> np.ndarray:
    """Distances to both ends, (2, 1), as matplotlib wants them."""
    return np.array([[interval.value - interval.low], [interval.high - interval.value]]).clip(0)
