"""Does the look of codes predict ranking? A generator is trained on each of several identifiers, and both are compared.

In: a workspace whose data and embeddings are built. Out: ``reports/identifiers-<run>/ranking.json`` and
``ranking.png``: NDCG@10 of both tasks over the whole catalogue on **validation** targets, beside what
`gensar_lite.identifiers` says of the codes alone. Numbers only, no item's text. This file trains nothing itself.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from gensar_lite.artifacts import TASKS, ArtifactError, Corpus, Workspace, write_json
from gensar_lite.config import changed_settings, override
from gensar_lite.evaluation.plots import GREY, MARKERS, TASK_TITLE, figure_png
from gensar_lite.evaluation.runs import to_matrix
from gensar_lite.experiments.identifier_grid import report_folder
from gensar_lite.identifiers.strategies import check_pairs
from gensar_lite.metrics import ndcg_at, rank_of_target
from gensar_lite.notebook import OKABE_ITO
from gensar_lite.pipeline import run_stage

RANKED = (  # what is trained when nothing else is asked for
    ("dual", "rq-kmeans"),
    ("dual", "balanced"),
    ("separate", "rq-kmeans"),
    ("semantic", "rq-kmeans"),
    ("collaborative", "rq-kmeans"),
    ("fused-concat", "rq-kmeans"),
    ("multitask", "rq-kmeans"),
    ("random", "none"),
)
SHARED = ("data", "embeddings")  # made once, the same for every cell
MEASURES = {  # of codes alone: measure of `diagnose`, and the level or depth; 0: the mean of all
    "perplexity": ("perplexity", 0),
    "usage": ("usage", 0),
    "purity at 1": ("purity/leaf", 1),
    "lift at 1": ("co_purchase_lift", 1),
}


def rank_identifiers(
    ws: Workspace, seeds: tuple[int, ...] = (0,), pairs: tuple[tuple[str, str], ...] = RANKED
) -> list[dict]:
    """Fit each pair (strategy, quantizer) with each seed, train on it, rank the validation targets; write the report.

    The seed is that of the fit and of the training; data and embeddings are those of `ws`. Finished stages of a cell,
    in ``artifacts/identifiers-<run>-<strategy>-<quantizer>-<seed>/``, are reused. Returns rows ``strategy, quantizer,
    seed, ndcg@10/<task>, num_queries/<task>, MEASURES, minutes``. Raises `ArtifactError` for an unknown pair.
    """
    check_pairs(pairs)
    folder, rows = report_folder(ws), []
    folder.mkdir(parents=True, exist_ok=True)
    base, changed = changed_settings(ws.config)
    told = {"run": ws.run, "preset": base, "changed": changed, "split": "validation", "rows": rows}
    for seed in seeds:
        for strategy, quantizer in pairs:
            rows.append(_row(_cell(ws, strategy, quantizer, seed), strategy, quantizer, seed))
            write_json(
                folder / "ranking.json", told
            )  # what is done is kept when the rest is killed
    figure, alt = ranking_figure(pd.DataFrame(rows))
    (folder / "ranking.png").write_bytes(figure_png(figure))
    write_json(
        folder / "ranking.json",
        told | {"spearman": rank_correlations(pd.DataFrame(rows)), "figure": alt},
    )
    return rows


def read_ranking(path: Path) -> pd.DataFrame | None:
    """The rows of a ``ranking.json``, or None where there is none; ``attrs["changed"]``: settings that differ from
    the preset."""
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    table = pd.DataFrame(found["rows"])
    table.attrs["changed"] = found["changed"]
    return table


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a pair: the mean of every number over its seeds, and ``seeds``, how many there are."""
    groups = rows.groupby(["strategy", "quantizer"], sort=False)
    return (
        groups.mean(numeric_only=True)
        .drop(columns="seed")
        .assign(seeds=groups.size())
        .reset_index()
    )


def rank_correlations(rows: pd.DataFrame, without: tuple[str, ...] = ()) -> list[dict]:
    """Spearman's rank correlation, in [-1, 1], of each measure of codes with each task's NDCG@10, over the pairs.

    Seeds are averaged first; strategies in `without` are left out, e.g. the control ``random``. None where a measure
    does not vary. ``p`` is of the exact permutation test's approximation by Student's t: few pairs prove little.
    """
    table, found = over_seeds(rows[~rows["strategy"].isin(without)]), []
    for measure in MEASURES:
        for task in TASKS:
            x, y = table[measure], table[f"ndcg@10/{task}"]
            flat = min(x.nunique(), y.nunique()) < 2 or len(table) < 3
            rho, p = (None, None) if flat else (round(float(v), 4) for v in spearmanr(x, y))
            found.append(
                {"measure": measure, "task": task, "rho": rho, "p": p, "pairs": len(table)}
            )
    return found


