"""Sources ``movielens-small`` and ``movielens-25m``: film ratings, with tags and genres as queries.

In: three members of GroupLens' zip file (Harper and Konstan, TiiS 2015). Out: `Tables`. A rating,
of whatever height, is an event. Nobody searched: a tag that a user gave to a film stands for a
search that led to it (kind ``tag``), and untagged ratings have semi-synthetic twins (families.py;
kind ``category``: the film's genres).
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_download import fetch
from gensar_lite.config import DataConfig
from gensar_lite.data.families import Search, semi_synthetic_search
from gensar_lite.data.published.amazon import Product, item_table
from gensar_lite.data.published.logs import (
    Log,
    clicked,
    in_order,
    match,
    number_log,
    with_searches,
)
from gensar_lite.data.published.packed import read_csv
from gensar_lite.data.sources import Tables
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
    items = film_table(films, log.items)
    search = tags_and_genres(tags, items, log, settings)
    dropped = rating_tally.dropped + film_tally.dropped + tag_tally.dropped
    facts = {"source": f"MovieLens, {path.name}", "time": "seconds", "rows dropped": dropped}
    facts |= log.facts | search.facts
    return Tables(items, search.queries, search.events, search.relevance, facts)


def film_table(films: pd.DataFrame, names: np.ndarray) -> pd.DataFrame:
    """The catalogue in the order of `names` (film numbers); genres are one category, no levels."""
    films = films.drop_duplicates("movieId").set_index("movieId").reindex(names, fill_value="")
    products = []
    for title, listed in zip(films["title"], films["genres"], strict=True):
        genres = "" if listed == NO_GENRES else ", ".join(map(clean, listed.split("|")))
        products.append(Product(clean(title), f"A film. {genres}".strip(), paths=((genres,),)))
    return item_table(products, names, root="")


def tags_and_genres(
    tags: pd.DataFrame, items: pd.DataFrame, log: Log, settings: DataConfig
) -> Search:
    """A search for each tag that a user gave to a film the user rated, at the rating's time; made
    queries for the ratings that have no tag."""
    # a tag often comes minutes later: at its own time the film would stand in its own history
    texts = {tag: clean(tag).lower() for tag in tags["tag"].unique()}
    asked = tags.assign(tag=tags["tag"].map(texts).astype(object))
    tagged = match(asked.set_axis(["user", "item", "text"], axis=1), log, "tag")
    untagged = log.events.drop(index=tagged.pairs["row"].unique())
    by_genre = semi_synthetic_search(items, untagged, settings)
    # the made queries are numbered on from the tags; a tag's answers are the films it was given to
    first = len(tagged.queries)
    made = by_genre.events[by_genre.events["task"] == "search"]
    genre_queries, genre_events, genre_answers = (
        table.assign(query_id=table["query_id"] + first)
        for table in (by_genre.queries, made, by_genre.relevance)
    )
    tag_events = with_searches(log.events, tagged.pairs)
    relevance = pd.concat([clicked(tag_events), genre_answers])
    silent = ~tagged.is_purchase | (asked["tag"] == "").to_numpy()
    made_of = by_genre.facts["search made"]
    facts = by_genre.facts | {
        "tags": len(tagged.pairs),
        "tags without a rating or a word": int(silent.sum()),
        "search made": f"tags that users gave; for untagged ratings: {made_of}",
        "queries": first + len(genre_queries),
        "search events": len(tagged.pairs) + len(genre_events),
    }
    return Search(
        pd.concat([tagged.queries, genre_queries], ignore_index=True),
        in_order(pd.concat([tag_events, genre_events])),
        relevance.sort_values(["query_id", "item_id"], ignore_index=True),
        facts,
    )
