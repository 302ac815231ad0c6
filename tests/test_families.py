"""Query families and held-out queries: five items by hand, slow loops on the shop, shares against
enumeration.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.artifacts import Corpus, Workspace
from gensar_lite.config import DataConfig, override, preset
from gensar_lite.data import Tables, build_corpus, history_bounds, prepare
from gensar_lite.data.families import (
    DESCRIPTIONS,
    PHRASES,
    attribute_family,
    category_family,
    make_families,
    semi_synthetic_search,
    text_family,
    title_words,
)
from gensar_lite.data.queries import (
    even_choice,
    number_texts,
    path_query,
    relevance_table,
    search_twins,
    stem,
)
from gensar_lite.data.shop.synthetic import make_shop
from gensar_lite.data.sources import load_source
from gensar_lite.data.splitting import held_out_queries

ALL = ("category", "attribute", "text")
SETTINGS = DataConfig(query_families=ALL)
FILLERS = {word for phrase in PHRASES for word in phrase.lower().split() if "{" not in word}


def five_items() -> pd.DataFrame:
    """Every telling word stands in two of five titles; ``bolt`` is the brand of two titles of three
    that hold it.
    """
    rows = [
        ("Acme Rose Lotion", "Acme", "Skin > Lotions"),
        ("Roses Soap, 4 oz", "", "Skin > Lotions"),
        ("Bolt Lotions Box", "Bolt", "Skin > Creams"),
        ("BOLT Soap Box", "Bolt", "Skin > Lotions"),
        ("Bolt Gem", "", ""),
    ]
    return (
        pd.DataFrame(rows, columns=["title", "brand", "category"])
        .rename_axis("item_id")
        .reset_index()
    )


def graded(family) -> dict[str, dict[int, int]]:
    """``query text -> item -> grade``."""
    found = {text: {} for text in family.texts}
    for query, item, grade in (
        family.relevance[["query_id", "item_id", "grade"]].to_numpy().tolist()
    ):
        assert item not in found[family.texts[query]]
        found[family.texts[query]][item] = grade
    return found


@pytest.fixture(scope="module")
def shop() -> Tables:
    """The built-in shop's purchases, searched by all three families."""
    tables = make_shop(DataConfig())
    purchases = tables.events[tables.events["task"] == "recommend"]
    search = semi_synthetic_search(tables.items, purchases, SETTINGS)
    return Tables(tables.items, search.queries, search.events, search.relevance, search.facts)


# -------------------------------------------------------------------------------------- by hand


def test_category_family_by_hand():
    family = category_family(five_items(), "Beauty")
    assert graded(family) == {"beauty skin lotion": {0: 1, 1: 1, 3: 1}, "beauty skin cream": {2: 1}}
    assert family.item_query.tolist() == [0, 0, 1, 0, -1]
    assert category_family(five_items()).texts == ["skin lotion", "skin cream"]


def test_attribute_family_by_hand():
    family = attribute_family(five_items())
    assert graded(family) == {
        "acme lotion": {
            0: 2,
            1: 1,
            3: 1,
        },  # another brand's lotions answer in part; another category does not
        "bolt cream": {2: 2},
        "bolt lotion": {3: 2, 0: 1, 1: 1},
    }
    assert family.item_query.tolist() == [0, -1, 1, 2, -1]


def test_text_family_by_hand():
    family = text_family(five_items())
    assert family.item_query.tolist() == [
        0,
        1,
        2,
        3,
        -1,
    ]  # the gem is one of its kind, and bolt is a name
    said = [set(text.lower().split()) - FILLERS for text in family.texts]
    assert said == [{"rose", "lotion"}, {"rose", "soap"}, {"lotion", "box"}, {"soap", "box"}]
    answers = list(graded(family).values())
    assert answers == [{0: 2, 1: 1}, {1: 2, 0: 1, 3: 1}, {2: 2}, {3: 2, 1: 1}]


def test_a_word_is_telling_where_it_is_neither_rare_nor_common_nor_a_name():
    words = title_words(five_items())
    assert set(words.loc[words["telling"], "stem"]) == {"rose", "lotion", "soap", "box"}
    rose = words[words["stem"] == "rose"]
    assert rose["word"].tolist() == ["rose", "roses"]
    assert rose["tf_idf"].tolist() == pytest.approx([np.log(5 / 2)] * 2)


