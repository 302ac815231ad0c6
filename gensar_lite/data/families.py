"""Query families: three ways in which a purchase could have been searched for.

In: a catalogue and a log of purchases. Out: queries with their `kind`, search twins drawn in equal
shares, and the items that answer each query, with grades. Relevance comes from what items are
(path, brand, title), never from a click.

    category   names of the item's category path    grade 1: every item of the path
    attribute  its brand and its bottom category    grade 2: both, 1: the category, another brand
    text       two telling words of its title,      grade 2: both words, 1: one of them, in a
               put in a phrase                               category of a grade 2 item

Another category of the same brand, or one shared word elsewhere, is no answer. This file does not
know how events are split, nor which strings training may see.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from gensar_lite.config import DataConfig
from gensar_lite.data.queries import (
    STOP_WORDS,
    number_texts,
    path_query,
    relevance_table,
    search_twins,
    stem,
)
from gensar_lite.data.words import LETTERS, is_latin, words_of

DESCRIPTIONS = {
    "category": "category-path queries (Ai et al. 2017)",
    "attribute": "brand and bottom category",
    "text": "two title words in a phrase",
}
LETTERS_OF_A_WORD = 3  # at least, of a title's word
# A telling word: in one title of 600 or more (and in two), in one of ten at most, and rarely a name
LEAST_TITLES, LEAST_SHARE, MOST_SHARE = 2, 1 / 600, 1 / 10
BRAND_SHARE = 0.3  # of the titles that hold a word: named so by the brand, it is a name
PHRASES = (
    "{0} {1}",
    "{1} {0}",
    "{0} with {1}",
    "looking for {0} {1}",
    "{0} {1} that works",
    "where do I find {1} {0}",
)
PLAIN = 2  # of the phrases hold no word of their own: they stand first
CHUNK = 1000  # queries whose relevance is counted together: bounds the memory


class Family(NamedTuple):
    """One kind of query."""

    kind: str
    texts: list[str]  # of Q queries
    item_query: np.ndarray  # (N,) the query of each item, -1 for none
    relevance: pd.DataFrame  # query_id, item_id, grade


class Search(NamedTuple):
    """What a source needs to be searched: three of `Tables`, and facts for the report."""

    queries: pd.DataFrame
    events: pd.DataFrame
    relevance: pd.DataFrame
    facts: dict[str, object]


def semi_synthetic_search(
    items: pd.DataFrame, purchases: pd.DataFrame, settings: DataConfig, root: str = ""
) -> Search:
    """Queries of every family in ``settings.query_families`` about `items` (row number = id), twins
    of `purchases` (``user_id, time, item_id``) that draw on them evenly. `root`: a level above
    every path, part of the category queries, e.g. ``Beauty``."""
    families = make_families(items, settings, root)
    queries, item_query, relevance = [], [], []
    first = 0  # the queries of a family are numbered on from those of the last
    for family in families:
        queries.append(pd.DataFrame({"text": family.texts, "kind": family.kind}))
        item_query.append(np.where(family.item_query < 0, -1, family.item_query + first))
        relevance.append(family.relevance.assign(query_id=family.relevance["query_id"] + first))
        first += len(family.texts)
    queries = pd.concat(queries, ignore_index=True)
    queries.insert(0, "query_id", np.arange(len(queries)))
    rng = np.random.default_rng(settings.seed)
    events = search_twins(purchases, np.stack(item_query), settings.search_rate, rng)
    # what the data report says of it
    asked = queries["kind"].to_numpy()[events.loc[events["task"] == "search", "query_id"]]
    drawn = {family.kind: int((asked == family.kind).sum()) for family in families}
    described = "; ".join(DESCRIPTIONS[kind] for kind in drawn)
    facts = {
        "search": "semi-synthetic",
        "search made": f"{described}, twins for {settings.search_rate:.1%} of the purchases",
        "queries": len(queries),
        "search events": len(asked),
        "queries by kind": {f.kind: len(f.texts) for f in families},
        "items without a query by kind": {f.kind: int((f.item_query < 0).sum()) for f in families},
        "search events by kind": drawn,
        "share of search by kind": {k: round(n / max(len(asked), 1), 4) for k, n in drawn.items()},
    }
    return Search(queries, events, pd.concat(relevance, ignore_index=True), facts)


def make_families(items: pd.DataFrame, settings: DataConfig, root: str = "") -> list[Family]:
    """The families that ``settings.query_families`` names, in that order."""
    make = {
        "category": lambda: category_family(items, root),
        "attribute": lambda: attribute_family(items),
        "text": lambda: text_family(items, settings.seed),
    }
    return [make[name]() for name in settings.query_families]


def category_family(items: pd.DataFrame, root: str = "") -> Family:
    """A query per category path; every item of the path answers it, grade 1."""
    above = [root] if root else []
    texts, item_query = number_texts(
        path_query([*above, *path.split(" > ")]) if path else "" for path in items["category"]
    )
    return Family("category", texts, item_query, relevance_table(item_query))


def attribute_family(items: pd.DataFrame) -> Family:
    """A query per brand and bottom category, e.g. ``neutrogena cleanser``; none without either.
    Grade 2: the brand's items in a category of that name; grade 1: other brands' items there."""
    brands = [" ".join(words_of(brand, whole=True)) for brand in items["brand"]]
    leaves = [path_query([path.split(" > ")[-1]]) for path in items["category"]]
    texts, item_query = number_texts(
        f"{brand} {leaf}" if brand and leaf else ""
        for brand, leaf in zip(brands, leaves, strict=True)
    )
    # the bottom category that each query asks for, and every item in it
    places = pd.DataFrame({"leaf": pd.Series(leaves, dtype=object), "query_id": item_query})
    asked = places[places["query_id"] >= 0].drop_duplicates()
    inside = pd.DataFrame({"leaf": places["leaf"], "item_id": np.arange(len(items))})
    table = asked.merge(inside, on="leaf")
    # an item of the category that has this very query also has the brand
    table["grade"] = np.where(item_query[table["item_id"]] == table["query_id"], 2, 1)
    table = table[["query_id", "item_id", "grade"]]
    table = table.sort_values(["query_id", "item_id"], ignore_index=True)
    return Family("attribute", texts, item_query, table)


def text_family(items: pd.DataFrame, seed: int = 0) -> Family:
    """A query per pair of telling title words, in a phrase drawn from `seed`.

    The two are the title's highest in tf-idf over all titles, names of brands left out. Grade 2:
    titles that hold both stems; grade 1: one of them, in a category path of a grade 2 item.
    """
    words = title_words(items)
    # 1. the two most telling words of each title that has two; equal ones by the alphabet
    order = ["item_id", "tf_idf", "stem"]
    best = words[words["telling"]].sort_values(order, ascending=[True, False, True])
    best = best[best.groupby("item_id").cumcount() < 2]
    best = best[best.groupby("item_id")["item_id"].transform("size") == 2]
    best = best.sort_values(["item_id", "place"])
    pairs = best["stem"].to_numpy(dtype=object).reshape(-1, 2)  # (P, 2) in the title's order
    # 2. a pair is one query whatever its order; its first title says which word comes first
    key, known = pd.factorize(pd.Series([" ".join(sorted(pair)) for pair in pairs], dtype=object))
    pairs = pairs[np.unique(key, return_index=True)[1]]  # (Q, 2)
    item_query = np.full(len(items), -1, dtype=np.int64)
    item_query[best["item_id"].to_numpy()[::2]] = key
    # 3. each stem in the form that titles use most, inside a phrase
    forms = words.groupby(["stem", "word"]).size().rename("times").reset_index()
    forms = forms.sort_values(["times", "word"], ascending=[False, True])
    form = forms.drop_duplicates("stem").set_index("stem")["word"]
    number = np.random.default_rng((seed, 1)).integers(len(PHRASES), size=len(known))
    texts = []
    for n, stems in zip(number, pairs, strict=True):
        pair = form[stems[0]], form[stems[1]]
        # English phrases go round words in Latin letters alone
        texts.append(PHRASES[n if all(map(is_latin, pair)) else n % PLAIN].format(*pair))
    relevance = _title_relevance(pairs, words, items["category"].to_numpy())
    return Family("text", texts, item_query, relevance)


def title_words(items: pd.DataFrame) -> pd.DataFrame:
    """Every stem of every title once: ``item_id, stem, word, place`` (of its first use),
    ``tf_idf``, ``telling``: neither rare nor common (see the constants) nor a name, which is part
    of the item's brand, or of the brand in many titles that hold it."""
    titles = [list(_words(title)) for title in items["title"]]
    rows = [(i, place, word) for i, words in enumerate(titles) for place, word in enumerate(words)]
    table = pd.DataFrame(rows, columns=["item_id", "place", "word"])
    table = table.astype({"item_id": np.int64, "place": np.int64})
    stems = {word: stem(word) for word in table["word"].unique()}
    table["stem"] = table["word"].map(stems).astype(object)
    # how often the title holds the stem; then each stem of a title is one row
    frequency = table.groupby(["item_id", "stem"])["place"].transform("size")
    table = table.assign(tf_idf=frequency).drop_duplicates(["item_id", "stem"], ignore_index=True)
    # names: a word of the item's brand, and a word that is one in many of the titles that hold it
    brands = [{stem(word) for word in _words(brand)} for brand in items["brand"]]
    pairs = zip(table["item_id"], table["stem"], strict=True)
    named = pd.Series([word in brands[i] for i, word in pairs], dtype=bool)
    is_name = named | (named.groupby(table["stem"]).transform("mean") >= BRAND_SHARE)
    # rare and common, by the titles that hold the stem
    held = table.groupby("stem")["item_id"].transform("size")
    least = max(LEAST_TITLES, len(items) * LEAST_SHARE)
    most = max(len(items) * MOST_SHARE, least)
    table["tf_idf"] = table["tf_idf"] * np.log(len(items) / held)
    table["telling"] = ~is_name & (held >= least) & (held <= most)
    return table


