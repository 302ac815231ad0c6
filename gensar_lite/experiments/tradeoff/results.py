"""The kept cells of a trade-off study as arrays, and the metrics that follow from ranks.

In: the folder of a study. Out: per system and task the ranks of all its seeds. Nothing here needs
the run that made the cells: a clone of the repository can do all of it. This file compares nothing.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import Config
from gensar_lite.evaluation.protocols import ALL_RELEVANT, FULL
from gensar_lite.experiments.cells import read_rows
from gensar_lite.experiments.tradeoff.ranks import GRADED_DEPTH, GRADED_UNIT, NOT_ASKED
from gensar_lite.experiments.tradeoff.systems import systems_of
from gensar_lite.metrics import ndcg_at, recall_at, reciprocal_rank

SAMPLED = {"recommend": "random-99", "search": "bm25-99"}  # protocols beside the whole catalogue
METRICS = ("recall@5", "ndcg@5", "recall@10", "ndcg@10", "recall@20", "ndcg@20", "mrr")


class Outcome(NamedTuple):
    """One system on the n targets of one task, S seeds (one where no seed changes it).

    cell, group    the cell that made it, and its group of systems (systems.py)
    ranks          (S, n) from 1, 0 below the lists' depth; `sampled` the same among candidates,
                   `NOT_ASKED` where a target is not in the sample
    graded         (S, n) NDCG@10 against all relevant items, in `GRADED_UNIT`; `NOT_ASKED`: none
    """

    system: str
    task: str
    cell: str
    group: str
    seeds: tuple[int, ...]
    ranks: np.ndarray
    sampled: np.ndarray
    graded: np.ndarray


class Study(NamedTuple):
    """All outcomes by (system, task), in the order of tables; targets by task; facts of cells.

    cells  cell -> ``{"group", "seeds", "minutes" (a seed), "validation" (task -> NDCG@10)}``
    """

    targets: dict[str, pd.DataFrame]
    outcomes: dict[tuple[str, str], Outcome]
    cells: dict[str, dict[str, object]]

    def systems(self, task: str) -> list[str]:
        """Of a task, in order."""
        return [name for name, of in self.outcomes if of == task]


def load_study(folder: Path, config: Config) -> Study:
    """Every cell in ``folder/cells``; `config` are the settings of the study's run, for the order
    and the groups of systems.

    Raises `ArtifactError` where there is no cell, or cells were made from different logs.
    """
    paths = sorted((folder / "cells").glob("*.parquet"))
    if not paths or not (folder / "targets.parquet").exists():
        raise ArtifactError(
            f"tradeoff: {folder} holds no finished cell. Run gensar study tradeoff first."
        )
    tables = [read_rows(path) for path in paths]
    logs = {table.attrs["log"] for table in tables}
    if len(logs) > 1:
        raise ArtifactError(
            f"tradeoff: the cells in {folder} were made from {len(logs)} different logs. Delete "
            "those that are old, or run gensar study tradeoff again."
        )
    targets = pd.read_parquet(folder / "targets.parquet")
    by_task = {str(task): part for task, part in targets.groupby("task", sort=False)}
    groups = {system.name: system.group for system in systems_of(config)}
    order = list(groups)

    def place(table: pd.DataFrame) -> tuple[int, int]:
        cell = table["cell"].iloc[0]
        return order.index(cell) if cell in order else len(order), int(table["seed"].iloc[0])

    tables.sort(key=place)
    cells: dict[str, dict[str, object]] = {}
    parts: dict[tuple[str, str, str], list[tuple[int, pd.DataFrame]]] = {}
    for table in tables:
        cell, seed = table["cell"].iloc[0], int(table["seed"].iloc[0])
        facts = cells.setdefault(cell, {"group": groups.get(cell, "quantizer"), "seeds": []})
        facts["seeds"].append(seed)
        facts.setdefault("minutes", []).append(table.attrs["minutes"])
        if "validation" in table.attrs:
            facts.setdefault("validation", []).append(table.attrs["validation"])
        for (system, task), rows in table.groupby(["system", "task"], sort=False):
            parts.setdefault((cell, str(system), str(task)), []).append((seed, rows))
    outcomes = {
        (system, task): _outcome(system, task, cell, cells[cell]["group"], rows, by_task[task])
        for (cell, system, task), rows in parts.items()
    }
    return Study(by_task, outcomes, {name: _means(facts) for name, facts in cells.items()})


def _outcome(
    system: str,
    task: str,
    cell: str,
    group: str,
    rows: list[tuple[int, pd.DataFrame]],
    targets: pd.DataFrame,
) -> Outcome:
    if any(len(table) != len(targets) for _, table in rows):
        raise ArtifactError(
            f"tradeoff: {cell} ranks {len(rows[0][1])} targets of {task}, the study has "
            f"{len(targets)}. Delete its cells and run gensar study tradeoff again."
        )
    columns = ("rank", "sampled_rank", "graded")
    arrays = (np.stack([table[column].to_numpy() for _, table in rows]) for column in columns)
    return Outcome(system, task, cell, group, tuple(seed for seed, _ in rows), *arrays)


def _means(facts: dict[str, object]) -> dict[str, object]:
    """The facts of a cell over its seeds."""
    means = {**facts, "minutes": round(float(np.mean(facts["minutes"])), 2)}
    if "validation" in facts:
        tasks = facts["validation"][0]
        means["validation"] = {
            task: float(np.mean([values[task] for values in facts["validation"]])) for task in tasks
        }
    return means


def values(outcome: Outcome, metric: str, protocol: str = FULL) -> np.ndarray:
    """(S, n) of one metric of `METRICS`; of the sampled protocol (S, m), its m targets only.

    Raises `KeyError` for what the outcome does not hold.
    """
    if protocol == ALL_RELEVANT:
        if metric != f"ndcg@{GRADED_DEPTH}" or (outcome.graded == NOT_ASKED).any():
            raise KeyError(f"{outcome.system} {outcome.task}: no {metric} under {protocol}")
        return outcome.graded / GRADED_UNIT
    ranks = outcome.ranks
    if protocol != FULL:
        ranks = outcome.sampled[:, outcome.sampled[0] != NOT_ASKED]
    name, _, depth = metric.partition("@")
    of_ranks = {"recall": recall_at, "ndcg": ndcg_at}
    return reciprocal_rank(ranks) if name == "mrr" else of_ranks[name](ranks, int(depth))
