"""Tasks against other ways of knowing: python lists, renderings by hand, token name by token name."""

import numpy as np
import pytest
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.artifacts import Corpus
from gensar_lite.config import TrainingConfig
from gensar_lite.training import PROMPTS, TASK_OF_EVENTS, TASKS, SequenceBuilder, new_generator
from gensar_lite.training.mixture import TaskMixture
from gensar_lite.training.ragged import Ragged, hstack, pad
from gensar_lite.training.stage import new_mixture
from gensar_lite.training.text import EOS, PAD

SMALL = TrainingConfig(num_text_tokens=400, batch_size=8, epochs=3)
ROWS = st.lists(st.lists(st.integers(0, 50), max_size=5), max_size=8)


def override_training(**changes) -> TrainingConfig:
    return TrainingConfig(**({"num_text_tokens": 400, "batch_size": 8, "epochs": 3} | changes))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return small_corpus(num_users=30, twin_rate=0.6)


@pytest.fixture(scope="module")
def builder(corpus) -> SequenceBuilder:
    return new_generator(corpus, random_identifiers(40, 8), SMALL).builder


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
    wanted = [[x for g, row in zip(group, rows, strict=True) if g == i for x in row] for i in range(5)]
    assert lists(ragged.merge(group.astype(np.int64), 5)) == wanted
    table = pad(ragged, -1)
    assert table.shape == (len(rows), max([1, *map(len, rows)]) if not any(rows) else max(map(len, rows)))
    assert [[x for x in line if x >= 0] for line in table.tolist()] == rows


@given(st.integers(0, 6), st.integers(1, 4), st.data())
@settings(max_examples=60, deadline=None)
def test_hstack_joins_row_by_row(num_rows, num_parts, data):
    one = st.lists(st.lists(st.integers(0, 50), max_size=4), min_size=num_rows, max_size=num_rows)
    parts = [data.draw(one) for _ in range(num_parts)]
    wanted = [[x for part in parts for x in part[i]] for i in range(num_rows)]
    assert lists(hstack([Ragged.of(part) for part in parts])) == wanted


# ------------------------------------------------------------------------------- sources and targets


def history_by_hand(corpus: Corpus, row: int, limit: int) -> list[int]:
    """Event rows of the last `limit` recommendations and searches strictly before an event, in time order."""
    event = corpus.events.iloc[row]
    mine = [e for e in corpus.events.itertuples() if e.user_id == event["user_id"] and e.time < event["time"]]
    kinds = [[e.event_id for e in mine if e.task == kind][-limit:] for kind in ("recommend", "search")]
    return sorted(kinds[0] + kinds[1])


def source_by_hand(corpus: Corpus, ids, codec, row: int, prompt: str, limit: int, queries: bool) -> list:
    """The names of the tokens of one source, spelled out event by event; `queries`: past searches tell theirs."""
    text = lambda words: [f"text:{t}" for t in codec.encode([words])[0]]  # noqa: E731
    event = corpus.events.iloc[row]
    said = text(prompt)
    for other in (corpus.events.iloc[r] for r in history_by_hand(corpus, row, limit)):
        first, second, third = ids.view(other["task"])[other["item_id"]]
        if other["task"] == "search":
            said += ["<S_Q>", *text(corpus.queries["text"][other["query_id"]])] if queries else []
            said += ["<S_I>", f"shared1:{first}", f"sem2:{second}", f"sem3:{third}"]
        else:
            said += ["<R_I>", f"shared1:{first}", f"col2:{second}", f"col3:{third}"]
    if event["task"] == "search":
        said += ["<S_Q>", *text(corpus.queries["text"][event["query_id"]])]
    return [*said, f"text:{EOS}"]


@pytest.mark.parametrize(("limit", "queries"), [(5, True), (2, True), (3, False)])
def test_sources_equal_a_rendering_by_hand(corpus, limit, queries):
    training = TrainingConfig(
        num_text_tokens=400, max_recommend=limit, max_search=limit, history_queries=queries
    )  # fmt: skip
    generator = new_generator(corpus, random_identifiers(40, 8), training)
    builder, layout = generator.builder, generator.layout
    long = 0
    for task in TASK_OF_EVENTS.values():
        rows = corpus.events.index[corpus.events["task"] == task.events].to_numpy()
        prompt = np.arange(len(rows)) % 10
        batch = builder.batch(task, rows, prompt)
        assert builder.lengths(task, rows, chunk=7).tolist() == builder.sources(task, rows).lengths.tolist()
        for i, row in enumerate(rows):
            wanted = source_by_hand(
                corpus, generator.identifiers, generator.codec, row, PROMPTS[task.name][prompt[i]], limit, queries
            )
            got = batch.source[i][batch.mask[i]]
            assert [layout.name(t) for t in got] == wanted
            assert (batch.source[i][~batch.mask[i]] == PAD).all()
            long += len(history_by_hand(corpus, row, 99)) > len(history_by_hand(corpus, row, limit))
    assert long > 0  # the limit was at work


