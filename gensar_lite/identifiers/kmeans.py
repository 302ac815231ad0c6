"""RQ-KMeans: k-means level by level on what the levels before left over; and product quantization.

In: latents of one or two views. Out: codebooks. No gradient, no epochs, seconds for a catalogue.
This file does not know items' texts nor their collisions.
"""

import faiss
import numpy as np

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, IdentifiersConfig
from gensar_lite.identifiers.balanced import balance, balanced_codes
from gensar_lite.identifiers.quantizer import DualCodebooks, nearest, residual_quantize
from gensar_lite.machine.threads import one_thread


@one_thread()  # so that no number of threads changes the centres
def kmeans(vectors: np.ndarray, settings: IdentifiersConfig, level: int = 0) -> np.ndarray:
    """Centres (K, d) of faiss's k-means on (N, d) vectors; `level` counts on from the seed.

    With fewer than K distinct vectors the codebook holds each of them, and repeats of the first.
    Raises `ArtifactError` for vectors that are not finite.
    """
    points = np.ascontiguousarray(vectors, dtype=np.float32)
    # written so that NaN fails, too; faiss would end the whole process, notebook and all
    if not np.square(points, dtype=np.float64).sum() < 1e30:
        raise ArtifactError(
            "identifiers: vectors to quantize hold NaN, infinity or huge values. "
            "Check the embeddings."
        )
    distinct = np.unique(points, axis=0)
    missing = settings.codebook_size - len(distinct)
    if missing >= 0:
        repeats = np.repeat(distinct[:1], missing, axis=0)
        return np.concatenate([distinct, repeats]).astype(np.float64)
    fit = faiss.Kmeans(
        points.shape[1],
        settings.codebook_size,
        niter=settings.kmeans_iterations,
        seed=settings.seed + level + 1,
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),  # all of them: faiss would draw a sample
    )
    fit.train(points)
    return fit.centroids.astype(np.float64)


def fit_levels(vectors: np.ndarray, num_levels: int, settings: IdentifiersConfig) -> np.ndarray:
    """Codebooks (L, K, d), each fitted on the residual of those before it."""
    books = np.zeros((num_levels, settings.codebook_size, vectors.shape[1]))
    residual = vectors
    for level in range(num_levels):
        books[level] = kmeans(residual, settings, level)
        if settings.quantizer == "balanced":
            books[level] = balance(residual, books[level])
        residual = _left_over(residual, books[level, None], settings)
    return books


def _left_over(vectors: np.ndarray, books: np.ndarray, settings: IdentifiersConfig) -> np.ndarray:
    choose = balanced_codes if settings.quantizer == "balanced" else nearest
    return residual_quantize(vectors, books, choose)[1][-1]


def fit_dual_kmeans(latents: tuple[np.ndarray, ...], settings: IdentifiersConfig) -> DualCodebooks:
    """RQ-KMeans in GenSAR's layout: a trunk on [z_s ; z_c], then a branch on each half of the rest.

    A single latent needs ``num_shared == num_levels``: all trunk.
    """
    joint = np.concatenate(latents, axis=1)  # (N, 2d)
    trunk = fit_levels(joint, settings.num_shared, settings)
    halves = np.split(_left_over(joint, trunk, settings), [latents[0].shape[1]], axis=1)
    num_levels = settings.num_levels - settings.num_shared  # of a branch
    return DualCodebooks(trunk, *(fit_levels(half, num_levels, settings) for half in halves))


def fit_product(vectors: np.ndarray, settings: IdentifiersConfig) -> DualCodebooks:
    """A product quantizer: level l gets every L-th dimension from l on, and k-means on only these.

    Its codebooks are zero elsewhere, so they stand at right angles: residual quantization with them
    is product quantization (Jegou, Douze and Schmid, TPAMI 2011), and all that works on residuals
    works on it. Dimensions are dealt like cards because principal components come strongest first.
    """
    levels = settings.num_levels
    width = vectors.shape[1]
    if width < levels:
        raise ConfigError(
            f"identifiers: pq cuts vectors into {levels} parts, one per level, but they have only "
            f"{width} dimensions. Lower identifiers.num_levels or raise identifiers.latent_dim."
        )
    trunk = np.zeros((levels, settings.codebook_size, width))
    for level in range(levels):
        trunk[level, :, level::levels] = kmeans(vectors[:, level::levels], settings, level)
    no_branch = np.zeros((0, settings.codebook_size, width))
    return DualCodebooks(trunk, no_branch, no_branch[:, :, :0])
