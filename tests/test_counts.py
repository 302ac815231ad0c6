"""Systems that count: on logs whose right answer is known, by hand, and beside a plain dense
reference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gensar_lite.artifacts import Corpus
from gensar_lite.data import Seen, left_out
from gensar_lite.evaluation import counts
from gensar_lite.evaluation.baselines import Popularity, top_k_run
from gensar_lite.evaluation.counts import (
    ItemKNN,
    Past,
    Transitions,
    neighbours,
    popularity_share,
    query_clicks,
    transition_counts,
)
from gensar_lite.evaluation.runs import to_matrix
from gensar_lite.evaluation.tuning import GRIDS, counting_systems, tune
from gensar_lite.metrics import rank_of_target, recall_at


def corpus_of(
    rows: list[tuple], num_items: int, exclude_seen: bool = True, queries: tuple[str, ...] = ()
) -> Corpus:
    """`rows`: (user, time, item, split) or (user, time, item, split, query)."""
    rows = [(*row, -1)[:5] for row in rows]
    events = pd.DataFrame(rows, columns=["user_id", "time", "item_id", "split", "query_id"])
    events = events.sort_values(["user_id", "time"], kind="stable", ignore_index=True)
    events["task"] = np.where(events["query_id"] >= 0, "search", "recommend")
    events["event_id"] = np.arange(len(events))
    items = pd.DataFrame(
        {"item_id": range(num_items), "title": "t", "text": "", "brand": "", "category": ""}
    )
    table = pd.DataFrame({"query_id": range(len(queries)), "text": list(queries)})
    relevance = pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=int)
    return Corpus(items, table, events, relevance, exclude_seen).check()


def logs(sequences: list) -> list[tuple]:
    """One item a step; the last one tests, the one before validates."""
    split = {-1: "test", -2: "validation"}
    return [
        (user, step, int(item), split.get(step - len(items), "train"))
        for user, items in enumerate(sequences)
        for step, item in enumerate(items)
    ]


def recall(scorer, corpus: Corpus, k: int) -> np.ndarray:
    targets = corpus.targets("test")
    run = top_k_run(scorer, targets, k, left_out(corpus))
    ranks = rank_of_target(
        to_matrix(run, targets["event_id"].to_numpy(), k), targets["item_id"].to_numpy()
    )
    return recall_at(ranks, k)


# -------------------------------------------------------------------------------------- transitions


LIKELY = np.array(
    [0.4, 0.25, 0.15]
)  # of three items after each item; the rest of a row is spread evenly


@pytest.fixture(scope="module")
def chain() -> Corpus:
    rng, size = np.random.default_rng(0), 30
    table = np.full((size, size), (1 - LIKELY.sum()) / (size - 3))
    for row in table:
        row[rng.choice(size, 3, replace=False)] = LIKELY
    sequences = []
    for _ in range(500):
        items = [rng.integers(size)]
        while len(items) < 20:
            items.append(rng.choice(size, p=table[items[-1]]))
        sequences.append(items)
    return corpus_of(logs(sequences), size, exclude_seen=False)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_transitions_reach_the_recall_of_the_chain(chain, k):
    """The best list of k items has Recall@k = the sum of the k largest probabilities, whatever the
    last item."""
    true, tuned = LIKELY[:k].sum(), tune(chain, "transitions")
    error = np.sqrt(true * (1 - true) / len(chain.targets("test")))
    assert recall(tuned.scorer, chain, k).mean() == pytest.approx(true, abs=3 * error)
    assert recall(Popularity.fit(chain), chain, k).mean() < true / 2
    assert tuned.record["back"] == 1, "a chain of first order is told by the last item"
    assert tuned.record["targets"] == 500


def test_transition_counts_by_hand():
    rows = [(0, 0, 0, "train"), (0, 0, 1, "train"), (0, 5, 2, "train"), (0, 9, 3, "train")]
    rows += [
        (0, 10, 4, "validation"),
        (0, 11, 5, "test"),
        (1, 0, 2, "train"),
        (1, 1, 3, "train"),
        (2, 0, 4, "train"),
    ]
    corpus = corpus_of(rows, 6)
    expected = np.zeros((6, 6))
    expected[0, 2] = expected[1, 2] = 0.5  # a step of two items; inside it nothing follows anything
    expected[2, 3] = 2  # two users; no count from one user to another, none from validation or test
    assert (transition_counts(corpus, 1, 1.0).toarray() == expected).all()
    expected[0, 3] = expected[1, 3] = 0.5 * 0.25
    np.testing.assert_allclose(transition_counts(corpus, 2, 0.25).toarray(), expected)
    assert transition_counts(corpus_of(rows[4:6], 6), 3, 1.0).nnz == 0  # nothing trains


def test_a_search_twin_is_no_second_transition():
    rows = [
        (0, 0, 0, "train"),
        (0, 0, 0, "train", 0),
        (0, 1, 1, "train"),
        (0, 1, 1, "train", 0),
        (0, 2, 2, "test"),
    ]
    corpus = corpus_of(rows, 3, queries=("a",))
    assert transition_counts(corpus, 1, 1.0).toarray()[0, 1] == 1
    last = Past(corpus).weights(np.array([4]), decay=1.0, back=1).toarray()
    assert last.tolist() == [[0, 1, 0]]


def test_a_very_long_step_tells_nothing(monkeypatch):
    monkeypatch.setattr(counts, "MAX_STEP", 2)
    rows = [(0, 0, item, "train") for item in range(3)] + [(0, 1, 3, "train"), (0, 2, 4, "train")]
    assert np.argwhere(transition_counts(corpus_of(rows, 5), 1, 1.0).toarray()).tolist() == [[3, 4]]


def test_transition_scores_by_hand():
    rows = [
        (0, 0, 0, "train"),
        (0, 1, 1, "train"),
        (0, 2, 0, "train"),
        (0, 3, 2, "test"),
        (1, 0, 1, "test"),
    ]
    corpus = corpus_of(rows, 3)
    share = np.array([2, 1, 0]) / 3
    scorer = Transitions(
        Past(corpus), transition_counts(corpus, 1, 1.0), popularity_share(corpus), 2, 0.5, prior=1.0
    )
    after = {0: (np.array([0, 1, 0]) + share) / 2, 1: (np.array([1, 0, 0]) + share) / 2}
    expected = [
        after[0] + 0.5 * after[1],
        share,
    ]  # the last item, and the one before; no history: popularity
    np.testing.assert_allclose(scorer.scores(corpus.targets("test")), expected, rtol=1e-6)


# ----------------------------------------------------------------------------------------- item-knn


def test_item_knn_keeps_to_the_club():
    """Two clubs share no item: what a user's club has and the user has not is all that can come
    next."""
    rng = np.random.default_rng(1)
    sequences = [20 * (user % 2) + rng.permutation(20)[:10] for user in range(60)]
    corpus = corpus_of(logs(sequences), 40)
    tuned, targets = tune(corpus, "item-knn"), corpus.targets("test")
    run = top_k_run(tuned.scorer, targets, 10, left_out(corpus))
    club = dict(zip(targets["event_id"], targets["user_id"] % 2, strict=True))
    assert (run["item_id"] // 20 == run["event_id"].map(club)).all()
    assert run.groupby("event_id").size().eq(10).all()
    popular = top_k_run(Popularity.fit(corpus), targets, 10, left_out(corpus))
    assert (popular["item_id"] // 20 == popular["event_id"].map(club)).mean() < 0.7
    seen = Seen.of_log(corpus.events)
    assert all(
        not set(part["item_id"]) & set(seen.of(event)) for event, part in run.groupby("event_id")
    )


def random_log(num_items: int = 30, num_users: int = 25) -> Corpus:
    rng = np.random.default_rng(3)
    weight = 1 / np.arange(1, num_items + 1)
    sequences = [
        rng.choice(num_items, rng.integers(5, 14), p=weight / weight.sum())
        for _ in range(num_users)
    ]
    return corpus_of(logs(sequences), num_items, exclude_seen=False)


def plain_similarity(corpus: Corpus, shrinkage: float, most: int) -> np.ndarray:
    """The same, densely: users x items, every pair, every row's largest, equals by number."""
    taken = np.zeros((corpus.num_users, corpus.num_items))
    train = corpus.events[corpus.events["split"] == "train"]
    taken[train["user_id"], train["item_id"]] = 1
    both, users = taken.T @ taken, taken.sum(axis=0)
    with np.errstate(invalid="ignore"):
        table = np.where(both > 0, both / (np.sqrt(np.outer(users, users)) + shrinkage), 0)
    np.fill_diagonal(table, 0)
    for row in table:
        row[sorted(range(len(row)), key=lambda j: (-np.float32(row[j]), j))[most:]] = 0
    return table


