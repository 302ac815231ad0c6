"""Flat maps: hundreds of dimensions drawn in two.

In: (N, d) vectors and a method's name. Out: (N, 2), the same every time, kept in a cache by content.
For pictures only: nothing is computed from a map. This file does not know what an item is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from gensar_lite.config import ConfigError
from gensar_lite.embeddings.fused import principal_components

METHODS = ("pca", "umap")


def flat_map(vectors: np.ndarray, method: str, seed: int = 0, cache: Path | None = None) -> np.ndarray:
    """(N, 2) float64 places of items: ``pca`` (at once) or ``umap`` (neighbours stay neighbours; slower).

    UMAP reads up to 50 principal components; axes have no meaning, and distances between groups little.
    Raises `ConfigError` for another method, or when umap-learn is not installed.
    """
    if method not in METHODS:
        raise ConfigError(f"maps: {method!r} is none of {', '.join(METHODS)}.")
    x = principal_components(np.asarray(vectors, dtype=np.float64), 2 if method == "pca" else 50)
    if method == "pca":
        return x
    if importlib.util.find_spec("umap") is None:
        raise ConfigError("maps: umap needs the package umap-learn. Run: pip install umap-learn, or choose pca.")
    x = np.ascontiguousarray(x, dtype=np.float32)
    key = hashlib.sha256(x.tobytes() + str((x.shape, method, seed)).encode()).hexdigest()
    stored = cache / f"map-{key[:24]}.safetensors" if cache else None
    if stored and stored.exists():
        return load_file(stored)["xy"]
    xy = _umap(x, seed)
    if stored:
        cache.mkdir(parents=True, exist_ok=True)
        draft = stored.with_suffix(f".draft-{os.getpid()}")
        save_file({"xy": xy}, draft)
        draft.replace(stored)
    return xy


def _umap(x: np.ndarray, seed: int) -> np.ndarray:
    from umap import UMAP  # compiles for seconds when it is imported

    few = min(15, len(x) - 1)
    found = UMAP(n_neighbors=few, metric="cosine", random_state=seed, n_jobs=1).fit_transform(x)
    return np.ascontiguousarray(found, dtype=np.float64)
