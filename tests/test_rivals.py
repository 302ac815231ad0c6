"""Rivals of the generative model, on logs whose answers are known by construction."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from helpers import small_corpus

from gensar_lite.artifacts import ArtifactError, Corpus, Workspace
from gensar_lite.config import ConfigError, DataConfig, TrainingConfig, override, preset
from gensar_lite.data import Tables, build_corpus
from gensar_lite.evaluation.baselines import Scorer
from gensar_lite.evaluation.counts import Past
from gensar_lite.evaluation.dense import Dense
from gensar_lite.evaluation.tuning import best_of
from gensar_lite.experiments.rivals import RIVALS, fit_rival
from gensar_lite.experiments.rivals.fit_unisar import event_tasks, new_unisar, train_unisar
from gensar_lite.experiments.rivals.item_events import item_builder
from gensar_lite.experiments.rivals.personal import Personal, fit_personal
from gensar_lite.experiments.rivals.towers import Towers, fit_towers, train_towers, tuned_vectors
from gensar_lite.experiments.rivals.unisar import UniSAR, UniSARRanker
from gensar_lite.pipeline import run_all
from gensar_lite.training.sequences.behaviours import behaviours
from gensar_lite.training.sequences.tasks import EVENTS
from gensar_lite.training.stage import train_codec

NUM_ITEMS, WIDTH = 20, 32


def settings_of(**changes) -> TrainingConfig:
    common = {"backbone": "tree", "tasks": ("nrip", "nsip"), "max_history": 9, "eval_sample": 100}
    steps = {"lr": 1e-2, "batch_size": 64, "epochs": 40, "eval_every": 5, "dropout": 0.1}
    return TrainingConfig(**(common | steps | changes))


def corpus_of(rows: list[tuple], titles: list[str], queries: list[str]) -> Corpus:
    """`rows`: (user, time, task, item, query or -1); items that users have met may come again."""
    names = ["user_id", "time", "task", "item_id", "query_id"]
    items = pd.DataFrame({"item_id": range(len(titles)), "title": titles})
    items = items.assign(text="", brand="", category="")
    asked = pd.DataFrame({"query_id": range(len(queries)), "text": queries})
    relevance = pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=int)
    tables = Tables(items, asked, pd.DataFrame(rows, columns=names), relevance, {})
    return dataclasses.replace(build_corpus(tables, DataConfig())[0], exclude_seen=False)


def walks(num_users: int = 150, seed: int = 0) -> Corpus:
    """Users buy item i, then i + 1, and so on; before, after or while they buy, they search for
    some other item by its name. So a purchase follows from the last purchase alone, a search's
    answer from the query alone."""
    rng, rows = np.random.default_rng(seed), []
    for user in range(num_users):
        item, num_steps = rng.integers(NUM_ITEMS), rng.integers(4, 9)
        for step in range(num_steps):
            # validation and test are both at once
            what = 2 if step in (0, num_steps - 2, num_steps - 1) else rng.integers(3)
            if what != 1:
                rows.append((user, step, "recommend", item, -1))
                item = (item + 1) % NUM_ITEMS
            if what != 0:
                other = rng.integers(NUM_ITEMS)
                rows.append((user, step, "search", other, other))
    names = [f"nameof{i}" for i in range(NUM_ITEMS)]
    return corpus_of(rows, names, names)


class Learned(NamedTuple):
    corpus: Corpus
    ranker: UniSARRanker
    curve: list[dict]


@pytest.fixture(scope="module")
def learned() -> Learned:
    corpus = walks(num_users=300)
    start = np.random.default_rng(0).normal(size=(NUM_ITEMS, WIDTH)).astype(np.float32)
    return Learned(corpus, *train_unisar(corpus, start, settings_of()))


# ----------------------------------------------------------------------------------------- unisar


def test_behaviours_by_hand():
    rows = [(0, 0, "recommend", 5), (0, 0, "search", 5), (0, 0, "search", 6)]
    rows += [(0, 1, "search", 5), (0, 1, "search", 5), (1, 1, "search", 5), (1, 1, "recommend", 6)]
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id"])
    assert behaviours(events).tolist() == [2, 2, 1, 1, 1, 1, 0]


def test_histories_are_marked_and_targets_are_not():
    corpus = small_corpus(num_items=9, twin_rate=0.5)
    settings = settings_of()
    builder = item_builder(corpus, train_codec(corpus, settings), settings)
    mark, item = behaviours(corpus.events), corpus.events["item_id"].to_numpy()
    assert set(mark) == {0, 1, 2}
    table, asked = builder.train
    assert table.max() >= 18, "a purchase with a twin is read as item + 2 N"
    assert asked.target.max() < 9
    user, time = corpus.events["user_id"].to_numpy(), corpus.events["time"].to_numpy()
    for row in range(len(item)):
        before = np.flatnonzero((user == user[row]) & (time < time[row]))
        wanted = dict.fromkeys((time[e], item[e] + 9 * mark[e]) for e in before)
        got = builder.histories(np.array([row])).flat.tolist()
        assert got == [marked for _, marked in wanted]


def best_items(scorer: Scorer, targets: pd.DataFrame) -> np.ndarray:
    return scorer.scores(targets).argmax(axis=1)


def test_unisar_learns_a_planted_order_and_names(learned):
    corpus, ranker, curve = learned
    for task in ("recommend", "search"):
        targets = corpus.targets("test", task)
        right = best_items(ranker, targets) == targets["item_id"].to_numpy()
        assert len(targets) == 300
        # a test history is longer than all that training has read
        assert right.mean() > 0.8, task
    assert max(row["score"] for row in curve) > 0.9


def test_one_history_is_answered_by_the_head_of_its_task(learned):
    corpus, ranker, _ = learned
    targets = corpus.targets("test").sort_values(["user_id", "task"])
    table = ranker.scores(targets)  # both tasks in one call
    assert table.shape == (600, NUM_ITEMS)
    purchases, searches = (targets["task"] == task for task in ("recommend", "search"))
    assert (targets[purchases]["time"].to_numpy() == targets[searches]["time"].to_numpy()).all()
    # what is asked beside a purchase does not change its scores, and order changes nothing
    for part in (purchases, searches):
        np.testing.assert_allclose(ranker.scores(targets[part]), table[part], atol=1e-4)
    differs = table[purchases].argmax(axis=1) != table[searches].argmax(axis=1)
    assert differs.mean() > 0.8


def without_future(corpus: Corpus, event: int) -> tuple[Corpus, pd.DataFrame]:
    """The log as it stood before an event, but for the event itself, which took another item; and
    the event's row there."""
    events = corpus.events
    user, time, task = (events[name][event] for name in ("user_id", "time", "task"))
    own = events["user_id"] == user
    gone = own & (events["time"] > time) | own & (events["time"] == time) & (events["task"] != task)
    kept = events[~gone].copy()
    kept.loc[event, "item_id"] = (kept.loc[event, "item_id"] + 7) % corpus.num_items
    place = int((~gone).to_numpy()[:event].sum())
    kept = kept.reset_index(drop=True).assign(event_id=np.arange(len(kept)))
    return dataclasses.replace(corpus, events=kept), kept.iloc[[place]]


