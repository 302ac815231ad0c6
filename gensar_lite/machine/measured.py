"""Choices that this machine makes by measuring: made once and kept, so that equal seeds stay equal.

In: two ways to do the same work. Out: how many times faster the second one is, the same number for
every later run on this machine. This file does not know what is chosen.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import pooch
import torch
from filelock import FileLock, Timeout

from gensar_lite.machine.atomic import write_json

WORTH = 1.2  # times faster an alternative must be to be taken: less is within the noise
_ROUNDS = 5
_FEWEST_ROUNDS = 3  # on a machine so busy that they take longer than
_SECONDS = 1.0


def times_faster(usual: Callable[[], object], other: Callable[[], object]) -> float:
    """How many times faster `other` is than `usual`: the ratio of the medians of their seconds.

    The two take turns, so that a busy moment of the machine slows both.
    """
    for work in (usual, other):  # the first call of anything is slow
        work()
    rounds = []
    while len(rounds) < _ROUNDS:
        if len(rounds) >= _FEWEST_ROUNDS and np.sum(rounds) > _SECONDS:
            break
        start = perf_counter()
        usual()
        middle = perf_counter()
        other()
        rounds.append((middle - start, perf_counter() - middle))
    medians = np.median(rounds, axis=0)
    return float(medians[0] / medians[1])


def kept(choice: str, measure: Callable[[], float]) -> float:
    """What `measure` said of `choice` when this machine was first asked.

    The answer belongs to the processor, its number of cores and torch's version: a changed machine
    measures again. It lies in `answers_file`; where that cannot be read or written, every call
    measures anew, which is never an error.
    """
    key = f"{choice}; {processor()}, {os.cpu_count()} cores, torch {torch.__version__}"
    path = answers_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # processes that start together wait here and all take the first one's answer
        with FileLock(path.with_suffix(".lock"), timeout=20):
            answers = _read(path)  # read under the lock: it may have come while we waited
            if key not in answers:
                # rounded before it is used: this run must decide as the next one will
                answers[key] = round(measure(), 3)
                write_json(path, answers)
            return answers[key]
    except (OSError, Timeout):
        return round(measure(), 3)


def answers_file() -> Path:
    """Where this user's answers lie: in the cache folder that the system provides for each user."""
    return Path(pooch.os_cache("gensar_lite")) / "measured.json"


def processor() -> str:
    """The processor's model, and which of the units for bf16 it shows to programs."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # no Linux
        return platform.processor() or platform.machine()
    # one block of lines per core, all alike: the last one stands
    fields = dict(re.findall(r"^(model name|flags)\s*: (.*)", text, re.MULTILINE))
    # virtual machines of one name differ in these
    units = {"avx512_bf16", "amx_bf16"} & set(fields.get("flags", "").split())
    return " ".join([fields.get("model name", platform.machine()), *sorted(units)])


def _read(path: Path) -> dict[str, float]:
    """The answers that can be used; none where the file is missing or damaged."""
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
        return {k: float(v) for k, v in answers.items() if isinstance(v, int | float) and v > 0}
    except (OSError, ValueError, AttributeError):
        return {}
