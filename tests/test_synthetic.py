"""The built-in shop: what it promises, against the log it drew, by counting and by hand."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import bm25s
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy.stats import chi2

from gensar_lite.config import DataConfig
from gensar_lite.data.shop.synthetic import (
    KIND_SHARE,
    PARTIAL,
    SEARCH_SHARE,
    STICKINESS,
    TASTE_PULL,
    lexicon,
    make_shop,
)
from gensar_lite.data.shop.truth import Truth, neighbour_agreement
from gensar_lite.data.sources import Tables

ROOT = Path(__file__).parent.parent
TINY = DataConfig(num_items=200, num_users=150, num_events=1800)


@pytest.fixture(scope="module")
def shop() -> Tables:
    return make_shop(DataConfig())


@pytest.fixture(scope="module")
def truth(shop: Tables) -> Truth:
    return Truth(**shop.truth)


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def ndcg(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """NDCG@10 (B,) of one target a row; a tie counts as the middle of its places."""
    own = scores[np.arange(len(target)), target][:, None]
    place = (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
    return np.where(place < 10, 1 / np.log2(place + 2), 0.0)


def previous_items(shop: Tables) -> np.ndarray:
    """The item of each event's predecessor (E,), -1 for a user's first."""
    return shop.events.groupby("user_id")["item_id"].shift(1).fillna(-1).to_numpy().astype(int)


# ------------------------------------------------------------------------------------- promises


def test_same_seed_same_shop() -> None:
    one, two, other = make_shop(TINY), make_shop(TINY), make_shop(dataclasses.replace(TINY, seed=1))
    for name in ("items", "queries", "events", "relevance"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name))
    assert all(np.array_equal(one.truth[key], two.truth[key]) for key in one.truth)
    assert not one.events["item_id"].equals(other.events["item_id"])


@settings(max_examples=25, deadline=None)
@given(st.integers(72, 260), st.integers(1, 60), st.floats(5, 9), st.integers(0, 9))
def test_promises_of_any_shop(num_items: int, num_users: int, length: float, seed: int) -> None:
    asked = DataConfig(
        seed=seed, num_items=num_items, num_users=num_users, num_events=int(length * num_users)
    )
    shop = make_shop(asked)
    events = shop.events
    assert len(shop.items) == num_items
    assert shop.items["item_id"].tolist() == list(range(num_items))
    assert shop.queries["query_id"].tolist() == list(range(len(shop.queries)))
    assert len(events) == asked.num_events
    assert (events.groupby("user_id").size().reindex(range(num_users)) >= 5).all()
    assert (events["time"] == events.groupby("user_id").cumcount()).all()
    assert not events.duplicated(["user_id", "item_id"]).any(), "somebody met an item twice"
    assert ((events["task"] == "search") == (events["query_id"] >= 0)).all()
    clicks = set(
        events.loc[events["task"] == "search", ["query_id", "item_id"]].itertuples(
            index=False, name=None
        )
    )
    assert clicks <= set(shop.relevance[["query_id", "item_id"]].itertuples(index=False, name=None))
    assert set(shop.relevance["grade"]) <= {1, 2}
    assert set(shop.relevance.loc[shop.relevance["grade"] == 2, "query_id"]) == set(
        shop.queries["query_id"]
    )


def test_the_words_travel_with_an_installed_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packaged = project["tool"]["setuptools"]["package-data"]["gensar_lite.data.shop"]
    files = {path.name for path in (ROOT / "gensar_lite" / "data" / "shop").iterdir()}
    assert {name for name in files if not name.endswith(".py")} - {"__pycache__"} == set(packaged)


def test_shares_of_the_log(shop: Tables) -> None:
    search = shop.events[shop.events["task"] == "search"]
    assert len(search) / len(shop.events) == pytest.approx(SEARCH_SHARE, abs=0.01)
    kinds = shop.queries["kind"].to_numpy()[search["query_id"]]
    for kind, share in KIND_SHARE.items():
        assert (kinds == kind).mean() == pytest.approx(share, abs=0.015)


# ----------------------------------------------------------------------------------------- text


def test_words_of_the_catalogue(shop: Tables) -> None:
    items, queries = shop.items, shop.queries
    assert items["title"].is_unique
    assert queries["text"].is_unique
    assert (queries["text"] == queries["text"].str.lower()).all()
    assert 300 <= len(queries) <= 700
    assert items["category"].nunique() == len(lexicon().leaves) == 96
    assert items["category"].str.count(" > ").eq(2).all()
    known = set().union(
        *map(words, items["title"] + " " + items["text"] + " " + items["brand"] + items["category"])
    )
    for row in queries.itertuples():
        if row.kind in ("synonym", "misspelling"):
            assert not words(row.text) & known, row
        else:
            assert words(row.text) <= known, row


def test_relevance_is_what_the_text_says(shop: Tables) -> None:
    text = (shop.items["title"] + " " + shop.items["text"]).str.lower()
    kind, query = shop.queries["kind"].to_numpy(), shop.queries["text"].to_numpy()
    for row in shop.relevance[shop.relevance["grade"] == 2].itertuples():
        if kind[row.query_id] in ("category", "attribute"):
            assert words(query[row.query_id]) <= words(text[row.item_id]), row


def test_no_text_tells_the_taste(shop: Tables, truth: Truth) -> None:
    counts = np.zeros((96, 20))
    np.add.at(counts, (truth.item_leaf, truth.item_taste), 1)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, 95 * 19) > 0.01  # independent of the category


# ---------------------------------------------------------------------------------------- truth


def test_scores_by_hand() -> None:
    small = Truth(
        item_taste=np.array([0, 0, 1]),
        item_leaf=np.array([0, 1, 0]),
        popularity=np.array([0.75, 0.25, 1.0]),
        user_tastes=np.array([[0.6, 0.4]]),
        query_items=np.array([[1.0, 0.0, 0.5]]),
        query_share=np.array([1.0]),
        stickiness=np.array([0.2]),
        taste_pull=np.array([4.0]),
    )
    user, query = np.array([0]), np.array([0])
    # nothing before: .6 * .75, .6 * .25, .4 * 1; after item 2: tastes .8 * .6 and .8 * .4 + .2
    np.testing.assert_allclose(
        small.scores("recommend", user, None, np.array([-1])), [[0.45, 0.15, 0.4]]
    )
    np.testing.assert_allclose(
        small.scores("recommend", user, None, np.array([2])), [[0.36, 0.12, 0.52]]
    )
    # 1 * (1 + 4 * .6) = 3.4, 0, .5 * (1 + 4 * .4) = 1.3, of 4.7
    np.testing.assert_allclose(
        small.scores("search", user, query, None), [[3.4 / 4.7, 0, 1.3 / 4.7]]
    )
    with pytest.raises(ValueError, match="neither"):
        small.scores("browse", user, query, None)


def test_truth_survives_the_disk(truth: Truth, tmp_path) -> None:
    save_file(truth._asdict(), tmp_path / "truth.safetensors")
    again = Truth.load(tmp_path)
    assert all(np.array_equal(*pair) for pair in zip(again, truth, strict=True))
    assert (again.stickiness[0], again.taste_pull[0]) == (STICKINESS, TASTE_PULL)


def test_rows_sum_to_one(truth: Truth) -> None:
    users = np.arange(0, 3000, 30)
    np.testing.assert_allclose(truth.user_tastes.sum(axis=1), 1)
    np.testing.assert_allclose(truth.query_share.sum(), 1)
    for previous in (-1, 7):
        rows = truth.scores("recommend", users, None, np.full(len(users), previous))
        np.testing.assert_allclose(rows.sum(axis=1), 1)
    rows = truth.scores("search", users, users % len(truth.query_share), None)
    np.testing.assert_allclose(rows.sum(axis=1), 1)


def test_partial_matches_weigh_less(shop: Tables, truth: Truth) -> None:
    grade = np.zeros_like(truth.query_items)
    grade[shop.relevance["query_id"], shop.relevance["item_id"]] = shop.relevance["grade"]
    np.testing.assert_allclose(
        truth.query_items, np.array([0, PARTIAL, 1])[grade.astype(int)] * truth.popularity**0.5
    )


@pytest.mark.parametrize("task", ["recommend", "search"])
def test_the_log_follows_the_truth(shop: Tables, truth: Truth, task: str) -> None:
    """Observed and expected counts of every item over the whole log, a term per item (chi2)."""
    previous, seen = previous_items(shop), np.zeros((3000, len(shop.items)), dtype=bool)
    observed, expected, variance = np.zeros((3, len(shop.items)))
    for _, step in shop.events.groupby("time"):
        user, item, query = (step[c].to_numpy() for c in ("user_id", "item_id", "query_id"))
        mine = (step["task"] == task).to_numpy()
        odds = truth.scores(task, user[mine], query[mine], previous[step.index[mine]])
        odds = np.where(seen[user[mine]], 0, odds)
        odds /= odds.sum(axis=1, keepdims=True)
        expected += odds.sum(axis=0)
        variance += (odds * (1 - odds)).sum(axis=0)
        np.add.at(observed, item[mine], 1)
        seen[user, item] = True
    big = expected >= 5
    statistic = ((observed - expected)[big] ** 2 / variance[big]).sum()
    assert big.sum() > 400
    assert 0.001 < chi2.sf(statistic, big.sum()) < 0.999
    assert np.corrcoef(observed, expected)[0, 1] > 0.9


# ------------------------------------------------------------------------------- the difficulty


def last_events(shop: Tables, task: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Each user's last event if of `task`; previous items (B,), items met (B, N), popularity before
    the last two.
    """
    previous, seen = previous_items(shop), np.zeros((3000, len(shop.items)), dtype=bool)
    from_end = shop.events.groupby("user_id").cumcount(ascending=False)
    earlier = shop.events[from_end > 0]
    seen[earlier["user_id"], earlier["item_id"]] = True
    rows = shop.events[(from_end == 0) & (shop.events["task"] == task)]
    count = np.bincount(shop.events.loc[from_end > 1, "item_id"], minlength=len(shop.items))
    return rows, previous[rows.index], seen[rows["user_id"]], count.astype(float)