def test_what_comes_later_changes_no_score(learned):
    corpus, ranker, _ = learned
    dense = Dense(*random_vectors(NUM_ITEMS, 2), np.arange(NUM_ITEMS))
    personal = Personal(dense, Past(corpus), 0.5, 0.7)
    rows = np.r_[5:12, len(corpus.events) - 12 : len(corpus.events)]
    moved = []
    for event in rows.tolist():
        cut, target = without_future(corpus, event)
        builder = item_builder(cut, ranker.builder.codec, ranker.builder.settings)
        pairs = [(ranker, UniSARRanker(ranker.model, builder))]
        if target["task"].iloc[0] == "search":
            pairs.append((personal, dataclasses.replace(personal, past=Past(cut))))
        for whole, part in pairs:
            wanted = whole.scores(corpus.events.iloc[[event]])
            np.testing.assert_allclose(part.scores(target), wanted, atol=1e-5)
        moved.append(len(cut.events) < len(corpus.events))
    assert sum(moved) > 10


def test_the_loss_is_torchs_cross_entropy_with_its_gradient():
    corpus, settings = small_corpus(twin_rate=0.5), settings_of(task_weights=(3.0, 0.5))
    model = random_unisar(corpus, settings)
    builder = item_builder(corpus, train_codec(corpus, settings), settings)
    batch = builder.batch(EVENTS, builder.windows).to("cpu")
    assert set(batch.weight.tolist()) == {3.0, 0.5}
    losses = F.cross_entropy(
        model.scores(model.contexts(batch)), torch.from_numpy(batch.target), reduction="none"
    )
    wanted = (losses * batch.weight).sum() / batch.weight.sum()
    names, learned_ones = zip(*model.named_parameters(), strict=True)
    got = model.loss(batch)
    torch.testing.assert_close(got, wanted)
    gradients = (torch.autograd.grad(x, learned_ones) for x in (got, wanted))
    for name, one, other in zip(names, *gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3, msg=name)


