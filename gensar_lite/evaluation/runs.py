"""A `Run` is a table ``event_id, item_id, rank (from 1), score``: what a system answered.

In: matrices of scores or items. Out: runs, runs checked, runs as padded matrices or TREC run files.
This file does not know which system wrote a run, nor what the right answers are.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError
from gensar_lite.machine.ranges import within

RUN_COLUMNS = ["event_id", "item_id", "rank", "score"]


def run_from_scores(
    event_ids: np.ndarray, scores: np.ndarray, k: int, items: np.ndarray | None = None
) -> pd.DataFrame:
    """The run that `scores` (B, N) give, k items per event at most, none of ``-inf``.

    Column j stands for item j, or for ``items[:, j]`` when `items` (B, C) lists each event's
    candidates (-1 = no candidate). Ties are broken by item id. Raises `ArtifactError` on NaN.
    """
    if np.isnan(scores).any():
        raise ArtifactError(
            "run: a score is NaN. The system's scores() must return numbers, -inf for 'never'."
        )
    if items is not None:  # in the order of ids, so that column order breaks ties by id
        by_id = np.argsort(items, axis=1, kind="stable")
        items = np.take_along_axis(items, by_id, axis=1)
        scores = np.where(items >= 0, np.take_along_axis(scores, by_id, axis=1), -np.inf)
    size = scores.shape[1]
    chosen = scores > -np.inf
    if k < size:  # the k-th best and its ties: few are left to be sorted
        chosen &= scores >= np.partition(scores, size - k, axis=1)[:, size - k, None]
    # sort what is left by row, then falling score, then column; a place within a row is a rank
    row, column = np.nonzero(chosen)
    order = np.lexsort((column, -scores[row, column], row))
    rank = within(np.bincount(row, minlength=len(scores))) + 1  # rows ascend before and after
    row, column, rank = row[order][rank <= k], column[order][rank <= k], rank[rank <= k]
    item = column if items is None else items[row, column]
    parts = (np.asarray(event_ids)[row], item, rank, scores[row, column].astype(np.float64))
    return pd.DataFrame(dict(zip(RUN_COLUMNS, parts, strict=True)))


def check_run(
    run: pd.DataFrame, num_items: int, event_ids: np.ndarray | None = None
) -> pd.DataFrame:
    """Assert a run's promises and return it sorted by event and rank; an event may have no answer.

    Raises `ArtifactError` that names the first event at fault.
    """
    missing = [name for name in RUN_COLUMNS if name not in run.columns]
    if missing:
        wanted = ", ".join(RUN_COLUMNS)
        raise ArtifactError(f"run: no column {', '.join(missing)}; a run has {wanted}.")
    run = run[RUN_COLUMNS].sort_values(["event_id", "rank"], kind="stable", ignore_index=True)
    event, item, rank, score = (run[name].to_numpy() for name in RUN_COLUMNS)
    same = event[1:] == event[:-1]  # as in the row above
    # the rank in the row above, 0 where an event begins: ranks must rise by one from there
    previous = np.r_[0, np.where(same, rank[:-1], 0)] if len(run) else rank
    strange = np.zeros(0, dtype=bool) if event_ids is None else ~np.isin(event, event_ids)
    for what, bad in (
        ("asks for an event that is no target", strange),
        (f"holds an item outside [0, {num_items})", (item < 0) | (item >= num_items)),
        ("lists an item twice", run.duplicated(["event_id", "item_id"]).to_numpy()),
        ("has ranks that are not 1, 2, 3, ...", rank != previous + 1),
        ("has a score that is not finite", ~np.isfinite(score)),
        ("has scores that rise with the rank", np.r_[False, same & (score[1:] > score[:-1])]),
    ):
        if bad.any():
            raise ArtifactError(
                f"run: event {event[bad.argmax()]} {what} ({bad.sum()} rows). Build the run again."
            )
    return run


def to_matrix(run: pd.DataFrame, event_ids: np.ndarray, k: int) -> np.ndarray:
    """The items of `event_ids` (B,) as (B, k), best first, padded with -1; events without an answer
    are all -1."""
    row_of = pd.Series(np.arange(len(event_ids)), index=np.asarray(event_ids))
    kept = run[run["event_id"].isin(row_of.index) & (run["rank"] <= k)]
    matrix = np.full((len(event_ids), k), -1, dtype=np.int64)
    matrix[row_of[kept["event_id"]].to_numpy(), kept["rank"].to_numpy() - 1] = kept["item_id"]
    return matrix


def write_trec(
    run: pd.DataFrame, path: Path | str, name: str, item_names: Sequence[str] | None = None
) -> Path:
    """Write a TREC run file, ``event Q0 item rank score name`` per line, for trec_eval, ir_measures
    or ranx.

    `item_names` (N,) are the ids of a user's own files (``corpus.items["source_id"]``); without
    them an item is its number. White space, which ends a column, and ``%`` are written as in web
    addresses (``a%20b``), so that no two ids become one. Those tools sort by score and order ties
    their own way, so the score is ``1 / rank``, strictly decreasing, not the system's.
    """
    tag, told = "_".join(name.split()) or "run", trec_names(run["item_id"], item_names)
    lines = [
        f"{event} Q0 {item} {rank} {1 / rank:.9f} {tag}\n"
        for event, item, rank in zip(run["event_id"], told, run["rank"], strict=True)
    ]
    Path(path).write_text("".join(lines), encoding="utf-8")
    return Path(path)


def write_qrels(
    qrels: pd.DataFrame, path: Path | str, item_names: Sequence[str] | None = None
) -> Path:
    """Write a TREC qrels file, ``event 0 item grade`` per line, from ``event_id, item_id, grade``;
    items are named as `write_trec` names them."""
    told = trec_names(qrels["item_id"], item_names)
    rows = zip(qrels["event_id"], told, qrels["grade"], strict=True)
    lines = [f"{event} 0 {item} {grade}\n" for event, item, grade in rows]
    Path(path).write_text("".join(lines), encoding="utf-8")
    return Path(path)


def trec_names(items: pd.Series, item_names: Sequence[str] | None) -> list[str]:
    """How TREC files name `items` (R,): one word each, see `write_trec`."""
    if item_names is None:
        return items.astype(str).tolist()
    # each name once: a run asks for the same items again and again
    safe = [re.sub(r"[\s%]", lambda hit: quote(hit[0], safe=""), str(n)) for n in item_names]
    return [safe[item] for item in items]
