"""Sinkhorn: a soft assignment of items to codewords in which every codeword gets the same share.

In: squared distances (..., n, K). Out: one code per item, or a price per codeword. float64
throughout: with the paper's epsilon of 0.003 the exponentials leave float32's range. This file does
not know what is assigned.
"""

from __future__ import annotations

import numpy as np

EPSILON, ITERATIONS = 0.003, 50  # the paper's
_TINY = 1e-250


def column_scaling(kernel: np.ndarray, iterations: int) -> np.ndarray:
    """v (..., K) so that ``diag(u) kernel diag(v)`` has equal row sums and equal column sums.

    Only the two scaling vectors are updated (Cuturi, NeurIPS 2013); the kernel (..., n, K) is read,
    never written.
    """
    rows, columns = kernel.shape[-2:]
    v = np.ones((*kernel.shape[:-2], columns, 1))  # (..., K, 1)
    turned = np.swapaxes(kernel, -1, -2)
    for _ in range(iterations):
        # u makes each row sum to 1 / n, then v each column to 1 / K, which spoils the rows a little
        u = 1 / (rows * np.maximum(kernel @ v, _TINY))  # (..., n, 1)
        v = 1 / (columns * np.maximum(turned @ u, _TINY))
    return v[..., 0]


def sinkhorn_codes(
    distances: np.ndarray, epsilon: float = EPSILON, iterations: int = ITERATIONS
) -> np.ndarray:
    """The code with most mass for each item (..., n), of distances (..., n, K) scaled to [-1, 1].

    Leading axes are separate problems. Items at the same place get the same code: Sinkhorn cannot
    tell them apart.
    """
    low = distances.min(axis=(-2, -1), keepdims=True)
    high = distances.max(axis=(-2, -1), keepdims=True)
    # the kernel exp(-distance / epsilon); a row's own minimum may go, since u takes up any factor
    # of a row, and without it the largest entry of each row is 1 and none vanishes altogether
    kernel = distances - distances.min(axis=-1, keepdims=True).astype(np.float64)
    kernel *= -2 / (np.maximum(high - low, 1e-12) * epsilon)
    np.exp(kernel, out=kernel)
    # u scales whole rows and changes no row's largest entry, so v alone decides
    kernel *= column_scaling(kernel, iterations)[..., None, :]
    return kernel.argmax(axis=-1)
