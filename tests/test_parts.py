"""Search as recommendation times likelihood: exact sums, words by hand, weights by construction."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import random_identifiers, small_corpus
from scripted import Scripted

from gensar_lite.artifacts import Identifiers
from gensar_lite.config import ConfigError, DecodingConfig, TrainingConfig, override, preset
from gensar_lite.decoding import Decoder
from gensar_lite.decoding import parts as parts_file
from gensar_lite.decoding.bonus import Bonus
from gensar_lite.decoding.channel import Channel
from gensar_lite.decoding.exact import branch_and_bound, search_exact
from gensar_lite.decoding.likelihood import QueryLikelihood, WordCounts
from gensar_lite.decoding.parts import Weights, search_sum, upper_bounds
from gensar_lite.decoding.paths import Question
from gensar_lite.decoding.stage import _decode_channel, read_weights
from gensar_lite.decoding.weights import _best, fit_weights
from gensar_lite.identifiers.trie import Trie
from gensar_lite.training import new_generator

LEVELS, SIZE = 3, 4


class TwoViews(Scripted):
    """Search generates the semantic identifier, recommendation the collaborative one."""

    @staticmethod
    def of_views(semantic: np.ndarray, collaborative: np.ndarray, seed: int) -> TwoViews:
        generator = Scripted.of_codes(semantic, SIZE, seed).generator
        generator.identifiers = Identifiers(semantic, collaborative, 0, SIZE)
        plain = Decoder.of(generator, TrainingConfig())
        return TwoViews(plain.generator, plain.tries, plain.settings)

    def all_scores(self, view: str, query: int) -> np.ndarray:
        """(N,) by enumeration."""
        codes = self.generator.identifiers.view(view).tolist()
        return np.array(
            [
                sum(self.script(query, tuple(row[:level]))[code] for level, code in enumerate(row))
                for row in codes
            ],
            dtype=np.float32,
        )


def distinct_codes(num_items: int, rng: np.random.Generator) -> np.ndarray:
    numbers = rng.permutation(SIZE**LEVELS)[:num_items]
    return np.stack(np.unravel_index(numbers, (SIZE,) * LEVELS), axis=1)


def asked(task: str, first: int, batch: int, **limits) -> Question:
    source = torch.arange(first, first + batch)[:, None]
    return Question(task, source, torch.ones_like(source), **limits)


def best(values: np.ndarray, k: int) -> np.ndarray:
    return np.sort(values)[::-1][:k]


# ------------------------------------------------------------------------------------------- bonus


@pytest.mark.parametrize("seed", range(12))
def test_lists_with_a_bonus_are_those_of_enumeration(seed):
    rng = np.random.default_rng(seed)
    num_items = int(rng.integers(5, 50))
    decoder = Scripted.of_codes(distinct_codes(num_items, rng), SIZE, seed)
    bonus = (rng.normal(size=(4, num_items)) * rng.choice([0.1, 1, 5])).astype(np.float32)
    sums = np.stack([decoder.enumerate(query) for query in range(4)]) + bonus
    k = min(5, num_items)
    everything = asked("recommend", 0, 4, bonus=bonus)
    mask = rng.random(num_items) < 0.5
    mask[0] = True
    masked = asked("recommend", 0, 4, bonus=bonus, allowed=mask)
    lists = rng.integers(-1, num_items, size=(4, 6))
    lists[:, 0] = 1
    listed = asked("recommend", 0, 4, bonus=bonus, allowed=lists)
    answers = [
        search_exact(decoder, everything, 2, k, widest=4),
        search_exact(decoder, everything, 6, k),
        search_exact(decoder, masked, 2, k),
        search_exact(decoder, listed, 2, k),
    ]
    for query in range(4):
        own = np.unique(lists[query][lists[query] >= 0])
        expected = [best(sums[query], k)] * 2
        expected += [best(sums[query][mask], k), best(sums[query][own], k)]
        for answer, wanted in zip(answers, expected, strict=True):
            items = answer.items[query, : len(wanted)]
            np.testing.assert_allclose(answer.scores[query, : len(wanted)], wanted, atol=1e-4)
            np.testing.assert_allclose(sums[query][items], wanted, atol=1e-4)
        alone = branch_and_bound(decoder, everything.part(np.array([query])), k, chunk=3)
        np.testing.assert_allclose(alone.scores[0], best(sums[query], k), atol=1e-4)
    candidates = rng.integers(0, num_items, size=(4, 3))
    scores = decoder.score(everything, candidates)
    np.testing.assert_allclose(scores, np.take_along_axis(sums, candidates, axis=1), atol=1e-4)


def test_a_node_is_worth_the_best_item_below_it():
    codes = np.array([[0, 0], [0, 1], [2, 0]])
    trie = Trie.build(codes, 3)
    bonus = Bonus(trie, np.array([[1.0, 5.0, 2.0], [-1.0, -2.0, -3.0]], dtype=np.float32))
    assert bonus.of(np.array([[0], [0]]), 0).tolist() == [[5.0], [-1.0]]
    assert bonus.of(np.array([[0, 1], [1, -1]]), 1).tolist() == [[5.0, 2.0], [-3.0, -np.inf]]
    steps = bonus.steps(np.array([[0], [0]]), 0)
    assert steps.tolist() == [[[0.0, 0.0, -3.0]], [[0.0, 0.0, -2.0]]]
    assert bonus.steps(np.array([[0], [-1]]), 1)[0, 0].tolist() == [-4.0, 0.0, 0.0]


# -------------------------------------------------------------------------------------------- sums


@pytest.mark.parametrize("seed", range(12))
def test_lists_of_both_identifiers_are_those_of_enumeration(seed, monkeypatch):
    monkeypatch.setattr(parts_file, "BEAMS", 3)  # bounds that are often not the item's own
    rng = np.random.default_rng(seed)
    num_items = int(rng.integers(12, 60))
    decoder = TwoViews.of_views(
        distinct_codes(num_items, rng), distinct_codes(num_items, rng), seed
    )
    known = (rng.normal(size=(3, num_items)) * rng.choice([0.1, 1, 5])).astype(np.float32)
    weight = float(rng.choice([0.3, 1, 3]))
    sums = known + [
        decoder.all_scores("semantic", query)
        + weight * decoder.all_scores("collaborative", 100 + query)
        for query in range(3)
    ]
    ranking = search_sum(
        decoder, asked("search", 0, 3), known, asked("recommend", 100, 3), weight, 4, 5
    )
    for query in range(3):
        np.testing.assert_allclose(ranking.scores[query], best(sums[query], 5), atol=1e-4)
        np.testing.assert_allclose(
            sums[query][ranking.items[query]], best(sums[query], 5), atol=1e-4
        )
        assert len(set(ranking.items[query])) == 5


@pytest.mark.parametrize("num_beams", [1, 3, 64])
def test_bounds_are_never_below_and_exact_where_they_say_so(num_beams):
    rng = np.random.default_rng(5)
    decoder = TwoViews.of_views(distinct_codes(40, rng), distinct_codes(40, rng), 5)
    bounds = upper_bounds(decoder, asked("recommend", 0, 3), num_beams)
    true = np.stack([decoder.all_scores("collaborative", query) for query in range(3)])
    assert (bounds.values >= true - 1e-5).all()
    np.testing.assert_allclose(bounds.values[bounds.is_exact], true[bounds.is_exact], atol=1e-5)
    assert bounds.is_exact.all() == (num_beams == 64)
    assert bounds.is_exact.any()


# ------------------------------------------------------------------------------------------- words


def corpus_of(*texts: str) -> SimpleNamespace:
    return SimpleNamespace(items=pd.DataFrame({"title": texts, "text": [""] * len(texts)}))


def test_the_likelihood_by_hand():
    words = WordCounts.of(corpus_of("red tent", "red red lamp", "lamp"))
    mu = 2.0
    # of the catalogue's six words three are red, two lamp, one tent
    share = {"red": 3 / 6, "tent": 1 / 6, "lamp": 2 / 6}
    texts = [["red", "tent"], ["red", "red", "lamp"], ["lamp"]]
    queries = ["red tents", "lamp lamp", "unknown", "red unknown", "red tents"]
    known = [["red", "tent"], ["lamp", "lamp"], [], ["red"], ["red", "tent"]]
    expected = [
        [
            sum(math.log((text.count(w) + mu * share[w]) / (len(text) + mu)) for w in query)
            for text in texts
        ]
        for query in known
    ]
    table = QueryLikelihood(words, mu).log_probability(queries)
    np.testing.assert_allclose(table, expected, atol=1e-5)


def test_a_catalogue_without_a_word_likes_all_items_alike():
    table = QueryLikelihood(WordCounts.of(corpus_of("", "")), 2.0).log_probability(["red", ""])
    assert table.tolist() == [[0.0, 0.0], [0.0, 0.0]]


# ----------------------------------------------------------------------------------------- weights


def test_the_weights_are_those_that_rank_the_target_first():
    """The likelihood alone knows the target, the other parts disagree loudly."""
    rng = np.random.default_rng(0)
    model, history, popularity = rng.normal(size=(3, 40, 30)).astype(np.float32)
    likelihood = np.zeros((40, 30), dtype=np.float32)
    likelihood[:, 0] = 3.0
    fitted = _best(model, Weights(history, likelihood, popularity))
    assert fitted.weights.likelihood > fitted.weights.history
    assert fitted.weights.likelihood > fitted.weights.popularity
    assert fitted.ndcg == 1.0
    assert fitted.ndcg_without < 0.5
    assert fitted.num_targets == 40


def test_a_part_that_knows_nothing_gets_no_weight():
    rng = np.random.default_rng(1)
    model = rng.normal(size=(50, 30)).astype(np.float32)
    model[:, 0] += 5
    noise = [10 * rng.normal(size=model.shape).astype(np.float32) for _ in range(3)]
    assert _best(model, Weights(*noise)).weights == Weights()


# ------------------------------------------------------------------------------------ joint+channel


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    """An untrained model with opinions, on a log with searches of its own."""
    training = TrainingConfig(num_text_tokens=400, dropout=0.0)
    generator = new_generator(small_corpus(num_users=30), random_identifiers(40, 8), training)
    with torch.no_grad():
        for parameter in generator.model.parameters():
            parameter.mul_(1.5)
    generator.model.eval()
    return Decoder.of(generator, training)


WEIGHTS = {"seen": Weights(0.5, 2.0, 0.3), "unseen": Weights(0.0, 1.0, 0.0)}


def test_joint_and_channel_rank_by_the_sum_of_their_parts(decoder):
    """Every list is that of all 40 items, each scored alone, part by part."""
    corpus = decoder.generator.corpus
    targets = corpus.targets("test", "search")
    channel = Channel.of(decoder, WEIGHTS)
    channel = dataclasses.replace(channel, seen=np.array([True, False, True]))
    every = np.tile(np.arange(40), (len(targets), 1))
    words = channel.words.log_probability(corpus.queries["text"][targets["query_id"]].tolist())
    counts = 1 + np.bincount(
        corpus.events.loc[corpus.events["split"] == "train"].drop_duplicates(
            ["user_id", "time", "item_id"]
        )["item_id"],
        minlength=40,
    )
    rows = targets["event_id"].to_numpy()
    sums = decoder.score_rows("search", rows, every)
    history = decoder.score_rows("recommend", rows, every)
    for place, query in enumerate(targets["query_id"]):
        weights = WEIGHTS["unseen" if query == 1 else "seen"]
        sums[place] += weights.history * history[place] + weights.likelihood * words[place]
        sums[place] += weights.popularity * np.log(counts / counts.sum())
    np.testing.assert_allclose(channel.score_candidates(targets, every), sums, atol=1e-3)
    settings = DecodingConfig(num_beams=4, top_k=6, batch_size=5)
    answers = dict(
        (event, (items, scores))
        for events, ranking in channel.rank(targets, settings)
        for event, items, scores in zip(events, ranking.items, ranking.scores, strict=True)
    )
    assert set(answers) == set(rows)
    for place, event in enumerate(rows):
        items, scores = answers[event]
        np.testing.assert_allclose(scores, best(sums[place], 6), atol=1e-3)
        np.testing.assert_allclose(sums[place][items], best(sums[place], 6), atol=1e-3)


def test_weights_are_fitted_on_validation_alone(decoder):
    fitted = fit_weights(decoder)
    assert set(fitted) == {"seen", "unseen"}
    searches = decoder.generator.corpus.targets("validation", "search")
    assert fitted["seen"].num_targets == len(searches)  # too few to part
    assert fitted["seen"] == fitted["unseen"]
    assert fitted["seen"].ndcg >= fitted["seen"].ndcg_without


@pytest.mark.parametrize("weights", [(), (0.5, 1.0, 0.0)])
def test_the_stage_writes_the_second_run_and_its_weights(decoder, tmp_path, weights):
    settings = DecodingConfig(num_beams=10, top_k=5, channel="words", weights=weights)
    searches = decoder.generator.corpus.targets("test", "search")
    _decode_channel(decoder, searches, settings, tmp_path)
    run = pd.read_parquet(tmp_path / "run-channel.parquet")
    assert run.groupby("event_id").size().tolist() == [5] * len(searches)
    assert not run.duplicated(["event_id", "item_id"]).any()
    chosen = read_weights(tmp_path)
    if weights:
        assert chosen == {"seen": Weights(*weights), "unseen": Weights(*weights)}
    else:
        assert chosen == {name: fit.weights for name, fit in fit_weights(decoder).items()}
    with pytest.raises(ConfigError, match="2 weights, but there are three"):
        override(preset("tiny"), {"decoding.channel": "words", "decoding.weights": "1,2"})
