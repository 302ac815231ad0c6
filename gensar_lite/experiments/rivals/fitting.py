"""A rival by its name, fitted to a run.

In: a workspace whose data and embeddings stand, a seed. Out: a `Scorer`. Nothing is kept on disk
but text vectors of queries, in the cache. This file judges nothing.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gensar_lite.artifacts import Corpus, ItemEmbeddings, Workspace
from gensar_lite.config import one_of
from gensar_lite.embeddings import item_texts
from gensar_lite.embeddings.semantic import encode_queries
from gensar_lite.evaluation.baselines import Scorer
from gensar_lite.experiments.rivals.fit_unisar import train_unisar
from gensar_lite.experiments.rivals.personal import fit_personal
from gensar_lite.experiments.rivals.towers import fit_towers
from gensar_lite.machine.threads import threads_for


def fit_rival(name: str, ws: Workspace, seed: int = 0) -> Scorer:
    """A rival of `RIVALS`, fitted on train and chosen on validation events: a function of the run
    and the seed alone.

    ``unisar`` answers both tasks, the others searches. Raises `ConfigError` for another name,
    `ArtifactError` where a stage is missing or there is nothing to learn from.
    """
    one_of("rival", name, RIVALS)
    corpus = Corpus.load(ws.require("data"))
    vectors = ItemEmbeddings.load(ws.require("embeddings"))
    return RIVALS[name](ws, corpus, vectors, seed)


def _unisar(ws: Workspace, corpus: Corpus, vectors: ItemEmbeddings, seed: int) -> Scorer:
    settings = dataclasses.replace(ws.config.training, seed=seed)
    start = vectors.collaborative
    with threads_for(start.shape[1]):
        return train_unisar(corpus, start, settings, _cache(ws))[0]


def _tuned(ws: Workspace, corpus: Corpus, vectors: ItemEmbeddings, seed: int) -> Scorer:
    queries = _query_vectors(ws, corpus)
    with threads_for(queries.shape[1]):
        return fit_towers(corpus, vectors.semantic, queries, seed).scorer


def _personal(ws: Workspace, corpus: Corpus, vectors: ItemEmbeddings, seed: int) -> Scorer:
    return fit_personal(corpus, vectors.semantic, _query_vectors(ws, corpus)).scorer


def _query_vectors(ws: Workspace, corpus: Corpus) -> np.ndarray:
    """(Q, d_sem) of all queries of the corpus, as a joint view has them: often in the cache."""
    texts = item_texts(corpus.items["title"].tolist(), corpus.items["text"].tolist())
    queries = corpus.queries["text"].tolist()
    return encode_queries(queries, texts, ws.config.embeddings, _cache(ws))


def _cache(ws: Workspace) -> Path:
    return ws.root / "artifacts" / "cache"


RIVALS: dict[str, Callable[[Workspace, Corpus, ItemEmbeddings, int], Scorer]] = {
    "unisar": _unisar,
    "dense-tuned": _tuned,
    "dense-personal": _personal,
}
