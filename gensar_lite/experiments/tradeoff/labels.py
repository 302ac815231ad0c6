"""Where names stand beside their points, so that they hide little.

In: places of points and sizes of names, in pixels of any drawing. Out: by how much each name is
moved. Greedy: the first name takes its best place, the next the best of what is left. This file
knows no figure.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.transforms import Bbox

REACHES = (12, 18, 30, 46)  # pixels between a point and its name


def label_shifts(
    places: Mapping[str, np.ndarray],
    sizes: Mapping[str, np.ndarray],
    lines: Iterable[Sequence[str]],
    window: Bbox,
) -> dict[str, np.ndarray]:
    """(2,) pixels from a point to the middle of its name, for every name of `sizes`.

    places  (2,) of every point; lines: names of points that a line joins, in order
    sizes   (2,) width and height of each name that is written; window: the frame
    """
    # what a name should not lie on: points, and places along each piece of a line
    between = np.linspace(0, 1, 21)[:, None]
    pieces = [pair for line in lines for pair in pairwise(line)]
    full = [places[a] + between * (places[b] - places[a]) for a, b in pieces]
    busy = np.concatenate([np.array(list(places.values())), *full])  # (n, 2)
    taken: list[Bbox] = []
    shifts = {}
    for name, size in sizes.items():
        tried = _around(size)
        corners = places[name] + tried - np.asarray(size) / 2
        boxes = [Bbox.from_bounds(*corner, *size) for corner in corners]
        best = int(np.argmin([_cost(box, taken, busy, window) for box in boxes]))
        taken.append(boxes[best])
        shifts[name] = tried[best]
    return shifts


def _around(size: np.ndarray) -> np.ndarray:
    """(32, 2) pixels from a point to the middle of its name, the nearest first."""
    angles = np.arange(8) * np.pi / 4
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.concatenate([directions * (np.asarray(size) / 2 + reach) for reach in REACHES])


def _cost(box: Bbox, taken: list[Bbox], busy: np.ndarray, window: Bbox) -> float:
    """How much a name hides at `box`: names are worst, then the frame, then what is drawn."""
    names = sum(box.padded(2).overlaps(other) for other in taken)
    inside = window.contains(*box.min) and window.contains(*box.max)
    wide = box.padded(4)
    hidden = ((busy > wide.min) & (busy < wide.max)).all(axis=1).sum()
    return 100 * names + 50 * (not inside) + hidden