def random_unisar(corpus: Corpus, settings: TrainingConfig) -> UniSAR:
    torch.manual_seed(0)
    start = np.random.default_rng(0).normal(size=(corpus.num_items, 8))
    model = new_unisar(corpus, train_codec(corpus, settings), start, settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def test_an_item_is_its_vector_and_its_words():
    corpus, settings = small_corpus(), settings_of()
    model, codec = random_unisar(corpus, settings), train_codec(corpus, settings)
    (words,) = codec.encode([corpus.items["title"][3]])
    # "thing" and "number" (a word of one sign is none) stand in all 40 titles
    idf = np.log(41 / (np.array([40, 40]) + 0.5))
    assert len(words) == 2
    bag = (idf / np.linalg.norm(idf)) @ model.words.weight[words].detach().numpy()
    wanted = model.items.weight[3] + model.word_scale * torch.tensor(bag, dtype=torch.float32)
    torch.testing.assert_close(model.vectors()[3], wanted, atol=1e-4, rtol=1e-4)
    for behaviour in range(3):
        met = model.item_table()[3 + behaviour * corpus.num_items]
        torch.testing.assert_close(met, wanted + model.behaviours.weight[behaviour])


def test_unisar_learns_what_there_is():
    corpus = small_corpus()
    events = corpus.events[corpus.events["task"] == "recommend"].reset_index(drop=True)
    events["event_id"] = np.arange(len(events))
    only = dataclasses.replace(corpus, events=events)
    tasks = ("nrip", "desc2id", "nsip")
    kept = event_tasks(only, settings_of(backbone="t5-micro", tasks=tasks, task_weights=(2, 3, 4)))
    assert (kept.tasks, kept.task_weights, kept.backbone) == (("nrip",), (2,), "tree")
    with pytest.raises(ConfigError, match=r"training\.tasks: unisar learns from events\. Add nrip"):
        event_tasks(only, settings_of(tasks=("desc2id",), task_weights=(1,)))
    # nothing to judge by: the last epoch stands
    unjudged = events.assign(split=events["split"].replace("validation", "test"))
    silent = dataclasses.replace(only, events=unjudged)
    start = np.ones((40, 8), dtype=np.float32)
    changes = {"epochs": 7, "eval_every": 1, "tasks": ("nrip",), "task_weights": (1.0,)}
    _, curve = train_unisar(silent, start, settings_of(**changes))
    assert [row["score"] for row in curve] == [1, 2, 3, 4, 5, 6, 7]


# ------------------------------------------------------------------------------------------ dense


def random_vectors(num_rows: int, tables: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(tables, num_rows, 12)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=2, keepdims=True)


def test_towers_begin_as_the_frozen_encoder():
    items, queries = random_vectors(30, 2)
    queries[4] = 0  # no known word: it stays without an answer
    targets = pd.DataFrame({"query_id": [3, 4, 7]})
    torch.manual_seed(0)
    tuned = tuned_vectors(Towers(12), torch.from_numpy(items), torch.from_numpy(queries))
    frozen = Dense(items, queries, np.arange(30)).scores(targets)
    np.testing.assert_allclose(tuned.scores(targets), frozen, atol=1e-5)
    assert np.isneginf(frozen[1]).all()


def test_towers_learn_words_that_say_nothing_to_the_encoder():
    corpus, (items, queries) = walks(), random_vectors(NUM_ITEMS, 2)
    targets = corpus.targets("test", "search")
    answer = targets["item_id"].to_numpy()
    frozen = best_items(Dense(items, queries, np.arange(NUM_ITEMS)), targets)
    assert (frozen == answer).mean() < 0.3
    tuned = fit_towers(corpus, items, queries)
    assert (best_items(tuned.scorer, targets) == answer).mean() > 0.8
    assert {"choices": 3, "targets": 150}.items() <= tuned.record.items()
    # and what the encoder knows already is not unlearned
    named = fit_towers(corpus, items, items)
    assert (best_items(named.scorer, targets) == answer).all()


def test_towers_need_searches():
    corpus = walks()
    events = corpus.events[corpus.events["task"] == "recommend"].reset_index(drop=True)
    events["event_id"] = np.arange(len(events))
    texts = torch.ones(NUM_ITEMS, 3), torch.ones(NUM_ITEMS, 3)
    with pytest.raises(ArtifactError, match=r"no train search.*leave this rival out"):
        train_towers(dataclasses.replace(corpus, events=events), *texts, 0.1, 0)


def test_personal_scores_by_loops():
    corpus, (items, queries) = walks(num_users=6), random_vectors(NUM_ITEMS, 2)
    dense = Dense(items, queries, np.arange(NUM_ITEMS))
    targets = corpus.events[corpus.events["task"] == "search"]
    got = Personal(dense, Past(corpus), 0.3, 0.8).scores(targets)
    names = ("user_id", "time", "item_id")
    user, time, item = (corpus.events[name].to_numpy() for name in names)
    for row, target in enumerate(targets.itertuples()):
        last = {}  # item -> the time it was met last; a time is a step
        for event in np.flatnonzero((user == target.user_id) & (time < target.time)):
            last[item[event]] = time[event]
        wanted = items @ queries[target.query_id]  # alone at a user's first step
        if last:
            taste = sum(0.8 ** (target.time - when - 1) * items[i] for i, when in last.items())
            wanted = wanted + 0.3 * (items @ taste) / np.linalg.norm(taste)
        np.testing.assert_allclose(got[row], wanted, atol=1e-5)


def test_personal_knows_a_colour_that_no_query_says():
    # ten things in two colours each, even items red, odd ones blue: a user takes one colour alone
    rng, rows = np.random.default_rng(0), []
    for user in range(60):
        colour = user % 2
        for time, thing in enumerate(rng.permutation(10)[:6]):
            rows.append((user, time, "search", 2 * thing + colour, thing))
    corpus = corpus_of(rows, ["thing"] * 20, ["thing"] * 10)
    things, colours = np.repeat(np.eye(10), 2, axis=0), np.tile(np.eye(2), (10, 1))
    items = np.hstack([things, colours]).astype(np.float32) / np.sqrt(np.float32(2))
    queries = np.hstack([np.eye(10), np.zeros((10, 2))]).astype(np.float32)
    tuned = fit_personal(corpus, items, queries)
    assert tuned.record["weight"] > 0
    assert tuned.record["validation_ndcg@10"] == 1
    targets = corpus.targets("test", "search")
    assert (best_items(tuned.scorer, targets) == targets["item_id"].to_numpy()).all()


def test_the_first_of_the_best_is_chosen():
    corpus = walks(num_users=5)
    targets = corpus.targets("validation", "search")

    class Fixed(NamedTuple):
        values: np.ndarray

        def scores(self, part):
            return np.tile(self.values, (len(part), 1)).astype(np.float32)

    answer = int(targets["item_id"].mode()[0])
    bad, good = np.zeros(NUM_ITEMS), np.eye(NUM_ITEMS)[answer]
    choices = [({"a": i}, Fixed(v)) for i, v in enumerate((bad, good, good))]
    chosen = best_of(corpus, "search", choices)
    assert (chosen.record["a"], chosen.record["choices"]) == (1, 3)
    empty = dataclasses.replace(corpus, events=corpus.events.assign(split="train"))
    assert best_of(empty, "search", choices).record["a"] == 0


# -------------------------------------------------------------------------------------- on a run


@pytest.fixture(scope="module")
def ws(tmp_path_factory) -> Workspace:
    changes = {"embeddings.encoder": "lsa", "embeddings.joint": "none", "training.epochs": 2}
    ws = Workspace.open(override(preset("tiny"), changes), tmp_path_factory.mktemp("rivals"))
    run_all(ws, until="embeddings")
    return ws


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_is_a_function_of_run_and_seed(name, ws):
    before = sorted(ws.root.rglob("*"))
    scorers = [fit_rival(name, ws, seed) for seed in (0, 0, 1)]
    assert sorted(ws.root.rglob("*")) == before, "nothing is left on disk"
    corpus = Corpus.load(ws.require("data"))
    tasks = ("recommend", "search") if name == "unisar" else ("search",)
    for task in tasks:
        targets = corpus.targets("test", task)
        first, again, other = (scorer.scores(targets) for scorer in scorers)
        assert first.dtype == np.float32
        assert first.shape == (len(targets), corpus.num_items)
        assert not np.isnan(first).any()
        # a query without a word of the catalogue has no answer by text
        assert np.isfinite(first).any(axis=1).mean() > 0.5
        np.testing.assert_array_equal(first, again)
        assert (first == other).all() == (name == "dense-personal"), "it alone draws nothing"


def test_an_unknown_rival_is_refused(ws):
    with pytest.raises(ConfigError, match="unisar"):
        fit_rival("unisra", ws)
