"""The figures of the study's report, each with its alt text.

In: the dictionary of `analyse`. Out: ``(Figure, alt text)``. A task has its colour wherever an
interval excludes 0, with a filled marker; what may be chance is grey and open. This file reads no
file and computes no interval.
"""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gensar_lite.drawing.canvas import canvas
from gensar_lite.drawing.palette import (
    BLACK,
    DARK_GREY,
    FAINT,
    GREY,
    TASK_COLOUR,
    TASK_TITLE,
    WHITE,
    no_formula,
)
from gensar_lite.evaluation.plots import Drawn
from gensar_lite.evaluation.protocols import FULL
from gensar_lite.experiments.tradeoff.lookup import changes_of, group_of, is_sure, places_of
from gensar_lite.experiments.tradeoff.results import SAMPLED

CAUSE_TITLE = {  # of the columns that `gain_rows` groups by
    "overlap": "Share of purchases also found by a search",
    "gap": "Item rather searched for than bought (log2)",
    "history": "Items in the history",
    "item_events": "Train events of the item",
}
_ROW = 0.24  # inches of a row of a forest
_SMALL = 8.5  # points of a label


def change_figure(result: dict) -> Drawn:
    """Relative change of every joint system against the specialist of each task: two aligned
    panels, groups of systems apart."""
    names = [point["system"] for point in result["points"]]
    groups = group_of(result)
    figure, panels = canvas(10.5, 1.3 + _ROW * len(names), columns=2)
    told = []
    for axes, task in zip(panels, TASK_TITLE, strict=True):
        changes = changes_of(result, task)
        for place, name in enumerate(names):
            if name in changes:
                _interval(axes, place, changes[name], TASK_COLOUR[task])
        for place, (name, following) in enumerate(pairwise(names)):
            if groups[name] != groups[following]:
                axes.axhline(place + 0.5, color=FAINT, lw=0.8)
        other = no_formula(result["specialists"][task])
        axes.set_title(f"{TASK_TITLE[task]} NDCG@10 against {other}", fontsize=10.5)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        _forest(axes, [no_formula(name) for name in names])
        each = (f"{name} {_ends(row, '+.1%')}" for name, row in changes.items())
        told.append(f"{TASK_TITLE[task]}, against {result['specialists'][task]}: {'; '.join(each)}")
    panels[1].tick_params(labelleft=False)
    _bold(panels[0], names.index(result["base"]))
    _key(figure)
    return figure, (
        "Relative change of NDCG@10 of every joint system against the specialist of the task, with "
        f"intervals. {'. '.join(told)}."
    )


def gain_figure(result: dict) -> Drawn:
    """Who gains and who loses: the joint model less the specialist inside quarters of targets, a
    panel per task, a block of rows per cause."""
    blocks = {
        task: {
            cause: [r for r in result["gains"] if (r["task"], r["cause"]) == (task, cause)]
            for cause in CAUSE_TITLE
        }
        for task in TASK_TITLE
    }
    height = max(sum(len(rows) + 1 for rows in block.values()) for block in blocks.values())
    figure, panels = canvas(11, 1.3 + _ROW * height, columns=2)
    told = []
    for axes, (task, block) in zip(panels, blocks.items(), strict=True):
        labels: list[str] = []
        for cause, rows in block.items():
            # the title of a block stands in a row of its own
            where = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": _SMALL}
            where["backgroundcolor"] = WHITE  # over the line of no change
            axes.text(0.01, len(labels), CAUSE_TITLE[cause], fontweight="bold", **where)
            labels.append("")
            for row in rows:
                _interval(axes, len(labels), row, TASK_COLOUR[task])
                labels.append(f"{_span(row)}  (n = {row['num_queries']:,})")
            told += [f"{TASK_TITLE[task]}, {cause} {_span(r)}: {_ends(r, '+.3f')}" for r in rows]
        pair = (no_formula(name) for name in (result["base"], result["specialists"][task]))
        axes.set_title(f"{TASK_TITLE[task]}: {' less '.join(pair)}", fontsize=10.5)
        axes.set_xlabel("NDCG@10")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        _forest(axes, labels)
    _key(figure)
    return figure, f"Change of NDCG@10 inside quarters of the targets. {'; '.join(told)}."


