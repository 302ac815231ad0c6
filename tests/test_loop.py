"""The training loop against other ways of knowing: formulas by hand, a second run, one process
beside two."""

import math
import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from helpers import random_identifiers, small_corpus, workspace
from hypothesis import given
from hypothesis import strategies as st
from transformers import T5Config, T5ForConditionalGeneration

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.decoding import Decoder, load_decoder
from gensar_lite.machine.memory import give_back
from gensar_lite.machine.processes import gather_frame, my_share, together
from gensar_lite.pipeline import train_with_ranking
from gensar_lite.training import harmonic_mean, new_generator
from gensar_lite.training.loop.checkpoint import Checkpoints, Group, checkpoint_name
from gensar_lite.training.loop.figures import figures
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.loop.optimiser import dropout_seed, learning_rate, my_slots
from gensar_lite.training.loop.state import Interrupt
from gensar_lite.training.sequences.mixture import Plan
from gensar_lite.training.stage import new_mixture

SMALL = TrainingConfig(num_text_tokens=400, batch_size=8, epochs=3)


def override_training(**changes) -> TrainingConfig:
    return TrainingConfig(**({"num_text_tokens": 400, "batch_size": 8, "epochs": 3} | changes))


# -------------------------------------------------------------------------- learning rate and score


def test_learning_rate_rises_then_falls_to_two_percent():
    training = TrainingConfig(lr=2.0, warmup_rate=0.1)
    rates = [learning_rate(step, 200, training) for step in range(200)]
    assert rates[:20] == pytest.approx([2.0 * (i + 1) / 20 for i in range(20)])
    assert rates[20] == pytest.approx(2.0)
    assert (np.diff(rates[20:]) <= 0).all()
    assert rates[110] == pytest.approx(2.0 * 0.51)  # half way down
    assert learning_rate(200, 200, training) == pytest.approx(0.04)
    assert learning_rate(0, 1, training) > 0


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=4))
def test_harmonic_mean_lies_between_least_and_mean(values):
    assert min(values) - 1e-12 <= harmonic_mean(values) <= np.mean(values) + 1e-12


def test_harmonic_mean_by_hand():
    assert harmonic_mean([0.5, 0.25]) == pytest.approx(1 / 3)
    assert harmonic_mean([0.9, 0.0]) == 0.0
    assert harmonic_mean([]) == 0.0


# -------------------------------------------------------------------------------------- checkpoints


def checkpoint(
    folder: Path, step: int, epochs: int = 0, notes: list | None = None, **identity
) -> dict:
    tensors = {"w": torch.full((3,), float(step)), "b": torch.arange(4)}
    groups = {
        "model": Group(f"weights-{step}", tensors),
        "best": Group("weights-0", {"w": torch.zeros(3)}),
    }
    there = Checkpoints(folder, identity or {"training.lr": 0.1}, (notes or []).append)
    there.newest()
    there.save(checkpoint_name(step, epochs), groups, {"step": step})
    return tensors


def opened(folder: Path, notes: list | None = None, **identity) -> Checkpoints:
    return Checkpoints(
        folder, identity or {"training.lr": 0.1}, print if notes is None else notes.append
    )


