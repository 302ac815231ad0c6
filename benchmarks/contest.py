"""A contest of two ways to the same answer: interleaved in one process, medians, agreement, memory.

In: two calls and how their answers are compared. Out: one plain dictionary, of the same form for
every bench. This file does not know what is measured.
"""

from __future__ import annotations

import multiprocessing
import platform
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import psutil
import torch

from benchmarks.products import FORMATS, efficiency, product_speed
from gensar_lite.machine.memory import give_back

SIDES = ("ours", "baseline")


class Contest(NamedTuple):
    """Two ways to the same answer.

    amount    what one call handles, in `unit`
    equal     compares the answers of both: 1 for equal ones
    isolated  each call has a process of its own, where memory is the question: what one side leaves
              in the allocators' pools would hide what the other needs. Calls are then importable
    once      one round and no unmeasured one: for calls of minutes
    products  format of ours' matrix products, fp32 or bf16, where these are most of its work: then
              its efficiency is told, by one more call
    more      further contests of the same bench by name, or calls whose answers are reported as
              they are
    """

    ours: Callable[[], object]
    baseline: Callable[[], object]
    equal: Callable[[object, object], float]
    amount: int
    unit: str
    settings: dict
    isolated: bool = False
    once: bool = False
    products: str = ""
    more: Mapping[str, Contest | Callable[[], object]] = {}


def measure(name: str, contest: Contest, rounds: int) -> dict[str, object]:
    """Medians of `rounds` interleaved calls, their ratio, agreement and peak memory.

    Before them comes one unmeasured round (unless isolated); the heap is emptied before its calls.
    Of `contest.more`, a contest X adds ``ratio_X`` and its figures as ``X``, a call Y its answer.
    """
    result = {"name": name} | _figures(contest, rounds) | {"machine": machine()}
    for other, part in contest.more.items():
        # a contest beside the first one, or a fact that is reported as it is
        if isinstance(part, Contest):
            figures = _figures(part, rounds)
            result |= {f"ratio_{other}": figures["ratio"], other: figures}
        else:
            result[other] = part()
    return result


def _figures(contest: Contest, rounds: int) -> dict[str, object]:
    calls = {"ours": contest.ours, "baseline": contest.baseline}
    rounds = 1 if contest.once else rounds
    answers: dict[str, object] = {}
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    peaks = dict.fromkeys(SIDES, 0.0)
    # caches, allocators and lazy imports warm up before anything counts
    if not (contest.isolated or contest.once):
        for side in SIDES:
            give_back()  # what an earlier call left in the heap would hide what this one needs
            peaks[side] = timed(calls[side])[2]
    # sides take turns, so that a busy machine slows both
    for _ in range(rounds):
        for side in SIDES:
            answers[side], took, peak = timed(calls[side], apart=contest.isolated)
            seconds[side].append(took)
            peaks[side] = max(peaks[side], peak)
    ours, baseline = (statistics.median(seconds[side]) for side in SIDES)
    near = efficiency(contest.ours, ours, contest.products) if contest.products else {}
    return {
        "ratio": round(baseline / ours, 2),  # above 1: ours is faster
        **near,
        "ours": round(contest.amount / ours, 2),
        "baseline": round(contest.amount / baseline, 2),
        "unit": f"{contest.unit}/s",
        "equal": round(contest.equal(answers["ours"], answers["baseline"]), 4),
        "peak_mib_ours": round(peaks["ours"], 1),
        "peak_mib_baseline": round(peaks["baseline"], 1),
        "settings": contest.settings | {"rounds": rounds},
    }


def timed(call: Callable[[], object], apart: bool = False) -> tuple[object, float, float]:
    """The answer of one call, its seconds, and how far resident memory rose, MiB (every 2 ms).

    With `apart` in a fresh process, whose start and imports are not counted.
    """
    if apart:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(timed, call).result()
    process = psutil.Process()
    done = threading.Event()
    low = process.memory_info().rss
    highest = [low]

    def watch() -> None:
        # a thread beside the call: peaks between two looks of 2 ms are missed on both sides
        while not done.wait(0.002):
            highest[0] = max(highest[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.perf_counter()
    answer = call()
    took = time.perf_counter() - started
    done.set()
    watcher.join()
    return answer, took, (highest[0] - low) / 2**20


def machine() -> dict[str, object]:
    """What a figure was measured on: cores, threads, processor, speed of products, torch, GPU."""
    return {
        "cores": psutil.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "gflops": {name: product_speed(name) for name in FORMATS},
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