def test_no_target_and_no_twin_stands_in_its_own_source(corpus, builder):
    events, twins = corpus.events, 0
    for row in range(len(events)):
        _, window = builder.window(np.array([row]))
        event, seen = events.iloc[row], events.iloc[window]
        assert (seen["time"] < event["time"]).all()
        assert (seen["user_id"] == event["user_id"]).all()
        assert event["item_id"] not in set(seen["item_id"])  # no user meets an item at two times here
        same = (events["user_id"] == event["user_id"]) & (events["time"] == event["time"])
        twins += same.sum() == 2
    assert twins > 20


def test_targets_are_behaviour_token_and_the_tasks_own_view(corpus, builder):
    ids, layout = random_identifiers(40, 8), builder.layout
    for task, behaviour, names in (
        (TASKS["nrip"], "<R_I>", ("shared1", "col2", "col3")),
        (TASKS["nsip"], "<S_I>", ("shared1", "sem2", "sem3")),
    ):
        rows = corpus.events.index[corpus.events["task"] == task.events].to_numpy()
        codes = ids.view(task.events)[corpus.events["item_id"].to_numpy()[rows]]
        for got, own in zip(builder.targets(task, rows), codes, strict=True):
            wanted = [behaviour, *(f"{n}:{c}" for n, c in zip(names, own, strict=True))]
            assert [layout.name(t) for t in got] == wanted


def test_without_prompts_a_source_starts_with_the_history(corpus):
    generator = new_generator(corpus, random_identifiers(40, 8), override_training(prompts=False))
    rows = corpus.targets("test", "recommend")["event_id"].to_numpy()
    first = generator.builder.batch(TASKS["nrip"], rows).source[:, 0]
    assert set(first) <= {generator.layout.recommend_item, generator.layout.search_query}


def test_a_query_is_cut(corpus):
    generator = new_generator(corpus, random_identifiers(40, 8), override_training(max_query_tokens=1))
    assert set(generator.builder.queries.lengths) == {2}  # <S_Q> and one token


def test_nrip_leaves_out_events_without_a_history(corpus):
    generator = new_generator(corpus, random_identifiers(40, 8), SMALL)
    mixture = new_mixture(generator, SMALL)
    train = corpus.events[corpus.events["split"] == "train"]
    first = train.groupby("user_id")["time"].transform("min") == train["time"]
    assert set(mixture.rows["nrip"]) == set(train.index[(train["task"] == "recommend") & ~first])
    assert set(mixture.rows["nsip"]) == set(train.index[train["task"] == "search"])


# ---------------------------------------------------------------------------------------- the mixture


def mixture_of(weights: dict[str, float], seed: int = 0, batch_size: int = 8) -> TaskMixture:
    rng = np.random.default_rng(5)
    rows = {"nrip": np.arange(100, 173), "nsip": np.arange(500, 541)}
    return TaskMixture(rows, {t: rng.integers(5, 60, len(r)) for t, r in rows.items()}, weights, batch_size, 10, seed)


def test_mixture_is_a_function_of_seed_and_epoch():
    def told(mixture, epoch):
        return [(p.task, p.rows.tolist(), p.prompt.tolist()) for p in mixture.epoch(epoch)]

    one, again = mixture_of({"nrip": 1.0, "nsip": 1.0}), mixture_of({"nrip": 1.0, "nsip": 1.0})
    later = told(one, 7)
    assert told(one, 3) == told(again, 3)  # whatever was asked before
    assert later != told(one, 3)
    assert told(mixture_of({"nrip": 1.0, "nsip": 1.0}, seed=1), 3) != told(one, 3)


@given(st.floats(0.1, 3.0), st.integers(1, 90), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_mixture_draws_by_weight(weight, batch_size, epoch):
    mixture = mixture_of({"nrip": 1.0, "nsip": weight}, batch_size=batch_size)
    plans = mixture.epoch(epoch)
    assert len(plans) == mixture.num_batches
    drawn = {t: np.concatenate([p.rows for p in plans if p.task == t] or [np.zeros(0, int)]) for t in mixture.rows}
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
    spread = [np.ptp(mixture.lengths["nrip"][p.rows - 100]) for p in mixture.epoch(1) if p.task == "nrip"]
    assert max(spread) < np.ptp(mixture.lengths["nrip"]) / 2
