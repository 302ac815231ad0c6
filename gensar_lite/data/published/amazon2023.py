"""Source ``amazon2023``: one category of Amazon Reviews 2023, 5-core (Hou et al., arXiv 2403.03952).

In: ``<category>.csv.gz`` (a rating is a purchase; its time is exact) and ``meta_<category>.jsonl.gz``. Out: `Tables`.
Items are parents: all sizes and colours of a product are one. No queries are published: search is semi-synthetic
(families.py). This file does not know how events are split.
"""

from __future__ import annotations

from pathlib import Path

from data_download import DownloadError, fetch
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.families import semi_synthetic_search
from gensar_lite.data.published.amazon import (
    Product,
    category_row,
    common_root,
    item_table,
    read_products,
)
from gensar_lite.data.published.csvfiles import read_csv
from gensar_lite.data.published.logs import number_log
from gensar_lite.data.tables import Tables
from gensar_lite.data.text import clean

RATING = {"user_id": str, "parent_asin": str, "timestamp": int}


def load_amazon2023(settings: DataConfig) -> Tables:
    """Fetch the files of ``settings.category`` if need be, and join them. Raises `ConfigError`, `ArtifactError`."""
    row = category_row("amazon2023", settings.category)
    try:
        ratings, meta = fetch(row).values()
    except DownloadError as problem:
        raise ArtifactError(str(problem)) from None
    return join(ratings, meta, settings)


def join(ratings: Path, meta: Path, settings: DataConfig) -> Tables:
    """Ratings and metadata as `Tables`; a user's purchase of an item is the earliest rating."""
    table, tally = read_csv(ratings, RATING)
    log = number_log(table.set_axis(["user", "item", "time"], axis=1), settings)
    products, meta_facts = read_products(meta, log.items, "parent_asin", read_parent)
    root = common_root(products)
    items = item_table(products, log.items, root)
    search = semi_synthetic_search(items, log.events, settings, root)
    facts = {"source": f"Amazon {settings.category} 2023, 5-core", "time": "milliseconds"}
    facts |= {"rating lines dropped": tally.dropped, **log.facts, **meta_facts, **search.facts}
    return Tables(items, search.queries, search.events, search.relevance, facts)


def read_parent(record: dict) -> Product:
    """One record of the metadata; features stand before the description, the store is the brand."""
    path = tuple(dict.fromkeys(_texts(record.get("categories"))))
    text = clean(" ".join([*_texts(record.get("features")), *_texts(record.get("description"))]))
    title, store = (" ".join(_texts([record.get(name)])) for name in ("title", "store"))
    return Product(title, text, store, (path,) if path else ())


def _texts(values: object) -> list[str]:
    """The texts in a list, cleaned; what is no text or empty is left out."""
    texts = (
        (clean(value) for value in values if isinstance(value, str))
        if isinstance(values, list)
        else ()
    )
    return [text for text in texts if text]
