"""What a split leaves to learn and to judge from: too little stops, little is warned about.

In: a corpus after its split, and the report of the user's files. Out: a stop, or the report with
counts of targets and warnings. This file does not know how a split is made (splitting.py).
"""

import numpy as np

from gensar_lite.artifacts import SPLITS, ArtifactError, Corpus
from gensar_lite.data.histories import history_bounds, repeated
from gensar_lite.data.report import Finding, Report

FEW = 100  # targets of a task in a split, below which its figures are warned about


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
    cold items, events that the split leaves out, fewer than `FEW` targets, repeated items.

    `funnel` holds the counts of `build_corpus`.
    """
    events = corpus.events
    kept = report.kept | {"users": corpus.num_users, "events": len(events)}
    kept["searches"] = int((events["task"] == "search").sum())
    findings = list(report.findings)

    def warn(table: str, count: int, total: int, what: str, then: str, unit: str = "rows") -> None:
        if count:
            findings.append(Finding("WARN", table, what, count, total, (), "", then, unit))

    # cold items: behaviour says nothing of them
    cold = events["item_id"].nunique() - events.loc[events["split"] == "train", "item_id"].nunique()
    then = "They are kept: only their text is known."
    warn("items", cold, corpus.num_items, "occur in no train event (cold)", then)
    gone = funnel["events_after_targets"]
    total = len(events) + gone
    what = "come after their user's first target (data.split=each-task)"
    then = "No history and no training holds them: they would tell what comes next. See data.split."
    warn("events", gone, total, what, then)
    for split in SPLITS[1:]:
        counts = corpus.targets(split)["task"].value_counts()
        counts = {task: int(counts.get(task, 0)) for task in events["task"].unique()}
        kept |= {f"{split} {task} targets": count for task, count in counts.items()}
        for task, count in counts.items():
            # one clock starves the task that seldom comes last, never the one with more targets
            starved = funnel["split"] == "joint-time" and count < max(counts.values())
            then = f"Figures of {task} will be rough: their intervals are wide. Bring more users"
            then += ", or set data.split=each-task." if starved else "."
            if count < FEW:
                warn("events", count, total, f"are {split} targets of {task}", then)
    rows = np.flatnonzero(events["task"] == "recommend")
    rule = "are left out of every list" if corpus.exclude_seen else "stay candidates"
    then = f"Items of the history {rule}, for every system alike (data.seen_items)."
    what = "take an item that their user has met before"
    again = int(repeated(events, rows).sum())
    warn("events", again, len(rows), what, then, "recommendations")
    return report._replace(findings=findings, kept=kept)
