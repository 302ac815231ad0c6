"""How often does a beam miss the exact list, and what does that cost?

In: a decoder and target events. Out: one row per task and beam width, and
``reports/<run>/exactness.json``. Everything is decoded in fp32, where equal scores of near twins do
not look like misses. This file trains nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS, Workspace
from gensar_lite.data import left_out
from gensar_lite.decoding import Decoder, Question, load_decoder, search_exact
from gensar_lite.decoding.paths import Ranking
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.experiments.cells import Cell, input_digests, run_cells
from gensar_lite.metrics import ndcg_at, rank_of_target, recall_at

BEAMS = (10, 20, 30, 50, 100)


class Lists(NamedTuple):
    """The lists of all queries: items (B, k), whether each is certified (B,), seconds in all."""

    items: np.ndarray
    certified: np.ndarray
    seconds: float


def beam_misses(
    decoder: Decoder,
    events: pd.DataFrame,
    beams: Iterable[int] = BEAMS,
    k: int = 10,
    batch_size: int = 64,
) -> list[dict[str, object]]:
    """For target `events` of any tasks, each beam beside the exact list, which comes last.

    One row per task and width:
    missed_rate     share of queries whose top k is not the exact one, as a set
    found_rate      share of the exact top k that the beam found
    certified_rate  share of queries whose top k the search itself knows to be exact
    recall@k, ndcg@k of the event's item; ms_a_query, wall time

    With fewer than k beams a list is short, and so missed.
    """
    # in bf16 twins with equal scores change places by rounding: that is no miss
    decoder = dataclasses.replace(decoder, precision="fp32")
    rows = []
    for task in TASKS:
        targets = events[events["task"] == task]
        if targets.empty:
            continue
        search = functools.partial(_lists, decoder, task, targets, k, batch_size)
        # the truth first; every beam is compared with it
        exact = search(lambda question: search_exact(decoder, question, 3 * k, k))
        for width in beams:
            lists = search(lambda question, width=width: decoder.answer(question, width))
            rows.append(_row(task, width, lists, exact, targets, k))
        rows.append(_row(task, "exact", exact, exact, targets, k))
    return rows


def _lists(
    decoder: Decoder,
    task: str,
    targets: pd.DataFrame,
    k: int,
    batch_size: int,
    answer: Callable[[Question], Ranking],
) -> Lists:
    """Every target's list by `answer`; recommendations leave out what their users met before."""
    events = targets["event_id"].to_numpy()
    seen = left_out(decoder.generator.corpus) if task == "recommend" else None
    items = np.full((len(events), k), -1)  # -1: no answer
    certified = np.zeros(len(events), dtype=bool)
    batches = decoder.batches(task, np.arange(len(events)), events, batch_size)
    started = time.perf_counter()
    for places in batches:
        rows = events[places]
        exclude = seen.pairs(rows) if seen else None
        ranking = answer(decoder.question(task, rows, exclude=exclude))
        best = ranking.items[:, :k]  # fewer columns than k where beams are fewer
        items[places, : best.shape[1]] = best
        certified[places] = ranking.settled(k)
    return Lists(items, certified, time.perf_counter() - started)


def _row(
    task: str, width: object, lists: Lists, exact: Lists, targets: pd.DataFrame, k: int
) -> dict[str, object]:
    shared = []
    for beam_list, exact_list in zip(lists.items, exact.items, strict=True):
        wanted = exact_list[exact_list >= 0]  # -1: the list is shorter
        shared.append(np.isin(wanted, beam_list).sum() / len(wanted))
    ranks = rank_of_target(lists.items, targets["item_id"].to_numpy())
    return {
        "task": task,
        "num_beams": width,
        "queries": len(targets),
        "missed_rate": float(np.mean(np.array(shared) < 1)),
        "found_rate": float(np.mean(shared)),
        "certified_rate": float(lists.certified.mean()),
        f"recall@{k}": float(recall_at(ranks, k).mean()),
        f"ndcg@{k}": float(ndcg_at(ranks, k).mean()),
        "ms_a_query": round(1000 * lists.seconds / len(targets), 2),
    }


def measure_exactness(
    ws: Workspace, sample: int, beams: Iterable[int] = BEAMS, k: int = 10
) -> tuple[pd.DataFrame, Path]:
    """`beam_misses` on a fixed sample of the decoded split, `sample` targets per task; the file.

    A task that was measured with the same model, sample and beams is kept.
    """
    settings = ws.config.decoding
    seed = ws.config.evaluation.seed
    path = ws.report / "exactness.json"
    made_from = {
        "split": settings.split,
        "sample": sample,
        "k": k,
        "head": ws.config.training.head,
        "beams": list(beams),
        "seed": seed,
        "inputs": input_digests(ws, "training"),
    }
    load = functools.cache(lambda: load_decoder(ws))  # once, and only where something is missing

    def measured(task: str) -> pd.DataFrame:
        targets = load().generator.corpus.targets(settings.split, task)
        targets = sample_targets(targets, sample, seed)
        return pd.DataFrame(beam_misses(load(), targets, beams, k, settings.batch_size))

    cells = [
        Cell(task, path, made_from, functools.partial(measured, task), {"task": task})
        for task in TASKS
    ]
    results, _ = run_cells("exactness", cells)
    return pd.concat(results.values(), ignore_index=True), path
