"""Exactness against enumeration: scripted decoders over random tries, and small real models."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted, asked, random_codes

from gensar_lite.config import DecodingConfig, TrainingConfig
from gensar_lite.decoding import Decoder, rank_events, search_exact
from gensar_lite.decoding.exact import branch_and_bound
from gensar_lite.experiments.exactness import beam_misses
from gensar_lite.training import new_generator

shapes = st.tuples(st.integers(1, 40), st.integers(2, 6), st.integers(1, 4), st.integers(0, 999))
kinds = st.sampled_from(["smooth", "ties", "holes"])


def scripted(shape: tuple[int, int, int, int], kind: str) -> Scripted:
    num_items, num_codes, num_levels, seed = shape
    return Scripted.of_codes(
        random_codes(num_items, num_codes, num_levels, seed), num_codes, seed, kind
    )


def check_exact(ranking, row: int, truth: np.ndarray, k: int) -> None:
    """The first k scores are the best k of `truth` (N,), each its item's own, none twice; -inf is
    no answer."""
    wanted = np.sort(truth[np.isfinite(truth)])[::-1][:k]
    items = ranking.items[row][ranking.items[row] >= 0][:k]
    np.testing.assert_allclose(ranking.scores[row][: len(wanted)], wanted, atol=1e-5)
    np.testing.assert_allclose(truth[items], wanted, atol=1e-5)
    assert len(set(items.tolist())) == len(items) == len(wanted)


@given(shapes, kinds, st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_a_beam_is_sound_and_what_it_certifies_is_exact(shape, kind, num_beams):
    decoder = scripted(shape, kind)
    ranking = decoder.answer(asked(3), num_beams)
    for query in range(3):
        truth = decoder.enumerate(query)
        items, scores = ranking.items[query], ranking.scores[query]
        valid = items >= 0
        assert len(set(items[valid].tolist())) == valid.sum()
        assert np.array_equal(valid, np.isfinite(scores))
        assert np.all(np.diff(scores[valid]) <= 0)
        np.testing.assert_allclose(truth[items[valid]], scores[valid], atol=1e-5)
        check_exact(ranking, query, truth, int(ranking.certified[query].sum()))
        missing = np.setdiff1d(np.flatnonzero(np.isfinite(truth)), items)
        assert not len(missing) or truth[missing].max() <= ranking.bound[query] + 1e-5


@given(shapes, kinds, st.integers(1, 4), st.integers(1, 12), st.sampled_from([1, 8, 1000]))
@settings(max_examples=40, deadline=None)
def test_search_exact_equals_enumeration_however_narrow_it_starts(
    shape, kind, num_beams, k, widest
):
    decoder = scripted(shape, kind)
    ranking = search_exact(decoder, asked(3), num_beams, k, widest=widest)
    for query in range(3):
        check_exact(ranking, query, decoder.enumerate(query), k)
    assert kind == "ties" or ranking.settled(k).all()


@given(shapes, st.integers(1, 12), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_branch_and_bound_equals_enumeration_in_chunks_of_any_size(shape, k, chunk):
    decoder = scripted(shape, "ties")
    ranking = branch_and_bound(decoder, asked(1), k, chunk=chunk)
    check_exact(ranking, 0, decoder.enumerate(0), k)


@given(shapes, st.integers(1, 6), st.sampled_from([1, 1000]), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_exact_inside_a_part_of_the_catalogue(shape, k, widest, seed):
    decoder, rng = scripted(shape, "smooth"), np.random.default_rng(seed)
    num_items = len(decoder.generator.identifiers.collaborative)
    mask = rng.random(num_items) < 0.6
    few = np.where(rng.random((3, 5)) < 0.8, rng.integers(num_items, size=(3, 5)), -1)
    pairs = np.nonzero(rng.random((3, num_items)) < 0.3)
    for limits in (
        {"allowed": mask},
        {"allowed": few},
        {"exclude": pairs},
        {"allowed": mask, "exclude": pairs},
    ):
        ranking = search_exact(decoder, asked(3, **limits), 1, k, widest=widest)
        for query in range(3):
            left = np.ones(num_items, dtype=bool)
            if "allowed" in limits:
                left = (
                    mask.copy()
                    if limits["allowed"] is mask
                    else np.isin(np.arange(num_items), few[query])
                )
            if "exclude" in limits:
                left[pairs[1][pairs[0] == query]] = False
            check_exact(ranking, query, np.where(left, decoder.enumerate(query), -np.inf), k)


def test_nothing_allowed_is_an_empty_list():
    decoder = Scripted.of_codes(random_codes(20, 4, 3, 0), 4, 0)
    nothing = np.zeros(len(decoder.generator.identifiers.collaborative), dtype=bool)
    ranking = search_exact(decoder, asked(2, allowed=nothing), 5, 3)
    assert (ranking.items == -1).all()
    assert ranking.settled(3).all()


@pytest.fixture(scope="module")
def real() -> Decoder:
    corpus = small_corpus()
    training = TrainingConfig(num_text_tokens=400, dropout=0.0)
    generator = new_generator(corpus, random_identifiers(40, 8), training)
    with torch.no_grad():
        for p in generator.model.parameters():
            p.mul_(1.5)
    generator.model.eval()
    return Decoder.of(generator, training)


@pytest.mark.parametrize("widest", [2, 1024])
def test_a_real_model_is_searched_exactly(real, widest):
    rows = real.generator.corpus.targets("test", "search")["event_id"].to_numpy()
    truth = real.score_rows("search", rows, np.tile(np.arange(40), (len(rows), 1)))
    ranking = search_exact(real, real.question("search", rows), 2, 5, widest=widest)
    for i in range(len(rows)):
        wanted = np.sort(truth[i])[::-1][:5]
        np.testing.assert_allclose(ranking.scores[i][:5], wanted, atol=1e-4)
        np.testing.assert_allclose(truth[i][ranking.items[i][:5]], wanted, atol=1e-4)


def test_the_exact_setting_gives_the_run_of_a_full_beam(real):
    targets = real.generator.corpus.targets("test")
    narrow = DecodingConfig(num_beams=2, top_k=6, exact=True)
    full = DecodingConfig(num_beams=40, top_k=6)
    got, wanted = (rank_events(real, targets, s, progress=False) for s in (narrow, full))
    pd.testing.assert_frame_equal(got, wanted, atol=1e-4, rtol=0)


def met_before(log: pd.DataFrame, targets: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Places of `targets` and the items that their users met before, row by row."""
    both = (
        targets.reset_index(drop=True)
        .rename_axis("place")
        .reset_index()
        .merge(log, on="user_id", suffixes=("", "_met"))
    )
    both = both[both["time_met"] < both["time"]]
    return both["place"].to_numpy(), both["item_id_met"].to_numpy()


