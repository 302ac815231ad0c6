"""Training against other ways of knowing: python lists, by-hand renderings, transformers' own loss, a second run."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import random_identifiers, small_corpus
from hypothesis import given
from hypothesis import strategies as st
from transformers import T5Config, T5ForConditionalGeneration

from gensar_lite.artifacts import ArtifactError, Corpus, Workspace
from gensar_lite.config import ConfigError, TrainingConfig, override, preset
from gensar_lite.decoding import Decoder, load_decoder
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training import TASKS, TextCodec, harmonic_mean, new_generator
from gensar_lite.training.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from gensar_lite.training.loop import Trainer, learning_rate
from gensar_lite.training.model import shift_right, task_loss
from gensar_lite.training.stage import new_mixture, save_generator
from gensar_lite.training.text import EOS, PAD

SMALL = TrainingConfig(num_text_tokens=400, batch_size=8, epochs=3)


def override_training(**changes) -> TrainingConfig:
    return TrainingConfig(**({"num_text_tokens": 400, "batch_size": 8, "epochs": 3} | changes))


# ------------------------------------------------------------------------------------------- the loss


def one_batch(head: str, **changes):
    training = override_training(head=head, dropout=0.0, **changes)
    generator = new_generator(small_corpus(), random_identifiers(40, 8), training)
    rows = generator.corpus.targets("train", "search")["event_id"].to_numpy()[:6]
    batch = generator.builder.batch(TASKS["nsip"], rows)
    tensors = [torch.from_numpy(a) for a in (batch.source, batch.mask, batch.target)]
    return generator, training, tensors


def test_level_loss_equals_cross_entropy_by_hand():
    generator, training, (source, mask, target) = one_batch("level")
    loss, hits = task_loss(generator.model, source, mask, target, "semantic", generator.layout, training)
    logits = generator.model(input_ids=source, attention_mask=mask.long(), decoder_input_ids=shift_right(target)).logits
    wanted, right = 0.0, np.zeros(3, dtype=int)
    for i in range(len(source)):
        for level in range(3):
            offset = generator.layout.level_offset("semantic", level)
            z = logits[i, 1 + level, offset : offset + 8].detach().double().numpy()
            code = int(target[i, 1 + level]) - offset
            wanted += math.log(sum(math.exp(v) for v in z)) - z[code]
            right[level] += z.argmax() == code
    assert loss.item() == pytest.approx(wanted, abs=1e-4)
    assert hits.tolist() == right.tolist()


def test_vocabulary_loss_equals_transformers_own():
    generator, training, (source, mask, target) = one_batch("vocabulary")
    loss, hits = task_loss(generator.model, source, mask, target, "semantic", generator.layout, training)
    out = generator.model(input_ids=source, attention_mask=mask.long(), labels=target)
    assert loss.item() == pytest.approx(out.loss.item() * target.numel(), rel=1e-5)
    assert hits.tolist() == (out.logits.argmax(-1) == target).sum(0)[1:].tolist()


@pytest.mark.parametrize("small", [False, True])
def test_both_ways_to_start_tie_words_in_and_out(small, tmp_path):
    generator = new_generator(small_corpus(), random_identifiers(40, 8), override_training(small_embeddings=small))
    model = generator.model.eval()
    assert model.lm_head.weight is model.shared.weight is model.decoder.embed_tokens.weight
    ids = torch.tensor([[5, 6, 1]])
    logits = model(input_ids=ids, decoder_input_ids=ids).logits
    assert 0.3 < logits.std().item() < 3  # near 1 at the start, either way
    model.save_pretrained(tmp_path)
    loaded = T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert loaded.lm_head.weight is loaded.shared.weight
    torch.testing.assert_close(loaded(input_ids=ids, decoder_input_ids=ids).logits, logits, atol=1e-5, rtol=0)


def test_label_smoothing_mixes_in_a_uniform_target():
    """(1 - s) * loss of the target + s * loss of a uniform one: a straight line in s that ends at the uniform's."""
    generator, _, batch = one_batch("level")
    at = {}
    for share in (0.0, 0.2, 0.4, 1.0):
        training = override_training(head="level", label_smoothing=share)
        at[share] = task_loss(generator.model.eval(), *batch, "semantic", generator.layout, training)[0].item()
    assert at[0.2] == pytest.approx(0.8 * at[0.0] + 0.2 * at[1.0], rel=1e-4)
    assert at[0.4] == pytest.approx(0.6 * at[0.0] + 0.4 * at[1.0], rel=1e-4)
    assert at[1.0] != pytest.approx(at[0.0], rel=1e-3)


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


# ---------------------------------------------------------------------------------------- checkpoints


def checkpoint(folder: Path, step: int, mark: str = "a") -> dict:
    tensors = {"model": {"w": torch.full((3,), float(step)), "b": torch.arange(4)}}
    save_checkpoint(folder, tensors, {"step": step, "fingerprint": mark})
    return tensors


