"""Every diagnostic of a catalogue's identifiers in one long table, and the headline of it.

In: identifiers, the codes before repair, item vectors, the corpus. Out: ``view, level, measure,
value``, and plain numbers for ``meta.json``. This file computes nothing itself, and does not judge:
high entropy does not predict good ranking.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gensar_lite.artifacts import VIEWS, Corpus, Identifiers, ItemEmbeddings
from gensar_lite.embeddings.agreement import neighbours
from gensar_lite.embeddings.fused import standardise
from gensar_lite.identifiers.meaning import (
    co_purchase_lift,
    distance_correlation,
    level_information,
    neighbour_recall,
    prefix_purity,
    same_prefix_rate,
    unexplained,
)
from gensar_lite.identifiers.usage import (
    code_imbalance,
    codebook_usage,
    collision_rate,
    prefix_collisions,
)

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
    """A long table ``view, level, measure, value``: each measure at each level or depth (from 1).

    Codes alone: ``usage, perplexity, largest, imbalance`` of a level (of the codes `before` repair,
    where they are given, and of `num_codes` codewords, by default as many as identifiers have);
    ``prefixes, collision_rate, collision_rate_before`` of a depth. By category, its top or its
    whole path (leaf): ``purity/.., purity_shuffled/..`` of a depth and ``nmi/..`` of a level. By
    behaviour: ``co_purchase_lift`` of a depth. By each view X of the item vectors:
    ``neighbour_recall/X`` (of `sample` items) beside ``neighbour_chance`` of a depth;
    ``unexplained/X`` and ``distance_correlation/X`` up to a level. What is unknown is left out.
    """
    rng = np.random.default_rng(seed)
    num_items = len(identifiers.semantic)
    items = np.sort(rng.permutation(num_items)[:sample])
    pairs = rng.integers(num_items, size=(PAIRS, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    shuffled = rng.permutation(num_items)
    tables = embeddings.tensors()
    vectors = {name: standardise(v, name) for name, v in tables.items() if name != "cold"}
    near = {name: neighbours(v, NEIGHBOURS, items) for name, v in vectors.items()}
    parts = []
    for view in VIEWS:
        codes = identifiers.view(view)
        fitted = codes if before is None else before[view]
        measures = _alone(codes, fitted, num_codes or identifiers.codebook_size)
        measures |= _by_category(codes, corpus.items, shuffled)
        measures["co_purchase_lift"] = co_purchase_lift(codes, corpus.events)
        measures["neighbour_chance"] = same_prefix_rate(codes)
        for name, table in vectors.items():
            measures[f"neighbour_recall/{name}"] = neighbour_recall(codes, near[name], items)
            measures[f"unexplained/{name}"] = unexplained(codes, table)
            measures[f"distance_correlation/{name}"] = distance_correlation(codes, table, pairs)
        for measure, values in measures.items():
            level = np.arange(1, len(values) + 1)
            columns = {"view": view, "level": level, "measure": measure}
            parts.append(pd.DataFrame(columns | {"value": np.asarray(values, dtype=float)}))
    return pd.concat(parts, ignore_index=True).dropna(ignore_index=True)


def _alone(codes: np.ndarray, before: np.ndarray, codebook_size: int) -> dict[str, np.ndarray]:
    after = prefix_collisions(codes)
    usage = codebook_usage(before, codebook_size)
    return {
        **{name: usage[name].to_numpy() for name in ("usage", "perplexity", "largest")},
        "imbalance": code_imbalance(before, codebook_size),
        **{name: after[name].to_numpy() for name in ("prefixes", "collision_rate")},
        "collision_rate_before": prefix_collisions(before)["collision_rate"].to_numpy(),
    }


def _by_category(
    codes: np.ndarray, items: pd.DataFrame, shuffled: np.ndarray
) -> dict[str, np.ndarray]:
    """Purity and information by top category and by whole path; items without one are left out."""
    path = items["category"].fillna("")
    measures = {}
    for name, label in (("top", path.str.split(" > ").str[0]), ("leaf", path)):
        labels = label.to_numpy()
        known = labels != ""
        if label[known].nunique() < 2:
            continue
        mixed = shuffled[known[shuffled]]  # the same labels, dealt out anew
        by_chance = prefix_purity(codes[known], labels[mixed])
        measures[f"purity/{name}"] = prefix_purity(codes[known], labels[known])["purity"]
        measures[f"purity_shuffled/{name}"] = by_chance["purity"]
        measures[f"nmi/{name}"] = level_information(codes[known], labels[known])
    return measures


def describe(
    identifiers: Identifiers,
    before: dict[str, np.ndarray],
    table: pd.DataFrame,
    num_codes: int | None = None,
) -> dict[str, object]:
    """Statistics of each view: collisions before and after repair, usage per level, the headline.

    `table` is `diagnose`'s; of it the `HEADLINE` measures are kept, each a list over depths.
    """
    statistics: dict[str, object] = {}
    for view in VIEWS:
        usage = codebook_usage(before[view], num_codes or identifiers.codebook_size).round(4)
        statistics[view] = {
            "collision_rate_before": collision_rate(before[view]),
            "collision_rate_after": collision_rate(identifiers.view(view)),
            "levels": usage.to_dict("records"),
        }
        values = table[table["view"] == view].set_index("measure")["value"].round(4)
        for name in HEADLINE:
            statistics[view][name] = values[values.index == name].tolist()
    return statistics
