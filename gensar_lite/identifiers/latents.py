"""From an item view to the space that is quantized without learning: standardise, then PCA.

In: (N, D) vectors. Out: (N, d) float64 latents with unit mean square norm.
This file does not know codebooks.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from gensar_lite.artifacts import ArtifactError


def standardise(vectors: np.ndarray, view: str) -> np.ndarray:
    """Zero mean and unit variance per dimension, float64 (N, D). Dimensions that never vary become 0.

    Raw unit-norm text vectors make a residual quantizer collapse; standardised ones do not.
    Raises `ArtifactError` when all items have the same vector.
    """
    x = vectors.astype(np.float64)
    x = x - x.mean(axis=0)
    deviation = x.std(axis=0)
    if not (deviation > 1e-12).any():
        raise ArtifactError(
            f"identifiers: all {len(x)} items have the same {view} vector, there is nothing to quantize."
        )
    return x / np.where(deviation > 1e-12, deviation, 1.0)


def principal_components(vectors: np.ndarray, dim: int) -> np.ndarray:
    """The first `dim` principal components (N, min(dim, D)), scaled to a mean squared norm of 1.

    One thread and float64, so that the number of threads cannot change an identifier; signs are fixed so
    that each axis has its largest weight positive.
    """
    with threadpool_limits(1):
        x = vectors - vectors.mean(axis=0)
        values, axes = np.linalg.eigh(x.T @ x / len(x))
        axes = axes[:, np.argsort(values)[::-1][:dim]]  # (D, d)
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
        latent = x @ axes
    return latent / np.sqrt((latent**2).sum(axis=1).mean())
