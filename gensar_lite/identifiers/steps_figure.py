"""Residuals that shrink level by level, as a figure to step through, with its alt text.

In: the residuals of `residual_quantize`, L + 1 arrays (N, d), and the codes. Out: ``(plotly Figure,
alt_text)``, one frame per level, small enough to commit. This file reads no artefact and no text of
an item.
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from gensar_lite.drawing.palette import GREY, OKABE_ITO, SYMBOLS
from gensar_lite.linear import principal_axes


def residual_steps(
    steps: list[np.ndarray], codes: np.ndarray, sample: int = 250, seed: int = 0
) -> tuple[go.Figure, str]:
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
        frames.append(
            go.Frame(
                data=[go.Scatter(x=x, y=y)],
                name=str(level),
                layout_title_text=f"{what}: {share:.0%} of the squared norm",
            )
        )
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
    codes, sizes = np.unique(first, return_counts=True)
    largest = codes[np.argsort(-sizes, kind="stable")[: len(SYMBOLS)]].tolist()
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
    steps = [
        {"label": frame.name, "method": "animate", "args": [[frame.name], still]}
        for frame in frames
    ]
    prefix = {"prefix": "levels taken off: "}
    slider = {"currentvalue": prefix, "pad": {"t": 30}, "x": 0.15, "len": 0.85, "steps": steps}
    button = {"label": "Play", "method": "animate", "args": [None, play]}
    menu = {"type": "buttons", "buttons": [button], "x": 0, "y": -0.08, "yanchor": "top"}
    return {
        "title": {"text": frames[0].layout.title.text, "font": {"size": 14}},
        "height": 480,
        "width": 640,
        "template": "plotly_white",
        "margin": {"l": 40, "r": 20, "t": 70, "b": 40},
        "xaxis": {"range": [-reach, reach]},
        "yaxis": {"range": [-reach, reach], "scaleanchor": "x"},
        "sliders": [slider],
        "updatemenus": [menu],
    }
