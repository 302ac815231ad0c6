"""Figures of identifiers, each with its alt text: diagnostics by level, code tree, residual steps.

In: the long table of `diagnose`, codes beside titles, or the residuals of `residual_quantize`. Out:
``(plotly Figure, alt_text)``, small enough to commit. Titles are strangers' text: they are escaped
here, since plotly reads HTML. This file reads no artefact.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gensar_lite.artifacts import VIEWS
from gensar_lite.drawing import palette
from gensar_lite.drawing.palette import DASHES, GREY, OKABE_ITO, SYMBOLS, WHITE
from gensar_lite.embeddings.fused import principal_axes

ROOT, OTHERS = "all items", "others"  # names of nodes of the code tree
Counts = tuple[int, int]  # one number for each of two levels
Drawn = tuple[go.Figure, str]


def usage_figure(table: pd.DataFrame) -> Drawn:
    """Share of codewords in use and perplexity, by level and view."""
    panels = {"codewords in use": ["usage"], "perplexity": ["perplexity"]}
    return _level_figure(table, panels, "level")


def meaning_figure(table: pd.DataFrame) -> Drawn:
    """Category purity beside that of shuffled categories, and co-purchase lift (chance: 1)."""
    purity = ["purity/leaf", "purity_shuffled/leaf"]
    panels = {"category purity": purity, "co-purchase lift": ["co_purchase_lift"]}
    return _level_figure(table, panels, "prefix depth")


def recall_figure(table: pd.DataFrame) -> Drawn:
    """Whose neighbours a prefix keeps: recall of each view's neighbours beside chance."""
    measures = {view: [f"neighbour_recall/{view}", "neighbour_chance"] for view in VIEWS}
    panels = {f"neighbours by {view} vector": rows for view, rows in measures.items()}
    return _level_figure(table, panels, "prefix depth")


def _level_figure(table: pd.DataFrame, panels: dict[str, list[str]], x_title: str) -> Drawn:
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
            line={"color": palette.VIEW_COLOUR[view], "dash": dash},
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
    codes: np.ndarray, titles: list[str], groups: list[str], codes_per_node: Counts = (14, 6)
) -> Drawn:
    """The first two levels of codes (N, L), from top to bottom: the largest ones, their items.

    A node's width is its number of items, its colour the most frequent of `groups` (N,) among them;
    hovering shows four of `titles` (N,). `codes_per_node` says how many codes are drawn below a
    node of each level; the others are one grey node.
    """
    names = np.array([palette.plain(group) or "none" for group in groups])
    # the last colour is black, on which no label could be read
    colour_of = dict(zip(_largest(names, len(OKABE_ITO) - 1), OKABE_ITO, strict=False))
    nodes = _nodes(codes, codes_per_node)
    colours, labels, hovers, top = [], [], [], []
    for node in nodes:
        group = _largest(names[node.rows], 1)[0]
        top.append(group)
        colours.append(GREY if node.name.endswith(OTHERS) else colour_of.get(group, GREY))
        labels.append(f"{node.name}<br>{palette.escape(group)}")
        # what a mouse finds: how many items, and which
        examples = "<br>".join(palette.escape(titles[row]) for row in node.rows[:4])
        hovers.append(f"{len(node.rows)} items, e.g.<br>{examples}")
    colours[0], labels[0] = WHITE, ROOT
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


def _nodes(codes: np.ndarray, codes_per_node: Counts) -> list[_Node]:
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


def residual_steps(
    steps: list[np.ndarray], codes: np.ndarray, sample: int = 250, seed: int = 0
) -> Drawn:
    """`steps`, L + 1 arrays (N, d), seen in the plane in which the first one varies most.

    Frame l shows what is left after l levels, of `sample` items drawn with `seed`, with the share
    of the squared norm of *all* items in its title. The four most frequent first codes of `codes`
    (N, L) keep a colour and a symbol each throughout, other items are grey. A slider and a button
    lead through the frames.
    """
    # the same items in every frame, or points would not move but jump
    chosen = np.sort(np.random.default_rng(seed).permutation(len(codes))[:sample])
    whole = max((steps[0] ** 2).sum(), 1e-12)
    shares = [float((step**2).sum() / whole) for step in steps]
    plane = principal_axes(steps[0] - steps[0].mean(axis=0), 2)  # (d, 2)
    frames = []
    for level, (step, share) in enumerate(zip(steps, shares, strict=True)):
        what = f"left after level {level}" if level else "the items themselves"
        # two decimals: the file stays small, and a pixel is coarser
        x, y = (step[chosen] @ plane).round(2).T.tolist()
        title = f"{what}: {share:.0%} of the squared norm"
        points = [go.Scatter(x=x, y=y)]
        frames.append(go.Frame(data=points, name=str(level), layout_title_text=title))
    # the first frame's points carry the look, which all frames keep
    looks = _looks(codes[:, 0], chosen)
    items = go.Scatter(frames[0].data[0], mode="markers", marker=looks)
    figure = go.Figure(data=[items], frames=frames, layout=_layout(frames, steps[0] @ plane))
    return figure, (
        f"{len(chosen)} of {len(codes)} items as points in the plane in which they differ most, "
        f"and the same items after each of {len(steps) - 1} levels. They gather around zero: "
        f"{', '.join(f'{share:.0%}' for share in shares)} of the squared norm."
    )


def _looks(first: np.ndarray, chosen: np.ndarray) -> dict:
    """A colour and a symbol for each chosen point, by the most frequent first codes (N,)."""
    # the looks are by the first code alone: it is what later levels refine
    largest = _largest(first, len(SYMBOLS))
    look_of = dict(zip(largest, zip(OKABE_ITO, SYMBOLS, strict=False), strict=False))
    looks = [look_of.get(code, (GREY, "circle-open")) for code in first[chosen].tolist()]
    colours, symbols = zip(*looks, strict=True)
    return {"color": list(colours), "symbol": list(symbols), "size": 7}


def _layout(frames: list[go.Frame], first: np.ndarray) -> dict:
    """The same axes for every frame, a slider with a step per frame, a button that plays them.

    first  (N, 2) all items before any level, which lie farthest out
    """
    # fixed axes: points must be seen to shrink, not the axes
    reach = float(np.abs(first).max()) * 1.05
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    play = {"frame": {"duration": 1200, "redraw": True}, "transition": {"duration": 500}}
    steps = [{"label": f.name, "method": "animate", "args": [[f.name], still]} for f in frames]
    prefix = {"prefix": "levels taken off: "}
    slider = {"currentvalue": prefix, "pad": {"t": 30}, "x": 0.15, "len": 0.85, "steps": steps}
    button = {"label": "Play", "method": "animate", "args": [None, play]}
    menu = {"type": "buttons", "buttons": [button], "x": 0, "y": -0.08, "yanchor": "top"}
    axis = {"range": [-reach, reach]}
    look = {"height": 480, "width": 640, "template": "plotly_white"}
    return look | {
        "title": {"text": frames[0].layout.title.text, "font": {"size": 14}},
        "margin": {"l": 40, "r": 20, "t": 70, "b": 40},
        "xaxis": axis,
        "yaxis": axis | {"scaleanchor": "x"},
        "sliders": [slider],
        "updatemenus": [menu],
    }
