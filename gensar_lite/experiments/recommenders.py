"""How good are recommenders without a generator, over seeds? A joint model has to beat them.

In: a preset whose source has recommendation events, seeds, a collaborative model by name. Out, in
``reports/baselines/<run>/``: per cell (model and seed) a small json, and a parquet with the rank of
every test target; ``metrics.json``, means over seeds with intervals over queries. This file trains
nothing itself.
"""

import functools
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError, Corpus, Workspace, replacing, write_json
from gensar_lite.config import override, section_dict
from gensar_lite.data import left_out, prepare
from gensar_lite.embeddings import embed, load_ranker
from gensar_lite.evaluation.baselines import Popularity, Scorer, top_k_run
from gensar_lite.evaluation.runs import to_matrix
from gensar_lite.evaluation.scores import SCORE_COLUMNS, join_scores, summary
from gensar_lite.evaluation.tuning import counting_systems
from gensar_lite.experiments.cells import Cell, run_cells
from gensar_lite.metrics import rank_metrics, rank_of_target

MODELS: dict[str, dict[str, object]] = {
    "sasrec-ce": {"embeddings.loss": "ce"},
    "sasrec-bce": {"embeddings.loss": "bce"},
    "sasrec-bpr": {"embeddings.loss": "bpr"},
    "svd": {"embeddings.collaborative": "svd"},
}


def compare_recommenders(ws: Workspace, model: str, seeds: tuple[int, ...]) -> list[dict]:
    """Train `model` with each seed, rank the test targets over the whole catalogue, add it.

    Returns the rows of ``metrics.json`` (every model so far; popularity and what only counts beside
    them), as in the reports of a run; what was chosen for the latter stands in ``tuned.json``.
    Raises `ArtifactError` that lists the models for an unknown name.
    """
    if model not in MODELS:
        raise ArtifactError(
            f"recommenders: there is no {model!r}. Choose one of: {', '.join(MODELS)}."
        )
    folder = ws.root / "reports" / "baselines" / ws.run
    prepare(ws)
    corpus = Corpus.load(ws.require("data"))
    # what all cells read: it marks those that can be compared with one another
    log = log_digest(corpus)
    cells = []
    for seed in seeds:
        name = f"{model}-{seed}"
        path = folder / f"{name}.json"
        config = override(ws.config, MODELS[model] | {"embeddings.seed": seed})
        # a run of its own: the stages keep what a kill interrupts, nothing of `ws` is touched
        make = functools.partial(
            _trained, Workspace(ws.root, config, f"baselines-{ws.run}-{name}"), path
        )
        made_from = {"log": log, "settings": section_dict(config.embeddings)}
        cells.append(Cell(name, path, made_from, make, stage="embeddings"))
    run_cells("recommenders", cells)
    metrics = _summary(corpus, folder, ws, log)
    write_json(folder / "metrics.json", metrics)
    return metrics


def log_digest(corpus: Corpus) -> str:
    """A digest of what these models read, and of the rule that their lists follow: who took what
    when, by which task and in which split. The texts of queries may change beside it."""
    table = corpus.events[["user_id", "time", "item_id", "task", "split"]].to_csv(index=False)
    return hashlib.sha256(f"{corpus.exclude_seen}\n{table}".encode()).hexdigest()[:16]


def _trained(ws: Workspace, path: Path) -> dict[str, object]:
    """Train in the cell's own workspace, write the ranks beside `path`; how the training went: the
    best epoch by validation, minutes and curve, where something was trained."""
    prepare(ws)
    started = time.perf_counter()
    embed(ws)
    told: dict[str, object] = {"stage_minutes": round((time.perf_counter() - started) / 60, 2)}
    corpus = Corpus.load(ws.require("data"))
    _, ranker = load_ranker(ws, corpus)
    path.unlink(missing_ok=True)  # a record of other settings must not stand beside these ranks
    with replacing(path.with_suffix(".parquet")) as draft:
        _ranks(ranker, corpus, ws.config.decoding.top_k).to_parquet(draft, index=False)
    kept = ws.folder("embeddings") / "sasrec_curve.parquet"  # only trained models have one
    if not kept.exists():
        return told
    curve = pd.read_parquet(kept)
    # the epoch that the stage kept
    best = curve.loc[curve["ndcg@10"].idxmax()]
    return told | {
        "best_epoch": int(best["epoch"]),
        "validation": {key: float(best[key]) for key in ("recall@10", "ndcg@10")},
        "training_minutes": round(float(curve["seconds"].iloc[-1]) / 60, 2),
        "curve": json.loads(curve.to_json(orient="records", double_precision=6)),
    }


def _ranks(scorer: Scorer, corpus: Corpus, depth: int) -> pd.DataFrame:
    """``rank`` of every test recommendation target, in the order of events, 0 below `depth`."""
    targets = corpus.targets("test", "recommend")
    # (B, depth) items per target; what a user met before is left out
    run = top_k_run(scorer, targets, depth, left_out(corpus))
    ranked = to_matrix(run, targets["event_id"].to_numpy(), depth)
    ranks = rank_of_target(ranked, targets["item_id"].to_numpy())
    return pd.DataFrame({"rank": ranks.astype(np.int16)})


def _summary(corpus: Corpus, folder: Path, ws: Workspace, log: str) -> list[dict]:
    """Rows of metrics of every system: popularity, those that count, every kept model."""
    settings = ws.config.evaluation
    targets = {"recommend": corpus.targets("test", "recommend")}
    counting = counting_systems(corpus, targets, settings.seed)["recommend"]
    write_json(folder / "tuned.json", {name: tuned.record for name, tuned in counting.items()})
    scorers: dict[str, Scorer] = {"popularity": Popularity.fit(corpus)}
    scorers |= {name: tuned.scorer for name, tuned in counting.items()}
    # system -> seed -> ranks; what only counts has no seed, and one table
    depth = ws.config.decoding.top_k
    ranks = {name: {0: _ranks(scorer, corpus, depth)} for name, scorer in scorers.items()}
    # cells of earlier calls, too: other models and seeds stand in one table
    for path in sorted(folder.glob("*-*.json")):
        if json.loads(path.read_text(encoding="utf-8"))["log"] == log:  # else: other targets
            model, _, seed = path.stem.rpartition("-")
            ranks.setdefault(model, {})[int(seed)] = pd.read_parquet(path.with_suffix(".parquet"))
    rows: list[dict] = []
    for model, by_seed in ranks.items():
        per_seed = [
            rank_metrics(table["rank"].to_numpy(), settings.ks) for table in by_seed.values()
        ]
        parts = []
        # per target the mean over seeds: every cell has the same targets
        for metric in per_seed[0]:
            mean = np.mean([values[metric] for values in per_seed], axis=0)  # (B,)
            row = (model, "full", "recommend", metric, np.arange(len(mean)), mean)
            parts.append(pd.DataFrame(dict(zip(SCORE_COLUMNS, row, strict=True))))
        rows += summary(join_scores(parts), settings, tuple(by_seed))
    return rows
