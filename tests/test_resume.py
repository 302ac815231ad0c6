"""Exact resume: a training that is killed at any instant ends bit by bit as the one that nobody
disturbed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import run_bench
from benchmarks.resume import stress_resume
from gensar_lite.config import ConfigError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork processes")
TESTS = Path(__file__).parent


def crash_points(world: int) -> dict:
    command = [sys.executable, str(TESTS / "crash_points.py"), str(world)]
    places = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": places,
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_one_process_killed_at_every_kind_of_instant_ends_the_same():
    outcome = crash_points(1)
    assert outcome["unlike"] == []
    assert outcome["points"] >= 45
    phases = ("step", "validation", "write", "link", "sync", "manifest", "rename", "remove")
    assert set(outcome["kinds"]) == {
        f"{when} {phase}" for phase in phases for when in ("before", "after")
    } | {"within write"}
    assert max(row["score"] for row in outcome["curve"]) > 0  # something was chosen by


@pytest.mark.slow
def test_two_processes_killed_end_the_same_and_equal_one():
    outcome = crash_points(2)
    assert outcome["unlike"] == []
    assert outcome["points"] == 6
    for one, two in zip(outcome["alone"], outcome["curve"], strict=True):
        for name in one:
            if name.endswith("/loss"):
                assert two[name] == pytest.approx(one[name], rel=1e-5), name
    assert outcome["rankings"] == [True, True]  # on each process: that of one process, exactly


@pytest.mark.slow
def test_the_stress_counts_its_kills():
    code = "from benchmarks import run_bench; print(run_bench('resume', as_json=True, kills=3))"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600
    )
    outcome = json.loads(done.stdout)
    assert (outcome["name"], outcome["kills"], outcome["mismatches"]) == ("resume", 3, [])
    assert outcome["equal"] == outcome["runs"] <= 3
    assert sum(outcome["phases"].values()) == 3


def test_where_processes_cannot_be_forked_the_stress_says_so(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ConfigError, match="fork"):
        stress_resume(1)


def test_an_unknown_bench_names_resume_too():
    with pytest.raises(ConfigError, match="resume"):
        run_bench("nothing")
