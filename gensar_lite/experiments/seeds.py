"""How much a run's numbers move with the training seed, and whether its lead holds over seeds.

In: a run whose stages up to identifiers stand, seeds. Out, in ``reports/<run>/seeds.json``: means
over seeds of every system that is trained, with intervals over queries, each seed's own means,
search inside groups of queries, and paired differences to every other system. Each seed is a run of
its own, ``<run>-<seed>``, trained, decoded and evaluated on copies of the run's earlier stages.
This file computes no metric.
"""

from itertools import product

import pandas as pd

from gensar_lite.artifacts import ArtifactError, Corpus, Workspace, say, write_json
from gensar_lite.config import override
from gensar_lite.decoding import decode
from gensar_lite.decoding.channel import SYSTEM
from gensar_lite.decoding.stage import ranking_judge
from gensar_lite.evaluation import evaluate
from gensar_lite.evaluation.protocols import FULL
from gensar_lite.evaluation.scores import summary, values_of
from gensar_lite.evaluation.stage import kinds_of_queries
from gensar_lite.evaluation.uncertainty import paired_difference
from gensar_lite.experiments.cells import cell_workspace
from gensar_lite.training import train

TRAINED = ("joint", SYSTEM)  # systems that a seed changes
SHARED = ("data", "embeddings", "identifiers")  # stages that all seeds read
HEADLINE = {"recommend": "recall@10", "search": "ndcg@10"}  # of the paired differences
KEY = ["system", "protocol", "task", "metric", "event_id"]


def compare_seeds(ws: Workspace, seeds: tuple[int, ...]) -> dict[str, object]:
    """Train, decode and evaluate the run with each training seed that is missing; returns and
    writes the record.

    Raises `ArtifactError` where a shared stage of the run is missing or stale.
    """
    for stage in SHARED:
        ws.require(stage)
    scores = {seed: _scores_of(ws, seed) for seed in seeds}
    corpus = Corpus.load(ws.require("data"))
    record = {"run": ws.run, "seeds": list(seeds), **_record(scores, corpus, ws)}
    write_json(ws.root / "reports" / ws.run / "seeds.json", record)
    return record


def _scores_of(ws: Workspace, seed: int) -> pd.DataFrame:
    """The scores per query of one seed: of the run itself where it has that seed, else of its own
    run, made where it is missing."""
    own = ws
    if seed != ws.config.training.seed:
        config = override(ws.config, {"training.seed": seed})
        own = cell_workspace(ws, config, f"{ws.run}-{seed}", SHARED)
    say(f"seeds: {own.run}")
    train(own, ranking_judge(own.config))
    decode(own)
    evaluate(own)
    return pd.read_parquet(own.folder("evaluation") / "scores.parquet")


def _record(scores: dict[int, pd.DataFrame], corpus: Corpus, ws: Workspace) -> dict[str, object]:
    """Rows over seeds, groups of queries, differences, and the means of each seed."""
    mean = mean_over_seeds(list(scores.values()))
    settings, seeds = ws.config.evaluation, tuple(scores)
    rows = summary(mean, settings, seeds)
    for row in rows:
        if row["system"] not in TRAINED:
            row["seeds"] = []  # nothing of it was drawn
    groups = kinds_of_queries(mean, corpus, ws.config)
    per_seed = [
        {"seed": seed, **dict(zip(KEY[:-1], key, strict=True)), "value": float(value)}
        for seed, table in scores.items()
        for key, value in table[table["system"].isin(TRAINED)]
        .groupby(KEY[:-1], observed=True)["value"]
        .mean()
        .items()
    ]
    return {"rows": rows, "groups": groups, "differences": _leads(mean, ws), "per_seed": per_seed}


def mean_over_seeds(scores: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of scores per query, each the mean over tables. Raises `ArtifactError` where they
    do not hold the same queries and systems."""
    first, *others = (table.astype(dict.fromkeys(KEY[:4], str)) for table in scores)
    total = first.set_index(KEY)["value"].sort_index()
    for table in others:
        values = table.set_index(KEY)["value"].sort_index()
        if not values.index.equals(total.index):
            raise ArtifactError(
                "seeds: two runs were evaluated on other queries or systems. Delete the evaluation "
                "folders of this study's runs and run it again."
            )
        total = total + values
    return (total / len(scores)).reset_index()


def _leads(mean: pd.DataFrame, ws: Workspace) -> list[dict[str, object]]:
    """Each trained system less every other one, query by query, full catalogue."""
    settings, rows = ws.config.evaluation, []
    draws = (settings.num_bootstrap, settings.confidence, settings.seed)
    part = mean[mean["protocol"] == FULL]
    for task, metric in HEADLINE.items():
        here = part[(part["task"] == task) & (part["metric"] == metric)]
        systems = sorted(here["system"].unique())
        for system, other in product(TRAINED, systems):
            if system == other or system not in systems:
                continue
            pair = (values_of(here, name, task, metric) for name in (system, other))
            names = {"task": task, "metric": metric, "system": system, "other": other}
            rows.append(names | paired_difference(*pair, *draws)._asdict())
    return rows