def test_checkpoint_round_trip_keeps_the_newest_only(tmp_path):
    checkpoint(tmp_path, 1)
    wanted = checkpoint(tmp_path, 2)
    tensors, progress = load_checkpoint(tmp_path, "a")
    assert progress["step"] == 2
    assert all(torch.equal(tensors["model"][k], v) for k, v in wanted["model"].items())
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000002"]
    assert load_checkpoint(tmp_path, "another") is None
    assert load_checkpoint(tmp_path / "nothing", "a") is None


@pytest.mark.parametrize("harm", ["no manifest", "flipped bit", "cut short", "lost file", "broken manifest"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, harm):
    checkpoint(tmp_path, 2)
    newer = tmp_path / "step-00000003"
    shutil.copytree(tmp_path / "step-00000002", newer)
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
        (newer / "manifest.json").write_text('{"step": 3, "fing')
    tensors, progress = load_checkpoint(tmp_path, "a")
    assert progress["step"] == 2
    assert tensors["model"]["w"].tolist() == [2.0] * 3


def test_fingerprint_sees_every_setting():
    assert fingerprint([{"lr": 1e-3}, "x"]) == fingerprint([{"lr": 0.001}, "x"])
    assert fingerprint([{"lr": 1e-3}, "x"]) != fingerprint([{"lr": 2e-3}, "x"])


# ------------------------------------------------------------------------------------------- the loop


class Killed(Exception):
    pass


def trainer_for(folder: Path | None, mark: str = "a", judge=None, training: TrainingConfig = SMALL) -> Trainer:
    generator = new_generator(small_corpus(), random_identifiers(40, 8), training)
    return Trainer(generator.model, generator.builder, new_mixture(generator, training), training, judge, folder, mark)


def judge_by_weights(model) -> dict[str, float]:
    """A stand-in for ranking quality: some deterministic figure that rises and falls with the weights."""
    value = float(model.shared.weight.detach().abs().mean())
    return {"nrip/ndcg@10": abs(math.sin(1e4 * value)), "nsip/ndcg@10": 0.5}


def kill_after(trainer: Trainer, steps: int) -> None:
    real, seen = trainer._one_step, []

    def step(plan):
        if len(seen) == steps:
            raise Killed
        seen.append(plan)
        return real(plan)

    trainer._one_step = step


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = trainer_for(tmp_path / "whole", judge=judge_by_weights)
    curve = whole.fit()
    killed = trainer_for(tmp_path / "killed", judge=judge_by_weights)
    kill_after(killed, killed.steps_an_epoch + 2)  # in the middle of epoch 2
    with pytest.raises(Killed):
        killed.fit()
    resumed = trainer_for(tmp_path / "killed", judge=judge_by_weights)
    again = resumed.fit()
    without = [{k: v for k, v in row.items() if k != "seconds"} for row in again]
    assert without == [{k: v for k, v in row.items() if k != "seconds"} for row in curve]
    assert resumed.step == whole.step == 3 * whole.steps_an_epoch
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    stranger = trainer_for(tmp_path / "killed", mark="other settings", judge=judge_by_weights)
    stranger._resume()
    assert stranger.step == 0
    assert stranger.curve == []


def test_the_best_epoch_is_kept_and_patience_ends():
    scores, states = iter([0.1, 0.3, 0.2, 0.1, 0.4]), []

    def judge(model):
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        return {"nrip/ndcg@10": next(scores)}

    trainer = trainer_for(None, judge=judge, training=override_training(epochs=5, patience=2))
    curve = trainer.fit()
    assert [row["score"] for row in curve] == pytest.approx([0.1, 0.3, 0.2, 0.1])  # two without a better one
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


def test_a_mixture_without_examples_is_refused():
    corpus = small_corpus()
    events = corpus.events.assign(split="test")
    generator = new_generator(
        Corpus(corpus.items, corpus.queries, events, corpus.relevance), random_identifiers(40, 8), SMALL
    )
    with pytest.raises(ArtifactError, match="no train example"):
        new_mixture(generator, SMALL)


def circle(num_items: int = 12, num_users: int = 24) -> Corpus:
    """A corpus that can be learned: item i is followed by i + 1, and query i asks for item i."""
    from gensar_lite.config import DataConfig
    from gensar_lite.data import Tables, build_corpus

    items = pd.DataFrame({"item_id": np.arange(num_items), "title": [f"thing {i}" for i in range(num_items)]})
    items = items.assign(text="", brand="", category="Things")
    queries = pd.DataFrame({"query_id": np.arange(num_items), "text": [f"wanted {chr(97 + i)}" for i in range(12)]})
    rows = []
    for user in range(num_users):
        for time in range(9):
            item, search = (user + time) % num_items, (user + time) % 3 == 0
            rows.append((user, time, "search" if search else "recommend", item, item if search else -1))
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    relevance = pd.DataFrame({"query_id": np.arange(12), "item_id": np.arange(12), "grade": 1})
    return build_corpus(Tables(items, queries, events, relevance, {}), DataConfig())[0]


def test_what_can_be_learned_is_learned():
    training = override_training(epochs=14, batch_size=24, lr=5e-3, max_recommend=2, max_search=2, prompts=False)
    generator = new_generator(circle(), random_identifiers(12, 8), training)
    trainer = Trainer(generator.model, generator.builder, new_mixture(generator, training), training)
    curve = trainer.fit()
    for task in training.tasks:
        assert curve[-1][f"{task}/loss"] < 0.4 * curve[0][f"{task}/loss"]
    decoder = Decoder.of(generator, training)
    for task in ("recommend", "search"):
        targets = generator.corpus.targets("test", task)
        items, _ = decoder.search(task, targets["event_id"].to_numpy(), 3)
        assert (items[:, 0] == targets["item_id"].to_numpy()).mean() > 0.8


# ------------------------------------------------------------------------------- pretrained backbones


def save_backbone(folder: Path, dtype=torch.float32) -> None:
    """A tiny random T5 as a stranger would publish it: more rows than its tokenizer knows."""
    codec = TextCodec.train(["red thing", "big thing", "wanted"], 300)
    codec.save(folder)
    config = T5Config(
        vocab_size=codec.num_tokens + 9, d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1,
        num_decoder_layers=1, decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=EOS,
    )  # fmt: skip
    T5ForConditionalGeneration(config).to(dtype).save_pretrained(folder)


def workspace(root: Path, corpus: Corpus, identifiers, training: dict) -> Workspace:
    """A workspace whose stages before training are simply put there."""
    ws = Workspace.open(override(preset("tiny"), {f"training.{k}": v for k, v in training.items()}), root)
    ws.build("data", lambda folder: corpus.save(folder) or {})
    ws.build("embeddings", lambda folder: {})
    ws.build("identifiers", lambda folder: identifiers.save(folder) or {})
    return ws


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_pretrained_backbone_is_extended_trained_saved_and_reloaded(tmp_path, dtype):
    save_backbone(tmp_path / "backbone", dtype)
    corpus, identifiers = small_corpus(), random_identifiers(40, 8)
    changes = {"backbone": str(tmp_path / "backbone"), "epochs": 1, "batch_size": 16}
    ws = workspace(tmp_path, corpus, identifiers, changes)
    settings = ws.config.training
    generator = new_generator(corpus, identifiers, settings)
    tokenizer_size, layout = len(generator.codec.tokenizer), generator.layout
    assert layout.num_text == tokenizer_size + 9
    assert layout.size == layout.num_text + 3 + 5 * 8
    assert generator.model.get_input_embeddings().num_embeddings == layout.size == generator.model.config.vocab_size
    assert {p.dtype for p in generator.model.parameters()} == {torch.float32}
    before = generator.model.shared.weight.detach().clone()
    Trainer(generator.model, generator.builder, new_mixture(generator, settings), settings).fit()
    assert not torch.equal(before, generator.model.shared.weight)
    ws.build("training", lambda folder: save_generator(generator, folder) or {})
    loaded = load_decoder(ws)
    assert loaded.generator.layout == layout
    rows = corpus.targets("test", "search")["event_id"].to_numpy()
    mine = Decoder.of(generator, settings).search("search", rows, 5)
    for ours, theirs in zip(mine, loaded.search("search", rows, 5), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_backbone_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="could not be loaded"):
        new_generator(small_corpus(), random_identifiers(40, 8), TrainingConfig(backbone=str(tmp_path / "none")))


# -------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": ("nrip", "nsxp")}, "nsxp"),
        ({"tasks": ("nrip", "nrip")}, "each once"),
        ({"tasks": (), "task_weights": ()}, "empty"),
        ({"task_weights": (1.0,)}, "2 tasks"),
        ({"task_weights": (1.0, 0.0)}, "positive"),
        ({"task_weights": (1.0, -2.0)}, "positive"),
        ({"head": "both"}, "level, vocabulary"),
    ],
)
def test_bad_settings_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        new_generator(small_corpus(), random_identifiers(40, 8), TrainingConfig(**changes))


