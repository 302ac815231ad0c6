"""What does growing cost? Items that get identifiers without refitting, against a fit with them.

In: item vectors, categories, settings. Out: a long table of how well held-out items are served both
ways. This file does not know workspaces or reports.
"""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd

from gensar_lite.artifacts import VIEWS, Identifiers, ItemEmbeddings
from gensar_lite.config import IdentifiersConfig
from gensar_lite.embeddings.agreement import neighbours
from gensar_lite.embeddings.fused import standardise
from gensar_lite.identifiers.fitted import FittedQuantizer, assign
from gensar_lite.identifiers.measures import level_residuals, neighbour_recall, prefix_numbers
from gensar_lite.identifiers.room import sized
from gensar_lite.identifiers.stage import build_identifiers

HELD_OUT = 0.1  # share of the catalogue that arrives later
NEIGHBOURS = 10
WAYS = ("assigned", "refitted")


def growth_cost(
    embeddings: ItemEmbeddings, categories: np.ndarray, settings: IdentifiersConfig
) -> pd.DataFrame:
    """Hold out `HELD_OUT` of the items: fit on the others and assign these, or fit on all.

    Returns ``way, view, level, measure, value`` of the held-out items, among the whole catalogue:
    purity            share whose category is their prefix's most frequent one; items of category ""
                      are not asked
    neighbour_recall  of ten neighbours by the view's own vectors
    unexplained       share of the squared norm that the codes up to a level leave over
    ``settings.seed`` draws the items. Raises `ArtifactError` where a prefix has no room for a new
    item.
    """
    # both ways have the sizes of the whole catalogue, and the same late items
    settings = sized(settings, len(embeddings.semantic))
    held = held_out(len(embeddings.semantic), settings.seed)
    vectors = {view: standardise(getattr(embeddings, view), view) for view in VIEWS}
    near = {view: neighbours(table, NEIGHBOURS, held) for view, table in vectors.items()}
    identifiers = {
        "assigned": grown(embeddings, held, settings),
        "refitted": build_identifiers(embeddings, settings).identifiers,
    }
    rows = []
    for way, view in itertools.product(WAYS, VIEWS):
        codes = identifiers[way].view(view)  # (N, L)
        measures = {
            "purity": _purity(codes, categories, held),
            "neighbour_recall": neighbour_recall(codes, near[view], held),
            "unexplained": _left_over(codes, vectors[view], held),
        }
        for measure, values in measures.items():
            rows += [(way, view, level, measure, value) for level, value in enumerate(values, 1)]
    return pd.DataFrame(rows, columns=["way", "view", "level", "measure", "value"])


def held_out(num_items: int, seed: int) -> np.ndarray:
    """The items that arrive later, sorted: at least one, and never all."""
    count = min(max(round(HELD_OUT * num_items), 1), num_items - 1)
    return np.sort(np.random.default_rng(seed).permutation(num_items)[:count])


def grown(embeddings: ItemEmbeddings, held: np.ndarray, settings: IdentifiersConfig) -> Identifiers:
    """Identifiers of every item, those of `held` assigned by a quantizer fitted without them."""
    # the quantizer must not see the held-out items, nor may their scale enter its means
    known = np.setdiff1d(np.arange(len(embeddings.semantic)), held)
    built = build_identifiers(embeddings.rows(known), settings)
    fitted = FittedQuantizer.of(built.tensors, settings)
    assigned = assign(embeddings.rows(held), fitted, built.identifiers)
    # back to the order of the catalogue, in which the row number is the item
    order = np.argsort(np.concatenate([known, held]), kind="stable")
    views = {
        view: np.concatenate([built.identifiers.view(view), assigned.view(view)])[order]
        for view in VIEWS
    }
    return replace(built.identifiers, **views).check()


def _purity(codes: np.ndarray, categories: np.ndarray, held: np.ndarray) -> list[float]:
    """Per depth of the prefix; empty where no held-out item has a category."""
    known = categories != ""
    asked = held[known[held]]
    if not len(asked):
        return []
    label = pd.factorize(categories)[0]  # categories as numbers (N,)
    values = []
    for prefix in prefix_numbers(codes).T:  # (N,) number of each item's prefix
        counts = pd.DataFrame({"prefix": prefix[known], "label": label[known]}).value_counts()
        # the most frequent label first; of equally frequent ones the lowest
        counts = counts.reset_index().sort_values(["count", "label"], ascending=[False, True])
        most = counts.drop_duplicates("prefix").set_index("prefix")["label"]
        values.append(float((most[prefix[asked]].to_numpy() == label[asked]).mean()))
    return values


def _left_over(codes: np.ndarray, vectors: np.ndarray, held: np.ndarray) -> list[float]:
    """Per level: squared norm of the held-out items' residuals, over that of their vectors."""
    # a catalogue of equal vectors has nothing to explain: not a number, rather than a crash
    total = ((vectors - vectors.mean(axis=0))[held] ** 2).sum() or np.nan
    left = [residual[held] for residual in level_residuals(codes, vectors)]
    return [float((residual**2).sum() / total) for residual in left]
