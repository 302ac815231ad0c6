"""Tasks against other ways of knowing: python lists, renderings by hand, token name by token
name."""

import dataclasses
import math
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import T5Config, T5ForConditionalGeneration

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.config import TrainingConfig
from gensar_lite.data.queries import stem
from gensar_lite.decoding import Decoder
from gensar_lite.training import (
    PROMPTS,
    TASK_NAMES,
    TASKS,
    Generator,
    SequenceBuilder,
    TextCodec,
    new_generator,
)
from gensar_lite.training.loop.figures import evaluate_loss
from gensar_lite.training.loop.losses import task_loss
from gensar_lite.training.sequences import pseudo as pseudo_queries
from gensar_lite.training.sequences.mixture import TaskMixture, task_rows
from gensar_lite.training.sequences.pseudo import PseudoQueries, make_pseudo_queries, word_queries
from gensar_lite.training.sequences.ragged import Ragged, hstack, pad_and_mask
from gensar_lite.training.stage import new_mixture, present_tasks
from gensar_lite.training.text import EOS, PAD

SMALL = TrainingConfig(num_text_tokens=400, batch_size=8, epochs=3)
PAPER = ("nrip", "nsip", "nsqp", "desc2id", "id2desc", "adhoc")
SIX = {"tasks": PAPER, "task_weights": (1.0, 1.0, 0.5, 2.0, 1.0, 0.5), "num_pseudo_queries": 4}
ROWS = st.lists(st.lists(st.integers(0, 50), max_size=5), max_size=8)


def override_training(**changes) -> TrainingConfig:
    return TrainingConfig(**({"num_text_tokens": 400, "batch_size": 8, "epochs": 3} | changes))


WORDS = ["red", "blue", "big", "small", "round", "flat", "soft", "hard", "old", "new"]


def with_texts(corpus: Corpus) -> Corpus:
    """The corpus, its items with titles, descriptions, brands and categories of a few made
    words."""
    n = np.arange(corpus.num_items)
    items = corpus.items.assign(
        title=[f"Acme{i % 3} {WORDS[i % 10]} thing {i}" for i in n],
        text=[
            f"A {WORDS[i * 7 % 10]} one, {WORDS[i * 3 % 10]} and {'very ' * (i % 4)}useful"
            for i in n
        ],
        brand=[f"Acme{'xyz'[i % 3]}" for i in n],
        category=[f"Goods > {('Things', 'Odd Parts')[i % 2]}" for i in n],
    )
    return dataclasses.replace(corpus, items=items)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return with_texts(small_corpus(num_users=30, twin_rate=0.6))


@pytest.fixture(scope="module")
def builder(corpus) -> SequenceBuilder:
    return new_generator(corpus, random_identifiers(40, 8), SMALL).builder


@pytest.fixture(scope="module")
def six(corpus) -> Generator:
    """An untrained generator for all six tasks."""
    return new_generator(corpus, random_identifiers(40, 8), override_training(**SIX))


# -------------------------------------------------------------------------------------- ragged rows


def lists(rows: Ragged) -> list[list[int]]:
    return [rows[i].tolist() for i in range(len(rows.lengths))]


@given(ROWS, st.data())
@settings(max_examples=80, deadline=None)
def test_ragged_rows_are_lists(rows, data):
    ragged = Ragged.of(rows)
    assert lists(ragged) == rows
    assert ragged.lengths.tolist() == [len(r) for r in rows]
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6)) if rows else []
    assert lists(ragged.take(np.array(chosen, dtype=np.int64))) == [rows[i] for i in chosen]
    group = np.sort(data.draw(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows))))
    wanted = [
        [x for g, row in zip(group, rows, strict=True) if g == i for x in row] for i in range(5)
    ]
    assert lists(ragged.merge(group.astype(np.int64), 5)) == wanted
    table, _ = pad_and_mask(ragged, -1)
    assert table.shape == (
        len(rows),
        max([1, *map(len, rows)]) if not any(rows) else max(map(len, rows)),
    )
    assert [[x for x in line if x >= 0] for line in table.tolist()] == rows


