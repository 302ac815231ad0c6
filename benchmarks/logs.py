"""Four generated logs of different character, as a stranger's files.

``python -m benchmarks.logs FOLDER`` writes ``FOLDER/<name>/items.csv`` and ``events.csv``; then
``gensar run --items ... --events ...`` judges the joint model beside every baseline, with nothing
set. A preset that was tuned on one log is no product: reports/LOG.md has the tables.

    films     dense: 200 items that everybody may take once, tastes of six dimensions
    sparse    3,000 items, short histories, half of all steps follow a chain
    repeats   300 items, more than half of all steps take an item again
    searches  900 items, half of the events have a query of one or two words of the title
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

DAY = 86_400
FIRST = 1_400_000_000  # seconds, when every user begins
COLOURS = ("red", "blue", "soft", "wild", "deep", "calm", "fast", "cold", "warm", "dark")
THINGS = ("stone", "river", "light", "cloud", "field", "storm", "leaf", "star", "wave", "glass")
WORDS = [colour + thing for colour in COLOURS for thing in THINGS]
Rows = Iterator[tuple[int, int, int, str]]  # user, step, item, query


def catalogue(count: int, num_groups: int, rng) -> tuple[np.ndarray, pd.DataFrame]:
    """The group (N,) of each item, and a table of items whose titles tell it by two words."""
    group = rng.integers(num_groups, size=count)
    titles = [
        f"{WORDS[g % 100]} {WORDS[rng.integers(100)]} {WORDS[(g * 7 + 3) % 100]}" for g in group
    ]
    ids = [f"i{item}" for item in range(count)]
    categories = [f"Group {g}" for g in group]
    return group, pd.DataFrame({"item_id": ids, "title": titles, "category": categories})


def films(rng) -> tuple[pd.DataFrame, Rows]:
    """Every user ranks all items by taste, popularity and chance, and takes the first 20 to 59."""
    group, items = catalogue(200, 12, rng)
    features = rng.normal(size=(12, 6))[group] + 0.6 * rng.normal(size=(200, 6))
    popularity = rng.normal(size=200)

    def rows() -> Rows:
        for user in range(500):
            score = features @ rng.normal(size=6) * 0.8 + popularity + rng.gumbel(size=200)
            taken = np.argsort(-score)[: rng.integers(20, 60)]
            yield from ((user, step, item, "") for step, item in enumerate(taken))

    return items, rows()


def sparse(rng) -> tuple[pd.DataFrame, Rows]:
    """Four to eight steps: one of three followers of the last item, or its group, or anything."""
    group, items = catalogue(3000, 150, rng)
    followers = rng.integers(3000, size=(3000, 3))
    members = [np.flatnonzero(group == g) for g in range(150)]

    def next_item(item: int) -> int:
        chance = rng.random()
        if chance < 0.5:
            return int(rng.choice(followers[item]))
        return int(rng.choice(members[group[item]])) if chance < 0.85 else int(rng.integers(3000))

    def rows() -> Rows:
        for user in range(3000):
            item, met = int(rng.integers(3000)), set()
            for step in range(rng.integers(4, 9)):
                while item in met:
                    item = next_item(item)
                met.add(item)
                yield user, step, item, ""
                item = next_item(item)

    return items, rows()


def repeats(rng) -> tuple[pd.DataFrame, Rows]:
    """12 to 34 steps: more than half take a recent item again, the rest a popular or a like one."""
    group, items = catalogue(300, 20, rng)
    share = rng.dirichlet(np.full(300, 0.3))

    def rows() -> Rows:
        for user in range(600):
            recent = list(rng.choice(300, size=4, p=share))
            for step in range(rng.integers(12, 35)):
                if rng.random() < 0.55:
                    item = recent[min(int(rng.exponential(2)), len(recent) - 1)]
                elif rng.random() < 0.4:
                    item = int(rng.choice(300, p=share))
                else:
                    item = int(rng.choice(np.flatnonzero(group == group[recent[0]])))
                recent.insert(0, item)
                yield user, step, item, ""

    return items, rows()


def searches(rng) -> tuple[pd.DataFrame, Rows]:
    """Six to 13 items by taste; every other one was searched for."""
    group, items = catalogue(900, 40, rng)
    features = rng.normal(size=(40, 5))[group] + 0.5 * rng.normal(size=(900, 5))
    popularity = rng.gumbel(size=900)
    words = items["title"].str.split().tolist()

    def rows() -> Rows:
        for user in range(1500):
            score = features @ rng.normal(size=5) + popularity + rng.gumbel(size=900)
            for step, item in enumerate(np.argsort(-score)[: rng.integers(6, 14)]):
                asked = rng.permutation(words[item])[: rng.integers(1, 3)]
                yield user, step, item, " ".join(asked) if rng.random() < 0.5 else ""

    return items, rows()


LOGS = {make.__name__: make for make in (films, sparse, repeats, searches)}


def write_logs(folder: Path) -> None:
    """Write all four, each from its own seed: the same files every time."""
    for seed, (name, make) in enumerate(LOGS.items()):
        items, rows = make(np.random.default_rng(seed))
        events = pd.DataFrame(rows, columns=["user_id", "time", "item_id", "query"])
        events["user_id"] = [f"u{user}" for user in events["user_id"]]
        events["item_id"] = [f"i{item}" for item in events["item_id"]]
        events["time"] = FIRST + DAY * events["time"]
        if not events["query"].any():
            events = events.drop(columns="query")
        (folder / name).mkdir(parents=True, exist_ok=True)
        items.to_csv(folder / name / "items.csv", index=False)
        events.to_csv(folder / name / "events.csv", index=False)
        print(f"{folder / name}: {len(items):,} items, {len(events):,} events")


if __name__ == "__main__":
    write_logs(Path(sys.argv[1]))
