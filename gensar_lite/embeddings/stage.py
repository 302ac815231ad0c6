"""The embeddings stage: two views of every item, and a third one of both tasks if it is asked for.

In: the corpus. Out: ``embeddings.safetensors`` (the views and which items are cold), the weights of what was learned,
its learning curves. This file does not know what the vectors will be quantized into.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from gensar_lite.artifacts import ArtifactError, Corpus, ItemEmbeddings, Workspace
from gensar_lite.config import ConfigError, EmbeddingsConfig
from gensar_lite.embeddings.cold import cold_items, fill_cold
from gensar_lite.embeddings.collaborative import SASRecRanker, new_model, train_sasrec
from gensar_lite.embeddings.encoders import encoder_files
from gensar_lite.embeddings.joint import JointModel, JointRanker, train_joint
from gensar_lite.embeddings.judge import full_ranking
from gensar_lite.embeddings.semantic import encode, encode_queries, item_texts
from gensar_lite.embeddings.sequences import train_sequences, what_is_read
from gensar_lite.embeddings.svd import TASK as SVD_TASK
from gensar_lite.embeddings.svd import SVDRanker

COLLABORATIVE, JOINT = ("sasrec", "svd", "auto"), ("none", "adapter")


def embed(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/embeddings`` (or reuse it). Returns the folder.

    Processes that Accelerate launched together encode the texts together; then one builds and the others wait.
    """
    settings = ws.config.embeddings
    _check(settings)
    read = encoder_files(settings)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and ws.why_rebuild("embeddings", read):
        text_vectors(ws, Corpus.load(ws.require("data")))

    def make(folder: Path) -> dict:
        corpus = Corpus.load(ws.require("data"))
        semantic, queries = text_vectors(ws, corpus)
        collaborative, cold, said = _collaborative(corpus, settings, folder)
        if cold.any():
            collaborative = fill_cold(collaborative, semantic, cold, settings.cold_neighbours)
        joint = None
        if settings.joint == "adapter":
            joint, best = _joint(corpus, semantic, queries, settings, folder)
            said |= {"d_joint": settings.joint_dim, "joint_best": best}
        ItemEmbeddings(semantic, collaborative, joint, cold).check().save(folder)
        sizes = {"d_sem": semantic.shape[1], "d_col": collaborative.shape[1]}
        return sizes | said | {"cold": _about_cold(cold, corpus, settings)}

    return ws.build("embeddings", make, outside=read)


def text_vectors(ws: Workspace, corpus: Corpus) -> tuple[np.ndarray, np.ndarray | None]:
    """Items (N, d_sem) and, where a joint view will read them, queries (Q, d_sem), from the run's cache."""
    settings, cache = ws.config.embeddings, ws.root / "artifacts" / "cache"
    texts = item_texts(corpus.items["title"].tolist(), corpus.items["text"].tolist())
    semantic = encode(texts, settings, cache)
    if settings.joint == "none":
        return semantic, None
    return semantic, encode_queries(corpus.queries["text"].tolist(), texts, settings, cache)


def _collaborative(
    corpus: Corpus, settings: EmbeddingsConfig, folder: Path
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Vectors (N, d_col), which items had nothing to learn from (N,), and what to say of the model."""
    if settings.collaborative == "svd":
        return SVDRanker.fit(corpus, settings).item_vectors, cold_items(corpus, SVD_TASK), {}
    model, curve = train_sasrec(corpus, settings)
    read = what_is_read(train_sequences(corpus, settings.max_length))
    save_file(model.state_dict(), folder / "sasrec.safetensors")
    pd.DataFrame(curve).to_parquet(folder / "sasrec_curve.parquet", index=False)
    best = max(curve, key=lambda row: row["ndcg@10"])
    report = {"sasrec_best": best, "sasrec_read": read}
    if settings.collaborative == "auto":
        counts, validation = (
            SVDRanker.fit(corpus, settings),
            corpus.targets("validation", "recommend"),
        )
        ndcg = {
            "sasrec": best["ndcg@10"],
            "svd": full_ranking(counts, corpus, validation)["ndcg@10"],
        }
        report |= {"collaborative": max(ndcg, key=ndcg.get), "validation_ndcg@10": ndcg}
        if report["collaborative"] == "svd":
            return counts.item_vectors, cold_items(corpus, SVD_TASK), report
    return model.item_vectors.numpy(), cold_items(corpus), report


def _joint(
    corpus, semantic, queries, settings: EmbeddingsConfig, folder: Path
) -> tuple[np.ndarray, dict]:
    model, curve = train_joint(corpus, semantic, queries, settings)
    save_file(model.state_dict(), folder / "joint.safetensors")
    pd.DataFrame(curve).to_parquet(folder / "joint_curve.parquet", index=False)
    return model.item_vectors().numpy(), max(curve, key=lambda row: row["score"])


def _about_cold(cold: np.ndarray, corpus: Corpus, settings: EmbeddingsConfig) -> dict:
    ids = corpus.items.get("source_id", corpus.items["item_id"])
    return {
        "items": int(cold.sum()),
        "first": ids[cold][:10].tolist(),
        "collaborative": f"weighted mean of the {settings.cold_neighbours} nearest warm items by text",
    }


def load_ranker(
    ws: Workspace, corpus: Corpus | None = None
) -> tuple[str, SASRecRanker | SVDRanker]:
    """The recommender that was trained for the collaborative view, as a baseline: its name (``sasrec-ce``, ``svd``)
    and itself. With ``auto`` that is SASRec, also where the view is made of counts."""
    settings, corpus = ws.config.embeddings, corpus or Corpus.load(ws.require("data"))
    if settings.collaborative == "svd":
        ws.require("embeddings")
        return "svd", SVDRanker.fit(
            corpus, settings
        )  # the same numbers again, in less time than reading them
    return f"sasrec-{settings.loss}", load_sasrec(ws, corpus)


def load_sasrec(ws: Workspace, corpus: Corpus | None = None) -> SASRecRanker:
    """The trained SASRec as a ranker over the run's corpus."""
    corpus = corpus or Corpus.load(ws.require("data"))
    model = new_model(corpus.num_items, ws.config.embeddings)
    model.load_state_dict(load_file(ws.require("embeddings") / "sasrec.safetensors"))
    return SASRecRanker(model.eval(), corpus.events)


def load_joint(ws: Workspace, corpus: Corpus | None = None) -> JointRanker:
    """The trained joint model as a ranker of both tasks. Raises `ArtifactError` where the run has none."""
    corpus, settings = corpus or Corpus.load(ws.require("data")), ws.config.embeddings
    path = ws.require("embeddings") / "joint.safetensors"
    if not path.exists():
        raise ArtifactError(
            f"embeddings: the run {ws.run} has no joint view. Set embeddings.joint=adapter and build it again."
        )
    model = JointModel(*map(torch.tensor, text_vectors(ws, corpus)), settings.joint_dim)
    model.load_state_dict(load_file(path))
    return JointRanker(model.eval(), corpus.events)


def _check(settings: EmbeddingsConfig) -> None:
    for name, valid in (("collaborative", COLLABORATIVE), ("joint", JOINT)):
        if getattr(settings, name) not in valid:
            raise ConfigError(
                f"embeddings.{name}: {getattr(settings, name)!r} is none of {', '.join(valid)}."
            )