@given(st.integers(0, 6), st.integers(1, 4), st.data())
@settings(max_examples=60, deadline=None)
def test_hstack_joins_row_by_row(num_rows, num_parts, data):
    one = st.lists(st.lists(st.integers(0, 50), max_size=4), min_size=num_rows, max_size=num_rows)
    parts = [data.draw(one) for _ in range(num_parts)]
    wanted = [[x for part in parts for x in part[i]] for i in range(num_rows)]
    assert lists(hstack([Ragged.of(part) for part in parts])) == wanted


@given(ROWS, st.integers(0, 4), st.data())
@settings(max_examples=60, deadline=None)
def test_ragged_rows_are_repeated_and_left_empty(rows, times, data):
    one = Ragged.of(rows)
    assert lists(Ragged.repeat([7, 8], times)) == [[7, 8]] * times
    chosen = data.draw(st.lists(st.integers(-1, len(rows) - 1), max_size=6))
    assert lists(one.take_or_empty(np.array(chosen, dtype=np.int64))) == [
        rows[i] if i >= 0 else [] for i in chosen
    ]


# ------------------------------------------------------------------------------ sources and targets


def history_by_hand(corpus: Corpus, row: int, limit: int) -> list[int]:
    """Event rows of the last `limit` recommendations and searches strictly before an event, in time
    order."""
    event = corpus.events.iloc[row]
    mine = corpus.events[corpus.events["user_id"] == event["user_id"]]
    mine = [e for e in mine.itertuples() if e.time < event["time"]]
    kinds = [
        [e.event_id for e in mine if e.task == kind][-limit:] for kind in ("recommend", "search")
    ]
    return sorted(kinds[0] + kinds[1])


def text_names(generator, words: str) -> list[str]:
    """The names of a text's tokens, as the tokenizer itself gives them."""
    return [
        f"text:{t}" for t in generator.codec.tokenizer(words, add_special_tokens=False)["input_ids"]
    ]


def named(item: int, ids, view: str, marks: bool = True) -> list[str]:
    """The names of an item's tokens in a view."""
    first, second, third = (ids.semantic if view == "semantic" else ids.collaborative)[item]
    mark, short = ("<S_I>", "sem") if view == "semantic" else ("<R_I>", "col")
    return [
        *([mark] if marks else []),
        f"shared1:{first}",
        f"{short}2:{second}",
        f"{short}3:{third}",
    ]


def item_text(corpus: Corpus, item: int) -> str:
    return f"{corpus.items['title'][item]}. {corpus.items['text'][item]}"


def source_by_hand(
    generator, name: str, row: int, prompt: int, training: TrainingConfig
) -> list[str]:
    """The names of the tokens of one source, spelled out event by event."""
    corpus, ids, marks = generator.corpus, generator.identifiers, training.behaviour_tokens
    asked = lambda words: [*(["<S_Q>"] if marks else []), *text_names(generator, words)]  # noqa: E731
    after, base = (
        text_names(generator, "; ") if training.history_separator else [],
        name.partition("/")[0],
    )
    names = text_names(generator, PROMPTS[base][prompt]) if training.prompts else []
    if base == "desc2id":
        names += text_names(generator, item_text(corpus, row))
    elif base == "id2desc":
        names += named(row, ids, name.partition("/")[2], marks)
    elif base == "adhoc":
        names += asked(generator.builder.pseudo.texts[row])
    else:
        for other in (
            corpus.events.iloc[r] for r in history_by_hand(corpus, row, training.max_recommend)
        ):
            if other["task"] == "search" and training.history_queries:
                names += asked(corpus.queries["text"][other["query_id"]])
            view = "semantic" if other["task"] == "search" else "collaborative"
            names += [*named(other["item_id"], ids, view, marks), *after]
    if base == "nsip":
        names += asked(corpus.queries["text"][corpus.events["query_id"][row]])
    return [*names, f"text:{EOS}"]


