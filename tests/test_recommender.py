"""Asking a trained run: ad-hoc sources against the corpus's own, answers against the decoding
stage, all refusals."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite import __main__ as cli
from gensar_lite.artifacts import INPUTS, ArtifactError, Workspace, open_run
from gensar_lite.artifacts.opening import recorded_config
from gensar_lite.config import (
    ConfigError,
    DecodingConfig,
    TrainingConfig,
    override,
    preset,
    section_dict,
)
from gensar_lite.data.text import clean, plain
from gensar_lite.decoding import Recommender, rank_events
from gensar_lite.decoding.console import answer_table
from gensar_lite.decoding.recommender import Answer
from gensar_lite.training import TASK_OF_EVENTS, Event, SequenceBuilder, new_generator
from gensar_lite.training.sequences.adhoc import adhoc_sources, recent
from gensar_lite.training.stage import save_generator

N = 40


def with_categories(corpus):
    """Three shelves: items 0, 3, 6 ... are in Garden > Tools, 1, 4 ... in Garden, the rest in
    Sports > Balls."""
    shelf = [
        ("Garden > Tools", "Garden", "Sports > Balls")[i % 3] for i in range(len(corpus.items))
    ]
    return dataclasses.replace(corpus, items=corpus.items.assign(category=shelf))


def generator_of(corpus, **changes):
    """A random model with opinions."""
    training = TrainingConfig(**({"num_text_tokens": 400, "dropout": 0.1} | changes))
    generator = new_generator(corpus, random_identifiers(len(corpus.items), 8), training)
    with torch.no_grad():
        for p in generator.model.parameters():
            p.mul_(1.5)
    generator.model.eval()
    return generator


@pytest.fixture(scope="module")
def shop() -> Recommender:
    return Recommender.of(
        generator_of(with_categories(small_corpus(twin_rate=0.3))), DecodingConfig(num_beams=N)
    )


def history_before(corpus, event: int, start: np.ndarray, end: np.ndarray) -> list[Event]:
    rows = corpus.events.iloc[start[event] : end[event]]
    return [
        Event(row.item_id, corpus.queries["text"][row.query_id] if row.task == "search" else None)
        for row in rows.itertuples()
    ]


# ------------------------------------------------------------------------------------------ sources


@given(
    seed=st.integers(0, 5),
    window=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    cut=st.integers(1, 6),
    flags=st.fixed_dictionaries(
        {
            name: st.booleans()
            for name in ("history_queries", "prompts", "history_separator", "behaviour_tokens")
        }
    ),
)
@settings(max_examples=25, deadline=None)
def test_adhoc_sources_equal_the_builders(adhoc_parts, seed, window, cut, flags):
    """For every test event, the history as items and texts gives the same tokens as the history as
    rows."""
    corpus, ids, codec, layout = adhoc_parts[seed]
    changed = TrainingConfig(
        max_recommend=window[0], max_search=window[1], max_query_tokens=cut, **flags
    )
    builder = SequenceBuilder(corpus, ids, layout, codec, changed)
    for events, task in TASK_OF_EVENTS.items():
        rows = corpus.targets("test", events)["event_id"].to_numpy()
        histories = [history_before(corpus, row, builder.start, builder.end) for row in rows]
        asked = (
            [corpus.queries["text"][builder.query[row]] for row in rows]
            if events == "search"
            else []
        )
        wanted, got = builder.sources(task, rows), adhoc_sources(builder, task, histories, asked)
        assert got.lengths.tolist() == wanted.lengths.tolist()
        assert got.flat.tolist() == wanted.flat.tolist()
        assert got.flat.dtype == wanted.flat.dtype


@pytest.fixture(scope="module")
def adhoc_parts():
    found = []
    for seed in range(6):
        corpus = small_corpus(seed=seed, twin_rate=0.3)
        generator = generator_of(corpus)
        found.append((corpus, generator.identifiers, generator.codec, generator.layout))
    return found


def test_recent_keeps_the_last_of_each_kind_in_time_order():
    history = [Event(0), Event(1, "a"), Event(2), Event(3), Event(4, "b"), Event(5, "c"), Event(6)]
    limits = TrainingConfig(max_recommend=2, max_search=1)
    assert [e.item_id for e in recent(history, limits)] == [3, 5, 6]
    assert recent(history, TrainingConfig(max_recommend=0, max_search=0)) == []
    assert recent([], limits) == []


def test_sources_by_hand(shop):
    """[prompt] <S_Q> query <S_I> semantic, <R_I> collaborative, <S_Q> query, end."""
    builder, codec = shop.decoder.generator.builder, shop.decoder.generator.codec
    layout, ids = builder.layout, shop.decoder.generator.identifiers
    got = adhoc_sources(
        builder, TASK_OF_EVENTS["search"], [[Event(7, "red thing"), Event(9)]], ["big"]
    )[0]
    prompt, red, big = codec.encode(["answer the query with an item", "red thing", "big"])
    semantic = [
        layout.level_offset("semantic", level) + code for level, code in enumerate(ids.semantic[7])
    ]
    taken = [
        layout.level_offset("collaborative", level) + code
        for level, code in enumerate(ids.collaborative[9])
    ]
    query, clicked, bought = layout.search_query, layout.search_item, layout.recommend_item
    assert got.tolist() == [
        *prompt,
        query,
        *red,
        clicked,
        *semantic,
        bought,
        *taken,
        query,
        *big,
        1,
    ]


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_text_once_cleaned_stays_as_it_is(text):
    """Queries of a corpus were cleaned when it was read: asked for again they must read the
    same."""
    assert plain(clean(text)) == clean(text)
    assert plain(plain(text)) == plain(text)
    assert plain(text).isprintable()


# ------------------------------------------------------------------------------------------ answers


@pytest.fixture(scope="module", params=["t5-micro", "gpt-micro"])
def any_shop(request, shop) -> Recommender:
    """`shop`, and one that stands on a decoder alone."""
    if request.param == "t5-micro":
        return shop
    corpus = with_categories(small_corpus(twin_rate=0.3))
    return Recommender.of(generator_of(corpus, backbone=request.param), DecodingConfig(num_beams=N))


@pytest.mark.parametrize("task", ["recommend", "search"])
def test_answers_equal_the_decoding_stage(any_shop, task):
    """The history of an event and its query, asked for by hand, rank as the event itself does."""
    shop = any_shop
    generator = shop.decoder.generator
    corpus, builder = generator.corpus, generator.builder
    targets = corpus.targets("test", task)
    run = rank_events(shop.decoder, targets, DecodingConfig(num_beams=N, top_k=12), progress=False)
    rows = targets["event_id"].to_numpy()
    histories = [history_before(corpus, row, builder.start, builder.end) for row in rows]
    if task == "search":
        many = shop.search_many(
            [corpus.queries["text"][builder.query[row]] for row in rows], histories, 12
        )
    else:
        many = shop.recommend_many(histories, 12)
    for row, answers in zip(rows, many, strict=True):
        wanted = run[run["event_id"] == row]
        assert [a.item_id for a in answers] == wanted["item_id"].tolist()
        np.testing.assert_allclose([a.score for a in answers], wanted["score"], atol=1e-4)
        view = generator.identifiers.view(task)
        assert [a.identifier for a in answers] == [tuple(view[a.item_id]) for a in answers]
        assert [a.title for a in answers] == [f"thing number {a.item_id}" for a in answers]


def test_scores_are_exact_log_probabilities(shop):
    answers = shop.search("red thing", [3, Event(4, "thing")], k=N)
    table = adhoc_sources(
        shop.decoder.generator.builder, TASK_OF_EVENTS["search"],
        [[Event(3), Event(4, "thing")]], ["red thing"],
    )  # fmt: skip
    model, layout = shop.decoder.generator.model, shop.decoder.generator.layout
    for a in answers[:5]:
        codes = [
            layout.level_offset("semantic", level) + code for level, code in enumerate(a.identifier)
        ]
        heard = torch.tensor([[0, layout.search_item, *codes[:-1]]])
        with torch.no_grad():
            logits = model(
                input_ids=torch.from_numpy(table.flat[None].astype(np.int64)),
                decoder_input_ids=heard,
            ).logits[0, 1:]
        offsets = layout.offsets("semantic")
        total = sum(
            logits[i, offsets[i] : offsets[i] + 8].log_softmax(-1)[code].item()
            for i, code in enumerate(a.identifier)
        )
        assert a.score == pytest.approx(total, abs=2e-4)
    assert sorted(a.item_id for a in answers) == list(range(N))


def test_seen_items_are_left_out_on_request(shop):
    history = [*range(30), Event(30, "thing")]  # far more than the model reads
    unseen = {a.item_id for a in shop.recommend(history, k=N)}
    assert unseen == set(range(31, N))
    assert {a.item_id for a in shop.recommend(history, k=N, exclude_seen=False)} == set(range(N))
    assert {a.item_id for a in shop.search("thing", history, k=N)} == set(range(N))
    assert {a.item_id for a in shop.search("thing", history, k=N, exclude_seen=True)} == unseen


def test_as_many_answers_as_asked_for_however_many_are_seen(shop):
    narrow = dataclasses.replace(shop, settings=DecodingConfig(num_beams=3))
    assert len(narrow.recommend(list(range(30)), k=9)) == 9
    assert len(narrow.recommend(list(range(30)), k=500)) == 10
    assert len(narrow.recommend(k=25)) == 25
    assert len(narrow.search("thing", k=500)) == N


def test_the_logs_rule_decides_about_seen_items(shop):
    """A log that repeats itself keeps them as candidates, unless a request says otherwise."""
    corpus = dataclasses.replace(shop.decoder.generator.corpus, exclude_seen=False)
    songs = Recommender.of(generator_of(corpus), DecodingConfig(num_beams=N))
    history = list(range(30))
    assert {a.item_id for a in songs.recommend(history, N)} == set(range(N))
    assert [a.item_id for a in songs.recommend_many([history], N)[0]] == [
        a.item_id for a in songs.recommend(history, N)
    ]
    assert {a.item_id for a in songs.recommend(history, N, exclude_seen=True)} == set(range(30, N))
    assert {a.item_id for a in songs.search("thing", history, N)} == set(range(N))


def test_only_allowed_items_are_answered(shop):
    for name, wanted in (
        ("Garden", {i for i in range(N) if i % 3 < 2}),
        ("Garden > Tools", set(range(0, N, 3))),
        ("Tools", set(range(0, N, 3))),
        ("Sports", set(range(2, N, 3))),
    ):
        allowed = shop.items_in(name)
        assert set(np.flatnonzero(allowed)) == wanted
        narrow = dataclasses.replace(shop, settings=DecodingConfig(num_beams=2))
        answers = narrow.search("red", k=5, allowed=allowed)
        assert len(answers) == 5
        assert {a.item_id for a in answers} <= wanted
        everything = [a for a in shop.search("red", k=N) if a.item_id in wanted]
        assert [a.item_id for a in shop.search("red", k=N, allowed=allowed)] == [
            a.item_id for a in everything
        ]
    assert shop.search("red", allowed=np.zeros(N, dtype=bool)) == []
    assert {a.item_id for a in shop.recommend([2, 5], k=N, allowed=shop.items_in("Balls"))} == set(
        range(8, N, 3)
    )


def test_an_exact_run_answers_exactly(shop):
    """With one beam a list is poor; `decoding.exact` makes it that of a beam as wide as the
    catalogue."""
    narrow = dataclasses.replace(shop, settings=DecodingConfig(num_beams=1, exact=True))
    rng = np.random.default_rng(2)
    for i in range(6):
        history = rng.permutation(N)[: 3 * i].tolist()
        allowed = shop.items_in("Garden") if i % 2 else None
        for wide, exact in (
            (
                shop.recommend(history, 8, allowed=allowed),
                narrow.recommend(history, 8, allowed=allowed),
            ),
            (
                shop.search("red", history, 8, allowed=allowed),
                narrow.search("red", history, 8, allowed=allowed),
            ),
        ):
            assert [a.item_id for a in exact] == [a.item_id for a in wide]
            np.testing.assert_allclose([a.score for a in exact], [a.score for a in wide], atol=1e-4)


def test_a_cold_start_reads_the_prompt_alone(shop):
    builder = shop.decoder.generator.builder
    got = adhoc_sources(builder, TASK_OF_EVENTS["recommend"], [[]])[0]
    assert got.tolist() == [*builder.prompts["nrip"][0].tolist(), 1]
    assert len(shop.recommend()) == 10
    bare = Recommender.of(generator_of(small_corpus(), prompts=False))
    assert len(bare.recommend(k=3)) == 3  # nothing but the end of the source
    assert len(bare.search("thing", k=3)) == 3


def test_many_at_once_equal_one_by_one(shop):
    small = dataclasses.replace(shop, settings=DecodingConfig(num_beams=12, batch_size=3))
    rng = np.random.default_rng(0)
    histories = [rng.permutation(N)[: rng.integers(0, 30)].tolist() for _ in range(11)]
    texts = ["red", "big thing", "thing " * 30, "violet"]
    queries = [texts[i % 4] for i in range(11)]
    for many, single in (
        (small.recommend_many(histories, 7), [small.recommend(h, 7) for h in histories]),
        (
            small.search_many(queries, histories, 7),
            [small.search(*qh, 7) for qh in zip(queries, histories, strict=True)],
        ),
        (small.search_many(queries, k=7), [small.search(q, k=7) for q in queries]),
    ):
        assert [[a.item_id for a in answers] for answers in many] == [
            [a.item_id for a in one] for one in single
        ]
        for answers, one in zip(many, single, strict=True):
            np.testing.assert_allclose(
                [a.score for a in answers], [a.score for a in one], atol=1e-4
            )
    assert small.recommend_many([]) == []
    assert small.search_many([]) == []


def test_threads_get_the_answers_of_a_quiet_hour(shop):
    rng = np.random.default_rng(1)
    asked = [(f"thing {i} " * (1 + i % 5), rng.permutation(N)[: i % 9].tolist()) for i in range(24)]
    threads, mode = torch.get_num_threads(), shop.decoder.generator.model.training
    quiet = [(shop.search(*a, k=6), shop.recommend(a[1], k=6)) for a in asked]
    with ThreadPoolExecutor(8) as pool:
        busy = list(
            pool.map(lambda a: (shop.search(*a, k=6), shop.recommend(a[1], k=6)), asked * 3)
        )
    for one, other in zip(quiet * 3, busy, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert [a.item_id for a in mine] == [a.item_id for a in theirs]
            np.testing.assert_allclose(
                [a.score for a in mine], [a.score for a in theirs], atol=1e-4
            )
    assert (torch.get_num_threads(), shop.decoder.generator.model.training) == (threads, mode)


@pytest.mark.parametrize("backbone", ["t5-micro", "gpt-micro"])
def test_dropout_is_off_whatever_state_the_model_came_in(backbone):
    generator = generator_of(small_corpus(), dropout=0.5, backbone=backbone)
    generator.model.train()
    fresh = Recommender.of(generator)
    assert fresh.recommend([1, 2]) == fresh.recommend([1, 2])


def test_history_of_a_user_is_everything_it_did(shop):
    corpus = shop.decoder.generator.corpus
    for user in range(corpus.num_users):
        own = corpus.events[corpus.events["user_id"] == user]
        history = shop.history_of(user)
        assert [e.item_id for e in history] == own["item_id"].tolist()
        assert [e.query is not None for e in history] == own["task"].eq("search").tolist()
    assert shop.recommend(shop.history_of(0))


# ------------------------------------------------------------------------- what is refused, and how


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda r: r.recommend([1, N]), r"no item 40. Items of this run are 0 to 39"),
        (lambda r: r.recommend([-1]), "no item -1"),
        (lambda r: r.recommend(["03"]), "no item '03'"),
        (lambda r: r.recommend([True]), "no item True"),
        (lambda r: r.recommend([2.0]), "no item 2.0"),
        (lambda r: r.search("thing", [Event(99, "thing")]), "no item 99"),
        (lambda r: r.search("thing", [Event(3, " ")]), "query: ' ' has no words"),
        (lambda r: r.search(""), "query: '' has no words"),
        (lambda r: r.search(" \t\u200b\x00 "), "has no words"),
        (lambda r: r.search(None), "query: None has no words"),
        (lambda r: r.search_many(["thing", "\n"]), "has no words"),
        (lambda r: r.search_many("thing"), "need as many histories"),
        (lambda r: r.search_many(["thing"], [[], []]), "1 queries need as many histories, got 2"),
        (lambda r: r.recommend(k=0), "k is 0. Ask for a whole number of answers, 1 or more"),
        (lambda r: r.recommend(k=2.5), "k is 2.5"),
        (lambda r: r.recommend(k=True), "k is True"),
        (lambda r: r.recommend(allowed=np.ones(3, dtype=bool)), "allowed must be 40 booleans"),
        (lambda r: r.recommend(allowed=[3, N]), "no item 40"),
        (lambda r: r.recommend(allowed=np.arange(N) / 2), "no item 0.0"),
        (lambda r: r.items_in("Gardn"), "no item is in 'Gardn'. Some categories are: Garden"),
        (lambda r: r.items_in("zzz"), "Some categories are: Balls, Garden"),
        (lambda r: r.history_of(12), "no user 12. Users of this run are 0 to 11"),
        (lambda r: r.history_of(-1), "no user -1"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_one_clear_error(shop, ask, said):
    with pytest.raises(ConfigError, match=said):
        ask(shop)


def test_typed_text_is_made_safe_and_cut(shop):
    same = [a.item_id for a in shop.search("red thing")]
    assert [a.item_id for a in shop.search("  red\x00\n thing\u200b ")] == same
    long = "red thing " * 100_000  # a megabyte
    assert [a.item_id for a in shop.search(long)] == [a.item_id for a in shop.search(long[:512])]
    assert len(shop.search("\U0001f600 naïve 中文 &amp; <script>")) == 10


def test_a_run_of_one_task_refuses_the_other():
    corpus = small_corpus()
    keep = corpus.events[corpus.events["task"] == "recommend"].reset_index(drop=True)
    alone = dataclasses.replace(corpus, events=keep.assign(event_id=range(len(keep))))
    only = Recommender.of(generator_of(alone))
    assert only.recommend([3])
    with pytest.raises(
        ConfigError, match=r"its log has no search event. Bring some, then run the stages again\.$"
    ):
        only.search("thing")
    other = Recommender.of(generator_of(corpus, tasks=("nsip",), task_weights=(1.0,)))
    with pytest.raises(
        ConfigError, match=r"recommend: this run never learned it, training.tasks has no nrip"
    ):
        other.recommend()


# ------------------------------------------------------------------------------------ a run on disk


def built(root, name: str = "mine", **changes) -> Workspace:
    """A run whose stages were published by hand, with a random model; the settings differ from
    every preset's."""
    config = override(
        preset("tiny"),
        {
            "training.num_text_tokens": 400,
            "decoding.num_beams": 7,
            "training.max_search": 2,
            "data.seed": 3,
        }
        | changes,
    )
    ws = Workspace.open(config, root, name)
    corpus, ids = with_categories(small_corpus()), random_identifiers(N, 8)

    def save(record):
        return lambda folder: record.save(folder) or {}

    ws.build("data", save(corpus), say=lambda text: None)
    ws.build("embeddings", lambda folder: {}, say=lambda text: None)
    ws.build("identifiers", save(ids), say=lambda text: None)
    generator = new_generator(corpus, ids, config.training)
    ws.build(
        "training", lambda folder: save_generator(generator, folder) or {}, say=lambda text: None
    )
    return ws


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory) -> Workspace:
    return built(tmp_path_factory.mktemp("serve"))


