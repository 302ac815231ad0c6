"""The built-in shop: a catalogue, its users and their log, drawn from one seed in about a second.

In: `DataConfig`, and two files beside this one, ``leaves.csv`` (a bottom category per line) and
``words.toml``. Out: `Tables`, with the generating process in ``truth``. Every item has a category,
which its text tells, and a taste, which nothing tells but what is bought together; the two are
drawn independently.

    recommend  p(item | user, previous item) = p(taste | user, previous item) * share in taste
    search     p(item | query, user) ~ relevance * sqrt(share) * (1 + pull * p(taste | user))

both without the items the user has met before. This file does not know how the log is split or
learned. The order of the draws is part of every shop: one more draw makes another shop of a seed.
"""

import csv
import functools
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.config import MIN_SHOP_EVENTS, DataConfig
from gensar_lite.data.shop.truth import Truth
from gensar_lite.data.sources import Tables

# kinds of queries and their shares of all searches
KIND_SHARE = {"category": 0.35, "attribute": 0.25, "synonym": 0.2, "misspelling": 0.2}
SEARCH_SHARE = 0.45  # of all events
ITEMS_PER_LEAF, ITEMS_PER_TASTE = 12, 75  # how many leaves and tastes a small shop has
MIN_LEAVES, MIN_TASTES = 6, 4
MAIN, SECOND = 0.8, 0.15  # user's weight of the two tastes; the rest is spread evenly
STICKINESS = 0.2  # share of recommendations drawn from the previous item's taste
TASTE_PULL = 4.0  # how much a user's taste raises a search result
PARTIAL = 0.15  # click weight of an item of the right category without the attribute asked for


class Leaf(NamedTuple):
    """One bottom category. `synonym` and `misspelling` stand in no title and no description."""

    path: str  # "Outdoor > Camping > Tents"
    name: str  # "tents"
    noun: str  # "tent", the word of titles
    synonym: str  # "bivouac"
    misspelling: str  # "tentts"
    materials: list[str]
    use: str  # "nights far from the road"
    styles: list[str]  # of its root, as the next two
    brands: list[str]
    promises: list[str]  # sentences, one of which stands in every description


class Lexicon(NamedTuple):
    """Every word that a shop is made of."""

    leaves: list[Leaf]  # all 96, in the order of the tree
    colours: list[str]
    sizes: list[str]
    series: list[str]  # second word of a title
    openings: list[str]  # first sentences of a description
    closings: list[str]  # last sentences
    tastes: list[str]  # hidden interests: what people buy together, whatever shelf it stands on


@functools.cache
def lexicon() -> Lexicon:
    """The words as they stand in the package's files, read once."""
    folder = Path(__file__).parent
    words = tomllib.loads((folder / "words.toml").read_text(encoding="utf-8"))
    roots = words.pop("roots")
    lines = (folder / "leaves.csv").read_text(encoding="utf-8").splitlines()
    leaves = []
    for row in csv.DictReader(lines):
        root, middle = row.pop("root"), row.pop("middle")
        path = f"{root} > {middle} > {row['name'].title()}"
        materials = row.pop("materials").split()
        leaves.append(Leaf(path=path, materials=materials, **row, **roots[root]))
    return Lexicon(leaves, **words)


