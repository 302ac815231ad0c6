"""The data stage: from a source's tables to a validated, split corpus on disk.

In: `DataConfig`. Out: ``items, queries, events, relevance`` as parquet, a funnel of counts, the true process of the
built-in shop, the users and the report of own files. This file does not know what a later stage makes of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from gensar_lite.artifacts import SPLITS, TASKS, ArtifactError, Corpus, Workspace, say
from gensar_lite.config import ConfigError, DataConfig
from gensar_lite.data.histories import history_bounds, repeated
from gensar_lite.data.leaks import release
from gensar_lite.data.report import Finding, Report
from gensar_lite.data.sources import load_source, source_files
from gensar_lite.data.splitting import (
    LEFT_OUT,
    choose_split,
    drop_short_users,
    each_task_split,
    held_out_queries,
    joint_time_split,
)
from gensar_lite.data.tables import Tables

# Inside a time step there is no order: rows stand by item, a purchase before its search twin, however they came.
# Everything later (histories, vectors, metrics) then depends on what happened, not on how a file was written
ORDER = ["user_id", "time", "item_id", "task", "query_id"]
FEW = 100  # targets of a task in a split, below which its figures are warned about
REPEATS = (
    0.05  # share of recommendations of an item met before, from which on such items stay candidates
)


def build_corpus(tables: Tables, settings: DataConfig) -> tuple[Corpus, dict[str, object]]:
    """Sort, filter, renumber and split a source's tables; also the funnel of what was kept.

    Raises `ArtifactError` with the funnel when no user is left.
    """
    order = (
        ORDER[:2] if settings.split == "per-task" else ORDER
    )  # the release keeps a file's order: part of its leak
    events = tables.events.sort_values(order, kind="stable", ignore_index=True)
    funnel: dict[str, object] = {
        "events_read": len(events),
        "users_read": int(events["user_id"].nunique()),
    }
    events, funnel["users_dropped"] = drop_short_users(events, settings.min_events)
    if events.empty:
        raise ArtifactError(
            f"data: no user has at least {settings.min_events} time steps ({funnel}). "
            "Lower data.min_events or bring a longer log."
        )
    number, users = pd.factorize(events["user_id"])
    name = choose_split(events) if settings.split == "auto" else settings.split
    events = split_events(events.assign(user_id=number), name)
    left_out = (events["split"] == LEFT_OUT).to_numpy()
    events = events[~left_out].reset_index(drop=True)
    funnel |= {"split": name, "events_after_targets": int(left_out.sum())}
    held_out = held_out_queries(tables.queries, settings.unseen_rate, settings.seed)
    events, funnel["search_events_held_out"] = drop_train_searches(events, held_out)
    events.insert(0, "event_id", np.arange(len(events)))
    queries = tables.queries.assign(seen=seen_queries(tables.queries, events))
    rate = repeat_rate(events)
    funnel["repeat_rate"] = round(rate, 4)
    own = None if tables.users is None else tables.users["source_id"].to_numpy()[users]
    corpus = Corpus(
        tables.items, queries, events, tables.relevance, leave_out_seen(settings, rate), own
    ).check()
    return corpus, funnel | statistics(corpus) | {"facts": tables.facts}


def split_events(events: pd.DataFrame, name: str) -> pd.DataFrame:
    """The log with its column ``split``, by a name of `splitting`, or as the paper released it (``per-task``).

    Raises `ConfigError` that lists the names.
    """
    if name == "joint-time":
        return events.assign(split=joint_time_split(events))
    if name == "each-task":
        return events.assign(split=each_task_split(events))
    if name == "per-task":
        return release(events)
    raise ConfigError(
        f"data.split: there is no {name!r}. Choose one of: auto, joint-time, each-task, per-task."
    )


def repeat_rate(events: pd.DataFrame) -> float:
    """Share of train and validation recommendations, after a user's first step, whose item stands in their history."""
    start, end = history_bounds(events)
    asked = (events["task"] == "recommend") & (events["split"] != "test") & (end > start)
    again = repeated(events, np.flatnonzero(asked))
    return float(again.mean()) if len(again) else 0.0


def leave_out_seen(settings: DataConfig, rate: float) -> bool:
    """The log's rule about seen items, `Corpus.exclude_seen`. Raises `ConfigError` that lists the choices."""
    rules = {"auto": rate < REPEATS, "leave-out": True, "keep": False}
    if settings.seen_items not in rules:
        raise ConfigError(
            f"data.seen_items: there is no {settings.seen_items!r}. Choose one of: {', '.join(rules)}."
        )
    return rules[settings.seen_items]


def drop_train_searches(events: pd.DataFrame, held_out: np.ndarray) -> tuple[pd.DataFrame, int]:
    """The log without train searches whose query is `held_out` (Q,), and how many went. Purchases stay."""
    query = events["query_id"].to_numpy()
    gone = (events["split"] == "train").to_numpy() & (query >= 0)
    gone[gone] = held_out[query[gone]]
    return events[~gone].reset_index(drop=True), int(gone.sum())


def seen_queries(queries: pd.DataFrame, events: pd.DataFrame) -> np.ndarray:
    """Whether each query's string, whatever its id, occurs in a train search, (Q,) booleans."""
    train = events.loc[
        (events["split"] == "train") & (events["query_id"] >= 0), "query_id"
    ].unique()
    return queries["text"].isin(set(queries["text"].to_numpy()[train])).to_numpy()


