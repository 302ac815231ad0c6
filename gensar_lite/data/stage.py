"""The data stage: from a source's tables to a validated, split corpus on disk.

In: `DataConfig`. Out: ``items, queries, events, relevance`` as parquet, a funnel of counts, the
true process of the built-in shop, the users and the report of the user's files. This file does not
know what a later stage makes of it.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from gensar_lite.artifacts import SPLITS, TASKS, ArtifactError, Corpus, Workspace, say
from gensar_lite.config import DataConfig
from gensar_lite.data.histories import history_bounds, repeated
from gensar_lite.data.leaks import release
from gensar_lite.data.report import Checks, Report
from gensar_lite.data.sources import Tables, load_source, source_files
from gensar_lite.data.splitting import (
    LEFT_OUT,
    choose_split,
    each_task_split,
    held_out_queries,
    joint_time_split,
    user_steps,
)

# Inside a time step there is no order: rows stand by item, a purchase before its search twin,
# however they came. Everything later (histories, vectors, metrics) then depends on what happened,
# not on how a file was written
ORDER = ["user_id", "time", "item_id", "task", "query_id"]
# share of recommendations of an item met before, from which on such items stay candidates
REPEATS = 0.05
FEW = 100  # targets of a task in a split, below which its figures are warned about


def prepare(ws: Workspace) -> Path:
    """Build (or reuse) and return ``artifacts/<run>/data``; prints the report of a user's files."""

    def make(folder: Path) -> dict:
        tables = load_source(ws.config.data)
        corpus, funnel = build_corpus(tables, ws.config.data)
        report = tables.report
        if report is not None:
            check_splits(corpus, str(funnel["split"]))
            report = with_targets(report, corpus, funnel)
        corpus.save(folder)
        if tables.truth is not None:
            tensors = {name: np.ascontiguousarray(array) for name, array in tables.truth.items()}
            save_file(tensors, folder / "truth.safetensors")
        if report is not None:
            report.save(folder)
            say(report.text())
        return funnel

    folder = ws.build("data", make, outside=source_files(ws.config.data))
    if (folder / "report.json").exists():
        report = Report.load(folder)
        place = folder.relative_to(ws.root) / "report.json"
        say(f"data: {len(report.findings)} findings in {place}; {report.kept_line()}")
    return folder


def build_corpus(tables: Tables, settings: DataConfig) -> tuple[Corpus, dict[str, object]]:
    """Sort, filter, renumber and split a source's tables; also the funnel of what was kept, with
    which `ArtifactError` is raised when no user is left."""
    events, users, funnel = _usable_events(tables, settings)
    # 1. the split, by time or as the paper released it; what follows a target and is none leaves
    name = choose_split(events) if settings.split == "auto" else settings.split
    if name == "per-task":
        events = release(events)
    else:
        rules = {"joint-time": joint_time_split, "each-task": each_task_split}
        events = events.assign(split=rules[name](events))
    is_left_out = (events["split"] == LEFT_OUT).to_numpy()
    events = events[~is_left_out].reset_index(drop=True)
    # 2. queries that training must not know: their train searches go, purchases stay
    held_out = held_out_queries(tables.queries, settings.unseen_rate, settings.seed)
    query = events["query_id"].to_numpy()
    gone = (events["split"] == "train").to_numpy() & (query >= 0)
    gone[gone] = held_out[query[gone]]
    events = events[~gone].reset_index(drop=True)
    events.insert(0, "event_id", np.arange(len(events)))
    # a query is seen where its string, whatever its id, occurs in a train search
    searched = (events["split"] == "train") & (events["query_id"] >= 0)
    texts = tables.queries["text"]
    seen = texts.isin(set(texts.to_numpy()[events.loc[searched, "query_id"].unique()])).to_numpy()
    # 3. the rule about items met before, for every later stage
    rate = repeat_rate(events)
    exclude_seen = {"auto": rate < REPEATS, "leave-out": True, "keep": False}[settings.seen_items]
    source_ids = None if tables.users is None else tables.users["source_id"].to_numpy()[users]
    queries = tables.queries.assign(seen=seen)
    corpus = Corpus(tables.items, queries, events, tables.relevance, exclude_seen, source_ids)
    funnel |= {
        "split": name,
        "events_after_targets": int(is_left_out.sum()),
        "search_events_held_out": int(gone.sum()),
        "repeat_rate": round(rate, 4),
    }
    return corpus.check(), funnel | statistics(corpus) | {"facts": tables.facts}


def _usable_events(
    tables: Tables, settings: DataConfig
) -> tuple[pd.DataFrame, np.ndarray, dict[str, object]]:
    """Sorted events of the users (U,) who can train, validate and test, numbered without gaps, and
    the funnel so far."""
    # one order for every file; the release keeps the file's, which is part of its leak
    order = ORDER[:2] if settings.split == "per-task" else ORDER
    events = tables.events.sort_values(order, kind="stable", ignore_index=True)
    funnel: dict[str, object] = {"events_read": len(events)}
    funnel["users_read"] = events["user_id"].nunique()
    events = events[user_steps(events)[1] >= settings.min_events]
    number, users = pd.factorize(events["user_id"])
    funnel["users_dropped"] = funnel["users_read"] - len(users)
    if events.empty:
        raise ArtifactError(
            f"data: no user has at least {settings.min_events} time steps ({funnel}). "
            "Lower data.min_events or bring a longer log."
        )
    return events.assign(user_id=number), users, funnel


