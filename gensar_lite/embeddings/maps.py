"""Flat maps: hundreds of dimensions drawn in two.

In: (N, d) vectors and a method's name. Out: (N, 2), the same every time, kept in a cache by
content. For pictures only: nothing is computed from a map. This file does not know what an item is.
"""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from gensar_lite.artifacts import replacing
from gensar_lite.config import ConfigError
from gensar_lite.embeddings.fused import principal_components

METHODS = ("pca", "tsne", "umap")


def flat_map(
    vectors: np.ndarray, method: str, seed: int = 0, cache: Path | None = None
) -> np.ndarray:
    """(N, 2) float64 places of items with vectors (N, d).

    ``pca`` is there at once; in ``tsne`` and ``umap`` neighbours stay neighbours, which takes
    longer. Those two read up to 50 principal components; their axes mean nothing, distances between
    groups little. UMAP compiles itself first, up to a minute on a new machine, and then is the
    faster one from 5,000 items on. Raises `ConfigError` for another method, or when umap-learn is
    not installed.
    """
    if method not in METHODS:
        raise ConfigError(f"maps: {method!r} is none of {', '.join(METHODS)}.")
    x = principal_components(np.asarray(vectors, dtype=np.float64), 2 if method == "pca" else 50)
    if method == "pca":
        return np.pad(x, ((0, 0), (0, 2 - x.shape[1])))  # vectors of one number lie on a line
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise ConfigError(
            "maps: umap needs the package umap-learn. Run: pip install umap-learn, or choose tsne."
        )
    x = np.ascontiguousarray(x, dtype=np.float32)
    # by content: other vectors, another method or seed are another map
    key = hashlib.sha256(x.tobytes() + str((x.shape, method, seed)).encode()).hexdigest()
    stored = cache / f"map-{key[:24]}.safetensors" if cache else None
    if stored and stored.exists():
        return load_file(stored)["xy"]
    # both libraries take seconds to import
    if method == "umap":
        from umap import UMAP

        few = min(15, len(x) - 1)
        model = UMAP(n_neighbors=few, metric="cosine", random_state=seed, n_jobs=1)
    else:
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(x) - 1) / 3)  # it must stay below the number of points
        model = TSNE(perplexity=perplexity, init="pca", metric="cosine", random_state=seed)
    xy = np.ascontiguousarray(model.fit_transform(x), dtype=np.float64)
    if stored:
        with replacing(stored) as draft:
            save_file({"xy": xy}, draft)
    return xy
