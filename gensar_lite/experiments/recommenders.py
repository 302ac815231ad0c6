"""Recommenders without a generator, over several seeds: the figures that a joint model has to beat.

In: a preset whose source has recommendation events, seeds, collaborative models by name. Out: one small parquet a
cell (model x seed: the rank of every test target), written as soon as the cell is done, and ``metrics.json`` with the
mean over seeds and its interval over queries. A finished cell is reused. This file trains nothing itself.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError, Corpus, Workspace, write_json
from gensar_lite.config import override, section_dict
from gensar_lite.data import left_out, prepare
from gensar_lite.embeddings import embed, load_ranker
from gensar_lite.evaluation.baselines import Popularity, Scorer, top_k_run
from gensar_lite.evaluation.runs import to_matrix
from gensar_lite.evaluation.scores import SCORE_COLUMNS, join_scores, summary
from gensar_lite.evaluation.tuning import counting_systems
from gensar_lite.metrics import rank_metrics, rank_of_target

MODELS: dict[str, dict[str, object]] = {
    "sasrec-ce": {"embeddings.loss": "ce"},
    "sasrec-bce": {"embeddings.loss": "bce"},
    "sasrec-bpr": {"embeddings.loss": "bpr"},
    "svd": {"embeddings.collaborative": "svd"},
}


def compare_baselines(ws: Workspace, model: str, seeds: tuple[int, ...]) -> list[dict]:
    """Train `model` on each seed, rank the test targets over the whole catalogue, add it to ``reports/baselines/``.

    Returns the rows of ``metrics.json`` (every model so far; popularity and what only counts beside them), as in the
    reports of a run; what was chosen for the latter stands in ``tuned.json``.
    Raises `ArtifactError` that lists the models for an unknown name.
    """
    if model not in MODELS:
        raise ArtifactError(
            f"baselines: there is no {model!r}. Choose one of: {', '.join(MODELS)}."
        )
    folder = ws.root / "reports" / "baselines" / ws.run
    folder.mkdir(parents=True, exist_ok=True)
    prepare(ws)
    corpus = Corpus.load(ws.require("data"))
    for seed in seeds:
        _cell(ws, model, seed, folder, log_digest(corpus))
    metrics = _summary(corpus, folder, ws)
    write_json(folder / "metrics.json", metrics)
    return metrics


def log_digest(corpus: Corpus) -> str:
    """A digest of what these models read, and of the rule that their lists follow: who took what when, by which task
    and in which split. The texts of queries may change beside it."""
    table = corpus.events[["user_id", "time", "item_id", "task", "split"]].to_csv(index=False)
    return hashlib.sha256(f"{corpus.exclude_seen}\n{table}".encode()).hexdigest()[:16]


def _cell(ws: Workspace, model: str, seed: int, folder: Path, log: str) -> None:
    config = override(ws.config, MODELS[model] | {"embeddings.seed": seed})
    made_with = {"log": log, "settings": section_dict(config.embeddings)}
    path = folder / f"{model}-{seed}.json"
    if path.exists():
        found = json.loads(path.read_text())
        if {key: found.get(key) for key in made_with} == made_with:
            return
    own = Workspace(ws.root, config, f"baselines-{ws.run}-{model}-{seed}")
    prepare(own)
    started = time.perf_counter()
    embed(own)
    minutes = (time.perf_counter() - started) / 60
    corpus = Corpus.load(own.require("data"))
    _, ranker = load_ranker(own, corpus)
    ranks = _ranks(ranker, corpus, config.decoding.top_k)
    ranks.to_parquet(folder / f"{model}-{seed}.parquet", index=False)
    write_json(path, made_with | {"stage_minutes": round(minutes, 2)} | _learning(own))


def _learning(ws: Workspace) -> dict[str, object]:
    """The best epoch by validation, the minutes and the curve, where something was trained."""
    path = ws.folder("embeddings") / "sasrec_curve.parquet"
    if not path.exists():
        return {}
    curve = pd.read_parquet(path)
    best = curve.loc[curve["ndcg@10"].idxmax()]
    return {
        "best_epoch": int(best["epoch"]),
        "validation": {key: float(best[key]) for key in ("recall@10", "ndcg@10")},
        "training_minutes": round(float(curve["seconds"].iloc[-1]) / 60, 2),
        "curve": json.loads(curve.to_json(orient="records", double_precision=6)),
    }


def _ranks(scorer: Scorer, corpus: Corpus, depth: int) -> pd.DataFrame:
    """``rank`` of every test recommendation target, in the order of events, 0 below `depth`; the log's rule about seen
    items holds."""
    targets = corpus.targets("test", "recommend")
    run = top_k_run(scorer, targets, depth, left_out(corpus))
    events = targets["event_id"].to_numpy()
    rank = rank_of_target(to_matrix(run, events, depth), targets["item_id"].to_numpy())
    return pd.DataFrame({"rank": rank.astype(np.int16)})


def _summary(corpus: Corpus, folder: Path, ws: Workspace) -> list[dict]:
    counted = counting_systems(
        corpus, {"recommend": corpus.targets("test", "recommend")}, ws.config.evaluation.seed
    )
    scorers = {"popularity": Popularity.fit(corpus)} | {
        name: t.scorer for name, t in counted["recommend"].items()
    }
    write_json(
        folder / "tuned.json", {name: tuned.record for name, tuned in counted["recommend"].items()}
    )
    cells = {
        name: {0: _ranks(scorer, corpus, ws.config.decoding.top_k)}
        for name, scorer in scorers.items()
    }
    log = log_digest(corpus)
    for path in sorted(folder.glob("*-*.json")):  # written last: a cell without one was killed
        if json.loads(path.read_text())["log"] != log:  # of another log: its targets are others
            continue
        model, _, seed = path.stem.rpartition("-")
        cells.setdefault(model, {})[int(seed)] = pd.read_parquet(path.with_suffix(".parquet"))
    rows = []
    for model, tables in cells.items():
        events = np.arange(
            len(next(iter(tables.values())))
        )  # the same targets in the same order in every cell
        values = [
            rank_metrics(table["rank"].to_numpy(), ws.config.evaluation.ks)
            for table in tables.values()
        ]
        means = {
            metric: np.mean([v[metric] for v in values], axis=0) for metric in values[0]
        }  # (B,) over seeds
        parts = [
            (model, "full", "recommend", metric, events, mean) for metric, mean in means.items()
        ]
        scores = join_scores(
            [pd.DataFrame(dict(zip(SCORE_COLUMNS, part, strict=True))) for part in parts]
        )
        rows += summary(scores, ws.config.evaluation, seeds=tuple(tables))
    return rows