def statistics(corpus: Corpus) -> dict[str, object]:
    """Counts that describe a corpus: sizes, events per task and split, kinds of search targets, and cold items."""
    counts = corpus.events.groupby(["task", "split"]).size()
    train_items = corpus.events.loc[corpus.events["split"] == "train", "item_id"].unique()
    return {
        "items": corpus.num_items,
        "queries": len(corpus.queries),
        "users": corpus.num_users,
        "events": len(corpus.events),
        "by_task": {
            task: {split: int(counts.get((task, split), 0)) for split in SPLITS} for task in TASKS
        },
        "search_targets": search_targets(corpus),
        "items_without_train_event": corpus.num_items - len(train_items),
        "exclude_seen": corpus.exclude_seen,
    }


def search_targets(corpus: Corpus) -> dict[str, dict[str, int]]:
    """Search targets of validation and test: with a query that training has seen, with an unseen one, and by kind."""
    found = {}
    for split in SPLITS[1:]:
        asked = corpus.queries.loc[corpus.targets(split, "search")["query_id"]]
        counts = {"seen": int(asked["seen"].sum()), "unseen": int((~asked["seen"]).sum())}
        kinds = asked["kind"].value_counts().sort_index() if "kind" in asked else {}
        found[split] = counts | {kind: int(count) for kind, count in kinds.items()}
    return found


def prepare(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/data`` (or reuse it); own files' report is printed. Returns the folder."""

    def make(folder: Path) -> dict:
        tables = load_source(ws.config.data)
        corpus, report = build_corpus(tables, ws.config.data)
        if tables.report is not None:
            check_splits(corpus, str(report["split"]))
        corpus.save(folder)
        if tables.truth is not None:
            save_file(
                {k: np.ascontiguousarray(v) for k, v in tables.truth.items()},
                folder / "truth.safetensors",
            )
        if tables.report is not None:
            told = with_targets(with_cold_items(tables.report, corpus), corpus, report)
            told.save(folder)
            say(told.text())
        return report

    folder = ws.build("data", make, outside=source_files(ws.config.data))
    if (folder / "report.json").exists():
        told = Report.load(folder)
        say(
            f"data: {len(told.findings)} findings in {folder.relative_to(ws.root)}/report.json; {told.kept_line()}"
        )
    return folder


def check_splits(corpus: Corpus, split: str) -> None:
    """Raises `ArtifactError` for a log too small to train and to judge a task that it has; `split` names its rule."""
    other = "" if split == "each-task" else ", or set data.split=each-task"
    count = {part: len(corpus.targets(part, "recommend")) for part in SPLITS}
    start, end = history_bounds(corpus.events)
    train = (
        (corpus.events["split"] == "train") & (corpus.events["task"] == "recommend")
    ).to_numpy()
    pairs = int((train & (end > start)).sum())
    if not pairs or not count["validation"] or not count["test"]:
        listed = ", ".join(f"{number} {part}" for part, number in count.items())
        raise ArtifactError(
            f"events: after the split by time there are {listed} recommendations, {pairs} of the train ones with an "
            f"earlier event of their user. Learning needs some of each: bring more users or longer logs{other}."
        )
    count = {part: len(corpus.targets(part, "search")) for part in SPLITS}
    if any(count.values()) and not all(count.values()):
        listed = ", ".join(f"{number} {part}" for part, number in count.items())
        raise ArtifactError(
            f"events: after the split by time there are {listed} searches, and a split without any says nothing about "
            f"search. Bring more searches (of users with three time steps or more){other}, or leave the queries out: "
            "then recommendation alone is learned."
        )


def with_cold_items(report: Report, corpus: Corpus) -> Report:
    """`report` with a warning about items that only validation or test events know: behaviour says nothing of them."""
    known = corpus.events.groupby("item_id")["split"].agg(lambda splits: (splits == "train").any())
    cold = int((~known).sum())
    if not cold:
        return report
    what, then = "occur in no train event (cold)", "They are kept: only their text is known."
    return report._replace(
        findings=[
            *report.findings,
            Finding("WARN", "items", what, cold, corpus.num_items, (), "", then),
        ]
    )


def with_targets(report: Report, corpus: Corpus, funnel: dict) -> Report:
    """`report` with the targets of each task and split among what is kept, the rule about seen items, and warnings:
    events that the split leaves out, and fewer than `FEW` targets of a task."""
    findings, kept = list(report.findings), dict(report.kept)
    kept |= {"users": corpus.num_users, "events": len(corpus.events)}
    kept["searches"] = int((corpus.events["task"] == "search").sum())
    total = len(corpus.events) + funnel["events_after_targets"]
    if funnel["events_after_targets"]:
        then = "No history and no training holds them: they would tell what comes next. See data.split."
        what = "come after their user's first target (data.split=each-task)"
        findings.append(
            Finding("WARN", "events", what, funnel["events_after_targets"], total, (), "", then)
        )
    for split in SPLITS[1:]:
        counts = corpus.targets(split)["task"].value_counts()
        for task in corpus.events["task"].unique():
            count = kept[f"{split} {task} targets"] = int(counts.get(task, 0))
            if 0 < count < FEW:
                # one clock starves the task that seldom comes last, never the one that has more targets
                starved = funnel["split"] == "joint-time" and count < counts.max()
                then = (
                    f"Figures of {task} will be rough: their intervals are wide. Bring more users"
                )
                then += ", or set data.split=each-task." if starved else "."
                what = f"are {split} targets of {task}"
                findings.append(Finding("WARN", "events", what, count, total, (), "", then))
    again = repeated(corpus.events, rows := np.flatnonzero(corpus.events["task"] == "recommend"))
    if again.any():
        rule = "are left out of every list" if corpus.exclude_seen else "stay candidates"
        then = f"Items of the history {rule}, for every system alike (data.seen_items)."
        what, count = "take an item that their user has met before", (int(again.sum()), len(rows))
        findings.append(Finding("WARN", "events", what, *count, (), "", then, "recommendations"))
    return report._replace(findings=findings, kept=kept)
