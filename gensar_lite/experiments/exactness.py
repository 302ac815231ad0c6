"""How often does a beam miss the exact list, and what does that cost?

In: a decoder and target events. Out: one row per task and beam width, and
``reports/<run>/exactness.json``. Everything is decoded in fp32, where equal scores of near twins do
not look like misses. This file trains nothing.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS, Corpus, Workspace
from gensar_lite.data import left_out
from gensar_lite.decoding import Decoder, Question, load_decoder, search_exact
from gensar_lite.decoding.paths import Ranking
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.experiments.cells import Cell, input_digests, run_cells
from gensar_lite.metrics import ndcg_at, rank_of_target, recall_at
from gensar_lite.training import TASK_OF_EVENTS

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
        search = functools.partial(_lists, decoder, targets, k, batch_size)
        # the truth first; every beam is compared with it
        exact = search(lambda question: search_exact(decoder, question, 3 * k, k))
        for width in beams:
            lists = search(lambda question, width=width: decoder.answer(question, width))
            rows.append(_row(width, lists, exact, targets))
        rows.append(_row("exact", exact, exact, targets))
    return rows


def _lists(
    decoder: Decoder,
    targets: pd.DataFrame,
    k: int,
    batch_size: int,
    answer: Callable[[Question], Ranking],
) -> Lists:
    """The list of every target of one task; recommendations leave out what users met before."""
    task = targets["task"].iloc[0]
    events = targets["event_id"].to_numpy()
    seen = left_out(decoder.generator.corpus) if task == "recommend" else None
    items = np.full((len(events), k), -1)  # -1: no answer
    certified = np.zeros(len(events), dtype=bool)
    lengths = decoder.generator.builder.lengths(TASK_OF_EVENTS[task], events)
    order = np.argsort(-lengths, kind="stable")  # sources of one batch are about as long
    started = time.perf_counter()
    for low in range(0, len(order), batch_size):
        places = order[low : low + batch_size]
        rows = events[places]
        exclude = seen.pairs(rows) if seen else None
        ranking = answer(decoder.question(task, rows, exclude=exclude))
        best = ranking.items[:, :k]  # fewer columns than k where beams are fewer
        items[places, : best.shape[1]] = best
        certified[places] = ranking.settled(k)
    return Lists(items, certified, time.perf_counter() - started)


def _row(width: object, lists: Lists, exact: Lists, targets: pd.DataFrame) -> dict[str, object]:
    shared = []
    for beam_list, exact_list in zip(lists.items, exact.items, strict=True):
        wanted = exact_list[exact_list >= 0]  # -1: the list is shorter
        shared.append(np.isin(wanted, beam_list).mean())
    ranks = rank_of_target(lists.items, targets["item_id"].to_numpy())
    k = lists.items.shape[1]
    return {
        "task": targets["task"].iloc[0],
        "num_beams": width,
        "queries": len(targets),
        "missed_rate": float(np.mean(np.array(shared) < 1)),
        "found_rate": float(np.mean(shared)),
        "certified_rate": float(lists.certified.mean()),
        f"recall@{k}": float(recall_at(ranks, k).mean()),
        f"ndcg@{k}": float(ndcg_at(ranks, k).mean()),
        "ms_a_query": round(1000 * lists.seconds / len(targets), 2),
    }


def measure_exactness(ws: Workspace, sample: int) -> tuple[pd.DataFrame, Path]:
    """`beam_misses` on a fixed sample of the decoded split, `sample` targets per task; the file.

    A task that was measured with the same model and sample is kept.
    """
    settings = ws.config.decoding
    seed = ws.config.evaluation.seed
    path = ws.report / "exactness.json"
    made_from = {
        "split": settings.split,
        "sample": sample,
        "k": 10,
        "head": ws.config.training.head,
        "beams": list(BEAMS),
        "seed": seed,
        "inputs": input_digests(ws, "training"),
    }
    load = functools.cache(lambda: load_decoder(ws))  # once, and only where something is missing
    corpus = Corpus.load(ws.require("data"))
    tasks = [task for task in TASKS if len(corpus.targets(settings.split, task))]

    def measured(task: str) -> pd.DataFrame:
        targets = sample_targets(corpus.targets(settings.split, task), sample, seed)
        return pd.DataFrame(beam_misses(load(), targets, batch_size=settings.batch_size))

    cells = [
        Cell(task, path, made_from, functools.partial(measured, task), {"task": task})
        for task in tasks
    ]
    results, _ = run_cells("exactness", cells)
    return pd.concat(results.values(), ignore_index=True), path
