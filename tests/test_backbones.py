"""Backbones of every kind against other ways of knowing: transformers' own forward pass and
generate, a reload.

What is pretrained here are random models that the tests save themselves, as strangers would publish
them.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from helpers import random_identifiers, small_corpus
from safetensors import safe_open

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.decoding import Decoder
from gensar_lite.decoding.read import advance, encode
from gensar_lite.embeddings.encoders import minilm_folder
from gensar_lite.machine.dropout import ByteDropout
from gensar_lite.training import TASK_OF_EVENTS, TASKS, TextCodec, new_generator
from gensar_lite.training.backbones import hidden_states, load_model, output_layer, output_rows
from gensar_lite.training.backbones.fresh import suited, t5_attention
from gensar_lite.training.backbones.pretrained import pretrained_config
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.loop.losses import task_loss
from gensar_lite.training.stage import new_mixture, save_generator, train_codec
from gensar_lite.training.text import PAD

ITEMS = np.arange(40)


def tiny_settings(**changes) -> TrainingConfig:
    return TrainingConfig(
        **({"num_text_tokens": 400, "batch_size": 8, "epochs": 1, "dropout": 0.0} | changes)
    )


def generator_of(**changes):
    corpus = small_corpus(num_users=6, twin_rate=0.5)
    generator = new_generator(corpus, random_identifiers(40, 8), tiny_settings(**changes))
    with torch.no_grad():  # a random model with opinions: larger weights, clearer differences
        for p in generator.model.parameters():
            p.mul_(2)
    generator.model.eval()
    return generator


def test_rows(generator, task: str) -> np.ndarray:
    return generator.corpus.targets("test", task)["event_id"].to_numpy()


test_rows.__test__ = False


# ---------------------------------------------------------------------------------- decoder-only


def whole_sequence(generator, task: str, row: int, item: int) -> tuple[list[int], list[int]]:
    """One example as one list of tokens, and which of them are the item's codes."""
    batch = generator.builder.batch(TASK_OF_EVENTS[task], np.array([row]))
    view = TASK_OF_EVENTS[task].view
    codes = generator.layout.tokens(generator.identifiers.view(view)[item], view).tolist()
    return [*batch.source[0].tolist(), PAD, batch.target[0, 0].item(), *codes], codes


def scores_by_hand(generator, task: str, row: int) -> np.ndarray:
    """Log-probabilities (N,) of every item from the model's own forward pass over plain sequences,
    without a cache."""
    layout, view, scores = generator.layout, TASK_OF_EVENTS[task].view, []
    for item in ITEMS:
        sequence, codes = whole_sequence(generator, task, row, item)
        with torch.no_grad():
            logits = generator.model(input_ids=torch.tensor([sequence])).logits[0].double()
        total = 0.0
        for level, code in enumerate(codes):
            offset, z = layout.level_offset(view, level), logits[len(sequence) - 4 + level]
            rows = (
                slice(offset, offset + 8)
                if generator.builder.settings.head == "level"
                else slice(None)
            )
            total += (z[code] - z[rows].logsumexp(0)).item()
        scores.append(total)
    return np.array(scores)


@pytest.mark.parametrize("head", ["level", "vocabulary"])
@pytest.mark.parametrize("task", ["recommend", "search"])
def test_a_decoder_only_model_scores_and_searches_as_its_forward_pass_does(head, task):
    generator = generator_of(backbone="gpt-micro", head=head)
    decoder, rows = Decoder.of(generator, generator.builder.settings), test_rows(generator, task)
    wanted = np.stack(
        [scores_by_hand(generator, task, row) for row in rows]
    )  # sources of different lengths
    got = decoder.score_rows(task, rows, np.tile(ITEMS, (len(rows), 1)))
    np.testing.assert_allclose(got, wanted, atol=5e-4)
    items, scores = decoder.search(task, rows, num_beams=64)[:2]
    for i in range(len(rows)):
        assert sorted(items[i]) == ITEMS.tolist()
        np.testing.assert_allclose(scores[i], np.sort(wanted[i])[::-1], atol=5e-4)


