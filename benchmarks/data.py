"""Speed of preparing a log, against one ``json.loads`` per line and pandas' groups.

In: sizes and a seed. Out: a `Contest` over a file of generated reviews in the format of Amazon
2014. Their words and lengths only have the size of real ones.
"""

from __future__ import annotations

import atexit
import functools
import gzip
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.contest import Contest
from gensar_lite.config import DataConfig
from gensar_lite.data.published.amazon import read_purchases
from gensar_lite.data.sources import Tables
from gensar_lite.data.stage import build_corpus

CHUNK = 20_000  # reviews formatted together
NUM_WORDS = 5000
NUM_TEXTS = 3000
DAY = 86_400  # seconds
SPLIT_CODE = {"train": 0, "validation": 1, "test": 2}
COLUMNS = ["event_id", "user_id", "time", "item_id"]
LINE = (
    '{"reviewerID": "A%013d", "asin": "B%09d", "reviewerName": "Reader %d", "helpful": [0, 0], '
    '"reviewText": %s, "overall": 5.0, "summary": "as said, number %d", "unixReviewTime": %d, '
    '"reviewTime": "01 20, 2014"}\n'
)


def bench_data(num_events: int = 1_700_000, seed: int = 0) -> Contest:
    """From a gzip file of reviews to a sorted, filtered, numbered, split log.

    As many users and items as Electronics has; the generated file is removed at the end.
    """
    # calls run in processes of their own, so the file lies on disk until the end
    folder = Path(tempfile.mkdtemp(prefix="gensar-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "reviews.json.gz"
    write_reviews(path, num_events, num_events // 9 + 1, num_events // 27 + 1, seed)
    settings = DataConfig(min_item_events=5)
    return Contest(
        ours=functools.partial(prepared, path, settings),
        baseline=functools.partial(prepared_plainly, path, settings),
        equal=lambda a, b: float((a == b).all(axis=1).mean()) if a.shape == b.shape else 0.0,
        amount=num_events,
        unit="events",
        settings={
            "num_events": num_events,
            "file_mib": round(path.stat().st_size / 2**20, 1),
            "min_item_events": settings.min_item_events,
            "baseline": "gzip, json.loads a line, pandas groupby",
            "memory": "of a fresh process, above its start",
        },
        isolated=True,
    )


def write_reviews(
    path: Path, num_events: int, num_users: int, num_items: int, seed: int = 0
) -> Path:
    """A file of `num_events` reviews, about 900 bytes each, ordered by item as published ones."""
    rng = np.random.default_rng(seed)
    texts = _texts(rng)
    user = rng.integers(num_users, size=num_events)
    # texts repeat, as a pool of them is quicker to make than a million
    text = rng.integers(NUM_TEXTS, size=num_events)
    item = np.sort(rng.integers(num_items, size=num_events))
    time = rng.integers(11_000, 16_000, size=num_events) * DAY
    with gzip.open(path, "wt", compresslevel=6) as file:
        for low in range(0, num_events, CHUNK):
            part = slice(low, low + CHUNK)
            rows = zip(*(column[part].tolist() for column in (user, item, text, time)), strict=True)
            file.write("".join(LINE % (u, i, u, texts[t], t, when) for u, i, t, when in rows))
    return path


def _texts(rng: np.random.Generator) -> list[str]:
    """JSON strings of random words."""
    letters = list("abcdefghijklmnopqrstuvwxyz")
    lengths = rng.integers(2, 10, size=NUM_WORDS)
    words = np.array(["".join(rng.choice(letters, size=length)) for length in lengths])
    # some words often, most rarely: compresses about as English does
    share = 1 / np.arange(1, NUM_WORDS + 1) ** 0.9
    share /= share.sum()
    counts = rng.lognormal(4.4, 0.8, size=NUM_TEXTS).astype(int) + 1
    chosen = [words[rng.choice(NUM_WORDS, p=share, size=count)] for count in counts]
    return [json.dumps(" ".join(text)) for text in chosen]


def prepared(path: Path, settings: DataConfig) -> np.ndarray:
    """Our road from a file to the split log: ``event, user, time, item, split`` (E, 5)."""
    log = read_purchases(path, settings)
    empty = {"title": "", "text": "", "brand": "", "category": ""}
    # no titles and no queries: only the log is prepared
    items = pd.DataFrame({"item_id": np.arange(len(log.items)), **empty})
    queries = pd.DataFrame({"query_id": [], "text": [], "kind": []})
    queries = queries.astype({"query_id": np.int64, "text": str})
    relevance = pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=np.int64)
    events = log.events.assign(task="recommend", query_id=-1)
    corpus, _ = build_corpus(Tables(items, queries, events, relevance, {}), settings)
    split = corpus.events["split"].map(SPLIT_CODE)
    return np.column_stack([corpus.events[COLUMNS].to_numpy(), split.to_numpy()])


def prepared_plainly(path: Path, settings: DataConfig) -> np.ndarray:
    """The plain road to the same array: one ``json.loads`` per line, then pandas' groups."""
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            review = json.loads(line)
            rows.append((review["reviewerID"], review["asin"], review["unixReviewTime"]))
    table = pd.DataFrame(rows, columns=["user", "item", "time"])
    # the first purchase of each item by each user
    table = table.sort_values("time", kind="stable").drop_duplicates(["user", "item"]).sort_index()
    while True:  # dropping users may leave an item with too few events, and the other way round
        steps = table.groupby("user")["time"].transform("nunique")
        events = table.groupby("item")["time"].transform("size")
        keep = (steps >= settings.min_events) & (events >= settings.min_item_events)
        if keep.all():
            break
        table = table[keep]
    for name in ("user", "item"):
        table[f"{name}_id"] = table[name].astype("category").cat.codes.astype(np.int64)
    table = table.sort_values(["user_id", "time"], kind="stable", ignore_index=True)
    # a user's last time step is test, the one before it validation
    times = table.groupby("user_id")["time"]
    from_end = times.transform("nunique") - times.rank("dense").astype(np.int64)
    split = from_end.map({0: SPLIT_CODE["test"], 1: SPLIT_CODE["validation"]})
    split = split.fillna(SPLIT_CODE["train"]).astype(np.int64)
    return np.column_stack([np.arange(len(table)), table[COLUMNS[1:]].to_numpy(), split])
