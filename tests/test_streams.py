"""Streams against other ways of knowing: one event at a time, token by token, a corpus that can be
learned."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loop import circle

from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.decoding import Decoder
from gensar_lite.training import TASK_OF_EVENTS, TASKS, new_generator
from gensar_lite.training.backbones import forward, hidden_states
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.loop.losses import task_loss
from gensar_lite.training.sequences.mixture import StreamMixture
from gensar_lite.training.sequences.tasks import PLANNED, STREAM
from gensar_lite.training.stage import new_mixture
from gensar_lite.training.text import EOS, PAD

ALL = ("nrip", "nsip", "nsqp")


def stream_settings(**changes) -> TrainingConfig:
    plain = {
        "num_text_tokens": 400,
        "backbone": "gpt-micro",
        "stream": True,
        "dropout": 0.0,
        "batch_tokens": 600,
    }
    return TrainingConfig(**(plain | changes))


def loud(generator):
    """A random model with opinions: what is wrongly seen makes a difference."""
    with torch.no_grad():
        for p in generator.model.parameters():
            p.mul_(3)
    generator.model.eval()
    return generator


def stream_of(seed: int = 0, twin_rate: float = 0.6, **changes):
    corpus = small_corpus(num_users=5, seed=seed, twin_rate=twin_rate)
    return loud(new_generator(corpus, random_identifiers(40, 8), stream_settings(**changes)))


def events_of(builder, piece: int) -> np.ndarray:
    start, _, end = builder.pieces[piece]
    return np.arange(start, end)


# ----------------------------------------------------------------------------------- what sees what


@given(st.integers(0, 200), st.booleans())
@settings(max_examples=6, deadline=None)
def test_an_event_in_a_stream_has_the_states_of_its_own_history(seed, queries):
    """Every state of every event, with twins about: from one pass over the stream, and from its own
    sequence."""
    generator = stream_of(seed, history_queries=queries)
    builder, model = generator.builder, generator.model
    batch = builder.stream(np.arange(len(builder.pieces))).to("cpu")
    twins = 0
    with torch.no_grad():
        whole = forward(model, batch.source, batch.mask)
        for piece in range(len(builder.pieces)):
            begin = 0
            for row in events_of(builder, piece):
                size = builder.tokens.lengths[row]
                task = TASK_OF_EVENTS["search" if builder.is_search[row] else "recommend"]
                alone = builder.batch(task, np.array([row])).to("cpu")
                alone_states = hidden_states(model, *alone[1:4])[
                    0
                ]  # (L, d), after the behaviour token
                got = whole[piece, begin + size - 1 - len(alone_states) : begin + size - 1]
                torch.testing.assert_close(got, alone_states, atol=2e-4, rtol=1e-4)
                assert (
                    batch.source[piece, begin : begin + size].tolist()
                    == builder.tokens[row].tolist()
                )
                begin += size
                twins += builder.end[row] < row
    assert twins > 0  # of five users some have one


@pytest.mark.parametrize("queries", [True, False])
def test_the_mask_by_hand(queries):
    generator = stream_of(history_queries=queries)
    builder, layout = generator.builder, generator.layout
    time = generator.corpus.events["time"].to_numpy()
    sees = builder.stream(np.arange(len(builder.pieces))).mask
    for piece in range(len(builder.pieces)):
        tokens = [
            (row, token) for row in events_of(builder, piece) for token in builder.tokens[row]
        ]
        asked, during = [], False
        for _, token in tokens:
            during = token == layout.search_query or (during and token < layout.num_text)
            asked.append(during)
        wanted = np.zeros(sees.shape[1:], dtype=bool)
        for i, (event, _) in enumerate(tokens):
            for j, (other, _) in enumerate(tokens):
                earlier = time[other] < time[event] and (queries or not asked[j])
                wanted[i, j] = earlier or (event == other and j <= i)
        assert np.array_equal(sees[piece], wanted)


def test_nothing_of_an_event_reaches_its_twin():
    generator = stream_of(seed=3)
    builder, model = generator.builder, generator.model
    row = next(r for r in range(1, len(builder.item)) if builder.end[r] < r and builder.is_train[r])
    piece = next(i for i, (start, _, end) in enumerate(builder.pieces) if start <= row < end)
    batch = builder.stream(np.array([piece])).to("cpu")
    edge = (
        builder.tokens.offsets[[row - 1, row, row + 1]]
        - builder.tokens.offsets[builder.pieces[piece][0]]
    )
    with torch.no_grad():
        before = forward(model, batch.source, batch.mask)[0]
        batch.source[0, edge[0] : edge[1]] = 7  # the purchase is another one
        after = forward(model, batch.source, batch.mask)[0]
    same = (before == after).all(dim=-1)
    assert not same[edge[0] : edge[1]].any()
    assert same[edge[1] : edge[2]].all()  # the twin does not notice
    assert same[: edge[0]].all()


def test_a_source_holds_strictly_earlier_events_and_its_own_query():
    generator = stream_of()
    builder, events = generator.builder, generator.corpus.events
    for name in ALL:
        task = TASKS[name]
        for row in events.index[events["task"] == task.events]:
            mine = events[
                (events["user_id"] == events["user_id"][row])
                & (events["time"] < events["time"][row])
            ]
            wanted = [t for other in mine.index for t in builder.tokens[other]]
            wanted += builder.queries[builder.query[row]].tolist() if name == "nsip" else []
            assert builder.sources(task, np.array([row]))[0].tolist() == wanted


# ----------------------------------------------------------------------------------------- the loss


@pytest.mark.parametrize(
    ("head", "smoothing"), [("level", 0.0), ("level", 0.1), ("vocabulary", 0.0)]
)
def test_the_loss_of_a_stream_is_the_weighted_sum_over_its_events(head, smoothing):
    weights = {"nrip": 0.5, "nsip": 2.0, "nsqp": 1.5}
    generator = stream_of(
        head=head, label_smoothing=smoothing, tasks=ALL, task_weights=tuple(weights.values())
    )
    builder, training = generator.builder, generator.builder.settings
    total, tokens, hits, count = 0.0, 0.0, np.zeros(3), 0.0
    train = generator.corpus.events.index[generator.corpus.events["split"] == "train"].to_numpy()
    with torch.no_grad():
        for row in train:
            for name, weight in weights.items():
                task = TASKS[name]
                known = builder.end[row] > builder.start[row]
                if (task.events == "search") != builder.is_search[row] or (
                    name != "nsip" and not known
                ):
                    continue
                alone = builder.batch(task, np.array([row]))
                event_loss = task_loss(generator.model, alone.to("cpu"), generator.layout, training)
                assert event_loss.tokens == builder.target_tokens(task, np.array([row]))
                total, tokens = (
                    total + weight * event_loss.total,
                    tokens + weight * event_loss.tokens,
                )
                if task.writes == "codes":
                    hits, count = hits + weight * event_loss.hits.numpy(), count + weight
        batch = builder.stream(np.arange(len(builder.pieces))).to("cpu")
        stream_loss = task_loss(generator.model, batch, generator.layout, training)
    assert stream_loss.total.item() == pytest.approx(total.item(), rel=1e-4)
    assert stream_loss.tokens.item() == pytest.approx(tokens.item())
    assert stream_loss.hits.tolist() == pytest.approx(hits.tolist())
    assert stream_loss.count.item() == pytest.approx(count)


def test_what_a_stream_foretells_by_hand():
    generator = stream_of(tasks=ALL, task_weights=(1.0, 1.0, 1.0))
    builder = generator.builder
    batch = builder.stream(np.arange(len(builder.pieces)))
    for piece in range(len(builder.pieces)):
        wanted = []
        for row in events_of(builder, piece):
            known, tokens = builder.end[row] > builder.start[row], builder.tokens[row].tolist()
            asked = len(tokens) - 4
            text = [*tokens[1:asked], EOS] if known else [PAD] * asked
            codes = tokens[-3:] if known or builder.is_search[row] else [PAD] * 3
            wanted += [*(text if asked else []), *codes, PAD]
        size = len(wanted)
        assert batch.target[piece, :size].tolist() == wanted
        assert np.array_equal(batch.weight[piece] > 0, batch.target[piece] != PAD)
        assert (batch.target[piece, size:] == PAD).all()


# --------------------------------------------------------------------------------- rows and batches


@pytest.mark.parametrize("limit", [512, 40, 20])
def test_every_train_event_is_learned_once_and_no_row_is_too_long(limit):
    builder = stream_of(max_stream_tokens=limit).builder
    learned = np.zeros(len(builder.item), dtype=int)
    for start, first, end in builder.pieces:
        learned[first:end] += 1
        assert builder.start[start] == builder.start[end - 1]  # one user
        assert builder.tokens.offsets[end] - builder.tokens.offsets[start] <= limit
        assert first == builder.start[first] or start < first  # a later piece reads something again
    assert learned.max() == 1
    expected = builder.is_train & (builder.is_search | (builder.end > builder.start))
    assert (learned[expected] == 1).all()
    for task in TASK_OF_EVENTS.values():
        rows = np.flatnonzero(builder.is_search == (task.events == "search"))
        assert (builder.sources(task, rows).lengths + 4 <= limit).all()
    assert (len(builder.pieces) > 5) == (limit < 512)


def test_each_token_of_a_piece_counts_where_its_event_is_learned():
    builder = stream_of(max_stream_tokens=30).builder
    batch = builder.stream(np.arange(len(builder.pieces)))
    for piece, (start, first, end) in enumerate(builder.pieces):
        again = builder.tokens.offsets[first] - builder.tokens.offsets[start]
        assert not batch.weight[piece, :again].any()
        whole = builder.wanted[1][builder.tokens.offsets[first] : builder.tokens.offsets[end]]
        assert np.array_equal(batch.weight[piece, again : again + len(whole)], whole)


def test_batches_of_streams_keep_to_their_tokens_and_to_their_number():
    lengths = np.random.default_rng(0).integers(5, 200, 300)
    rest = new_mixture(stream_of(), stream_settings()).rest
    assert rest.num_batches == 0
    mixture, orders = StreamMixture(rest, lengths, 1000, seed=1), []
    for epoch in (1, 2, 1):
        plans = mixture.epoch(epoch)
        assert len(plans) == mixture.num_batches
        rows = np.concatenate([p.rows for p in plans])
        assert sorted(rows) == list(range(300))
        assert all(len(p.rows) * lengths[p.rows].max() <= 1000 for p in plans)
        orders.append(rows.tolist())
    assert orders[0] == orders[2] != orders[1]


def test_tasks_on_items_stay_examples_beside_streams():
    changes = {
        "tasks": ("nrip", "nsip", "desc2id"),
        "task_weights": (1.0, 1.0, 1.0),
        "batch_size": 8,
    }
    training = stream_settings(**changes)
    generator = new_generator(small_corpus(), random_identifiers(40, 8), training)
    mixture = new_mixture(generator, training)
    assert set(mixture.rows) == {"desc2id/semantic", "desc2id/collaborative", STREAM.name}
    curve = Trainer(
        generator.model, generator.builder, mixture, dataclasses.replace(training, epochs=2)
    ).fit()
    assert {"desc2id/loss", "stream/loss", "stream/accuracy@3"} <= set(curve[-1])
    assert curve[-1]["stream/loss"] < curve[0]["stream/loss"]


def test_what_can_be_learned_is_learned_from_streams():
    training = stream_settings(epochs=30, lr=5e-3, prompts=False)
    generator = new_generator(circle(), random_identifiers(12, 8), training)
    curve = Trainer(
        generator.model, generator.builder, new_mixture(generator, training), training
    ).fit()
    assert curve[-1]["stream/loss"] < 0.3 * curve[0]["stream/loss"]
    decoder = Decoder.of(generator, training)
    for task in ("recommend", "search"):
        targets = generator.corpus.targets("test", task)
        items = decoder.search(task, targets["event_id"].to_numpy(), 3)[0]
        assert (items[:, 0] == targets["item_id"].to_numpy()).mean() > 0.8


def test_a_stream_needs_a_decoder_only_model():
    with pytest.raises(ConfigError, match="decoder-only"):
        new_generator(
            small_corpus(), random_identifiers(40, 8), stream_settings(backbone="t5-micro")
        )


def test_planned_tokens_are_those_that_the_loss_counts():
    """The loop divides by what plans promise, before any batch is built: streams and items
    alike."""
    tasks = {
        "tasks": (*ALL, "id2desc"),
        "task_weights": (1.0, 0.5, 0.2, 1.0),
        "max_stream_tokens": 30,
    }
    generator, training = stream_of(**tasks), stream_settings(**tasks)
    mixture = new_mixture(generator, training)
    for plan in mixture.epoch(1):
        task, builder = PLANNED[plan.task], generator.builder
        batch = builder.batch(task, plan.rows, plan.prompt).to("cpu")
        loss = task_loss(generator.model, batch, generator.layout, training)
        assert builder.target_tokens(task, plan.rows) == pytest.approx(loss.tokens.item(), rel=1e-5)