def test_a_decoder_only_model_lists_what_generate_lists():
    generator = generator_of(backbone="gpt-micro", head="vocabulary")
    decoder, rows = (
        Decoder.of(generator, generator.builder.settings),
        test_rows(generator, "search"),
    )
    ours = decoder.search("search", rows, num_beams=5)[0]
    codes = generator.layout.tokens(generator.identifiers.view("search"), "semantic").tolist()
    for i, row in enumerate(rows):
        prompt = whole_sequence(generator, "search", row, 0)[0][:-3]
        children: dict[tuple, set] = {}
        for code in codes:
            for level in range(3):
                children.setdefault(tuple(code[:level]), set()).add(code[level])

        def allowed(_, ids, prompt=prompt, children=children):
            return sorted(children[tuple(ids.tolist()[len(prompt) :])])

        out = generator.model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            num_beams=5,
            num_return_sequences=5,
            max_new_tokens=3,
            min_new_tokens=3,
            early_stopping=False,
            length_penalty=0.0,
            do_sample=False,
            prefix_allowed_tokens_fn=allowed,
        )
        assert [codes.index(ids[len(prompt) :]) for ids in out.tolist()] == ours[i].tolist()


def test_padding_changes_nothing():
    generator = generator_of(backbone="gpt-micro")
    decoder, rows = (
        Decoder.of(generator, generator.builder.settings),
        test_rows(generator, "search"),
    )
    together = decoder.search("search", rows, 10)
    for i, row in enumerate(rows):
        items, scores = decoder.search("search", np.array([row]), 10)[:2]
        assert items[0].tolist() == together[0][i].tolist()
        np.testing.assert_allclose(scores[0], together[1][i], atol=1e-4)


def test_paths_that_are_chosen_again_go_on_from_their_own_past():
    """Three paths, reordered and doubled, against each path's tokens read from the start."""
    generator = generator_of(backbone="gpt-micro")
    batch = generator.builder.batch(TASKS["nsip"], test_rows(generator, "search")).to("cpu")
    model, size = generator.model, len(batch.source)
    steps = [torch.tensor([[5, 6, 7]]), torch.tensor([[8, 9, 10, 11]]), torch.tensor([[12, 13]])]
    parents = [torch.tensor([[2, 0, 0, 1]]), torch.tensor([[3, 1]])]
    with torch.no_grad():
        cache = encode(model, batch.source, batch.mask)
        advance(model, cache, torch.full((size, 1), PAD))
        cache.select(torch.zeros(size, 3, dtype=torch.long))
        advance(model, cache, steps[0].expand(size, -1))
        cache.select(parents[0].expand(size, -1))
        advance(model, cache, steps[1].expand(size, -1))
        cache.select(parents[1].expand(size, -1))
        got = advance(model, cache, steps[2].expand(size, -1))  # (B, 2, d)
        for path, path_tokens in enumerate([[6, 11, 12], [5, 9, 13]]):
            target = torch.tensor([[*path_tokens, 0]]).expand(size, -1)
            wanted = hidden_states(model, batch.source, batch.mask, target)[:, -1]
            torch.testing.assert_close(got[:, path], wanted, atol=1e-4, rtol=1e-4)


def test_every_task_is_learned_by_a_decoder_only_model():
    tasks = ("nrip", "nsip", "nsqp", "desc2id", "id2desc")
    changes = {
        "tasks": tasks,
        "task_weights": (1.0,) * 5,
        "epochs": 3,
        "lr": 5e-3,
        "batch_size": 32,
    }
    training = tiny_settings(backbone="gpt-micro", max_text_tokens=8, **changes)
    generator = new_generator(small_corpus(), random_identifiers(40, 8), training)
    curve = Trainer(
        generator.model, generator.builder, new_mixture(generator, training), training
    ).fit()
    for task in tasks:
        assert curve[-1][f"{task}/loss"] < curve[0][f"{task}/loss"]


def test_the_text_loss_of_a_decoder_only_model_is_transformers_own():
    training = tiny_settings(
        backbone="gpt-micro", head="vocabulary", tasks=("nsqp",), task_weights=(1.0,)
    )
    generator = new_generator(small_corpus(), random_identifiers(40, 8), training)
    rows, total = generator.corpus.targets("train", "search")["event_id"].to_numpy()[:5], 0.0
    loss = task_loss(
        generator.model.eval(),
        generator.builder.batch(TASKS["nsqp"], rows).to("cpu"),
        generator.layout,
        training,
    )
    for row in rows:
        batch = generator.builder.batch(TASKS["nsqp"], np.array([row]))
        sequence = torch.tensor([[*batch.source[0], PAD, *batch.target[0]]])
        labels = torch.where(torch.arange(sequence.shape[1]) > len(batch.source[0]), sequence, -100)
        total += (
            generator.model(input_ids=sequence, labels=labels).loss.item() * batch.target.shape[1]
        )
    assert loss.total.item() == pytest.approx(total, rel=1e-4)


