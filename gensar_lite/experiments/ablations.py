"""What are prompts and behaviour tokens worth? One model is trained with and without each.

In: a workspace whose data and identifiers are built. Out: ``reports/training-<run>/ablation.json``:
NDCG@10 and Recall@10 of both tasks over the whole catalogue on a sample of **validation** targets.
No stage of the run is touched. This file trains nothing itself.
"""

import functools
import time
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS, ArtifactError, Corpus, Identifiers, Workspace, say
from gensar_lite.config import Config, ConfigError, override
from gensar_lite.decoding import ranking_judge
from gensar_lite.experiments.cells import Cell, about, read_rows, run_cells
from gensar_lite.training import TASK_OF_EVENTS, new_generator
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.stage import new_mixture, start_vectors

VARIANTS: dict[str, dict[str, object]] = {
    "both": {},
    "no prompts": {"training.prompts": False},
    "no behaviour tokens": {"training.behaviour_tokens": False},
    "neither": {"training.prompts": False, "training.behaviour_tokens": False},
}
# short runs: two passes, then one validation on more targets than a training looks at
SHORT: dict[str, object] = {
    "training.epochs": 2,
    "training.eval_every": 2,
    "training.eval_sample": 1000,
    "training.max_minutes": 600.0,
}


def ablate(
    ws: Workspace,
    seeds: tuple[int, ...] = (0,),
    names: tuple[str, ...] = tuple(VARIANTS),
    short: dict[str, object] = SHORT,
) -> pd.DataFrame:
    """Train each of the `VARIANTS` called `names` with each seed; returns `read_ablation`.

    `short` are dotted settings for every cell. A cell that the report holds, made with equal
    settings and inputs, is kept. Raises `ArtifactError` for an unknown variant.
    """
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise ArtifactError(
            f"ablations: there is no {unknown[0]!r}. Choose from: {', '.join(VARIANTS)}."
        )
    config = override(ws.config, short)
    path = ws.root / "reports" / f"training-{ws.run}" / "ablation.json"
    made_from = about(ws, config, "data", "identifiers")
    # read once: all cells learn from the same, even if a stage is rebuilt meanwhile
    corpus = Corpus.load(ws.require("data"))
    identifiers = Identifiers.load(ws.require("identifiers"))
    vectors = start_vectors(ws)
    cells = []
    for seed in seeds:
        for name in names:
            try:
                cell_config = override(config, VARIANTS[name] | {"training.seed": seed})
            except ConfigError as problem:  # a tree has neither
                say(f"ablations: without {name!r}, which these settings do not allow: {problem}")
                continue
            key = {"variant": name, "seed": seed}
            make = functools.partial(_row, key, corpus, identifiers, cell_config, vectors)
            cells.append(Cell(f"{name}, seed {seed}", path, made_from, make, key))
    if not cells:
        raise ArtifactError("ablations: these settings allow none of the variants; see above.")
    run_cells("ablations", cells)
    return read_ablation(path)


def read_ablation(path: Path) -> pd.DataFrame | None:
    """The rows of an ``ablation.json`` in order of `VARIANTS` and seed, None where there is none.

    Columns ``variant, seed, ndcg@10/<task>, recall@10/<task>, num_queries/<task>, minutes``;
    ``attrs["changed"]`` are the settings of every cell that differ from the preset.
    """
    table = read_rows(path)
    if table is None:
        return None
    # files grow in the order in which cells were asked for; people read them in this one
    place = {name: number for number, name in enumerate(VARIANTS)}
    order = table.assign(variant=table["variant"].map(place)).sort_values(["variant", "seed"]).index
    return table.loc[order].reset_index(drop=True)


def _row(
    key: dict[str, object],
    corpus: Corpus,
    identifiers: Identifiers,
    config: Config,
    vectors: np.ndarray | None,
) -> pd.DataFrame:
    """Train one cell in memory; the judge of trainings ranks its sample of validation targets."""
    # minutes are of all that a cell costs, the making of the model included
    started = time.perf_counter()
    settings = config.training
    generator = new_generator(corpus, identifiers, settings, vectors=vectors)
    mixture = new_mixture(generator, settings)
    judge = ranking_judge(config)(generator)
    trainer = Trainer(generator.model, generator.builder, mixture, settings, judge)
    # the curve has one row per epoch; those without a validation have no score
    best = max(trainer.fit(), key=lambda epoch: epoch.get("score", -1.0))
    row = dict(key)
    judged = [task for task in TASKS if f"{TASK_OF_EVENTS[task].name}/ndcg@10" in best]
    for task in judged:
        for metric in ("ndcg@10", "recall@10"):
            row[f"{metric}/{task}"] = round(best[f"{TASK_OF_EVENTS[task].name}/{metric}"], 6)
        # the judge ranks a sample, or all where there are fewer
        num_targets = len(corpus.targets("validation", task))
        row[f"num_queries/{task}"] = min(settings.eval_sample, num_targets)
    row["minutes"] = round((time.perf_counter() - started) / 60, 2)
    return pd.DataFrame([row])
