"""Does the look of codes predict ranking? A generator is trained on each of several identifiers.

In: a workspace whose data and embeddings are built. Out: ``reports/identifiers-<run>/ranking.json``
and ``ranking.png``: NDCG@10 of both tasks over the whole catalogue on **validation** targets,
beside what `gensar_lite.identifiers` says of the codes alone. Numbers only, no item's text. This
file trains nothing itself.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from gensar_lite.artifacts import TASKS, ArtifactError, Corpus, Workspace, write_bytes
from gensar_lite.config import check_pairs, override
from gensar_lite.drawing.canvas import canvas, figure_png
from gensar_lite.drawing.palette import GREY, MARKERS, OKABE_ITO, TASK_TITLE
from gensar_lite.evaluation.runs import to_matrix
from gensar_lite.experiments.cells import (
    Cell,
    about,
    cell_workspace,
    read_rows,
    run_cells,
    write_rows,
)
from gensar_lite.experiments.identifier_grid import Pair, pair_settings, report_folder
from gensar_lite.experiments.identifier_page import PAIR
from gensar_lite.metrics import ndcg_at, rank_of_target
from gensar_lite.pipeline import run_stage

RANKED: tuple[Pair, ...] = (  # what is trained when nothing else is asked for
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
    ws: Workspace, seeds: tuple[int, ...] = (0,), pairs: Sequence[Pair] = RANKED
) -> pd.DataFrame:
    """Fit each pair with each seed, train on it, rank the validation targets; write the report.

    The seed is that of the fit and of the training; data and embeddings are those of `ws`. Cells
    that the report holds, and finished stages of a cell, in
    ``artifacts/identifiers-<run>-<strategy>-<quantizer>-<seed>/``, are reused. Returns the rows of
    these cells: ``strategy, quantizer, seed, ndcg@10/<task>, num_queries/<task>, MEASURES,
    minutes``. Raises `ArtifactError` for an unknown pair.
    """
    check_pairs(pairs)
    path = report_folder(ws) / "ranking.json"
    corpus = Corpus.load(ws.require("data"))
    missing = [task for task in TASKS if corpus.targets("validation", task).empty]
    if missing:
        raise ArtifactError(
            f"identifier-ranking: it compares both tasks, and this log has no {missing[0]} target "
            "in validation. Choose a run with both, e.g. --preset tour."
        )
    made_from = about(ws, ws.config, *SHARED)
    cells = []
    for seed in seeds:
        for pair in pairs:
            key = dict(zip(PAIR, pair, strict=True)) | {"seed": seed}
            make = functools.partial(_row, ws, pair, key)
            cells.append(Cell(f"{'-'.join(pair)}, seed {seed}", path, made_from, make, key))
    results, _ = run_cells("identifier-ranking", cells)
    # the picture is of all that the file holds, other seeds and pairs included
    rows = read_rows(path)
    # the figure goes with the rows, so that a page can show it without drawing it
    figure, alt = ranking_figure(rows)
    write_bytes(path.with_suffix(".png"), figure_png(figure))
    rows.attrs = made_from | {"spearman": rank_correlations(rows), "figure": alt}
    write_rows(path, rows)
    return pd.concat(results.values(), ignore_index=True)


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per pair: the mean of every number over its seeds, and ``seeds``, how many."""
    # in the order in which pairs were trained
    groups = rows.groupby(PAIR, sort=False)
    means = groups.mean(numeric_only=True).drop(columns="seed")
    return means.assign(seeds=groups.size()).reset_index()


def rank_correlations(rows: pd.DataFrame) -> list[dict]:
    """Spearman's rank correlation, in [-1, 1], of each measure with each task's NDCG@10 over pairs.

    Seeds are averaged first. None where a measure does not vary. ``p`` is Student's approximation:
    few pairs prove little.
    """
    table = over_seeds(rows)
    correlations = []
    for measure, task in itertools.product(MEASURES, TASKS):
        x = table[measure]
        y = table[f"ndcg@10/{task}"]
        # a constant has no ranks, and two points are always in order
        rho, p = None, None
        if min(x.nunique(), y.nunique()) >= 2 and len(table) >= 3:
            rho, p = (round(float(value), 4) for value in spearmanr(x, y))
        row = {"measure": measure, "task": task, "rho": rho, "p": p, "pairs": len(table)}
        correlations.append(row)
    return correlations