def target_by_hand(generator, name: str, row: int, marks: bool = True) -> list[str]:
    corpus, ids, (base, _, view) = generator.corpus, generator.identifiers, name.partition("/")
    if base == "nsqp":
        query = corpus.queries["text"][corpus.events["query_id"][row]]
        return [*(["<S_Q>"] if marks else []), *text_names(generator, query), f"text:{EOS}"]
    if base == "id2desc":
        return [*text_names(generator, item_text(corpus, row)), f"text:{EOS}"]
    if base in ("nrip", "nsip"):
        row, view = corpus.events["item_id"][row], "collaborative" if base == "nrip" else "semantic"
    if base == "adhoc":
        row, view = int(generator.builder.pseudo.item[row]), "semantic"
    return named(row, ids, view, marks)


def rows_of(generator, task) -> np.ndarray:
    """Every row that a task could have: events, pseudo-queries or items."""
    if task.events:
        return np.flatnonzero(generator.corpus.events["task"] == task.events)
    return np.arange(
        len(generator.builder.pseudo.texts) if task.base == "adhoc" else generator.corpus.num_items
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"max_recommend": 5, "max_search": 5},
        {"max_recommend": 2, "max_search": 2, "prompts": False, "history_separator": True},
        {"max_recommend": 3, "max_search": 3, "history_queries": False},
        {"max_recommend": 3, "max_search": 3, "behaviour_tokens": False},
    ],
)
def test_every_task_equals_a_rendering_by_hand(corpus, changes):
    training = override_training(
        tasks=TASK_NAMES, task_weights=(1.0,) * len(TASK_NAMES), num_pseudo_queries=3, **changes
    )
    generator = new_generator(corpus, random_identifiers(40, 8), training)
    builder, layout = generator.builder, generator.layout
    long = 0
    for name, task in TASKS.items():
        rows = rows_of(generator, task)[::4]
        prompt = np.arange(len(rows)) % 10
        batch = builder.batch(task, rows, prompt)
        for i, row in enumerate(rows):
            wanted = source_by_hand(generator, name, row, prompt[i], training)
            assert [layout.name(t) for t in batch.source[i][batch.mask[i]]] == wanted
            assert (batch.source[i][~batch.mask[i]] == PAD).all()
            names = [layout.name(t) for t in batch.target[i] if t != PAD]
            assert names == target_by_hand(generator, name, row, training.behaviour_tokens)
            assert (batch.target[i][len(names) :] == PAD).all()
            if task.events:
                long += len(history_by_hand(corpus, row, 99)) > len(
                    history_by_hand(corpus, row, training.max_search)
                )
        first = target_by_hand(generator, name, rows[0], training.behaviour_tokens)[0]
        assert [layout.name(t) for t in builder.forced(task)] == (
            [first] if first.startswith("<") else []
        )
        text = (batch.target != PAD).sum(axis=1) if task.writes == "text" else 0
        assert (
            builder.lengths(task, rows, chunk=7).tolist()
            == (builder.sources(task, rows).lengths + text).tolist()
        )
    assert long > 0  # the limit was at work
    assert training.behaviour_tokens or not {layout.recommend_item, layout.search_query} & set(
        builder.chunks.flat
    )


def test_no_source_holds_what_its_own_target_says(six):
    """Item tasks: a text's source has no code, an identifier's source has no text. nsqp: earlier
    events only."""
    builder, first_code = six.builder, six.layout.level_offset("semantic", 0)
    for name in ("desc2id/semantic", "desc2id/collaborative", "adhoc"):
        assert builder.sources(TASKS[name], rows_of(six, TASKS[name])).flat.max() < first_code
    bare = new_generator(
        six.corpus,
        six.identifiers,
        override_training(tasks=("id2desc",), task_weights=(1.0,), prompts=False),
    )
    for view in ("semantic", "collaborative"):
        task = TASKS[f"id2desc/{view}"]
        sources = bare.builder.sources(task, rows_of(bare, task))
        assert set(sources.lengths) == {1 + 3 + 1}
        assert (np.delete(sources.flat.reshape(-1, 5), 4, axis=1) >= bare.layout.num_text).all()
    events = six.corpus.events
    for row in rows_of(six, TASKS["nsqp"]):
        _, window = builder.window(np.array([row]))
        assert (events["time"].to_numpy()[window] < events["time"][row]).all()


