"""Every diagnostic of a catalogue's identifiers in one long table, and the headline of it.

In: identifiers, the codes before repair, item vectors, the corpus. Out: ``view, level, measure,
value``, and numbers for ``meta.json``. Nothing is judged: even codes need not rank well.
"""

import numpy as np
import pandas as pd

from gensar_lite.artifacts import VIEWS, Corpus, Identifiers, ItemEmbeddings
from gensar_lite.embeddings.agreement import neighbours
from gensar_lite.embeddings.fused import standardise
from gensar_lite.identifiers import measures as ask

NEIGHBOURS = 10  # nearest items, of which a prefix may keep some
PAIRS = 20_000  # random pairs of items whose distances are compared
HEADLINE = ("purity/leaf", "co_purchase_lift", *(f"neighbour_recall/{view}" for view in VIEWS))


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
        size = num_codes or identifiers.codebook_size
        measures = dict(ask.codebook_usage(fitted, size).drop(columns="level"))
        measures["imbalance"] = ask.code_imbalance(fitted, size)
        measures |= ask.prefix_collisions(codes).drop(columns="depth")
        measures["collision_rate_before"] = ask.prefix_collisions(fitted)["collision_rate"]
        measures |= _by_category(codes, corpus.items, shuffled)
        measures["co_purchase_lift"] = ask.co_purchase_lift(codes, corpus.events)
        measures["neighbour_chance"] = ask.same_prefix_rate(codes)
        for name, x in vectors.items():
            recall = ask.neighbour_recall(codes, near[name], items)
            measures[f"neighbour_recall/{name}"] = recall
            measures[f"unexplained/{name}"] = ask.unexplained(codes, x)
            measures[f"distance_correlation/{name}"] = ask.distance_correlation(codes, x, pairs)
        for measure, values in measures.items():
            level = np.arange(1, len(values) + 1)
            columns = {"view": view, "level": level, "measure": measure}
            parts.append(pd.DataFrame(columns | {"value": np.asarray(values, dtype=float)}))
    return pd.concat(parts, ignore_index=True).dropna(ignore_index=True)


def _by_category(codes: np.ndarray, items: pd.DataFrame, shuffled: np.ndarray) -> dict:
    """Purity and information by top category and by whole path; items without one are left out."""
    path = items["category"].fillna("")
    measures = {}
    for name, label in (("top", path.str.split(" > ").str[0]), ("leaf", path)):
        labels = label.to_numpy()
        known = labels != ""
        if label[known].nunique() < 2:
            continue
        mixed = shuffled[known[shuffled]]  # the same labels, dealt out anew
        for measure, rows in (("purity", known), ("purity_shuffled", mixed)):
            table = ask.prefix_purity(codes[known], labels[rows])
            measures[f"{measure}/{name}"] = table["purity"]
        measures[f"nmi/{name}"] = ask.level_information(codes[known], labels[known])
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
        levels = ask.codebook_usage(before[view], num_codes or identifiers.codebook_size).round(4)
        values = table[table["view"] == view].set_index("measure")["value"].round(4)
        statistics[view] = {
            "collision_rate_before": ask.collision_rate(before[view]),
            "collision_rate_after": ask.collision_rate(identifiers.view(view)),
            "levels": levels.to_dict("records"),
            **{name: values[values.index == name].tolist() for name in HEADLINE},
        }
    return statistics