def test_a_fresh_decoder_drops_out_only_in_training():
    generator = generator_of(backbone="gpt-micro", dropout=0.5)
    model, ids = generator.model, torch.tensor([[5, 6, 7]])
    assert (
        sum(isinstance(m, ByteDropout) for m in model.modules()) == 1 + 2 * 2
    )  # embeddings; twice a layer
    assert torch.equal(model(ids).logits, model(ids).logits)
    model.train()
    assert not torch.equal(model(ids).logits, model(ids).logits)
    assert model.lm_head.weight is model.get_input_embeddings().weight


# ---------------------------------------------------------------------------------- pretrained ones

T5 = {
    "d_model": 16,
    "d_ff": 32,
    "d_kv": 8,
    "num_heads": 2,
    "num_layers": 1,
    "decoder_start_token_id": PAD,
}
GPT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES = {
    "t5": lambda n: hf.T5ForConditionalGeneration(hf.T5Config(vocab_size=n, **T5)),
    "flan-t5": lambda n: hf.T5ForConditionalGeneration(
        hf.T5Config(vocab_size=n, feed_forward_proj="gated-gelu", tie_word_embeddings=False, **T5)
    ),
    "mt5": lambda n: hf.MT5ForConditionalGeneration(hf.MT5Config(vocab_size=n + 30, **T5)),
    "llama": lambda n: hf.LlamaForCausalLM(
        hf.LlamaConfig(vocab_size=n, num_key_value_heads=2, **GPT)
    ),
    "qwen2": lambda n: hf.Qwen2ForCausalLM(
        hf.Qwen2Config(vocab_size=n + 9, num_key_value_heads=2, tie_word_embeddings=True, **GPT)
    ),
    "gpt2": lambda n: hf.GPT2LMHeadModel(
        hf.GPT2Config(vocab_size=n, n_embd=16, n_layer=2, n_head=2, n_positions=256)
    ),
}
UNTIED = ("flan-t5", "mt5", "llama")


def publish(folder: Path, family: str, **changes) -> Path:
    """A tiny random model and tokenizer as a stranger would publish them."""
    codec = TextCodec.train(["red thing", "big thing", "wanted"], 300)
    torch.manual_seed(1)
    model = FAMILIES[family](codec.num_tokens)
    if family in UNTIED[:2]:
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    model.to(changes.pop("dtype", torch.float32)).save_pretrained(folder, **changes)
    codec.save(folder)
    return folder


def trained_on(folder: Path, **changes):
    settings = tiny_settings(backbone=str(folder), batch_size=32, **changes)
    generator = new_generator(small_corpus(), random_identifiers(40, 8), settings)
    before = {k: v.detach().clone() for k, v in generator.model.state_dict().items()}
    Trainer(generator.model, generator.builder, new_mixture(generator, settings), settings).fit()
    return generator, before


