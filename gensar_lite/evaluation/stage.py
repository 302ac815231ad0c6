"""The evaluation stage: how good the run is, beside systems that are simple and an oracle that is not beatable.

In: every earlier stage. Out: ``scores.parquet`` (a value a query), ``metrics.json`` (means with intervals),
``kinds.json`` (search by groups of queries: their kind, seen or unseen), the baselines' runs. It trains nothing, tunes
the systems that count on validation, and decodes only the sampled candidates. The page for people is made by
`gensar_lite.evaluation.summary_page.write_report`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS, Corpus, Workspace, say, write_json
from gensar_lite.config import Config, ConfigError
from gensar_lite.data import Seen, left_out
from gensar_lite.data.shop.truth import Truth
from gensar_lite.decoding import load_decoder
from gensar_lite.embeddings import load_ranker
from gensar_lite.evaluation.baselines import (
    BM25,
    CategoryPopularity,
    Oracle,
    Popularity,
    Scorer,
    candidate_run,
    top_k_run,
)
from gensar_lite.evaluation.protocols import (
    bm25_candidates,
    protocol_name,
    random_candidates,
    sample_targets,
)
from gensar_lite.evaluation.report import console_table
from gensar_lite.evaluation.runs import check_run, run_from_scores
from gensar_lite.evaluation.scores import by_group, join_scores, score_run, summary
from gensar_lite.evaluation.tuning import counting_systems
from gensar_lite.metrics import make_qrels

Targets = dict[str, pd.DataFrame]  # task -> rows of the event table
Runs = dict[tuple[str, str], pd.DataFrame]  # (system, task) -> run


def evaluate(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/evaluation`` (or reuse it) and print the table. Returns the folder."""
    folder = ws.build("evaluation", lambda folder: _evaluate(ws, folder))
    say(console_table(json.loads((folder / "metrics.json").read_text())))
    return folder


def _evaluate(ws: Workspace, folder: Path) -> dict:
    config, corpus = ws.config, Corpus.load(ws.require("data"))
    _check_depth(config)
    targets = split_targets(corpus, config)
    without = left_out(corpus)
    scorers = baseline_scorers(ws, corpus, Seen.of_log(corpus.events))
    counting = counting_systems(corpus, targets, config.evaluation.seed)
    scorers = {
        task: own | {name: t.scorer for name, t in counting.get(task, {}).items()}
        for task, own in scorers.items()
    }
    baselines = baseline_runs(scorers, targets, without, config)
    silent = sorted(
        key for key, run in baselines.items() if run.empty
    )  # nothing to answer with: 0 by construction
    runs = joint_runs(ws, corpus, targets) | {
        key: run for key, run in baselines.items() if key not in silent
    }
    for (system, task), run in runs.items():
        run.to_parquet(folder / f"run-{system}-{task}.parquet", index=False)
    sampled, sampled_runs = sampled_candidates(ws, corpus, targets, without, scorers)
    sampled_runs = {key: run for key, run in sampled_runs.items() if key in runs}
    scores = join_scores(
        [
            *_full_scores(runs, corpus, targets, config),
            *_sampled_scores(sampled_runs, sampled, config),
        ]
    )
    scores.to_parquet(folder / "scores.parquet", index=False)
    metrics = summary(scores, config.evaluation, seeds=(config.training.seed,))
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "kinds.json", kinds_of_queries(scores, corpus, config))
    return {
        "num_queries": {task: len(rows) for task, rows in targets.items()},
        "num_sampled": {task: len(rows) for task, rows in sampled.items()},
        "systems": sorted({system for system, _ in runs}),
        "without_an_answer": [f"{system}/{task}" for system, task in silent],
        "tuned": {name: tuned.record for own in counting.values() for name, tuned in own.items()},
        "joint": {f"{r['task']}/{r['metric']}": r["value"] for r in metrics if _is_headline(r)},
    }


def _is_headline(row: dict) -> bool:
    return row["system"] == "joint" and row["protocol"] == "full"


def _check_depth(config: Config) -> None:
    if max(config.evaluation.ks) > config.decoding.top_k:
        raise ConfigError(
            f"evaluation.ks: {max(config.evaluation.ks)} is deeper than the {config.decoding.top_k} items that are "
            "kept a query. Raise decoding.top_k or lower evaluation.ks."
        )


def split_targets(corpus: Corpus, config: Config) -> Targets:
    """The decoded split's targets of each task that has any."""
    targets = {task: corpus.targets(config.decoding.split, task) for task in TASKS}
    return {task: rows for task, rows in targets.items() if len(rows)}


def baseline_scorers(ws: Workspace, corpus: Corpus, seen: Seen) -> dict[str, dict[str, Scorer]]:
    """``task -> system -> scorer``; the oracle exists where the true process was kept (the built-in shop)."""
    popularity, (recommender, ranker) = Popularity.fit(corpus), load_ranker(ws, corpus)
    scorers: dict[str, dict[str, Scorer]] = {
        "recommend": {"popularity": popularity, recommender: ranker},
        "search": {
            "popularity": popularity,
            # a real log tells what was clicked, not what would have answered: no look-up to compare with
            **(
                {}
                if corpus.relevance.empty
                else {"category-popularity": CategoryPopularity.fit(corpus)}
            ),
            "bm25": BM25(corpus),
        },
    }
    if (ws.folder("data") / "truth.safetensors").exists():
        oracle = Oracle(Truth.load(ws.folder("data")), seen)
        scorers = {task: own | {"oracle": oracle} for task, own in scorers.items()}
    return scorers


