"""Query families: three ways in which a purchase could have been searched for, each with its own relevant items.

In: a catalogue and a log of purchases. Out: queries with their `kind`, search twins drawn in equal shares, and the
items that answer each query, with grades. Relevance comes from what items are (path, brand, title), never from a click.

    category   the names of the item's category path (queries.py)     grade 1: every item of the path
    attribute  its brand and its bottom category                      grade 2: both, 1: the category, another brand
    text       two telling words of its title, put in a phrase        grade 2: both words, 1: one, in the same category

No family grades an item it has no reason for: another category of the same brand, or one shared word elsewhere, is no
answer. This file does not know how events are split, nor which strings training may see.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from gensar_lite.config import ConfigError, DataConfig
from gensar_lite.data.queries import (
    STOP_WORDS,
    path_query,
    query_table,
    relevance_table,
    search_twins,
    stem,
)
from gensar_lite.data.words import LETTERS, is_latin, words_of

LETTERS_OF_A_WORD = 3  # at least, of a title's word
SAID = {
    "category": "category-path queries (Ai et al. 2017)",
    "attribute": "brand and bottom category",
    "text": "two title words in a phrase",
}
# A telling word: in one title of 600 or more (and in two), in one of ten at most, and rarely a name of the brand
LEAST_TITLES, LEAST_SHARE, MOST_SHARE, BRAND_SHARE = 2, 1 / 600, 1 / 10, 0.3
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
    """One kind of query: Q texts, the query of each item (N,), -1 for none, and ``query_id, item_id, grade``."""

    kind: str
    texts: list[str]
    item_query: np.ndarray
    relevance: pd.DataFrame


class Search(NamedTuple):
    """What a source needs to be searched: three tables of `Tables`, and facts for the data report."""

    queries: pd.DataFrame
    events: pd.DataFrame
    relevance: pd.DataFrame
    facts: dict[str, object]


def semi_synthetic_search(
    items: pd.DataFrame, purchases: pd.DataFrame, settings: DataConfig, root: str = ""
) -> Search:
    """Queries of every family in ``settings.query_families``, and search twins that draw on them in equal shares.

    items      ``title, brand, category`` of N items; row number = id
    purchases  ``user_id, time, item_id``
    root       a level above every path, part of the category queries, e.g. ``Beauty``

    Raises `ConfigError` that lists the families.
    """
    families = make_families(items, settings, root)
    first = np.cumsum(
        [0, *(len(family.texts) for family in families)]
    )  # each family's first query id
    placed = list(zip(families, first[:-1], strict=True))
    queries = pd.concat(
        [pd.DataFrame({"text": f.texts, "kind": f.kind}) for f in families], ignore_index=True
    )
    queries.insert(0, "query_id", np.arange(len(queries)))
    relevance = [f.relevance.assign(query_id=f.relevance["query_id"] + k) for f, k in placed]
    item_query = np.stack(
        [np.where(f.item_query < 0, -1, f.item_query + k) for f, k in placed]
    )  # (F, N)
    events = search_twins(
        purchases, item_query, settings.search_rate, np.random.default_rng(settings.seed)
    )
    facts = _facts(families, queries, events, settings.search_rate)
    return Search(queries, events, pd.concat(relevance, ignore_index=True), facts)


def _facts(
    families: list[Family], queries: pd.DataFrame, events: pd.DataFrame, rate: float
) -> dict[str, object]:
    asked = queries["kind"].to_numpy()[events.loc[events["task"] == "search", "query_id"]]
    drawn = {family.kind: int((asked == family.kind).sum()) for family in families}
    made = "; ".join(SAID[family.kind] for family in families)
    return {
        "search": "semi-synthetic",
        "search made": f"{made}, twins for {rate:.1%} of the purchases",
        "queries": len(queries),
        "search events": len(asked),
        "queries by kind": {family.kind: len(family.texts) for family in families},
        "items without a query by kind": {
            family.kind: int((family.item_query < 0).sum()) for family in families
        },
        "search events by kind": drawn,
        "share of search by kind": {
            kind: round(count / max(len(asked), 1), 4) for kind, count in drawn.items()
        },
    }


def make_families(items: pd.DataFrame, settings: DataConfig, root: str = "") -> list[Family]:
    """The families that ``settings.query_families`` names, in that order. Raises `ConfigError` that lists them."""
    names, known = (
        settings.query_families,
        {"category": category_family, "attribute": attribute_family},
    )
    wrong = [name for name in names if name not in SAID]
    if wrong or not names or len(set(names)) < len(names):
        raise ConfigError(
            f"data.query_families: {', '.join(names) or 'nothing'} - each of {', '.join(SAID)} may stand there once, "
            "and one of them must."
        )
    return [
        text_family(items, settings.seed) if n == "text" else known[n](items, root) for n in names
    ]


def category_family(items: pd.DataFrame, root: str = "") -> Family:
    """A query a category path; every item of the path answers it, grade 1."""
    paths = (path.split(" > ") if path else [] for path in items["category"])
    queries, item_query = query_table(
        path_query(([root] if root else []) + path) if path else "" for path in paths
    )
    return Family("category", queries["text"].tolist(), item_query, relevance_table(item_query))


def attribute_family(items: pd.DataFrame, root: str = "") -> Family:
    """A query a brand and bottom category, e.g. ``neutrogena cleanser``; items without either have none.

    Grade 2: the brand's items in a category of that name; grade 1: other brands' items there. `root` says nothing.
    """
    brands = [" ".join(words_of(brand, whole=True)) for brand in items["brand"]]
    leaves = np.array(
        [path_query([path.split(" > ")[-1]]) for path in items["category"]], dtype=object
    )
    pairs = zip(brands, leaves, strict=True)
    queries, item_query = query_table(
        f"{brand} {leaf}" if brand and leaf else "" for brand, leaf in pairs
    )
    places = (
        pd.DataFrame({"query_id": item_query, "leaf": leaves})
        .query("query_id >= 0")
        .drop_duplicates()
    )
    table = places.merge(
        pd.DataFrame({"leaf": leaves, "item_id": np.arange(len(items))}), on="leaf"
    )
    table["grade"] = np.where(item_query[table["item_id"]] == table["query_id"], 2, 1)
    table = table[["query_id", "item_id", "grade"]].sort_values(
        ["query_id", "item_id"], ignore_index=True
    )
    return Family(
        "attribute", queries["text"].tolist(), item_query, table.drop_duplicates(ignore_index=True)
    )


def text_family(items: pd.DataFrame, seed: int = 0) -> Family:
    """A query a pair of telling title words, in a phrase drawn from `seed`; titles without such a pair have none.

    The two words are the title's highest in tf-idf over all titles, names of brands left out. Grade 2: titles that
    hold both (in any ending that `stem` takes off); grade 1: one of them, in a category path of a grade 2 item.
    """
    words = title_words(items)
    chosen = words[words["telling"]].sort_values(
        ["item_id", "tf_idf", "stem"], ascending=[True, False, True]
    )
    chosen = chosen[chosen.groupby("item_id").cumcount() < 2]
    chosen = chosen[chosen.groupby("item_id")["item_id"].transform("size") == 2].sort_values(
        ["item_id", "place"]
    )
    pairs = (
        chosen["stem"].to_numpy(dtype=object).reshape(-1, 2)
    )  # (items with a query, 2), in the title's order
    keys, known = pd.factorize(pd.Series([" ".join(sorted(pair)) for pair in pairs], dtype=object))
    first = pairs[np.unique(keys, return_index=True)[1]]  # (Q, 2)
    item_query = np.full(len(items), -1, dtype=np.int64)
    item_query[chosen["item_id"].to_numpy()[::2]] = keys
    phrase = np.random.default_rng((seed, 1)).integers(len(PHRASES), size=len(known))
    said = _usual_forms(words)
    texts = [_phrase(p, said[a], said[b]) for p, (a, b) in zip(phrase, first, strict=True)]
    return Family(
        "text", texts, item_query, _title_relevance(first, words, items["category"].to_numpy())
    )


def _phrase(number: int, first: str, second: str) -> str:
    """Phrase `number` about two words; English ones go round words in Latin letters alone."""
    english = is_latin(first) and is_latin(second)
    return PHRASES[number if english else number % PLAIN].format(first, second)


def title_words(items: pd.DataFrame) -> pd.DataFrame:
    """Every word of every title once: ``item_id, stem, word, place`` (of its first use), ``tf_idf``, ``telling``.

    `word` is as written, in lower case, three letters or more. A word is `telling` where it is neither rare nor
    common (see the constants) nor a name: part of the item's own brand, or of the brand in many titles that hold it.
    """
    rows = [
        (i, place, w)
        for i, title in enumerate(items["title"])
        for place, w in enumerate(_words(title))
    ]
    table = pd.DataFrame(rows, columns=["item_id", "place", "word"]).astype(
        {"item_id": np.int64, "place": np.int64}
    )
    table["stem"] = (
        table["word"].map({word: stem(word) for word in table["word"].unique()}).astype(object)
    )
    table["tf"] = table.groupby(["item_id", "stem"])["place"].transform("size")
    table = table.drop_duplicates(["item_id", "stem"], ignore_index=True)
    brands = [{stem(word) for word in _words(brand)} for brand in items["brand"]]
    named = np.array(
        [s in brands[i] for i, s in zip(table["item_id"], table["stem"], strict=True)], dtype=bool
    )
    titles = table.groupby("stem")["item_id"].transform("size")
    name = pd.Series(named).groupby(table["stem"]).transform("mean") >= BRAND_SHARE
    enough = np.maximum(LEAST_TITLES, len(items) * LEAST_SHARE)
    table["tf_idf"] = table["tf"] * np.log(len(items) / titles)
    table["telling"] = (
        ~named & ~name & (titles >= enough) & (titles <= max(len(items) * MOST_SHARE, enough))
    )
    return table.drop(columns="tf")


def _usual_forms(words: pd.DataFrame) -> pd.Series:
    """The most frequent form of every stem in titles, by stem."""
    forms = words.groupby(["stem", "word"]).size().rename("times").reset_index()
    forms = forms.sort_values(["times", "word"], ascending=[False, True])
    return forms.drop_duplicates("stem").set_index("stem")["word"]


def _words(text: str) -> Iterator[str]:
    return (word for word in words_of(text, LETTERS, LETTERS_OF_A_WORD) if word not in STOP_WORDS)


def _title_relevance(pairs: np.ndarray, words: pd.DataFrame, category: np.ndarray) -> pd.DataFrame:
    """Graded items of Q pairs of stems (Q, 2), see `text_family`."""
    column, vocabulary = pd.factorize(words["stem"])
    place = pd.Series(np.arange(len(vocabulary)), index=vocabulary)
    holds = csr_matrix(
        (np.ones(len(words), np.int8), (column, words["item_id"])), (len(vocabulary), len(category))
    )
    path, names = pd.factorize(
        pd.Series(category, dtype=object).replace("", None)
    )  # -1: no category
    parts = []
    for low in range(0, len(pairs), CHUNK):
        part = pairs[low : low + CHUNK]
        hits = (
            holds[place[part[:, 0]].to_numpy()] + holds[place[part[:, 1]].to_numpy()]
        ).tocoo()  # (C, N): 1 or 2
        near = hits.row * len(names) + path[hits.col]
        keep = (hits.data == 2) | ((path[hits.col] >= 0) & np.isin(near, near[hits.data == 2]))
        columns = {
            "query_id": low + hits.row[keep],
            "item_id": hits.col[keep],
            "grade": hits.data[keep],
        }
        parts.append(pd.DataFrame(columns).astype(np.int64))
    table = (
        pd.concat(parts)
        if parts
        else pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=np.int64)
    )
    return table.sort_values(["query_id", "item_id"], ignore_index=True)