@pytest.mark.parametrize("most", [4, 100])
def test_item_knn_equals_a_dense_reference(monkeypatch, most):
    monkeypatch.setattr(counts, "NEIGHBOURS", most)
    monkeypatch.setattr(counts, "CHUNK", 7)
    corpus = random_log()
    for shrinkage, ours in zip((0.0, 10.0), neighbours(corpus, (0.0, 10.0)), strict=True):
        plain = plain_similarity(corpus, shrinkage, most)
        np.testing.assert_allclose(ours.toarray(), plain, rtol=1e-6)
        targets = corpus.targets("test")
        scores = ItemKNN(
            Past(corpus), ours, popularity_share(corpus), decay=0.8, repeat=0.5
        ).scores(targets)
        for row, target in zip(scores, targets.itertuples(), strict=True):
            earlier = corpus.events.query(f"user_id == {target.user_id} and time < {target.time}")
            weight = np.zeros(corpus.num_items)
            for event in earlier.itertuples():
                weight[event.item_id] = 0.8 ** (
                    target.time - event.time - 1
                )  # the latest of a repeated item
            np.testing.assert_allclose(row, weight @ plain + 0.5 * weight, rtol=1e-5, atol=1e-5)


def test_only_the_latest_items_of_a_long_user_count(monkeypatch):
    monkeypatch.setattr(counts, "MAX_TRAIN", 2)
    corpus = corpus_of(logs([[0, 1, 2, 3, 4]]), 5)  # 0, 1, 2 train
    assert np.argwhere(neighbours(corpus, (0.0,))[0].toarray()).tolist() == [[1, 2], [2, 1]]


