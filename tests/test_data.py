"""The data room: splits and histories against slow loops, and the promise that nothing leaks."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.artifacts import ArtifactError, Corpus, Workspace
from gensar_lite.config import DataConfig, override, preset
from gensar_lite.data import (
    Tables,
    build_corpus,
    history_bounds,
    history_items,
    joint_time_split,
    prepare,
    seen_items,
)

ITEMS, QUERIES = 9, 3


def tables(events: pd.DataFrame) -> Tables:
    items = pd.DataFrame(
        {"item_id": range(ITEMS), "title": "t", "text": "", "brand": "", "category": "c"}
    )
    queries = pd.DataFrame({"query_id": range(QUERIES), "text": ["a", "b", "c"]})
    relevance = pd.DataFrame({"query_id": [0], "item_id": [0], "grade": [1]})
    return Tables(items, queries, events, relevance, {})


def frame(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])


@st.composite
def logs(draw) -> pd.DataFrame:
    """Random logs, unsorted, with ties in time and users too short to keep."""
    rows = []
    for user in range(draw(st.integers(1, 5))):
        for _ in range(draw(st.integers(1, 8))):
            search = draw(st.booleans())
            query = draw(st.integers(0, QUERIES - 1)) if search else -1
            task = "search" if search else "recommend"
            rows.append(
                (user, draw(st.integers(0, 5)), task, draw(st.integers(0, ITEMS - 1)), query)
            )
    return frame(rows).sample(frac=1, random_state=draw(st.integers(0, 9)))


def corpus_or_none(events: pd.DataFrame) -> Corpus | None:
    try:
        return build_corpus(tables(events), DataConfig())[0]
    except ArtifactError:
        return None


@given(logs())
@settings(max_examples=150, deadline=None)
def test_histories_are_the_strictly_earlier_events_of_the_same_user(events):
    corpus = corpus_or_none(events)
    if corpus is None:
        return
    log = corpus.events
    start, end = history_bounds(log)
    for row in range(len(log)):
        me = log.iloc[row]
        wanted = log.index[(log["user_id"] == me["user_id"]) & (log["time"] < me["time"])]
        assert list(range(start[row], end[row])) == list(wanted)


@given(logs())
@settings(max_examples=150, deadline=None)
def test_the_last_time_step_tests_and_the_one_before_validates_both_tasks(events):
    corpus = corpus_or_none(events)
    if corpus is None:
        return
    for _, log in corpus.events.groupby("user_id"):
        steps = sorted(log["time"].unique())
        assert len(steps) >= 3
        wanted = log["time"].map(
            lambda t, s=steps: {s[-1]: "test", s[-2]: "validation"}.get(t, "train")
        )
        assert (log["split"] == wanted).all()


@given(logs(), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_order_of_input_rows_changes_nothing(events, seed):
    events = events.drop_duplicates(
        ["user_id", "time"]
    )  # without ties the order of rows says nothing
    one, two = corpus_or_none(events), corpus_or_none(events.sample(frac=1, random_state=seed))
    if one is None:
        assert two is None
    else:
        pd.testing.assert_frame_equal(one.events, two.events)


@given(logs(), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_seen_items_and_history_items_equal_a_loop(events, length):
    corpus = corpus_or_none(events)
    if corpus is None:
        return
    log, rows = corpus.events, np.arange(len(corpus.events))
    start, end = history_bounds(log)
    query, item = seen_items(log, rows)
    for row in rows:
        assert sorted(item[query == row]) == sorted(log["item_id"].iloc[start[row] : end[row]])
    found = history_items(log, rows, length, task="recommend")
    for row in rows:
        past = log.iloc[start[row] : end[row]]
        wanted = past.loc[past["task"] == "recommend", "item_id"].tolist()[-length:]
        assert [i for i in found[row] if i >= 0] == wanted


def test_a_purchase_and_its_search_twin_are_one_item_of_a_history():
    log = frame(
        [
            (0, 0, "recommend", 4, -1),
            (0, 0, "search", 4, 1),
            (0, 1, "recommend", 5, -1),
            (0, 2, "recommend", 6, -1),
        ]
    )
    corpus = build_corpus(tables(log), DataConfig())[0]
    assert history_items(corpus.events, np.array([3]), 3).tolist() == [[-1, 4, 5]]


def test_split_by_hand():
    log = frame([(0, t, "recommend", t, -1) for t in range(4)])
    assert joint_time_split(log).tolist() == ["train", "train", "validation", "test"]


def test_a_log_where_nobody_is_long_enough_is_refused_with_the_funnel():
    with pytest.raises(
        ArtifactError, match=r"no user has at least 3 time steps.*events_read.*min_events"
    ):
        build_corpus(
            tables(frame([(0, 0, "recommend", 1, -1), (0, 1, "recommend", 2, -1)])), DataConfig()
        )


def leaks(corpus: Corpus) -> int:
    """Targets (any task, any split) whose item stands in their own history, counted with plain
    sets.
    """
    start, end = history_bounds(corpus.events)
    item = corpus.events["item_id"].tolist()
    return sum(item[row] in set(item[start[row] : end[row]]) for row in range(len(item)))


def test_no_target_of_the_shop_stands_in_its_own_history(tmp_path):
    ws = Workspace.open(preset("tiny"), tmp_path)
    prepare(ws)
    corpus = Corpus.load(ws.require("data"))
    assert leaks(corpus) == 0
    assert set(corpus.events["split"]) == {"train", "validation", "test"}


@pytest.mark.real_data
def test_no_target_of_beauty_nor_its_twin_stands_in_its_own_history(beauty):
    assert leaks(beauty) == 0  # no user repeats an item: a twin in the history would be counted too


@pytest.mark.real_data
def test_beauty_test_targets_are_the_last_items_of_the_published_file(beauty):
    from data_download import fetch

    path = next(p for name, p in fetch("beauty").items() if name == "Beauty.txt")
    published = [line.split() for line in path.read_text().splitlines()]
    targets = beauty.targets("test", "recommend").sort_values("user_id")
    assert len(targets) == len(published) == 22_363
    assert targets["item_id"].tolist() == [int(words[-1]) - 1 for words in published]


@pytest.mark.real_data
def test_on_beauty_a_search_is_tested_only_at_its_users_last_step(beauty):
    log = beauty.events
    last = log.groupby("user_id")["time"].transform("max")
    assert ((log["split"] == "test") == (log["time"] == last)).all()
    asked = log[log["split"] != "train"]  # of train, searches of held-out queries are gone
    share = (asked["task"] == "search").sum() / (asked["task"] == "recommend").sum()
    assert abs(share - 0.758) < 5e-3


@pytest.mark.real_data
@pytest.mark.slow
def test_a_few_training_steps_on_beauty_lower_the_loss(beauty):
    from gensar_lite.artifacts import Identifiers, ItemEmbeddings
    from gensar_lite.decoding import Decoder
    from gensar_lite.identifiers import build_identifiers
    from gensar_lite.training.loop.loop import Trainer
    from gensar_lite.training.stage import new_generator, new_mixture

    config = override(
        preset("beauty-quick"),
        {
            "training.tasks": "nrip,nsip",
            "training.task_weights": "1,1",
            "training.epochs": 1,
            "training.warmup_rate": 0.005,
        },
    )
    rng = np.random.default_rng(0)  # vectors that follow the categories: real ones take minutes
    places = pd.factorize(beauty.items["category"])[0]
    centre = rng.normal(size=(places.max() + 1, 64))
    vectors = (centre[places] + 0.5 * rng.normal(size=(len(places), 64))).astype(np.float32)
    built = build_identifiers(
        ItemEmbeddings(vectors, vectors[:, ::-1].copy()), config.identifiers
    ).identifiers
    assert isinstance(built, Identifiers)
    generator = new_generator(beauty, built, config.training)
    trainer = Trainer(
        generator.model, generator.builder, new_mixture(generator, config.training), config.training
    )
    plans = trainer.mixture.epoch(1)[:40]
    losses = [
        sums[:, 0].sum() / sums[:, 1].sum()
        for sums in (trainer._one_step([plan]) for plan in plans)
    ]
    assert np.mean(losses[-10:]) < 0.97 * np.mean(losses[:10])
    rows = beauty.targets("test", "search")["event_id"].to_numpy()[:8]
    items = Decoder.of(generator, config.training).search("search", rows, num_beams=10).items
    assert items.shape == (8, 10)
    assert all(len(set(row)) == 10 and min(row) >= 0 for row in items.tolist())