def _span(row: dict) -> str:
    """The values that a quarter reaches from and to."""
    low, high = f"{row['from']:.3g}", f"{row['to']:.3g}"
    return low if low == high else f"{low} to {high}"


def protocol_figure(result: dict) -> Drawn:
    """Places of all systems over the whole catalogue and among 1 + 99 candidates, a panel per task;
    pairs that are turned round for sure stand out."""
    places = {
        task: [places_of(result, task, protocol) for protocol in (FULL, sampled)]
        for task, sampled in sorted(SAMPLED.items(), reverse=True)
    }
    height = max(len(full) for full, _ in places.values())
    figure, panels = canvas(11, 1.2 + 0.19 * height, columns=2)
    told = []
    for axes, (task, (full, sampled)) in zip(panels, places.items(), strict=True):
        flips = [row for row in result["flips"] if row["sure"] and row["task"] == task]
        turned = {row[side] for row in flips for side in ("first", "second")}
        for name in sorted(full, key=lambda name: name in turned):  # those in colour on top
            _slope(axes, no_formula(name), full[name], sampled[name], name in turned, task)
        ways = ("whole catalogue", f"1 + 99 ({SAMPLED[task]})")
        axes.set_xticks((0, 1), ways)
        axes.set(xlim=(-0.9, 1.9), ylim=(height + 0.7, 0.3), yticks=[])
        axes.grid(False)
        axes.spines[["left", "bottom"]].set_visible(False)
        count = f"{len(flips)} pair{'' if len(flips) == 1 else 's'} turned round for sure"
        axes.set_title(f"{TASK_TITLE[task]}, place by NDCG@10: {count}", fontsize=10.5)
        each = (f"{name} {full[name]} and {sampled[name]}" for name in full)
        told.append(f"{TASK_TITLE[task]}, {count}: {', '.join(each)}")
    return figure, (
        "Places of systems by NDCG@10 over the whole catalogue and among 1 + 99 sampled "
        f"candidates. {'. '.join(told)}."
    )


def _slope(axes: Axes, name: str, left: int, right: int, turned: bool, task: str) -> None:
    """One system's line between its places, its name and place at both ends."""
    colour = TASK_COLOUR[task] if turned else GREY
    line = {"lw": 1.8 if turned else 1.0, "marker": "o", "ms": 4.5 if turned else 3}
    axes.plot((0, 1), (left, right), color=colour, zorder=3 if turned else 2, **line)
    look = {"va": "center", "fontsize": _SMALL, "color": BLACK, "alpha": 1 if turned else 0.65}
    look["fontweight"] = "bold" if turned else "normal"
    axes.text(-0.06, left, f"{name}  {left}", ha="right", **look)
    axes.text(1.06, right, f"{right}  {name}", ha="left", **look)


def _interval(axes: Axes, place: int, row: dict, colour: str) -> None:
    """One row of a forest: the value's marker, the interval's line."""
    sure = is_sure(row)
    shown = colour if sure else DARK_GREY
    axes.plot((row["low"], row["high"]), (place, place), color=shown, lw=1.6 if sure else 1.1)
    face = {"markerfacecolor": shown if sure else WHITE, "markeredgecolor": shown}
    axes.plot(row["value"], place, "o", ms=5.5, zorder=3, **face)


def _forest(axes: Axes, labels: list[str]) -> None:
    """Names of rows, the first on top, and the line of no change."""
    axes.axvline(0, color=BLACK, lw=1)
    axes.set_yticks(range(len(labels)), labels, fontsize=_SMALL)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def _bold(axes: Axes, place: int) -> None:
    axes.get_yticklabels()[place].set_fontweight("bold")


def _key(figure: Figure) -> None:
    """What filled and open markers say."""
    text = "filled: the interval excludes 0    open, grey: it may be chance"
    figure.supxlabel(text, fontsize=_SMALL)


def _ends(row: dict, form: str) -> str:
    """A value with its interval in words."""
    return f"{row['value']:{form}} [{row['low']:{form}}, {row['high']:{form}}]"
