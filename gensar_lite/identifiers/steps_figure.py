"""Residuals that shrink level by level, as a figure to step through, with its alt text.

In: the residuals of `residual_quantize`, L + 1 arrays (N, d), and the codes. Out: ``(plotly Figure, alt_text)``, one
frame a level, small enough to commit. This file reads no artefact and no text of an item.
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from gensar_lite.drawing.palette import GREY, OKABE_ITO, SYMBOLS


def residual_steps(
    steps: list[np.ndarray], codes: np.ndarray, sample: int = 250, seed: int = 0
) -> tuple[go.Figure, str]:
    """`steps`, L + 1 arrays (N, d), seen from one side: the plane in which the first one varies most.

    Frame l shows what is left after l levels, of `sample` items drawn with `seed`, with the share of the squared norm
    of *all* items in its title. The four most frequent first codes of `codes` (N, L) keep a colour and a symbol each
    throughout, other items are grey. A slider and a button lead through the frames.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(codes))[:sample])
    share = [float((step**2).sum() / max((steps[0] ** 2).sum(), 1e-12)) for step in steps]
    titles = [
        "the items themselves",
        *(f"left after level {level}" for level in range(1, len(steps))),
    ]
    titles = [
        f"{title}: {part:.0%} of the squared norm"
        for title, part in zip(titles, share, strict=True)
    ]
    plane = _plane(steps[0])
    frames = []
    for level, (step, title) in enumerate(zip(steps, titles, strict=True)):
        x, y = (step[chosen] @ plane).round(2).T.tolist()
        frames.append(
            go.Frame(data=[go.Scatter(x=x, y=y)], name=str(level), layout_title_text=title)
        )
    items = go.Scatter(
        frames[0].data[0], mode="markers", marker=_looks(codes[:, 0], chosen)
    )  # a look for all frames
    figure = go.Figure(
        data=[items], frames=frames, layout=_layout(frames, titles[0], steps[0] @ plane)
    )
    told = ", ".join(f"{part:.0%}" for part in share)
    return figure, (
        f"{len(chosen)} of {len(codes)} items as points in the plane in which they differ most, and the same items "
        f"after each of {len(steps) - 1} levels. They gather around zero: {told} of the squared norm."
    )


def _plane(vectors: np.ndarray) -> np.ndarray:
    """The two directions (d, 2) in which (N, d) vectors vary most; the largest entry of each is positive."""
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]
    return axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)


def _looks(first: np.ndarray, chosen: np.ndarray) -> dict:
    """A colour and a symbol a point, by the most frequent first codes."""
    codes, sizes = np.unique(first, return_counts=True)
    largest = codes[np.argsort(-sizes, kind="stable")[: len(SYMBOLS)]].tolist()
    place = [largest.index(code) if code in largest else -1 for code in first[chosen].tolist()]
    return {
        "color": [OKABE_ITO[i] if i >= 0 else GREY for i in place],
        "symbol": [SYMBOLS[i] if i >= 0 else "circle-open" for i in place],
        "size": 7,
    }


def _layout(frames: list[go.Frame], title: str, first: np.ndarray) -> dict:
    """The same axes for every frame, a slider with a step a frame, and a button that plays them."""
    reach = float(np.abs(first).max()) * 1.05
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    play = {"frame": {"duration": 1200, "redraw": True}, "transition": {"duration": 500}}
    slider = {
        "currentvalue": {"prefix": "levels taken off: "},
        "pad": {"t": 30},
        "x": 0.15,
        "len": 0.85,
        "steps": [
            {"label": frame.name, "method": "animate", "args": [[frame.name], still]}
            for frame in frames
        ],
    }
    button = {"label": "Play", "method": "animate", "args": [None, play]}
    return {
        "title": {"text": title, "font": {"size": 14}},
        "height": 480,
        "width": 640,
        "template": "plotly_white",
        "margin": {"l": 40, "r": 20, "t": 70, "b": 40},
        "xaxis": {"range": [-reach, reach]},
        "yaxis": {"range": [-reach, reach], "scaleanchor": "x"},
        "sliders": [slider],
        "updatemenus": [
            {"type": "buttons", "buttons": [button], "x": 0, "y": -0.08, "yanchor": "top"}
        ],
    }