def test_layout_names_every_token_once():
    layout = TokenLayout(num_text=10, num_levels=3, num_shared=1, codebook_size=4)
    names = [layout.name(t) for t in range(layout.size)]
    assert len(set(names)) == layout.size
    assert names[10:13] == ["<R_I>", "<S_Q>", "<S_I>"]
    assert names[13] == "shared1:0"
    assert names[-1] == "col3:3"


# ---------------------------------------------------------------------------------------- two processes


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    changes = {"num_text_tokens": 400, "batch_size": 8, "epochs": 2, "eval_sample": 4}
    ws = workspace(tmp_path, small_corpus(), random_identifiers(40, 8), changes)
    words = [w for k, v in changes.items() for w in ("--set", f"training.{k}={v}")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "gensar_lite", "training", "--preset", "tiny", "--workspace", str(tmp_path), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    said = ws.meta("training")["statistics"]
    alone = new_mixture(
        new_generator(Corpus.load(ws.require("data")), random_identifiers(40, 8), ws.config.training),
        ws.config.training,
    ).num_batches
    assert said["processes"] == 2
    assert said["steps"] == 2 * -(-alone // 2)  # each process takes every other batch
    curve = pd.read_parquet(ws.require("training") / "curve.parquet")
    assert curve["epoch"].tolist() == [1, 2]
    assert json.loads((ws.folder("training") / "config.json").read_text())["vocab_size"] > 400
    load_decoder(ws)
