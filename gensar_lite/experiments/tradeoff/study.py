"""The trade-off study, cell by cell: what there is to do, what is done, doing it.

In: a run whose data and embeddings stand. Out: ``reports/tradeoff-<name>/cells/<system>-<seed>
.parquet`` and ``targets.parquet``, from which everything else is made (analysis.py, page.py). A
cell counts as done where it was made from the same log with the same settings, on whatever machine.
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError, Corpus, Workspace, replacing, say
from gensar_lite.config import Config, flat
from gensar_lite.experiments.cells import Cell, read_cell, run_cells
from gensar_lite.experiments.recommenders import log_digest
from gensar_lite.experiments.tradeoff.making import SHARED, make_cell
from gensar_lite.experiments.tradeoff.page import write_study
from gensar_lite.experiments.tradeoff.ranks import Court, targets_table
from gensar_lite.experiments.tradeoff.systems import (
    PAPER_SEEDS,
    RIVALS,
    System,
    cell_config,
    seeds_of,
    study_config,
    systems_of,
)
from gensar_lite.training import harmonic_mean

NAMES = {"tour": "shop", "beauty-quick": "beauty"}  # of the reports of presets
# settings that change no rank of a cell
IDLE = ("decoding.batch_size", "training.max_minutes", "training.checkpoint_minutes")


def study_folder(ws: Workspace) -> Path:
    """Where the study of a run is kept."""
    return ws.root / "reports" / f"tradeoff-{NAMES.get(ws.run, ws.run)}"


def plan_cells(
    ws: Workspace, seeds: tuple[int, ...] | None = None, names: tuple[str, ...] = ()
) -> list[tuple[System, int, Cell]]:
    """Every cell of the study, one seed after the other, so that whatever is done first is whole:
    of the systems called `names`, all without.

    The quantizers come in once every strategy has all its seeds: the best of them by validation is
    known then. Raises `ArtifactError` for an unknown name.
    """
    seeds = seeds or seeds_of(ws.config)
    log = log_digest(Corpus.load(ws.require("data")))
    planned = _cells(ws, systems_of(ws.config), seeds, log)
    best = best_strategy(planned)
    if best is not None:
        planned = _cells(ws, systems_of(ws.config, best), seeds, log)
    known = [system.name for system, _, _ in planned]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ArtifactError(
            f"tradeoff: there is no system {unknown[0]!r} to train now. Choose from: "
            f"{', '.join(dict.fromkeys(known))}."
        )
    return [cell for cell in planned if not names or cell[0].name in names]


def _cells(
    ws: Workspace, systems: list[System], seeds: tuple[int, ...], log: str
) -> list[tuple[System, int, Cell]]:
    planned = []
    for seed in seeds:
        for system in systems:
            few = PAPER_SEEDS if system.group == "paper" else len(seeds)
            if seed not in (seeds[:few] if system.seeded else seeds[:1]):
                continue
            made_from = {"log": log, "settings": _settings(ws.config, system, seed)}
            make = functools.partial(_made, ws, system, seed)
            name = f"{system.name}-{seed}"
            path = study_folder(ws) / "cells" / f"{name}.parquet"
            key = {"cell": system.name, "seed": seed}
            planned.append((system, seed, Cell(name, path, made_from, make, key)))
    return planned


def _settings(config: Config, system: System, seed: int) -> dict[str, object]:
    """What a cell depends on: the settings of its stages that differ from the defaults, as text.
    One that a later version adds makes no cell stale."""
    stages = ["embeddings", "evaluation"]
    if system.group != "baseline":
        config = cell_config(config, system, seed)
        stages += ["identifiers", "training", "decoding"]
    elif system.name in RIVALS:  # a transformer among them has the budget of all others
        config = study_config(config)
        stages.append("training")
    usual = flat(Config())
    return {
        key: str(value)
        for key, value in flat(config).items()
        if value != usual[key] and key.split(".")[0] in stages and key not in IDLE
    }


def best_strategy(planned: list[tuple[System, int, Cell]]) -> str | None:
    """The strategy with the highest harmonic mean of both tasks' validation NDCG@10, over its
    seeds; None while a cell is missing."""
    scores: dict[str, list[float]] = {}
    for system, _, cell in planned:
        if system.group != "strategy":
            continue
        table = read_cell(cell)
        if table is None:
            return None
        both = harmonic_mean([*table.attrs["validation"].values()])
        scores.setdefault(system.name, []).append(both)
    return max(scores, key=lambda name: np.mean(scores[name]))


def _made(ws: Workspace, system: System, seed: int) -> pd.DataFrame:
    table = make_cell(ws, _court(ws), system, seed)
    return table.assign(cell=system.name, seed=np.int16(seed))


@functools.lru_cache(maxsize=1)
def _court(ws: Workspace) -> Court:
    """Made once for all cells: BM25 scores thousands of searches for it."""
    return Court.of(Corpus.load(ws.require("data")), ws.config)


def run_study(
    ws: Workspace, seeds: tuple[int, ...] | None = None, names: tuple[str, ...] = ()
) -> Path:
    """Make every missing cell of the study, best strategies' quantizers last, then its report; its
    folder.

    Raises `ArtifactError` where data or embeddings of the run are missing or stale.
    """
    for stage in SHARED:
        ws.require(stage)
    folder = study_folder(ws)
    _write_targets(ws, folder)
    planned = plan_cells(ws, seeds, names)
    run_cells("tradeoff", [cell for _, _, cell in planned])
    if not names:  # the quantizers, now that the best strategy is known
        run_cells("tradeoff", [cell for _, _, cell in plan_cells(ws, seeds)])
    try:
        write_study(folder, ws.config)
    except ArtifactError as problem:  # too few cells for a page: those that there are stay kept
        say(str(problem))
    return folder


def _write_targets(ws: Workspace, folder: Path) -> None:
    """What analyses group targets by; written again only where it changes."""
    table, path = targets_table(_court(ws)), folder / "targets.parquet"
    if path.exists() and pd.read_parquet(path).equals(table):
        return
    with replacing(path) as draft:
        table.to_parquet(draft, index=False)


def plan_lines(ws: Workspace, seeds: tuple[int, ...] | None = None) -> list[str]:
    """What is done and what is not, a line per system, and the minutes that are left by those of
    finished cells of its kind."""
    planned = plan_cells(ws, seeds)
    minutes: dict[str, list[float]] = {}  # by system
    missing: dict[str, int] = {}
    for system, _, cell in planned:
        table = read_cell(cell)
        minutes.setdefault(system.name, [])
        missing.setdefault(system.name, 0)
        if table is None:
            missing[system.name] += 1
        else:
            minutes[system.name].append(table.attrs["minutes"])
    groups = {system.name: system.group for system, _, _ in planned}
    trained = [m for n, ms in minutes.items() if groups[n] != "baseline" for m in ms]
    lines, left = [], 0.0
    for name, done in minutes.items():
        of_kind = done or trained  # a system that never ran costs what the others do
        each = float(np.mean(of_kind)) if of_kind else float("nan")
        left += each * missing[name] if missing[name] else 0.0
        lines.append(
            f"{name:<20}{groups[name]:<12}{len(done)} of {len(done) + missing[name]} done"
            f"{f', {each:.1f} min each' if of_kind else ''}"
        )
    total = sum(missing.values())
    time = "unknown" if np.isnan(left) else f"about {left:.0f} min"
    lines.append(f"{total} of {len(planned)} cells to do, {time} on this many threads")
    if best_strategy(planned) is None:
        lines.append("the quantizers follow once every strategy has its seeds")
    return lines
