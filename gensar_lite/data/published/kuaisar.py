"""Sources ``kuaisar`` and ``kuaisar-small``: searches and recommendations of one app (Sun et al., CIKM 2023).

In: three members of the published zip file: what was clicked in recommendation, what was clicked after which query,
and what the videos are. Out: `Tables`. Nobody knows the words: each is a number, so ``[20, 34]`` becomes the text
``w20 w34`` and a text encoder, which knows words, has nothing to read. This file does not know how events are split.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_download import DownloadError, fetch
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.published.csvfiles import read_csv
from gensar_lite.data.published.logs import number_log, number_names
from gensar_lite.data.tables import Tables
from gensar_lite.data.text import clean

LEVELS = tuple(
    f"{level}_level_category_name_en" for level in ("first", "second", "third", "fourth")
)
RECOMMENDED = {"user_id": int, "item_id": int, "timestamp": float, "click": int}
SEARCHED = {
    "user_id": int,
    "item_id": int,
    "search_session_timestamp": float,
    "keyword": str,
    "click_cnt": int,
}
FEATURES = {"item_id": int, "caption": str, "author_id": int, **dict.fromkeys(LEVELS, str)}
MOST_WORDS = 64  # of a caption
_NUMBER = re.compile(r"[0-9]{1,9}")
_PADDING, _BETWEEN = {"", "empty", "unknown"}, "\x1f"


def load_kuaisar(settings: DataConfig) -> Tables:
    """Fetch the edition that ``settings.source`` names if need be, and read it. Raises `ArtifactError`."""
    try:
        files = fetch(settings.source)
    except DownloadError as problem:
        raise ArtifactError(str(problem)) from None
    return read_kuaisar(next(iter(files.values())), settings)


def read_kuaisar(path: Path, settings: DataConfig) -> Tables:
    """Clicks of both services as one log; all clicks of a search session are one time step (milliseconds)."""
    table, texts, facts = read_clicks(path)
    videos = read_features(path, {"item_id": int}, table["item"].unique())[0]
    known = table["item"].isin(videos["item_id"])  # a search also shows people, music and goods
    log = number_log(table[known].drop_duplicates(), settings, once=False)
    features, dropped = read_features(
        path, FEATURES, log.items
    )  # millions of videos: only those that stay are held
    facts |= {"item rows dropped": dropped, "clicks on what is no video": int((~known).sum())}
    used = log.events.loc[log.events["query"] >= 0, "query"].unique()
    query = (
        pd.Series(np.arange(len(used)), index=np.sort(used))
        .reindex(log.events["query"], fill_value=-1)
        .to_numpy()
    )
    task = np.where(query >= 0, "search", "recommend")
    events = log.events[["user_id", "time", "item_id"]].assign(task=task, query_id=query)
    events = events.sort_values(["user_id", "time"], kind="stable", ignore_index=True)
    queries = pd.DataFrame(
        {"query_id": np.arange(len(used)), "text": texts[np.sort(used)], "kind": "typed"}
    )
    relevance = (
        events.loc[events["query_id"] >= 0, ["query_id", "item_id"]]
        .drop_duplicates()
        .assign(grade=1)
    )
    facts = {
        "source": f"KuaiSAR (Zenodo 8181109), {path.name}",
        **said(events),
        **facts,
        **log.facts,
    }
    facts |= {"queries": len(queries), "search events": int((query >= 0).sum())}
    relevance = relevance.sort_values(["query_id", "item_id"], ignore_index=True)
    return Tables(
        item_table(features.set_index("item_id").loc[log.items]), queries, events, relevance, facts
    )


def read_clicks(path: Path) -> tuple[pd.DataFrame, np.ndarray, dict[str, object]]:
    """Every click, ``user, item, time, query`` (-1: recommended), the texts of the queries, and counts."""
    clicked, rec = read_csv(
        path, RECOMMENDED, "rec_inter.csv", keep=lambda rows: pc.greater(rows["click"], 0)
    )
    found, src = read_csv(
        path, SEARCHED, "src_inter.csv", keep=lambda rows: pc.greater(rows["click_cnt"], 0)
    )
    words = (
        found["keyword"]
        .map({text: words_of(text) for text in found["keyword"].unique()})
        .astype(object)
    )
    said_something = (words != "").to_numpy()
    query, texts = number_names(words[said_something])
    found = found[said_something].assign(query=query)
    names = ["user", "item", "time", "query"]
    clicked = clicked.assign(query=-1)[["user_id", "item_id", "timestamp", "query"]].set_axis(
        names, axis=1
    )
    found = found[["user_id", "item_id", "search_session_timestamp", "query"]].set_axis(
        names, axis=1
    )
    table = pd.concat([clicked, found], ignore_index=True)
    facts = {
        "log rows dropped": rec.dropped + src.dropped,
        "searches without a word": int((~said_something).sum()),
    }
    return table.assign(time=table["time"].astype(np.int64)), texts, facts


def read_features(
    path: Path, columns: dict[str, type], items: np.ndarray
) -> tuple[pd.DataFrame, int]:
    """`columns` of the videos among `items`, each once, and how many rows were unusable."""
    wanted = pa.array(items)
    table, tally = read_csv(
        path, columns, "item_features.csv", keep=lambda rows: pc.is_in(rows["item_id"], wanted)
    )
    return table.drop_duplicates("item_id"), tally.dropped


def words_of(numbers: str) -> str:
    """``[20, 34, 3]`` -> ``w20 w34 w3``: a number of one digit alone would be no word to many tokenizers."""
    return " ".join(f"w{number}" for number in _NUMBER.findall(numbers[:4096])[:MOST_WORDS])


def item_table(features: pd.DataFrame) -> pd.DataFrame:
    """The catalogue, one row a row of `features`: captions of numbered words, categories in English."""
    levels = features[LEVELS[0]].str.cat([features[name] for name in LEVELS[1:]], sep=_BETWEEN)
    category = levels.map({text: category_of(text) for text in levels.unique()}).tolist()
    words = map(words_of, features["caption"])
    named = zip(words, features.index, category, strict=True)
    titles = [title or f"item {name} {path}".strip() for title, name, path in named]
    brands = [
        f"author {author}" if author else "" for author in features["author_id"]
    ]  # 0 is padding
    columns = {"item_id": np.arange(len(titles)), "title": titles, "text": titles, "brand": brands}
    return pd.DataFrame(columns | {"category": category})


def category_of(levels: str) -> str:
    """Names of levels from the top down -> a path without padding and repeated names."""
    names = map(clean, levels.split(_BETWEEN))
    return " > ".join(dict.fromkeys(name for name in names if name.lower() not in _PADDING))


def said(events: pd.DataFrame) -> dict[str, object]:
    """What a reader of the data report must know; `events` in order of time."""
    again = events.duplicated(["user_id", "item_id"]) & (events["task"] == "recommend")
    return {
        "search": "real",
        "search made": "typed or tapped queries with their clicks",
        "words": "anonymised, one number a word: no text encoder can read them, use TF-IDF",
        "time": "milliseconds; a search session is one time step",
        "recommended clicks on an item met before": f"{int(again.sum()):,}; see data.seen_items",
    }
