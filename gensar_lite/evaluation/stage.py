"""The evaluation stage: how good the run is, beside systems that are simple and an oracle that is
not beatable.

In: every earlier stage. Out: ``scores.parquet`` (one value per query), ``metrics.json`` (means with
intervals), ``kinds.json`` (search by groups of queries: their kind, seen or unseen), the baselines'
runs. It trains nothing, tunes the systems that count on validation, and decodes only the sampled
candidates. The page for people is made by `gensar_lite.evaluation.summary_page.write_report`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS, Corpus, Workspace, say, write_json
from gensar_lite.config import Config
from gensar_lite.data import Seen, left_out
from gensar_lite.data.shop.truth import Truth
from gensar_lite.decoding import load_decoder
from gensar_lite.embeddings import load_ranker
from gensar_lite.evaluation import baselines, protocols
from gensar_lite.evaluation.report import console_table
from gensar_lite.evaluation.runs import check_run, run_from_scores
from gensar_lite.evaluation.scores import by_group, join_scores, score_run, summary
from gensar_lite.evaluation.tuning import counting_systems
from gensar_lite.metrics import make_qrels

Targets = dict[str, pd.DataFrame]  # task -> rows of the event table
Runs = dict[tuple[str, str], pd.DataFrame]  # (system, task) -> run
Scorers = dict[str, dict[str, baselines.Scorer]]  # task -> system -> scorer


def evaluate(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/evaluation`` (or reuse it), print the table; returns the folder."""
    folder = ws.build("evaluation", lambda folder: _evaluate(ws, folder))
    say(console_table(json.loads((folder / "metrics.json").read_text())))
    return folder


def _evaluate(ws: Workspace, folder: Path) -> dict:
    """Write the stage's files; returns its statistics."""
    config, corpus = ws.config, Corpus.load(ws.require("data"))
    targets = split_targets(corpus, config)
    scorers = baseline_scorers(ws, corpus)
    counting = counting_systems(corpus, targets, config.evaluation.seed)
    for task, systems in counting.items():
        scorers[task] |= {name: tuned.scorer for name, tuned in systems.items()}

    # full ranking; a system with nothing to answer with has 0 by construction, and no row
    without = left_out(corpus)
    simple = baseline_runs(scorers, targets, without, config)
    silent = sorted(key for key, run in simple.items() if run.empty)
    runs = joint_runs(ws, corpus, targets)
    runs |= {key: run for key, run in simple.items() if key not in silent}
    for (system, task), run in runs.items():
        run.to_parquet(folder / f"run-{system}-{task}.parquet", index=False)

    # sampled candidates, for the same systems
    sampled, sampled_runs = sampled_candidates(ws, corpus, targets, without, scorers)
    sampled_runs = {key: run for key, run in sampled_runs.items() if key in runs}

    full_scores = _full_scores(runs, corpus, targets, config)
    scores = join_scores(full_scores + _sampled_scores(sampled_runs, sampled, config))
    scores.to_parquet(folder / "scores.parquet", index=False)
    metrics = summary(scores, config.evaluation, seeds=(config.training.seed,))
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "kinds.json", kinds_of_queries(scores, corpus, config))
    headline = [r for r in metrics if r["system"] == "joint" and r["protocol"] == protocols.FULL]
    return {
        "num_queries": {task: len(rows) for task, rows in targets.items()},
        "num_sampled": {task: len(rows) for task, rows in sampled.items()},
        "systems": sorted({system for system, _ in runs}),
        "without_an_answer": [f"{system}/{task}" for system, task in silent],
        "tuned": {name: t.record for systems in counting.values() for name, t in systems.items()},
        "joint": {f"{r['task']}/{r['metric']}": r["value"] for r in headline},
    }


def split_targets(corpus: Corpus, config: Config) -> Targets:
    """The decoded split's targets of each task that has any."""
    targets = {task: corpus.targets(config.decoding.split, task) for task in TASKS}
    return {task: rows for task, rows in targets.items() if len(rows)}


def baseline_scorers(ws: Workspace, corpus: Corpus) -> Scorers:
    """The systems of each task; the oracle exists where the true process was kept (the built-in
    shop)."""
    popularity = baselines.Popularity.fit(corpus)
    recommender, ranker = load_ranker(ws, corpus)
    scorers: Scorers = {
        "recommend": {"popularity": popularity, recommender: ranker},
        "search": {"popularity": popularity},
    }
    # a real log tells what was clicked, not what would have answered: no look-up to compare with
    if not corpus.relevance.empty:
        scorers["search"]["category-popularity"] = baselines.CategoryPopularity.fit(corpus)
    scorers["search"]["bm25"] = baselines.BM25(corpus)
    if (ws.folder("data") / "truth.safetensors").exists():
        truth = Truth.load(ws.folder("data"))
        oracle = baselines.Oracle(truth, Seen.of_log(corpus.events))
        for systems in scorers.values():
            systems["oracle"] = oracle
    return scorers