def test_the_name_of_a_brand_tells_nothing_even_where_the_brand_is_not_given():
    items = pd.DataFrame(
        {
            "title": ["Nova Mist", "Nova Foam", "Mist Foam"],
            "brand": ["Nova", "", ""],
            "category": "c",
        }
    )
    assert set(title_words(items).query("telling")["stem"]) == {"mist", "foam"}
    assert text_family(items).item_query.tolist() == [-1, -1, 0]


def test_phrases_are_drawn_from_the_seed_and_the_pairs_are_not():
    items = make_shop(DataConfig(num_items=300, num_users=50, num_events=500)).items
    one, again, other = (text_family(items, seed) for seed in (0, 0, 1))
    assert one.texts == again.texts
    assert one.texts != other.texts
    assert [sorted(set(t.lower().split()) - FILLERS) for t in one.texts] == [
        sorted(set(t.lower().split()) - FILLERS) for t in other.texts
    ]
    pd.testing.assert_frame_equal(one.relevance, other.relevance)


def test_a_catalogue_without_words_brands_or_paths_has_no_queries():
    items = pd.DataFrame({"title": ["", "12"], "brand": "", "category": ""})
    for family in make_families(items, SETTINGS):
        assert family.texts == []
        assert family.item_query.tolist() == [-1, -1]
        assert len(family.relevance) == 0
    purchases = pd.DataFrame({"user_id": [0, 0], "time": [0, 1], "item_id": [0, 1]})
    search = semi_synthetic_search(items, purchases, SETTINGS)
    assert search.events["task"].tolist() == ["recommend", "recommend"]
    assert search.facts["search events by kind"] == dict.fromkeys(ALL, 0)


# --------------------------------------------------------------------- relevance by another way


def test_relevance_of_the_shop_equals_a_slow_reading_of_titles_and_brands(shop):
    items = shop.items
    stems = [{stem(w) for w in _letters(title)} for title in items["title"]]
    leaf = [path.split(" > ")[-1] for path in items["category"]]
    wanted = {}
    for query in shop.queries.itertuples():
        if query.kind == "category":
            wanted[query.query_id] = {
                i: 1
                for i, p in enumerate(items["category"])
                if path_query(p.split(" > ")) == query.text
            }
        elif query.kind == "attribute":
            mine = [i for i in range(len(items)) if query.text.endswith(path_query([leaf[i]]))]
            exact = {
                i
                for i in mine
                if query.text == " ".join([*_letters(items["brand"][i]), path_query([leaf[i]])])
            }
            same = {leaf[i] for i in exact}
            wanted[query.query_id] = {i: 2 if i in exact else 1 for i in mine if leaf[i] in same}
        else:
            pair = {stem(word) for word in set(query.text.lower().split()) - FILLERS}
            exact = {i for i, held in enumerate(stems) if pair <= held}
            paths = {items["category"][i] for i in exact}
            part = {
                i for i, held in enumerate(stems) if pair & held and items["category"][i] in paths
            }
            wanted[query.query_id] = {i: 2 if i in exact else 1 for i in part | exact}
    found = {}
    for query, item, grade in shop.relevance[["query_id", "item_id", "grade"]].to_numpy().tolist():
        found.setdefault(query, {})[item] = grade
    assert found == wanted


def _letters(text: str) -> list[str]:
    return "".join(c if c.isalpha() else " " for c in text.lower()).split()


def test_every_click_has_the_best_grade_and_queries_of_a_kind_are_distinct(shop):
    searches = shop.events[shop.events["task"] == "search"].merge(
        shop.relevance, on=["query_id", "item_id"]
    )
    assert len(searches) == (shop.events["task"] == "search").sum()
    best = shop.relevance.groupby("query_id")["grade"].max()
    assert (searches["grade"].to_numpy() == best.loc[searches["query_id"]].to_numpy()).all()
    assert not shop.queries.duplicated(["kind", "text"]).any()
    assert not shop.relevance.duplicated(["query_id", "item_id"]).any()
    assert set(shop.relevance["query_id"]) == set(shop.queries["query_id"])
    brands = {word for brand in shop.items["brand"] for word in _letters(brand)}
    texts = shop.queries.loc[shop.queries["kind"] == "text", "text"]
    assert all(not (set(text.lower().split()) - FILLERS) & brands for text in texts)


def test_category_alone_is_what_it_was_before_there_were_families():
    tables = make_shop(DataConfig())
    purchases = tables.events[tables.events["task"] == "recommend"]
    search = semi_synthetic_search(tables.items, purchases, DataConfig())
    texts, item_query = number_texts(
        path_query(path.split(" > ")) for path in tables.items["category"]
    )
    assert search.queries["text"].tolist() == texts
    assert search.queries["query_id"].tolist() == list(range(len(texts)))
    pd.testing.assert_frame_equal(search.relevance, relevance_table(item_query))
    twins = search_twins(purchases, item_query, 0.758, np.random.default_rng(0))
    pd.testing.assert_frame_equal(search.events, twins)
    assert set(search.queries["kind"]) == {"category"}


