"""An evaluated run as TREC files, for trec_eval, ir_measures, ranx and the like.

In: the evaluation's runs and the corpus. Out, in ``reports/<run>/trec/``: ``SYSTEM-TASK.run`` for
every system and task; ``TASK.qrels``, in which the clicked item is the one answer (our protocol
``full``); ``search-all.qrels`` with every relevant item, where the corpus knows them
(``full/all-relevant``). A TREC query is a target, named by its event id. The files hold items of
the data, which may not be ours to publish: git ignores the folder. This file computes no metric.
"""

from pathlib import Path

import pandas as pd

from gensar_lite.artifacts import TASKS, Corpus, Workspace
from gensar_lite.evaluation.runs import write_qrels, write_trec
from gensar_lite.machine.atomic import replacing


def write_trec_folder(ws: Workspace) -> Path:
    """Write ``reports/<run>/trec/``; returns the folder. Other files in it are left alone.

    Raises `ArtifactError` naming the stage to run when one is missing or stale.
    """
    evaluated, corpus = ws.require("evaluation"), Corpus.load(ws.require("data"))
    folder = ws.report / "trec"
    names = corpus.items["source_id"].tolist() if "source_id" in corpus.items else None
    for path in sorted(evaluated.glob("run-*.parquet")):
        # a system's name may hold a hyphen, a task's never does
        system, _, task = path.stem.removeprefix("run-").rpartition("-")
        name = "_".join(system.split())  # one word, as on the file's lines
        with replacing(folder / f"{name}-{task}.run") as draft:
            write_trec(pd.read_parquet(path), draft, name, names)
    for task in TASKS:
        targets = corpus.targets(ws.config.decoding.split, task)
        if targets.empty:
            continue
        with replacing(folder / f"{task}.qrels") as draft:
            write_qrels(targets.assign(grade=1), draft, names)
        if task == "search" and not corpus.relevance.empty:
            with replacing(folder / "search-all.qrels") as draft:
                write_qrels(graded_qrels(targets, corpus.relevance), draft, names)
    return folder


def graded_qrels(targets: pd.DataFrame, relevance: pd.DataFrame) -> pd.DataFrame:
    """``event_id, item_id, grade`` of search `targets` (event rows): all relevant items of the
    query, of doubles the highest grade, and the clicked one a grade higher, as
    `metrics.relevance_metrics` counts them."""
    best = relevance[relevance["grade"] >= 1].groupby(["query_id", "item_id"])["grade"].max()
    asked = targets[["event_id", "query_id"]].merge(best.reset_index(), on="query_id")
    clicks = targets[["event_id", "item_id"]].assign(grade=1)
    both = pd.concat([asked[["event_id", "item_id", "grade"]], clicks])
    # a click that answers the query has two rows here: its grade, and one more
    return both.groupby(["event_id", "item_id"], as_index=False)["grade"].sum()