def joint_runs(ws: Workspace, corpus: Corpus, targets: Targets) -> Runs:
    """The decoding stage's run, checked and cut by task."""
    run = pd.read_parquet(ws.require("decoding") / "run.parquet")
    asked = np.concatenate([rows["event_id"].to_numpy() for rows in targets.values()])
    run = check_run(run, corpus.num_items, asked)
    return {
        ("joint", task): run[run["event_id"].isin(rows["event_id"])]
        for task, rows in targets.items()
    }


def baseline_runs(
    scorers: dict[str, dict[str, Scorer]], targets: Targets, without: Seen | None, config: Config
) -> Runs:
    """Every baseline over the whole catalogue, as deep and with the same items left out as the joint model."""
    return {
        (system, task): top_k_run(
            scorer, rows, config.decoding.top_k, without, name=f"{system} {task}"
        )
        for task, rows in targets.items()
        for system, scorer in scorers[task].items()
    }


def sampled_candidates(
    ws: Workspace,
    corpus: Corpus,
    targets: Targets,
    without: Seen | None,
    scorers: dict[str, dict[str, Scorer]],
) -> tuple[Targets, Runs]:
    """A fixed sample of targets ranked among one positive and sampled negatives, by every system.

    Recommendation: random negatives; search: BM25's best. The joint model's scores are exact log-probabilities.
    """
    settings, depth, decoder = ws.config.evaluation, ws.config.decoding.top_k, load_decoder(ws)
    sampled, runs = {}, {}
    for task, rows in targets.items():
        part = sampled[task] = sample_targets(rows, settings.max_sampled, settings.seed)
        draw = (settings.num_negatives, settings.seed)
        if task == "search":
            bm25 = scorers[task]["bm25"]
            cuts = [part.iloc[i : i + 256] for i in range(0, len(part), 256)]
            items = np.concatenate([bm25_candidates(cut, bm25.scores(cut), *draw) for cut in cuts])
        else:
            items = random_candidates(part, without, corpus.num_items, *draw)
        scores = decoder.score_candidates(part, np.maximum(items, 0))  # (B, C)
        runs["joint", task] = run_from_scores(part["event_id"].to_numpy(), scores, depth, items)
        for system, scorer in scorers[task].items():
            runs[system, task] = candidate_run(scorer, part, items, depth)
    return sampled, runs


def _full_scores(
    runs: Runs, corpus: Corpus, targets: Targets, config: Config
) -> list[pd.DataFrame]:
    """Full ranking against the click, and for search against all relevant items as well."""
    ks, depth, parts = config.evaluation.ks, config.decoding.top_k, []
    qrels = make_qrels(corpus.relevance, len(corpus.queries), corpus.num_items, max(ks))
    for (system, task), run in runs.items():
        parts.append(score_run(run, targets[task], system, protocol_name("full"), ks, depth))
        if task == "search" and not corpus.relevance.empty:
            name = protocol_name("full", all_relevant=True)
            parts.append(score_run(run, targets[task], system, name, ks, depth, qrels))
    return parts


def _sampled_scores(runs: Runs, sampled: Targets, config: Config) -> list[pd.DataFrame]:
    settings, parts = config.evaluation, []
    for (system, task), run in runs.items():
        name = protocol_name("bm25" if task == "search" else "random", settings.num_negatives)
        parts.append(
            score_run(run, sampled[task], system, name, settings.ks, config.decoding.top_k)
        )
    return parts


def kinds_of_queries(scores: pd.DataFrame, corpus: Corpus, config: Config) -> list[dict]:
    """Search NDCG@10 inside `query_groups`: rows of `by_group` with the ``column`` that they belong to."""
    search, rows = corpus.events[corpus.events["task"] == "search"], []
    for column, names in query_groups(corpus.queries).items() if 10 in config.evaluation.ks else ():
        groups = pd.Series(names.to_numpy()[search["query_id"]], index=search["event_id"])
        rows += [{"column": column, **row} for row in by_group(scores, groups, config.evaluation)]
    return rows


def query_groups(queries: pd.DataFrame) -> dict[str, pd.Series]:
    """The group of every query by ``kind``, by ``seen`` (is its string in a train search?), and by both, for the two
    are not independent: a rare string is more often a narrow one. A column that the queries lack gives no groups."""
    groups = {"kind": queries["kind"].astype(str)} if "kind" in queries else {}
    if "seen" in queries:
        groups["seen"] = queries["seen"].map({True: "seen", False: "unseen"})
    if len(groups) == 2 and all(names.nunique() > 1 for names in groups.values()):
        groups["kind and seen"] = groups["kind"] + ", " + groups["seen"]
    return groups
