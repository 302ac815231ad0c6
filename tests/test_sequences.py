"""What SASRec reads: windows over whole histories, questions at time steps, and no order inside a
step.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers import small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.artifacts import Corpus, ItemEmbeddings, Workspace
from gensar_lite.config import DataConfig, EmbeddingsConfig, override, preset
from gensar_lite.data import Tables, build_corpus
from gensar_lite.embeddings import embed
from gensar_lite.embeddings.collaborative import schedule, train_sasrec
from gensar_lite.embeddings.sequences import train_sequences
from gensar_lite.embeddings.stage import load_sasrec

FIELDS = ["user_id", "time", "task", "item_id", "query_id"]


def train_corpus(rows: list[tuple]) -> Corpus:
    """A corpus whose events, ``(user, time, task, item)``, all train."""
    events = pd.DataFrame(rows, columns=FIELDS[:4]).sort_values(
        ["user_id", "time", "item_id"], ignore_index=True
    )
    events = events.assign(split="train", query_id=-1, event_id=np.arange(len(events)))
    return Corpus(None, None, events, None)


def by_definition(events: pd.DataFrame) -> list[tuple]:
    """(user, items before the step as a set of (time, item), target) of each recommendation.

    From a user's second step on, an item of a step once.
    """
    train = events[events["split"] == "train"]
    questions = []
    for user, log in train.groupby("user_id"):
        for time, step in log.groupby("time"):
            before = log[log["time"] < time]
            wanted = sorted(set(step.loc[step["task"] == "recommend", "item_id"]))
            if len(before):
                history = frozenset(zip(before["time"], before["item_id"], strict=True))
                questions += [(user, history, item) for item in wanted]
    return questions


logs = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 6),
        st.sampled_from(["recommend", "search"]),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(logs)
def test_with_room_for_all_every_question_has_its_whole_history(rows):
    corpus = train_corpus(rows)
    sequences, wanted = train_sequences(corpus, 60), by_definition(corpus.events)
    assert len(sequences.target) == len(wanted)
    read = sequences.inputs[sequences.row]
    histories = [
        tuple(line[: place + 1]) for line, place in zip(read, sequences.place, strict=True)
    ]
    found = [
        (sorted(items), target) for items, target in zip(histories, sequences.target, strict=True)
    ]
    # the same item may stand at several times of a history: compared as multisets of items
    expected = [(sorted(item for _, item in history), target) for _, history, target in wanted]
    assert sorted(found) == sorted(expected)


@settings(max_examples=40, deadline=None)
@given(logs, st.integers(1, 7), st.randoms(use_true_random=False))
def test_windows_ask_every_question_once_behind_half_a_window_or_all_there_is(rows, size, random):
    corpus = train_corpus(rows)
    whole, cut = train_sequences(corpus, 60), train_sequences(corpus, size)
    assert sorted(cut.target) == sorted(whole.target)
    full = [tuple(whole.inputs[r, : p + 1]) for r, p in zip(whole.row, whole.place, strict=True)]
    part = [tuple(cut.inputs[r, : p + 1]) for r, p in zip(cut.row, cut.place, strict=True)]
    assert all(len(line) and -1 not in line for line in part)
    unmatched = sorted(zip(full, whole.target, strict=True))
    for line, target in zip(part, cut.target, strict=True):  # each is the end of one whole history
        ends = [(h, t) for h, t in unmatched if t == target and h[-len(line) :] == line]
        assert ends
        enough = [(h, t) for h, t in ends if len(line) >= min(len(h), size - max(size // 2, 1) + 1)]
        assert enough
        unmatched.remove(enough[0])
    random.shuffle(rows)
    again = train_sequences(train_corpus(rows), size)
    assert all(np.array_equal(a, b) for a, b in zip(cut, again, strict=True)), (
        "the order of rows says nothing"
    )


def test_a_long_log_by_hand():
    corpus = train_corpus([(0, t, "recommend", t) for t in range(8)])
    sequences = train_sequences(corpus, 4)
    # 7 items are read (the eighth is only asked for); windows end at 7, 5 and 3
    assert sequences.inputs.tolist() == [[0, 1, 2, -1], [1, 2, 3, 4], [3, 4, 5, 6]]
    asked = list(zip(sequences.row, sequences.place, sequences.target, strict=True))
    assert asked == [(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 2, 4), (1, 3, 5), (2, 2, 6), (2, 3, 7)]
    assert sequences.counts() == {"windows": 3, "items_read": 11, "items_asked_for": 7}
    which, place, target = sequences.questions(np.array([2, 0]))
    assert (which.tolist(), place.tolist(), target.tolist()) == (
        [0, 0, 1, 1, 1],
        [2, 3, 0, 1, 2],
        [6, 7, 1, 2, 3],
    )


def test_a_basket_is_asked_for_by_what_was_before_it():
    rows = [
        (0, 0, "recommend", 7),
        (0, 1, "recommend", 3),
        (0, 1, "recommend", 5),
        (0, 1, "search", 9),
    ]
    sequences = train_sequences(train_corpus([*rows, (0, 2, "recommend", 1)]), 10)
    assert sequences.inputs[0].tolist() == [7, 3, 5, 9] + [-1] * 6
    assert list(zip(sequences.place, sequences.target, strict=True)) == [(0, 3), (0, 5), (3, 1)]


def test_a_search_row_before_its_purchase_costs_no_target():
    before, after = [], []
    for user in range(10):
        for time in range(5):
            item = (user + time) % 12
            pair = [(user, time, "search", item, 0), (user, time, "recommend", item, -1)]
            before, after = before + pair, after + pair[::-1]
    corpora = [
        small_corpus(num_items=12, events=pd.DataFrame(rows, columns=FIELDS))
        for rows in (before, after)
    ]
    pd.testing.assert_frame_equal(corpora[0].events, corpora[1].events)
    assert (
        len(train_sequences(corpora[0], 20).target) == 20
    )  # two of three train steps, of ten users


@pytest.mark.parametrize(
    ("windows", "floor", "epochs", "every"),
    [(640, 0, 16, 2), (640, 100, 16, 2), (640, 1600, 160, 20), (1, 24, 24, 3)],
)
def test_a_small_log_is_read_more_often(windows, floor, epochs, every):
    config = EmbeddingsConfig(batch_size=64, max_epochs=16, eval_every=2, min_steps=floor)
    assert schedule(windows, config) == (epochs, every)


def repeating_corpus(seen_items: str = "auto") -> Corpus:
    """Users who go round and round among four items of their own: the next item is always one they
    know.
    """
    rows = []
    for user in range(60):
        rows += [(user, t, "recommend", 4 * (user % 10) + t % 4, -1) for t in range(12)]
    like = small_corpus(num_items=40)
    tables = Tables(
        like.items, like.queries, pd.DataFrame(rows, columns=FIELDS), like.relevance, {}
    )
    return build_corpus(tables, DataConfig(seen_items=seen_items))[0]


def test_repeats_stay_candidates_for_the_judge_that_stops_training():
    config = EmbeddingsConfig(
        dim=16, max_epochs=60, eval_every=60, dropout=0.0, lr=1e-2, min_steps=0, max_length=8
    )
    assert not repeating_corpus().exclude_seen
    _, curve = train_sasrec(repeating_corpus(), config)
    assert curve[-1]["ndcg@10"] > 0.9
    _, curve = train_sasrec(repeating_corpus("leave-out"), config)
    assert curve[-1]["ndcg@10"] == 0


@pytest.mark.parametrize(("epochs", "chosen"), [(1, "svd"), (60, "sasrec")])
def test_the_collaborative_view_is_the_better_one_on_validation(tmp_path, epochs, chosen):
    """A chain that goes round: who counts alone knows the circle and no direction, who reads long
    knows the next.
    """
    changes = {
        "collaborative": "auto",
        "dim": 16,
        "max_epochs": epochs,
        "eval_every": epochs,
        "lr": 1e-2,
    }
    changes |= {"encoder": "lsa", "min_steps": 0, "joint": "none", "max_length": 8, "dropout": 0.0}
    ws = Workspace.open(
        override(preset("tiny"), {f"embeddings.{k}": v for k, v in changes.items()}), tmp_path
    )
    rows = [
        (u, t, "recommend", 6 * (u % 10) + (u + t) % 6, -1) for u in range(60) for t in range(5)
    ]
    corpus = small_corpus(num_items=60, events=pd.DataFrame(rows, columns=FIELDS))
    ws.build("data", lambda folder: corpus.save(folder) or {}, say=lambda _: None)
    views = ItemEmbeddings.load(embed(ws))
    statistics = ws.meta("embeddings")["statistics"]
    ndcg = statistics["validation_ndcg@10"]
    assert statistics["collaborative"] == chosen == max(ndcg, key=ndcg.get)
    own = load_sasrec(ws, corpus).model.item_vectors.numpy()
    assert np.array_equal(own, views.collaborative) == (chosen == "sasrec")