def repeat_rate(events: pd.DataFrame) -> float:
    """Share of train and validation recommendations, after a user's first step, whose item stands
    in their history."""
    start, end = history_bounds(events)
    asked = (events["task"] == "recommend") & (events["split"] != "test") & (end > start)
    again = repeated(events, np.flatnonzero(asked))
    return float(again.mean()) if len(again) else 0.0


def statistics(corpus: Corpus) -> dict[str, object]:
    """Counts that describe a corpus: sizes, events per task and split, targets, cold items."""
    counts = corpus.events.groupby(["task", "split"]).size()
    train_items = corpus.events.loc[corpus.events["split"] == "train", "item_id"].unique()
    by_task = {
        task: {split: int(counts.get((task, split), 0)) for split in SPLITS} for task in TASKS
    }
    search_targets = {}  # of a split: seen by training, unseen, and per kind
    for split in SPLITS[1:]:
        asked = corpus.queries.loc[corpus.targets(split, "search")["query_id"]]
        kinds = asked["kind"].value_counts().sort_index() if "kind" in asked else pd.Series()
        seen = {"seen": int(asked["seen"].sum()), "unseen": int((~asked["seen"]).sum())}
        search_targets[split] = seen | kinds.astype(int).to_dict()
    return {
        "items": corpus.num_items,
        "queries": len(corpus.queries),
        "users": corpus.num_users,
        "events": len(corpus.events),
        "by_task": by_task,
        "search_targets": search_targets,
        "items_without_train_event": corpus.num_items - len(train_items),
        "exclude_seen": corpus.exclude_seen,
    }


# ------------------------------------------------------- what there is to learn and to judge from


def check_splits(corpus: Corpus, split: str) -> None:
    """Raises `ArtifactError` for a log too small to train and to judge a task that it has; `split`
    is the name of its split."""
    other = "" if split == "each-task" else ", or set data.split=each-task"
    counts = {part: len(corpus.targets(part, "recommend")) for part in SPLITS}
    start, end = history_bounds(corpus.events)
    asks = corpus.events[["split", "task"]].eq(["train", "recommend"]).all(axis=1).to_numpy()
    num_pairs = int((asks & (end > start)).sum())  # a history and the item that follows
    if not num_pairs or not counts["validation"] or not counts["test"]:
        raise ArtifactError(
            f"events: after the split by time there are {_listed(counts)} recommendations, "
            f"{num_pairs} of the train ones with an earlier event of their user. Learning needs "
            f"some of each: bring more users or longer logs{other}."
        )
    counts = {part: len(corpus.targets(part, "search")) for part in SPLITS}
    if any(counts.values()) and not all(counts.values()):
        raise ArtifactError(
            f"events: after the split by time there are {_listed(counts)} searches, and a split "
            "without any says nothing about search. Bring more searches (of users with three time "
            f"steps or more){other}, or leave the queries out: then recommendation alone is "
            "learned."
        )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {part}" for part, count in counts.items())


def with_targets(report: Report, corpus: Corpus, funnel: dict) -> Report:
    """`report` with the targets of each task and split among what is kept, and with warnings about
    cold items, events that the split leaves out (`funnel`), few targets, repeated items."""
    events = corpus.events
    kept = report.kept | {"users": corpus.num_users, "events": len(events)}
    kept["searches"] = int((events["task"] == "search").sum())
    findings = list(report.findings)

    def warn(rule: str, table: str, count: int, total: int, **words: object) -> None:
        if count:
            unit = "recommendations" if rule == "met-before" else "rows"
            Checks(table, 1.0, findings).note(rule, count, total, unit, **words)

    # cold items: behaviour says nothing of them
    cold = events["item_id"].nunique() - events.loc[events["split"] == "train", "item_id"].nunique()
    warn("cold", "items", cold, corpus.num_items)
    gone = funnel["events_after_targets"]
    total = len(events) + gone
    warn("after-target", "events", gone, total)
    for split in SPLITS[1:]:
        counts = corpus.targets(split)["task"].value_counts()
        counts = {task: int(counts.get(task, 0)) for task in events["task"].unique()}
        kept |= {f"{split} {task} targets": count for task, count in counts.items()}
        for task, count in counts.items():
            # one clock starves the task that seldom comes last, never the one with more targets
            starved = funnel["split"] == "joint-time" and count < max(counts.values())
            other = ", or set data.split=each-task" if starved else ""
            if count < FEW:
                warn("few", "events", count, total, split=split, task=task, other=other)
    rows = np.flatnonzero(events["task"] == "recommend")
    fate = "are left out of every list" if corpus.exclude_seen else "stay candidates"
    warn("met-before", "events", int(repeated(events, rows).sum()), len(rows), fate=fate)
    return report._replace(findings=findings, kept=kept)