def ranking_figure(rows: pd.DataFrame, measure: str = "perplexity") -> tuple[Figure, str]:
    """NDCG@10 of each task against a measure of the codes, one point per pair (mean of its seeds).

    Small grey points are the single seeds, where there are several. Returns the figure and its alt
    text; both give Spearman's rho.
    """
    table = over_seeds(rows)
    # ``separate`` for RQ-KMeans, which most are, else ``dual, balanced``; the control has none
    usual = table["quantizer"].isin(["rq-kmeans", "none"])
    names = table["strategy"].where(usual, table["strategy"] + ", " + table["quantizer"])
    rho = {row["task"]: row["rho"] for row in rank_correlations(rows) if row["measure"] == measure}
    figure, panels = canvas(9.4, 3.6, columns=2)
    sentences = []
    for axes, (task, title) in zip(panels, TASK_TITLE.items(), strict=True):
        ndcg = f"ndcg@10/{task}"
        # single seeds behind the means show how much luck there is
        if table["seeds"].max() > 1:
            axes.scatter(rows[measure], rows[ndcg], s=12, color=GREY, zorder=1)
        points = []
        for i, (name, x, y) in enumerate(zip(names, table[measure], table[ndcg], strict=True)):
            look = {"color": OKABE_ITO[i % len(OKABE_ITO)], "marker": MARKERS[i % len(MARKERS)]}
            axes.scatter(x, y, s=64, zorder=2, label=name, **look)
            points.append(f"{name} {x:.1f}/{y:.3f}")
        correlation = "not defined" if rho[task] is None else f"{rho[task]:+.2f}"
        axes.set_title(f"{title}: rank correlation {correlation}")
        axes.set(xlabel=f"{measure} of the codes", ylabel="NDCG@10")
        axes.set_ylim(bottom=0)
        sentences.append(f"{title} (rank correlation {correlation}): {', '.join(points)}")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    head = f"NDCG@10 against {measure}, as {measure}/NDCG@10 of each identifier. "
    return figure, head + "; ".join(sentences) + "."


def _row(ws: Workspace, pair: Pair, key: dict[str, object]) -> pd.DataFrame:
    """Build the cell's workspace; one row of its ranking, its codes and its minutes."""
    cell_ws = _built(ws, pair, key["seed"])
    corpus = Corpus.load(cell_ws.require("data"))
    # ranked lists of validation targets, over the whole catalogue
    run = pd.read_parquet(cell_ws.require("decoding") / "run.parquet")
    row = dict(key)
    for task in TASKS:
        targets = corpus.targets("validation", task)
        ranked = to_matrix(run, targets["event_id"].to_numpy(), cell_ws.config.decoding.top_k)
        ranks = rank_of_target(ranked, targets["item_id"].to_numpy())
        row[f"ndcg@10/{task}"] = round(float(ndcg_at(ranks, 10).mean()), 6)
        row[f"num_queries/{task}"] = len(targets)
    table = pd.read_parquet(cell_ws.require("identifiers") / "diagnostics.parquet")
    for name, (measure, level) in MEASURES.items():
        chosen = (table["measure"] == measure) & ((table["level"] == level) | (level == 0))
        row[name] = round(float(np.mean(table.loc[chosen, "value"])), 6)
    row["minutes"] = round(cell_ws.meta("training")["seconds"] / 60, 2)
    return pd.DataFrame([row])


def _built(ws: Workspace, pair: Pair, seed: int) -> Workspace:
    """The finished workspace of one cell: decoded, its data and embeddings copied from `ws`."""
    changes = {f"identifiers.{name}": value for name, value in pair_settings(pair).items()}
    changes |= {"identifiers.seed": seed, "training.seed": seed, "decoding.split": "validation"}
    run = f"identifiers-{ws.run}-{'-'.join(pair)}-{seed}"
    cell_ws = cell_workspace(ws, override(ws.config, changes), run, SHARED)
    # what differs between cells is built, or reused if an earlier run was killed
    for stage in ("identifiers", "training", "decoding"):
        run_stage(cell_ws, stage)
    return cell_ws