def test_checkpoint_round_trip_keeps_the_newest_and_one_of_an_earlier_step(tmp_path):
    for step, epochs in ((1, 0), (2, 0), (3, 0), (3, 1)):
        wanted = checkpoint(tmp_path, step, epochs)
    names = ["step-00000002-epochs-0000", "step-00000003-epochs-0001"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert opened(tmp_path).newest() == (3, 1)
    tensors, progress = opened(tmp_path).load(names[1])
    assert progress == {"step": 3}
    assert all(torch.equal(tensors["model"][k], v) for k, v in wanted.items())
    assert opened(tmp_path / "nothing").newest() is None
    (tmp_path / ".draft-7").mkdir()  # of a killed run
    checkpoint(tmp_path, 4)
    assert sorted(p.name[:4] for p in tmp_path.iterdir()) == ["step", "step"]


def test_what_has_not_changed_is_linked_and_not_written_again(tmp_path):
    checkpoint(tmp_path, 1)
    checkpoint(tmp_path, 2)
    first, second = sorted(tmp_path.iterdir())
    assert (first / "best.safetensors").samefile(second / "best.safetensors")
    assert not (first / "model.safetensors").samefile(second / "model.safetensors")
    same = {name: Group("weights-5", {"w": torch.ones(2)}) for name in ("model", "best")}
    opened(tmp_path).save(checkpoint_name(5, 0), same, {})
    assert (
        len({p.stat().st_ino for p in (tmp_path / checkpoint_name(5, 0)).glob("*.safetensors")})
        == 1
    )


def test_without_links_a_file_is_copied(tmp_path, monkeypatch):
    checkpoint(tmp_path, 1)

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    checkpoint(tmp_path, 2)
    assert opened(tmp_path).newest() == (2, 0)


@pytest.mark.parametrize(
    "harm", ["no manifest", "flipped bit", "cut short", "lost file", "broken manifest", "alien"]
)
def test_a_damaged_checkpoint_is_passed_over_with_a_note(tmp_path, harm):
    checkpoint(tmp_path, 2)
    checkpoint(tmp_path, 3)
    newer, notes = tmp_path / "step-00000003-epochs-0000", []
    weights = newer / "model.safetensors"
    data = bytearray(weights.read_bytes())
    if harm == "no manifest":
        (newer / "manifest.json").unlink()
    elif harm == "flipped bit":
        data[-3] ^= 1
        weights.write_bytes(data)
    elif harm == "cut short":
        weights.write_bytes(data[:-5])
    elif harm == "lost file":
        weights.unlink()
    else:
        (newer / "manifest.json").write_text(
            '{"step": 3, "fing' if harm == "broken manifest" else "[1]"
        )
    there = opened(tmp_path, notes)
    assert there.newest() == (2, 0)
    assert len(notes) == 1
    assert "step-00000003" in notes[0]
    assert there.load(checkpoint_name(2, 0))[0]["model"]["w"].tolist() == [2.0] * 3
    checkpoint(tmp_path, 3)  # the run goes on and comes by again
    assert opened(tmp_path).newest() == (3, 0)


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (
            {"training.lr": 0.2, "processes": 2},
            r"training\.lr 0\.1 -> 0\.2\. Go on .* back to 0\.1; .*--run NAME",
        ),
        ({"training.lr": 0.1, "processes": 1}, r"processes 2 -> 1"),
        ({"training.lr": 0.1, "processes": 2, "data": "f" * 64}, r"data None -> ffffffff\.\.\."),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_name(tmp_path, identity, message):
    checkpoint(tmp_path, 1, **{"training.lr": 0.1, "processes": 2})
    with pytest.raises(ArtifactError, match=message):
        opened(tmp_path, **identity).newest()


def test_a_process_that_cannot_see_the_folder_says_so(tmp_path):
    with pytest.raises(ArtifactError, match="disk that they share"):
        opened(tmp_path).load(checkpoint_name(1, 0))


# -------------------------------------------------------------------------------------- slots, sums


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 3))
def test_an_epoch_is_computed_once_however_it_is_shared_out(num_batches, world, accumulate):
    plans = [
        Plan("nrip", np.array([i, 100 + i]), np.zeros(2, dtype=int)) for i in range(num_batches)
    ]
    done = []
    for begin in range(0, num_batches, world * accumulate):
        mine = plans[begin : begin + world * accumulate]
        slots = [my_slots(mine, rank, world) for rank in range(world)]
        assert all(
            0 < len(mine_of_process) <= accumulate for mine_of_process in slots
        )  # every process takes part
        merged = sorted(
            (s for mine_of_process in slots for s in mine_of_process if s.counts),
            key=lambda s: s.number,
        )
        assert [s.number for s in merged] == list(range(len(mine)))
        done += [int(s.plan.rows[0]) for s in merged]
        assert all(
            len(s.plan.rows) == 1
            for mine_of_process in slots
            for s in mine_of_process
            if not s.counts
        )
    assert done == list(range(num_batches))  # none left out, none twice, in order


def test_dropout_is_seeded_by_its_place_alone():
    seeds = {dropout_seed(*place) for place in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))}
    assert len(seeds) == 4
    assert dropout_seed(1, 2, 3) == dropout_seed(1, 2, 3)


def test_figures_by_hand():
    sums = np.array([[[6.0, 4, 2, 1, 0], [0, 0, 0, 0, 0]], [[2.0, 4, 2, 1, 1], [0, 0, 0, 0, 0]]])
    assert figures(["a", "b"], sums) == {"a/loss": 1.0}
    assert figures(["a", "b"], sums, levels=True) == {
        "a/loss": 1.0,
        "a/accuracy@1": 0.5,
        "a/accuracy@2": 0.25,
    }


