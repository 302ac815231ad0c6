"""What several test files build on: a small corpus, and identifiers whose every part is random but
valid."""

from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus, Identifiers, ItemEmbeddings, Workspace
from gensar_lite.config import DataConfig, override, preset
from gensar_lite.data import Tables, build_corpus


def small_corpus(
    num_items: int = 40,
    num_users: int = 12,
    seed: int = 0,
    twin_rate: float = 0.0,
    events: pd.DataFrame | None = None,
) -> Corpus:
    """Random users, one event per time step; with `twin_rate` some recommendations have a search
    twin at their time.

    With `events` that log is used instead of a random one.
    """
    rng = np.random.default_rng(seed)
    items = pd.DataFrame(
        {"item_id": np.arange(num_items), "title": [f"thing number {i}" for i in range(num_items)]}
    )
    items = items.assign(text="", brand="", category="Things")
    queries = pd.DataFrame({"query_id": [0, 1, 2], "text": ["red thing", "big thing", "thing"]})
    rows = []
    for user in range(num_users):
        for time, item in enumerate(rng.permutation(num_items)[: rng.integers(4, 9)]):
            search = rng.random() < 0.5
            rows.append(
                (
                    user,
                    time,
                    "search" if search else "recommend",
                    item,
                    rng.integers(3) if search else -1,
                )
            )
            if twin_rate and not search and rng.random() < twin_rate:
                rows.append((user, time, "search", item, rng.integers(3)))
    if events is None:
        events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    relevance = pd.DataFrame({"query_id": [0], "item_id": [0], "grade": [1]})
    return build_corpus(Tables(items, queries, events, relevance, {}), DataConfig())[0]


def random_identifiers(num_items: int, num_codes: int, seed: int = 0) -> Identifiers:
    """Three levels, the first one shared, unique in each view."""
    rng = np.random.default_rng(seed)
    shared = rng.integers(num_codes, size=(num_items, 1))
    views = []
    for _ in range(2):
        own = np.stack(
            [
                rng.permutation(num_codes**2)[:num_items] // num_codes,
                rng.integers(num_codes, size=num_items),
            ],
            1,
        )
        codes = np.concatenate([shared, own], axis=1)
        while len(np.unique(codes, axis=0)) < num_items:
            codes[:, 1:] = rng.integers(num_codes, size=(num_items, 2))
        views.append(codes)
    return Identifiers(views[0], views[1], num_shared=1, codebook_size=num_codes).check()


def workspace(
    root: Path,
    corpus: Corpus,
    identifiers,
    training: dict,
    embeddings: ItemEmbeddings | None = None,
) -> Workspace:
    """A workspace whose stages before training are simply put there; nothing but the training of
    some trees reads `embeddings`."""
    ws = Workspace.open(
        override(preset("tiny"), {f"training.{k}": v for k, v in training.items()}), root
    )
    ws.build("data", lambda folder: corpus.save(folder) or {})
    ws.build("embeddings", lambda folder: (embeddings and embeddings.save(folder)) or {})
    ws.build("identifiers", lambda folder: identifiers.save(folder) or {})
    return ws
