"""Semi-synthetic search on real purchases, after Ai et al. (SIGIR 2017).

In: category paths and a log of purchases. Out: a query per path, and for a share of the purchases a
search event beside them: same user, item and time, a query of the item. Nobody typed these: they
stand in for search logs that no shop publishes. This file does not know how events are split.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from gensar_lite.data.words import LETTERS, words_of

_STOP = """
    a an and are as at be but by for from if in into is it its no not of on or other s such t that
    the their then there these they this to was will with"""
STOP_WORDS = frozenset(_STOP.split())
# Plurals that name a thing of their own and stay, as in Krovetz' dictionary, and those that lose
# only their s
_KEPT = {
    "books", "electronics", "glasses", "lens", "news", "pants", "scissors", "series", "tweezers",
}  # fmt: skip
_ONLY_S = {"calories", "cookies", "hoodies", "mousses", "movies", "smoothies"}
ROUNDS = 20  # of levelling the shares of query families: the gap shrinks by a factor per round


def stem(word: str) -> str:
    """A lower-case English word without its plural ending: -ies to -y, -es after a hiss, else -s.

    The paper's Krovetz stemmer needs a dictionary and a C++ compiler. This rule agrees with it on
    the published examples and on 188 of the 222 words of Beauty's categories; there Krovetz also
    turns "conditioner" into "condition" and keeps "oils" and "eyes".
    """
    short_or_kept = len(word) <= 3 or word in _KEPT
    if short_or_kept or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word in _ONLY_S:
        return word[:-1]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    hiss = word.endswith(("ches", "shes", "sses", "xes", "zzes"))
    return word[:-2] if hiss else word[:-1]


def path_query(path: Iterable[str]) -> str:
    """``["Electronics", "Computers & Accessories", "Memory"]``, from the root down -> ``electronics
    computer accessory memory``: letters alone, without stop words, stemmed; of a repeated word the
    deepest occurrence stays."""
    names = words_of(" ".join(path), LETTERS, whole=True)
    stemmed = [stem(word) for word in names if word not in STOP_WORDS]
    return " ".join(reversed(dict.fromkeys(reversed(stemmed))))


def number_texts(texts: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """One text per item -> the queries' texts, and each item's query id (N,), -1 where empty."""
    texts = pd.Series(list(texts), dtype=object)
    item_query, known = pd.factorize(texts.where(texts != "", None))
    return list(known), item_query.astype(np.int64)


def relevance_table(item_query: np.ndarray) -> pd.DataFrame:
    """All items of a query answer it: ``query_id, item_id, grade`` (grade 1), sorted."""
    items = np.flatnonzero(item_query >= 0)
    table = pd.DataFrame({"query_id": item_query[items], "item_id": items, "grade": 1})
    return table.sort_values(["query_id", "item_id"], ignore_index=True)


def search_twins(
    purchases: pd.DataFrame, item_query: np.ndarray, rate: float, rng: np.random.Generator
) -> pd.DataFrame:
    """`purchases` with search twins: events of both tasks, sorted by user, then time, a purchase
    before its twin, of which there is at most one.

    purchases   ``user_id, time, item_id``, in any order (the draw does not depend on it)
    item_query  (N,) query id of each item, -1 for none; or (F, N), one row per family of queries,
                drawn as evenly as the items allow (see `even_choice`)
    rate        share of the purchases (of items that have a query) with a twin
    """
    key = ["user_id", "time", "item_id"]
    bought = purchases[key].sort_values(key, ignore_index=True)
    query = np.atleast_2d(item_query)[:, bought["item_id"].to_numpy()]  # (F, P)
    can = np.flatnonzero((query >= 0).any(axis=0))
    chosen = np.sort(rng.permutation(can)[: round(rate * len(can))])
    family = even_choice(query[:, chosen].T >= 0, rng)
    bought = bought.assign(task="recommend", query_id=np.int64(-1))
    twins = bought.iloc[chosen].assign(task="search", query_id=query[family, chosen])
    # a twin has its purchase's index, and the sort is stable: it comes to stand right below
    events = pd.concat([bought, twins]).sort_index(kind="stable").reset_index(drop=True)
    return events[["user_id", "time", "task", "item_id", "query_id"]]


def even_choice(possible: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One possible column per row, `possible` (B, F) -> (B,), all as often as can be, or nearly so.

    Rows with the same possibilities are one group, and each group in turn spreads its rows so that
    the totals become level, a few rounds long; which row gets which is drawn from `rng`.
    """
    bits = possible @ (1 << np.arange(possible.shape[1]))  # (B,) a number per set of possibilities
    _, first, group, sizes = np.unique(
        bits, return_index=True, return_inverse=True, return_counts=True
    )
    masks = possible[first]  # (G, F)
    taken = np.zeros(masks.shape, dtype=np.int64)  # (G, F) rows of a group that get each column
    for _ in range(ROUNDS):
        for g, columns in enumerate(map(np.flatnonzero, masks)):
            others = taken.sum(axis=0) - taken[g]
            taken[g, columns] = _level(others[columns], sizes[g])
    choice = np.empty(len(possible), dtype=np.int64)
    for g in range(len(masks)):
        columns = np.repeat(np.arange(possible.shape[1]), taken[g])
        choice[np.flatnonzero(group == g)] = rng.permutation(columns)
    return choice


def _level(height: np.ndarray, units: int) -> np.ndarray:
    """`units` poured onto columns of `height` (F,), the lowest first: how many each gets (F,)."""
    order = np.argsort(height, kind="stable")
    sums = np.cumsum(height[order])
    for count in range(len(order), 0, -1):  # the most columns that can be filled to one level
        level, rest = divmod(int(sums[count - 1]) + units, count)
        if level >= height[order[count - 1]]:
            break
    poured = np.zeros(len(height), dtype=np.int64)
    poured[order[:count]] = level - height[order[:count]] + (np.arange(count) < rest)
    return poured