def joint_runs(ws: Workspace, corpus: Corpus, targets: Targets) -> Runs:
    """The decoding stage's run, checked and cut by task."""
    run = pd.read_parquet(ws.require("decoding") / "run.parquet")
    events = {task: rows["event_id"].to_numpy() for task, rows in targets.items()}
    run = check_run(run, corpus.num_items, np.concatenate(list(events.values())))
    return {("joint", task): run[run["event_id"].isin(ids)] for task, ids in events.items()}


def baseline_runs(scorers: Scorers, targets: Targets, without: Seen | None, config: Config) -> Runs:
    """Every baseline over the whole catalogue, as deep and with the same items left out as the
    joint model."""
    depth = config.decoding.top_k
    return {
        (system, task): baselines.top_k_run(scorer, rows, depth, without, name=f"{system} {task}")
        for task, rows in targets.items()
        for system, scorer in scorers[task].items()
    }


def sampled_candidates(
    ws: Workspace, corpus: Corpus, targets: Targets, without: Seen | None, scorers: Scorers
) -> tuple[Targets, Runs]:
    """A fixed sample of targets ranked among one positive and sampled negatives, by every system.

    Recommendation: random negatives; search: BM25's best. The joint model's scores are exact
    log-probabilities.
    """
    settings, depth, decoder = ws.config.evaluation, ws.config.decoding.top_k, load_decoder(ws)
    sampled, runs = {}, {}
    for task, rows in targets.items():
        part = sampled[task] = protocols.sample_targets(rows, settings.max_sampled, settings.seed)
        draw = (settings.num_negatives, settings.seed)
        # the candidates (B, C) of each target, itself in column 0, are the same for all systems
        if task == "search":
            bm25 = scorers[task]["bm25"]
            # scores of the whole catalogue for some targets at a time: bounds memory
            cuts = [part.iloc[low : low + 256] for low in range(0, len(part), 256)]
            lists = [protocols.bm25_candidates(cut, bm25.scores(cut), *draw) for cut in cuts]
            items = np.concatenate(lists)
        else:
            items = protocols.random_candidates(part, without, corpus.num_items, *draw)
        # padding (-1) is scored as item 0 and never ranked
        scores = decoder.score_candidates(part, np.maximum(items, 0))  # (B, C)
        runs["joint", task] = run_from_scores(part["event_id"].to_numpy(), scores, depth, items)
        for system, scorer in scorers[task].items():
            runs[system, task] = baselines.top_k_run(scorer, part, depth, candidates=items)
    return sampled, runs


def _full_scores(
    runs: Runs, corpus: Corpus, targets: Targets, config: Config
) -> list[pd.DataFrame]:
    """Full ranking against the click, and for search against all relevant items as well."""
    ks, depth, parts = config.evaluation.ks, config.decoding.top_k, []
    # the ideal list of each query, as deep as the deepest cut
    qrels = make_qrels(corpus.relevance, len(corpus.queries), corpus.num_items, max(ks))
    for (system, task), run in runs.items():
        parts.append(score_run(run, targets[task], system, protocols.FULL, ks, depth))
        if task == "search" and not corpus.relevance.empty:
            parts.append(
                score_run(run, targets[task], system, protocols.ALL_RELEVANT, ks, depth, qrels)
            )
    return parts


def _sampled_scores(runs: Runs, sampled: Targets, config: Config) -> list[pd.DataFrame]:
    """Ranking among the sampled candidates, against the click."""
    settings, depth, parts = config.evaluation, config.decoding.top_k, []
    for (system, task), run in runs.items():
        protocol = f"{'bm25' if task == 'search' else 'random'}-{settings.num_negatives}"
        parts.append(score_run(run, sampled[task], system, protocol, settings.ks, depth))
    return parts


def kinds_of_queries(scores: pd.DataFrame, corpus: Corpus, config: Config) -> list[dict]:
    """Search NDCG@10 inside `query_groups`: rows of `by_group` with the ``column`` that they belong
    to."""
    search, rows = corpus.events[corpus.events["task"] == "search"], []
    for column, names in query_groups(corpus.queries).items() if 10 in config.evaluation.ks else ():
        groups = pd.Series(names.to_numpy()[search["query_id"]], index=search["event_id"])
        rows += [{"column": column, **row} for row in by_group(scores, groups, config.evaluation)]
    return rows


def query_groups(queries: pd.DataFrame) -> dict[str, pd.Series]:
    """The group of every query by ``kind``, by ``seen`` (is its string in a train search?), and by
    both, for the two are not independent: a rare string is more often a narrow one. A column that
    the queries lack gives no groups."""
    # a corpus of own files has no kinds; one without held-out strings says nothing of seen
    groups = {"kind": queries["kind"].astype(str)} if "kind" in queries else {}
    if "seen" in queries:
        groups["seen"] = queries["seen"].map({True: "seen", False: "unseen"})
    if len(groups) == 2 and all(names.nunique() > 1 for names in groups.values()):
        groups["kind and seen"] = groups["kind"] + ", " + groups["seen"]
    return groups
