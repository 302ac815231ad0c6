"""Every list is as long as it can be: exclusion against dictionaries, lists of users who know
most of a catalogue against the ranking of all items, one by one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted, asked, random_codes

from gensar_lite.artifacts import Corpus
from gensar_lite.config import DecodingConfig, TrainingConfig, override, preset
from gensar_lite.decoding import Decoder, Recommender, Trie, rank_events, ranking_judge
from gensar_lite.decoding.exclusion import spent_levels
from gensar_lite.decoding.paths import MAX_PATHS, WIDENED, batches_of_like_width
from gensar_lite.training import Event, new_generator

NUM_ITEMS = 50
shapes = st.tuples(st.integers(1, 40), st.integers(2, 6), st.integers(1, 4), st.integers(0, 999))


def some_pairs(
    num_items: int, share: float, seed: int, num_queries: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Excluded items of each query in any order, some of them twice, as those who buy again have
    them."""
    rng = np.random.default_rng(seed)
    query, item = np.nonzero(rng.random((num_queries, num_items)) < share)
    order = rng.permutation(
        np.r_[np.arange(len(query)), np.flatnonzero(rng.random(len(query)) < 0.3)]
    )
    return query[order], item[order]


@given(shapes, st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_spent_continuations_are_those_without_another_item(shape, share, seed):
    num_codes, codes = shape[1], random_codes(*shape)
    query, item = some_pairs(len(codes), share, seed)
    inside = np.random.default_rng(seed).random(len(codes)) < 0.7
    few = np.where(np.random.default_rng(seed).random((3, 6)) < 0.8, seed % len(codes), -1)
    for trie, mine in (
        (Trie.build(codes, num_codes), [set(range(len(codes)))] * 3),
        (Trie.build(codes, num_codes).restrict(inside), [set(np.flatnonzero(inside).tolist())] * 3),
        (Trie.of_candidates(codes, num_codes, few), [set(row[row >= 0].tolist()) for row in few]),
    ):
        for level, spent in enumerate(spent_levels(trie, codes, 3, (query, item))):
            wanted = set()
            for one in range(3):
                out = set(item[query == one].tolist())
                below: dict[tuple, set] = {}
                for row in mine[one]:
                    below.setdefault(tuple(codes[row, : level + 1].tolist()), set()).add(row)
                wanted |= {(one, prefix) for prefix, rows in below.items() if rows <= out}
            got = {
                (q, (*prefix(trie, int(node), level), int(code)))
                for q, node, code in zip(*spent, strict=True)
            }
            assert got == wanted
            assert len(spent.query) == len(wanted)


def prefix(trie: Trie, node: int, level: int) -> tuple[int, ...]:
    """The codes of a node, read upwards."""
    codes = []
    for keys in reversed(trie.keys[:level]):
        node, code = divmod(int(keys[node]), trie.codebook_size)
        codes.append(code)
    return tuple(reversed(codes))


@given(
    shapes,
    st.sampled_from(["smooth", "ties"]),
    st.integers(1, 9),
    st.floats(0, 1),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_a_beam_of_any_width_is_full(shape, kind, num_beams, share, seed):
    """However much is excluded, of the whole catalogue or of a part: m beams bring m items, or
    all that are left."""
    num_items, num_codes, num_levels, model = shape
    codes = random_codes(num_items, num_codes, num_levels, model)
    decoder = Scripted.of_codes(codes, num_codes, model, kind)
    pairs = some_pairs(len(codes), share, seed)
    inside = np.random.default_rng(seed).random(len(codes)) < 0.7
    for allowed in (None, inside):
        answer = decoder.answer(asked(3, allowed=allowed, exclude=pairs), num_beams)
        for query in range(3):
            left = np.ones(len(codes), dtype=bool) if allowed is None else inside.copy()
            left[pairs[1][pairs[0] == query]] = False
            items = answer.items[query][answer.items[query] >= 0]
            assert len(set(items.tolist())) == len(items) == min(num_beams, left.sum())
            assert left[items].all()
            np.testing.assert_allclose(
                decoder.enumerate(query)[items], answer.scores[query][: len(items)], atol=1e-5
            )


@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(0, 9000)), max_size=60),
    st.integers(1, 30),
    st.integers(1, 80),
    st.integers(1, 20),
)
def test_batches_hold_every_request_once_and_are_wide_enough(requests, k, num_beams, batch_size):
    lengths, left_out = np.array(requests, dtype=np.int64).reshape(-1, 2).T
    batches = batches_of_like_width(
        lengths, left_out, k, DecodingConfig(num_beams=num_beams, batch_size=batch_size)
    )
    assert sorted(place for batch in batches for place in batch.places.tolist()) == list(
        range(len(requests))
    )
    for places, width in batches:
        assert len(places) == 1 or len(places) <= min(batch_size, MAX_PATHS // width)
        needed = k + np.minimum(left_out[places], WIDENED)
        assert ((width >= needed) & (width >= num_beams)).all()
        assert width == num_beams or (width < needed + 10).all()  # no wider than it must be
        assert (np.diff(lengths[places]) <= 0).all()


# ------------------------------------------------------------- users who know most of the catalogue


def long_histories(exclude_seen: bool = True, known: int = 30, newcomers: int = 1) -> Corpus:
    """Ten users who met `known` of 50 items, some twice, before the two that validate and test;
    and users of three."""
    rng, rows = np.random.default_rng(0), []
    for user in range(10):
        items = rng.permutation(NUM_ITEMS)[: known + 2]
        path = [*rng.choice(items[:known], 5), *items]
        rows += [
            (user, time, "search" if time % 3 == 0 else "recommend", item)
            for time, item in enumerate(path)
        ]
    rows += [(10 + new, time, "recommend", time) for new in range(newcomers) for time in range(3)]
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id"])
    events["query_id"] = np.where(events["task"] == "search", 1, -1)
    corpus = small_corpus(NUM_ITEMS, events=events)
    return dataclasses.replace(corpus, exclude_seen=exclude_seen)


def decoder_of(corpus, backbone: str = "t5-micro") -> Decoder:
    training = TrainingConfig(num_text_tokens=400, dropout=0.0, backbone=backbone)
    generator = new_generator(corpus, random_identifiers(NUM_ITEMS, 8), training)
    with torch.no_grad():
        for p in generator.model.parameters():
            p.mul_(1.5)
    generator.model.eval()
    return Decoder.of(generator, training)


@pytest.fixture(scope="module", params=["t5-micro", "gpt-micro"])
def decoder(request) -> Decoder:
    return decoder_of(long_histories(), request.param)


def brute_force(decoder: Decoder, events: pd.DataFrame, k: int) -> dict[int, list[int]]:
    """The best k items of every event by the score of each one alone; a user's own items are
    looked up row by row."""
    log, lists = decoder.generator.corpus.events, {}
    for event in events.itertuples():
        every = np.arange(NUM_ITEMS)
        scores = decoder.score_rows(event.task, np.array([event.event_id]), every[None])[0]
        if event.task == "recommend" and decoder.generator.corpus.exclude_seen:
            scores[
                log.loc[(log["user_id"] == event.user_id) & (log["time"] < event.time), "item_id"]
            ] = -np.inf
        order = np.argsort(-scores, kind="stable")[: min(k, np.isfinite(scores).sum())]
        lists[event.event_id] = order.tolist()
    return lists


def as_lists(run: pd.DataFrame) -> dict[int, list[int]]:
    return {
        event: rows.sort_values("rank")["item_id"].tolist()
        for event, rows in run.groupby("event_id")
    }


@pytest.mark.parametrize("top_k", [10, 25])
def test_an_exact_run_is_the_brute_force_ranking_however_long_the_histories(decoder, top_k):
    targets = decoder.generator.corpus.targets("test")
    run = rank_events(
        decoder, targets, DecodingConfig(num_beams=3, top_k=top_k, exact=True), progress=False
    )
    assert as_lists(run) == brute_force(decoder, targets, top_k)


@pytest.mark.parametrize("num_beams", [1, 4, 10])
def test_every_list_of_a_narrow_beam_is_full(decoder, num_beams):
    """Ten of ten, where a user who knows 30 of 50 items has only 20 left."""
    corpus = decoder.generator.corpus
    targets = pd.concat([corpus.targets("validation"), corpus.targets("test")])
    run = rank_events(
        decoder, targets, DecodingConfig(num_beams=num_beams, top_k=10), progress=False
    )
    lengths = run.groupby("event_id").size()
    assert set(lengths.index) == set(targets["event_id"])
    assert (lengths == 10).all()
    most = rank_events(
        decoder, targets, DecodingConfig(num_beams=num_beams, top_k=NUM_ITEMS), progress=False
    )
    assert {event: len(items) for event, items in as_lists(most).items()} == {
        event: len(items) for event, items in brute_force(decoder, targets, NUM_ITEMS).items()
    }


def test_the_stage_and_a_recommender_give_one_list(decoder):
    """With a beam far too narrow to be exact, both give what one search gives."""
    corpus, own = decoder.generator.corpus, DecodingConfig(num_beams=4, top_k=7)
    targets = corpus.targets("test", "recommend")
    run = as_lists(rank_events(decoder, targets, own, progress=False))
    shop = dataclasses.replace(Recommender.of(decoder.generator), settings=own)
    for event in targets.itertuples():
        before = corpus.events[
            (corpus.events["user_id"] == event.user_id) & (corpus.events["time"] < event.time)
        ]
        history = [
            Event(e.item_id, "big thing" if e.task == "search" else None)
            for e in before.itertuples()
        ]
        assert [a.item_id for a in shop.recommend(history, 7)] == run[event.event_id]


def test_a_log_that_repeats_itself_keeps_what_was_met():
    decoder = decoder_of(long_histories(exclude_seen=False))
    targets = decoder.generator.corpus.targets("test")
    run = rank_events(
        decoder, targets, DecodingConfig(num_beams=3, top_k=30, exact=True), progress=False
    )
    assert as_lists(run) == brute_force(decoder, targets, 30)


def test_the_judge_of_training_sees_full_lists():
    """Nine items are left to users who know 41 of 50, so every target is among the ten, however
    narrow the beam."""
    decoder = decoder_of(long_histories(known=41, newcomers=0))
    judge = ranking_judge(override(preset("tiny"), {"training.eval_beams": 1}))(decoder.generator)
    assert judge(decoder.generator.model)["nrip/recall@10"] == 1
