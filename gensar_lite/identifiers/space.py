"""From item views to what is quantized, fitted once: new items go the way the catalogue did.

In: `ItemEmbeddings`, names of one view or several. Out: vectors (N, d) float64, and tensors that
rebuild a space. This file does not know codebooks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gensar_lite.artifacts import ItemEmbeddings
from gensar_lite.config import ConfigError
from gensar_lite.embeddings.fused import Components, root_mean_norm, standardise


class Space(NamedTuple):
    """Views side by side, standardised, weighted alike, turned to `components` if any."""

    views: tuple[str, ...]
    mean: np.ndarray  # (D,), D of all views together
    deviation: np.ndarray  # (D,)
    weight: np.ndarray  # (D,), a view's root mean squared norm; 1 for a single view
    components: Components | None

    @staticmethod
    def fit(embeddings: ItemEmbeddings, views: tuple[str, ...], dim: int | None) -> Space:
        """The space of a catalogue's `views`, with its first `dim` components (None: as it is)."""
        side = _side_by_side(embeddings, views)
        mean = side.mean(axis=0)
        deviation = (side - mean).std(axis=0)
        deviation = np.where(deviation > 1e-12, deviation, 1.0)
        even = [standardise(_view(embeddings, view), view) for view in views]
        norms = [root_mean_norm(x) if len(views) > 1 else 1.0 for x in even]
        weight = np.repeat(norms, [x.shape[1] for x in even])
        space = Space(views, mean, deviation, weight, None)
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
    return np.concatenate([_view(embeddings, view) for view in views], axis=1).astype(np.float64)


def _view(embeddings: ItemEmbeddings, view: str) -> np.ndarray:
    table = getattr(embeddings, view)
    if table is None:
        raise ConfigError(
            f"identifiers: these embeddings have no {view} view, which "
            "identifiers.strategy=multitask quantizes. "
            "Set embeddings.joint=adapter and build the embeddings again."
        )
    return table