def ranking_figure(rows: pd.DataFrame, measure: str = "perplexity") -> tuple[Figure, str]:
    """NDCG@10 of each task against a measure of the codes, one point a pair (mean of its seeds), with Spearman's rho.

    Small grey points are the single seeds, where there are several. Returns the figure and its alt text.
    """
    table, said = over_seeds(rows), []
    figure = Figure(figsize=(9.4, 3.6), layout="constrained", facecolor="white")
    rho = {row["task"]: row for row in rank_correlations(rows) if row["measure"] == measure}
    for axes, (task, title) in zip(figure.subplots(1, 2), TASK_TITLE.items(), strict=True):
        if table["seeds"].max() > 1:
            axes.scatter(rows[measure], rows[f"ndcg@10/{task}"], s=12, color=GREY, zorder=1)
        for i, row in enumerate(table.itertuples(index=False)):
            name, place = _name(row.strategy, row.quantizer), table.iloc[i]
            look = {
                "color": OKABE_ITO[i % len(OKABE_ITO)],
                "marker": MARKERS[i % len(MARKERS)],
                "label": name,
            }
            axes.scatter(place[measure], place[f"ndcg@10/{task}"], s=64, zorder=2, **look)
        value = rho[task]["rho"]
        told = "not defined" if value is None else f"{value:+.2f}"
        axes.set(
            title=f"{title}: rank correlation {told}",
            xlabel=f"{measure} of the codes",
            ylabel="NDCG@10",
        )
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        points = zip(
            table["strategy"],
            table["quantizer"],
            table[measure],
            table[f"ndcg@10/{task}"],
            strict=True,
        )
        listed = ", ".join(f"{_name(s, q)} {x:.1f}/{y:.3f}" for s, q, x, y in points)
        said.append(f"{title} (rank correlation {told}): {listed}")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return (
        figure,
        f"NDCG@10 against {measure}, as {measure}/NDCG@10 of each identifier. "
        + "; ".join(said)
        + ".",
    )


def _name(strategy: str, quantizer: str) -> str:
    """``separate`` for RQ-KMeans, which most are, else ``dual, balanced``; the control has no quantizer."""
    return strategy if quantizer in ("rq-kmeans", "none") else f"{strategy}, {quantizer}"


def _cell(ws: Workspace, strategy: str, quantizer: str, seed: int) -> Workspace:
    """The finished workspace of one cell: decoded, its data and embeddings copied from `ws`."""
    named = {} if quantizer == "none" else {"identifiers.quantizer": quantizer}
    changes = {
        "identifiers.strategy": strategy,
        "identifiers.seed": seed,
        "training.seed": seed,
    } | named
    config = override(ws.config, changes | {"decoding.split": "validation"})
    own = Workspace(ws.root, config, f"identifiers-{ws.run}-{strategy}-{quantizer}-{seed}")
    for stage in SHARED:
        read = {name: Path(path) for name, path in (ws.meta(stage) or {}).get("read", {}).items()}
        own.build(stage, lambda folder, stage=stage: _copy(ws, stage, folder), outside=read)
    for stage in ("identifiers", "training", "decoding"):
        run_stage(own, stage)
    return own


def _copy(ws: Workspace, stage: str, folder: Path) -> dict:
    """The stage's files as they are, so that its digest is the same; its statistics."""
    source = ws.require(stage)
    meta = ws.meta(stage)
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("meta.json"))
    ws.require(stage)
    if ws.meta(stage)["digest"] != meta["digest"]:
        raise ArtifactError(
            f"{stage}: artifacts/{ws.run}/{stage} was rebuilt while it was copied. Run this again."
        )
    return meta["statistics"]


def _row(own: Workspace, strategy: str, quantizer: str, seed: int) -> dict:
    corpus, run = (
        Corpus.load(own.require("data")),
        pd.read_parquet(own.require("decoding") / "run.parquet"),
    )
    row: dict[str, object] = {"strategy": strategy, "quantizer": quantizer, "seed": seed}
    for task in TASKS:
        targets = corpus.targets("validation", task)
        ranked = to_matrix(run, targets["event_id"].to_numpy(), own.config.decoding.top_k)
        ranks = rank_of_target(ranked, targets["item_id"].to_numpy())
        row[f"ndcg@10/{task}"] = round(float(ndcg_at(ranks, 10).mean()), 6)
        row[f"num_queries/{task}"] = len(targets)
    table = pd.read_parquet(own.require("identifiers") / "diagnostics.parquet")
    for name, (measure, level) in MEASURES.items():
        part = table[(table["measure"] == measure) & ((table["level"] == level) if level else True)]
        row[name] = round(float(np.mean(part["value"])), 6)
    return row | {"minutes": round(own.meta("training")["seconds"] / 60, 2)}
