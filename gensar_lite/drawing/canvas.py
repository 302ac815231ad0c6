"""Matplotlib figures without pyplot, so that nothing is kept open, and the bytes made of them.

In: sizes, finished figures. Out: an empty `Figure` with its axes, PNG bytes, a ``data:`` address.
This file does not know what is drawn.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def canvas(width: float, height: float, columns: int = 1) -> tuple[Figure, np.ndarray]:
    """A white figure, `width` x `height` inches, and its panels (columns,), with a faint grid."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    panels = np.atleast_1d(figure.subplots(1, columns))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, lw=0.6)
        axes.set_axisbelow(True)  # the grid lies behind the data
    return figure, panels


def figure_png(figure: Figure, dpi: int = 110) -> bytes:
    """PNG bytes, the same for the same figure: no date and no software version inside."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def figure_uri(figure: Figure) -> str:
    """The figure as a ``data:`` address, to stand in a page that loads nothing."""
    return "data:image/png;base64," + base64.b64encode(figure_png(figure)).decode()