def make_shop(settings: DataConfig) -> Tables:
    """Draw the whole shop from ``settings.seed``. That its sizes fit, the settings see to."""
    rng = np.random.default_rng(settings.seed)
    shelf = lexicon().leaves[: max(MIN_LEAVES, settings.num_items // ITEMS_PER_LEAF)]
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
    kinds = queries["kind"].value_counts()
    made = "the built-in shop: searches, clicks and purchases are drawn from a known process"
    facts = {
        "search": made,
        "tastes": lexicon().tastes[: truth.user_tastes.shape[1]],
        "leaves": len(shelf),
        "queries_by_kind": {kind: int(kinds[kind]) for kind in KIND_SHARE},
    }
    items = items[["item_id", "title", "text", "brand", "category"]]
    queries = queries[["query_id", "text", "kind"]]
    return Tables(items, queries, events, relevance, facts, truth._asdict())


def _items(
    shelf: list[Leaf], num_items: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray]:
    """The catalogue with its attributes, and the leaf of every item (N,)."""
    lex, titles, rows = lexicon(), set(), []
    leaf = rng.permutation(np.arange(num_items) % len(shelf))  # (N,)
    for place in (shelf[i] for i in leaf):
        # drawn in this order: colour, style, size, material, title, opening, promise, closing
        words = {
            "colour": _pick(lex.colours, rng),
            "style": _pick(place.styles, rng),
            "size": _pick(lex.sizes, rng),
            "material": _pick(place.materials, rng),
            "noun": place.noun,
            "name": place.name,
            "use": place.use,
            "middle": place.path.split(" > ")[1].lower(),
        }
        brand, title = _title(place, words, titles, rng)
        sentences = (_pick(part, rng) for part in (lex.openings, place.promises, lex.closings))
        text = " ".join(sentences).format(**words)
        rows.append(words | {"title": title, "text": text, "brand": brand, "category": place.path})
    return pd.DataFrame(rows).rename_axis("item_id").reset_index(), leaf


def _title(
    place: Leaf, words: dict[str, str], titles: set[str], rng: np.random.Generator
) -> tuple[str, str]:
    """A brand, and a new title: "Norrhavn Otter Rugged Tent, Olive Nylon"."""
    end = f"{words['style']} {words['noun']}, {words['colour']} {words['material']}"
    for _ in range(200):
        brand, series = _pick(place.brands, rng), _pick(lexicon().series, rng)
        title = f"{brand} {series} {end}".title()
        if title not in titles:
            break
    else:  # thousands of items in one leaf
        title = f"{title} {len(titles)}"
    titles.add(title)
    return brand, title


def _pick(words: list[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _tastes(num_items: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Taste (N,), drawn without a look at the category, and Zipf popularity inside it (N,)."""
    most = len(lexicon().tastes)
    num_tastes = min(most, max(MIN_TASTES, num_items // ITEMS_PER_TASTE))
    # item order[k] has taste k mod T and stands at rank k // T inside it
    order = rng.permutation(num_items)
    place = np.argsort(order)
    rank, taste = np.divmod(place, num_tastes)
    share = 1.0 / (rank + 1)
    return taste, share / np.bincount(taste, weights=share)[taste]


def _users(num_users: int, num_tastes: int, rng: np.random.Generator) -> np.ndarray:
    """Taste weights (U, T): a main taste, for two users of three a second one, a little of all."""
    weights = np.full((num_users, num_tastes), (1 - MAIN - SECOND) / num_tastes)
    rows, main = np.arange(num_users), rng.integers(num_tastes, size=num_users)
    second = (main + rng.integers(1, num_tastes, size=num_users)) % num_tastes
    second = np.where(rng.random(num_users) < 2 / 3, second, main)
    weights[rows, main] += MAIN
    weights[rows, second] += SECOND
    return weights


def _queries(
    shelf: list[Leaf], items: pd.DataFrame, leaf: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Queries (each with a `leaf`, whose demand it shares), relevance (grade 2: all that was asked
    for, 1: the category only) and click weights (Q, N)."""
    rows, grades = [], []
    # a query for each middle category: everything below it answers
    middles = items["category"].str.split(" > ").str[1].to_numpy()
    for middle in dict.fromkeys(place.path.split(" > ")[1] for place in shelf):
        rows.append((middle.lower(), "category", int(leaf[middles == middle].min())))
        grades.append(np.where(middles == middle, 2, 0))
    for k, place in enumerate(shelf):
        inside = leaf == k  # (N,)
        # three names of the leaf, of which the text tells only the first
        for kind in ("category", "synonym", "misspelling"):
            text = place.name if kind == "category" else getattr(place, kind)
            rows.append((text, kind, k))
            grades.append(np.where(inside, 2, 0))
        # its most frequent colour and material: others of the leaf answer in part
        for column in ("colour", "material"):
            word = items.loc[inside, column].value_counts(sort=False).sort_index().idxmax()
            rows.append((f"{word} {place.noun}", "attribute", k))
            grades.append(np.where(inside, 1 + (items[column] == word).to_numpy(), 0))
    queries = pd.DataFrame(rows, columns=["text", "kind", "leaf"])
    grade = np.stack(grades)  # (Q, N)
    query, item = np.nonzero(grade)
    relevance = pd.DataFrame({"query_id": query, "item_id": item, "grade": grade[query, item]})
    weights = np.array([0.0, PARTIAL, 1.0])[grade]
    return queries.rename_axis("query_id").reset_index(), relevance, weights


def _query_share(queries: pd.DataFrame, num_leaves: int, rng: np.random.Generator) -> np.ndarray:
    """How often each query is issued (Q,): some leaves more than others, kinds as `KIND_SHARE`."""
    demand = rng.permutation(1.0 / np.sqrt(np.arange(num_leaves) + 1))
    share = demand[queries["leaf"]]
    for kind, part in KIND_SHARE.items():
        of_kind = (queries["kind"] == kind).to_numpy()
        share[of_kind] *= part / share[of_kind].sum()
    return share


def _lengths(settings: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """Events per user (U,): five or more, some users far busier, at most half of the shop."""
    busy = rng.gamma(2.0, size=settings.num_users)
    extra = settings.num_events - MIN_SHOP_EVENTS * settings.num_users
    lengths = MIN_SHOP_EVENTS + rng.multinomial(extra, busy / busy.sum())
    return np.minimum(lengths, settings.num_items // 2)


def _events(truth: Truth, lengths: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """The log, drawn time step by time step for all users who are still there."""
    num_users, num_items = len(lengths), len(truth.item_taste)
    seen = np.zeros((num_users, num_items), dtype=bool)
    previous = np.full(num_users, -1)  # (U,) item of the user's step before
    steps = []
    for time in range(lengths.max()):
        users = np.flatnonzero(lengths > time)  # (B,) who is still there
        # 1. who searches, and what for; who has met every answer is recommended something instead
        query = rng.choice(len(truth.query_share), p=truth.query_share, size=len(users))
        query[rng.random(len(users)) >= SEARCH_SHARE] = -1
        unmet = (truth.query_items > 0)[query] & ~seen[users]  # (B, N)
        query[~unmet.any(axis=1)] = -1
        # 2. one item for each, from the true distribution without the items met before
        item = np.empty(len(users), np.int64)
        for task, rows in (("recommend", query < 0), ("search", query >= 0)):
            who = users[rows]
            odds = truth.scores(task, who, query[rows], previous[who])
            item[rows] = _draw(np.where(seen[who], 0.0, odds), rng)
        # 3. what the next step knows
        seen[users, item] = True
        previous[users] = item
        task = np.where(query < 0, "recommend", "search")
        step = dict(user_id=users, time=time, task=task, item_id=item, query_id=query)
        steps.append(pd.DataFrame(step))
    return pd.concat(steps).sort_values(["user_id", "time"], ignore_index=True)


def _draw(odds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One column per row (B,), drawn in proportion to `odds` (B, N) of positive sums."""
    total = odds.cumsum(axis=1)
    mark = rng.random(len(odds)) * total[:, -1]  # a point on each row's line of odds
    return (total <= mark[:, None]).sum(axis=1)