def test_no_target_and_no_twin_stands_in_its_own_source(corpus, builder):
    events, twins = corpus.events, 0
    for row in range(len(events)):
        _, window = builder.window(np.array([row]))
        event, seen = events.iloc[row], events.iloc[window]
        assert (seen["time"] < event["time"]).all()
        assert (seen["user_id"] == event["user_id"]).all()
        assert event["item_id"] not in set(
            seen["item_id"]
        )  # no user meets an item at two times here
        same = (events["user_id"] == event["user_id"]) & (events["time"] == event["time"])
        twins += same.sum() == 2
    assert twins > 20


def test_without_prompts_a_source_starts_with_the_history(corpus):
    generator = new_generator(corpus, random_identifiers(40, 8), override_training(prompts=False))
    rows = corpus.targets("test", "recommend")["event_id"].to_numpy()
    first = generator.builder.batch(TASKS["nrip"], rows).source[:, 0]
    assert set(first) <= {generator.layout.recommend_item, generator.layout.search_query}


def test_queries_and_item_texts_are_cut(corpus):
    training = override_training(max_query_tokens=1, max_text_tokens=5, **SIX)
    builder = new_generator(corpus, random_identifiers(40, 8), training).builder
    assert (
        set(builder.queries.lengths) == set(builder.pseudo_queries.lengths) == {2}
    )  # <S_Q> and one token
    assert set(builder.texts.lengths) == {5}
    assert set(builder.written(TASKS["id2desc/semantic"], np.arange(40)).lengths) == {
        6
    }  # and the end


def test_nrip_leaves_out_events_without_a_history(corpus):
    generator = new_generator(corpus, random_identifiers(40, 8), SMALL)
    mixture = new_mixture(generator, SMALL)
    train = corpus.events[corpus.events["split"] == "train"]
    first = train.groupby("user_id")["time"].transform("min") == train["time"]
    assert set(mixture.rows["nrip"]) == set(train.index[(train["task"] == "recommend") & ~first])
    assert set(mixture.rows["nsip"]) == set(train.index[train["task"] == "search"])


# -------------------------------------------------------------------------------------- the mixture


def mixture_of(weights: dict[str, float], seed: int = 0, batch_size: int = 8) -> TaskMixture:
    rng = np.random.default_rng(5)
    rows = {"nrip": np.arange(100, 173), "nsip": np.arange(500, 541)}
    return TaskMixture(
        rows,
        {t: rng.integers(5, 60, len(r)) for t, r in rows.items()},
        weights,
        batch_size,
        10,
        seed,
    )


def test_mixture_is_a_function_of_seed_and_epoch():
    def as_lists(mixture, epoch):
        return [(p.task, p.rows.tolist(), p.prompt.tolist()) for p in mixture.epoch(epoch)]

    one, again = mixture_of({"nrip": 1.0, "nsip": 1.0}), mixture_of({"nrip": 1.0, "nsip": 1.0})
    later = as_lists(one, 7)
    assert as_lists(one, 3) == as_lists(again, 3)  # whatever was asked before
    assert later != as_lists(one, 3)
    assert as_lists(mixture_of({"nrip": 1.0, "nsip": 1.0}, seed=1), 3) != as_lists(one, 3)


