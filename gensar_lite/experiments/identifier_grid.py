"""How do strategies and quantizers compare by their codes alone, before a generator is trained?

In: a workspace whose embeddings are built. Out: ``reports/identifiers-<run>/``: one small parquet
per pair of strategy and quantizer in ``cells/``, extended seed by seed; ``table.csv`` and
``growth.csv``, means and deviations over seeds; ``index.md`` with its picture. Numbers only, no
item's text. This file fits nothing itself.
"""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError, Corpus, ItemEmbeddings, Workspace
from gensar_lite.config import VALID_PAIRS, IdentifiersConfig, check_pairs, section_dict
from gensar_lite.experiments.cells import Cell, input_digests, run_cells
from gensar_lite.experiments.growth import growth_cost
from gensar_lite.experiments.identifier_page import PAIR, write_grid
from gensar_lite.identifiers.diagnostics import diagnose
from gensar_lite.identifiers.room import sized
from gensar_lite.identifiers.stage import build_identifiers

Pair = tuple[str, str]  # strategy, quantizer
Measure = Callable[[IdentifiersConfig], pd.DataFrame]  # a long table with a column "value"
GROWTH = "growth-"  # what the names of cells begin with that tell the cost of growing


def report_folder(ws: Workspace) -> Path:
    """Where the report of this workspace's run lies."""
    return ws.root / "reports" / f"identifiers-{ws.run}"


def pair_settings(pair: Pair) -> dict[str, str]:
    """The settings of the identifiers that a pair means."""
    strategy, quantizer = pair
    # the control has no quantizer, the settings always name one
    return {"strategy": strategy} | ({} if quantizer == "none" else {"quantizer": quantizer})


def compare_identifiers(
    ws: Workspace, seeds: tuple[int, ...] = (0,), pairs: Sequence[Pair] | None = None
) -> pd.DataFrame:
    """Build and diagnose each pair, all valid ones if None, with each seed; write the report.

    Returns ``strategy, quantizer, view, level, measure, mean, std, seeds``, among it ``seconds`` of
    building (view ``both``, level 0). Each dual pair is also asked what growing costs. A pair that
    these embeddings do not allow is named with its reason in ``index.md``. Raises `ArtifactError`
    when embeddings are missing or stale, for an unknown pair, or when no pair could be built.
    """
    pairs = sorted(VALID_PAIRS) if pairs is None else pairs
    check_pairs(pairs)
    # digests come before the reading: if a stage is rebuilt in between, cells are made again
    inputs = input_digests(ws, "data", "embeddings")
    corpus = Corpus.load(ws.require("data"))
    embeddings = ItemEmbeddings.load(ws.require("embeddings"))
    categories = corpus.items["category"].fillna("").to_numpy()
    diagnosed = functools.partial(_diagnosed, embeddings=embeddings, corpus=corpus)
    grown = functools.partial(growth_cost, embeddings, categories)

    # one group of cells per pair and kind: diagnoses, and for dual pairs the cost of growing
    groups: dict[tuple[str, Pair], list[Cell]] = {}
    for pair in pairs:
        groups["", pair] = _cells(ws, inputs, "", pair, seeds, diagnosed)
        if pair[0] == "dual":
            groups[GROWTH, pair] = _cells(ws, inputs, GROWTH, pair, seeds, grown)
    cells = [cell for group in groups.values() for cell in group]
    # pairs that these embeddings do not allow end nothing
    results, reasons = run_cells("identifiers", cells, go_on=True)

    # a pair counts when every seed of it could be built; else the first reason stands in the page
    tables: dict[str, list[pd.DataFrame]] = {"": [], GROWTH: []}
    refused: dict[str, str] = {}
    for (kind, pair), group in groups.items():
        problems = [reasons[cell.name] for cell in group if cell.name in reasons]
        if problems:
            refused.setdefault(" + ".join(pair), problems[0])
        else:
            tables[kind] += [results[cell.name] for cell in group]
    if not tables[""]:
        raise ArtifactError(f"identifiers: no pair could be built. {' '.join(refused.values())}")
    table = _over_seeds(tables[""], [*PAIR, "view", "level", "measure"])
    growth = None
    if tables[GROWTH]:
        growth = _over_seeds(tables[GROWTH], [*PAIR, "way", "view", "level", "measure"])
    settings = sized(ws.config.identifiers, corpus.num_items)
    write_grid(report_folder(ws), ws.run, settings, table, growth, seeds, refused)
    return table


def _cells(
    ws: Workspace,
    inputs: dict[str, str],
    kind: str,
    pair: Pair,
    seeds: tuple[int, ...],
    measure: Measure,
) -> list[Cell]:
    """One cell per seed; all of a pair lie in one file and differ in the seed alone."""
    settings = replace(ws.config.identifiers, **pair_settings(pair))
    # the seed is no part of the record: a pair's file holds several
    shared = {name: value for name, value in section_dict(settings).items() if name != "seed"}
    name = kind + "-".join(pair)
    path = report_folder(ws) / "cells" / f"{name}.parquet"
    made_from = {"inputs": inputs, "settings": shared}
    cells = []
    for seed in seeds:
        make = functools.partial(_labelled, measure, replace(settings, seed=seed), pair)
        key = {"seed": seed}
        cells.append(Cell(f"{name}, seed {seed}", path, made_from, make, key, "identifiers"))
    return cells


def _labelled(measure: Measure, settings: IdentifiersConfig, pair: Pair) -> pd.DataFrame:
    """What `measure` says of these settings, small (float32) and with the names of the cell."""
    names = dict(zip(PAIR, pair, strict=True))
    return measure(settings).assign(**names, seed=settings.seed).astype({"value": np.float32})


def _diagnosed(
    settings: IdentifiersConfig, embeddings: ItemEmbeddings, corpus: Corpus
) -> pd.DataFrame:
    started = time.perf_counter()
    built = build_identifiers(embeddings, settings)
    seconds = time.perf_counter() - started
    num_codes = built.settings.codebook_size
    table = diagnose(built.identifiers, embeddings, corpus, built.before, num_codes=num_codes)
    # one more row, so that seconds are averaged over seeds like every measure
    table.loc[len(table)] = ["both", 0, "seconds", round(seconds, 3)]
    return table


def _over_seeds(tables: list[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Mean and standard deviation (0 for one seed) per key, in the order they came."""
    # means in float64: float32 is how cells are stored
    rows = pd.concat(tables, ignore_index=True).astype({"value": float})
    means = rows.groupby(keys, sort=False)["value"].agg(["mean", lambda v: v.std(ddof=0), "size"])
    return means.set_axis(["mean", "std", "seeds"], axis=1).reset_index()
