"""Every strategy with every quantizer over seeds: diagnostics and the cost of growing, before any generator is trained.

In: a workspace whose embeddings are built. Out: ``reports/identifiers-<run>/``: a small parquet a pair, extended
seed by seed and reused while what it was made from is the same; ``table.csv`` and ``growth.csv``, means and deviations
over seeds; ``index.md`` with its picture. Numbers only, no item's text. This file fits nothing itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError, Corpus, ItemEmbeddings, Workspace
from gensar_lite.config import ConfigError, IdentifiersConfig, section_dict
from gensar_lite.experiments.growth import growth_cost
from gensar_lite.experiments.identifier_page import grid_page, grid_picture
from gensar_lite.identifiers.diagnostics import diagnose
from gensar_lite.identifiers.sizes import sized
from gensar_lite.identifiers.strategies import VALID_PAIRS, build_identifiers, check_pairs

Pair = tuple[str, str]  # strategy, quantizer


def report_folder(ws: Workspace) -> Path:
    """Where the report of this workspace's run lies."""
    return ws.root / "reports" / f"identifiers-{ws.run}"


def compare_identifiers(
    ws: Workspace, seeds: tuple[int, ...] = (0,), pairs: list[Pair] | None = None
) -> pd.DataFrame:
    """Build and diagnose each pair (strategy, quantizer), all valid ones if None, with each seed; write the report.

    Returns ``strategy, quantizer, view, level, measure, mean, std, seeds``, among it ``seconds`` of building (view
    ``both``, level 0). Each dual pair is also asked what growing costs (``growth.csv``). A pair that these embeddings
    do not allow is named with its reason in ``index.md``. Raises `ArtifactError` when the embeddings are missing or
    stale, for an unknown pair, or when no pair could be built.
    """
    chosen = sorted(VALID_PAIRS) if pairs is None else pairs
    check_pairs(chosen)
    folders = {stage: ws.require(stage) for stage in ("data", "embeddings")}
    inputs = {
        stage: ws.meta(stage)["digest"] for stage in folders
    }  # before they are read: a rebuild is noticed
    corpus, embeddings = Corpus.load(folders["data"]), ItemEmbeddings.load(folders["embeddings"])
    categories = corpus.items["category"].fillna("").to_numpy()
    cells, growth, refused = [], [], {}
    for pair in chosen:
        try:
            cells.append(
                _rows(
                    ws,
                    inputs,
                    pair,
                    seeds,
                    "-".join(pair),
                    lambda told: _diagnosed(told, embeddings, corpus),
                )
            )
            if pair[0] == "dual":
                grow = lambda told: growth_cost(embeddings, categories, told)  # noqa: E731
                growth.append(_rows(ws, inputs, pair, seeds, f"growth-{'-'.join(pair)}", grow))
        except (ArtifactError, ConfigError) as problem:
            refused[" + ".join(pair)] = str(problem)
    if not cells:
        raise ArtifactError(f"grid: no pair could be built. {' '.join(refused.values())}")
    table = _summary(cells, ["strategy", "quantizer", "view", "level", "measure"])
    grown = (
        _summary(growth, ["strategy", "quantizer", "way", "view", "level", "measure"])
        if growth
        else None
    )
    settings = sized(ws.config.identifiers, corpus.num_items)
    _write(ws, settings, table, grown, seeds, refused)
    return table


def _diagnosed(
    settings: IdentifiersConfig, embeddings: ItemEmbeddings, corpus: Corpus
) -> pd.DataFrame:
    started = time.perf_counter()
    built = build_identifiers(embeddings, settings)
    seconds = time.perf_counter() - started
    num_codes = built.settings.codebook_size
    table = diagnose(built.identifiers, embeddings, corpus, built.before, num_codes=num_codes)
    table.loc[len(table)] = ["both", 0, "seconds", round(seconds, 3)]
    return table


def _rows(
    ws: Workspace,
    inputs: dict[str, str],
    pair: Pair,
    seeds: tuple[int, ...],
    name: str,
    make: Callable[[IdentifiersConfig], pd.DataFrame],
) -> pd.DataFrame:
    """The rows of `seeds`, from the pair's file where it was made from the same, made and added to it where not."""
    named = {} if pair[1] == "none" else {"quantizer": pair[1]}
    settings = replace(ws.config.identifiers, strategy=pair[0], **named)
    told = {key: value for key, value in section_dict(settings).items() if key != "seed"}
    path = report_folder(ws) / "cells" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = pd.read_parquet(path) if path.exists() else None
    if found is None or found.attrs != {"inputs": inputs, "settings": told}:
        found = pd.DataFrame()
    for seed in seeds:
        if len(found) and (found["seed"] == seed).any():
            continue
        new = make(replace(settings, seed=seed)).assign(
            strategy=pair[0], quantizer=pair[1], seed=seed
        )
        found = pd.concat(
            [found, new.assign(value=new["value"].astype(np.float32))], ignore_index=True
        )
        found.attrs = {"inputs": inputs, "settings": told}  # pandas keeps it in the file's metadata
        half = path.with_suffix(".part")
        found.to_parquet(half, index=False)
        os.replace(half, path)
    return found[found["seed"].isin(seeds)]


def _summary(parts: list[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Mean and standard deviation (0 for one seed) over the seeds of each pair, in the order they came."""
    rows = pd.concat([part.astype({"value": float}) for part in parts], ignore_index=True)
    found = rows.groupby(keys, sort=False)["value"].agg(["mean", lambda v: v.std(ddof=0), "size"])
    return found.set_axis(["mean", "std", "seeds"], axis=1).reset_index()


def _write(
    ws: Workspace,
    settings: IdentifiersConfig,
    table: pd.DataFrame,
    grown: pd.DataFrame | None,
    seeds: tuple[int, ...],
    refused: dict[str, str],
) -> None:
    folder = report_folder(ws)
    table.round(5).to_csv(folder / "table.csv", index=False)
    if grown is not None:
        grown.round(5).to_csv(folder / "growth.csv", index=False)
    png, alt = grid_picture(table)
    (folder / "grid.png").write_bytes(png)
    page = grid_page(ws.run, settings, table, grown, seeds, refused, alt)
    (folder / "index.md").write_text(page, encoding="utf-8")
