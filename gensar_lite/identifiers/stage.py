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
from gensar_lite.identifiers.diagnostics import describe, diagnose
from gensar_lite.identifiers.strategies import build_identifiers


def identify(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/identifiers`` (or reuse it). Returns the folder."""

    def make(folder: Path) -> dict:
        embeddings = ItemEmbeddings.load(ws.require("embeddings"))
        built = build_identifiers(embeddings, ws.config.identifiers)
        built.identifiers.save(folder)
        tensors = {k: np.ascontiguousarray(v) for k, v in built.tensors.items()}
        before = {f"before.{k}": np.ascontiguousarray(v) for k, v in built.before.items()}
        save_file(tensors | before, folder / "quantizer.safetensors")
        if built.curve:
            pd.DataFrame(built.curve).to_parquet(folder / "curve.parquet", index=False)
        table = diagnose(built.identifiers, embeddings, Corpus.load(ws.require("data")), built.before)
        table.to_parquet(folder / "diagnostics.parquet", index=False)
        return describe(built.identifiers, built.before, table)

    return ws.build("identifiers", make)