def same_after_reload(generator, folder: Path) -> None:
    """Lists are the same; where adapters are merged into weights, scores are, to rounding."""
    settings = generator.builder.settings
    mine, everything = Decoder.of(generator, settings), {}
    for task in TASK_OF_EVENTS:
        rows = test_rows(generator, task)
        table = np.tile(ITEMS, (len(rows), 1))
        everything[task] = (
            rows,
            table,
            mine.search(task, rows, 5).items,
            mine.score_rows(task, rows, table),
        )
    save_generator(generator, folder)
    again = Decoder.of(generator._replace(model=load_model(folder)), settings)
    for task, (rows, table, items, scores) in everything.items():
        np.testing.assert_allclose(again.score_rows(task, rows, table), scores, atol=1e-5)
        assert settings.lora_rank or again.search(task, rows, 5).items.tolist() == items.tolist()
    assert not list(folder.glob("*.bin"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pretrained_backbone_is_widened_trained_saved_and_reloaded(tmp_path, family):
    generator, before = trained_on(publish(tmp_path / "theirs", family))
    model, layout = generator.model, generator.layout
    assert layout.num_text == len(generator.codec.tokenizer) + {"mt5": 30, "qwen2": 9}.get(
        family, 0
    )
    for table in (model.get_input_embeddings(), model.get_output_embeddings()):
        assert table.weight.shape[0] == layout.size == model.config.vocab_size
    table, head = (t.weight for t in (model.get_input_embeddings(), model.get_output_embeddings()))
    assert (table is head) == (family not in UNTIED)
    moved = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    assert len(moved) > 0.8 * len(before)
    same_after_reload(generator, tmp_path / "ours")


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_the_output_layer_are_the_models_own_logits(tmp_path, family):
    settings = tiny_settings(backbone=str(publish(tmp_path, family)))
    generator = new_generator(small_corpus(), random_identifiers(40, 8), settings)
    model, task = generator.model.eval(), TASKS["nsip"]
    batch = generator.builder.batch(task, test_rows(generator, "search")[:1]).to("cpu")
    after = torch.cat([torch.full((1, 1), PAD), batch.target[:, :-1]], dim=1)
    with torch.no_grad():
        got = output_rows(model, hidden_states(model, *batch[1:4]), slice(None))
        if model.config.is_encoder_decoder:
            wanted = model(input_ids=batch.source, decoder_input_ids=after).logits
        else:
            wanted = model(input_ids=torch.cat([batch.source, after], dim=1)).logits[
                :, batch.source.shape[1] :
            ]
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_pretrained_weights_of_half_precision_are_trained_in_full(tmp_path):
    generator, _ = trained_on(publish(tmp_path / "theirs", "llama", dtype=torch.bfloat16))
    assert {p.dtype for p in generator.model.parameters()} == {torch.float32}
    same_after_reload(generator, tmp_path / "ours")


@pytest.mark.parametrize("family", ["flan-t5", "llama"])
def test_lora_trains_adapters_and_embeddings_alone_and_is_merged(tmp_path, family):
    pytest.importorskip("peft")
    generator, before = trained_on(publish(tmp_path / "theirs", family), lora_rank=4)
    model = generator.model
    tables = {id(t.weight) for t in (model.get_input_embeddings(), model.get_output_embeddings())}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        name for name, p in model.named_parameters() if "lora_" in name or id(p) in tables
    }
    state = model.state_dict()
    others = ("lora_", "embed", "shared", "lm_head", "relative")
    for k, v in before.items():
        if not any(word in k for word in others):
            frozen = "base_layer" in k or "norm" in k
            assert torch.equal(state[k], v) == frozen, k
    offset = generator.layout.level_offset("semantic", 0)
    name = next(k for k in state if k.endswith(("embed_tokens.weight", "shared.weight")))
    assert not torch.equal(state[name][offset:], before[name][offset:])  # new tokens learn
    same_after_reload(generator, tmp_path / "ours")
    assert not any("lora" in name for name in model.state_dict())
    assert not list((tmp_path / "ours").glob("*adapter*"))


def test_lora_needs_something_pretrained():
    with pytest.raises(ConfigError, match="lora_rank"):
        new_generator(small_corpus(), random_identifiers(40, 8), tiny_settings(lora_rank=4))


def test_only_safetensors_are_read(tmp_path):
    publish(tmp_path, "llama")
    weights = hf.LlamaForCausalLM.from_pretrained(tmp_path).state_dict()
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="could not be loaded"):
        new_generator(
            small_corpus(), random_identifiers(40, 8), tiny_settings(backbone=str(tmp_path))
        )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (hf.BartConfig(d_model=16), "of kind bart"),
        (
            hf.Qwen2Config(
                num_hidden_layers=2, layer_types=["full_attention", "sliding_attention"]
            ),
            "sliding_attention",
        ),
    ],
)
def test_backbones_that_cannot_be_decoded_are_refused(tmp_path, config, message):
    TextCodec.train(["red thing"], 300).save(tmp_path)
    config.save_pretrained(tmp_path)
    with pytest.raises(ArtifactError, match=message):
        new_generator(
            small_corpus(), random_identifiers(40, 8), tiny_settings(backbone=str(tmp_path))
        )


def test_a_revision_is_asked_for(monkeypatch):
    asked = []

    def stop(*_, revision, trust_remote_code, **__):
        asked.append((revision, trust_remote_code))
        raise OSError("no network here")

    monkeypatch.setattr(hf.AutoTokenizer, "from_pretrained", stop)
    with pytest.raises(ArtifactError, match="no network here"):
        train_codec(small_corpus(), tiny_settings(backbone="some/model", revision="abc123"))
    monkeypatch.setattr(hf.AutoConfig, "from_pretrained", stop)
    with pytest.raises(ArtifactError, match="no network here"):
        pretrained_config(tiny_settings(backbone="some/model", revision="abc123"))
    assert asked == [("abc123", False)] * 2


# ------------------------------------------------------------------------------------- a warm start


