"""What growing costs: items that get identifiers without refitting, against a fit that knew them.

In: item vectors, categories, settings. Out: a long table of how well held-out items are served both ways.
This file does not know workspaces or reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from gensar_lite.artifacts import VIEWS, Identifiers, ItemEmbeddings
from gensar_lite.config import IdentifiersConfig
from gensar_lite.embeddings.agreement import neighbours
from gensar_lite.embeddings.fused import standardise
from gensar_lite.identifiers.fitted import FittedQuantizer, assign
from gensar_lite.identifiers.meaning import level_residuals, neighbour_recall
from gensar_lite.identifiers.sizes import sized
from gensar_lite.identifiers.strategies import build_identifiers
from gensar_lite.identifiers.usage import prefix_numbers

HELD_OUT = 0.1  # share of the catalogue that arrives later
NEIGHBOURS = 10
WAYS = ("assigned", "refitted")


def growth_cost(
    embeddings: ItemEmbeddings, categories: np.ndarray, settings: IdentifiersConfig
) -> pd.DataFrame:
    """Hold out `HELD_OUT` of the items, drawn with ``settings.seed``: fit on the others and assign these, or on all.

    Returns ``way, view, level, measure, value``, of the held-out items alone, among the whole catalogue: ``purity``
    (share whose category is their prefix's most frequent one; items of category "" are not asked),
    ``neighbour_recall`` (of ten neighbours by the view's own vectors) and ``unexplained`` (squared norm of the view's
    vectors that the codes up to a level leave over). Raises `ArtifactError` where a prefix has no room for a new item.
    """
    settings = sized(
        settings, len(embeddings.semantic)
    )  # both ways the sizes of the whole catalogue
    held = held_out(len(embeddings.semantic), settings.seed)
    vectors = {view: standardise(getattr(embeddings, view), view) for view in VIEWS}
    near = {view: neighbours(table, NEIGHBOURS, held) for view, table in vectors.items()}
    made = {
        "assigned": grown(embeddings, held, settings),
        "refitted": build_identifiers(embeddings, settings).identifiers,
    }
    rows = []
    for way in WAYS:
        for view in VIEWS:
            codes = made[way].view(view)
            rows += [
                (way, view, depth, "purity", value)
                for depth, value in _purity(codes, categories, held)
            ]
            recall = neighbour_recall(codes, near[view], held)
            rows += [
                (way, view, depth, "neighbour_recall", value)
                for depth, value in enumerate(recall, start=1)
            ]
            left = _left_over(codes, vectors[view], held)
            rows += [(way, view, level, "unexplained", value) for level, value in left]
    return pd.DataFrame(rows, columns=["way", "view", "level", "measure", "value"])


def held_out(num_items: int, seed: int) -> np.ndarray:
    """The items that arrive later, sorted: at least one, and never all."""
    count = min(max(round(HELD_OUT * num_items), 1), num_items - 1)
    return np.sort(np.random.default_rng(seed).permutation(num_items)[:count])


def grown(embeddings: ItemEmbeddings, held: np.ndarray, settings: IdentifiersConfig) -> Identifiers:
    """Identifiers of every item, those of `held` assigned by a quantizer that was fitted without them."""
    known = np.setdiff1d(np.arange(len(embeddings.semantic)), held)
    built = build_identifiers(embeddings.rows(known), settings)
    new = assign(
        embeddings.rows(held), FittedQuantizer.of(built.tensors, settings), built.identifiers
    )
    order = np.argsort(np.concatenate([known, held]), kind="stable")
    views = {v: np.concatenate([built.identifiers.view(v), new.view(v)])[order] for v in VIEWS}
    return replace(built.identifiers, **views).check()


def _purity(
    codes: np.ndarray, categories: np.ndarray, held: np.ndarray
) -> Iterator[tuple[int, float]]:
    known = categories != ""
    asked = held[known[held]]
    if not len(asked):
        return
    label = pd.factorize(categories)[0]
    for depth, prefix in enumerate(prefix_numbers(codes).T, start=1):
        pair = (
            pd.DataFrame({"prefix": prefix[known], "label": label[known]})
            .value_counts()
            .reset_index()
        )
        pair = pair.sort_values(
            ["count", "label"], ascending=[False, True]
        )  # equals: the lower label
        most = pair.drop_duplicates("prefix").set_index("prefix")["label"]
        yield depth, float((most.loc[prefix[asked]].to_numpy() == label[asked]).mean())


def _left_over(
    codes: np.ndarray, vectors: np.ndarray, held: np.ndarray
) -> Iterator[tuple[int, float]]:
    total = ((vectors - vectors.mean(axis=0))[held] ** 2).sum() or np.nan
    for level, residual in enumerate(level_residuals(codes, vectors), start=1):
        yield level, float((residual[held] ** 2).sum() / total)
