"""Training against other ways of knowing: python lists, by-hand renderings, transformers' own loss,
a second run."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import random_identifiers, small_corpus, workspace
from transformers import T5Config, T5ForConditionalGeneration

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.config import TrainingConfig
from gensar_lite.decoding import Decoder, load_decoder
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training import TASKS, TextCodec, new_generator
from gensar_lite.training.backbones import shift_right
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.loop.losses import task_loss
from gensar_lite.training.stage import new_mixture, save_generator
from gensar_lite.training.text import EOS, PAD

SMALL = TrainingConfig(num_text_tokens=400, batch_size=8, epochs=3)


def override_training(**changes) -> TrainingConfig:
    return TrainingConfig(**({"num_text_tokens": 400, "batch_size": 8, "epochs": 3} | changes))


# ----------------------------------------------------------------------------------------- the loss


def one_batch(head: str, **changes):
    training = override_training(head=head, dropout=0.0, **changes)
    generator = new_generator(small_corpus(), random_identifiers(40, 8), training)
    rows = generator.corpus.targets("train", "search")["event_id"].to_numpy()[:6]
    batch = generator.builder.batch(TASKS["nsip"], rows)
    return generator, training, batch.to("cpu")


def test_level_loss_equals_cross_entropy_by_hand():
    generator, training, batch = one_batch("level")
    loss, tokens, hits, count = task_loss(generator.model, batch, generator.layout, training)
    source, mask, target = batch[1:4]
    logits = generator.model(
        input_ids=source, attention_mask=mask.long(), decoder_input_ids=shift_right(target)
    ).logits
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
    assert (tokens, count) == (18, 6)


def test_vocabulary_loss_equals_transformers_own():
    generator, training, batch = one_batch("vocabulary")
    loss, tokens, hits, count = task_loss(generator.model, batch, generator.layout, training)
    source, mask, target = batch[1:4]
    assert (tokens, count) == (target.numel(), len(target))
    out = generator.model(input_ids=source, attention_mask=mask.long(), labels=target)
    assert loss.item() == pytest.approx(out.loss.item() * target.numel(), rel=1e-5)
    assert hits.tolist() == (out.logits.argmax(-1) == target).sum(0)[1:].tolist()


@pytest.mark.parametrize("small", [False, True])
def test_both_ways_to_start_tie_words_in_and_out(small, tmp_path):
    generator = new_generator(
        small_corpus(), random_identifiers(40, 8), override_training(small_embeddings=small)
    )
    model = generator.model.eval()
    assert model.lm_head.weight is model.shared.weight is model.decoder.embed_tokens.weight
    ids = torch.tensor([[5, 6, 1]])
    logits = model(input_ids=ids, decoder_input_ids=ids).logits
    assert 0.3 < logits.std().item() < 3  # near 1 at the start, either way
    model.save_pretrained(tmp_path)
    loaded = T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert loaded.lm_head.weight is loaded.shared.weight
    torch.testing.assert_close(
        loaded(input_ids=ids, decoder_input_ids=ids).logits, logits, atol=1e-5, rtol=0
    )


def test_label_smoothing_mixes_in_a_uniform_target():
    """(1 - s) * loss of the target + s * loss of a uniform one: a straight line in s that ends at
    the uniform's."""
    generator, _, batch = one_batch("level")
    at = {}
    for share in (0.0, 0.2, 0.4, 1.0):
        training = override_training(head="level", label_smoothing=share)
        at[share] = task_loss(
            generator.model.eval(), batch, generator.layout, training
        ).total.item()
    assert at[0.2] == pytest.approx(0.8 * at[0.0] + 0.2 * at[1.0], rel=1e-4)
    assert at[0.4] == pytest.approx(0.6 * at[0.0] + 0.4 * at[1.0], rel=1e-4)
    assert at[1.0] != pytest.approx(at[0.0], rel=1e-3)


def test_a_mixture_without_examples_is_refused():
    corpus = small_corpus()
    events = corpus.events.assign(split="test")
    generator = new_generator(
        Corpus(corpus.items, corpus.queries, events, corpus.relevance),
        random_identifiers(40, 8),
        SMALL,
    )
    with pytest.raises(ArtifactError, match="no train example"):
        new_mixture(generator, SMALL)


# ----------------------------------------------------------------------------- pretrained backbones


def save_backbone(folder: Path, dtype=torch.float32) -> None:
    """A tiny random T5 as a stranger would publish it: more rows than its tokenizer knows."""
    codec = TextCodec.train(["red thing", "big thing", "wanted"], 300)
    codec.save(folder)
    config = T5Config(
        vocab_size=codec.num_tokens + 9, d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1,
        num_decoder_layers=1, decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=EOS,
    )  # fmt: skip
    T5ForConditionalGeneration(config).to(dtype).save_pretrained(folder)


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
    assert (
        generator.model.get_input_embeddings().num_embeddings
        == layout.size
        == generator.model.config.vocab_size
    )
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
        new_generator(
            small_corpus(),
            random_identifiers(40, 8),
            TrainingConfig(backbone=str(tmp_path / "none")),
        )


# ---------------------------------------------------------------------------------- what is refused


def test_layout_names_every_token_once():
    layout = TokenLayout(num_text=10, num_levels=3, num_shared=1, codebook_size=4)
    names = [layout.name(t) for t in range(layout.size)]
    assert len(set(names)) == layout.size
    assert names[10:13] == ["<R_I>", "<S_Q>", "<S_I>"]
    assert names[13] == "shared1:0"
    assert names[-1] == "col3:3"