def test_recommendation_is_learnable_and_not_popularity(shop: Tables, truth: Truth) -> None:
    rows, previous, seen, count = last_events(shop, "recommend")
    target = rows["item_id"].to_numpy()
    odds = truth.scores("recommend", rows["user_id"].to_numpy(), None, previous)
    oracle = ndcg(np.where(seen, -1, odds), target).mean()
    popularity = ndcg(np.where(seen, -1, count), target).mean()
    bought = np.zeros((3000, len(shop.items)), dtype=np.float32)
    train = shop.events[shop.events.groupby("user_id").cumcount(ascending=False) > 1]
    bought[train["user_id"], train["item_id"]] = 1
    together = (bought.T @ bought) / np.sqrt(np.maximum(np.outer(count, count), 1))
    np.fill_diagonal(together, 0)
    neighbours = ndcg(np.where(seen, -1, seen.astype(np.float32) @ together), target).mean()
    assert 0.2 < oracle < 0.3
    assert popularity < oracle / 4
    assert neighbours > 0.6 * oracle


def test_search_is_learnable_and_words_are_not_enough(shop: Tables, truth: Truth) -> None:
    rows, _, _, count = last_events(shop, "search")
    target, query = rows["item_id"].to_numpy(), rows["query_id"].to_numpy()
    index = bm25s.BM25()
    documents = (shop.items["title"] + " " + shop.items["text"]).tolist()
    index.index(bm25s.tokenize(documents, show_progress=False), show_progress=False)
    split = bm25s.tokenize(shop.queries["text"].tolist(), return_ids=False, show_progress=False)
    by_words = np.stack([index.get_scores(tokens) for tokens in split])  # (Q, N)
    train = shop.events[shop.events.groupby("user_id").cumcount(ascending=False) > 1]
    train = train[train["task"] == "search"]
    clicks = count / (count.max() + 1) + np.zeros_like(by_words)
    np.add.at(clicks, (train["query_id"], train["item_id"]), 1)
    oracle = ndcg(truth.scores("search", rows["user_id"].to_numpy(), query, None), target)
    bm25, learned = ndcg(by_words[query], target), ndcg(clicks[query], target)
    popularity = ndcg(np.tile(count, (len(query), 1)), target)
    assert 0.4 < oracle.mean() < 0.6
    assert popularity.mean() < oracle.mean() / 10
    assert learned.mean() > 0.6 * oracle.mean()
    kind = shop.queries["kind"].to_numpy()[query]
    hidden = np.isin(kind, ["synonym", "misspelling"])
    assert by_words[shop.queries["kind"].isin(["synonym", "misspelling"])].max() == 0
    assert bm25[hidden].mean() < 0.01
    assert bm25[~hidden].mean() > 0.4 * oracle[~hidden].mean()


def test_what_reads_alike_is_not_what_is_bought_together(shop: Tables) -> None:
    table = neighbour_agreement(shop)
    assert table.loc["chance", "taste"] == pytest.approx(1 / 20, abs=0.002)
    assert table.loc["text", "category"] > 0.9
    assert table.loc["text", "taste"] == pytest.approx(table.loc["chance", "taste"], abs=0.01)
    assert table.loc["behaviour", "taste"] > 10 * table.loc["chance", "taste"]
    assert table.loc["behaviour", "category"] == pytest.approx(
        table.loc["chance", "category"], abs=0.01
    )