def test_a_run_is_opened_by_its_folder_alone(on_disk):
    before = {p: p.stat().st_mtime_ns for p in on_disk.root.rglob("*")}
    loaded = Recommender.load(on_disk.root / "artifacts" / "mine")
    assert loaded.decoder.settings == on_disk.config.training
    assert loaded.settings == preset("tiny").decoding  # not built: the nearest preset's
    assert len(loaded.recommend([1, 2, 3])) == 10
    assert {p: p.stat().st_mtime_ns for p in on_disk.root.rglob("*")} == before, (
        "nothing is written"
    )


def test_settings_come_back_as_they_were_recorded(on_disk):
    opened = open_run(on_disk.root / "artifacts" / "mine")
    assert (opened.root, opened.run) == (on_disk.root, "mine")
    for stage in ("data", "embeddings", "identifiers", "training"):
        assert getattr(opened.config, stage) == getattr(on_disk.config, stage)
        assert opened.require(stage) == on_disk.folder(stage)


@given(st.sampled_from(["tiny", "tour", "beauty-quick", "beauty", "paper"]), st.booleans())
@settings(max_examples=10, deadline=None)
def test_every_preset_is_recognised(name, changed):
    config = override(preset(name), {"training.seed": 5} if changed else {})
    told = {stage: section_dict(getattr(config, stage)) for stage in INPUTS}
    assert recorded_config(told, "somewhere") == config
    assert (
        recorded_config({"training": told["training"] | {"long_gone": 1}}, name).training
        == config.training
    )


