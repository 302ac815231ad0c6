"""Decoding against other ways of knowing: transformers' own forward pass and generate, enumeration,
brute force."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import random_identifiers, small_corpus
from transformers import T5Config, T5ForConditionalGeneration

from gensar_lite.config import DecodingConfig, TrainingConfig
from gensar_lite.decoding import Decoder, rank_events
from gensar_lite.decoding.stage import to_run
from gensar_lite.decoding.steps import advance, encode, linear
from gensar_lite.training import new_generator
from gensar_lite.training.backbones import shift_right
from gensar_lite.training.loop.losses import task_loss
from gensar_lite.training.text import PAD


@pytest.fixture(scope="module", params=["level", "vocabulary"])
def decoder(request) -> Decoder:
    corpus = small_corpus()
    training = TrainingConfig(head=request.param, num_text_tokens=400, dropout=0.0)
    generator = new_generator(corpus, random_identifiers(40, 8), training)
    with torch.no_grad():  # a random model with opinions: larger weights, clearer differences
        for p in generator.model.parameters():
            p.mul_(1.5)
    generator.model.eval()
    return Decoder.of(generator, training)


def teacher_forced(decoder: Decoder, task: str, rows: np.ndarray) -> np.ndarray:
    """(B, N) log-probabilities of every item."""
    return teacher_forced_levels(decoder, task, rows).sum(axis=2)


def teacher_forced_levels(decoder: Decoder, task: str, rows: np.ndarray) -> np.ndarray:
    """(B, N, L) log-probabilities of every code of every item from transformers' own forward pass,
    one full sequence at a time."""
    generator, layout = decoder.generator, decoder.generator.layout
    view = {"search": "semantic", "recommend": "collaborative"}[task]
    batch = generator.builder.batch(next(t for t in _tasks() if t.events == task), rows)
    targets = np.concatenate(
        [
            np.full((40, 1), batch.target[0, 0]),
            layout.tokens(generator.identifiers.view(task), view),
        ],
        1,
    )
    found = np.zeros((len(rows), 40, 3))
    for i in range(len(rows)):
        source = torch.from_numpy(batch.source[i : i + 1]).expand(40, -1)
        mask = torch.from_numpy(batch.mask[i : i + 1]).expand(40, -1).long()
        target = torch.from_numpy(targets)
        with torch.no_grad():
            logits = generator.model(
                input_ids=source, attention_mask=mask, decoder_input_ids=shift_right(target)
            ).logits.double()
        for level in range(3):
            offset = layout.level_offset(view, level)
            step = logits[:, 1 + level]
            if decoder.settings.head == "level":
                step = torch.full_like(step, -torch.inf).index_copy(
                    1, torch.arange(offset, offset + 8), step[:, offset : offset + 8]
                )
            found[i, :, level] = (
                step.log_softmax(-1).gather(1, target[:, 1 + level : 2 + level]).squeeze(1).numpy()
            )
    return found


def _tasks():
    from gensar_lite.training import TASK_OF_EVENTS

    return TASK_OF_EVENTS.values()


@pytest.mark.parametrize("task", ["recommend", "search"])
def test_candidate_scores_equal_transformers_forward_pass(decoder, task):
    rows = decoder.generator.corpus.targets("test", task)["event_id"].to_numpy()
    wanted = teacher_forced(decoder, task, rows)
    got = decoder.score_rows(task, rows, np.tile(np.arange(40), (len(rows), 1)))
    np.testing.assert_allclose(got, wanted, atol=2e-4)


@pytest.mark.parametrize("task", ["recommend", "search"])
def test_wide_beam_equals_brute_force(decoder, task):
    rows = decoder.generator.corpus.targets("test", task)["event_id"].to_numpy()
    wanted = teacher_forced(decoder, task, rows)
    items, scores, _ = decoder.search(task, rows, num_beams=64)
    for i in range(len(rows)):
        valid = items[i] >= 0
        assert sorted(items[i][valid]) == list(range(40))  # every item, none twice, none invented
        np.testing.assert_allclose(scores[i][valid], np.sort(wanted[i])[::-1], atol=2e-4)
        assert np.all(np.diff(scores[i][valid]) <= 0)


def briefly_trained(generator, settings: TrainingConfig, steps: int = 25) -> None:
    """A few steps on train events: a model whose opinions are not noise."""
    optimiser = torch.optim.AdamW(generator.model.parameters(), lr=3e-3)
    for step in range(steps):
        task = list(_tasks())[step % 2]
        rows = generator.corpus.targets("train", task.events)["event_id"].to_numpy()
        batch = generator.builder.batch(task, rows).to("cpu")
        loss = task_loss(generator.model.train(), batch, generator.layout, settings).total
        optimiser.zero_grad()
        (loss / len(rows)).backward()
        optimiser.step()


@pytest.mark.parametrize("trained", [False, True])
def test_narrow_beam_equals_generate_with_a_prefix_function(trained):
    corpus = small_corpus()
    training = TrainingConfig(head="vocabulary", num_text_tokens=400, dropout=0.0)
    generator = new_generator(corpus, random_identifiers(40, 8), training)
    if trained:
        briefly_trained(generator, training)
    generator.model.eval()
    decoder = Decoder.of(generator, training)
    rows = corpus.targets("test", "recommend")["event_id"].to_numpy()
    layout = generator.layout
    table = layout.tokens(generator.identifiers.collaborative, "collaborative")
    children: dict[tuple, set] = {}
    for sequence in table.tolist():
        path = (PAD, layout.recommend_item, *sequence)
        for cut in range(1, len(path)):
            children.setdefault(path[:cut], set()).add(path[cut])
    batch = generator.builder.batch(next(t for t in _tasks() if t.events == "recommend"), rows)
    out = generator.model.generate(
        input_ids=torch.from_numpy(batch.source),
        attention_mask=torch.from_numpy(batch.mask).long(),
        num_beams=5,
        num_return_sequences=5,
        max_new_tokens=4,
        min_new_tokens=4,
        early_stopping=False,
        length_penalty=0.0,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
        prefix_allowed_tokens_fn=lambda _, ids: sorted(children.get(tuple(ids.tolist()), {1})),
    )
    whole = {tuple(sequence): item for item, sequence in enumerate(table.tolist())}
    theirs = np.array([whole[tuple(ids[2:6])] for ids in out.sequences.tolist()]).reshape(
        len(rows), 5
    )
    scores = out.sequences_scores.view(len(rows), 5).numpy()
    ours = decoder.search("recommend", rows, num_beams=5)
    # the behaviour token is given here and predicted there: a query's scores differ by one number
    np.testing.assert_allclose(np.diff(ours.scores, axis=1), np.diff(scores, axis=1), atol=2e-5)
    clear = np.diff(scores, axis=1, prepend=np.inf, append=-np.inf) < -1e-5
    clear = clear[:, :-1] & clear[:, 1:]  # neither neighbour is within rounding
    assert clear.mean() > 0.9
    assert np.array_equal(theirs[clear], ours.items[clear])


def test_rank_events_leaves_out_seen_items_for_recommendation_only(decoder):
    corpus = decoder.generator.corpus
    run = rank_events(
        decoder, corpus.targets("test"), DecodingConfig(num_beams=40, top_k=40), progress=False
    )
    for event_id, rows in run.groupby("event_id"):
        event = corpus.events.iloc[event_id]
        mine = corpus.events[
            (corpus.events["user_id"] == event["user_id"]) & (corpus.events["time"] < event["time"])
        ]
        if event["task"] == "recommend":
            assert not set(rows["item_id"]) & set(mine["item_id"])
            assert len(rows) == 40 - mine["item_id"].nunique()
        else:
            assert len(rows) == 40
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert not rows["item_id"].duplicated().any()


def test_to_run_by_hand():
    run = to_run(
        np.array([7]), np.array([[4, -1, 2, 3]]), np.array([[0.0, -1.0, -2.0, -3.0]]), top_k=2
    )
    assert run.values.tolist() == [[7, 4, 1, 0.0], [7, 2, 2, -2.0]]


def test_left_out_items_give_their_places_to_others(decoder):
    rows = decoder.generator.corpus.targets("test", "recommend")["event_id"].to_numpy()
    wide = decoder.search("recommend", rows, 40)
    pairs = (np.repeat(np.arange(len(rows)), 3), wide.items[:, [0, 2, 5]].ravel())
    left = np.delete(wide.items, [0, 2, 5], axis=1)[:, :8]
    assert np.array_equal(decoder.search("recommend", rows, 40, exclude=pairs).items[:, :8], left)
    narrow = decoder.search("recommend", rows, 6, exclude=pairs)
    assert (narrow.items >= 0).all()
    assert not any(
        np.isin(items, pairs[1][pairs[0] == query]).any()
        for query, items in enumerate(narrow.items)
    )
    np.testing.assert_allclose(
        decoder.score_rows("recommend", rows, narrow.items), narrow.scores, atol=1e-4
    )


def test_one_query_alone_is_answered_as_among_others(decoder):
    rows = decoder.generator.corpus.targets("test", "search")["event_id"].to_numpy()
    together = decoder.search("search", rows, 10)
    for i, row in enumerate(rows):
        alone = decoder.search("search", np.array([row]), 10)
        np.testing.assert_allclose(alone.scores[0], together.scores[i], atol=1e-4)


def test_candidates_of_each_query_are_ranked_as_they_score(decoder):
    rows = decoder.generator.corpus.targets("test", "search")["event_id"].to_numpy()
    few = np.stack([np.random.default_rng(i).permutation(40)[:9] for i in range(len(rows))])
    found = decoder.search("search", rows, 9, allowed=few)
    scores = decoder.score_rows("search", rows, few)
    order = np.argsort(-scores, axis=1)
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, order, axis=1), atol=1e-4)
    assert np.array_equal(found.items, np.take_along_axis(few, order, axis=1))
    assert found.certified.all()


def test_renormalised_scores_by_hand(decoder):
    """Each code's probability is divided by the sum over the codes that the trie allows there."""
    own = dataclasses.replace(decoder, renormalise=True)
    rows = decoder.generator.corpus.targets("test", "search")["event_id"].to_numpy()[:2]
    found = own.search("search", rows, 64)
    codes, plain = (
        decoder.generator.identifiers.semantic,
        teacher_forced_levels(decoder, "search", rows),
    )
    for query in range(2):
        for item, score in zip(found.items[query], found.scores[query], strict=True):
            wanted = 0.0
            for level in range(3):
                same = (codes[:, :level] == codes[item, :level]).all(axis=1)
                siblings = {
                    int(c): plain[query, i, level] for i, c in enumerate(codes[:, level]) if same[i]
                }
                wanted += siblings[int(codes[item, level])] - np.log(
                    np.exp(list(siblings.values())).sum()
                )
            assert score == pytest.approx(wanted, abs=5e-4)
    assert np.exp(found.scores).sum(axis=1) == pytest.approx(
        1, abs=1e-3
    )  # all of the probability lies on items
    everything = np.tile(np.arange(40), (2, 1))
    again = np.take_along_axis(own.score_rows("search", rows, everything), found.items, axis=1)
    np.testing.assert_allclose(again, found.scores, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_read_once_find_what_weights_read_anew_find(decoder, precision):
    anew = dataclasses.replace(decoder, precision=precision)
    rows = decoder.generator.corpus.targets("test", "search")["event_id"].to_numpy()
    for a, b in zip(
        anew.prepared().search("search", rows, 6), anew.search("search", rows, 6), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    wrong = dataclasses.replace(
        decoder.prepared(), precision=precision
    )  # read in another format: read again
    np.testing.assert_array_equal(
        wrong.search("search", rows, 6).scores, anew.search("search", rows, 6).scores
    )


def test_a_search_follows_a_model_that_is_trained_on():
    corpus = small_corpus()
    training = TrainingConfig(num_text_tokens=400, dropout=0.0)
    generator = new_generator(corpus, random_identifiers(40, 8), training)
    decoder, rows = (
        Decoder.of(generator, training),
        corpus.targets("test", "search")["event_id"].to_numpy(),
    )
    before, kept = decoder.search("search", rows, 6).scores, decoder.prepared()
    with torch.no_grad():
        for p in generator.model.parameters():
            p.mul_(1.5)
    after = decoder.search("search", rows, 6).scores
    assert not np.allclose(after, before)
    np.testing.assert_array_equal(
        dataclasses.replace(kept, stacks=None).search("search", rows, 6).scores, after
    )


def test_bf16_keeps_nearly_the_same_list(decoder):
    rows = decoder.generator.corpus.targets("test", "recommend")["event_id"].to_numpy()
    half = dataclasses.replace(decoder, precision="bf16").search("recommend", rows, 40)
    full = decoder.search("recommend", rows, 40)
    by_item = [np.argsort(found.items, axis=1) for found in (half, full)]
    a, b = (
        np.take_along_axis(f.scores, o, axis=1) for f, o in zip((half, full), by_item, strict=True)
    )
    assert not np.array_equal(a, b)
    assert np.abs(a - b).mean() < 0.3
    assert (
        np.mean(
            [
                len(set(x) & set(y))
                for x, y in zip(half.items[:, :10], full.items[:, :10], strict=True)
            ]
        )
        > 8
    )


@pytest.mark.parametrize("feed", ["relu", "gated-gelu"])
def test_a_step_equals_transformers_own_decoder(feed):
    sizes = {
        "d_model": 16,
        "d_ff": 24,
        "d_kv": 8,
        "num_heads": 3,
        "num_layers": 2,
        "vocab_size": 50,
    }
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(**sizes, feed_forward_proj=feed, decoder_start_token_id=0)
    ).eval()
    source = torch.randint(3, 50, (3, 40))
    mask = torch.arange(40) < torch.tensor([[40], [7], [25]])
    tokens = torch.randint(3, 50, (3, 4, 5))  # four paths of five tokens a query
    with torch.inference_mode():
        cache, found = encode(model, source, mask), []
        for place in range(5):
            found.append(advance(model, cache, tokens[..., place]))
        states = model.encoder(input_ids=source, attention_mask=mask.long()).last_hidden_state
        for path in range(4):
            wanted = model.decoder(
                input_ids=tokens[:, path],
                encoder_hidden_states=states,
                encoder_attention_mask=mask.long(),
            ).last_hidden_state
            torch.testing.assert_close(torch.stack(found, 2)[:, path], wanted, atol=2e-5, rtol=1e-4)


def test_fast_products_equal_torch(monkeypatch):
    torch.manual_seed(0)
    x, weight = torch.randn(7, 33), torch.randn(21, 33)
    wanted = x.double() @ weight.double().T
    for large in (0, 2**60):  # with oneDNN where there is one, and without
        monkeypatch.setattr("gensar_lite.decoding.steps._LARGE", large)
        torch.testing.assert_close(linear(x, weight).double(), wanted, atol=1e-4, rtol=1e-5)


TWO = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch.distributed
from helpers import random_identifiers, small_corpus
from gensar_lite.config import DecodingConfig, TrainingConfig
from gensar_lite.decoding import Decoder, rank_events
from gensar_lite.training import new_generator
from gensar_lite.machine.processes import rank_and_world
rank, world = rank_and_world()
corpus, settings = small_corpus(), TrainingConfig(num_text_tokens=400, dropout=0.0)
decoder = Decoder.of(new_generator(corpus, random_identifiers(40, 8), settings), settings)
decoder.generator.model.eval()
own = DecodingConfig(num_beams=10, top_k=5, batch_size=3)
targets = corpus.targets("test")
shared, alone = (rank_events(decoder, targets, own, False, *who) for who in ((rank, world), (0, 1)))
assert shared.equals(alone), "two processes disagree with one"
assert shared["event_id"].nunique() == len(targets)
assert not shared.duplicated(["event_id", "item_id"]).any()
# a file each: prints of two would mix
Path(sys.argv[2], f"world-{torch.distributed.get_world_size()}-{rank}").touch()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_give_the_run_of_one(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    here = Path(__file__).parent
    told = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            script,
            here,
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(here.parent), "OMP_NUM_THREADS": "1"},
    )
    assert told.returncode == 0, told.stderr[-2000:]
    assert {path.name for path in tmp_path.glob("world-*")} == {"world-2-0", "world-2-1"}