@given(st.floats(0.1, 3.0), st.integers(1, 90), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_mixture_draws_by_weight(weight, batch_size, epoch):
    mixture = mixture_of({"nrip": 1.0, "nsip": weight}, batch_size=batch_size)
    plans = mixture.epoch(epoch)
    assert len(plans) == mixture.num_batches
    drawn = {
        t: np.concatenate([p.rows for p in plans if p.task == t] or [np.zeros(0, int)])
        for t in mixture.rows
    }
    assert sorted(drawn["nrip"]) == list(range(100, 173))  # every example once
    times = np.bincount(drawn["nsip"] - 500, minlength=41)
    assert times.sum() == round(weight * 41)
    assert times.max() - times.min() <= 1
    for plan in plans:
        assert 0 < len(plan.rows) <= batch_size
        assert set(plan.rows) <= set(mixture.rows[plan.task])  # one task a batch
        assert plan.prompt.shape == plan.rows.shape
        assert ((plan.prompt >= 0) & (plan.prompt < 10)).all()


def test_batches_hold_similar_lengths():
    mixture = mixture_of({"nrip": 1.0, "nsip": 1.0})
    spread = [
        np.ptp(mixture.lengths["nrip"][p.rows - 100]) for p in mixture.epoch(1) if p.task == "nrip"
    ]
    assert max(spread) < np.ptp(mixture.lengths["nrip"]) / 2


# ------------------------------------------------------------------- rows, weights, held-out values


def test_rows_are_split_into_train_and_held_out_ones(six):
    """Events by their split; items by a draw of their own for each task, the same in both of its
    views."""
    corpus, builder = six.corpus, six.builder
    train, out = (
        new_mixture(six, override_training(**SIX)).rows,
        task_rows(six, override_training(**SIX), "validation"),
    )
    of_paper = {name: task for name, task in TASKS.items() if task.base in PAPER}
    assert set(train) == set(out) == set(of_paper)
    earlier = builder.end > builder.start
    for name, events in (("nrip", "recommend"), ("nsip", "search"), ("nsqp", "search")):
        for rows, split in ((train[name], "train"), (out[name], "validation")):
            wanted = (corpus.events["split"] == split) & (corpus.events["task"] == events)
            assert set(rows) == set(np.flatnonzero(wanted & (earlier | (name == "nsip"))))
    for name, task in list(of_paper.items())[3:]:
        inside, outside = (set(builder.items(task, rows[name])) for rows in (train, out))
        assert not inside & outside
        assert len(outside) == round(0.05 * 40)
        assert len(train[name]) + len(out[name]) == len(
            rows_of(six, task)
        )  # every item here has text
    assert set(out["desc2id/semantic"]) == set(out["desc2id/collaborative"])
    assert (
        len(
            {
                tuple(sorted(builder.items(TASKS[n], out[n])))
                for n in ("desc2id/semantic", "id2desc/semantic")
            }
        )
        == 2
    )


def test_weights_are_relative_to_size_and_shared_by_views(six):
    mixture = new_mixture(six, override_training(**SIX))
    counts = {name: mixture.num_examples(name) for name in mixture.rows}
    assert counts["nsqp"] == round(0.5 * len(mixture.rows["nsqp"]))
    assert (
        counts["desc2id/semantic"] == counts["desc2id/collaborative"] == 38
    )  # weight 2, half of it each
    assert counts["id2desc/semantic"] == counts["id2desc/collaborative"] == 19
    drawn = {name: 0 for name in mixture.rows}
    for plan in mixture.epoch(2):
        drawn[plan.task] += len(plan.rows)
    assert drawn == counts


def test_one_identifier_means_one_variant(corpus):
    ids = random_identifiers(40, 8)
    single = dataclasses.replace(ids, collaborative=ids.semantic, num_shared=3).check()
    mixture = new_mixture(
        new_generator(corpus, single, override_training(**SIX)), override_training(**SIX)
    )
    assert set(mixture.rows) == {
        "nrip",
        "nsip",
        "nsqp",
        "desc2id/semantic",
        "id2desc/semantic",
        "adhoc",
    }
    assert mixture.num_examples("desc2id/semantic") == 2 * 38


def test_items_without_text_are_no_example(corpus):
    items = corpus.items.assign(
        title=corpus.items["title"].where(corpus.items["item_id"] > 4, ""),
        text="",
        brand="",
        category="",
    )
    generator = new_generator(
        dataclasses.replace(corpus, items=items),
        random_identifiers(40, 8),
        override_training(**SIX),
    )
    rows = new_mixture(generator, override_training(**SIX)).rows
    assert min(rows["desc2id/semantic"].min(), rows["id2desc/collaborative"].min()) > 4
    assert generator.builder.pseudo.item.min() > 4


def test_tasks_without_events_or_texts_are_left_out(corpus):
    training = override_training(**SIX)
    assert present_tasks(corpus, training) == training
    bare = dataclasses.replace(corpus, items=corpus.items.assign(title="12", text=""))
    kept = present_tasks(bare, training)
    assert (kept.tasks, kept.task_weights) == (("nrip", "nsip", "nsqp"), (1.0, 1.0, 0.5))
    events = corpus.events[corpus.events["task"] == "recommend"].reset_index(drop=True)
    events["event_id"] = np.arange(len(events))
    assert "nsqp" not in present_tasks(dataclasses.replace(corpus, events=events), training).tasks


def test_prompts_are_ten_different_ones_a_task():
    assert set(PROMPTS) == set(TASK_NAMES)
    assert {len(sentences) for sentences in PROMPTS.values()} == {10}
    assert len({sentence for sentences in PROMPTS.values() for sentence in sentences}) == (
        10 * len(TASK_NAMES)
    )


def test_the_prompts_are_part_of_an_installed_package():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    packaged = project["tool"]["setuptools"]["package-data"]
    assert packaged["gensar_lite.training.sequences"] == ["prompts.toml"]


@pytest.mark.parametrize("head", ["level", "vocabulary"])
def test_a_blind_model_pays_the_logarithm_of_what_could_be_said(six, head):
    """With logits of zero every token costs log(R), R the rows that a task can emit: counts rows
    and tokens."""
    training, layout = override_training(head=head, **SIX), six.layout
    builder = SequenceBuilder(
        six.corpus, six.identifiers, layout, six.codec, training, six.builder.pseudo
    )
    blind = new_generator(six.corpus, six.identifiers, override_training(**SIX)).model
    with torch.no_grad():
        blind.lm_head.weight.zero_()
    rows = {name: rows_of(six, task)[:9] for name, task in TASKS.items()}
    for name, task in TASKS.items():
        batch = builder.batch(task, rows[name])
        total = task_loss(blind, batch.to("cpu"), layout, training).total.item()
        choices = 8 if task.writes == "codes" else layout.num_text + 3
        tokens = 9 * 3 if task.writes == "codes" else int((batch.target != PAD).sum())
        if head == "vocabulary":
            choices, tokens = layout.size, int((batch.target != PAD).sum())
        assert builder.target_tokens(task, rows[name]) == tokens
        assert total == pytest.approx(tokens * math.log(choices), rel=1e-5)
    was = blind.train().training
    figures = evaluate_loss(blind, builder, rows, training)
    assert blind.training == was
    assert {key.partition("/")[0] for key in figures} == set(TASK_NAMES)
    text, code = (layout.size, layout.size) if head == "vocabulary" else (layout.num_text + 3, 8)
    assert figures["id2desc/held_out_loss"] == pytest.approx(math.log(text), rel=1e-5)
    assert figures["nrip/held_out_loss"] == pytest.approx(math.log(code), rel=1e-5)


def test_text_loss_with_the_vocabulary_head_is_transformers_own(six):
    training = override_training(head="vocabulary", **SIX)
    task, model = TASKS["id2desc/semantic"], six.model.eval()
    batch = six.builder.batch(task, np.arange(6))
    source, mask, target = (torch.from_numpy(a) for a in (batch.source, batch.mask, batch.target))
    assert (target == PAD).any()
    loss = task_loss(model, batch.to("cpu"), six.layout, training)
    out = model(
        input_ids=source, attention_mask=mask, labels=target.masked_fill(target == PAD, -100)
    )
    tokens = int((target != PAD).sum())
    assert loss.total.item() == pytest.approx(out.loss.item() * tokens, rel=1e-4)
    right = (out.logits.argmax(-1) == target) & (target != PAD)
    assert loss.hits.tolist() == [int(right.sum())]


@pytest.mark.parametrize("model", [{}, {"backbone": "gpt-micro"}])
def test_held_out_figures_do_not_depend_on_the_batch_size(corpus, model):
    training = override_training(label_smoothing=0.2, **SIX, **model)
    generator = new_generator(corpus, random_identifiers(40, 8), training)
    rows = task_rows(generator, training, "validation")
    big, small = (
        evaluate_loss(
            generator.model, generator.builder, rows, dataclasses.replace(training, batch_size=size)
        )
        for size in (64, 3)
    )
    assert big == pytest.approx(small, rel=1e-4)
    assert sum(key.startswith("nsip/held_out_accuracy@") for key in big) == 3
    assert sum(key.startswith("nsqp/held_out_accuracy@") for key in big) == 1


@pytest.mark.parametrize("marks", [True, False])
def test_decoding_scores_what_training_scored(corpus, marks):
    """The decoder starts where targets start: its log-probability of an item is minus the loss of
    that target."""
    training = override_training(behaviour_tokens=marks, dropout=0.0)
    generator = new_generator(corpus, random_identifiers(40, 8), training)
    decoder = Decoder.of(generator._replace(model=generator.model.eval()), training)
    for events, name in (("recommend", "nrip"), ("search", "nsip")):
        rows = corpus.targets("test", events)["event_id"].to_numpy()[:5]
        score = decoder.score_rows(
            events, rows, corpus.events["item_id"].to_numpy()[rows][:, None]
        ).sum()
        batch = generator.builder.batch(TASKS[name], rows)
        assert batch.target.shape[1] == 3 + marks
        loss = task_loss(generator.model, batch.to("cpu"), generator.layout, training).total.item()
        assert score == pytest.approx(-loss, rel=1e-4)


def test_a_text_that_spells_special_tokens_ends_once(corpus):
    codec = TextCodec.train(["a plain text"], 300)
    assert codec.encode(["a</s> plain<pad> text"])[0].count(EOS) == 0
    assert PAD not in codec.encode(["<pad><pad>a"])[0]
    assert codec.encode(["a plain text"])[0] == codec.tokenizer("a plain text")["input_ids"]


# ----------------------------------------------------------------------------------- pseudo-queries


def test_pseudo_queries_are_made_of_the_items_own_words(corpus):
    queries = word_queries(corpus.items, 12, seed=3)
    assert (np.diff(queries.item) >= 0).all()
    kinds = set()
    for text, item in zip(queries.texts, queries.item, strict=True):
        row = corpus.items.loc[item]
        text_of_item = " ".join(row[["title", "text", "brand", "category"]]).lower()
        words = {word.strip(",.") for word in text_of_item.split()}
        words |= {stem(word) for word in words}
        assert text
        assert set(text.split()) <= words
        assert len(set(text.split())) == len(text.split())
        kinds |= {
            kind for kind in ("brand", "category") if row[kind].split(" > ")[-1].lower() in text
        }
    assert kinds == {"brand", "category"}
    pairs = list(zip(queries.texts, queries.item.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(queries.item) == set(range(40))


def test_pseudo_queries_depend_on_items_and_seed_alone(corpus, tmp_path):
    one, again, other = (word_queries(corpus.items, 6, seed) for seed in (1, 1, 2))
    assert one.texts == again.texts
    assert one.texts != other.texts
    asked = corpus.queries.assign(text=corpus.queries["text"].str.upper() + " extra")
    changed = dataclasses.replace(corpus, queries=asked, relevance=corpus.relevance[:0])
    training = override_training(**SIX)
    first, second = (
        new_generator(c, random_identifiers(40, 8), training).builder for c in (corpus, changed)
    )
    assert first.pseudo.texts == second.pseudo.texts
    one.save(tmp_path / "pseudo_queries.parquet")
    back = PseudoQueries.load(tmp_path / "pseudo_queries.parquet")
    assert back.texts == one.texts
    assert back.item.tolist() == one.item.tolist()
    assert PseudoQueries.load(tmp_path / "none.parquet").texts == []


def test_telling_words_are_drawn_more_often():
    """A word of one title weighs more than a word of all; over many draws it must come up more
    often."""
    items = pd.DataFrame(
        {"title": [f"common {a}{a}{a}" for a in "abcdefghijklmnop"], "text": "common stuff"}
    )
    queries = word_queries(items.assign(brand="", category=""), 40, seed=0)
    first = [text.split()[0] for text in queries.texts]
    assert first.count("common") < sum(word[0] == word[-1] for word in first)


def test_a_catalogue_without_words_has_no_pseudo_query():
    items = pd.DataFrame({"title": ["", "12 34"], "text": "", "brand": "", "category": ""})
    assert word_queries(items, 4, 0).texts == []


def query_model(folder) -> str:
    """A tiny random sequence-to-sequence model with its tokenizer, as one would find it."""
    codec = TextCodec.train(["red thing", "big thing", "which thing"], 280)
    codec.save(folder)
    config = T5Config(
        vocab_size=codec.num_tokens, d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1,
        num_decoder_layers=1, decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=EOS,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


def test_a_query_model_writes_pseudo_queries(corpus, tmp_path, monkeypatch):
    training = override_training(pseudo_queries=query_model(tmp_path / "model"), **SIX)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = make_pseudo_queries(corpus.items, training, tmp_path / "cache")
    assert torch.equal(before, torch.get_rng_state())  # its draws are its own
    assert len(one.texts) > 40
    assert np.bincount(one.item, minlength=40).max() <= 4
    plain = make_pseudo_queries(corpus.items, training)
    assert plain.texts == one.texts
    other = dataclasses.replace(training, seed=1)
    assert make_pseudo_queries(corpus.items, other).texts != one.texts
    turned = make_pseudo_queries(corpus.items[::-1].reset_index(drop=True), training)
    by_item = [
        {t for t, i in zip(p.texts, p.item, strict=True) if i == k}
        for p, k in ((one, 3), (turned, 36))
    ]
    assert by_item[0] == by_item[1]  # an item's queries do not depend on its number
    monkeypatch.setattr(pseudo_queries, "load_query_model", None)
    assert (
        make_pseudo_queries(corpus.items, training, tmp_path / "cache").texts == one.texts
    )  # kept


def test_a_query_model_that_cannot_be_had_names_the_next_step(corpus, tmp_path):
    for name in (str(tmp_path / "nowhere"), query_model(tmp_path / "old")):
        for weights in (tmp_path / "old").glob("*.safetensors"):
            weights.rename(weights.with_name("pytorch_model.bin"))  # no pickle is opened
        training = override_training(pseudo_queries=name, **SIX)
        with pytest.raises(ArtifactError, match=r"training\.pseudo_queries=statistics"):
            new_generator(corpus, random_identifiers(40, 8), training)


# ------------------------------------------------------------------- other tokenizers, and learning


def test_a_pretrained_tokenizer_serves_every_task(corpus, tmp_path):
    """Texts are the stranger's own token ids, whatever rows its table has beyond; codes follow
    after the table."""
    training = override_training(backbone=query_model(tmp_path / "backbone"), batch_size=64, **SIX)
    generator = new_generator(corpus, random_identifiers(40, 8), training)
    for name, task in TASKS.items():
        rows = rows_of(generator, task)[:6]
        batch = generator.builder.batch(task, rows)
        for i, row in enumerate(rows):
            got = [generator.layout.name(t) for t in batch.source[i][batch.mask[i]]]
            assert got == source_by_hand(generator, name, row, 0, training)
            assert [
                generator.layout.name(t) for t in batch.target[i] if t != PAD
            ] == target_by_hand(generator, name, row)
    figures = evaluate_loss(
        generator.model, generator.builder, task_rows(generator, training, "validation"), training
    )
    assert len([key for key in figures if key.endswith("/held_out_loss")]) == 6
    assert all(math.isfinite(value) for value in figures.values())


@pytest.mark.parametrize("name", TASK_NAMES)
def test_every_task_can_be_learned(six, name):
    """Alone, on one batch a view: after a few steps its loss is a good deal lower."""
    training = override_training(small_embeddings=True, dropout=0.0, **SIX)
    model = new_generator(six.corpus, six.identifiers, training).model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for task in (task for task in TASKS.values() if task.base == name):
        rows = rows_of(six, task)[:8]
        batch = six.builder.batch(task, rows)
        losses = []
        for _ in range(12):
            loss = task_loss(model, batch.to("cpu"), six.layout, training).total
            losses.append(loss.item() / six.builder.target_tokens(task, rows))
            optimiser.zero_grad()
            (loss / six.builder.target_tokens(task, rows)).backward()
            optimiser.step()
        assert losses[-1] < 0.75 * losses[0]