@given(st.integers(0, 20), st.integers(1, 5))
def test_shares_are_a_partition(num_parts, world):
    shares = [my_share(list(range(num_parts)), rank, world) for rank in range(world)]
    assert sorted(x for share in shares for x in share) == list(range(num_parts))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_gathers_what_it_has():
    frame = pd.DataFrame({"event_id": [3, 1], "score": np.array([0.5, 0.1], dtype=np.float32)})
    pd.testing.assert_frame_equal(gather_frame(frame), frame)
    assert together(np.arange(3)).tolist() == [[0, 1, 2]]


# ----------------------------------------------------------------------------------------- the loop


class Killed(Exception):
    pass


def trainer_for(
    folder: Path | None, judge=None, training: TrainingConfig = SMALL, **more
) -> Trainer:
    """A trainer of a narrow model, the same one for the same settings."""
    generator = new_generator(small_corpus(), random_identifiers(40, 8), training)
    torch.manual_seed(0)
    narrow = {
        "d_model": 16,
        "d_ff": 32,
        "d_kv": 8,
        "num_heads": 2,
        "num_layers": 1,
        "num_decoder_layers": 1,
    }
    model = T5ForConditionalGeneration(T5Config(**generator.model.config.to_dict() | narrow))
    mixture = more.pop("mixture", None) or new_mixture(generator, training)
    return Trainer(model, generator.builder, mixture, training, judge, folder, **more)


def judge_by_weights(model) -> dict[str, float]:
    """A stand-in for ranking quality: some deterministic figure that rises and falls with the
    weights."""
    value = float(model.shared.weight.detach().abs().mean())
    return {"nrip/ndcg@10": abs(math.sin(1e4 * value)), "nsip/ndcg@10": 0.5}


def at_step(trainer: Trainer, number: int, do) -> None:
    """Call `do` instead of the step after `number` steps, or, if `do` takes a function, around
    it."""
    real = trainer._one_step
    trainer._one_step = lambda plans: (
        do(lambda: real(plans)) if trainer.step == number else real(plans)
    )


def raise_killed(_):
    raise Killed


def timeless(curve: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in curve]


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("minutes", [0.0, 99.0])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, minutes):
    training = override_training(checkpoint_minutes=minutes)
    whole = trainer_for(None, judge_by_weights, training)
    curve = whole.fit()
    killed = trainer_for(tmp_path, judge_by_weights, training)
    stop = killed.steps_per_epoch + 2  # in the middle of epoch 2
    at_step(killed, stop, raise_killed)
    with pytest.raises(Killed):
        killed.fit()
    resumed, sums_at_stop = trainer_for(tmp_path, judge_by_weights, training), []
    at_step(
        resumed,
        stop,
        lambda go_on: sums_at_stop.append(resumed.state.progress.sums.sum()) or go_on(),
    )
    assert resumed.state.checkpoints.newest() == (
        (stop, 1) if minutes == 0 else (killed.steps_per_epoch, 1)
    )
    assert timeless(resumed.fit()) == timeless(curve)
    assert (
        sums_at_stop[0] > 0
    )  # the sums of the first half of the epoch were on disk, or computed again
    assert resumed.step == whole.step == 3 * whole.steps_per_epoch
    assert torch.equal(weights(resumed), weights(whole))
    assert timeless(trainer_for(tmp_path, judge_by_weights, training).fit()) == timeless(
        curve
    )  # nothing is left to do


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_stop_button_stops_after_a_step_and_the_run_goes_on(tmp_path, number):
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    trainer = trainer_for(tmp_path)
    at_step(trainer, 2, lambda go_on: os.kill(os.getpid(), number) or go_on())
    with pytest.raises(
        KeyboardInterrupt, match=r"stopped after step 3 .* everything is saved.* again"
    ):
        trainer.fit()
    assert {s: signal.getsignal(s) for s in before} == before
    assert trainer.state.checkpoints.newest() == (3, 0)
    again, whole = trainer_for(tmp_path), trainer_for(None)
    assert timeless(again.fit()) == timeless(whole.fit())
    assert torch.equal(weights(again), weights(whole))


def test_the_stop_button_ends_validation_at_once_and_nothing_is_lost(tmp_path):
    def judge(model):
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the judge went on")

    trainer = trainer_for(tmp_path, judge)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.state.checkpoints.newest() == (trainer.steps_per_epoch, 0)
    again, whole = trainer_for(tmp_path, judge_by_weights), trainer_for(None, judge_by_weights)
    assert timeless(again.fit()) == timeless(whole.fit())


