"""The embeddings stage: two views of every item, and a third one of both tasks if it is asked for.

In: the corpus. Out: ``embeddings.safetensors`` (the views and which items are cold), the weights of
what was learned, its learning curves. This file does not know what quantizes the vectors.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from gensar_lite.artifacts import ArtifactError, Corpus, ItemEmbeddings, Workspace
from gensar_lite.config import EmbeddingsConfig
from gensar_lite.embeddings.agreement import fill_cold
from gensar_lite.embeddings.collaborative import SVD_TASK, SASRecRanker, SVDRanker, train_sasrec
from gensar_lite.embeddings.encoders import encoder_files
from gensar_lite.embeddings.joint import JointModel, JointRanker, train_joint
from gensar_lite.embeddings.judge import FullRanking
from gensar_lite.embeddings.sasrec import SASRec
from gensar_lite.embeddings.semantic import encode, encode_queries, item_texts
from gensar_lite.embeddings.sequences import train_sequences
from gensar_lite.machine.precision import how_computed
from gensar_lite.machine.processes import rank_and_world
from gensar_lite.machine.threads import threads_for


def embed(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/embeddings`` (or reuse it). Returns the folder.

    Processes that Accelerate launched together encode the texts together; then one builds and the
    others wait.
    """
    settings = ws.config.embeddings
    outside = encoder_files(settings)
    if rank_and_world()[1] > 1 and ws.why_rebuild("embeddings", outside):
        _text_vectors(ws, Corpus.load(ws.require("data")))  # into the cache, for `make`

    def make(folder: Path) -> dict:
        corpus = Corpus.load(ws.require("data"))
        semantic, queries = _text_vectors(ws, corpus)
        with threads_for(settings.dim):
            collaborative, cold, statistics = _collaborative(corpus, settings, folder)
            statistics |= {"machine": how_computed(settings.precision)}
        if cold.any():
            collaborative = fill_cold(collaborative, semantic, cold, settings.cold_neighbours)
        joint = None
        if settings.joint == "adapter":
            with threads_for(settings.joint_dim):
                model, curve = train_joint(corpus, semantic, queries, settings)
            best = _save_learned(folder, "joint", model, curve, "score")
            joint = model.item_vectors().numpy()
            statistics |= {"d_joint": settings.joint_dim, "joint_best": best}
        ItemEmbeddings(semantic, collaborative, joint, cold).check().save(folder)
        ids = corpus.items.get("source_id", corpus.items["item_id"])  # as the user calls them
        near = f"the {settings.cold_neighbours} nearest warm items by text"
        about_cold = {"items": int(cold.sum()), "first": ids[cold][:10].tolist()}
        about_cold |= {"collaborative": f"weighted mean of {near}"}
        sizes = {"d_sem": semantic.shape[1], "d_col": collaborative.shape[1]}
        return sizes | statistics | {"cold": about_cold}

    return ws.build("embeddings", make, outside=outside)


def _text_vectors(ws: Workspace, corpus: Corpus) -> tuple[np.ndarray, np.ndarray | None]:
    """Items (N, d_sem) and, where a joint view reads them, queries (Q, d_sem), kept in a cache."""
    settings = ws.config.embeddings
    cache = ws.root / "artifacts" / "cache"
    texts = item_texts(corpus.items["title"].tolist(), corpus.items["text"].tolist())
    semantic = encode(texts, settings, cache)
    if settings.joint == "none":
        return semantic, None
    return semantic, encode_queries(corpus.queries["text"].tolist(), texts, settings, cache)


def cold_items(corpus: Corpus, task: str | None = None) -> np.ndarray:
    """(N,) bool: items without a train event (of `task`, if one is named)."""
    met = corpus.targets("train", task)["item_id"]
    return ~np.isin(np.arange(corpus.num_items), met)


def _collaborative(
    corpus: Corpus, settings: EmbeddingsConfig, folder: Path
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Vectors (N, d_col), which items had nothing to learn from (N,), and statistics."""
    counts = None if settings.collaborative == "sasrec" else SVDRanker.fit(corpus, settings)
    if settings.collaborative == "svd":
        return counts.item_vectors, cold_items(corpus, SVD_TASK), {}
    sequences = train_sequences(corpus, settings.max_length)
    model, curve = train_sasrec(corpus, settings, sequences)
    best = _save_learned(folder, "sasrec", model, curve, "ndcg@10")
    statistics = {"sasrec_best": best, "sasrec_read": sequences.counts()}
    if settings.collaborative == "auto":
        judge = FullRanking(corpus, corpus.targets("validation", "recommend"))
        ndcg = {"sasrec": best["ndcg@10"], "svd": judge(counts)["ndcg@10"]}
        better = max(ndcg, key=ndcg.get)
        statistics |= {"collaborative": better, "validation_ndcg@10": ndcg}
        if better == "svd":
            return counts.item_vectors, cold_items(corpus, SVD_TASK), statistics
    return model.item_vectors.numpy(), cold_items(corpus), statistics


def _save_learned(
    folder: Path, name: str, model: torch.nn.Module, curve: list[dict], metric: str
) -> dict:
    """Write weights and learning curve; returns the row of the best validation by `metric`."""
    save_file(model.state_dict(), folder / f"{name}.safetensors")
    pd.DataFrame(curve).to_parquet(folder / f"{name}_curve.parquet", index=False)
    return max(curve, key=lambda row: row[metric])


def load_ranker(ws: Workspace, corpus: Corpus) -> tuple[str, SASRecRanker | SVDRanker]:
    """The recommender behind the collaborative view, as a baseline: its name and itself.

    ``svd`` or ``sasrec-<loss>``; with ``auto`` SASRec, also where the view is made of counts.
    """
    settings = ws.config.embeddings
    if settings.collaborative != "svd":
        return f"sasrec-{settings.loss}", load_sasrec(ws, corpus)
    ws.require("embeddings")
    return "svd", SVDRanker.fit(corpus, settings)  # the same again, sooner than it is read


def load_sasrec(ws: Workspace, corpus: Corpus) -> SASRecRanker:
    """The trained SASRec as a ranker over the run's corpus."""
    model = SASRec(corpus.num_items, ws.config.embeddings)
    model.load_state_dict(load_file(ws.require("embeddings") / "sasrec.safetensors"))
    return SASRecRanker(model.eval(), corpus.events)


def load_joint(ws: Workspace, corpus: Corpus) -> JointRanker:
    """The trained joint model as a ranker of both tasks; `ArtifactError` where there is none."""
    path = ws.require("embeddings") / "joint.safetensors"
    if not path.exists():
        raise ArtifactError(
            f"embeddings: the run {ws.run} has no joint view. "
            "Set embeddings.joint=adapter and build it again."
        )
    texts = (torch.tensor(vectors) for vectors in _text_vectors(ws, corpus))
    model = JointModel(*texts, ws.config.embeddings.joint_dim)
    model.load_state_dict(load_file(path))
    return JointRanker(model.eval(), corpus.events)
