"""Baselines on a hand-made corpus, the stage from fake upstream folders, and a page that trusts no
text."""

from __future__ import annotations

import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gensar_lite.artifacts import ArtifactError, Corpus, Identifiers, ItemEmbeddings, Workspace
from gensar_lite.config import override, preset
from gensar_lite.data import history_bounds
from gensar_lite.data.report import Finding, Report
from gensar_lite.drawing import canvas
from gensar_lite.drawing.canvas import figure_png
from gensar_lite.drawing.palette import no_formula
from gensar_lite.embeddings.maps import flat_map
from gensar_lite.evaluation import dense, plots, stage
from gensar_lite.evaluation.baselines import (
    BM25,
    CategoryPopularity,
    Oracle,
    Popularity,
    top_k_run,
)
from gensar_lite.evaluation.bayes import bayes_name
from gensar_lite.evaluation.plots import (
    curve_figure,
    identifier_map,
    metric_bars,
)
from gensar_lite.evaluation.plots import tradeoff_figure as draw_tradeoff
from gensar_lite.evaluation.protocols import Seen
from gensar_lite.evaluation.report import (
    console_table,
    flat_rows,
    group_tables,
    held_out_rows,
    metric_tables,
    short,
    verdicts,
)
from gensar_lite.evaluation.runs import check_run
from gensar_lite.evaluation.scores import SYSTEMS
from gensar_lite.evaluation.summary_page import share, target_rows, write_report
from gensar_lite.evaluation.tradeoff import tradeoff_points

PAYLOADS = (
    '<script src="https://evil.example/x.js"></script>',
    '"><img src=x onerror=alert(1)>',
    "</style></title><iframe src='//evil.example'>",
    "{{ 7 * 7 }} {% raw %}",
    "$\\frac{1}{0$ and $100",
    "javascript:alert(1)",
)
NUM_ITEMS = 12


