"""The identifiers stage: two vectors an item become two code sequences an item.

In: `ItemEmbeddings`, and the corpus to diagnose by. Out: ``identifiers.parquet``, the quantizer's tensors,
``diagnostics.parquet``.
This file does not know which model will generate the codes.
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


def identify(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/identifiers`` (or reuse it). Returns the folder."""

    def make(folder: Path) -> dict:
        embeddings = ItemEmbeddings.load(ws.require("embeddings"))
        built = build_identifiers(embeddings, ws.config.identifiers)
        sizes = _told(built, ws.config.identifiers)
        built.identifiers.save(folder)
        tensors = {k: np.ascontiguousarray(v) for k, v in built.tensors.items()}
        before = {f"before.{k}": np.ascontiguousarray(v) for k, v in built.before.items()}
        save_file(tensors | before, folder / "quantizer.safetensors")
        if built.curve:
            pd.DataFrame(built.curve).to_parquet(folder / "curve.parquet", index=False)
        codes, num_codes = (built.identifiers, built.before), built.settings.codebook_size
        table = diagnose(
            codes[0], embeddings, Corpus.load(ws.require("data")), codes[1], num_codes=num_codes
        )
        table.to_parquet(folder / "diagnostics.parquet", index=False)
        return describe(*codes, table, num_codes) | {"sizes": sizes}

    return ws.build("identifiers", make)


def _told(built: Built, asked: IdentifiersConfig) -> dict[str, object]:
    """Print which sizes were chosen and what had to grow; the same for ``meta.json``.

    ``num_levels``, ``num_shared`` and ``codebook_size`` are of the identifiers, ``codewords`` is of the quantizer.
    """
    ids, used = built.identifiers, built.settings
    if not asked.codebook_size or not asked.num_levels:
        print(
            f"identifiers: {len(ids.semantic):,} items -> {used.num_levels} levels of {used.codebook_size} codes "
            "(identifiers.num_levels and identifiers.codebook_size set other numbers)"
        )
    for warning in built.warnings:
        print(f"WARN {warning}")
    layout = {
        "num_levels": ids.num_levels,
        "num_shared": ids.num_shared,
        "codebook_size": ids.codebook_size,
    }
    return layout | {"codewords": used.codebook_size, "warnings": list(built.warnings)}
