"""Identifier strategies: which vectors are quantized, how, and how many levels both views share.

In: `ItemEmbeddings`. Out: `Identifiers`, unique in each view, and what led to them. Each strategy
is a line of `SPACES` (fitted.py) over one residual quantizer; `random` looks at no vector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gensar_lite.artifacts import VIEWS, Identifiers, ItemEmbeddings
from gensar_lite.config import IdentifiersConfig
from gensar_lite.identifiers.fitted import SPACES, fit_quantizer, unique_codes
from gensar_lite.identifiers.room import digits, equal_warning, overflow_warning, sized
from gensar_lite.machine.threads import one_thread


class Built(NamedTuple):
    """Identifiers and what led to them."""

    identifiers: Identifiers
    before: dict[str, np.ndarray]  # (N, L) codes before repair, by view
    tensors: dict[str, np.ndarray]  # of the fitted quantizer
    curve: list[dict]  # how it learned (rq-vae)
    settings: IdentifiersConfig  # with the sizes that were left to the catalogue
    warnings: tuple[str, ...]  # what had to grow, and which views say nothing


def build_identifiers(embeddings: ItemEmbeddings, settings: IdentifiersConfig) -> Built:
    """Identifiers of every item by `settings.strategy`, `.quantizer` and `.uniqueness`.

    No catalogue is too large or too much alike: where a prefix overflows there is more room, and a
    warning. Raises `ConfigError` for a view that is not there, and `ArtifactError` for vectors that
    are not finite, with their item ids.
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
    """What to say of views in which all items are alike, and of prefixes that overflowed."""
    spaces = SPACES[settings.strategy]
    views = dict.fromkeys(view for space in spaces for view in space)  # in order, each once
    texts = [equal_warning(embeddings, view) for view in views]
    if settings.strategy == "dual" and settings.num_shared == settings.num_levels:
        spaces = (VIEWS,)  # all trunk: one set of codes for both
    if settings.uniqueness == "extra-level":
        spaces = ()  # which has a counter anyway
    for space, codes in zip(spaces, before.values(), strict=False):
        vectors = np.concatenate([getattr(embeddings, view) for view in space], axis=1)
        name = " + ".join(space)
        texts.append(
            overflow_warning(
                name, codes, vectors, settings.codebook_size, identifiers, embeddings.cold
            )
        )
    return tuple(text for text in texts if text)


def _random(num_items: int, settings: IdentifiersConfig) -> Built:
    """The control: distinct code sequences that look at no vector, longer ones if too few."""
    size = settings.codebook_size if num_items <= 1 else max(settings.codebook_size, 2)
    levels = max(settings.num_levels, digits(num_items, size))
    warnings = ()
    if levels > settings.num_levels:
        warnings = (
            f"identifiers: {num_items:,} items do not fit into {settings.codebook_size}^"
            f"{settings.num_levels} code sequences. There are {levels} levels instead.",
        )
    # a sequence is a number with `levels` digits of base `size`; N of them are drawn without repeat
    rng = np.random.default_rng(settings.seed)
    space = size**levels
    if space < 10**7:
        numbers = rng.permutation(space)[:num_items]
    else:  # too many to list: twice as many as needed are drawn, of which hardly one repeats
        drawn = np.unique(rng.integers(min(space, 2**62), size=2 * num_items))
        numbers = rng.permutation(drawn)[:num_items]
    codes = np.empty((num_items, levels), dtype=np.int64)
    for level in reversed(range(levels)):  # a number's digits, the last one first
        numbers, codes[:, level] = np.divmod(numbers, size)
    both = Identifiers(codes, codes, levels, size).check()
    return Built(both, dict.fromkeys(VIEWS, codes), {}, [], settings, warnings)
