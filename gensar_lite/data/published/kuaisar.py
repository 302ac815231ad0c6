"""Sources ``kuaisar`` and ``kuaisar-small``: searches and recommendations of one app (Sun et al.,
CIKM 2023).

In: three members of the published zip file: clicks in recommendation, clicks after a query, and the
videos. Out: `Tables`. Nobody knows the words: each is a number, so ``[20, 34]`` becomes the text
``w20 w34``, and a text encoder, which knows words, has nothing to read. This file does not know how
events are split.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_download import fetch
from gensar_lite.config import DataConfig
from gensar_lite.data.published.logs import clicked, number_log, number_names
from gensar_lite.data.published.packed import read_csv
from gensar_lite.data.sources import Tables
from gensar_lite.data.text import clean

LEVELS = [f"{level}_level_category_name_en" for level in ("first", "second", "third", "fourth")]
RECOMMENDED = {"user_id": int, "item_id": int, "timestamp": float, "click": int}
SEARCHED = {"user_id": int, "item_id": int, "search_session_timestamp": float, "keyword": str}
SEARCHED |= {"click_cnt": int}
FEATURES = {"item_id": int, "caption": str, "author_id": int, **dict.fromkeys(LEVELS, str)}
MOST_WORDS = 64  # of a caption
_PADDING = ("", "empty", "unknown")


def load_kuaisar(settings: DataConfig) -> Tables:
    """Fetch the edition that ``settings.source`` names if need be, and read it."""
    (path,) = fetch(settings.source).values()
    return read_kuaisar(path, settings)


def read_kuaisar(path: Path, settings: DataConfig) -> Tables:
    """Clicks of both services as one log; all clicks of a search session are one time step (ms)."""
    table, facts = read_clicks(path)
    items = pa.array(table["item"].unique())
    features, tally = read_csv(  # millions of videos: only those that were clicked are held
        path, FEATURES, "item_features.csv", keep=lambda rows: pc.is_in(rows["item_id"], items)
    )
    features = features.drop_duplicates("item_id").set_index("item_id")
    is_video = table["item"].isin(features.index)  # a search also shows people, music and goods
    facts["item rows dropped"] = tally.dropped
    facts["clicks on what is no video"] = int((~is_video).sum())
    log = number_log(table[is_video].drop_duplicates(), settings, once=False)
    query_id, texts = number_names(log.events["query"].replace("", None))  # -1: recommended
    task = np.where(query_id >= 0, "search", "recommend")
    events = log.events[["user_id", "time", "item_id"]].assign(task=task, query_id=query_id)
    events = events.sort_values(["user_id", "time"], kind="stable", ignore_index=True)
    queries = pd.DataFrame({"query_id": np.arange(len(texts)), "text": texts, "kind": "typed"})
    again = events.duplicated(["user_id", "item_id"]) & (events["task"] == "recommend")
    facts = {
        "source": f"KuaiSAR (Zenodo 8181109), {path.name}",
        "search": "real",
        "search made": "typed or tapped queries with their clicks",
        "words": "anonymised, one number per word: no text encoder can read them, use TF-IDF",
        "time": "milliseconds; a search session is one time step",
        "recommended clicks on an item met before": f"{again.sum():,}; see data.seen_items",
        **facts,
        **log.facts,
        "queries": len(queries),
        "search events": int((query_id >= 0).sum()),
    }
    return Tables(item_table(features.loc[log.items]), queries, events, clicked(events), facts)


def read_clicks(path: Path) -> tuple[pd.DataFrame, dict[str, object]]:
    """Every click, ``user, item, time, query`` (a text; "": recommended), and counts."""
    shown, shown_tally = read_csv(
        path, RECOMMENDED, "rec_inter.csv", keep=lambda rows: pc.greater(rows["click"], 0)
    )
    searched, searched_tally = read_csv(
        path, SEARCHED, "src_inter.csv", keep=lambda rows: pc.greater(rows["click_cnt"], 0)
    )
    texts = {numbers: numbered_words(numbers) for numbers in searched["keyword"].unique()}
    searched = searched.assign(query=searched["keyword"].map(texts).astype(object))
    is_silent = searched["query"] == ""
    shown = shown.assign(query="").drop(columns="click")
    searched = searched[~is_silent].drop(columns=["keyword", "click_cnt"])
    columns = ["user", "item", "time", "query"]
    table = pd.concat([part.set_axis(columns, axis=1) for part in (shown, searched)])
    facts = {
        "log rows dropped": shown_tally.dropped + searched_tally.dropped,
        "searches without a word": int(is_silent.sum()),
    }
    return table.astype({"time": np.int64}).reset_index(drop=True), facts


def numbered_words(numbers: str) -> str:
    """``[20, 34, 3]`` -> ``w20 w34 w3``: to many tokenizers a lone digit is no word."""
    return " ".join(f"w{n}" for n in re.findall(r"[0-9]{1,9}", numbers[:4096])[:MOST_WORDS])


def item_table(features: pd.DataFrame) -> pd.DataFrame:
    """The catalogue, a row for each of `features`: numbered words, English categories."""
    names = {name: clean(name) for level in LEVELS for name in features[level].unique()}
    rows = []
    for name, video in zip(features.index, features.itertuples(index=False), strict=True):
        levels = [names[getattr(video, level)] for level in LEVELS]
        path = " > ".join(dict.fromkeys(n for n in levels if n.lower() not in _PADDING))
        title = numbered_words(video.caption) or f"item {name} {path}".strip()
        brand = f"author {video.author_id}" if video.author_id else ""  # 0 is padding
        rows.append((len(rows), title, title, brand, path))
    return pd.DataFrame(rows, columns=["item_id", "title", "text", "brand", "category"])
