"""Figures of a search, each with its alt text: the tree of a trace.

In: a `Trace`, titles of items. Out: ``(plotly Figure, alt_text)`` and a table for reading.
Titles are strangers' text: they are escaped here, since plotly reads HTML. This file decodes nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gensar_lite.decoding.trace import Trace
from gensar_lite.drawing.palette import FAINT, GREY, OKABE_ITO, escape, plain

KEPT, CUT, TARGET = "kept", "cut", "on the way to the item taken"
LOOKS = {
    KEPT: {"color": OKABE_ITO[0], "symbol": "circle"},
    CUT: {"color": GREY, "symbol": "x"},
    TARGET: {"color": OKABE_ITO[1], "symbol": "diamond"},
}


def trace_table(trace: Trace, titles: list[str] | None = None) -> pd.DataFrame:
    """The steps as a table to read: codes as text, probabilities instead of logarithms, titles of found items."""
    steps = trace.steps
    shown = pd.DataFrame(
        {
            "level": steps["level"],
            "codes": [" ".join(map(str, codes)) for codes in steps["codes"]],
            "probability": np.exp(steps["log_probability"]).round(4),
            "score": steps["score"].round(3),
            "place": steps["place"],
            "kept": np.where(steps["kept"], KEPT, CUT),
            "target": np.where(steps["on_target"], "*", ""),
            "codes allowed": steps["allowed"],
            "items below": steps["items"],
        }
    )
    if titles is not None:
        shown["title"] = [plain(titles[item]) if item >= 0 else "" for item in steps["item"]]
    return shown


def trace_figure(trace: Trace, titles: list[str] | None = None) -> tuple[go.Figure, str]:
    """The search as a tree, a column a level: what was kept, what was cut, and the way to the item that was taken.

    A kind is told by colour and symbol. Hovering shows codes, probability, score, and the title of a found item.
    """
    steps = trace.steps.reset_index(drop=True)
    heights = _heights(steps)
    figure = go.Figure(_edges(steps, heights))
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
    figure.update_xaxes(
        tickvals=[0, *levels], ticktext=["start", *(f"code {level}" for level in levels)]
    )
    figure.update_yaxes(visible=False)
    figure.update_layout(
        height=460, margin={"l": 20, "r": 20, "t": 20, "b": 40}, template="plotly_white"
    )
    counts = [
        f"{int(steps.loc[steps['level'] == level, 'kept'].sum())} after code {level}"
        for level in levels
    ]
    return (
        figure,
        f"A search as a tree from left to right: prefixes kept, {', '.join(counts)}. {_fate(trace)}",
    )


def _fate(trace: Trace) -> str:
    if trace.target is None:
        return "No item was named as the one taken."
    if trace.lost is not None:
        lost = trace.lost
        return (
            f"The item taken was lost at code {lost.level}: its prefix stood at place {lost.place} with "
            f"{lost.score:.2f}, the last one kept had {lost.worst_kept:.2f}."
        )
    place = np.flatnonzero(trace.ranking.items[0] == trace.target)
    return (
        f"The item taken was found at place {place[0] + 1}."
        if len(place)
        else "The item taken was not allowed."
    )


def _heights(steps: pd.DataFrame) -> dict[tuple, float]:
    """A height for every prefix: those of the last level in the order of the tree, a parent amid its children."""
    codes = sorted(steps["codes"])
    inner = {parent for parent in steps["parent"]}
    leaves = [code for code in codes if code not in inner]
    heights = {code: -float(i) for i, code in enumerate(leaves)}
    children: dict[tuple, list[float]] = {}
    for row in sorted(steps.itertuples(), key=lambda row: -row.level):
        if row.codes not in heights:
            heights[row.codes] = float(np.mean(children[row.codes]))
        children.setdefault(row.parent, []).append(heights[row.codes])
    return heights | {(): float(np.mean(children[()]))} if children else {(): 0.0}


def _edges(steps: pd.DataFrame, heights: dict[tuple, float]) -> go.Scatter:
    x, y = [], []
    for row in steps.itertuples():
        x += [row.level - 1, row.level, None]
        y += [heights[row.parent], heights[row.codes], None]
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": FAINT, "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )


def _hover(row, titles: list[str] | None) -> str:
    told = [
        f"codes {' '.join(map(str, row.codes))}",
        f"probability {np.exp(row.log_probability):.3f} among {row.allowed} allowed codes",
        f"score {row.score:.2f}, place {row.place}",
        f"{row.items} items below",
    ]
    if titles is not None and row.item >= 0:
        told.append(escape(titles[row.item]))
    return "<br>".join(told)
