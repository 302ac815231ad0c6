"""Sources ``movielens-small`` and ``movielens-25m``: film ratings, with tags and genres as queries.

In: three members of GroupLens' zip file (Harper and Konstan, TiiS 2015). Out: `Tables`. A rating,
of whatever height, is an event. Nobody searched: a tag that a user gave to a film stands for a
search that led to it (kind ``tag``), and untagged ratings have semi-synthetic twins (families.py;
kind ``category``: the film's genres).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_download import fetch
from gensar_lite.config import DataConfig
from gensar_lite.data.families import Search, semi_synthetic_search
from gensar_lite.data.published.csvfiles import read_csv
from gensar_lite.data.published.logs import Log, number_log
from gensar_lite.data.published.searches import in_order, match, with_searches
from gensar_lite.data.tables import Tables
from gensar_lite.data.text import clean

RATING = {"userId": int, "movieId": int, "timestamp": int}
TAG = {"userId": int, "movieId": int, "tag": str}
FILM = {"movieId": int, "title": str, "genres": str}
NO_GENRES = "(no genres listed)"


def load_movielens(settings: DataConfig) -> Tables:
    """Fetch the edition that ``settings.source`` names if need be, and read it."""
    (path,) = fetch(settings.source).values()
    return read_movielens(path, settings)


def read_movielens(path: Path, settings: DataConfig) -> Tables:
    """Ratings as recommendation events, tags and genres as searches at the rating's time."""
    ratings, rating_tally = read_csv(path, RATING, "ratings.csv")
    tags, tag_tally = read_csv(path, TAG, "tags.csv")
    log = number_log(ratings.set_axis(["user", "item", "time"], axis=1), settings)
    rated = pa.array(log.items)
    films, film_tally = read_csv(
        path, FILM, "movies.csv", keep=lambda rows: pc.is_in(rows["movieId"], rated)
    )
    items = item_table(films, log.items)
    search = tags_and_genres(tags, items, log, settings)
    dropped = rating_tally.dropped + film_tally.dropped + tag_tally.dropped
    facts = {"source": f"MovieLens, {path.name}", "time": "seconds", "rows dropped": dropped}
    facts |= log.facts | search.facts
    return Tables(items, search.queries, search.events, search.relevance, facts)


def item_table(films: pd.DataFrame, names: np.ndarray) -> pd.DataFrame:
    """The catalogue in the order of `names` (film numbers); genres are one category, no levels."""
    films = films.drop_duplicates("movieId").set_index("movieId").reindex(names, fill_value="")
    genres = (
        films["genres"]
        .replace(NO_GENRES, "")
        .str.split("|")
        .map(lambda words: ", ".join(map(clean, words)))
    )
    titles = films["title"].map(clean)
    unnamed = "item " + films.index.astype(str).to_series(films.index)
    columns = {
        "item_id": np.arange(len(names)),
        "title": titles.where(titles != "", unnamed).to_numpy(),
        "text": ("A film. " + genres).str.strip().to_numpy(),
        "brand": "",
        "category": genres.to_numpy(),
    }
    return pd.DataFrame(columns)


def tags_and_genres(
    tags: pd.DataFrame, items: pd.DataFrame, log: Log, settings: DataConfig
) -> Search:
    """A search for each tag that a user gave to a film the user rated; made queries for the ratings
    that have no tag.

    A tag's search stands at the time of the rating: the tag itself often comes minutes later, and
    at its own time the film would stand in its own history.
    """
    texts = {tag: clean(tag).lower() for tag in tags["tag"].unique()}
    asked = tags.assign(tag=tags["tag"].map(texts).astype(object))
    tagged = match(asked.set_axis(["user", "item", "text"], axis=1), log, "tag")
    untagged = log.events.drop(index=tagged.pairs["row"].unique())
    made = semi_synthetic_search(items, untagged, settings)
    # numbers of the made queries follow those of the tags
    first = len(tagged.queries)
    searched = made.events[made.events["task"] == "search"]
    searched = searched.assign(query_id=searched["query_id"] + first)
    events = in_order(pd.concat([with_searches(log.events, tagged.pairs), searched]))
    queries = made.queries.assign(query_id=made.queries["query_id"] + first)
    answers = tagged.pairs.assign(
        item_id=log.events["item_id"].to_numpy()[tagged.pairs["row"]], grade=1
    )[["query_id", "item_id", "grade"]].drop_duplicates()
    relevance = made.relevance.assign(query_id=made.relevance["query_id"] + first)
    relevance = pd.concat([answers, relevance])
    described = f"tags that users gave; for untagged ratings: {made.facts['search made']}"
    facts = made.facts | {
        "tags": len(tagged.pairs),
        "tags without a rating or a word": int(
            (~tagged.is_purchase | (asked["tag"] == "").to_numpy()).sum()
        ),
        "search made": described,
        "queries": first + len(queries),
        "search events": len(tagged.pairs) + len(searched),
    }
    return Search(
        pd.concat([tagged.queries, queries], ignore_index=True),
        events,
        relevance.sort_values(["query_id", "item_id"], ignore_index=True),
        facts,
    )