@pytest.mark.parametrize("backbone", ["t5-micro", "gpt-micro"])
def test_a_warm_start_keeps_what_the_encoder_knows_of_words(backbone, tmp_path):
    corpus = small_corpus()
    items = corpus.items.assign(
        title=["shampoo", "conditioner", "lipstick", "mascara", "perfume"] * 8
    )
    corpus = dataclasses.replace(corpus, items=items)
    settings = tiny_settings(backbone=backbone, warm_embeddings=True)
    generator = new_generator(corpus, random_identifiers(40, 8), settings)
    cold = new_generator(corpus, random_identifiers(40, 8), tiny_settings(backbone=backbone)).model
    codec, table = generator.codec, generator.model.get_input_embeddings().weight.detach()
    theirs = hf.AutoTokenizer.from_pretrained(minilm_folder())
    texts = ["red shampoo", "Mascara: thing", "perfume", "quokkas"]
    for text in texts[:3]:  # as the encoder cuts them
        assert codec.tokenizer.convert_ids_to_tokens(codec.encode([text])[0]) == theirs.tokenize(
            text
        )
    assert (
        codec.tokenizer.unk_token_id not in codec.encode(texts)[3]
    )  # an unknown word has its letters
    with safe_open(minilm_folder() / "model.safetensors", "pt") as file:
        words = file.get_tensor("embeddings.word_embeddings.weight")
    ours, known = codec.tokenizer.get_vocab(), theirs.get_vocab()
    pieces = [p for p in ours if p in known]
    assert len(pieces) == codec.num_tokens - 3
    wide = words[[known[p] for p in pieces]]
    near = []
    for rows in (wide - wide.mean(0), table[[ours[p] for p in pieces]]):
        unit = torch.nn.functional.normalize(rows, dim=1)
        near.append((unit @ unit.T).flatten())
    assert torch.corrcoef(torch.stack(near))[0, 1] > 0.8  # neighbours stay neighbours
    assert table.std().item() == pytest.approx(
        cold.get_input_embeddings().weight.std().item(), rel=0.05
    )
    codec.save(tmp_path)
    assert TextCodec.load(tmp_path).encode(texts) == codec.encode(texts)


def test_a_pretrained_backbone_takes_no_warm_start():
    with pytest.raises(ConfigError, match="warm_embeddings"):
        new_generator(
            small_corpus(),
            random_identifiers(40, 8),
            tiny_settings(backbone="some/model", warm_embeddings=True),
        )


# ---------------------------------------------------------------------------- what makes a CPU fast


@pytest.mark.parametrize("family", ["t5", "flan-t5", "mt5"])
def test_attention_as_written_out_here_is_that_of_the_library(family):
    torch.manual_seed(0)
    model = FAMILIES[family](40).eval()
    source, target = torch.randint(3, 40, (3, 7)), torch.randint(3, 40, (3, 4))
    mask = torch.arange(7)[None] < torch.tensor([[7], [4], [1]])
    wanted = model(input_ids=source, attention_mask=mask.long(), labels=target).logits
    logits = suited(model)(input_ids=source, attention_mask=mask.long(), labels=target).logits
    assert torch.allclose(logits, wanted, atol=1e-5)
    assert not any(type(m) is torch.nn.Dropout for m in model.modules())


def test_attention_drops_out_at_its_rate():
    module, v = torch.nn.Module(), torch.eye(64).expand(8, 4, 64, 64)
    q = torch.zeros(8, 4, 64, 16)
    torch.manual_seed(0)
    out, weights = t5_attention(module, q, q, v, None, dropout=0.25)
    assert torch.equal(out.transpose(1, 2), weights)  # values that show their weights
    assert abs(float((weights == 0).float().mean()) - 0.25) < 0.01
    assert torch.allclose(weights[weights > 0], torch.tensor(1 / 64 / 0.75))
    assert torch.equal(t5_attention(module, q, q, v, None)[1], torch.full((8, 4, 64, 64), 1 / 64))


def test_learning_from_a_part_of_the_output_layer_is_learning_from_the_whole():
    generator = generator_of()
    model, hidden = generator.model, torch.randn(5, generator.model.config.d_model)
    grads = []
    for layer in (
        output_layer(model).rows(slice(10, 90)).rows(slice(5, 20)),
        output_layer(model).rows(slice(15, 30)),
    ):
        model.zero_grad()
        layer(hidden).square().sum().backward()
        grads.append(model.get_output_embeddings().weight.grad.clone())
    assert torch.equal(*grads)
    assert grads[0].any()
