"""Speed as a ratio: our method and a plain baseline, interleaved in one process, medians. And one
stress: `resume`, which kills a training and compares what it becomes.

In: a bench's name. Out: one JSON object of the same form for all, or the same as a table. A
baseline is the plain use of the library or recipe it names; both sides get the same inputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from benchmarks.contest import Contest, measure
from benchmarks.data import bench_data
from benchmarks.decoding import bench_decoding
from benchmarks.identifiers import bench_identifiers
from benchmarks.resume import stress_resume
from benchmarks.training import bench_training
from gensar_lite.config import ConfigError

BENCHES: dict[str, Callable[[], Contest]] = {
    "data": bench_data,
    "identifiers": bench_identifiers,
    "decoding": bench_decoding,
    "training": bench_training,
}


def run_bench(name: str, rounds: int = 3, as_json: bool = False, kills: int = 20) -> str:
    """Run the bench called `name`; the text to print. Raises `ConfigError` that lists them."""
    # a stress, no contest: it has kills instead of rounds
    if name == "resume":
        result = stress_resume(max(kills, 1))
    elif name in BENCHES:
        result = measure(name, BENCHES[name](), max(rounds, 1))
    else:
        names = ", ".join([*BENCHES, "resume"])
        raise ConfigError(f"bench: there is no {name!r}. Choose one of: {names}.")
    if as_json:
        return json.dumps(result)
    return "\n".join(f"{key:<18} {value}" for key, value in result.items())