def tiny_corpus() -> Corpus:
    """12 items of two categories, 6 users with 4 steps; odd users search in their last two. Titles
    are hostile."""
    titles = [f"{PAYLOADS[i % len(PAYLOADS)]} thing{i}" for i in range(NUM_ITEMS)]
    texts = [f"a {'red lamp' if i < 6 else 'blue chair'} number{i}" for i in range(NUM_ITEMS)]
    category = ["Light > $Lamps$" if i < 6 else "<b>Seats</b> > Chairs" for i in range(NUM_ITEMS)]
    items = pd.DataFrame(
        {
            "item_id": range(NUM_ITEMS),
            "title": titles,
            "text": texts,
            "brand": "",
            "category": category,
        }
    )
    queries = pd.DataFrame({"query_id": [0, 1, 2], "text": ["red lamp", "<i>chair</i>", "lapm"]})
    queries["kind"] = ["category", "category", "misspelling"]
    queries["seen"] = [True, False, True]
    rows = []
    for user in range(6):
        for step, split in enumerate(("train", "train", "validation", "test")):
            query = (user // 2) % 3 if user % 2 and step >= 2 else -1
            task = "recommend" if query < 0 else "search"
            rows.append((user, step, task, (3 * user + 2 * step) % NUM_ITEMS, query, split))
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id", "split"])
    events.insert(0, "event_id", range(len(events)))
    answers = (
        [(0, i) for i in range(6)] + [(1, i) for i in range(6, 12)] + [(2, i) for i in range(6)]
    )
    return Corpus(
        items,
        queries,
        events,
        pd.DataFrame(answers, columns=["query_id", "item_id"]).assign(grade=1),
    ).check()


def seen_of(corpus: Corpus) -> Seen:
    return Seen(corpus.events, *history_bounds(corpus.events))


# ---------------------------------------------------------------------------------------- baselines


def test_popularity_counts_train_only_and_a_twin_once():
    corpus = tiny_corpus()
    train = corpus.events[corpus.events["split"] == "train"]
    counts = Popularity.fit(corpus).counts
    assert counts.sum() == len(train) == 12
    twin = train.iloc[[0]].assign(task="search", query_id=0)
    events = pd.concat([corpus.events.iloc[:1], twin, corpus.events.iloc[1:]], ignore_index=True)
    events["event_id"] = np.arange(len(events))
    doubled = Corpus(corpus.items, corpus.queries, events, corpus.relevance)
    assert (Popularity.fit(doubled).counts == counts).all()


def test_category_popularity_puts_matches_first_then_train_counts():
    corpus = tiny_corpus()
    targets = corpus.targets("test", "search")
    run = check_run(top_k_run(CategoryPopularity.fit(corpus), targets, NUM_ITEMS), NUM_ITEMS)
    counts = Popularity.fit(corpus).counts
    for row in targets.itertuples():
        match = set(corpus.relevance.loc[corpus.relevance["query_id"] == row.query_id, "item_id"])
        plain_order = sorted(range(NUM_ITEMS), key=lambda i: (i not in match, -counts[i], i))
        assert run.loc[run["event_id"] == row.event_id, "item_id"].tolist() == plain_order


def test_category_popularity_ranks_by_grade_before_counts():
    corpus = tiny_corpus()
    targets, counts = corpus.targets("test", "search").iloc[:1], Popularity.fit(corpus).counts
    least = int(np.argmin(counts[:6]))  # of the items that answer query 0, the one bought least
    corpus.relevance.loc[corpus.relevance["item_id"] == least, "grade"] = 2
    found = top_k_run(CategoryPopularity.fit(corpus), targets, 6)["item_id"].tolist()
    assert found[0] == least
    assert found[1:] == sorted(set(range(6)) - {least}, key=lambda i: (-counts[i], i))


def test_bm25_finds_words_and_has_no_answer_to_a_misspelling():
    corpus = tiny_corpus()
    targets = corpus.targets("test", "search")  # queries 0, 1, 2
    assert targets["query_id"].tolist() == [0, 1, 2]
    scores = BM25(corpus).scores(targets)
    assert scores.shape == (3, NUM_ITEMS)
    assert np.flatnonzero(np.isfinite(scores[0])).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isfinite(scores[1, 6:]).all()  # "i chair": markup is no word of the titles
    assert not np.isfinite(scores[2]).any()
    assert top_k_run(BM25(corpus), targets, 5)["event_id"].nunique() == 2


class FakeTruth:
    def scores(self, task, user_ids, query_ids, previous_items):
        """Prefers the item after the previous one (recommend) or item 6 + query (search)."""
        wanted = (previous_items + 1) % NUM_ITEMS if task == "recommend" else 6 + query_ids
        table = np.full((len(user_ids), NUM_ITEMS), 0.01)
        table[np.arange(len(user_ids)), wanted] = 0.5
        return table


def test_oracle_reads_previous_items_and_hides_what_was_met():
    corpus = tiny_corpus()
    targets, seen = corpus.targets("test"), seen_of(corpus)
    scores = Oracle(FakeTruth(), seen).scores(targets)
    for row, event in zip(scores, targets.itertuples(), strict=True):
        met = seen.of(event.event_id)
        assert (row[met] == -np.inf).all()
        wanted = (met[-1] + 1) % NUM_ITEMS if event.task == "recommend" else 6 + event.query_id
        if wanted not in met:
            assert row.argmax() == wanted


def test_recommendation_leaves_out_the_history_and_search_does_not():
    corpus, seen = tiny_corpus(), seen_of(tiny_corpus())
    targets = corpus.targets("test")
    run = top_k_run(Popularity.fit(corpus), targets, NUM_ITEMS, seen, batch=2)
    assert run.equals(top_k_run(Popularity.fit(corpus), targets, NUM_ITEMS, seen, batch=100))
    for event in targets.itertuples():
        listed = set(run.loc[run["event_id"] == event.event_id, "item_id"])
        assert bool(listed & set(seen.of(event.event_id))) == (event.task == "search")


def test_candidate_run_ranks_candidates_only():
    corpus = tiny_corpus()
    targets = corpus.targets("test", "recommend")
    items = np.tile([5, 1, 9, -1], (len(targets), 1))
    run = check_run(
        top_k_run(Popularity.fit(corpus), targets, 10, candidates=items, batch=2), NUM_ITEMS
    )
    assert (run.groupby("event_id")["item_id"].apply(set) == {1, 5, 9}).all()


# ------------------------------------------------------------------------------------------ figures


METRICS = [
    {
        "system": s,
        "task": t,
        "protocol": p,
        "metric": m,
        "value": v,
        "low": v - 0.01,
        "high": v + 0.02,
    }
    | {"num_queries": 40, "seeds": [0]}
    for s, tasks, v in (
        ("joint", ("search", "recommend"), 0.1),
        ("bm25", ("search",), 0.2),
        ("sasrec-ce", ("recommend",), 0.05),
        ("oracle", ("search", "recommend"), 0.4),
    )
    for t in tasks
    for p in ("full", "bm25-99" if t == "search" else "random-99")
    for m in ("recall@5", "recall@10", "ndcg@10", "mrr")
]


def test_figures_have_alt_text_and_take_hostile_names():
    log = pd.DataFrame({"epoch": [1, 2], "$x/loss": [3.0, 2.0], "recommend/ndcg@10": [0.1, np.nan]})
    groups = np.array(["$Lamps", "<b>$$\\frac{</b>"] * 10)
    xy = np.random.default_rng(0).random((20, 2))
    odd = [row | {"system": "$evil$"} for row in METRICS if row["system"] == "joint"]
    drawn = [
        draw_tradeoff(tradeoff_points([*METRICS, *odd])),
        draw_tradeoff([]),
        metric_bars([*METRICS, *odd]),
        metric_bars([]),
        identifier_map(np.arange(20)[:, None] % 9, xy, groups),
        curve_figure(log),
    ]
    for figure, alt in drawn:
        assert figure_png(figure).startswith(b"\x89PNG")
        assert len(alt) > 10
    assert "joint: search 0.100, recommendation 0.100" in drawn[0][1]
    assert curve_figure(pd.DataFrame({"epoch": [1]})) is None
    assert no_formula("a$b\n" + "x" * 99) == r"a\$b " + "x" * 56


def without_search(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["task"] == "recommend"]


def test_a_log_without_searches_has_no_search_axis_panel_or_column():
    points = tradeoff_points(without_search(METRICS))
    for figure, alt in (draw_tradeoff(points), metric_bars(without_search(METRICS))):
        assert len(figure.axes) == 1
        assert "Search" not in alt + figure.axes[0].get_xlabel() + figure.axes[0].get_title()
        assert figure_png(figure).startswith(b"\x89PNG")
    text = console_table(without_search(METRICS))
    assert "earch" not in text
    assert " - " not in text
    lines = text.splitlines()
    assert lines[1].split() == ["system", "recall@10", "ndcg@10"]
    assert len(metric_bars(METRICS)[0].axes) == 2


NAMES = ("家電 > ヘッドホン", "กาแฟ", "Обувь", "Café $5", "Shoes \U0001f45f", "\U0001f45f")


def test_names_that_no_font_can_draw_are_numbered_and_written_out():
    known = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZé $5> Обувь")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canvas, "fonts_for", lambda characters: (["DejaVu Sans"], characters & known))
        labels, _, note = canvas.drawable_labels(NAMES, "category")
    assert labels == ["category 1", "category 2", "Обувь", "Café $5", "Shoes", "category 6"]
    assert "category 1: 家電 > ヘッドホン; category 2: กาแฟ" in note
    assert canvas.drawable_labels(["plain"]) == (["plain"], ["DejaVu Sans"], "")


def test_a_second_font_is_taken_for_letters_that_the_first_lacks():
    """A letter that one of matplotlib's own fonts has and its default font has not."""
    own = canvas._glyphs(canvas.findfont("DejaVu Sans"))
    others = {name: canvas._glyphs(path) - own for name, path in canvas._installed().items()}
    letter = min(
        character for glyphs in others.values() for character in glyphs if character.isprintable()
    )
    families, known = canvas.fonts_for(frozenset("a" + letter))
    assert known == {"a", letter}
    assert families[0] == "DejaVu Sans"
    assert letter in others[families[1]]
    assert not any("last resort" in name.lower() for name in others), "its glyphs are boxes"


def test_a_map_of_names_in_any_script_is_drawn_without_a_missing_glyph():
    xy, names = np.random.default_rng(0).random((24, 2)), np.array([*NAMES[:4]] * 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure, _ = identifier_map(np.arange(24)[:, None] % 3, xy, names)
        assert figure_png(figure).startswith(b"\x89PNG")
    drawn = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert "Обувь" in drawn
    assert len(set(drawn)) == 4


def test_figures_are_the_same_every_time():
    first, second = (figure_png(draw_tradeoff(tradeoff_points(METRICS))[0]) for _ in range(2))
    assert first == second


def test_a_flat_map_finds_the_long_axis():
    rng = np.random.default_rng(0)
    along = np.outer(rng.standard_normal(200), [3.0, 4.0, 0.0])
    vectors = along + 0.01 * rng.standard_normal((200, 3)) + 7
    xy = flat_map(vectors, "pca")
    assert xy.shape == (200, 2)
    assert xy[:, 0].std() > 100 * xy[:, 1].std()
    by_hand = (vectors - vectors.mean(0)) @ [0.6, 0.8, 0]
    np.testing.assert_allclose(xy[:, 0], by_hand / by_hand.std(), atol=0.1)
    assert flat_map(np.arange(3.0)[:, None], "pca").shape == (3, 2)


# ------------------------------------------------------------------------------------------- tables


def test_console_table_shows_full_ranking_of_both_tasks():
    text = console_table(METRICS)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == ["joint", "bm25", "sasrec-ce", "oracle"]
    assert ".1000 [.0900, .1200]" in lines[2]
    assert lines[3].split()[-2:] == ["-", "-"]
    assert "40 search targets" in lines[-1]


def test_tables_put_full_ranking_first():
    tables = metric_tables(METRICS)
    assert [t["title"] for t in tables] == [
        "Search, full",
        "Recommendation, full",
        "Search, bm25-99",
        "Recommendation, random-99",
    ]
    assert tables[0]["rows"][0]["cells"][0] == {"value": ".1000", "interval": ".0900, .1200"}
    assert short(1.0) == "1.000"
    assert short(0.99999) == "1.000"
    assert short(0.0) == ".0000"


def test_verdicts_say_who_wins_from_the_numbers():
    search, recommend = verdicts(METRICS)
    assert "behind bm25 (.2000)" in search
    assert "ahead of sasrec-ce" in recommend
    assert "25% of the oracle" in recommend


def test_search_is_told_apart_by_kind_and_by_seen():
    row = {"metric": "ndcg@10", "value": 0.1, "low": 0.0, "high": 0.2}
    groups = [
        ("kind", "synonym", 3),
        ("kind", "category", 4),
        ("seen", "seen", 6),
        ("seen", "unseen", 1),
    ]
    rows = [
        row | {"column": c, "group": g, "num_queries": n, "system": "bm25"} for c, g, n in groups
    ]
    rows += [
        rows[3] | {"system": "joint", "value": 0.2},
        rows[3] | {"system": "category-popularity"},
    ]
    kinds, seen = group_tables(rows)
    assert kinds["columns"] == ["synonym (3)", "category (4)"]
    assert seen["columns"] == ["seen (6)", "unseen (1)"]
    assert [line["system"] for line in seen["rows"]] == ["joint", "category-popularity", "bm25"]
    assert seen["rows"][0]["cells"] == [None, {"value": ".2000", "interval": ".0000, .2000"}]
    assert "seen" in seen["title"]
    assert "kind" in kinds["title"]
    assert group_tables(rows[:1]) == group_tables([]) == []  # a single group is the whole table


def test_groups_need_their_columns():
    queries = pd.DataFrame({"text": ["a", "b"], "kind": ["x", "y"], "seen": [True, True]})
    assert set(stage.query_groups(queries)) == {
        "kind",
        "seen",
    }  # all are seen: both together would tell nothing new
    assert set(stage.query_groups(queries[["text", "seen"]])) == {"seen"}
    assert stage.query_groups(queries[["text"]]) == {}


def test_flat_rows():
    assert flat_rows({"a": {"b": 1.23456}, "c": [1, 2], "d": [{"e": 1}]}) == [
        ("a.b", "1.235"),
        ("c", "1, 2"),
        ("d.1.e", "1"),
    ]


# ----------------------------------------------------------------------------------- stage and page


SEARCH_SYSTEMS = {"joint", "popularity", "category-popularity", "bm25"}
SEARCH_SYSTEMS |= {"dense", "sasrec x likelihood"}


class FakeRanker:
    def __init__(self, seed: int = 0):
        self.table = np.random.default_rng(seed).standard_normal((99, NUM_ITEMS)).astype(np.float32)

    def scores(self, targets):
        return self.table[targets["event_id"].to_numpy()].copy()

    def score_candidates(self, targets, candidates):
        assert candidates.min() >= 0
        return np.take_along_axis(self.scores(targets), candidates, axis=1)


def fake_vectors(queries, texts, settings, cache=None) -> np.ndarray:
    """Query vectors as wide as the made-up item vectors, by a query's length alone."""
    rows = np.array([np.cos(len(query) * np.arange(1, 5)) for query in queries], dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def finished_workspace(
    root,
    monkeypatch,
    source: str = "shop",
    corpus: Corpus | None = None,
    report: Report | None = None,
    **changes,
) -> Workspace:
    """Every stage before evaluation, by hand: random vectors, made-up identifiers, a random joint
    run."""
    told = {
        "data.source": source,
        "evaluation.num_bootstrap": 20,
        "evaluation.num_negatives": 4,
    } | changes
    ws = Workspace.open(override(preset("tiny"), told), root, run="hand")
    corpus, rng = corpus or tiny_corpus(), np.random.default_rng(0)

    def data(folder):
        corpus.save(folder)
        if report:
            report.save(folder)
        facts = {
            "search": {"shop": "the built-in shop", "files": "none"}.get(source, "semi-synthetic")
        }
        return {"items": NUM_ITEMS, "facts": facts}

    def embeddings(folder):
        ItemEmbeddings(*(rng.random((NUM_ITEMS, 4), dtype=np.float32) for _ in range(2))).save(
            folder
        )
        return {"sasrec_read": {"windows": 7, "items_read": 1234, "items_asked_for": 99}}

    def identifiers(folder):
        codes = np.stack([np.arange(NUM_ITEMS) // 4, np.arange(NUM_ITEMS) % 4], axis=1)
        Identifiers(codes, codes, 2, 16).save(folder)
        return {"semantic": {"collision_rate_before": 0.25}}

    def training(folder):
        curve = pd.DataFrame({"epoch": [1, 2], "nrip/loss": [3.0, 2.5], "nrip/ndcg@10": [0.1, 0.2]})
        curve.to_parquet(folder / "curve.parquet", index=False)
        return {"steps": 2}

    def decoding(folder):
        run = top_k_run(FakeRanker(), corpus.targets("test"), 20, seen_of(corpus))
        run.to_parquet(folder / "run.parquet", index=False)
        return {}

    for make in (data, embeddings, identifiers, training, decoding):
        ws.build(make.__name__, make, say=lambda _: None)
    monkeypatch.setattr(stage, "load_decoder", lambda ws: FakeRanker())
    monkeypatch.setattr(stage, "load_ranker", lambda ws, corpus: ("sasrec-ce", FakeRanker(1)))
    monkeypatch.setattr(dense, "encode_queries", fake_vectors)
    return ws


def test_evaluate_writes_scores_and_metrics(tmp_path, monkeypatch, capsys):
    ws = finished_workspace(tmp_path, monkeypatch)
    folder = stage.evaluate(ws)
    assert "category-popularity" in capsys.readouterr().out
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {(r["task"], r["protocol"]) for r in metrics} == {
        ("recommend", "full"),
        ("recommend", "random-4"),
        ("search", "full"),
        ("search", "full/all-relevant"),
        ("search", "bm25-4"),
    }
    systems = {
        task: {r["system"] for r in metrics if r["task"] == task}
        for task in ("search", "recommend")
    }
    for protocol in ("full", "full/all-relevant", "bm25-4"):
        rows = {r["system"] for r in metrics if (r["task"], r["protocol"]) == ("search", protocol)}
        assert rows == systems["search"] == SEARCH_SYSTEMS
    assert systems["recommend"] == {"joint", "popularity", "transitions", "item-knn", "sasrec-ce"}
    assert all(
        0 <= r["low"] <= r["value"] <= r["high"] <= 1 and r["num_queries"] == 3 for r in metrics
    )
    scores = pd.read_parquet(folder / "scores.parquet")
    assert list(scores.columns) == ["system", "protocol", "task", "metric", "event_id", "value"]
    keys = ["system", "protocol", "task", "metric"]
    assert not scores.duplicated([*keys, "event_id"]).any()
    means = scores.groupby(keys, observed=True)["value"].mean()
    assert all(abs(means[tuple(r[key] for key in keys)] - r["value"]) < 1e-12 for r in metrics)
    kinds = json.loads((folder / "kinds.json").read_text())
    groups = {}
    for row in kinds:
        groups.setdefault(row["column"], {})[row["group"]] = row["num_queries"]
    assert groups == {
        "kind": {"category": 2, "misspelling": 1},
        "seen": {"seen": 2, "unseen": 1},
        "kind and seen": {"category, seen": 1, "category, unseen": 1, "misspelling, seen": 1},
    }
    assert {r["system"] for r in kinds} == SEARCH_SYSTEMS
    assert pd.read_parquet(folder / "run-sasrec x likelihood-search.parquet")["rank"].max() > 1
    statistics = ws.meta("evaluation")["statistics"]
    chosen = statistics["tuned"]["sasrec x likelihood"]
    assert set(chosen) >= {"history", "popularity", "likelihood", "mu", "validation_ndcg@10"}
    assert chosen["targets"] == 3  # validation searches
    assert statistics["without_encoder"] == []


def test_an_encoder_that_is_not_at_hand_costs_one_row_and_no_stage(tmp_path, monkeypatch, capsys):
    ws = finished_workspace(tmp_path, monkeypatch)

    def offline(*_):
        raise ArtifactError("embeddings: the encoder 'far' could not be loaded. Check the network.")

    monkeypatch.setattr(dense, "encode_queries", offline)
    _, page = report_of(ws)
    said = capsys.readouterr().out
    assert "WARN evaluation: the tables have no row dense" in said
    assert "Check the network. Once the encoder loads, delete artifacts/hand/evaluation" in said
    metrics = json.loads((ws.report / "metrics.json").read_text())
    assert {r["system"] for r in metrics if r["task"] == "search"} == SEARCH_SYSTEMS - {"dense"}
    assert "dense is not shown: its text encoder could not be loaded" in page.text
    assert "cosine" not in page.text


@pytest.mark.parametrize("name", ["sasrec x likelihood", "svd x likelihood"])
def test_the_page_names_the_search_baselines_and_says_what_they_are(tmp_path, monkeypatch, name):
    ws = finished_workspace(tmp_path, monkeypatch)
    recommender = {"sasrec": "sasrec-ce", "svd": "svd"}[name.split()[0]]
    monkeypatch.setattr(stage, "load_ranker", lambda ws, corpus: (recommender, FakeRanker(1)))
    text, page = report_of(ws)
    words = " ".join(page.text.split())
    assert f"{name} is Bayes' rule for search: the recommender after the history" in words
    assert "dense is the cosine of query and item as the text encoder (minilm) has them" in words
    assert "transitions, item-knn only count train events, with parameters" in words
    # in the tables of full, all relevant and sampled ranking, and in three by kinds of query
    for system in (name, "dense"):
        assert text.count(f'<th scope="row">{system}</th>') == 6
        assert f"{system} 0." in page.alts[1]  # bars


def test_evaluate_twice_gives_the_same_files(tmp_path, monkeypatch):
    first = stage.evaluate(finished_workspace(tmp_path / "a", monkeypatch))
    second = stage.evaluate(finished_workspace(tmp_path / "b", monkeypatch))
    for name in ("metrics.json", "kinds.json"):
        assert (first / name).read_text() == (second / name).read_text()


def test_a_report_needs_the_evaluation(tmp_path, monkeypatch):
    with pytest.raises(ArtifactError, match="gensar evaluation"):
        write_report(finished_workspace(tmp_path, monkeypatch))


class Page(HTMLParser):
    """Collects tags, addresses, handlers and text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.addresses, self.handlers, self.alts, self.text = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            v for k, v in attrs if k in ("src", "href", "srcset", "action", "data", "poster")
        ]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]
        self.alts += [v for k, v in attrs if k == "alt"]

    def handle_data(self, data):
        self.text += data


def report_of(ws) -> tuple[str, Page]:
    stage.evaluate(ws)
    (ws.report).mkdir(parents=True)
    (ws.report / "LOG.md").write_text("mine")
    text = write_report(ws).read_text()
    assert (ws.report / "LOG.md").read_text() == "mine"
    metrics = json.loads((ws.report / "metrics.json").read_text())
    keys = {"system", "task", "protocol", "metric", "value", "low", "high", "num_queries", "seeds"}
    assert all(set(row) == keys for row in metrics)
    stored = (ws.folder("evaluation") / "kinds.json").read_text()
    assert json.loads((ws.report / "kinds.json").read_text()) == json.loads(stored)
    return text, Page(text)


def test_the_page_loads_nothing_and_runs_nothing(tmp_path, monkeypatch):
    text, page = report_of(finished_workspace(tmp_path, monkeypatch))
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {"script", "iframe", "link", "object", "embed", "form", "base", "a"} & set(page.tags)
    assert not page.handlers
    assert "@import" not in text
    assert "url(" not in text
    assert not re.search(r"<[^>]+https?://", text)
    assert page.tags.count("img") == len(page.alts) == 5
    assert all(len(alt) > 40 for alt in page.alts)
    assert page.tags.count("h1") == 1
    assert "default-src 'none'" in text
    assert not list(ws_files(tmp_path, ".index*"))


def test_template_and_style_travel_in_a_wheel(monkeypatch):
    """What setuptools would pack besides modules is every other file of the package."""
    setuptools = pytest.importorskip("setuptools")
    root = Path(__file__).parent.parent
    monkeypatch.chdir(root)
    distribution = setuptools.Distribution()
    distribution.parse_config_files(["pyproject.toml"])
    distribution.include_package_data = False  # else it reads what version control knows
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    packed = {Path(folder, name) for _, folder, _, names in build.data_files for name in names}
    there = {path for path in Path("gensar_lite").rglob("*") if path.is_file()}
    there = {path for path in there if path.suffix not in (".py", ".pyc")}
    assert {"page.html.j2", "page.css"} <= {path.name for path in packed}
    assert packed >= there


def ws_files(root, pattern):
    return (root / "reports").rglob(pattern)


def test_the_shops_page_shows_texts_escaped_and_whole(tmp_path, monkeypatch):
    _, page = report_of(finished_workspace(tmp_path, monkeypatch))
    shown = [payload for payload in PAYLOADS if payload in page.text]
    assert len(shown) >= 4  # six examples show most of the titles, letter by letter
    assert "the built-in shop is made up" in page.text.lower()
    for part in (
        "Search against recommendation",
        "misspelling (1)",
        "0-1",
        "perplexity",
        "gensar run --preset tiny",
    ):
        assert part in page.text


def test_the_page_of_real_data_has_no_item_text_and_says_semi_synthetic(tmp_path, monkeypatch):
    _, page = report_of(finished_workspace(tmp_path, monkeypatch, source="beauty"))
    corpus = tiny_corpus()
    for text in [
        *corpus.items["title"],
        *corpus.items["text"],
        *corpus.items["category"],
        *corpus.queries["text"],
    ]:
        assert text not in page.text
    assert "semi-synthetic" in page.text
    assert "not ours to publish" in page.text
    assert re.search(r"item \d+", page.text)


def own_corpus() -> Corpus:
    """The tiny corpus as own files would give it: ids of their own, one with markup; nobody
    searches."""
    corpus = tiny_corpus()
    events = corpus.events[corpus.events["task"] == "recommend"].reset_index(drop=True)
    events = events.assign(event_id=np.arange(len(events)))
    items = corpus.items.assign(source_id=[f"00{i}<b>sku</b>" for i in range(NUM_ITEMS)])
    users = np.array([f"guest-{user}" for user in range(6)])
    return Corpus(items, corpus.queries[:0], events, corpus.relevance[:0], True, users).check()


def test_the_page_of_own_files_speaks_their_ids_and_shows_the_report(tmp_path, monkeypatch):
    finding = Finding(
        "DROP",
        "events",
        "have no <i>time</i>",
        1,
        2000,
        (5,),
        "{secret cell}",
        "Dropped & counted.",
    )
    columns = {"items": {"item_id": "movieId"}, "events": {"time": "when"}}
    files = {
        "items": {"file": "films.csv", "rows": 1012},
        "events": {"file": "log.csv", "rows": 2000},
    }
    report = Report(
        files,
        columns,
        {"items": ["year"], "events": []},
        [finding],
        {"items": 12, "test targets": 345},
    )
    ws = finished_workspace(tmp_path, monkeypatch, "files", own_corpus(), report)
    text, page = report_of(ws)
    for part in (
        *(
            "films.csv",
            "item_id = movieId",
            "1,012",
            "1 of 2,000 rows have no <i>time</i>",
            "under 0.1 %",
        ),
        *(
            "Dropped & counted.",
            "345",
            "for user guest-",
            "ids of your files",
            "validation targets",
            "1,234 items read",
        ),
    ):
        assert part in page.text, part
    assert re.search(r"item 00\d+<b>sku</b>", page.text)
    assert not re.search(r"item \d+ ", page.text), "no number of ours"
    assert "secret cell" not in text
    assert "Search against recommendation" not in text
    assert "category-popularity" not in text
    assert page.tags.count("img") == 4  # bars, two maps, a curve
    assert "<b>sku" not in text


def test_targets_of_each_task_and_split_by_hand():
    assert target_rows(tiny_corpus()) == [("recommend", "12", "3", "3"), ("search", "0", "3", "3")]
    assert target_rows(own_corpus()) == [("recommend", "12", "3", "3")]
    assert [share(*pair) for pair in ((0, 5), (1, 3), (5, 5), (1, 9999))] == [
        "0 %",
        "33.3 %",
        "100.0 %",
        "under 0.1 %",
    ]


def test_a_system_that_can_answer_nothing_has_no_row(tmp_path, monkeypatch, capsys):
    corpus = tiny_corpus()
    items = corpus.items.assign(title=[*"AB7C&D"] * 2, text="")
    silent = Corpus(items, corpus.queries, corpus.events, corpus.relevance)
    _, page = report_of(finished_workspace(tmp_path, monkeypatch, corpus=silent))
    metrics = json.loads((tmp_path / "reports/hand/metrics.json").read_text())
    assert {"bm25", "query-clicks"}.isdisjoint(row["system"] for row in metrics)
    assert {row["protocol"] for row in metrics if row["task"] == "search"} >= {"bm25-4"}, (
        "its negatives are random"
    )
    assert "it answers nothing here: bm25/search" in page.text
    assert "bm25 " not in capsys.readouterr().out


def test_held_out_losses_are_a_row_a_task():
    figures = {
        "untrained": {"nrip/held_out_loss": 3.5, "nsqp/held_out_loss": 6.0},
        "trained": {
            "nrip/held_out_loss": 2.25,
            "nrip/held_out_accuracy@1": 0.5,
            "nrip/held_out_accuracy@2": 0.125,
            "nsqp/held_out_loss": 1.0,
            "nsqp/held_out_accuracy@1": 0.75,
        },
    }
    assert held_out_rows(figures) == [
        ("nrip", "3.500", "2.250", "50.0%, 12.5%"),
        ("nsqp", "6.000", "1.000", "75.0%"),
    ]
    assert held_out_rows({}) == []


def test_no_two_systems_of_a_run_look_alike():
    """Every run has one collaborative recommender; whichever it is, it looks like no other row."""
    of_one = {name for name in SYSTEMS if name.startswith(("svd", "sasrec"))}
    rest = [name for name in SYSTEMS if name not in of_one]
    for recommender in of_one:
        run = [*rest, recommender]
        if "likelihood" not in recommender:
            run.append(bayes_name(recommender))
        assert len({plots._style(name) for name in run}) == len(run)


def test_no_two_lines_of_search_alone_have_one_colour():
    """A system of one task has no point and so no marker in the figure of both tasks."""
    names = ("joint+channel", "category-popularity", "query-clicks", "bm25", "dense")
    for likelihood in ("svd x likelihood", "sasrec x likelihood"):
        assert len({plots._style(name)[0] for name in (*names, likelihood)}) == len(names) + 1


def test_a_page_of_somebody_else_is_not_replaced(tmp_path):
    from gensar_lite.artifacts import ArtifactError
    from gensar_lite.evaluation.report import refuse_foreign

    others = ("metrics.json",)
    refuse_foreign(tmp_path / "mine", others)  # nothing there
    (tmp_path / "index.html").write_text("<title>gensar_lite: mine</title>")
    (tmp_path / "metrics.json").write_text("[]")
    refuse_foreign(tmp_path, others)  # ours
    (tmp_path / "index.html").write_text("<title>My thesis</title>")
    with pytest.raises(ArtifactError, match=r"holds index\.html, which this program did not write"):
        refuse_foreign(tmp_path, others)
    (tmp_path / "index.html").unlink()
    with pytest.raises(ArtifactError, match=r"holds metrics\.json"):
        refuse_foreign(tmp_path, others)
