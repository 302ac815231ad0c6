"""Two evaluated runs, or two systems of one: how far apart they are, and how sure that is.

In: names of runs below a workspace's ``artifacts/``, of systems, of metrics. Out: one record of
paired differences over the whole catalogue, as JSON writes it, and as a table for a terminal. Both
sides must have been asked the same: the same targets of the same log. It speaks of these trained
models on other queries; of other seeds only a study can (`significance.crossed_difference`).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS, ArtifactError, Corpus, open_run
from gensar_lite.config import ConfigError, EvaluationConfig
from gensar_lite.evaluation.protocols import FULL
from gensar_lite.evaluation.report import short
from gensar_lite.evaluation.scores import system_order, values_of
from gensar_lite.evaluation.significance import crossed_difference, holm, randomisation

ASKED = ("event_id", "user_id", "task", "item_id", "query")  # what makes a target
_COLUMNS = ("task", "metric", "first", "second", "difference", "p", "p Holm", "by query", "targets")


class Side(NamedTuple):
    """One of the two: a system of a run, with what the run was asked.

    scores     one value per query, as `evaluate` wrote them
    targets    rows `ASKED` by event id; ``query`` is the text, "" for a recommendation
    num_items  size of the catalogue that was ranked
    settings   how many draws, which confidence and seed
    """

    run: str
    system: str
    scores: pd.DataFrame
    targets: pd.DataFrame
    num_items: int
    settings: EvaluationConfig


def compare_runs(root: Path | str, runs: list[str], systems: str, metrics: str) -> dict:
    """The record of `compare_sides` for two `runs` below ``root/artifacts``.

    systems  one name for both sides, or two with a comma; metrics: names with commas

    Raises `ArtifactError` for a run that is not evaluated, and where targets differ; `ConfigError`
    for names that the runs do not have, and for a side that would be compared with itself.
    """
    names = _words(systems)
    if not 1 <= len(names) <= 2:
        raise ConfigError(f"--system {systems}: write one name, or two with a comma.")
    pairs = list(zip(runs, (names[0], names[-1]), strict=True))
    if pairs[0] == pairs[1]:
        raise ConfigError(
            f"compare: {names[0]} of {runs[0]} is on both sides. Name two runs, or two systems of "
            "one, e.g. --system joint,popularity."
        )
    first, second = (open_side(root, *pair) for pair in pairs)
    refuse_other_targets(first, second)
    return compare_sides(first, second, _words(metrics))


def open_side(root: Path | str, run: str, system: str) -> Side:
    """A system of an evaluated run. Raises `ArtifactError` that names the command to run first."""
    ws = open_run(Path(root) / "artifacts" / run)
    folder, corpus = ws.require("evaluation"), Corpus.load(ws.require("data"))
    scores = pd.read_parquet(folder / "scores.parquet")
    known = sorted(scores["system"].astype(str).unique(), key=system_order)
    if system not in known:
        raise ConfigError(f"--system {system}: the run {run} has {', '.join(known)}.")
    targets = corpus.targets(ws.config.decoding.split)
    # a number of a query means nothing elsewhere; -1, a recommendation's, finds no text
    texts = corpus.queries["text"].astype(object).reindex(targets["query_id"]).fillna("")
    targets = targets.assign(query=texts.to_numpy())[list(ASKED)].reset_index(drop=True)
    return Side(run, system, scores, targets, corpus.num_items, ws.config.evaluation)


def refuse_other_targets(first: Side, second: Side) -> None:
    """Raises `ArtifactError`, saying what differs, unless both were asked the same."""
    pairs = {
        "items in the catalogue": (first.num_items, second.num_items),
        "targets": (len(first.targets), len(second.targets)),
    }
    differ = [f"{a:,} {what} against {b:,}" for what, (a, b) in pairs.items() if a != b]
    if not differ:
        for name in ASKED:
            other = first.targets[name].to_numpy() != second.targets[name].to_numpy()
            if other.any():
                event = first.targets["event_id"].iloc[other.argmax()]
                what = f"another {name} in {other.sum():,} targets, the first at event {event}"
                differ.append(what)
    if differ:
        raise ArtifactError(
            f"compare: {first.run} and {second.run} were not asked the same: {'; '.join(differ)}. "
            "Query by query only runs on one log and split compare: build one of them again with "
            "the data settings and decoding.split of the other (gensar data --run NAME ...)."
        )


def compare_sides(first: Side, second: Side, metrics: list[str]) -> dict:
    """``{first, second, confidence, rows}``: a row per task that both systems answer and per
    metric, p-values adjusted for their number. Raises `ConfigError` where there is none."""
    sides, rows = (first, second), []
    tasks = [task for task in TASKS if all(task in _tasks(side) for side in sides)]
    if not tasks:
        told = "; ".join(f"{side.system}: {', '.join(_tasks(side))}" for side in sides)
        raise ConfigError(f"compare: the two systems share no task ({told}). Choose another one.")
    for task in tasks:
        targets = first.targets[first.targets["task"] == task]
        for metric in metrics:
            pair = [_values(side, task, metric) for side in sides]  # two of (n,)
            rows.append({"task": task, "metric": metric} | _row(*pair, targets, first.settings))
    adjusted = holm([row["p"] for row in rows])
    for row, p_holm in zip(rows, adjusted, strict=True):
        row["p_holm"] = float(p_holm)
    named = [{"run": side.run, "system": side.system} for side in sides]
    confidence = first.settings.confidence
    return {"first": named[0], "second": named[1], "confidence": confidence, "rows": rows}


def _row(
    first: np.ndarray, second: np.ndarray, targets: pd.DataFrame, settings: EvaluationConfig
) -> dict:
    """Means, difference and p-value of values (n,), paired; users, and query strings where there
    are any, are drawn whole."""
    draws = (settings.num_bootstrap, settings.confidence, settings.seed)
    users, queries = targets["user_id"].to_numpy(), targets["query"].to_numpy(dtype=str)
    by_user, by_query = crossed_difference(first, second, users, *draws), None
    if (queries != "").any():
        by_query = crossed_difference(first, second, queries, *draws)
    return {
        "first": float(first.mean()),
        "second": float(second.mean()),
        "difference": by_user.value,
        "low": by_user.low,
        "high": by_user.high,
        "by_query": by_query and {"low": by_query.low, "high": by_query.high},
        "p": randomisation(first, second, seed=settings.seed, clusters=users),
        "num_targets": len(first),
    }


def _tasks(side: Side) -> list[str]:
    return sorted(side.scores.loc[side.scores["system"] == side.system, "task"].unique())


def _values(side: Side, task: str, metric: str) -> np.ndarray:
    values = values_of(side.scores, side.system, task, metric, FULL)
    if not len(values):
        known = ", ".join(sorted(side.scores["metric"].astype(str).unique()))
        raise ConfigError(f"--metric {metric}: the run {side.run} has {known}.")
    return values


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


# ------------------------------------------------------------------------------------- for a person


def comparison_table(record: dict) -> str:
    """The record of `compare_runs` for the terminal: who is first and second, then the rows."""
    sides = [f"{name}: {record[name]['system']} of {record[name]['run']}" for name in _COLUMNS[2:4]]
    table = [_COLUMNS, *map(_cells, record["rows"])]
    widths = [max(map(len, column)) + 2 for column in zip(*table, strict=True)]
    lines = ["".join(map(str.ljust, cells, widths)).rstrip() for cells in table]
    share = f"{100 * record['confidence']:g} %"
    note = (
        f"full catalogue; {share} intervals of first less second, users drawn whole (by query: "
        "query strings); p by randomisation of users, Holm over this table"
    )
    return "\n".join([*sides, *lines, note])


def _cells(row: dict) -> tuple[str, ...]:
    """One row as texts, in the order of `_COLUMNS`."""
    query = row["by_query"]
    return (
        row["task"],
        row["metric"],
        *(short(row[name]) for name in _COLUMNS[2:4]),
        f"{_signed(row['difference'])} {_ends(row)}",
        *(f"{row[name]:.4f}" for name in ("p", "p_holm")),
        _ends(query) if query else "-",
        f"{row['num_targets']:,}",
    )


def _ends(row: dict) -> str:
    return f"[{_signed(row['low'])}, {_signed(row['high'])}]"


def _signed(value: float) -> str:
    """``+.0123``, ``-.0040``; 0 without a sign. Four digits, and more where they would be 0."""
    if value == 0:
        return "0"
    text = f"{abs(value):.4f}" if abs(value) >= 0.00005 else f"{abs(value):.1e}"
    return ("+" if value > 0 else "-") + text.removeprefix("0")
