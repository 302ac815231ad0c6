"""The identifiers stage: two vectors per item become two code sequences per item.

In: `ItemEmbeddings`, the corpus to diagnose by. Out: ``identifiers.parquet``, quantizer tensors,
``diagnostics.parquet``. A strategy is a line of `SPACES` (fitted.py); `random` looks at no vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from gensar_lite.artifacts import VIEWS, Corpus, Identifiers, ItemEmbeddings, Workspace
from gensar_lite.config import IdentifiersConfig
from gensar_lite.identifiers.diagnostics import describe, diagnose
from gensar_lite.identifiers.fitted import SPACES, fit_quantizer, unique_codes
from gensar_lite.identifiers.measures import row_numbers
from gensar_lite.identifiers.room import digits, sized
from gensar_lite.machine.precision import how_computed
from gensar_lite.machine.threads import one_thread


def identify(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/identifiers`` (or reuse it). Returns the folder."""

    def make(folder: Path) -> dict:
        embeddings = ItemEmbeddings.load(ws.require("embeddings"))
        built = build_identifiers(embeddings, ws.config.identifiers)
        _print_sizes(built, ws.config.identifiers)
        built.identifiers.save(folder)
        tensors = built.tensors | {f"before.{k}": v for k, v in built.before.items()}
        tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        save_file(tensors, folder / "quantizer.safetensors")
        num_codes = built.settings.codebook_size
        corpus = Corpus.load(ws.require("data"))
        table = diagnose(built.identifiers, embeddings, corpus, built.before, num_codes=num_codes)
        table.to_parquet(folder / "diagnostics.parquet", index=False)
        statistics = describe(built.identifiers, built.before, table, num_codes)
        names = ("num_levels", "num_shared", "codebook_size")  # of the identifiers
        sizes = {name: getattr(built.identifiers, name) for name in names}
        sizes |= {"codewords": num_codes, "warnings": list(built.warnings)}  # of the quantizer
        statistics["sizes"] = sizes
        if built.curve:  # a quantizer that learned by steps, which it does with one thread
            pd.DataFrame(built.curve).to_parquet(folder / "curve.parquet", index=False)
            with one_thread():
                statistics["machine"] = how_computed(ws.config.identifiers.precision)
        return statistics

    return ws.build("identifiers", make)


def _print_sizes(built: Built, asked: IdentifiersConfig) -> None:
    """Print which sizes were chosen and what had to grow."""
    if not asked.codebook_size or not asked.num_levels:
        used = built.settings
        print(
            f"identifiers: {len(built.identifiers.semantic):,} items -> "
            f"{used.num_levels} levels of {used.codebook_size} codes "
            "(identifiers.num_levels and identifiers.codebook_size set other numbers)"
        )
    for warning in built.warnings:
        print(f"WARN {warning}")


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
    warnings = [*_all_alike(embeddings, settings)]
    warnings += _overflows(before, identifiers, embeddings, settings)
    return Built(identifiers, before, fitted.tensors(), curve, settings, tuple(warnings))


def _all_alike(embeddings: ItemEmbeddings, settings: IdentifiersConfig) -> Iterator[str]:
    """A sentence for each view in which all items have one vector: its codes say nothing."""
    for view in dict.fromkeys(view for space in SPACES[settings.strategy] for view in space):
        table = getattr(embeddings, view)
        if len(table) > 1 and np.allclose(table, table[:1], rtol=0, atol=1e-12):
            yield (
                f"identifiers: all {len(table):,} items have the same {view} vector, so their "
                f"{view} codes are mere numbers. Bring titles that differ (semantic) or a longer "
                "log (collaborative)."
            )


def _overflows(
    before: dict[str, np.ndarray],
    identifiers: Identifiers,
    embeddings: ItemEmbeddings,
    settings: IdentifiersConfig,
) -> Iterator[str]:
    """A sentence for each space in which a prefix has more items than the last level has codes.

    It says how many, how many of them are cold or have another one's vector, and what was done.
    """
    if settings.uniqueness == "extra-level":  # which has a counter anyway
        return
    more = identifiers.num_levels - settings.num_levels
    done = f"the last level has grown to {identifiers.codebook_size:,} codes"
    if more:
        done = (
            f"{more} counting {'levels come' if more > 1 else 'level comes'} after the last one, "
            f"so that an identifier has {identifiers.num_levels} levels"
        )
    all_trunk = settings.num_shared == settings.num_levels  # one set of codes for both views
    spaces = (VIEWS,) if all_trunk and settings.strategy == "dual" else SPACES[settings.strategy]
    for space, codes in zip(spaces, before.values(), strict=False):
        prefix = row_numbers(codes[:, :-1])
        sizes = np.bincount(prefix)
        if sizes.max(initial=0) <= settings.codebook_size:
            continue
        inside = np.flatnonzero(sizes[prefix] > settings.codebook_size)
        vectors = np.concatenate([getattr(embeddings, view)[inside] for view in space], axis=1)
        alike = np.unique(vectors, axis=0, return_counts=True)[1]
        num_cold = 0 if embeddings.cold is None else int(embeddings.cold[inside].sum())
        name = " + ".join(space)
        yield (
            f"identifiers: {sizes.max():,} items share one {name} prefix, but the last level has "
            f"{settings.codebook_size:,} codes; {len(inside):,} items stand in such prefixes, "
            f"{num_cold:,} of them cold, {alike[alike > 1].sum():,} with the same {name} vector as "
            f"another one. So {done}."
        )


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
