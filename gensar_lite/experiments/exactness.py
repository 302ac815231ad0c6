"""How often a beam misses the exact list, and what that costs.

In: a decoder and target events. Out: one row a task and beam width, and ``reports/<run>/exactness.json``.
Everything is decoded in fp32, where equal scores of near twins do not look like misses. This file trains nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS, Workspace, write_json
from gensar_lite.data import Seen, left_out
from gensar_lite.decoding import Decoder, Found, load_decoder, search_exact
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.metrics import ndcg_at, rank_of_target, recall_at

BEAMS = (10, 20, 30, 50, 100)
Search = Callable[[np.ndarray, tuple | None], Found]  # event rows, excluded pairs


def beam_misses(
    decoder: Decoder,
    events: pd.DataFrame,
    beams: Iterable[int] = BEAMS,
    k: int = 10,
    batch_size: int = 64,
) -> list[dict[str, object]]:
    """For target `events` of any tasks, each beam beside the exact list: one row a task and width, ``exact`` last.

    missed_rate     share of queries whose top k is not the exact one, as a set
    found_rate      share of the exact top k that the beam found
    certified_rate  share of queries whose top k the search itself knows to be exact
    recall@k, ndcg@k of the event's item; ms_a_query, wall time

    With fewer than k beams a list is short, and so missed.
    """
    decoder, rows_out = dataclasses.replace(decoder, precision="fp32"), []
    for task in TASKS:
        part = events[events["task"] == task]
        if part.empty:
            continue
        seen = left_out(decoder.generator.corpus) if task == "recommend" else None

        def beam(rows: np.ndarray, exclude: tuple | None, width: int, task: str = task) -> Found:
            return decoder.search(task, rows, width, exclude=exclude)

        def exact(rows: np.ndarray, exclude: tuple | None, task: str = task) -> Found:
            return search_exact(
                decoder, task, *decoder.sources(task, rows), 3 * k, k, exclude=exclude
            )

        batches = decoder.batches(
            task, np.arange(len(part)), part["event_id"].to_numpy(), batch_size
        )
        truth, *rest = _answers(exact, part, batches, seen, k)
        for width in beams:
            found = _answers(functools.partial(beam, width=width), part, batches, seen, k)
            rows_out.append(_row(task, width, *found, truth, part, k))
        rows_out.append(_row(task, "exact", truth, *rest, truth, part, k))
    return rows_out


def _answers(
    search: Search, part: pd.DataFrame, batches: list[np.ndarray], seen: Seen | None, k: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Items (B, k), which queries are certified (B,), seconds in all."""
    rows = part["event_id"].to_numpy()
    items, certified, started = (
        np.full((len(rows), k), -1),
        np.zeros(len(rows), dtype=bool),
        time.perf_counter(),
    )
    for places in batches:
        found = search(rows[places], seen.pairs(rows[places]) if seen else None)
        given = min(k, found.items.shape[1])
        items[places, :given] = found.items[:, :given]
        certified[places] = found.settled(k)
    return items, certified, time.perf_counter() - started


def _row(
    task: str,
    width: object,
    items: np.ndarray,
    certified: np.ndarray,
    seconds: float,
    truth: np.ndarray,
    part: pd.DataFrame,
    k: int,
) -> dict[str, object]:
    shared = [
        len(set(a) & set(b)) / len(set(b))
        for a, b in zip(_valid(items), _valid(truth), strict=True)
    ]
    ranks = rank_of_target(items, part["item_id"].to_numpy())
    return {
        "task": task,
        "num_beams": width,
        "queries": len(items),
        "missed_rate": float(np.mean(np.array(shared) < 1)),
        "found_rate": float(np.mean(shared)),
        "certified_rate": float(certified.mean()),
        f"recall@{k}": float(recall_at(ranks, k).mean()),
        f"ndcg@{k}": float(ndcg_at(ranks, k).mean()),
        "ms_a_query": round(1000 * seconds / len(items), 2),
    }


def _valid(items: np.ndarray) -> list[list[int]]:
    return [row[row >= 0].tolist() for row in items]


def write_exactness(ws: Workspace, sample: int, beams: Iterable[int] = BEAMS, k: int = 10) -> Path:
    """`beam_misses` on a fixed sample of the decoded split, `sample` targets a task. Returns the file."""
    decoder, settings = load_decoder(ws), ws.config.decoding
    events = decoder.generator.corpus
    parts = [
        sample_targets(events.targets(settings.split, task), sample, ws.config.evaluation.seed)
        for task in TASKS
    ]
    rows = beam_misses(decoder, pd.concat(parts), beams, k, settings.batch_size)
    ws.report.mkdir(parents=True, exist_ok=True)
    path = ws.report / "exactness.json"
    told = {
        "split": settings.split,
        "sample": sample,
        "k": k,
        "head": ws.config.training.head,
        "rows": rows,
    }
    write_json(path, told)
    return path
