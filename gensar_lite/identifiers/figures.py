"""Figures of identifiers, each with its alt text: diagnostics by level, and the code tree.

In: the long table of `diagnose`, or codes beside titles. Out: ``(plotly Figure, alt_text)``, small enough to commit.
Titles are strangers' text: they are escaped here, since plotly reads HTML. This file reads no artefact.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gensar_lite.artifacts import VIEWS
from gensar_lite.drawing.palette import (
    DASHES,
    GREY,
    OKABE_ITO,
    SYMBOLS,
    VIEW_COLOUR,
    WHITE,
    escape,
    plain,
)

OTHERS = "others"


def usage_figure(table: pd.DataFrame) -> tuple[go.Figure, str]:
    """Share of codewords in use and perplexity, per level and view."""
    return level_figure(
        table, {"codewords in use": ("usage",), "perplexity": ("perplexity",)}, "level"
    )


def meaning_figure(table: pd.DataFrame) -> tuple[go.Figure, str]:
    """Category purity beside that of shuffled categories, and co-purchase lift (chance: 1), per depth and view."""
    panels = {
        "category purity": ("purity/leaf", "purity_shuffled/leaf"),
        "co-purchase lift": ("co_purchase_lift",),
    }
    return level_figure(table, panels, "prefix depth")


def recall_figure(table: pd.DataFrame) -> tuple[go.Figure, str]:
    """Whose neighbours a prefix keeps: recall of each view's neighbours beside chance, by depth and view of the ID."""
    panels = {
        f"neighbours by {view} vector": (f"neighbour_recall/{view}", "neighbour_chance")
        for view in VIEWS
    }
    return level_figure(table, panels, "prefix depth")


def level_figure(
    table: pd.DataFrame, panels: dict[str, tuple[str, ...]], x_title: str
) -> tuple[go.Figure, str]:
    """One panel a title, one line a view and measure over levels.

    A view is told by colour and symbol, a panel's second measure, its chance, by a dashed line. Measures that `table`
    does not hold are left out.
    """
    figure = make_subplots(rows=1, cols=len(panels), subplot_titles=list(panels))
    said = []
    for column, (title, measures) in enumerate(panels.items(), start=1):
        for i, view in enumerate(VIEWS):
            for dash, measure in zip(DASHES, measures, strict=False):
                part = table[(table["view"] == view) & (table["measure"] == measure)].sort_values(
                    "level"
                )
                if part.empty:
                    continue
                name = f"{view} ID" + ("" if measure == measures[0] else ", chance")
                line = {"color": VIEW_COLOUR[view], "dash": dash}
                look = {
                    "mode": "lines+markers",
                    "line": line,
                    "marker": {"symbol": SYMBOLS[i], "size": 9},
                }
                xy = {"x": part["level"].tolist(), "y": part["value"].round(4).tolist()}
                seen = any(trace.name == name for trace in figure.data)
                figure.add_scatter(
                    **xy,
                    **look,
                    name=name,
                    legendgroup=name,
                    showlegend=not seen,
                    row=1,
                    col=column,
                )
                said.append(f"{title}, {name}: " + ", ".join(f"{value:.3g}" for value in xy["y"]))
    figure.update_xaxes(title_text=x_title, dtick=1)
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(
        height=320, margin={"l": 50, "r": 20, "t": 40, "b": 50}, template="plotly_white"
    )
    return figure, f"Lines over {x_title} from 1. " + "; ".join(said) + "."


def code_tree(
    codes: np.ndarray,
    titles: list[str],
    groups: list[str],
    kind: str = "icicle",
    codes_a_node: tuple[int, int] = (14, 6),
) -> tuple[go.Figure, str]:
    """The first two levels of codes (N, L) as an ``icicle`` or ``sunburst``: the largest codes, their group, titles.

    A node's size is its number of items, its colour the most frequent of `groups` (N,) among them; hovering shows four
    titles. `codes_a_node` says how many codes are drawn at each level; the others are one grey node.
    """
    nodes = [("all items", "", np.arange(len(codes)))]
    for code, inside in _children(codes[:, 0], nodes[0][2], codes_a_node[0]):
        nodes.append((code, "all items", inside))
        if code != OTHERS:
            below = _children(codes[:, 1], inside, codes_a_node[1])
            nodes += [(f"{code} {after}", code, rows) for after, rows in below]
    names, shown = np.array([plain(g) or "none" for g in groups]), [escape(t) for t in titles]
    top = [_largest(names[rows], 1)[0] for _, _, rows in nodes]
    palette = dict(zip(_largest(names, len(OKABE_ITO) - 1), OKABE_ITO, strict=False))
    colours = [
        GREY if node.endswith(OTHERS) else palette.get(group, GREY)
        for (node, _, _), group in zip(nodes[1:], top[1:], strict=True)
    ]
    trace = {"icicle": go.Icicle, "sunburst": go.Sunburst}[kind](
        ids=[node for node, _, _ in nodes],
        parents=[parent for _, parent, _ in nodes],
        values=[len(rows) for _, _, rows in nodes],
        labels=["all items"]
        + [
            f"{node}<br>{escape(group)}"
            for (node, _, _), group in zip(nodes[1:], top[1:], strict=True)
        ],
        hovertext=[
            f"{len(rows)} items, e.g.<br>" + "<br>".join(shown[i] for i in rows[:4])
            for _, _, rows in nodes
        ],
        hoverinfo="text",
        branchvalues="total",
        sort=False,  # the largest come first as it is, others last
        marker={"colors": [WHITE, *colours], "line": {"color": WHITE, "width": 1}},
    )
    if kind == "icicle":
        trace.tiling.orientation = "v"
    figure = go.Figure(trace, {"height": 420, "margin": {"l": 0, "r": 0, "t": 10, "b": 0}})
    drawn = sum(parent == "all items" and node != OTHERS for node, parent, _ in nodes)
    return figure, (
        f"The code tree of {len(codes)} items as {kind}: {drawn} of {len(np.unique(codes[:, 0]))} first codes, the "
        f"largest holding {len(nodes[1][2])} items, mostly {top[1]}; below each its most frequent second codes."
    )


def _children(codes: np.ndarray, inside: np.ndarray, count: int) -> list[tuple[str, np.ndarray]]:
    """The `count` largest codes (N,) among the rows `inside`, each with its rows, and the rows of all others."""
    largest = _largest(codes[inside], count)
    found = [(str(code), inside[codes[inside] == code]) for code in largest]
    rest = inside[~np.isin(codes[inside], largest)]
    return [*found, (OTHERS, rest)] if len(rest) else found


def _largest(values: np.ndarray, count: int) -> list:
    """The `count` most frequent values, equals in their own order."""
    found, sizes = np.unique(values, return_counts=True)
    return found[np.argsort(-sizes, kind="stable")[:count]].tolist()