def test_a_second_press_does_not_wait_for_the_step():
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with Interrupt(patient=True) as interrupt:  # a launcher passes it on twice
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.asked


def test_in_another_thread_the_loop_leaves_signals_alone():
    epochs_done = []
    thread = threading.Thread(target=lambda: epochs_done.append(len(trainer_for(None).fit())))
    thread.start()
    thread.join()
    assert epochs_done == [3]


def test_other_settings_are_refused_and_free_ones_are_not(tmp_path):
    first = trainer_for(tmp_path, training=override_training(epochs=1), inputs={"data": "a" * 64})
    first.fit()
    for changes, inputs, message in (
        ({"epochs": 1, "lr": 0.5}, "a", r"training\.lr 0\.001 -> 0\.5"),
        ({"epochs": 1, "accumulate": 2}, "a", r"training\.accumulate 1 -> 2"),
        ({"epochs": 1}, "b", r"data aaaaaaaa\.\.\. -> bbbbbbbb"),
    ):
        other = trainer_for(
            tmp_path, training=override_training(**changes), inputs={"data": inputs * 64}
        )
        with pytest.raises(ArtifactError, match=message):
            other.fit()
    changes = {"epochs": 1, "max_minutes": 3.0, "checkpoint_minutes": 1.0}
    free = trainer_for(tmp_path, training=override_training(**changes), inputs={"data": "a" * 64})
    assert timeless(free.fit()) == timeless(first.curve)


class Fixed:
    """A mixture that is a list."""

    def __init__(self, plans: list[Plan]):
        self.plans, self.num_batches, self.rows = (
            plans,
            len(plans),
            dict.fromkeys(sorted({p.task for p in plans})),
        )

    def epoch(self, epoch: int) -> list[Plan]:
        return self.plans


def test_two_micro_batches_are_one_batch_of_both(tmp_path):
    """Unequal batches two by two against batches of both: the loss is a token's, not a
    micro-batch's."""
    rows = np.flatnonzero(
        (small_corpus().events["task"] == "search") & (small_corpus().events["split"] == "train")
    )
    rows = np.resize(rows, 37)
    plan = lambda part: Plan("nsip", part, np.zeros(len(part), dtype=int))  # noqa: E731
    small = Fixed([plan(part) for part in np.split(rows, [13, 16, 18, 32])])  # 13 + 3, 2 + 14, 5
    large = Fixed([plan(part) for part in np.split(rows, [16, 32])])  # 16, 16, 5
    two = trainer_for(None, training=override_training(dropout=0.0, accumulate=2), mixture=small)
    one = trainer_for(None, training=override_training(dropout=0.0), mixture=large)
    assert two.num_steps == one.num_steps == 9
    for ours, wanted in zip(two.fit(), one.fit(), strict=True):
        assert ours["nsip/loss"] == pytest.approx(wanted["nsip/loss"], rel=1e-5)
        assert ours["nsip/accuracy@3"] == pytest.approx(wanted["nsip/accuracy@3"], abs=0.03)
    torch.testing.assert_close(weights(two), weights(one), atol=1e-4, rtol=0)


def test_unequal_micro_batches_weigh_by_their_tokens():
    rows = np.flatnonzero(
        (small_corpus().events["task"] == "search") & (small_corpus().events["split"] == "train")
    )
    plans = [Plan("nsip", part, np.zeros(len(part), dtype=int)) for part in (rows[:1], rows[1:10])]
    trainer = trainer_for(
        None, training=override_training(dropout=0.0, accumulate=2), mixture=Fixed(plans)
    )
    seen = []
    real = trainer.accelerator.backward
    trainer.accelerator.backward = lambda loss: seen.append(float(loss.detach())) or real(loss)
    sums = trainer._one_step(plans)
    assert sum(seen) == pytest.approx(
        sums[0, 0] / sums[0, 1], rel=1e-6
    )  # the mean over tokens, not of two means
    assert sums[0, 1:3].tolist() == [30, 10]


