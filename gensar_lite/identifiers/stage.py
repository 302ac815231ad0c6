"""The identifiers stage: two vectors per item become two code sequences per item.

In: `ItemEmbeddings`, and the corpus to diagnose by. Out: ``identifiers.parquet``, the quantizer's
tensors, ``diagnostics.parquet``. This file does not know which model will generate the codes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from gensar_lite.artifacts import Corpus, ItemEmbeddings, Workspace
from gensar_lite.config import IdentifiersConfig
from gensar_lite.identifiers.diagnostics import describe, diagnose
from gensar_lite.identifiers.strategies import Built, build_identifiers
from gensar_lite.machine.precision import how_computed
from gensar_lite.machine.threads import one_thread


def identify(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/identifiers`` (or reuse it). Returns the folder."""

    def make(folder: Path) -> dict:
        embeddings = ItemEmbeddings.load(ws.require("embeddings"))
        built = build_identifiers(embeddings, ws.config.identifiers)
        sizes = _print_sizes(built, ws.config.identifiers)
        built.identifiers.save(folder)
        tensors = built.tensors | {f"before.{k}": v for k, v in built.before.items()}
        tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        save_file(tensors, folder / "quantizer.safetensors")
        if built.curve:
            pd.DataFrame(built.curve).to_parquet(folder / "curve.parquet", index=False)
        corpus = Corpus.load(ws.require("data"))
        num_codes = built.settings.codebook_size
        table = diagnose(built.identifiers, embeddings, corpus, built.before, num_codes=num_codes)
        table.to_parquet(folder / "diagnostics.parquet", index=False)
        statistics = describe(built.identifiers, built.before, table, num_codes)
        statistics["sizes"] = sizes
        if built.curve:  # a quantizer that learned by steps, which it does with one thread
            with one_thread():
                statistics["machine"] = how_computed(ws.config.identifiers.precision)
        return statistics

    return ws.build("identifiers", make)


def _print_sizes(built: Built, asked: IdentifiersConfig) -> dict[str, object]:
    """Print which sizes were chosen and what had to grow; the same for ``meta.json``.

    ``num_levels``, ``num_shared`` and ``codebook_size`` are of the identifiers, ``codewords`` is of
    the quantizer.
    """
    ids = built.identifiers
    used = built.settings
    if not asked.codebook_size or not asked.num_levels:
        print(
            f"identifiers: {len(ids.semantic):,} items -> {used.num_levels} levels of "
            f"{used.codebook_size} codes "
            "(identifiers.num_levels and identifiers.codebook_size set other numbers)"
        )
    for warning in built.warnings:
        print(f"WARN {warning}")
    return {
        "num_levels": ids.num_levels,
        "num_shared": ids.num_shared,
        "codebook_size": ids.codebook_size,
        "codewords": used.codebook_size,
        "warnings": list(built.warnings),
    }
