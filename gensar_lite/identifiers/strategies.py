"""Identifier strategies: which vectors are quantized, how, and how many levels both views share.

In: `ItemEmbeddings`. Out: `Identifiers`, unique in each view, and what led to them.
Each strategy is a line of `SPACES` over one residual quantizer; `random` looks at no vector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gensar_lite.artifacts import VIEWS, Identifiers, ItemEmbeddings
from gensar_lite.config import IdentifiersConfig
from gensar_lite.identifiers.fitted import SPACES, fit_quantizer, unique_codes
from gensar_lite.identifiers.room import Quantized, digits, equal_warnings, overflow_warnings
from gensar_lite.identifiers.sizes import sized
from gensar_lite.machine.threads import one_thread


class Built(NamedTuple):
    """Identifiers and what led to them.

    before     (N, L) codes before repair, by view
    tensors    of the fitted quantizer; curve: how it learned (rq-vae)
    settings   those that were used: sizes left to the catalogue (0) are chosen
    warnings   sentences about what had to grow, and about views that say nothing
    """

    identifiers: Identifiers
    before: dict[str, np.ndarray]
    tensors: dict[str, np.ndarray]
    curve: list[dict]
    settings: IdentifiersConfig
    warnings: tuple[str, ...]


def build_identifiers(embeddings: ItemEmbeddings, settings: IdentifiersConfig) -> Built:
    """Identifiers of every item by `settings.strategy`, `settings.quantizer` and `settings.uniqueness`.

    No catalogue is too large or too much alike: where a prefix overflows there is more room, and a warning.
    Raises `ConfigError` for a view that is not there, and `ArtifactError` for vectors that are not finite, with their item ids.
    """
    embeddings.check()
    settings = sized(settings, len(embeddings.semantic))
    if settings.strategy == "random":
        return _random(len(embeddings.semantic), settings)
    with one_thread():
        fitted, curve = fit_quantizer(embeddings, settings)
        codes = fitted.quantize(embeddings, whole=True)
        identifiers = unique_codes(codes, fitted)
    before = {view: getattr(codes, view) for view in VIEWS}
    warnings = _warnings(before, identifiers, embeddings, settings)
    return Built(identifiers, before, fitted.tensors(), curve, settings, warnings)


def _warnings(
    before: dict[str, np.ndarray],
    identifiers: Identifiers,
    embeddings: ItemEmbeddings,
    settings: IdentifiersConfig,
) -> tuple[str, ...]:
    """What is to be said of views in which all items are alike, and of prefixes that overflowed."""
    spaces = SPACES[settings.strategy]
    equal = equal_warnings(
        embeddings, tuple(dict.fromkeys(view for space in spaces for view in space))
    )
    if settings.uniqueness == "extra-level":  # which has a counter anyway
        return equal
    if settings.strategy == "dual" and settings.num_shared == settings.num_levels:
        spaces = (VIEWS,)  # all trunk: one set of codes for both
    quantized = []
    for space, codes in zip(spaces, before.values(), strict=False):
        vectors = np.concatenate([getattr(embeddings, view) for view in space], axis=1)
        quantized.append(Quantized(" + ".join(space), codes, vectors))
    return equal + overflow_warnings(
        quantized, settings.codebook_size, identifiers, embeddings.cold
    )


def _random(num_items: int, settings: IdentifiersConfig) -> Built:
    """The control: distinct code sequences drawn without looking at any vector, longer ones where they are too few."""
    size = settings.codebook_size if num_items <= 1 else max(settings.codebook_size, 2)
    levels, warnings = max(settings.num_levels, digits(num_items, size)), ()
    if levels > settings.num_levels:
        short = f"{settings.codebook_size}^{settings.num_levels} code sequences"
        warnings = (
            f"identifiers: {num_items:,} items do not fit into {short}. There are {levels} levels instead.",
        )
    space, rng = size**levels, np.random.default_rng(settings.seed)
    numbers = (
        rng.permutation(space)[:num_items] if space < 10**7 else _distinct(rng, space, num_items)
    )
    codes = np.empty((num_items, levels), dtype=np.int64)
    for level in reversed(range(levels)):  # a number's digits, the last one first
        numbers, codes[:, level] = np.divmod(numbers, size)
    both = Identifiers(codes, codes, levels, size).check()
    return Built(both, dict.fromkeys(VIEWS, codes), {}, [], settings, warnings)


def _distinct(rng: np.random.Generator, space: int, count: int) -> np.ndarray:
    numbers = np.unique(rng.integers(min(space, 2**62), size=2 * count))
    return rng.permutation(numbers)[:count]
