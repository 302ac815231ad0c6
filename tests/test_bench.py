"""What a bench reports: the form, further ratios by name, and how often each side is called."""

from __future__ import annotations

import json

import pytest

import gensar_lite.bench as bench
from gensar_lite.bench.contest import Contest, measure

FIGURES = ["ratio", "ours", "baseline", "unit", "equal", "peak_mib_ours", "peak_mib_baseline", "settings"]


def contest(calls: list[str], **more) -> Contest:
    def side(name: str, answer: int):
        return lambda: calls.append(name) or answer

    return Contest(side("ours", 1), side("plain", 2), lambda a, b: a / b, 8, "items", {"size": 8}, **more)


def test_sides_are_interleaved_after_one_unmeasured_round():
    calls: list[str] = []
    found = measure("x", contest(calls), 2)
    assert list(found) == ["name", *FIGURES, "machine"]
    assert calls == ["ours", "plain"] * 3
    assert found["equal"] == 0.5
    assert found["settings"] == {"size": 8, "rounds": 2}
    assert found["ratio"] == pytest.approx(found["ours"] / found["baseline"], abs=0.006)  # rounded to two places


def test_further_contests_and_calls_are_reported_by_name():
    inner: list[str] = []
    found = measure("x", contest([], more={"long": contest(inner, once=True), "fact": lambda: {"seconds": 3}}), 5)
    assert list(found) == ["name", *FIGURES, "machine", "ratio_long", "long", "fact"]
    assert inner == ["ours", "plain"]  # once
    assert list(found["long"]) == FIGURES
    assert found["ratio_long"] == found["long"]["ratio"]
    assert found["long"]["settings"]["rounds"] == 1
    assert found["fact"] == {"seconds": 3}


def test_a_bench_is_one_json_object_or_a_table(monkeypatch):
    monkeypatch.setitem(bench.BENCHES, "x", lambda: contest([], more={"other": contest([])}))
    assert list(json.loads(bench.run_bench("x", rounds=1, as_json=True)))[-2:] == ["ratio_other", "other"]
    assert any(line.startswith("ratio_other") for line in bench.run_bench("x", rounds=1).splitlines())


@pytest.mark.slow
def test_both_roads_of_the_training_bench_read_and_write_the_same_ids():
    """The recipe's strings, tokenised one by one, are the loop's integers: for all eight variants of the tasks."""
    from gensar_lite.bench.training import PAPER_MIX, bench_training

    contest = bench_training(num_examples=40, backbone="t5-micro", batch_size=8, num_items=250)
    assert set(contest.settings["examples"]) == set(PAPER_MIX)
    assert contest.equal(0, 0) == contest.more["clean"].equal(0, 0) == 1.0
    assert contest.ours() > contest.baseline() == -(-contest.amount // 8)  # one task a batch: more, shorter batches
