"""The embeddings stage: two views of every item.

In: the corpus. Out: ``embeddings.safetensors`` (both views), SASRec's weights, its learning curve.
This file does not know what the vectors will be quantized into.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save_file

from gensar_lite.artifacts import Corpus, ItemEmbeddings, Workspace
from gensar_lite.embeddings.collaborative import SASRecRanker, new_model, train_sasrec
from gensar_lite.embeddings.semantic import encode, item_texts


def embed(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/embeddings`` (or reuse it). Returns the folder."""

    def make(folder: Path) -> dict:
        corpus, settings = Corpus.load(ws.require("data")), ws.config.embeddings
        texts = item_texts(corpus.items["title"].tolist(), corpus.items["text"].tolist())
        semantic = encode(texts, settings, cache=ws.root / "artifacts" / "cache")
        model, curve = train_sasrec(corpus, settings)
        ItemEmbeddings(semantic, model.item_vectors.numpy()).check().save(folder)
        save_file(model.state_dict(), folder / "sasrec.safetensors")
        pd.DataFrame(curve).to_parquet(folder / "sasrec_curve.parquet", index=False)
        best = max(curve, key=lambda row: row["ndcg@10"])
        return {"d_sem": semantic.shape[1], "d_col": settings.dim, "sasrec_best": best}

    return ws.build("embeddings", make)


def load_sasrec(ws: Workspace, corpus: Corpus | None = None) -> SASRecRanker:
    """The trained SASRec as a ranker over the run's corpus."""
    corpus = corpus or Corpus.load(ws.require("data"))
    model = new_model(corpus.num_items, ws.config.embeddings)
    model.load_state_dict(load_file(ws.require("embeddings") / "sasrec.safetensors"))
    return SASRecRanker(model.eval(), corpus.events)
