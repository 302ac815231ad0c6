"""The built-in shop: a catalogue, its users and their log, all drawn from one seed in about a second.

In: `DataConfig`. Out: `Tables`, with the generating process in ``truth``. Every item has a category, which its
text tells, and a taste, which nothing tells but what is bought together; the two are drawn independently.

    recommend  p(item | user, previous item) = p(taste | user, previous item) * popularity of the item in its taste
    search     p(item | query, user) ~ relevance * sqrt(popularity) * (1 + pull * p(taste | user))

both without the items the user has met before. This file does not know how the log is split or learned.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gensar_lite.config import ConfigError, DataConfig
from gensar_lite.data.shop.lexicon import (
    CLOSINGS,
    COLOURS,
    OPENINGS,
    SERIES,
    SIZES,
    TASTES,
    Leaf,
    leaves,
)
from gensar_lite.data.shop.truth import Truth
from gensar_lite.data.tables import Tables

KINDS = ("category", "attribute", "synonym", "misspelling")
KIND_SHARE = (0.35, 0.25, 0.2, 0.2)  # of all searches
SEARCH_SHARE = 0.45  # of all events
MIN_EVENTS = 5  # of a user
ITEMS_A_LEAF, ITEMS_A_TASTE = 12, 75  # how many leaves and tastes a small shop has
MIN_LEAVES, MIN_TASTES = 6, 4
MAIN, SECOND = 0.8, 0.15  # user's weight of the two tastes; the rest is spread evenly
STICKINESS = 0.2  # share of recommendations drawn from the previous item's taste
TASTE_PULL = 4.0  # how much a user's own taste raises a search result
PARTIAL = 0.15  # click weight of an item of the right category without the attribute asked for


def make_shop(settings: DataConfig) -> Tables:
    """Draw the whole shop from ``settings.seed``. Raises `ConfigError` when it cannot hold what was asked for."""
    _check(settings)
    rng = np.random.default_rng(settings.seed)
    shelf = leaves()[: max(MIN_LEAVES, settings.num_items // ITEMS_A_LEAF)]
    items, leaf = _items(shelf, settings.num_items, rng)
    taste, popularity = _tastes(settings.num_items, rng)
    queries, relevance, weights = _queries(shelf, items, leaf)
    truth = Truth(
        item_taste=taste,
        item_leaf=leaf,
        popularity=popularity,
        user_tastes=_users(settings.num_users, int(taste.max()) + 1, rng),
        query_items=weights * np.sqrt(popularity),
        query_share=_query_share(queries, len(shelf), rng),
        stickiness=np.array([STICKINESS]),
        taste_pull=np.array([TASTE_PULL]),
    )
    events = _events(truth, _lengths(settings, rng), rng)
    facts = {
        "search": "the built-in shop: searches, clicks and purchases are drawn from a known process",
        "tastes": list(TASTES[: truth.user_tastes.shape[1]]),
        "leaves": len(shelf),
        "queries_by_kind": {kind: int((queries["kind"] == kind).sum()) for kind in KINDS},
    }
    columns = ["item_id", "title", "text", "brand", "category"]
    return Tables(
        items[columns],
        queries[["query_id", "text", "kind"]],
        events,
        relevance,
        facts,
        truth.tensors(),
    )


def _check(settings: DataConfig) -> None:
    """Refuse a shop that is too small for its users or the reverse."""
    items, users, events = settings.num_items, settings.num_users, settings.num_events
    least = MIN_LEAVES * ITEMS_A_LEAF
    if items < least:
        raise ConfigError(f"data.num_items: {items} items are too few. Set it to {least} or more.")
    if users < 1:
        raise ConfigError(f"data.num_users: {users} users leave no log. Set it to 1 or more.")
    if events < MIN_EVENTS * users:
        raise ConfigError(
            f"data.num_events: {events} events are fewer than {MIN_EVENTS} for each of {users} users. "
            f"Set it to {MIN_EVENTS * users} or more, or lower data.num_users."
        )
    if events > users * items // 8:
        raise ConfigError(
            f"data.num_events: {events} events for {users} users and {items} items, and nobody meets an item twice. "
            f"Set it to {users * items // 8} or less, or raise data.num_items."
        )


def _items(
    shelf: list[Leaf], num_items: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray]:
    """The catalogue with its attributes, and the leaf of every item (N,)."""
    leaf = rng.permutation(np.arange(num_items) % len(shelf))  # (N,)
    rows, taken = [], set()
    for item_id, place in enumerate(shelf[i] for i in leaf):
        words = {
            "colour": _pick(COLOURS, rng),
            "style": _pick(place.styles, rng),
            "size": _pick(SIZES, rng),
        }
        words |= {
            "material": _pick(place.materials, rng),
            "noun": place.noun,
            "name": place.name,
            "use": place.use,
        }
        brand, title = _title(place, words, taken, rng)
        middle = place.path.split(" > ")[1].lower()
        text = _pick(OPENINGS, rng).format(**words) + " " + _pick(place.promises, rng)
        text += " " + _pick(CLOSINGS, rng).format(middle=middle, **words)
        rows.append(
            words
            | {
                "item_id": item_id,
                "title": title,
                "text": text,
                "brand": brand,
                "category": place.path,
            }
        )
    return pd.DataFrame(rows), leaf


def _title(
    place: Leaf, words: dict[str, str], taken: set[str], rng: np.random.Generator
) -> tuple[str, str]:
    """A brand and a title nobody has yet: "Norrhavn Drift Ultralight Tent, Olive Nylon"."""
    for _ in range(200):
        brand, series = _pick(place.brands, rng), _pick(SERIES, rng)
        title = f"{brand} {series} {words['style']} {words['noun']}, {words['colour']} {words['material']}".title()
        if title not in taken:
            taken.add(title)
            return brand, title
    taken.add(title := f"{title} {len(taken)}")  # thousands of items in one leaf
    return brand, title


def _pick(words: tuple[str, ...] | list[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _tastes(num_items: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Taste (N,), drawn without a look at the category, and Zipf popularity inside it (N,)."""
    num_tastes = min(len(TASTES), max(MIN_TASTES, num_items // ITEMS_A_TASTE))
    order = rng.permutation(num_items)
    taste, rank = np.empty(num_items, np.int64), np.empty(num_items, np.int64)
    taste[order], rank[order] = (
        np.arange(num_items) % num_tastes,
        np.arange(num_items) // num_tastes,
    )
    share = 1.0 / (rank + 1)
    return taste, share / np.bincount(taste, weights=share)[taste]


def _users(num_users: int, num_tastes: int, rng: np.random.Generator) -> np.ndarray:
    """Taste weights (U, T): a main taste, for two users of three a second one, and a little of everything."""
    rest = 1 - MAIN - SECOND
    weights = np.full((num_users, num_tastes), rest / num_tastes)
    rows, main = np.arange(num_users), rng.integers(num_tastes, size=num_users)
    second = (main + rng.integers(1, num_tastes, size=num_users)) % num_tastes
    second = np.where(rng.random(num_users) < 2 / 3, second, main)
    weights[rows, main] += MAIN
    weights[rows, second] += SECOND
    return weights


def _queries(
    shelf: list[Leaf], items: pd.DataFrame, leaf: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Queries, relevance (grade 2: all that was asked for, 1: the category only) and click weights (Q, N)."""
    rows, grades = [], []
    middles = items["category"].str.split(" > ").str[1].to_numpy()
    for middle in dict.fromkeys(place.path.split(" > ")[1] for place in shelf):
        rows.append((middle.lower(), "category", int(leaf[middles == middle].min())))
        grades.append(np.where(middles == middle, 2, 0))
    for k, place in enumerate(shelf):
        inside = leaf == k  # (N,)
        for text, kind in (
            (place.name, "category"),
            (place.synonym, "synonym"),
            (place.misspelling, "misspelling"),
        ):
            rows.append((text, kind, k))
            grades.append(np.where(inside, 2, 0))
        for column in ("colour", "material"):
            word = items.loc[inside, column].value_counts(sort=False).sort_index().idxmax()
            rows.append((f"{word} {place.noun}", "attribute", k))
            grades.append(np.where(inside, 1 + (items[column] == word).to_numpy(), 0))
    queries = (
        pd.DataFrame(rows, columns=["text", "kind", "leaf"]).rename_axis("query_id").reset_index()
    )
    grade = np.stack(grades)  # (Q, N)
    query_id, item_id = np.nonzero(grade)
    relevance = pd.DataFrame(
        {"query_id": query_id, "item_id": item_id, "grade": grade[query_id, item_id]}
    )
    return queries, relevance, np.array([0.0, PARTIAL, 1.0])[grade]


def _query_share(queries: pd.DataFrame, num_leaves: int, rng: np.random.Generator) -> np.ndarray:
    """How often each query is issued (Q,): some categories more than others, kinds as `KIND_SHARE` says."""
    demand = rng.permutation(1.0 / np.sqrt(np.arange(num_leaves) + 1))
    share = demand[queries["leaf"]]
    for kind, part in zip(KINDS, KIND_SHARE, strict=True):
        mine = (queries["kind"] == kind).to_numpy()
        share[mine] *= part / share[mine].sum()
    return share


def _lengths(settings: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """Events a user (U,): at least five, some users far busier; no user meets more than half of the shop."""
    busy = rng.gamma(2.0, size=settings.num_users)
    extra = rng.multinomial(
        settings.num_events - MIN_EVENTS * settings.num_users, busy / busy.sum()
    )
    return np.minimum(MIN_EVENTS + extra, settings.num_items // 2)


def _events(truth: Truth, lengths: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """The log, drawn time step by time step for all users who are still there."""
    num_users, num_items = len(lengths), len(truth.item_taste)
    seen, previous = np.zeros((num_users, num_items), dtype=bool), np.full(num_users, -1)
    steps = []
    for time in range(lengths.max()):
        users = np.flatnonzero(lengths > time)  # (B,)
        query = rng.choice(len(truth.query_share), p=truth.query_share, size=len(users))
        query[rng.random(len(users)) >= SEARCH_SHARE] = -1
        answers = ((truth.query_items > 0)[query] & ~seen[users]).any(axis=1)
        query[~answers] = -1  # who has met every answer is recommended something instead
        item = np.empty(len(users), np.int64)
        for task, rows in (("recommend", query < 0), ("search", query >= 0)):
            odds = truth.scores(task, users[rows], query[rows], previous[users[rows]])
            item[rows] = _draw(np.where(seen[users[rows]], 0.0, odds), rng)
        seen[users, item], previous[users] = True, item
        task = np.where(query < 0, "recommend", "search")
        steps.append(
            pd.DataFrame(dict(user_id=users, time=time, task=task, item_id=item, query_id=query))
        )
    return pd.concat(steps).sort_values(["user_id", "time"], ignore_index=True)


def _draw(odds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One column a row (B,) with probability proportional to `odds` (B, N), each with a positive sum."""
    total = odds.cumsum(axis=1)
    mark = rng.random(len(odds)) * total[:, -1]
    return (total <= mark[:, None]).sum(axis=1)