def test_gradient_checkpointing_changes_no_bit():
    plain = trainer_for(None, training=override_training(epochs=1))
    saving = trainer_for(None, training=override_training(epochs=1, gradient_checkpointing=True))
    calls = []
    saving.model.encoder.block[0].layer[0].layer_norm.register_forward_hook(
        lambda *_: calls.append(1)
    )
    assert timeless(saving.fit()) == timeless(plain.fit())
    assert torch.equal(weights(saving), weights(plain))
    assert len(calls) == 2 * saving.num_steps  # each block is computed twice


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tracker": "tensorbored"}, r"there is no 'tensorbored'.*none, .*tensorboard"),
        ({"tracker": "wandb"}, r"pip install wandb"),
    ],
)
def test_what_cannot_be_had_is_named(changes, message, monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.setattr(
        "gensar_lite.training.loop.figures.get_available_trackers", lambda: ["tensorboard"]
    )
    with pytest.raises(ConfigError, match=message):
        trainer_for(None, training=override_training(**changes))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_tensorboard_holds_the_curve_and_a_resumed_run_tells_nothing_twice(tmp_path):
    pytest.importorskip("tensorboard")
    training, seen = override_training(tracker="tensorboard", batch_size=4, epochs=2), []
    killed = trainer_for(
        tmp_path / "c", judge_by_weights, training, logs=tmp_path / "logs", watch=seen.append
    )
    n = killed.steps_per_epoch
    assert n > 10
    at_step(killed, 2 * n - 1, raise_killed)
    with pytest.raises(Killed):
        killed.fit()
    resumed = trainer_for(
        tmp_path / "c", judge_by_weights, training, logs=tmp_path / "logs", watch=seen.append
    )
    curve = resumed.fit()
    logged = scalars(tmp_path / "logs" / "training")
    for name in ("nrip/accuracy@2", "score", "nsip/ndcg@10"):
        assert logged[name] == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in curve]
    steps = [step for step, _ in logged["nrip/loss"]]
    between = [s for s in range(10, 2 * n, 10) if s % n]
    assert set(steps) == {*between, n, 2 * n}
    assert len(steps) == len(set(steps))
    assert [step for step, _ in logged["examples/s"]] == between
    assert [row["epoch"] for row in seen if "epoch" in row] == [1, 2]
    assert all({"step", "lr", "examples/s"} <= set(row) for row in seen if "epoch" not in row)
    assert [row["lr"] for row in seen if "epoch" in row] == [row["lr"] for row in curve]


def test_when_time_ends_before_the_first_validation_the_trained_weights_stay():
    training = override_training(epochs=50, max_minutes=0.0, eval_every=9)
    trainer = trainer_for(None, judge_by_weights, training)
    start = weights(trainer)
    assert len(trainer.fit()) == 1
    assert not torch.equal(weights(trainer), start)


def test_the_best_epoch_is_kept_and_patience_ends():
    scores, states = iter([0.1, 0.3, 0.2, 0.1, 0.4]), []

    def judge(model):
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        return {"nrip/ndcg@10": next(scores)}

    trainer = trainer_for(None, judge, override_training(epochs=5, patience=2))
    curve = trainer.fit()
    assert [row["score"] for row in curve] == pytest.approx(
        [0.1, 0.3, 0.2, 0.1]
    )  # two without a better one
    assert all(torch.equal(v, states[1][k]) for k, v in trainer.model.state_dict().items())
    assert not trainer.model.training


def test_the_time_bound_ends_after_an_epoch():
    trainer = trainer_for(None, training=override_training(epochs=50, max_minutes=0.0))
    assert len(trainer.fit()) == 1


def test_a_loss_that_is_no_number_stops_with_advice():
    trainer = trainer_for(None)
    with torch.no_grad():
        trainer.model.shared.weight[:] = math.nan
    with pytest.raises(ArtifactError, match=r"training\.lr"):
        trainer.fit()


def circle(num_items: int = 12, num_users: int = 24) -> Corpus:
    """A corpus that can be learned: item i is followed by i + 1, and query i asks for item i."""
    from gensar_lite.config import DataConfig
    from gensar_lite.data import Tables, build_corpus

    items = pd.DataFrame(
        {"item_id": np.arange(num_items), "title": [f"thing {i}" for i in range(num_items)]}
    )
    items = items.assign(text="", brand="", category="Things")
    queries = pd.DataFrame(
        {"query_id": np.arange(num_items), "text": [f"wanted {chr(97 + i)}" for i in range(12)]}
    )
    rows = []
    for user in range(num_users):
        for time in range(9):
            item, search = (user + time) % num_items, (user + time) % 3 == 0
            rows.append(
                (user, time, "search" if search else "recommend", item, item if search else -1)
            )
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    relevance = pd.DataFrame({"query_id": np.arange(12), "item_id": np.arange(12), "grade": 1})
    return build_corpus(Tables(items, queries, events, relevance, {}), DataConfig())[0]