def test_the_study_counts_misses_as_brute_force_does(real):
    events, k = real.generator.corpus.targets("test"), 5
    rows = pd.DataFrame(beam_misses(real, events, (2, 5, 40), k))
    for task, part in events.groupby("task"):
        ids = part["event_id"].to_numpy()
        scores = real.score_rows(task, ids, np.tile(np.arange(40), (len(ids), 1)))
        pairs = met_before(real.generator.corpus.events, part) if task == "recommend" else None
        if pairs is not None:
            assert len(pairs[0]), "a recommendation leaves out what its user met"
            scores[pairs] = -np.inf
        truth = np.argsort(-scores, axis=1)[:, :k]
        mine = rows[rows["task"] == task].set_index("num_beams")
        for width in (2, 5, 40):
            beam = real.search(task, ids, width, exclude=pairs).items[:, :k]
            shared = np.array([np.isin(b, t).sum() / k for b, t in zip(beam, truth, strict=True)])
            assert mine.loc[width, "found_rate"] == pytest.approx(shared.mean())
            assert mine.loc[width, "missed_rate"] == pytest.approx((shared < 1).mean())
        assert mine.loc[40, "missed_rate"] == mine.loc["exact", "missed_rate"] == 0
        assert mine.loc["exact", "certified_rate"] == mine.loc[40, "certified_rate"] == 1
        hits = (truth == part["item_id"].to_numpy()[:, None]).any(axis=1).mean()
        assert mine.loc["exact", f"recall@{k}"] == pytest.approx(hits)
