"""Principal components, with one sign rule wherever they are used.

In: centred vectors (N, D). Out: directions (D, d). What they serve is not known here. Only the warm
start of a generator asks torch instead (`training/backbones/fresh.py`), whose signs differ.
"""

import numpy as np
from threadpoolctl import threadpool_limits


def principal_axes(centred: np.ndarray, dim: int) -> np.ndarray:
    """The min(dim, D) directions (D, d) in which vectors (N, D) vary most, strongest first.

    One thread, so that the number of threads cannot change an identifier; the largest weight of
    each axis is positive, so that no solver's choice of a sign can.
    """
    with threadpool_limits(1):
        values, axes = np.linalg.eigh(centred.T @ centred / len(centred))  # weakest first
    axes = axes[:, np.argsort(values)[::-1][:dim]]  # (D, d)
    largest = np.abs(axes).argmax(axis=0)  # (d,), a row for each axis
    return axes * np.sign(axes[largest, np.arange(axes.shape[1])])
