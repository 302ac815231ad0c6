"""What prompts and behaviour tokens are worth: the same model is trained with and without them, over several seeds.

In: a workspace whose data and identifiers are built. Out: ``reports/training-<run>/ablation.json``: NDCG@10 and
Recall@10 of both tasks over the whole catalogue on a sample of **validation** targets, one row a variant and seed.
Nothing is decoded to disk and no stage of the run is touched. This file trains nothing itself.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd

from gensar_lite.artifacts import TASKS, ArtifactError, Corpus, Identifiers, Workspace, write_json
from gensar_lite.config import Config, changed_settings, override
from gensar_lite.decoding import ranking_judge
from gensar_lite.training import TASK_OF_EVENTS, new_generator
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.stage import new_mixture

VARIANTS: dict[str, dict[str, object]] = {
    "both": {},
    "no prompts": {"training.prompts": False},
    "no behaviour tokens": {"training.behaviour_tokens": False},
    "neither": {"training.prompts": False, "training.behaviour_tokens": False},
}
# short runs: two passes, then one validation on more targets than a training looks at
SHORT = {
    "training.epochs": 2,
    "training.eval_every": 2,
    "training.eval_sample": 1000,
    "training.max_minutes": 600.0,
}


def ablate(
    ws: Workspace,
    seeds: tuple[int, ...] = (0,),
    names: tuple[str, ...] = tuple(VARIANTS),
    short: dict | None = None,
) -> pd.DataFrame:
    """Train each of `VARIANTS` called `names` with each seed; write and return the table, as `read_ablation` does.

    `short` are dotted settings for every cell, `SHORT` by default. A cell that stands in the report already, made
    with the same settings, corpus and identifiers, is kept. Raises `ArtifactError` for an unknown variant.
    """
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise ArtifactError(
            f"ablation: there is no {unknown[0]!r}. Choose from: {', '.join(VARIANTS)}."
        )
    path = ws.root / "reports" / f"training-{ws.run}" / "ablation.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    config = override(ws.config, SHORT if short is None else short)
    base, changed = changed_settings(config)
    inputs = {
        stage: ws.meta(stage)["digest"] for stage in ("data", "identifiers") if ws.require(stage)
    }
    told = {
        "run": ws.run,
        "preset": base,
        "changed": changed,
        "split": "validation",
        "inputs": inputs,
        "rows": [],
    }
    rows = _kept(path, told)
    for seed in seeds:
        for name in names:
            if not any((row["variant"], row["seed"]) == (name, seed) for row in rows):
                cell = override(config, VARIANTS[name] | {"training.seed": seed})
                row = {"variant": name, "seed": seed} | _row(ws, cell)
                if inputs != {
                    stage: ws.meta(stage)["digest"] for stage in inputs if ws.require(stage)
                }:
                    raise ArtifactError(
                        "ablation: data or identifiers were rebuilt meanwhile. Run it again."
                    )
                rows.append(row)
                write_json(
                    path, told | {"rows": rows}
                )  # what is done is kept when the rest is killed
    return read_ablation(path)


def read_ablation(path: Path) -> pd.DataFrame | None:
    """The rows of an ``ablation.json`` in order of `VARIANTS` and seed, or None where there is none.

    Columns ``variant, seed, ndcg@10/<task>, recall@10/<task>, num_queries/<task>, minutes``; ``attrs["changed"]`` are
    the settings of every cell that differ from the preset.
    """
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    table = pd.DataFrame(found["rows"])
    place = table["variant"].map(list(VARIANTS).index)
    table = (
        table.assign(place=place)
        .sort_values(["place", "seed"], ignore_index=True)
        .drop(columns="place")
    )
    table.attrs["changed"] = found["changed"]
    return table


def _kept(path: Path, told: dict) -> list[dict]:
    """Rows of an earlier report that was made of the same things."""
    found = json.loads(path.read_text()) if path.exists() else {}
    same = all(found.get(key) == value for key, value in told.items() if key != "rows")
    return found["rows"] if same else []


def _row(ws: Workspace, config: Config) -> dict:
    """Train one cell in memory and let the judge of trainings rank its validation sample."""
    corpus, identifiers = (
        Corpus.load(ws.require("data")),
        Identifiers.load(ws.require("identifiers")),
    )
    settings, started = config.training, time.perf_counter()
    generator = new_generator(corpus, identifiers, settings)
    judge = ranking_judge(config)(generator)
    curve = Trainer(
        generator.model, generator.builder, new_mixture(generator, settings), settings, judge
    ).fit()
    best, row = max(curve, key=lambda epoch: epoch.get("score", -1.0)), {}
    for task in TASKS:
        for metric in ("ndcg@10", "recall@10"):
            row[f"{metric}/{task}"] = round(best[f"{TASK_OF_EVENTS[task].name}/{metric}"], 6)
        row[f"num_queries/{task}"] = min(
            settings.eval_sample, len(corpus.targets("validation", task))
        )
    return row | {"minutes": round((time.perf_counter() - started) / 60, 2)}
