"""Figures of a search, each with its alt text: the tree of a trace.

In: a `Trace`, titles of items. Out: ``(plotly Figure, alt_text)`` and a table to read. Titles are
strangers' text, escaped here, since plotly reads HTML. This file decodes nothing.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gensar_lite.decoding.trace import Trace
from gensar_lite.drawing.palette import BLACK, FAINT, GREY, SKY, escape, plain

KEPT, CUT, TARGET = "kept", "cut", "on the way to the item taken"
LOOKS = {
    KEPT: {"color": SKY, "symbol": "circle"},
    CUT: {"color": GREY, "symbol": "x"},
    TARGET: {"color": BLACK, "symbol": "diamond"},
}


def trace_table(trace: Trace, titles: list[str] | None = None) -> pd.DataFrame:
    """The steps as a table to read: probabilities instead of logarithms, titles of items."""
    steps = trace.steps
    table = steps[["level"]].copy()
    table["codes"] = [" ".join(map(str, codes)) for codes in steps["codes"]]
    table["probability"] = np.exp(steps["log_probability"]).round(4)
    table["score"] = steps["score"].round(3)
    table["place"] = steps["place"]
    table["kept"] = np.where(steps["kept"], KEPT, CUT)
    table["target"] = np.where(steps["on_target"], "*", "")
    table[["codes allowed", "items below"]] = steps[["allowed", "items"]]
    if titles is not None:
        table["title"] = [plain(titles[item]) if item >= 0 else "" for item in steps["item"]]
    return table


def trace_figure(trace: Trace, titles: list[str] | None = None) -> tuple[go.Figure, str]:
    """The search as a tree, a column per level: kept, cut, and the way to the item taken.

    A kind is told apart by colour and symbol. Hovering shows codes, probability, score, and the
    title of an item that was reached.
    """
    steps = trace.steps.reset_index(drop=True)
    heights = _heights(steps)
    # lines first, so that points lie on top of them
    figure = go.Figure(_edges(steps, heights))
    # the target's way wins over kept and cut, or it could not be followed
    kind = np.where(steps["on_target"], TARGET, np.where(steps["kept"], KEPT, CUT))
    for name, look in LOOKS.items():
        part = steps[kind == name]
        if part.empty:
            continue
        figure.add_scatter(
            x=part["level"].tolist(),
            y=[heights[codes] for codes in part["codes"]],
            mode="markers",
            marker={"size": 9, **look},
            name=name,
            hovertext=[_hover(row, titles) for row in part.itertuples()],
            hoverinfo="text",
        )
    levels = sorted(steps["level"].unique().tolist())
    ticks = ["start", *(f"code {level}" for level in levels)]
    figure.update_xaxes(tickvals=[0, *levels], ticktext=ticks)
    figure.update_yaxes(visible=False)
    margin = {"l": 20, "r": 20, "t": 20, "b": 40}
    figure.update_layout(height=460, margin=margin, template="plotly_white")
    # for those who cannot see the tree: how many prefixes live on after each code
    counts = steps.groupby("level")["kept"].sum()
    kept = ", ".join(f"{count} after code {level}" for level, count in counts.items())
    return figure, f"A search as a tree from left to right: prefixes kept, {kept}. {_fate(trace)}"


def _fate(trace: Trace) -> str:
    """What became of the item taken."""
    lost = trace.lost
    if trace.target is None:
        return "No item was named as the one taken."
    if lost is not None:  # dropped on the way, at a level that is known
        return (
            f"The item taken was lost at code {lost.level}: its prefix stood at place {lost.place} "
            f"with {lost.score:.2f}, the last one kept had {lost.worst_kept:.2f}."
        )
    # never lost and yet not returned: no allowed item has its codes
    places = np.flatnonzero(trace.ranking.items[0] == trace.target) + 1
    found = f"found at place {places[0]}" if len(places) else "not allowed"
    return f"The item taken was {found}."


def _heights(steps: pd.DataFrame) -> dict[tuple, float]:
    """A height for every prefix: leaves one below the other, a parent amid its children."""
    inner = set(steps["parent"])
    # sorted codes are the order of the tree, so that no edges cross
    leaves = [codes for codes in sorted(steps["codes"]) if codes not in inner]
    heights = {codes: -float(i) for i, codes in enumerate(leaves)}
    children: dict[tuple, list[float]] = {}
    # from the last level upwards: when a parent's turn comes, all its children have their height
    for row in sorted(steps.itertuples(), key=lambda row: -row.level):
        if row.codes not in heights:
            heights[row.codes] = float(np.mean(children[row.codes]))
        children.setdefault(row.parent, []).append(heights[row.codes])
    return heights | {(): float(np.mean(children.get((), [0.0])))}


def _edges(steps: pd.DataFrame, heights: dict[tuple, float]) -> go.Scatter:
    """One line with gaps: from each parent to its child, then None, which lifts the pen."""
    x, y = [], []
    for row in steps.itertuples():
        x += [row.level - 1, row.level, None]
        y += [heights[row.parent], heights[row.codes], None]
    line = {"color": FAINT, "width": 1}
    return go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _hover(row, titles: list[str] | None) -> str:
    title = "" if titles is None or row.item < 0 else f"<br>{escape(titles[row.item])}"
    return (
        f"codes {' '.join(map(str, row.codes))}<br>"
        f"probability {np.exp(row.log_probability):.3f} among {row.allowed} allowed codes<br>"
        f"score {row.score:.2f}, place {row.place}<br>{row.items} items below{title}"
    )
