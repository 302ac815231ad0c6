"""Choices that this machine makes by measuring: made once and kept, so that equal seeds stay equal.

In: two ways to do the same work. Out: how many times faster the second one is, the same number for
every later run on this machine. This file does not know what is chosen.
"""

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
_known: dict[str, float] = {}  # one process decides once, also where nothing can be kept


def times_faster(choice: str, usual: Callable[[], object], other: Callable[[], object]) -> float:
    """How many times faster `other` was than `usual` when this machine was first asked.

    The answer to `choice` belongs to the processor, its number of cores and torch's version: a
    changed machine measures again. It lies in `answers_file`; where that cannot be read or written,
    every process measures anew, which is never an error.
    """
    if choice not in _known:
        key = f"{choice}; {processor()}, {os.cpu_count()} cores, torch {torch.__version__}"
        path = answers_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # processes that start together wait here and all take the first one's answer
            with FileLock(path.with_suffix(".lock"), timeout=20):
                answers = _read(path)  # under the lock: it may have come while we waited
                if key not in answers:
                    answers[key] = measure(usual, other)
                    write_json(path, answers)
                _known[choice] = answers[key]
        except (OSError, Timeout):
            _known[choice] = measure(usual, other)
    return _known[choice]


def measure(usual: Callable[[], object], other: Callable[[], object]) -> float:
    """The ratio of the medians of their seconds, rounded as it is kept.

    The two take turns, so that a busy moment of the machine slows both.
    """
    for work in (usual, other):  # the first call of anything is slow
        work()
    rounds = []
    for _ in range(_ROUNDS):
        start = perf_counter()
        usual()
        middle = perf_counter()
        other()
        rounds.append((middle - start, perf_counter() - middle))
    medians = np.median(rounds, axis=0)
    return round(float(medians[0] / medians[1]), 3)


def answers_file() -> Path:
    """Where this user's answers lie: in the cache folder that the system provides for each user."""
    return Path(pooch.os_cache("gensar_lite")) / "measured.json"


def processor() -> str:
    """The processor's model, and which of the units for bf16 it shows to programs."""
    # virtual machines of one name differ in these units
    pattern = r"(?<=^model name\t: ).*|\b(?:avx512_bf16|amx_bf16)\b"
    try:
        words = set(re.findall(pattern, Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    except OSError:  # no Linux
        words = set()
    return " ".join(sorted(words)) or platform.processor() or platform.machine()


def _read(path: Path) -> dict[str, float]:
    """The answers that can be used; none where the file is missing or damaged."""
    try:
        return {key: float(value) for key, value in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
