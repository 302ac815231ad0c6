"""The evaluation stage: how good the run is, beside systems that are simple and an oracle that is
not beatable.

In: every earlier stage. Out: ``scores.parquet`` (one value per query), ``metrics.json`` (means with
intervals), ``kinds.json`` (search by groups of queries), every system's run. It trains nothing,
tunes the systems that count and weigh on validation, encodes the targets' queries, and decodes only
the sampled candidates.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import (
    TASKS,
    ArtifactError,
    Corpus,
    ItemEmbeddings,
    Workspace,
    say,
    write_json,
)
from gensar_lite.config import Config
from gensar_lite.data import Seen, left_out
from gensar_lite.data.shop.truth import Truth
from gensar_lite.decoding import load_decoder
from gensar_lite.decoding.channel import SYSTEM, Channel
from gensar_lite.decoding.stage import read_weights
from gensar_lite.embeddings import load_ranker
from gensar_lite.evaluation import baselines
from gensar_lite.evaluation.bayes import bayes_name, tune_bayes
from gensar_lite.evaluation.dense import Dense
from gensar_lite.evaluation.protocols import ALL_RELEVANT, FULL
from gensar_lite.evaluation.report import console_table
from gensar_lite.evaluation.runs import check_run, run_from_scores
from gensar_lite.evaluation.sampled import sampled_candidates
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
    targets, without = split_targets(corpus, config), left_out(corpus)
    scorers, chosen = other_systems(ws, corpus, targets)

    runs, silent = _full_runs(ws, corpus, targets, without, scorers)
    for (system, task), run in runs.items():
        run.to_parquet(folder / f"run-{system}-{task}.parquet", index=False)
    sampled, among = _sampled_runs(ws, corpus, targets, without, scorers)
    among = {key: run for key, run in among.items() if key in runs}  # the same systems

    scores = _score(config, corpus, targets, runs, sampled, among)
    scores.to_parquet(folder / "scores.parquet", index=False)
    metrics = summary(scores, config.evaluation, seeds=(config.training.seed,))
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "kinds.json", kinds_of_queries(scores, corpus, config))
    headline = [r for r in metrics if r["system"] == "joint" and r["protocol"] == FULL]
    return {
        "num_queries": {task: len(rows) for task, rows in targets.items()},
        "num_sampled": {task: len(rows) for task, rows in sampled.items()},
        "systems": sorted({system for system, _ in runs}),
        "without_an_answer": [f"{system}/{task}" for system, task in silent],
        "without_encoder": []
        if "dense" in scorers["search"] or "search" not in targets
        else ["dense"],
        "tuned": chosen,
        "joint": {f"{r['task']}/{r['metric']}": r["value"] for r in headline},
    }


def split_targets(corpus: Corpus, config: Config) -> Targets:
    """The decoded split's targets of each task that has any."""
    targets = {task: corpus.targets(config.decoding.split, task) for task in TASKS}
    return {task: rows for task, rows in targets.items() if len(rows)}


def other_systems(
    ws: Workspace, corpus: Corpus, targets: Targets
) -> tuple[Scorers, dict[str, dict]]:
    """Every system beside the generative model, and of those with a choice how it was made."""
    scorers, seed = _baselines(ws, corpus), ws.config.evaluation.seed
    recommender, ranker = load_ranker(ws, corpus)
    scorers["recommend"][recommender] = ranker
    chosen = counting_systems(corpus, targets, seed)
    if "search" in targets:
        chosen["search"][bayes_name(recommender)] = tune_bayes(corpus, ranker, seed)
        scorers["search"] |= _dense(ws, corpus, targets["search"])
    records = {}
    for task, systems in chosen.items():
        scorers[task] |= {name: tuned.scorer for name, tuned in systems.items()}
        records |= {name: tuned.record for name, tuned in systems.items()}
    return scorers, records


def _baselines(ws: Workspace, corpus: Corpus) -> Scorers:
    """The systems of each task that need no choice; the oracle exists where the true process was
    kept (the built-in shop)."""
    popularity = baselines.Popularity.fit(corpus)
    recommend, search = {"popularity": popularity}, {"popularity": popularity}
    # a real log tells what was clicked, not what would have answered: no look-up to compare with
    if not corpus.relevance.empty:
        search["category-popularity"] = baselines.CategoryPopularity.fit(corpus)
    search["bm25"] = baselines.BM25(corpus)
    if (ws.folder("data") / "truth.safetensors").exists():
        truth = Truth.load(ws.folder("data"))
        search["oracle"] = recommend["oracle"] = baselines.Oracle(truth, Seen.of_log(corpus.events))
    return {"recommend": recommend, "search": search}