def _words(text: str) -> Iterator[str]:
    return (word for word in words_of(text, LETTERS, LETTERS_OF_A_WORD) if word not in STOP_WORDS)


def _title_relevance(pairs: np.ndarray, words: pd.DataFrame, category: np.ndarray) -> pd.DataFrame:
    """Graded items of Q pairs of stems (Q, 2), see `text_family`; `category` (N,) are paths."""
    # which titles hold which stem: (V, N) of ones
    row, vocabulary = pd.factorize(words["stem"])
    place = pd.Series(np.arange(len(vocabulary)), index=vocabulary)
    cells = np.ones(len(words), np.int8), (row, words["item_id"])
    holds = csr_matrix(cells, (len(vocabulary), len(category)))
    # the category path of each item as a number, -1 for none
    path, names = pd.factorize(pd.Series(category, dtype=object).replace("", None))
    columns = ["query_id", "item_id", "grade"]
    parts = [pd.DataFrame(columns=columns, dtype=np.int64)]
    for low in range(0, len(pairs), CHUNK):
        first, second = (place[stems].to_numpy() for stems in pairs[low : low + CHUNK].T)
        hits = (holds[first] + holds[second]).tocoo()  # (C, N): how many of the two words
        both = hits.data == 2
        # one word is an answer only where an item with both stands in the same category
        shelf = hits.row * len(names) + path[hits.col]  # a number per query and category
        keep = both | ((path[hits.col] >= 0) & np.isin(shelf, shelf[both]))
        values = np.stack([low + hits.row[keep], hits.col[keep], hits.data[keep]], axis=1)
        parts.append(pd.DataFrame(values.astype(np.int64), columns=columns))
    return pd.concat(parts).sort_values(columns[:2], ignore_index=True)