def test_what_is_missing_names_the_command_that_makes_it(tmp_path):
    for folder, said in (
        (
            tmp_path / "artifacts" / "tour",
            "holds no finished stage. Build it first: gensar run --preset tour$",
        ),
        (tmp_path / "artifacts" / "own", "gensar run --run own --items ITEMS.csv"),
        (tmp_path / "elsewhere" / "tour", "must lie in a folder artifacts/"),
    ):
        with pytest.raises(ArtifactError, match=said):
            Recommender.load(folder)
    ws = Workspace.open(override(preset("tiny"), {"data.seed": 3}), tmp_path, "mine")
    ws.build("data", lambda folder: small_corpus().save(folder) or {}, say=lambda text: None)
    with pytest.raises(
        ArtifactError, match=r"gensar identifiers --preset tiny --run mine --set data.seed=3"
    ):
        Recommender.load(tmp_path / "artifacts" / "mine")
    with pytest.raises(ArtifactError, match=r"There are: mine. Build it first"):
        Recommender.load(tmp_path / "artifacts" / "yours")


def test_a_stale_or_damaged_run_is_refused(tmp_path):
    ws = built(tmp_path)
    config = ws.folder("training") / "layout.json"
    whole = config.read_text()
    config.write_text(whole.replace("400", "401") + " ")
    with pytest.raises(
        ArtifactError,
        match=r"training: .* has a changed file layout.json.* gensar training --preset",
    ):
        Recommender.load(tmp_path / "artifacts" / "mine")
    config.write_text(whole)
    Recommender.load(tmp_path / "artifacts" / "mine")
    other = Workspace.open(override(ws.config, {"identifiers.seed": 9}), tmp_path, "mine")
    other.build(
        "identifiers",
        lambda folder: random_identifiers(N, 8, 9).save(folder) or {},
        say=lambda text: None,
    )
    with pytest.raises(ArtifactError, match=r"training: .* was built before identifiers changed"):
        Recommender.load(tmp_path / "artifacts" / "mine")


