"""What the machine decides: number format and threads by measuring, files whole or absent."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gensar_lite.config import TrainingConfig
from gensar_lite.machine import atomic, measured, precision, threads


class Clock:
    """A clock that only work moves on: `work` says how long each kind takes."""

    def __init__(self, **work: float):
        self.now, self.work, self.calls = 0.0, work, 0

    def __call__(self) -> float:
        return self.now

    def run(self, kind: str) -> None:
        self.calls += 1
        self.now += self.work[kind]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A function that makes this a machine whose work takes as many seconds as it says."""

    def make(fp32=1.0, bf16=1.0, one=1.0, all_threads=1.0, folder=tmp_path) -> Clock:
        clock = Clock(fp32=fp32, bf16=bf16, one=one, all=all_threads)
        forget()
        monkeypatch.setattr(measured, "perf_counter", clock)
        monkeypatch.setattr(measured, "answers_file", lambda: Path(folder) / "measured.json")
        monkeypatch.setattr(precision, "_products", lambda b: clock.run("bf16" if b else "fp32"))
        monkeypatch.setattr(threads, "_step", lambda n, _: clock.run("one" if n == 1 else "all"))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(precision, "_knows_bf16", lambda: True)
        return clock

    yield make
    forget()


def forget() -> None:
    """As a new process: only what is on disk is known."""
    measured._known.clear()


@pytest.mark.parametrize(
    ("bf16", "takes_it"), [(1 / 0.57, False), (1 / 1.19, False), (1 / 1.25, True), (0.25, True)]
)
def test_auto_takes_bf16_where_it_is_clearly_faster(machine, bf16, takes_it):
    machine(fp32=1.0, bf16=bf16)
    assert precision.use_bf16("auto") is takes_it
    facts = precision.how_computed("auto")
    assert facts["bf16"] is takes_it
    assert facts["bf16_times_faster"] == pytest.approx(1 / bf16, abs=1e-3)


def test_a_format_that_is_named_is_not_measured(machine):
    clock = machine()
    assert precision.use_bf16("bf16")
    assert not precision.use_bf16("fp32")
    assert "bf16_times_faster" not in precision.how_computed("fp32")
    assert clock.calls == 0


def test_a_processor_without_bf16_is_not_measured(machine, monkeypatch):
    clock = machine(bf16=0.1)
    monkeypatch.setattr(precision, "_knows_bf16", lambda: False)
    assert not precision.use_bf16("auto")
    assert clock.calls == 0


def test_the_answer_is_kept_for_the_machine(machine):
    machine(bf16=0.5)
    assert precision.use_bf16("auto")
    slower = machine(bf16=3.0)  # a later process in a busy hour
    assert precision.use_bf16("auto")
    assert slower.calls == 0


@pytest.mark.parametrize("change", ["processor", "torch", "threads"])
def test_a_changed_machine_measures_again(machine, monkeypatch, change):
    machine(bf16=0.5)
    assert precision.use_bf16("auto")
    machine(bf16=3.0)
    if change == "processor":
        monkeypatch.setattr(measured, "processor", lambda: "another one")
    elif change == "torch":
        monkeypatch.setattr(torch, "__version__", "99.0")
    else:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert not precision.use_bf16("auto")


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"a": "b"}', '{"half', "null"])
def test_answers_that_cannot_be_read_are_measured_anew(machine, tmp_path, text):
    (tmp_path / "measured.json").write_text(text)
    machine(bf16=0.5)
    assert precision.use_bf16("auto")
    assert list(json.loads((tmp_path / "measured.json").read_text()).values()) == [2.0]


def test_a_cache_that_cannot_be_written_is_no_error(machine, tmp_path):
    (tmp_path / "file").write_text("")
    clock = machine(bf16=0.5, folder=tmp_path / "file" / "below")  # a folder below a file
    assert precision.use_bf16("auto")
    calls = clock.calls
    assert precision.use_bf16("auto")
    assert clock.calls == calls, "one process measures once"


def test_a_single_slow_round_decides_nothing():
    times = iter([9, 1, 1, 50, 1, 1])
    clock = Clock()

    def usual():
        clock.now += 1

    def other():
        clock.now += next(times) / 2

    real, measured.perf_counter = measured.perf_counter, clock
    try:
        assert measured.measure(usual, other) == 2.0
    finally:
        measured.perf_counter = real


@pytest.mark.parametrize(("all_threads", "number"), [(1.7, 1), (0.9, 1), (0.6, 2)])
def test_small_models_get_the_threads_that_pay(machine, monkeypatch, all_threads, number):
    machine(one=1.0, all_threads=all_threads)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert threads.preferred_threads(64) == number
        with threads.threads_for(64):
            assert torch.get_num_threads() == number
        assert torch.get_num_threads() == 2, "what was there is given back"
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("way", ["variable", "call"])
def test_threads_that_the_user_chose_win(machine, monkeypatch, way):
    clock = machine(one=1.0, all_threads=9.0)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if way == "variable":
        monkeypatch.setenv("OMP_NUM_THREADS", "5")
    before = torch.get_num_threads()
    torch.set_num_threads(5 if way == "variable" else 77)
    try:
        assert threads.preferred_threads(64) == torch.get_num_threads()
        assert clock.calls == 0
    finally:
        torch.set_num_threads(before)


def test_threads_wait_asleep_unless_the_user_says_otherwise():
    assert os.environ["OMP_WAIT_POLICY"]
    assert os.environ["KMP_BLOCKTIME"]


def test_this_machine_measures_in_a_moment_and_moves_no_random_number():
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    precision._products(False)
    started = time.process_time()
    measured.measure(lambda: precision._products(False), lambda: precision._products(True))
    assert time.process_time() - started < 5  # of processor time, on any machine
    threads._step(1, 64)
    assert torch.equal(torch.rand(3), wanted)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new folder" / "a.txt"
    atomic.write_text(path, "old")

    def half():
        with atomic.replacing(path) as draft:
            draft.write_text("ha")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text() == "old"
    atomic.write_bytes(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"], "no draft is left"


def test_a_run_that_goes_on_keeps_the_format_it_began_with(tmp_path, monkeypatch):
    from gensar_lite.training.loop import loop
    from gensar_lite.training.loop.checkpoint import Checkpoints, Group, checkpoint_name

    trainer = loop.Trainer.__new__(loop.Trainer)
    trainer.settings = TrainingConfig(precision="auto")
    trainer.model = SimpleNamespace(config=SimpleNamespace(hidden_size=8))
    checkpoints = Checkpoints(tmp_path / "c", {}, lambda text: None)
    for prefers in (True, False):
        monkeypatch.setattr(loop, "use_bf16", lambda _, prefers=prefers: prefers)
        assert trainer._number_format(None) is prefers
        assert trainer._number_format(checkpoints) is prefers, "nothing to go on from"
    group = {"model": Group("weights-1", {"w": torch.ones(1)})}
    checkpoints.save(checkpoint_name(1, 0), group, {"bf16": True})
    assert trainer._number_format(checkpoints) is True, "the machine would prefer fp32 by now"
    (tmp_path / "c" / checkpoint_name(1, 0) / "manifest.json").write_text("{half")
    assert trainer._number_format(checkpoints) is False
