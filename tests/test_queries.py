"""Category-path queries and search twins: the published examples by hand, the twins by property."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.data.queries import number_texts, path_query, relevance_table, search_twins, stem
from gensar_lite.data.text import MAX_CHARACTERS, clean


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (
            ["Cell Phones & Accessories", "Accessories", "Batteries", "Charger Cases"],
            "cell phone accessory battery charger case",
        ),
        (["CDs & Vinyl", "Alternative Rock"], "cds vinyl alternative rock"),
        (
            ["Electronics", "Computers & Accessories", "Computer Components", "Memory"],
            "electronics accessory computer component memory",
        ),
        (
            ["Electronics", "GPS & Navigation", "GPS System Accessories", "Screen Protector Foils"],
            "electronics navigation gps system accessory screen protector foil",
        ),
        (
            ["Books", "Mystery, Thrillers & Suspense", "Mystery", "Women Sleuths"],
            "books thriller suspense mystery women sleuth",
        ),
    ],
)
def test_the_published_examples(path, query):
    assert path_query(path) == query


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ([], ""),
        (["&", "2014", "The & Of"], ""),
        (
            ["Beauty", "Fragrance", "Women's", "Eau de Toilette"],
            "beauty fragrance women eau de toilette",
        ),
        (["Beauty", "Hair Care", "Hot-Air Brushes"], "beauty hair care hot air brush"),
        (["Makeup", "Eyes", "Eye Shadow"], "makeup eye shadow"),
        (["Crèmes"], "crème"),
    ],
)
def test_paths_by_hand(path, query):
    assert path_query(path) == query


@pytest.mark.parametrize(
    ("word", "stemmed"),
    [("gps", "gps"), ("boxes", "box"), ("lashes", "lash"), ("glosses", "gloss"), ("cases",
     "case"), ("gloss", "gloss"),
     ("focus", "focus"), ("movies", "movie"), ("ties", "tie"), ("lens", "lens"), ("dry", "dry")],
)  # fmt: skip
def test_stem(word, stemmed):
    assert stem(word) == stemmed


@given(st.lists(st.text(max_size=20), max_size=5))
def test_a_query_repeats_no_word_and_is_lower_case(path):
    words = path_query(path).split()
    assert len(set(words)) == len(words)
    assert all(word == word.lower() for word in words)


def test_items_of_one_path_share_a_query_and_all_of_them_answer_it():
    texts, item_query = number_texts(["b a", "c", "", "b a"])
    assert texts == ["b a", "c"]
    assert item_query.tolist() == [0, 1, -1, 0]
    assert relevance_table(item_query).to_numpy().tolist() == [[0, 0, 1], [0, 3, 1], [1, 1, 1]]


@st.composite
def logs(draw):
    """A log in which a user meets no item twice, and a query (or none) an item."""
    num_items = draw(st.integers(1, 12))
    users = draw(st.lists(st.permutations(range(num_items)), min_size=1, max_size=6))
    rows = [
        (user, time, item) for user, items in enumerate(users) for time, item in enumerate(items)
    ]
    item_query = draw(st.lists(st.integers(-1, 4), min_size=num_items, max_size=num_items))
    return pd.DataFrame(rows, columns=["user_id", "time", "item_id"]), np.array(
        item_query, dtype=np.int64
    )


@given(logs(), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_twins(log, rate, seed):
    purchases, item_query = log
    events = search_twins(purchases, item_query, rate, np.random.default_rng(seed))
    key = ["user_id", "time", "item_id"]
    bought, twins = events[events["task"] == "recommend"], events[events["task"] == "search"]
    # every purchase stays, once; a twin stands beside a purchase of the same user, time and item,
    # at most one
    assert bought[key].to_numpy().tolist() == purchases.sort_values(key)[key].to_numpy().tolist()
    assert (bought["query_id"] == -1).all()
    assert not twins.duplicated(key).any()
    assert len(twins.merge(bought, on=key)) == len(twins)
    # its query is the item's, and the share is met to the nearest event
    assert (twins["query_id"].to_numpy() == item_query[twins["item_id"].to_numpy()]).all()
    can = int((item_query[purchases["item_id"].to_numpy()] >= 0).sum())
    assert len(twins) == round(rate * can)
    # sorted, and the twin follows its purchase
    order = events.sort_values(["user_id", "time"], kind="stable")
    assert order.index.tolist() == list(range(len(events)))
    follows = np.flatnonzero((events["task"] == "search").to_numpy())
    assert (events.loc[follows, key].to_numpy() == events.loc[follows - 1, key].to_numpy()).all()


@given(logs(), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_rows_does_not_matter(log, seed, random):
    purchases, item_query = log
    rows = list(range(len(purchases)))
    random.shuffle(rows)
    one = search_twins(purchases, item_query, 0.5, np.random.default_rng(seed))
    other = search_twins(purchases.iloc[rows], item_query, 0.5, np.random.default_rng(seed))
    pd.testing.assert_frame_equal(one, other)


def test_another_seed_draws_other_twins():
    purchases = pd.DataFrame({"user_id": 0, "time": range(200), "item_id": range(200)})
    drawn = [
        search_twins(purchases, np.zeros(200, int), 0.5, np.random.default_rng(s))
        for s in (0, 0, 1)
    ]
    assert drawn[0].equals(drawn[1])
    assert not drawn[0].equals(drawn[2])


@pytest.mark.parametrize(
    ("published", "kept"),
    [
        ("  two\n words\t", "two words"),
        ("Cr&egrave;me &amp; Co", "Crème & Co"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),  # once, not twice
        ("a\u202eb\u200bc\x00d\ufeff", "abc d"),
        ("x" * 10_000_000, "x" * MAX_CHARACTERS),
        ("", ""),
    ],
)
def test_clean(published, kept):
    assert clean(published) == kept
