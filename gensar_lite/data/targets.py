"""What a split leaves to learn and to judge from: too little stops, little is warned about.

In: a corpus after its split, and the report of the user's files. Out: a stop, or the report with
counts of targets and warnings. This file does not know how a split is made (splitting.py).
"""

from __future__ import annotations

import numpy as np

from gensar_lite.artifacts import SPLITS, ArtifactError, Corpus
from gensar_lite.data.histories import history_bounds, repeated
from gensar_lite.data.report import Finding, Report

FEW = 100  # targets of a task in a split, below which its figures are warned about


def check_splits(corpus: Corpus, split: str) -> None:
    """Raises `ArtifactError` for a log too small to train and to judge a task that it has.

    `split` is the name of the log's split.
    """
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
    """`report` with the targets of each task and split among what is kept, and with warnings.

    `funnel` holds the counts of `build_corpus`. Warned about are cold items, events that the split
    leaves out, fewer than `FEW` targets of a task, and items that users repeat.
    """
    events = corpus.events
    kept = dict(report.kept)
    kept |= {"users": corpus.num_users, "events": len(events)}
    kept["searches"] = int((events["task"] == "search").sum())
    for split in SPLITS[1:]:
        counts = corpus.targets(split)["task"].value_counts()
        kept |= {f"{split} {task} targets": int(counts.get(task, 0)) for task in _tasks(corpus)}
    findings = [*report.findings, *_cold(corpus), *_left_out(corpus, funnel)]
    findings += [*_few(corpus, kept, funnel), *_repeats(corpus)]
    return report._replace(findings=findings, kept=kept)


def _tasks(corpus: Corpus) -> np.ndarray:
    return corpus.events["task"].unique()


def _warning(table: str, what: str, count: int, total: int, then: str, unit: str = "rows") -> list:
    """A warning about `count` of `total` rows; none where nothing is to be said."""
    return [Finding("WARN", table, what, count, total, (), "", then, unit)] if count else []


def _cold(corpus: Corpus) -> list[Finding]:
    """Items that only validation or test events know: behaviour says nothing of them."""
    train = corpus.events.loc[corpus.events["split"] == "train", "item_id"].unique()
    count = corpus.events["item_id"].nunique() - len(train)
    then = "They are kept: only their text is known."
    return _warning("items", "occur in no train event (cold)", count, corpus.num_items, then)


def _left_out(corpus: Corpus, funnel: dict) -> list[Finding]:
    count = funnel["events_after_targets"]
    what = "come after their user's first target (data.split=each-task)"
    then = "No history and no training holds them: they would tell what comes next. See data.split."
    return _warning("events", what, count, len(corpus.events) + count, then)


def _few(corpus: Corpus, kept: dict[str, int], funnel: dict) -> list[Finding]:
    findings = []
    total = len(corpus.events) + funnel["events_after_targets"]
    for split in SPLITS[1:]:
        counts = {task: kept[f"{split} {task} targets"] for task in _tasks(corpus)}
        for task, count in counts.items():
            # one clock starves the task that seldom comes last, never the one with more targets
            starved = funnel["split"] == "joint-time" and count < max(counts.values())
            then = f"Figures of {task} will be rough: their intervals are wide. Bring more users"
            then += ", or set data.split=each-task." if starved else "."
            if count < FEW:
                findings += _warning("events", f"are {split} targets of {task}", count, total, then)
    return findings


def _repeats(corpus: Corpus) -> list[Finding]:
    rows = np.flatnonzero(corpus.events["task"] == "recommend")
    count = int(repeated(corpus.events, rows).sum())
    what = "take an item that their user has met before"
    rule = "are left out of every list" if corpus.exclude_seen else "stay candidates"
    then = f"Items of the history {rule}, for every system alike (data.seen_items)."
    return _warning("events", what, count, len(rows), then, "recommendations")