def _dense(ws: Workspace, corpus: Corpus, searches: pd.DataFrame) -> dict[str, baselines.Scorer]:
    """Search by the text encoder that made the item vectors; nothing, and a warning, where it
    cannot be loaded now: a page with one row less is better than none."""
    items = ItemEmbeddings.load(ws.require("embeddings")).semantic
    cache = ws.root / "artifacts" / "cache"
    try:
        return {"dense": Dense.fit(corpus, items, searches, ws.config.embeddings, cache)}
    except ArtifactError as error:
        say(
            "WARN evaluation: the tables have no row dense, for its queries were not encoded. "
            f"{error} Once the encoder loads, delete {ws.place('evaluation')} and run "
            "the evaluation again."
        )
        return {}


def _full_runs(
    ws: Workspace, corpus: Corpus, targets: Targets, without: Seen | None, scorers: Scorers
) -> tuple[Runs, list[tuple[str, str]]]:
    """Every system over the whole catalogue, as deep and with the same items left out as the joint
    model; and those with nothing to answer with, which have 0 by construction, and no run."""
    run = pd.read_parquet(ws.require("decoding") / "run.parquet")
    run = check_run(run, corpus.num_items, pd.concat(targets.values())["event_id"].to_numpy())
    runs, silent = {}, []
    for task, rows in targets.items():
        runs["joint", task] = run[run["event_id"].isin(rows["event_id"])]
    path = ws.folder("decoding") / "run-channel.parquet"
    if path.exists():
        searches = targets["search"]["event_id"].to_numpy()
        runs[SYSTEM, "search"] = check_run(pd.read_parquet(path), corpus.num_items, searches)
    for task, rows in targets.items():
        for system, scorer in scorers[task].items():
            depth, name = ws.config.decoding.top_k, f"{system} {task}"
            found = baselines.top_k_run(scorer, rows, depth, without, name=name)
            if found.empty:
                silent.append((system, task))
            else:
                runs[system, task] = found
    return runs, sorted(silent)


def _sampled_runs(
    ws: Workspace, corpus: Corpus, targets: Targets, without: Seen | None, scorers: Scorers
) -> tuple[Targets, Runs]:
    """A fixed sample of targets ranked among one positive and sampled negatives, by every system.

    Recommendation: random negatives; search: BM25's best. The joint model's scores are exact
    log-probabilities.
    """
    depth, decoder, runs = ws.config.decoding.top_k, load_decoder(ws), {}
    bm25 = scorers.get("search", {}).get("bm25")
    sampled = sampled_candidates(corpus, targets, without, bm25, ws.config.evaluation)
    for task, (part, items) in sampled.items():
        # padding (-1) is scored as item 0 and never ranked
        scores = decoder.score_candidates(part, np.maximum(items, 0))  # (B, C)
        events = part["event_id"].to_numpy()
        runs["joint", task] = run_from_scores(events, scores, depth, items)
        if task == "search" and ws.config.decoding.channel != "none":
            channel = Channel.of(decoder, read_weights(ws.folder("decoding")))
            scores = channel.score_candidates(part, np.maximum(items, 0))
            runs[SYSTEM, task] = run_from_scores(events, scores, depth, items)
        for system, scorer in scorers[task].items():
            runs[system, task] = baselines.top_k_run(scorer, part, depth, candidates=items)
    return {task: part for task, (part, _) in sampled.items()}, runs


def _score(
    config: Config, corpus: Corpus, targets: Targets, runs: Runs, sampled: Targets, among: Runs
) -> pd.DataFrame:
    """Full ranking against the click, for search against all relevant items as well, and ranking
    `among` sampled candidates against the click."""
    settings, depth, parts = config.evaluation, config.decoding.top_k, []
    # the ideal list of each query, as deep as the deepest cut
    deepest = max(settings.ks)
    qrels = make_qrels(corpus.relevance, len(corpus.queries), corpus.num_items, deepest)
    for (system, task), run in runs.items():
        asked = (run, targets[task], system)
        parts.append(score_run(*asked, FULL, settings.ks, depth))
        if task == "search" and not corpus.relevance.empty:
            parts.append(score_run(*asked, ALL_RELEVANT, settings.ks, depth, qrels))
    for (system, task), run in among.items():
        protocol = f"{'bm25' if task == 'search' else 'random'}-{settings.num_negatives}"
        parts.append(score_run(run, sampled[task], system, protocol, settings.ks, depth))
    return join_scores(parts)


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
