"""Decoding against other ways of knowing: transformers' own forward pass and generate, enumeration, brute force."""

import numpy as np
import pytest
import torch
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.config import DecodingConfig, TrainingConfig
from gensar_lite.decoding import Decoder, Trie, rank_events
from gensar_lite.decoding.stage import drop_seen, to_run
from gensar_lite.training import new_generator
from gensar_lite.training.model import shift_right
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
    """(B, N) log-probabilities of every item from transformers' own forward pass, one full sequence at a time."""
    generator, layout = decoder.generator, decoder.generator.layout
    view = {"search": "semantic", "recommend": "collaborative"}[task]
    batch = generator.builder.batch(next(t for t in _tasks() if t.events == task), rows)
    targets = np.concatenate(
        [np.full((40, 1), batch.target[0, 0]), layout.tokens(generator.identifiers.view(task), view)], 1
    )
    found = np.zeros((len(rows), 40))
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
            found[i] += step.log_softmax(-1).gather(1, target[:, 1 + level : 2 + level]).squeeze(1).numpy()
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
    items, scores = decoder.search(task, rows, num_beams=64)
    for i in range(len(rows)):
        valid = items[i] >= 0
        assert sorted(items[i][valid]) == list(range(40))  # every item, none twice, none invented
        np.testing.assert_allclose(scores[i][valid], np.sort(wanted[i])[::-1], atol=2e-4)
        assert np.all(np.diff(scores[i][valid]) <= 0)


def test_narrow_beam_equals_generate_with_a_prefix_function():
    corpus = small_corpus()
    training = TrainingConfig(head="vocabulary", num_text_tokens=400, dropout=0.0)
    generator = new_generator(corpus, random_identifiers(40, 8), training)
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
        prefix_allowed_tokens_fn=lambda _, ids: sorted(children.get(tuple(ids.tolist()), {1})),
    )
    whole = {tuple(sequence): item for item, sequence in enumerate(table.tolist())}
    theirs = np.array([whole[tuple(ids[2:6])] for ids in out.tolist()]).reshape(len(rows), 5)
    ours, _ = decoder.search("recommend", rows, num_beams=5)
    assert np.array_equal(theirs, ours)


@given(st.integers(1, 30), st.integers(2, 5), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_trie_allows_exactly_the_catalogue(num_items, num_codes, num_levels, seed):
    rng = np.random.default_rng(seed)
    codes = np.unique(rng.integers(num_codes, size=(num_items, num_levels)), axis=0)
    codes = codes[rng.permutation(len(codes))]
    trie = Trie.build(codes, num_codes)
    grid = np.stack(np.meshgrid(*[np.arange(num_codes)] * num_levels, indexing="ij"), -1).reshape(-1, num_levels)
    nodes = np.zeros(len(grid), dtype=np.int64)
    for level in range(num_levels):
        allowed = trie.allowed(nodes, level)[np.arange(len(grid)), grid[:, level]]
        nodes = trie.step(nodes, grid[:, level], level)
        assert np.array_equal(allowed, nodes >= 0)
    known = {tuple(c): i for i, c in enumerate(codes.tolist())}
    assert trie.items(nodes).tolist() == [known.get(tuple(g), -1) for g in grid.tolist()]


def test_trie_refuses_twins():
    with pytest.raises(ValueError, match="share an identifier"):
        Trie.build(np.array([[0, 1], [0, 1]]), 2)


def test_rank_events_leaves_out_seen_items_for_recommendation_only(decoder):
    corpus = decoder.generator.corpus
    run = rank_events(decoder, corpus.targets("test"), DecodingConfig(num_beams=40, top_k=40), progress=False)
    for event_id, rows in run.groupby("event_id"):
        event = corpus.events.iloc[event_id]
        mine = corpus.events[(corpus.events["user_id"] == event["user_id"]) & (corpus.events["time"] < event["time"])]
        if event["task"] == "recommend":
            assert not set(rows["item_id"]) & set(mine["item_id"])
            assert len(rows) == 40 - mine["item_id"].nunique()
        else:
            assert len(rows) == 40
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert not rows["item_id"].duplicated().any()


def test_drop_seen_and_to_run_by_hand():
    corpus = small_corpus()
    rows = corpus.targets("test")["event_id"].to_numpy()[:1]
    start = corpus.events["user_id"].eq(corpus.events.iloc[rows[0]]["user_id"]).idxmax()
    seen = int(corpus.events.iloc[start]["item_id"])
    unseen = next(i for i in range(40) if i not in set(corpus.events["item_id"].iloc[start : rows[0]]))
    items = drop_seen(np.array([[seen, unseen, -1]]), corpus.events, rows)
    assert items.tolist() == [[-1, unseen, -1]]
    run = to_run(rows, items, np.array([[0.0, -1.0, -2.0]]), top_k=5)
    assert run[["item_id", "rank", "score"]].values.tolist() == [[unseen, 1, -1.0]]