# --------------------------------------------------------------------------------- equal shares


def test_the_shop_draws_equal_shares_and_reports_them(shop):
    asked = shop.queries["kind"].to_numpy()[
        shop.events.loc[shop.events["task"] == "search", "query_id"]
    ]
    counts = pd.Series(asked).value_counts()
    assert counts.max() - counts.min() <= 1
    assert shop.facts["search events by kind"] == counts.to_dict()
    assert shop.facts["share of search by kind"] == dict.fromkeys(
        ALL, pytest.approx(1 / 3, abs=1e-3)
    )
    assert shop.facts["search made"].startswith("; ".join(DESCRIPTIONS[kind] for kind in ALL))
    assert shop.facts["queries by kind"] == shop.queries["kind"].value_counts().to_dict()


masks = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(any), min_size=1, max_size=7
)


@given(masks, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_shares_are_as_even_as_any_choice_can_make_them_to_a_row(rows, seed):
    possible = np.array(rows)
    choice = even_choice(possible, np.random.default_rng(seed))
    assert possible[np.arange(len(rows)), choice].all()
    counts = np.bincount(choice, minlength=3)
    every = itertools.product(*(np.flatnonzero(row) for row in possible))
    best = min((np.bincount(way, minlength=3) ** 2).sum() for way in every)
    assert (counts**2).sum() <= best + 2  # one row may sit one column too high: (3, 1) for (2, 2)


def test_scarce_families_give_what_they_have():
    possible = np.array(
        [[True, False, True]] * 70 + [[True, True, True]] * 20 + [[False, True, False]] * 4
    )
    counts = np.bincount(even_choice(possible, np.random.default_rng(0)))
    assert counts.tolist() == [35, 24, 35]
    other = even_choice(possible, np.random.default_rng(1))
    assert (other != even_choice(possible, np.random.default_rng(0))).any()
    assert even_choice(np.zeros((0, 3), bool), np.random.default_rng(0)).shape == (0,)


# ------------------------------------------------------------------------------- unseen queries


@pytest.fixture(scope="module")
def corpora(shop) -> tuple[Corpus, Corpus, dict]:
    """The same log with nothing held out, and with 20 % of the strings; and the second one's
    funnel.
    """
    whole, _ = build_corpus(shop, SETTINGS)
    return whole, *build_corpus(shop, dataclasses.replace(SETTINGS, unseen_rate=0.2))


def test_only_train_searches_of_held_out_strings_go(corpora):
    whole, part, funnel = corpora
    held = held_out_queries(whole.queries, 0.2, 0)
    key = ["user_id", "time", "task", "item_id", "query_id", "split"]
    events = whole.events
    gone = (events["split"] == "train") & (events["query_id"] >= 0) & held[events["query_id"]]
    pd.testing.assert_frame_equal(part.events[key], events.loc[~gone, key].reset_index(drop=True))
    assert funnel["search_events_held_out"] == gone.sum() > 0
    assert funnel["events"] == len(part.events) == len(events) - gone.sum()
    train = part.targets("train", "search")
    assert not held[train["query_id"]].any()


def test_every_kind_holds_out_its_share(corpora):
    queries = corpora[0].queries
    held = held_out_queries(queries, 0.2, 0)
    for kind, count in queries["kind"].value_counts().items():
        assert held[queries["kind"] == kind].sum() == round(0.2 * count)
    assert (held != held_out_queries(queries, 0.2, 1)).any()
    assert not held_out_queries(queries, 0.0, 0).any()
    shuffled = queries.sample(frac=1, random_state=0)
    assert (held_out_queries(shuffled, 0.2, 0) == held[shuffled.index]).all()


def test_a_string_is_held_out_under_every_id():
    queries = pd.DataFrame({"text": ["a", "b", "a", "c"], "kind": ["x", "x", "y", "y"]})
    for seed in range(20):
        held = held_out_queries(queries, 0.5, seed)
        assert held[0] == held[2]
        assert held.any()


def test_seen_says_whether_a_train_search_has_the_string(corpora):
    for corpus in corpora[:2]:
        trained = set(corpus.queries["text"].iloc[corpus.targets("train", "search")["query_id"]])
        assert corpus.queries["seen"].tolist() == [
            text in trained for text in corpus.queries["text"]
        ]
    _, part, funnel = corpora
    asked = part.targets("test", "search")["query_id"]
    counted = funnel["search_targets"]["test"]
    assert counted["unseen"] == sum(not part.queries["seen"][q] for q in asked) > 100
    assert counted["seen"] + counted["unseen"] == len(asked) == sum(counted[kind] for kind in ALL)


def test_the_same_string_under_two_ids_is_seen_under_both():
    items = pd.DataFrame(
        {"item_id": range(5), "title": "t", "text": "", "brand": "", "category": "c"}
    )
    queries = pd.DataFrame(
        {"query_id": [0, 1, 2], "text": ["a", "a", "b"], "kind": ["x", "y", "y"]}
    )
    rows = [(0, t, "search", t, q) for t, q in enumerate((0, 0, 2, 1))]
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    corpus, _ = build_corpus(
        Tables(items, queries, events, queries[:0].assign(item_id=[], grade=[]), {}), DataConfig()
    )
    assert corpus.queries["seen"].tolist() == [True, True, False]


def test_the_tokenizer_of_a_model_from_scratch_reads_no_unseen_query(corpora, monkeypatch):
    from gensar_lite.training import stage

    part, read = corpora[1], []
    monkeypatch.setattr(
        stage.TextCodec, "train", staticmethod(lambda texts, num_tokens: read.extend(texts))
    )
    stage.train_codec(part, preset("tiny").training)
    unseen = set(part.queries.loc[~part.queries["seen"], "text"])
    assert unseen
    assert not unseen & set(read)
    assert set(part.queries.loc[part.queries["seen"], "text"]) <= set(read)


def test_nothing_leaks_from_any_family(corpora):
    for corpus in corpora[:2]:
        start, end = history_bounds(corpus.events)
        item, user = corpus.events["item_id"].tolist(), corpus.events["user_id"].tolist()
        assert not any(item[row] in item[start[row] : end[row]] for row in range(len(item)))
        assert all(
            user[start[row]] == user[row] for row in range(len(item)) if end[row] > start[row]
        )
        assert (corpus.events.groupby(["user_id", "time"])["split"].nunique() == 1).all()


def test_a_shop_with_unseen_queries_is_prepared_and_counted(tmp_path):
    ws = Workspace.open(override(preset("tiny"), {"data.unseen_rate": 0.3}), tmp_path)
    corpus = Corpus.load(prepare(ws))
    counted = ws.meta("data")["statistics"]["search_targets"]["test"]
    assert counted["unseen"] > 0
    assert counted["category"] + counted["attribute"] + counted["synonym"] + counted[
        "misspelling"
    ] == len(corpus.targets("test", "search"))


# ------------------------------------------------------------------------------- the real files


@pytest.mark.real_data
def test_families_of_beauty(beauty):
    """The preset's corpus: three families in equal shares, a tenth of the strings unseen in
    training.
    """
    counts = beauty.queries["kind"].value_counts().to_dict()
    assert counts == {"text": 7_722, "attribute": 2_778, "category": 221}
    searches = beauty.events[beauty.events["task"] == "search"]
    kinds = beauty.queries["kind"].to_numpy()[searches["query_id"]]
    kept = pd.Series(kinds[(searches["split"] != "train").to_numpy()]).value_counts(normalize=True)
    assert (kept - 1 / 3).abs().max() < 0.015
    held = held_out_queries(beauty.queries, 0.1, 0)
    assert abs(held.mean() - 0.1) < 1e-3
    assert not held[beauty.targets("train", "search")["query_id"]].any()
    assert not beauty.queries["seen"].to_numpy()[held].any()
    asked = beauty.targets("test", "search")["query_id"]
    assert 0.08 < (~beauty.queries["seen"].to_numpy()[asked]).mean() < 0.16
    clicks = searches.merge(beauty.relevance, on=["query_id", "item_id"])
    assert len(clicks) == len(searches)
    kind = beauty.queries["kind"].to_numpy()[clicks["query_id"]]
    assert (clicks["grade"].to_numpy() == np.where(kind == "category", 1, 2)).all()


@pytest.mark.real_data
def test_shares_of_beauty_are_equal_to_an_event():
    facts = load_source(preset("beauty").data).facts
    assert facts["search events by kind"] == dict.fromkeys(ALL, 50_155)
    assert facts["search events"] == round(0.758 * 198_502)
    assert facts["items without a query by kind"] == {
        "category": 0,
        "attribute": 4_671,
        "text": 714,
    }