def test_repeat_is_chosen_where_everybody_takes_the_same_again():
    sequences = [
        [user % 20] * 6 for user in range(40)
    ]  # nobody takes two things: no item is like another
    corpus = corpus_of(logs(sequences), 20, exclude_seen=False)
    tuned = tune(corpus, "item-knn")
    assert tuned.record["repeat"] == 1
    assert recall(tuned.scorer, corpus, 1).mean() == 1


# ------------------------------------------------------------------------------------- query clicks


def test_query_clicks_by_hand():
    rows = [
        (0, 0, 0, "train", 0),
        (0, 1, 1, "train", 0),
        (1, 0, 1, "train", 2),
        (1, 1, 3, "train"),
        (2, 0, 3, "train"),
    ]
    rows += [
        (2, 1, 3, "train", 3),
        (3, 0, 0, "test", 0),
        (3, 1, 1, "test", 1),
        (3, 2, 1, "test", 2),
    ]
    corpus = corpus_of(rows, 4, queries=("red", "green", "red", "blue"))  # two ids, one string
    targets, share = corpus.targets("test"), np.array([1, 2, 0, 3]) / 6
    (scorer,) = query_clicks(corpus, (0.5,))
    red = np.array([1, 2, 0, 0]) + 0.5 * share
    np.testing.assert_allclose(scorer.scores(targets), [red, 0.5 * share, red], rtol=1e-6)
    assert scorer.knows(targets).tolist() == [True, False, True]


def test_query_clicks_are_left_out_where_no_string_comes_again():
    rows = [
        (0, 0, 0, "train", 0),
        (0, 1, 1, "validation", 0),
        (0, 2, 2, "test", 1),
        (1, 0, 1, "train"),
    ]
    corpus = corpus_of(rows, 3, queries=("red", "green"))
    test, validation = (
        {"search": corpus.targets(split, "search")} for split in ("test", "validation")
    )
    assert counting_systems(corpus, test) == {"search": {}}
    assert set(counting_systems(corpus, validation)["search"]) == {"query-clicks"}


# ------------------------------------------------------------------------------------------- choice


def test_a_choice_reads_validation_and_never_test(chain):
    changed = chain.events.assign(
        item_id=chain.events["item_id"].where(chain.events["split"] != "test", 0)
    )
    other = Corpus(chain.items, chain.queries, changed, chain.relevance, False)
    assert tune(other, "transitions").record == tune(chain, "transitions").record
    assert tune(other, "item-knn").record == tune(chain, "item-knn").record


def test_a_log_without_validation_takes_the_first_choice():
    corpus = corpus_of(
        [(0, 0, 0, "train", 0), (0, 1, 1, "train"), (0, 2, 1, "test")], 3, queries=("a",)
    )
    records = [tune(corpus, system).record for system in GRIDS]
    assert [record["targets"] for record in records] == [0, 0, 0]
    assert np.isfinite(tune(corpus, "transitions").scorer.scores(corpus.targets("test"))).all()


def test_a_hundred_thousand_items():
    rng, size = np.random.default_rng(5), 100_000
    corpus = corpus_of(logs(list(rng.integers(0, size, (200, 12)))), size)
    (similarity,), follows = neighbours(corpus, (10.0,)), transition_counts(corpus, 3, 0.5)
    assert similarity.shape == follows.shape == (size, size)
    assert similarity.nnz <= 200 * 10 * 9
    assert follows.nnz <= 200 * 10 * 3
