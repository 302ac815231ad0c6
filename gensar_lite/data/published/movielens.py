"""Sources ``movielens-small`` and ``movielens-25m``: ratings of films, with tags and genres as queries.

In: three members of GroupLens' zip file (Harper and Konstan, TiiS 2015). Out: `Tables`. A rating, of whatever height,
is an event. Nobody searched: a tag that a user gave to a film stands for a search that found it (kind ``tag``), and
untagged ratings have semi-synthetic twins (families.py; kind ``category``: the film's genres).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_download import DownloadError, fetch
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.families import Search, semi_synthetic_search
from gensar_lite.data.published.csvfiles import read_csv
from gensar_lite.data.published.logs import Log, number_log, number_names
from gensar_lite.data.published.searches import purchase_rows, with_searches
from gensar_lite.data.tables import Tables
from gensar_lite.data.text import clean

RATING = {"userId": int, "movieId": int, "timestamp": int}
TAG = {"userId": int, "movieId": int, "tag": str}
FILM = {"movieId": int, "title": str, "genres": str}
NO_GENRES = "(no genres listed)"


def load_movielens(settings: DataConfig) -> Tables:
    """Fetch the edition that ``settings.source`` names if need be, and read it. Raises `ArtifactError`."""
    try:
        files = fetch(settings.source)
    except DownloadError as problem:
        raise ArtifactError(str(problem)) from None
    return read_movielens(next(iter(files.values())), settings)


def read_movielens(path: Path, settings: DataConfig) -> Tables:
    """Ratings as recommendation events, tags and genres as searches at the rating's time."""
    ratings, dropped = read_csv(path, RATING, "ratings.csv")
    log = number_log(ratings.set_axis(["user", "item", "time"], axis=1), settings)
    wanted = pa.array(log.items)
    films, films_dropped = read_csv(
        path, FILM, "movies.csv", keep=lambda rows: pc.is_in(rows["movieId"], wanted)
    )
    items = item_table(films, log.items)
    tags, tags_dropped = read_csv(path, TAG, "tags.csv")
    search = combined(tag_search(tags, log), items, log, settings)
    facts = {
        "source": f"MovieLens, {path.name}",
        "time": "seconds",
        "rows dropped": dropped.dropped + films_dropped.dropped + tags_dropped.dropped,
        **log.facts,
        **search.facts,
    }
    return Tables(items, search.queries, search.events, search.relevance, facts)


def item_table(films: pd.DataFrame, names: np.ndarray) -> pd.DataFrame:
    """The rated films, in the order of `names`; all genres of a film are one category, since they are no levels."""
    films = films.drop_duplicates("movieId").set_index("movieId").reindex(names, fill_value="")
    titles = [
        clean(title) or f"item {name}" for name, title in zip(names, films["title"], strict=True)
    ]
    genres = [
        "" if text == NO_GENRES else ", ".join(map(clean, text.split("|")))
        for text in films["genres"]
    ]
    texts = [f"A film. {genre}".strip() for genre in genres]
    columns = {
        "item_id": np.arange(len(names)),
        "title": titles,
        "text": texts,
        "brand": "",
        "category": genres,
    }
    return pd.DataFrame(columns)


def tag_search(tags: pd.DataFrame, log: Log) -> Search:
    """A search event for each tag that a user gave to a film the user rated, at the time of the rating.

    The tag itself often comes minutes later: at its own time the film would stand in its own history.
    """
    texts = (
        tags["tag"].map({tag: clean(tag).lower() for tag in tags["tag"].unique()}).astype(object)
    )
    judged = tags[["userId", "movieId"]].set_axis(["user", "item"], axis=1)
    row = purchase_rows(judged, log)
    usable = (row >= 0) & (texts != "").to_numpy()
    query_id, names = number_names(texts[usable])
    pairs = pd.DataFrame({"row": row[usable], "query_id": query_id}).drop_duplicates()
    item = log.events["item_id"].to_numpy()[pairs["row"]]
    relevance = pd.DataFrame(
        {"query_id": pairs["query_id"].to_numpy(), "item_id": item, "grade": 1}
    ).drop_duplicates()
    queries = pd.DataFrame({"query_id": np.arange(len(names)), "text": names, "kind": "tag"})
    facts = {"tags": len(pairs), "tags without a rating or a word": int((~usable).sum())}
    return Search(
        queries,
        with_searches(log.events.iloc[np.unique(pairs["row"])], _packed(pairs)),
        relevance,
        facts,
    )


def combined(tagged: Search, items: pd.DataFrame, log: Log, settings: DataConfig) -> Search:
    """Tags first, then the made queries for the ratings that have no tag."""
    mine, all_of_them = (
        e["user_id"] * len(items) + e["item_id"] for e in (tagged.events, log.events)
    )
    made = semi_synthetic_search(items, log.events[~all_of_them.isin(mine)], settings)
    first = len(tagged.queries)
    queries = pd.concat(
        [tagged.queries, made.queries.assign(query_id=made.queries["query_id"] + first)]
    )
    relevance = pd.concat(
        [tagged.relevance, made.relevance.assign(query_id=made.relevance["query_id"] + first)]
    )
    shifted = made.events["query_id"].where(
        made.events["query_id"] < 0, made.events["query_id"] + first
    )
    events = pd.concat([tagged.events, made.events.assign(query_id=shifted)])
    events = events.sort_values(["user_id", "time", "item_id"], kind="stable", ignore_index=True)
    relevance = relevance.sort_values(["query_id", "item_id"], ignore_index=True)
    said = {
        "search made": f"tags that users gave; for untagged ratings: {made.facts['search made']}"
    }
    facts = made.facts | tagged.facts | said
    facts |= {"queries": len(queries), "search events": int((events["task"] == "search").sum())}
    return Search(queries.reset_index(drop=True), events, relevance, facts)


def _packed(pairs: pd.DataFrame) -> pd.DataFrame:
    """`pairs` with rows counted among those that occur."""
    return pairs.assign(row=np.searchsorted(np.unique(pairs["row"]), pairs["row"]))
