"""From item views to one space: standardise, put views side by side, take principal components.

In: `ItemEmbeddings`, or (N, D) vectors. Out: (N, d) float64, and a `Space` that new items enter as
the catalogue did. All that quantizes, draws or joins views starts here; codebooks are not known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from gensar_lite.artifacts import ItemEmbeddings, check_vectors
from gensar_lite.config import ConfigError


def standardise(vectors: np.ndarray, view: str) -> np.ndarray:
    """Zero mean and unit variance per dimension, float64 (N, D). Constant dimensions become 0.

    Raw unit-norm text vectors make a residual quantizer collapse; standardised ones do not.
    Raises `ArtifactError` for rows that are not finite or zero, with their item ids.
    """
    check_vectors(vectors, view)
    x = vectors.astype(np.float64)
    x = x - x.mean(axis=0)
    return x / _deviation(x)


def _deviation(centred: np.ndarray) -> np.ndarray:
    deviation = centred.std(axis=0)
    return np.where(deviation > 1e-12, deviation, 1.0)


def root_mean_norm(vectors: np.ndarray) -> np.ndarray:
    """Root of the mean squared norm of (N, D) vectors: what scales them to 1; 1 if all are zero."""
    norm = np.sqrt((vectors**2).sum(axis=1).mean())
    return norm if norm > 0 else np.ones_like(norm)


def principal_axes(centred: np.ndarray, dim: int) -> np.ndarray:
    """The min(dim, D) directions (D, d) in which vectors (N, D) vary most, strongest first.

    One thread, so that the number of threads cannot change an identifier; the largest weight of
    each axis is positive, so that no solver's choice of a sign can. Only the warm start of a
    generator asks torch instead: with other signs it would be another model.
    """
    with threadpool_limits(1):
        values, axes = np.linalg.eigh(centred.T @ centred / len(centred))  # weakest first
    axes = axes[:, np.argsort(values)[::-1][:dim]]  # (D, d)
    largest = np.abs(axes).argmax(axis=0)  # (d,), a row for each axis
    return axes * np.sign(axes[largest, np.arange(axes.shape[1])])


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
            return Components(centre, axes, root_mean_norm(x @ axes))

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
    """
    parts = [standardise(vectors, view) for view, vectors in views.items()]
    return np.concatenate([x / root_mean_norm(x) for x in parts], axis=1)


class Space(NamedTuple):
    """Views side by side, standardised, weighted alike, turned to `components` if any."""

    views: tuple[str, ...]
    mean: np.ndarray  # (D,), D of all views together
    deviation: np.ndarray  # (D,)
    weight: np.ndarray  # (D,), a view's root mean squared norm; 1 for a single view
    components: Components | None = None

    @staticmethod
    def fit(embeddings: ItemEmbeddings, views: tuple[str, ...], dim: int | None) -> Space:
        """The space of a catalogue's `views`, with its first `dim` components (None: as it is)."""
        x = _side_by_side(embeddings, views)
        mean = x.mean(axis=0)
        space = Space(views, mean, _deviation(x - mean), np.ones(len(mean)))
        if len(views) > 1:
            widths = [getattr(embeddings, view).shape[1] for view in views]
            parts = np.split(space.apply(embeddings), np.cumsum(widths)[:-1], axis=1)
            weight = np.repeat([root_mean_norm(part) for part in parts], widths)
            space = space._replace(weight=weight)
        if dim is None:
            return space
        return space._replace(components=Components.fit(space.apply(embeddings), dim))

    def apply(self, embeddings: ItemEmbeddings) -> np.ndarray:
        """(M, d) vectors of any items, of this catalogue or new."""
        x = (_side_by_side(embeddings, self.views) - self.mean) / self.deviation / self.weight
        return x if self.components is None else self.components.apply(x)

    @property
    def width(self) -> int:
        """d, the number of dimensions of a vector in this space."""
        return len(self.mean) if self.components is None else self.components.axes.shape[1]

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything fitted, by name."""
        fitted = {"mean": self.mean, "deviation": self.deviation, "weight": self.weight}
        if self.components is not None:
            fitted |= self.components._asdict()
        return {name: np.asarray(value, dtype=np.float64) for name, value in fitted.items()}

    @staticmethod
    def of(views: tuple[str, ...], tensors: dict[str, np.ndarray]) -> Space:
        """The space of `views` whose `tensors()` these are."""
        turned = [tensors[name] for name in Components._fields if name in tensors]
        fitted = (tensors[name] for name in ("mean", "deviation", "weight"))
        return Space(views, *fitted, Components(*turned) if turned else None)


def _side_by_side(embeddings: ItemEmbeddings, views: tuple[str, ...]) -> np.ndarray:
    """(N, D) float64. `ConfigError` where a view is missing, as only the joint one can."""
    tables = [getattr(embeddings, view) for view in views]
    if any(table is None for table in tables):
        raise ConfigError(
            f"identifiers: these embeddings have no {' + '.join(views)} view, which "
            "identifiers.strategy=multitask quantizes. "
            "Set embeddings.joint=adapter and build the embeddings again."
        )
    return np.concatenate(tables, axis=1).astype(np.float64)
