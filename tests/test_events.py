"""What a tree reads: windows, questions, made queries, words, each against loops over the log."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import TASKS, tree_generator, tree_settings

from gensar_lite.artifacts import Corpus
from gensar_lite.data.histories import history_items
from gensar_lite.data.leaks import release
from gensar_lite.data.splitting import each_task_split, joint_time_split
from gensar_lite.identifiers import layout_for
from gensar_lite.training import TASK_OF_EVENTS, new_generator
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.loop.losses import tree_loss
from gensar_lite.training.sequences.behaviours import behaviours
from gensar_lite.training.sequences.events import PHRASE_DROPOUT, EventBuilder
from gensar_lite.training.sequences.mixture import WindowMixture, new_mixture
from gensar_lite.training.sequences.pseudo import PseudoQueries
from gensar_lite.training.sequences.tasks import EVENTS
from gensar_lite.training.text import SPECIAL, WordCodec

SPLITS = {
    "joint-time": lambda log: log.assign(split=joint_time_split(log)),
    "each-task": lambda log: log.assign(split=each_task_split(log)),
    "per-task": release,  # a purchase may test what its search twin trains
}


def random_log(seed: int, most_steps: int = 14, baskets: bool = True) -> pd.DataFrame:
    """Users of one to many steps, baskets, search twins; every item is taken once, so that a
    target says which event it is."""
    rng, rows = np.random.default_rng(seed), []
    for user in range(int(rng.integers(1, 7))):
        # the first has enough for every split
        for time in range(int(rng.integers(1, most_steps)) + 3 * (user == 0)):
            for _ in range(int(rng.integers(1, 4)) if baskets else 1):
                item, kind = len({row[3] for row in rows}), rng.integers(3)
                if kind < 2:  # a purchase, or one with a search twin
                    rows.append((user, time, "recommend", item, -1))
                if kind > 0:
                    rows.append((user, time, "search", item, int(rng.integers(3))))
    return pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])


def corpus_of(log: pd.DataFrame, split: str) -> Corpus:
    plain = small_corpus(num_items=int(log["item_id"].max()) + 1)
    log = SPLITS[split](log)
    log = log[log["split"] != ""].reset_index(drop=True)
    log["event_id"] = np.arange(len(log))
    return Corpus(plain.items, plain.queries, log, plain.relevance).check()


def builder_of(corpus: Corpus, **changes) -> EventBuilder:
    """A builder with made queries of up to three words, one of which its codec does not know."""
    rng, words = np.random.default_rng(0), ["red", "big", "blue", "foreign"]
    made = [
        [" ".join(rng.permutation(words)[: rng.integers(1, 4)]) for _ in range(rng.integers(5))]
        for _ in range(corpus.num_items)
    ]
    codec = WordCodec.of(words[:3], corpus.queries["text"])
    ids = random_identifiers(corpus.num_items, 16)
    layout = layout_for(ids, codec.num_tokens)
    return EventBuilder(
        corpus, ids, layout, codec, tree_settings(**changes), PseudoQueries.of(made)
    )


def earlier(events: pd.DataFrame, row) -> list[int]:
    """The event ids of strictly earlier steps of an event's user that train, oldest first, of a
    purchase and its search twin the first."""
    once = events.drop_duplicates(["user_id", "time", "item_id"])
    same = (once["user_id"] == row.user_id) & (once["time"] < row.time)
    return once[same & (once["split"] == "train")]["event_id"].tolist()


def marked(corpus: Corpus) -> dict[int, int]:
    """By event id what histories hold of an event: its item, a catalogue further where it was found
    by a search, two where it was bought as well."""
    places = {("recommend",): 0, ("search",): 1, ("recommend", "search"): 2}
    held = {}
    for _, group in corpus.events.groupby(["user_id", "time", "item_id"]):
        place = places[tuple(group["task"])]
        for event, item in zip(group["event_id"], group["item_id"], strict=True):
            held[event] = item + corpus.num_items * place
    return held


@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from(sorted(SPLITS)))
@settings(max_examples=40, deadline=None)
def test_every_train_event_is_asked_once_after_its_own_history(seed, most, split):
    corpus = corpus_of(random_log(seed), split)
    events = corpus.events
    builder = builder_of(corpus, max_history=most)
    held = marked(corpus)
    table, asked = builder.train
    train = events[events["split"] == "train"]
    given_ = sorted(zip(asked.target.tolist(), asked.query.tolist(), strict=True))
    assert given_ == sorted(zip(train["item_id"], train["query_id"], strict=True))
    once = events.drop_duplicates(["user_id", "time", "item_id"])
    met = once[once["split"] == "train"]["event_id"]
    assert set(table.ravel()) - {-1} <= {held[event] for event in met}
    assert (np.diff(asked.window) >= 0).all()
    row_of = {(row.item_id, row.query_id): row for row in train.itertuples()}
    for window, place, target, query, is_recommend in zip(*asked, strict=True):
        row = row_of[target, query]
        history = table[window, : place + 1].tolist()
        whole = [held[event] for event in earlier(events, row)]
        assert history == whole[len(whole) - len(history) :]
        assert len(history) >= min(len(whole), max(most // 2, 1))
        assert table.shape[1] <= most
        assert is_recommend == (query < 0 and len(whole) > 0)
        # when it is asked, it is what all of the library reads
        read = history_items(events, np.array([row.event_id]), most)[0]
        mine = builder.histories([row.event_id])[0].tolist()
        assert [mark % corpus.num_items for mark in mine] == read[read >= 0].tolist()
        assert split == "per-task" or mine == whole[-most:]


@given(st.integers(0, 10**6), st.sampled_from(["joint-time", "each-task"]))
@settings(max_examples=20, deadline=None)
def test_marks_of_train_events_say_nothing_of_held_out_ones(seed, split):
    events = corpus_of(random_log(seed), split).events
    is_train = (events["split"] == "train").to_numpy()
    alone = behaviours(events[is_train])
    assert alone.tolist() == behaviours(events)[is_train].tolist()


@pytest.mark.parametrize("is_marked", [True, False])
def test_sources_of_held_out_events_are_their_histories_and_words(is_marked):
    corpus = corpus_of(random_log(3), "joint-time")
    builder = builder_of(corpus, max_history=4, behaviour_tokens=is_marked)
    first, codec = builder.layout.size, builder.codec
    held = marked(corpus)
    for task in ("recommend", "search"):
        targets = corpus.targets("test", task)
        sources = builder.sources(TASK_OF_EVENTS[task], targets["event_id"].to_numpy())
        for i, row in enumerate(targets.itertuples()):
            before = corpus.events.query("user_id == @row.user_id and time < @row.time")
            name = "event_id" if is_marked else "item_id"
            kept = before.drop_duplicates("item_id")[name].tolist()[-4:]
            items = [held[event] for event in kept] if is_marked else kept
            asked = corpus.queries["text"][row.query_id] if task == "search" else ""
            wanted = [first + item for item in items] + codec.encode([asked])[0]
            assert sources[i].tolist() == wanted
        batch = builder.batch(TASK_OF_EVENTS[task], targets["event_id"].to_numpy())
        assert (batch.items >= 0).sum(axis=1).tolist() == (batch.place + 1).tolist()
        assert batch.target.tolist() == targets["item_id"].tolist()
        assert batch.num_recommend == (len(targets) if task == "recommend" else 0)


# ---------------------------------------------------------------------------------- made queries


def questions(batch) -> list[tuple]:
    """(row, place, target, weight, words) of each, no words of a recommendation."""
    ends = np.r_[batch.first, len(batch.words)].astype(int)
    words = [()] * batch.num_recommend
    words += [tuple(batch.words[low:high].tolist()) for low, high in itertools.pairwise(ends)]
    parts = (batch.row, batch.place, batch.target, batch.weight)
    return list(zip(*(part.tolist() for part in parts), words, strict=True))


@pytest.mark.parametrize("weight", [0.5, 1.0, 2.5])
def test_searches_are_made_for_purchases_of_the_bought_item(weight):
    corpus = corpus_of(random_log(5, 20), "joint-time")
    builder = builder_of(corpus, task_weights=(2.0, 3.0, weight))
    windows = np.arange(len(builder.train[0]))
    batch = builder.batch(EVENTS, windows, 7 * windows)
    made_of = {item: set() for item in range(corpus.num_items)}  # none without a word
    for item, text in zip(builder.pseudo.item, builder.pseudo.texts, strict=True):
        made_of[item] |= set(map(tuple, filter(None, builder.codec.encode([text]))))
    train, rest = corpus.events[corpus.events["split"] == "train"], questions(batch)
    number = math.ceil(weight)
    for row in train.itertuples():
        mine = [one for one in rest if one[2] == row.item_id]
        has_twin = (train["item_id"] == row.item_id).sum() == 2
        is_first = row.task == "recommend" or not has_twin
        if not is_first:
            continue
        history = earlier(corpus.events, row)
        kinds = {"nrip": [], "nsip": [], "adhoc": []}
        for _, place, _, counts, words in mine:
            assert (place >= 0) == bool(history)
            kind = "nrip" if not words and counts == 2 else "nsip" if counts == 3 else "adhoc"
            kinds[kind].append(words)
            assert kind != "adhoc" or counts == pytest.approx(weight / number)
        bought = row.task == "recommend"
        assert len(kinds["nrip"]) == (bought and bool(history))
        assert len(kinds["nsip"]) == (has_twin or not bought)
        assert len(kinds["adhoc"]) == (number if bought and made_of[row.item_id] else 0)
        assert set(kinds["adhoc"]) <= made_of[row.item_id]


def test_what_is_drawn_is_a_windows_own_and_another_in_another_epoch():
    corpus = corpus_of(random_log(5, 20), "joint-time")
    builder = builder_of(corpus, task_weights=(1.0, 1.0, 2.0))
    mixture = WindowMixture(builder.windows, 3, seed=4)
    one, other = mixture.epoch(1), mixture.epoch(2)
    assert [plan.rows.tolist() for plan in one] == [plan.rows.tolist() for plan in mixture.epoch(1)]
    assert len(one) == mixture.num_batches
    everything = {}
    for epoch, plans in ((1, one), (2, other)):
        rows, draw = (np.concatenate(part) for part in list(zip(*plans, strict=True))[1:])
        assert sorted(rows.tolist()) == builder.windows.tolist()
        whole = questions(builder.batch(EVENTS, rows, draw))
        at = 0
        for plan in plans:
            for asked, row in enumerate(range(at, at + len(plan.rows))):
                mine = questions(builder.batch(EVENTS, plan.rows, plan.prompt))
                alone = questions(builder.batch(EVENTS, rows[[row]], draw[[row]]))
                wanted = [question[1:] for question in whole if question[0] == row]
                assert [question[1:] for question in mine if question[0] == asked] == wanted
                assert [question[1:] for question in alone] == wanted
                everything[epoch, int(rows[row])] = wanted
            at += len(plan.rows)
    assert any(everything[1, row] != everything[2, row] for row in builder.windows.tolist())


@pytest.mark.parametrize("views", ["own", "recommend", "search", "both"])
@pytest.mark.parametrize("tasks", [TASKS, ("nrip",), ("nsip",), ("nrip", "adhoc")])
def test_a_steps_tokens_are_those_that_the_loss_counts(views, tasks):
    corpus = small_corpus(twin_rate=0.4)
    changes = {"tasks": tasks, "task_weights": (1.5, 0.5, 1.25)[: len(tasks)], "views": views}
    generator = tree_generator(corpus, **changes)
    builder = generator.builder
    for rows in (np.arange(len(builder.train[0])), np.array([2, 0]), np.array([1])):
        loss = tree_loss(generator.model, builder.batch(EVENTS, rows, rows).to("cpu"))
        assert builder.target_tokens(EVENTS, rows) == pytest.approx(float(loss.tokens))
        assert float(loss.count) * 3 == pytest.approx(float(loss.tokens))
    for task in ("recommend", "search"):
        rows = corpus.targets("train", task)["event_id"].to_numpy()
        loss = tree_loss(generator.model, builder.batch(TASK_OF_EVENTS[task], rows).to("cpu"))
        assert builder.target_tokens(TASK_OF_EVENTS[task], rows) == float(loss.tokens)


def test_windows_without_a_question_are_no_step():
    """Two of three users bought once before they are tested: nothing came before."""
    once = itertools.product(range(3), range(3))
    rows = [(user, time, "recommend", 5 * user + time, -1) for user, time in once]
    rows.append((2, 3, "recommend", 14, -1))
    log = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    corpus = small_corpus(num_items=15, events=log)
    changed = tree_settings(tasks=("nrip",), task_weights=(1.0,), batch_size=1)
    generator = new_generator(corpus, random_identifiers(15, 8), changed)
    mixture = new_mixture(generator, changed)
    trainer = Trainer(generator.model, generator.builder, mixture, changed)
    assert trainer.steps_per_epoch == 1
    assert len(trainer.fit()) == 2


# ------------------------------------------------------------------------------------------ words


def test_words_phrases_and_what_is_unknown(tmp_path):
    codec = WordCodec.of(["Red shoes", "big hats"], ["shoes red", "hats", "warm blue hats"])
    words = ["red", "shoe", "big", "hat", "warm", "blue"]
    assert codec.words == words
    assert codec.phrases == ["red shoe", "blue hat warm"]
    number = {word: len(SPECIAL) + i for i, word in enumerate(words)}
    red_shoes, blue = codec.first_phrase, codec.first_phrase + 1
    texts = ["red shoes", "shoes, RED", "red", "green big", "", "hats warm blue", "xyz"]
    rows = codec.encode(texts)
    assert rows == [
        [number["red"], number["shoe"], red_shoes],
        [number["shoe"], number["red"], red_shoes],
        [number["red"]],  # one word is no phrase
        [number["big"]],
        [],
        [number["hat"], number["warm"], number["blue"], blue],
        [],
    ]
    assert codec.encode(["hats warm blue"], 2) == [[number["hat"], number["warm"], blue]]
    assert codec.num_tokens == len(SPECIAL) + 6 + 2 == blue + 1
    assert codec.decode([*range(len(SPECIAL)), *rows[0], *rows[3]]) == "red shoe big"
    codec.save(tmp_path)
    loaded = WordCodec.load(tmp_path)
    assert (loaded.words, loaded.phrases) == (codec.words, codec.phrases)
    assert loaded.encode(["red shoes"]) == codec.encode(["red shoes"])


def test_phrases_are_dropped_in_training_alone():
    log = random_log(1, 60, baskets=False)
    corpus = corpus_of(log, "joint-time")
    corpus = dataclasses.replace(corpus, queries=corpus.queries.assign(text="big red"))
    builder = builder_of(corpus, tasks=("nsip",), task_weights=(1.0,))
    rows, seen, total = np.arange(len(builder.train[0])), 0, 0
    for epoch in range(40):
        draw = np.random.default_rng(epoch).integers(2**31, size=len(rows))
        for *_, words in questions(builder.batch(EVENTS, rows, draw)):
            assert builder.codec.decode(words) == "big red"
            seen, total = seen + (len(words) == 3), total + 1
    rate = 1 - seen / total
    assert rate == pytest.approx(PHRASE_DROPOUT, abs=4 * math.sqrt(0.21 / total))
    searches = corpus.events.query("task == 'search'")["event_id"].to_numpy()
    source = builder.sources(TASK_OF_EVENTS["search"], searches)
    phrase = builder.codec.first_phrase
    batch = builder.batch(TASK_OF_EVENTS["search"], searches)
    assert (source.flat == phrase).sum() == (batch.words == phrase).sum() == len(searches)


def test_a_twin_may_train_where_its_purchase_tests():
    """The paper's split: of two users one has a single train event, the search of an item that is
    a test purchase; nothing of it may be read, and nobody else's questions move."""
    rows = [(0, time, "recommend", time, -1) for time in range(4)]
    rows += [(1, 0, "recommend", 4, -1), (1, 0, "search", 4, 0)]
    rows += [(1, 1, "search", 5, 1), (1, 2, "search", 6, 2)]
    rows += [(2, time, "recommend", 7 + time, -1) for time in range(4)]
    for users in ((0, 1), (0, 1, 2)):
        log = [row for row in rows if row[0] in users]
        log = pd.DataFrame(log, columns=["user_id", "time", "task", "item_id", "query_id"])
        table, asked = builder_of(corpus_of(log, "per-task")).train
        histories = {
            target: table[window, : place + 1].tolist()
            for window, place, target in zip(asked.window, asked.place, asked.target, strict=True)
        }
        assert histories == {0: [], 1: [0], 4: []} | ({7: [], 8: [7]} if 2 in users else {})
