"""RQ-KMeans: codebooks fitted level by level with k-means on what the levels before left over; and a product quantizer.

In: latents of one or two views. Out: codebooks. No gradient, no epochs, seconds for a catalogue.
This file does not know items' texts nor their collisions.
"""

from __future__ import annotations

import faiss
import numpy as np

from gensar_lite.artifacts import VIEWS, ArtifactError
from gensar_lite.config import ConfigError, IdentifiersConfig
from gensar_lite.identifiers.balanced import balance, balanced_codes
from gensar_lite.identifiers.quantizer import DualCodebooks, Latents, nearest, residual_quantize


def kmeans(vectors: np.ndarray, num_codes: int, iterations: int, seed: int) -> np.ndarray:
    """Centres (K, d) of k-means on (N, d) vectors: faiss, one thread, so that thread counts change nothing.

    With fewer than K distinct vectors the codebook holds each of them, and repeats of the first.
    Raises `ArtifactError` for vectors that are not finite.
    """
    points = np.ascontiguousarray(vectors, dtype=np.float32)
    if (
        not np.square(points, dtype=np.float64).sum() < 1e30
    ):  # faiss would end the whole process, notebook and all
        raise ArtifactError(
            "identifiers: vectors to quantize hold NaN, infinity or huge values. Check the embeddings."
        )
    distinct = np.unique(points, axis=0)
    if len(distinct) <= num_codes:
        return np.concatenate(
            [distinct, np.repeat(distinct[:1], num_codes - len(distinct), axis=0)]
        ).astype(np.float64)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        fit = faiss.Kmeans(
            points.shape[1],
            num_codes,
            niter=iterations,
            seed=seed + 1,
            min_points_per_centroid=1,
            max_points_per_centroid=len(points),
        )
        fit.train(points)
    finally:
        faiss.omp_set_num_threads(threads)
    return fit.centroids.astype(np.float64)


def fit_levels(vectors: np.ndarray, num_levels: int, settings: IdentifiersConfig) -> np.ndarray:
    """Codebooks (L, K, d), each fitted on the residual of the ones before; `balanced` ones hold equal shares."""
    books = np.zeros((0, settings.codebook_size, vectors.shape[1]))
    balanced = settings.quantizer == "balanced"
    residual = vectors
    for level in range(num_levels):
        book = kmeans(
            residual, settings.codebook_size, settings.kmeans_iterations, settings.seed + level
        )
        book = balance(residual, book) if balanced else book
        books = np.concatenate([books, book[None]])
        residual = residual_quantize(residual, book[None], balanced_codes if balanced else nearest)[
            1
        ][-1]
    return books


def fit_dual_kmeans(
    latents: Latents | tuple[np.ndarray], settings: IdentifiersConfig
) -> DualCodebooks:
    """RQ-KMeans in GenSAR's layout: a trunk on [z_s ; z_c], then a branch on each half of its residual.

    A single latent needs ``num_shared == num_levels``: all trunk.
    """
    joint = np.concatenate(latents, axis=1)
    choose = balanced_codes if settings.quantizer == "balanced" else nearest
    trunk = fit_levels(joint, settings.num_shared, settings)
    residual = residual_quantize(joint, trunk, choose)[1][-1]
    halves = np.split(residual, [latents[0].shape[1]], axis=1)
    own_levels = settings.num_levels - settings.num_shared
    branches = {
        view: fit_levels(half, own_levels, settings)
        for view, half in zip(VIEWS, halves, strict=True)
    }
    return DualCodebooks(trunk, **branches)


def fit_product(vectors: np.ndarray, settings: IdentifiersConfig) -> DualCodebooks:
    """A product quantizer: level l gets every L-th dimension from l on, and k-means on nothing else.

    Its codebooks are zero elsewhere, so they stand at right angles: residual quantization with them is product
    quantization (Jegou, Douze and Schmid, TPAMI 2011), and all that works on residuals works on it. Dimensions are
    dealt like cards because principal components come strongest first.
    """
    levels, width = settings.num_levels, vectors.shape[1]
    if width < levels:
        raise ConfigError(
            f"identifiers: pq cuts vectors into {levels} parts, one a level, but they have only {width} dimensions."
        )
    trunk = np.zeros((levels, settings.codebook_size, width))
    for level in range(levels):
        part = vectors[:, level::levels]
        trunk[level, :, level::levels] = kmeans(
            part, settings.codebook_size, settings.kmeans_iterations, settings.seed + level
        )
    empty = np.zeros((0, settings.codebook_size, width))
    return DualCodebooks(trunk, empty, empty[:, :, :0])
