"""Identifier strategies: which vectors are quantized, how, and how many levels both views share.

In: `ItemEmbeddings`. Out: `Identifiers`, unique in each view, and what led to them.
Each strategy is a line of `SPACES` over one residual quantizer; `random` looks at no vector.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gensar_lite.artifacts import VIEWS, ArtifactError, Identifiers, ItemEmbeddings
from gensar_lite.config import ConfigError, IdentifiersConfig
from gensar_lite.identifiers.assignment import UNIQUENESS
from gensar_lite.identifiers.fitted import SPACES, fit_quantizer, unique_codes
from gensar_lite.identifiers.threads import one_thread

_RESIDUAL = ("rq-kmeans", "rq-vae", "balanced")
VALID_PAIRS = {
    *((strategy, quantizer) for strategy in SPACES for quantizer in _RESIDUAL),
    *((strategy, "pq") for strategy, spaces in SPACES.items() if len(spaces) == 1),  # its parts are no trunk
    ("random", "none"),
}


class Built(NamedTuple):
    """Identifiers, the codes before repair by view, the fitted tensors, the learning curve (rq-vae)."""

    identifiers: Identifiers
    before: dict[str, np.ndarray]
    tensors: dict[str, np.ndarray]
    curve: list[dict]


def build_identifiers(embeddings: ItemEmbeddings, settings: IdentifiersConfig) -> Built:
    """Identifiers of every item by `settings.strategy`, `settings.quantizer` and `settings.uniqueness`.

    Raises `ConfigError` for a pair that does not exist, listing those that do, or a view that is not there, and
    `ArtifactError` for too few codes, or vectors that are not finite, with their item ids.
    """
    check_settings(settings)
    embeddings.check()
    if settings.strategy == "random":
        return _random(len(embeddings.semantic), settings)
    with one_thread():
        fitted, curve = fit_quantizer(embeddings, settings)
        codes = fitted.quantize(embeddings, whole=True)
        identifiers = unique_codes(codes, fitted)
    return Built(identifiers, {view: getattr(codes, view) for view in VIEWS}, fitted.tensors(), curve)


def check_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Raise `ArtifactError` for a pair (strategy, quantizer) that does not exist, with those that do."""
    for pair in pairs:
        if pair not in VALID_PAIRS:
            listed = ", ".join("+".join(known) for known in sorted(VALID_PAIRS))
            raise ArtifactError(f"grid: {'+'.join(pair)} is no valid pair. Choose one of: {listed}.")


def check_settings(settings: IdentifiersConfig) -> None:
    """Raise `ConfigError` for a pair, a uniqueness or a trunk that does not exist, with what does."""
    pair = (settings.strategy, "none" if settings.strategy == "random" else settings.quantizer)
    if pair not in VALID_PAIRS:
        listed = ", ".join(f"{s} + {q}" for s, q in sorted(VALID_PAIRS))
        raise ConfigError(f"identifiers: {pair[0]} + {pair[1]} is no valid pair. Choose one of: {listed}.")
    if settings.uniqueness not in UNIQUENESS:
        raise ConfigError(f"identifiers.uniqueness: {settings.uniqueness!r} is none of {', '.join(UNIQUENESS)}.")
    if settings.strategy == "dual" and not 0 <= settings.num_shared <= settings.num_levels:
        raise ConfigError(
            f"identifiers: num_shared is {settings.num_shared}, but a dual identifier of {settings.num_levels} levels "
            f"needs 0 to {settings.num_levels}."
        )


def _random(num_items: int, settings: IdentifiersConfig) -> Built:
    """The control: distinct code sequences drawn without looking at any vector."""
    space = settings.codebook_size**settings.num_levels
    if num_items > space:
        raise ArtifactError(f"identifiers: {num_items} items do not fit into {space} code sequences.")
    rng = np.random.default_rng(settings.seed)
    numbers = rng.permutation(space)[:num_items] if space < 10**7 else _distinct(rng, space, num_items)
    codes = np.stack(np.unravel_index(numbers, [settings.codebook_size] * settings.num_levels), axis=1)
    both = Identifiers(codes, codes, settings.num_levels, settings.codebook_size).check()
    return Built(both, dict.fromkeys(VIEWS, codes), {}, [])


def _distinct(rng: np.random.Generator, space: int, count: int) -> np.ndarray:
    numbers = np.unique(rng.integers(space, size=2 * count))
    return rng.permutation(numbers)[:count]
