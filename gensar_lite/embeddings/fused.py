"""From item views to one space: standardise, take principal components, put views side by side.

In: (N, D) vectors of one view or several. Out: (N, d) float64. Everything that quantizes, draws or
joins views starts here. This file learns nothing but means, deviations and directions, and does not
know codebooks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from gensar_lite.artifacts import check_vectors
from gensar_lite.linear import principal_axes


def standardise(vectors: np.ndarray, view: str) -> np.ndarray:
    """Zero mean and unit variance per dimension, float64 (N, D). Constant dimensions become 0.

    Raw unit-norm text vectors make a residual quantizer collapse; standardised ones do not.
    Raises `ArtifactError` for rows that are not finite or zero, with their item ids.
    """
    check_vectors(vectors, view)
    x = vectors.astype(np.float64)
    x = x - x.mean(axis=0)
    deviation = x.std(axis=0)
    return x / np.where(deviation > 1e-12, deviation, 1.0)


def root_mean_norm(vectors: np.ndarray) -> np.ndarray:
    """Root of the mean squared norm of (N, D) vectors: what scales them to 1; 1 if all are zero."""
    norm = np.sqrt((vectors**2).sum(axis=1).mean())
    return norm if norm > 0 else np.ones_like(norm)


class Components(NamedTuple):
    """Principal directions of a catalogue, to be applied to it and to what comes later."""

    centre: np.ndarray  # (D,)
    axes: np.ndarray  # (D, d), strongest first
    scale: np.ndarray  # (), the catalogue's root mean squared norm along the axes

    @staticmethod
    def fit(vectors: np.ndarray, dim: int) -> Components:
        """The first min(dim, D) directions of (N, D) vectors, see `principal_axes`."""
        centre = vectors.mean(axis=0)
        with threadpool_limits(1):
            x = vectors - centre
            axes = principal_axes(x, dim)  # (D, d)
            along = x @ axes  # (N, d)
        return Components(centre, axes, root_mean_norm(along))

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """(M, D) vectors along the directions, (M, d)."""
        with threadpool_limits(1):
            return (vectors - self.centre) @ self.axes / self.scale


def principal_components(vectors: np.ndarray, dim: int) -> np.ndarray:
    """The first `dim` components (N, min(dim, D)), scaled to a mean squared norm of 1."""
    return Components.fit(vectors, dim).apply(vectors)


def fused_concat(views: dict[str, np.ndarray]) -> np.ndarray:
    """Views (N, D_v) by name side by side, (N, sum of D_v), with the same say in a distance.

    Each is standardised and scaled to a mean squared norm of 1, however many dimensions it has.
    Its principal components are the strategy fused-svd.
    """
    parts = [standardise(vectors, view) for view, vectors in views.items()]
    return np.concatenate([x / root_mean_norm(x) for x in parts], axis=1)
