"""Answers of a tree: beams, exact lists, traces, sums and the recommender, against numpy on the
scores of the whole catalogue."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import tree_generator

from gensar_lite.config import DecodingConfig
from gensar_lite.decoding import Decoder, Recommender, rank_events, search_exact, trace_event
from gensar_lite.decoding.channel import Channel
from gensar_lite.decoding.parts import Weights
from gensar_lite.decoding.paths import Ranking
from gensar_lite.decoding.whole import catalogue_scores, rank_all
from gensar_lite.training import TASK_OF_EVENTS, Event
from gensar_lite.training.sequences.adhoc import adhoc_sources

N = 40
TASKS = ("recommend", "search")


def decoder_of(views: str, head: str, **changes) -> Decoder:
    generator = tree_generator(small_corpus(twin_rate=0.3), views=views, head=head, **changes)
    return Decoder.of(generator, generator.builder.settings)


@pytest.fixture(scope="module", params=["level", "catalogue"])
def own(request) -> Decoder:
    return decoder_of("own", request.param)


@pytest.fixture(
    scope="module", params=["own level", "own catalogue", "both level", "both catalogue"]
)
def decoder(request) -> Decoder:
    return decoder_of(*request.param.split())


def asked(decoder: Decoder, task: str) -> np.ndarray:
    """Rows of test events."""
    return decoder.generator.corpus.targets("test", task)["event_id"].to_numpy()


def whole(decoder: Decoder, task: str, rows: np.ndarray) -> np.ndarray:
    """(B, N) scores of all items, which sum to 1."""
    scores = catalogue_scores(decoder.generator.model, decoder.question(task, rows)).numpy()
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, atol=1e-4)
    return scores


def check_list(ranking: Ranking, truth: np.ndarray, k: int) -> None:
    """The first k of each request are the best of `truth` (B, N), -inf: may not be answered."""
    for row, values in enumerate(truth):
        items = ranking.items[row][ranking.items[row] >= 0][:k]
        wanted = np.argsort(-values, kind="stable")[: min(k, np.isfinite(values).sum())]
        assert len(set(items.tolist())) == len(items) == len(wanted)
        # two items that differ by rounding may change places
        np.testing.assert_allclose(values[items], values[wanted], atol=1e-5)
        np.testing.assert_allclose(ranking.scores[row][: len(items)], values[items], atol=1e-5)
        assert np.isneginf(ranking.scores[row][len(items) : k]).all()


# ------------------------------------------------------------------------------------------ lists


@pytest.mark.parametrize("task", TASKS)
def test_a_beam_as_wide_as_the_catalogue_is_the_whole_list(own, task):
    question = own.question(task, asked(own, task))
    beam, ranking = own.answer(question, N), rank_all(own.generator.model, question, N)
    assert np.array_equal(beam.items, ranking.items)
    np.testing.assert_allclose(beam.scores, ranking.scores, atol=1e-4)
    assert np.isneginf(beam.bound).all()
    assert np.isneginf(ranking.bound).all()
    narrow = own.answer(question, 3)  # what it certifies is the whole list's beginning
    for row, certain in enumerate(narrow.certified.sum(axis=1)):
        assert narrow.items[row, :certain].tolist() == ranking.items[row, :certain].tolist()


@given(
    st.integers(0, 10**6),
    st.integers(1, N + 5),
    st.sampled_from(TASKS),
    st.sets(st.sampled_from(["mask", "candidates", "exclude", "bonus"])),
)
@settings(max_examples=30, deadline=None)
def test_exact_lists_keep_to_what_may_be_answered(decoder, seed, k, task, kinds):
    rng, rows = np.random.default_rng(seed), asked(decoder, task)
    truth, limits = whole(decoder, task, rows).copy(), {}
    if "bonus" in kinds:
        limits["bonus"] = (3 * rng.normal(size=truth.shape)).astype(np.float32)
        truth += limits["bonus"]
    if "candidates" in kinds:
        few = rng.integers(-1, N, size=(len(rows), 6))
        limits["allowed"] = few
        there = [np.isin(np.arange(N), row) for row in few]
        truth = np.where(there, truth, -np.inf)
    elif "mask" in kinds:
        limits["allowed"] = rng.random(N) < 0.5
        truth = np.where(limits["allowed"], truth, -np.inf)
    if "exclude" in kinds:
        limits["exclude"] = np.nonzero(rng.random(truth.shape) < 0.3)
        truth[limits["exclude"]] = -np.inf
    question = decoder.question(task, rows, **limits)
    ranking = search_exact(decoder, question, 2, k)
    check_list(ranking, truth, k)
    assert ranking.items.shape == (len(rows), min(max(2, k), N))
    assert ranking.settled(k).all()
    # the best that is missing
    falling = -np.sort(-truth, axis=1)
    left = falling[:, max(2, k)] if max(2, k) < N else np.full(len(rows), -np.inf)
    np.testing.assert_allclose(ranking.bound, left, atol=1e-4)
    # candidates are scored as they are ranked
    columns = rng.integers(N, size=(len(rows), 4))
    scores = decoder.score(question, columns)
    np.testing.assert_allclose(scores, np.take_along_axis(truth, columns, axis=1), atol=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_a_trace_ends_with_the_items_own_score(own, task):
    rows = asked(own, task)[:4]
    targets = own.generator.corpus.events["item_id"].to_numpy()[rows]
    for row, target, scores in zip(rows, targets, whole(own, task, rows), strict=True):
        watched = trace_event(own, int(row), N)
        steps = watched.steps[watched.steps["on_target"]]
        assert (watched.lost, steps["level"].tolist()) == (None, [1, 2, 3])
        assert steps["item"].iloc[-1] == target
        assert steps["score"].iloc[-1] == pytest.approx(scores[target], abs=1e-4)
        assert steps["log_probability"].sum() == pytest.approx(scores[target], abs=1e-4)
        last = watched.steps[watched.steps["level"] == 3]
        np.testing.assert_allclose(last["score"], scores[last["item"]], atol=1e-4)
        # a beam of one follows the likeliest code alone
        one = trace_event(own, int(row), 1)
        assert (one.lost is None) == (one.ranking.items[0, 0] == target)


@pytest.mark.parametrize("history", [0.0, 0.7])
def test_sums_with_the_channel_equal_enumeration(decoder, history):
    corpus = decoder.generator.corpus
    groups = {
        "seen": Weights(history, 0.6, 0.3),
        "unseen": Weights(2 * history, 1.5, 0.0),
    }
    channel = Channel.of(decoder, groups)
    targets = corpus.targets("test", "search")
    assert len(targets) > 3
    sums = {}
    for row, query in zip(targets["event_id"], targets["query_id"], strict=True):
        part = groups["seen" if channel.seen[query] else "unseen"]
        words = channel.words.log_probability([corpus.queries["text"][query]])[0]
        known = part.likelihood * words + part.popularity * channel.prior
        of_history = whole(decoder, "recommend", np.array([row]))[0]
        sums[row] = whole(decoder, "search", np.array([row]))[0] + known + part.history * of_history
    ranked = list(channel.rank(targets, DecodingConfig(num_beams=2, top_k=7)))
    assert sorted(np.concatenate([rows for rows, _ in ranked])) == sorted(sums)
    for rows, ranking in ranked:
        check_list(ranking, np.stack([sums[row] for row in rows]), 7)
    every = np.tile(np.arange(N), (len(targets), 1))
    scores = channel.score_candidates(targets, every)
    np.testing.assert_allclose(scores, np.stack([sums[row] for row in sums]), atol=1e-3)


# ---------------------------------------------------------------------------------- the recommender


@pytest.fixture(scope="module")
def shop(decoder) -> Recommender:
    return Recommender.of(decoder.generator, DecodingConfig(num_beams=5, batch_size=3))


def before(decoder: Decoder, row: int) -> list[Event]:
    """What an event's user did in earlier steps, its purchases' search twins beside them."""
    corpus = decoder.generator.corpus
    events, texts = corpus.events, corpus.queries["text"]
    same = events["user_id"] == events["user_id"][row]
    earlier = events[same & (events["time"] < events["time"][row])]
    return [
        Event(one.item_id, texts[one.query_id] if one.task == "search" else None)
        for one in earlier.itertuples()
    ]


@pytest.mark.parametrize("task", TASKS)
def test_a_history_typed_by_hand_is_answered_as_the_events_own(decoder, shop, task):
    corpus = decoder.generator.corpus
    targets = corpus.targets("test", task)
    rows = targets["event_id"].to_numpy()
    run = rank_events(decoder, targets, DecodingConfig(top_k=9), progress=False)
    histories = [before(decoder, row) for row in rows]
    lengths = [len(history) for history in histories]
    assert max(lengths) > decoder.settings.max_history
    if task == "search":
        queries = corpus.queries["text"].to_numpy()[targets["query_id"]].tolist()
        many = shop.search_many(queries, histories, 9)
    else:
        many = shop.recommend_many(histories, 9)
    truth = whole(decoder, task, rows)
    for row, answers, scores in zip(rows, many, truth, strict=True):
        wanted = run[run["event_id"] == row]
        assert [answer.item_id for answer in answers] == wanted["item_id"].tolist()
        np.testing.assert_allclose([a.score for a in answers], wanted["score"], atol=1e-4)
        left = np.ones(N, dtype=bool)
        if task == "recommend":  # nobody meets an item twice here
            left[[event.item_id for event in before(decoder, row)]] = False
        assert (
            wanted["item_id"].tolist() == np.argsort(np.where(left, -scores, np.inf))[:9].tolist()
        )


@pytest.mark.parametrize("is_marked", [True, False])
def test_typed_events_are_marked_as_those_of_a_log(is_marked):
    typed = {
        # a twin is one event with its purchase; another item's search is not
        (Event(3), Event(3, "thing"), Event(5, "thing"), Event(7)): [3 + 2 * N, 5 + N, 7],
        (Event(3, "thing"), Event(3)): [3 + N, 3],
        (Event(3), Event(3), Event(3, "thing")): [3, 3 + 2 * N],
        (Event(3, "thing"), Event(3, "thing")): [3 + N, 3 + N],
        (Event(4), Event(4, "thing"), *map(Event, range(30, 35))): [30, 31, 32, 33, 34],
        (): [],
    }
    generator = tree_generator(small_corpus(), behaviour_tokens=is_marked)
    first = generator.builder.first_item
    for task in TASKS:
        queries = ["zebra"] * len(typed) if task == "search" else []
        sources = adhoc_sources(generator.builder, TASK_OF_EVENTS[task], list(typed), queries)
        for row, wanted in enumerate(typed.values()):
            wanted = wanted if is_marked else [mark % N for mark in wanted]
            assert (sources[row] - first).tolist() == wanted


def test_without_behaviours_a_search_is_read_as_a_purchase():
    made = decoder_of("own", "catalogue", behaviour_tokens=False)
    shop = Recommender.of(made.generator, DecodingConfig(num_beams=5))
    searched = [Event(3), Event(3, "thing"), Event(5, "thing"), Event(7)]
    assert shop.recommend(searched) == shop.recommend([3, 5, 7])


def test_a_search_of_another_item_and_a_second_purchase_are_events_of_their_own(shop):
    once, again = [3, Event(5, "thing"), 7], [3, 3, Event(5, "thing"), 7]
    # what is typed without a query is a purchase; what was done with an item matters
    assert shop.recommend([3, 5, 7]) == shop.recommend([Event(3), Event(5), (7, None)])
    twin = [3, Event(3, "thing"), Event(5, "thing"), 7]
    kinds = [[3, 5, 7], once, twin, again]
    scores = {tuple(answer.score for answer in shop.recommend(kind)) for kind in kinds}
    assert len(scores) == 4
    assert shop.recommend([Event(3, "thing"), 3]) != shop.recommend([3])
    # only the newest ones are read; all are left out
    old = shop.recommend([30, *once, 8, 9, 10], exclude_seen=False)
    assert old == shop.recommend([31, *once, 8, 9, 10], exclude_seen=False)


def test_words_that_nobody_knows_are_a_search_without_words(shop):
    history = [1, 2, 3]
    answers = shop.search("xylophone zebra", history, 10)
    assert len({answer.item_id for answer in answers}) == 10
    assert answers == shop.search("the of", history, 10) != shop.search("thing", history, 10)
    mixed = shop.search_many(["zebra", "red thing", "zebra"], [history, [], []], 10)
    assert [a.item_id for a in mixed[0]] == [a.item_id for a in answers]
    assert [a.item_id for a in mixed[1]] == [a.item_id for a in shop.search("red thing", k=10)]
    assert len(mixed[2]) == len(shop.recommend(k=10)) == 10
    # a phrase is one in any order of its words
    one, other = shop.search("thing red"), shop.search("red thing")
    assert [a.item_id for a in one] == [a.item_id for a in other]
    assert [a.score for a in one] == pytest.approx([a.score for a in other], abs=1e-5)
