"""Figures of identifiers, each with its alt text: diagnostics by level, and the code tree.

In: the long table of `diagnose`, or codes beside titles. Out: ``(plotly Figure, alt_text)``, small
enough to commit. Titles are strangers' text: they are escaped here, since plotly reads HTML. This
file reads no artefact.
"""

from __future__ import annotations

from typing import NamedTuple

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

ROOT, OTHERS = "all items", "others"  # names of nodes of the code tree
Drawn = tuple[go.Figure, str]


def usage_figure(table: pd.DataFrame) -> Drawn:
    """Share of codewords in use and perplexity, by level and view."""
    panels = {"codewords in use": ("usage",), "perplexity": ("perplexity",)}
    return _level_figure(table, panels, "level")


def meaning_figure(table: pd.DataFrame) -> Drawn:
    """Category purity beside that of shuffled categories, and co-purchase lift (chance: 1)."""
    panels = {
        "category purity": ("purity/leaf", "purity_shuffled/leaf"),
        "co-purchase lift": ("co_purchase_lift",),
    }
    return _level_figure(table, panels, "prefix depth")


def recall_figure(table: pd.DataFrame) -> Drawn:
    """Whose neighbours a prefix keeps: recall of each view's neighbours beside chance."""
    panels = {
        f"neighbours by {view} vector": (f"neighbour_recall/{view}", "neighbour_chance")
        for view in VIEWS
    }
    return _level_figure(table, panels, "prefix depth")


def _level_figure(table: pd.DataFrame, panels: dict[str, tuple[str, ...]], x_title: str) -> Drawn:
    """A panel for each title; in it, a line over levels for each view and measure.

    A view is told apart by colour and symbol, a panel's second measure, its chance, by a dashed
    line. Measures that `table` does not hold are left out.
    """
    # panels have scales of their own: shares beside perplexities
    figure = make_subplots(rows=1, cols=len(panels), subplot_titles=list(panels))
    in_legend, words = set(), []
    # every line of every panel, in the order of the legend
    lines = [
        (column, title, view, symbol, measure, dash)
        for column, (title, measures) in enumerate(panels.items(), start=1)
        for view, symbol in zip(VIEWS, SYMBOLS, strict=False)
        for measure, dash in zip(measures, DASHES, strict=False)
    ]
    for column, title, view, symbol, measure, dash in lines:
        part = table[(table["view"] == view) & (table["measure"] == measure)].sort_values("level")
        if part.empty:
            continue
        name = f"{view} ID" + ("" if dash == DASHES[0] else ", chance")
        figure.add_scatter(
            x=part["level"].tolist(),
            y=part["value"].round(4).tolist(),
            mode="lines+markers",
            line={"color": VIEW_COLOUR[view], "dash": dash},
            marker={"symbol": symbol, "size": 9},
            name=name,
            legendgroup=name,
            showlegend=name not in in_legend,  # each name once, whatever the number of panels
            row=1,
            col=column,
        )
        in_legend.add(name)
        values = ", ".join(f"{value:.3g}" for value in part["value"].round(4))
        words.append(f"{title}, {name}: {values}")
    figure.update_xaxes(title_text=x_title, dtick=1)
    figure.update_yaxes(rangemode="tozero")
    margin = {"l": 50, "r": 20, "t": 40, "b": 50}
    figure.update_layout(height=320, margin=margin, template="plotly_white")
    return figure, f"Lines over {x_title} from 1. {'; '.join(words)}."


class _Node(NamedTuple):
    """A node of the code tree, the `rows` of its items, and the node above it ("" at the top)."""

    name: str
    parent: str
    rows: np.ndarray


def code_tree(
    codes: np.ndarray,
    titles: list[str],
    groups: list[str],
    codes_per_node: tuple[int, int] = (14, 6),
) -> Drawn:
    """The first two levels of codes (N, L), from top to bottom: the largest ones, their items.

    A node's width is its number of items, its colour the most frequent of `groups` (N,) among them;
    hovering shows four of `titles` (N,). `codes_per_node` says how many codes are drawn below a
    node of each level; the others are one grey node.
    """
    nodes = _nodes(codes, codes_per_node)
    names = np.array([plain(group) or "none" for group in groups])
    shown = [escape(title) for title in titles]
    top = [_largest(names[node.rows], 1)[0] for node in nodes]  # each node's main group
    # the last colour is black, on which no label could be read
    colour_of = dict(zip(_largest(names, len(OKABE_ITO) - 1), OKABE_ITO, strict=False))
    colours, labels, hovers = [WHITE], [ROOT], []
    for node, group in zip(nodes[1:], top[1:], strict=True):
        colours.append(GREY if node.name.endswith(OTHERS) else colour_of.get(group, GREY))
        labels.append(f"{node.name}<br>{escape(group)}")
    # what a mouse finds: how many items, and which
    for node in nodes:
        examples = "<br>".join(shown[row] for row in node.rows[:4])
        hovers.append(f"{len(node.rows)} items, e.g.<br>{examples}")
    tree = go.Icicle(
        ids=[node.name for node in nodes],
        parents=[node.parent for node in nodes],
        values=[len(node.rows) for node in nodes],
        labels=labels,
        hovertext=hovers,
        hoverinfo="text",
        branchvalues="total",
        sort=False,  # the largest come first as it is, others last
        marker={"colors": colours, "line": {"color": WHITE, "width": 1}},
        tiling={"orientation": "v"},
    )
    figure = go.Figure(tree, {"height": 420, "margin": {"l": 0, "r": 0, "t": 10, "b": 0}})
    drawn = sum(node.parent == ROOT and node.name != OTHERS for node in nodes)
    return figure, (
        f"The code tree of {len(codes)} items: {drawn} of {len(np.unique(codes[:, 0]))} first "
        f"codes, the largest holding {len(nodes[1].rows)} items, mostly {top[1]}; below each its "
        "most frequent second codes."
    )


def _nodes(codes: np.ndarray, codes_per_node: tuple[int, int]) -> list[_Node]:
    """The root, then each first code followed by its second codes."""
    everything = np.arange(len(codes))
    # a parent stands before its children, which plotly needs
    nodes = [_Node(ROOT, "", everything)]
    for name, rows in _children(codes[:, 0], everything, codes_per_node[0]):
        nodes.append(_Node(name, ROOT, rows))
        if name != OTHERS:
            below = _children(codes[:, 1], rows, codes_per_node[1])
            nodes += [_Node(f"{name} {second}", name, inner) for second, inner in below]
    return nodes


def _children(codes: np.ndarray, inside: np.ndarray, count: int) -> list[tuple[str, np.ndarray]]:
    """The `count` largest codes (N,) of the rows `inside`, each with its rows, then all others."""
    largest = _largest(codes[inside], count)
    children = [(str(code), inside[codes[inside] == code]) for code in largest]
    # what is too small to be drawn is one node, so that the sizes add up
    rest = inside[~np.isin(codes[inside], largest)]
    return [*children, (OTHERS, rest)] if len(rest) else children


def _largest(values: np.ndarray, count: int) -> list:
    """The `count` most frequent values, equals in their own order."""
    distinct, sizes = np.unique(values, return_counts=True)
    # a stable sort: of codes as frequent, the smaller one
    return distinct[np.argsort(-sizes, kind="stable")[:count]].tolist()