def test_what_can_be_learned_is_learned():
    training = override_training(
        epochs=14, batch_size=24, lr=5e-3, max_recommend=2, max_search=2, prompts=False
    )
    generator = new_generator(circle(), random_identifiers(12, 8), training)
    trainer = Trainer(
        generator.model, generator.builder, new_mixture(generator, training), training
    )
    curve = trainer.fit()
    for task in training.tasks:
        assert curve[-1][f"{task}/loss"] < 0.4 * curve[0][f"{task}/loss"]
    decoder = Decoder.of(generator, training)
    for task in ("recommend", "search"):
        targets = generator.corpus.targets("test", task)
        items = decoder.search(task, targets["event_id"].to_numpy(), 3).items
        assert (items[:, 0] == targets["item_id"].to_numpy()).mean() > 0.8


# ------------------------------------------------------------------------------------ two processes


@pytest.mark.slow
def test_two_launched_processes_train_the_model_of_one(tmp_path):
    """The command under torchrun, against one process that accumulates as many batches."""
    changes = {
        "num_text_tokens": 400,
        "batch_size": 16,
        "epochs": 2,
        "eval_sample": 4,
        "dropout": 0.1,
    }
    two = workspace(tmp_path / "two", small_corpus(), random_identifiers(40, 8), changes)
    words = [w for k, v in changes.items() for w in ("--set", f"training.{k}={v}")]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
    ]
    command += [
        "-m",
        "gensar_lite",
        "training",
        "--preset",
        "tiny",
        "--workspace",
        str(tmp_path / "two"),
        *words,
    ]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    one = workspace(
        tmp_path / "one", small_corpus(), random_identifiers(40, 8), changes | {"accumulate": 2}
    )
    train_with_ranking(one)
    shared, alone = (ws.meta("training")["statistics"] for ws in (two, one))
    assert (shared["processes"], alone["processes"]) == (2, 1)
    assert shared["steps"] == alone["steps"] == 4
    curve, wanted = (pd.read_parquet(ws.require("training") / "curve.parquet") for ws in (two, one))
    assert list(curve) == list(wanted)
    for name in ("nrip/loss", "nsip/loss", "lr"):
        np.testing.assert_allclose(curve[name], wanted[name], rtol=1e-4)
    assert not (two.folder("training").parent / "training-checkpoints").exists()  # the model stands
    load_decoder(two)


def test_a_stopped_stage_goes_on_tells_a_notebook_and_cleans_up(tmp_path, monkeypatch):
    changes = {
        "num_text_tokens": 400,
        "batch_size": 16,
        "epochs": 2,
        "eval_sample": 4,
        "checkpoint_minutes": 0.0,
    }
    ws, rows = workspace(tmp_path, small_corpus(), random_identifiers(40, 8), changes), []
    real = Trainer._one_step

    def press_stop(self, plans):
        if self.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, plans)

    monkeypatch.setattr(Trainer, "_one_step", press_stop)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 2"):
        train_with_ranking(ws, rows.append)
    checkpoints = ws.folder("training").parent / "training-checkpoints"
    assert sorted(p.name for p in checkpoints.iterdir())[-1] == checkpoint_name(2, 0)
    other = workspace(tmp_path, small_corpus(), random_identifiers(40, 8), changes | {"lr": 0.5})
    with pytest.raises(ArtifactError, match=r"training\.lr"):
        train_with_ranking(other)
    monkeypatch.setattr(Trainer, "_one_step", real)
    train_with_ranking(ws, rows.append)
    assert not checkpoints.exists()
    assert [row["epoch"] for row in rows] == [1, 2]
    curve = pd.read_parquet(ws.require("training") / "curve.parquet")
    assert [row["score"] for row in rows] == curve["score"].tolist()


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries have no malloc_trim"
)
def test_memory_that_was_freed_is_given_back():
    process = psutil.Process()
    held = [
        bytearray(b"x" * 60_000) for _ in range(4000)
    ]  # 240 MB of blocks that stay in the heap when freed
    pins = held[::400]  # the heap's end is in use
    full = process.memory_info().rss
    del held
    give_back()
    assert process.memory_info().rss < full - 150e6
    assert len(pins) == 10
    with mock.patch("ctypes.CDLL", side_effect=OSError):
        give_back()  # elsewhere: nothing
