"""Sources ``amazon`` and ``electronics``: one category of Amazon 2014, 5-core (McAuley et al., SIGIR 2015).

In: ``reviews_<category>_5.json.gz`` (a review is a purchase; its time is a day) and ``meta_<category>.json.gz``
(Python dictionaries, one a line). Out: `Tables`. Search is what was published for the category (published.py), else
semi-synthetic (families.py). This file does not know how events are split.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_download import FAMILIES, QUERY_FILES, DownloadError, Source, fetch, find
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, DataConfig
from gensar_lite.data.families import semi_synthetic_search
from gensar_lite.data.published.jsonlines import read_columns, read_records
from gensar_lite.data.published.logs import Log, number_log
from gensar_lite.data.published.packed import Tally
from gensar_lite.data.published.searches import published_search
from gensar_lite.data.tables import Tables
from gensar_lite.data.text import clean

REVIEW = {"reviewerID": str, "asin": str, "unixReviewTime": int}


class Product(NamedTuple):
    """What the metadata say of one item, cleaned; paths from the root down, no name twice in one."""

    title: str = ""
    description: str = ""
    brand: str = ""
    paths: tuple[tuple[str, ...], ...] = ()


def load_amazon(settings: DataConfig) -> Tables:
    """Fetch the files of ``settings.category`` if need be, and join them. Raises `ConfigError`, `ArtifactError`."""
    row = source_row(settings)
    try:
        files = fetch(row)
    except DownloadError as problem:
        raise ArtifactError(str(problem)) from None
    return join(files, settings)


def source_row(settings: DataConfig) -> Source:
    """The row of `data_download`, without the query files where ``settings.published`` is off."""
    row = category_row("amazon", settings.category)
    return row if settings.published else row._replace(files=row.files[:2])


def category_row(family: str, category: str) -> Source:
    """The row of `data_download` for one category. Raises `ConfigError` that lists the family's categories."""
    categories = FAMILIES[family][1]
    if category not in categories:
        near = difflib.get_close_matches(category, categories, n=3)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(
            f"data.category: there is no {category!r}. {hint}Choose one of: {', '.join(categories)}."
        )
    return find(f"{family}-{category}")


def join(files: dict[str, Path], settings: DataConfig) -> Tables:
    """Reviews, metadata and, where they are among `files`, published queries as `Tables`."""
    reviews, meta = (
        next(path for name, path in files.items() if name.startswith(s))
        for s in ("reviews_", "meta_")
    )
    log = read_purchases(reviews, settings)
    products, meta_facts = read_products(meta, log.items)
    root = common_root(products)
    items = item_table(products, log.items, root)
    if all(name in files for name in QUERY_FILES):
        search = published_search(*(files[name] for name in QUERY_FILES), log)
    else:
        search = semi_synthetic_search(items, log.events, settings, root)
    facts = {
        "source": f"Amazon {settings.category} 2014, 5-core",
        "time": "seconds, by the day",
        **log.facts,
    }
    return Tables(
        items, search.queries, search.events, search.relevance, facts | meta_facts | search.facts
    )


def read_purchases(path: Path, settings: DataConfig) -> Log:
    """Who reviewed what when: a purchase a user and item, the earliest; an item's name is its ASIN."""
    table, tally = read_columns(path, REVIEW)
    log = number_log(table.set_axis(["user", "item", "time"], axis=1), settings)
    return log._replace(facts={"review lines dropped": tally.dropped, **log.facts})


def read_products(
    path: Path, asins: np.ndarray, key: str = "asin", read: Callable[[dict], Product] | None = None
) -> tuple[list[Product], dict[str, int]]:
    """The metadata of every item of `asins`, in their order; an item without any is an empty `Product`.

    `key` is the field that holds the ASIN, and `read` reads one record (`read_product` if not given).
    """
    place, tally, read = (
        {asin: i for i, asin in enumerate(asins)},
        Tally(path.name),
        read or read_product,
    )
    products, doubled = [None] * len(asins), 0
    pattern = re.compile(rb"""["']%s["']\s*:\s*["']([^"'\\]+)["']""" % key.encode())

    def wanted(
        line: bytes,
    ) -> bool:  # most of the lines are of items outside the 5-core: they are not parsed
        found = pattern.search(line)
        return found is None or found[1].decode("utf-8", "replace") in place

    for record in read_records(path, wanted, tally):
        row = place.get(_text(record.get(key)))
        if row is not None:
            doubled += products[row] is not None
            products[row] = products[row] or read(record)
    tally.check(f"record with {key}, title, categories")
    missing = sum(product is None for product in products)
    facts = {
        "metadata lines dropped": tally.dropped,
        "items with two records": doubled,
        "items without one": missing,
    }
    return [product or Product() for product in products], facts


def read_product(record: dict) -> Product:
    """One record of the metadata. A field of another form than the published one counts as empty."""
    lists = record.get("categories") if isinstance(record.get("categories"), list) else []
    paths = (
        tuple(dict.fromkeys(filter(None, map(_text, path))))
        for path in lists
        if isinstance(path, list)
    )
    texts = (_text(record.get(name)) for name in ("title", "description", "brand"))
    return Product(*texts, paths=tuple(dict.fromkeys(filter(None, paths))))


def common_root(products: list[Product]) -> str:
    """The level that most paths start with, e.g. ``Electronics``; "" without paths."""
    counts = Counter(path[0] for product in products for path in product.paths)
    return max(counts, key=lambda name: (counts[name], name)) if counts else ""


def item_table(products: list[Product], asins: np.ndarray, root: str) -> pd.DataFrame:
    """The catalogue. An item's category is its deepest path (the first of equals), the common `root` left out."""
    rows = []
    for item_id, (product, asin) in enumerate(zip(products, asins, strict=True)):
        path = max(product.paths, key=len, default=())
        path = path[1:] if path[:1] == (root,) else path
        title = product.title or " ".join(filter(None, [f"item {asin}", product.brand, *path]))
        of = f"of {product.brand} " if product.brand else ""
        text = product.description or f"A product {of}in {', '.join(filter(None, (root, *path)))}."
        rows.append((item_id, title, text, product.brand, " > ".join(path)))
    return pd.DataFrame(rows, columns=["item_id", "title", "text", "brand", "category"])


def _text(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""
