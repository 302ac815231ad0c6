"""Reviews in the format of Amazon 2014, generated from a seed: what `gensar bench data` prepares, two ways.

In: how many. Out: a ``.json.gz`` file, and its purchases as a split log, by our road and by the plain one. Words and
lengths only have the size of real reviews. This file does not know how speed is measured (the bench room).
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.config import DataConfig
from gensar_lite.data.published.amazon import read_purchases
from gensar_lite.data.stage import build_corpus
from gensar_lite.data.tables import Tables

CHUNK = 20_000  # reviews formatted together
WORDS, TEXTS, DAY = 5000, 3000, 86_400
SPLIT_CODE = {"train": 0, "validation": 1, "test": 2}
COLUMNS = ["event_id", "user_id", "time", "item_id"]


def write_reviews(
    path: Path, num_events: int, num_users: int, num_items: int, seed: int = 0
) -> Path:
    """A file of `num_events` reviews, about 900 bytes each, ordered by item as the published ones are."""
    rng = np.random.default_rng(seed)
    texts = _texts(rng)
    user, text = rng.integers(num_users, size=num_events), rng.integers(TEXTS, size=num_events)
    item = np.sort(rng.integers(num_items, size=num_events))
    time = rng.integers(11_000, 16_000, size=num_events) * DAY
    with gzip.open(path, "wt", compresslevel=6) as file:
        for low in range(0, num_events, CHUNK):
            part = slice(low, low + CHUNK)
            rows = zip(*(column[part].tolist() for column in (user, item, text, time)), strict=True)
            file.write("".join(_LINE % (u, i, u, texts[t], t, when) for u, i, t, when in rows))
    return path


_LINE = (
    '{"reviewerID": "A%013d", "asin": "B%09d", "reviewerName": "Reader %d", "helpful": [0, 0], "reviewText": %s, '
    '"overall": 5.0, "summary": "as said, number %d", "unixReviewTime": %d, "reviewTime": "01 20, 2014"}\n'
)


def _texts(rng: np.random.Generator) -> list[str]:
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = np.array(
        ["".join(rng.choice(letters, size=n)) for n in rng.integers(2, 10, size=WORDS)]
    )
    share = (
        1 / np.arange(1, WORDS + 1) ** 0.9
    )  # some words often, most rarely: compresses about as English does
    lengths = rng.lognormal(4.4, 0.8, size=TEXTS).astype(int) + 1
    return [
        json.dumps(" ".join(words[rng.choice(WORDS, p=share / share.sum(), size=n)]))
        for n in lengths
    ]


def prepared(path: Path, settings: DataConfig) -> np.ndarray:
    """Our road from a file to the sorted, filtered, numbered, split log: ``event, user, time, item, split`` (E, 5)."""
    log = read_purchases(path, settings)
    items = pd.DataFrame(
        {"item_id": np.arange(len(log.items)), "title": "", "text": "", "brand": "", "category": ""}
    )
    queries = pd.DataFrame({"query_id": [], "text": [], "kind": []}).astype(
        {"query_id": np.int64, "text": str}
    )
    relevance = pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=np.int64)
    events = log.events.assign(task="recommend", query_id=-1)
    events = build_corpus(Tables(items, queries, events, relevance, {}), settings)[0].events
    return np.column_stack([events[COLUMNS].to_numpy(), events["split"].map(SPLIT_CODE).to_numpy()])


def prepared_plainly(path: Path, settings: DataConfig) -> np.ndarray:
    """The plain road to the same array: one ``json.loads`` a line, then pandas' groups."""
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            review = json.loads(line)
            rows.append((review["reviewerID"], review["asin"], review["unixReviewTime"]))
    table = pd.DataFrame(rows, columns=["user", "item", "time"])
    table = table.sort_values("time", kind="stable").drop_duplicates(["user", "item"]).sort_index()
    while True:
        steps = table.groupby("user")["time"].transform("nunique")
        events = table.groupby("item")["time"].transform("size")
        keep = (steps >= settings.min_events) & (events >= settings.min_item_events)
        if keep.all():
            break
        table = table[keep]
    table["user_id"] = table["user"].astype("category").cat.codes.astype(np.int64)
    table["item_id"] = table["item"].astype("category").cat.codes.astype(np.int64)
    table = table.sort_values(["user_id", "time"], kind="stable", ignore_index=True)
    times = table.groupby("user_id")["time"]
    from_end = times.transform("nunique") - times.rank("dense").astype(np.int64)
    split = from_end.map({0: SPLIT_CODE["test"], 1: SPLIT_CODE["validation"]}).fillna(
        SPLIT_CODE["train"]
    )
    return np.column_stack(
        [np.arange(len(table)), table[COLUMNS[1:]].to_numpy(), split.astype(np.int64)]
    )
