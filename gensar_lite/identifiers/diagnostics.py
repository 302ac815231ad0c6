"""Every diagnostic of a catalogue's identifiers in one long table, and the headline of it.

In: identifiers, the codes before repair, item vectors, the corpus. Out: ``view, level, measure, value``, and plain
numbers for ``meta.json``. This file computes nothing itself, and does not judge: high entropy does not predict good
ranking.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gensar_lite.artifacts import VIEWS, Corpus, Identifiers, ItemEmbeddings
from gensar_lite.embeddings.agreement import neighbours
from gensar_lite.embeddings.fused import standardise
from gensar_lite.identifiers.assignment import collision_rate
from gensar_lite.identifiers.meaning import (
    co_purchase_lift,
    distance_correlation,
    level_information,
    neighbour_recall,
    prefix_purity,
    same_prefix_rate,
    unexplained,
)
from gensar_lite.identifiers.usage import code_imbalance, codebook_usage, prefix_collisions

NEIGHBOURS = 10  # nearest items, of which a prefix may keep some
PAIRS = 20_000  # random pairs of items whose distances are compared
HEADLINE = (
    "purity/leaf",
    "co_purchase_lift",
    "neighbour_recall/semantic",
    "neighbour_recall/collaborative",
)


def diagnose(
    identifiers: Identifiers,
    embeddings: ItemEmbeddings,
    corpus: Corpus,
    before: dict[str, np.ndarray] | None = None,
    sample: int = 500,
    seed: int = 0,
    num_codes: int | None = None,
) -> pd.DataFrame:
    """A long table ``view, level, measure, value``: each measure of each view at each level or depth (from 1).

    Codes alone: ``usage, perplexity, largest, imbalance`` of a level (before repair, where `before` is given) of
    `num_codes` codewords, the identifiers' own number where nothing else is said;
    ``prefixes, collision_rate, collision_rate_before`` of a depth. By category, its top or its whole path (leaf):
    ``purity/.., purity_shuffled/..`` of a depth and ``nmi/..`` of a level. By behaviour: ``co_purchase_lift`` of a
    depth. By each view X of the item vectors: ``neighbour_recall/X`` (of `sample` items) beside ``neighbour_chance``
    of a depth; ``unexplained/X`` and ``distance_correlation/X`` up to a level. What cannot be told is left out.
    """
    rng = np.random.default_rng(seed)
    num_items = len(identifiers.semantic)
    items = np.sort(rng.permutation(num_items)[:sample])
    pairs = rng.integers(num_items, size=(PAIRS, 2))
    pairs, shuffled = pairs[pairs[:, 0] != pairs[:, 1]], rng.permutation(num_items)
    vectors = {
        name: standardise(v, name) for name, v in embeddings.tensors().items() if name != "cold"
    }
    near = {name: neighbours(v, NEIGHBOURS, items) for name, v in vectors.items()}
    tables = []
    for view in VIEWS:
        codes, first = identifiers.view(view), (before or {}).get(view, identifiers.view(view))
        found = _alone(codes, first, num_codes or identifiers.codebook_size) | _by_category(
            codes, corpus.items, shuffled
        )
        found |= {
            "co_purchase_lift": co_purchase_lift(codes, corpus.events),
            "neighbour_chance": same_prefix_rate(codes),
        }
        for name, table in vectors.items():
            found[f"neighbour_recall/{name}"] = neighbour_recall(codes, near[name], items)
            found[f"unexplained/{name}"] = unexplained(codes, table)
            found[f"distance_correlation/{name}"] = distance_correlation(codes, table, pairs)
        tables.append(_long(view, found))
    return pd.concat(tables, ignore_index=True).dropna(ignore_index=True)


def _long(view: str, found: dict[str, np.ndarray]) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "view": view,
                "level": np.arange(1, len(v) + 1),
                "measure": name,
                "value": np.asarray(v, float),
            }
        )
        for name, v in found.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _alone(codes: np.ndarray, before: np.ndarray, codebook_size: int) -> dict[str, np.ndarray]:
    after, usage = prefix_collisions(codes), codebook_usage(before, codebook_size)
    return {
        **{name: usage[name].to_numpy() for name in ("usage", "perplexity", "largest")},
        "imbalance": code_imbalance(before, codebook_size),
        **{name: after[name].to_numpy() for name in ("prefixes", "collision_rate")},
        "collision_rate_before": prefix_collisions(before)["collision_rate"].to_numpy(),
    }


def _by_category(
    codes: np.ndarray, items: pd.DataFrame, shuffled: np.ndarray
) -> dict[str, np.ndarray]:
    """Purity and information by top category and by whole path; items without a category are left out."""
    path = items["category"].fillna("")
    found = {}
    for name, label in (("top", path.str.split(" > ").str[0]), ("leaf", path)):
        known = (label != "").to_numpy()
        if label[known].nunique() < 2:
            continue
        mixed = shuffled[known[shuffled]]  # the same labels, dealt out anew
        labels = label.to_numpy()
        found[f"purity/{name}"] = prefix_purity(codes[known], labels[known])["purity"].to_numpy()
        found[f"purity_shuffled/{name}"] = prefix_purity(codes[known], labels[mixed])[
            "purity"
        ].to_numpy()
        found[f"nmi/{name}"] = level_information(codes[known], labels[known])
    return found


def describe(
    identifiers: Identifiers,
    before: dict[str, np.ndarray],
    table: pd.DataFrame,
    num_codes: int | None = None,
) -> dict[str, object]:
    """The stage's statistics for each view: collisions before and after repair, usage per level, and the headline.

    `table` is `diagnose`'s; of it the `HEADLINE` measures are kept, each a list over depths.
    """
    found: dict[str, object] = {}
    for view in VIEWS:
        mine = table[table["view"] == view]
        found[view] = {
            "collision_rate_before": collision_rate(before[view]),
            "collision_rate_after": collision_rate(identifiers.view(view)),
            "levels": codebook_usage(before[view], num_codes or identifiers.codebook_size)
            .round(4)
            .to_dict("records"),
            **{
                name: mine.loc[mine["measure"] == name, "value"].round(4).tolist()
                for name in HEADLINE
            },
        }
    return found