# ------------------------------------------------------------------------------ on the command line


def words(ws: Workspace, *rest: str) -> list[str]:
    return [*rest, "--workspace", str(ws.root), "--run", ws.run]


def test_a_search_prints_a_table(on_disk, capsys):
    assert (
        cli.main(
            words(on_disk, "search", "red thing", "--user", "3", "-k", "4", "--category", "Garden")
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rank", "item", "title", "category", "score", "identifier"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    loaded = Recommender.load(on_disk.root / "artifacts" / "mine")
    answers = loaded.search("red thing", loaded.history_of(3), 4, allowed=loaded.items_in("Garden"))
    assert [int(line.split()[1]) for line in lines[1:]] == [a.item_id for a in answers]


def test_a_recommendation_as_json(on_disk, capsys):
    assert cli.main(words(on_disk, "recommend", "--items", "3, 5,9", "-k", "2", "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["run"], said["task"], said["query"], said["history"]) == (
        "mine",
        "recommend",
        None,
        [3, 5, 9],
    )
    assert [list(row) for row in said["answers"]] == [
        ["rank", "item_id", "title", "category", "score", "identifier"]
    ] * 2
    assert cli.main(words(on_disk, "recommend", "--user", "0", "--json")) == 0
    assert len(json.loads(capsys.readouterr().out)["answers"]) == 10
    assert cli.main(words(on_disk, "recommend")) == 0  # a cold start


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (["search"], "the following arguments are required: query"),
        (["search", " "], "has no words"),
        (["search", "red", "-k", "0"], "k is 0"),
        (["recommend", "--user", "99"], "Users of this run are 0 to 11"),
        (["recommend", "--items", "1,x"], "no item 'x'. Items of this run are 0 to 39"),
        (["recommend", "--items", "1,400"], "no item '400'"),
        (["recommend", "--items", "1", "--user", "2"], "not allowed with"),
        (["search", "red", "--category", "Shoes"], "no item is in 'Shoes'"),
        (["search", "red", "--run", "other"], "gensar run --run other --items ITEMS.csv"),
        (["search", "red", "--preset", "toor"], "Choose one of: tiny"),
    ],
)
def test_a_wrong_word_is_one_line(on_disk, capsys, rest, said):
    assert cli.main([rest[0], *words(on_disk), *rest[1:]]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert said in err


def test_tables_stand_in_columns():
    rows = [
        Answer(3, "a", "b > c", -0.5, (1, 2)),
        Answer(1499, "long name " * 9, "", -12.25, (10, 31)),
    ]
    lines = answer_table(rows).splitlines()
    assert (
        len(
            {
                line.index(code)
                for line, code in zip(lines, ("identifier", "1-2", "10-31"), strict=True)
            }
        )
        == 1
    )
    assert answer_table([]) == "no item is left to answer with"
