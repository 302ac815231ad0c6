"""Sources ``amazon`` and ``electronics``: one category of Amazon 2014, 5-core (McAuley et al.,
SIGIR 2015).

In: ``reviews_<category>_5.json.gz`` (a review is a purchase; its time is a day),
``meta_<category>.json.gz`` (Python dictionaries, one per line) and, where they were published (Ai
et al., SIGIR 2017), ``query_text.txt.gz`` (a query per line) and two ``.qrels.gz`` (lines
``<user>_<query's line number> 0 <asin> <1 if bought>``); else search is semi-synthetic
(families.py). Out: `Tables`. The queries' split is random and lets a purchase test what trains: it
is not used, time decides. This file does not know how.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_download import AMAZON_CATEGORIES, QUERY_FILES, Source, fetch, find
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig, one_of
from gensar_lite.data.families import Search, semi_synthetic_search
from gensar_lite.data.published.jsonlines import blocks, read_columns, read_records
from gensar_lite.data.published.logs import Log, clicked, match, number_log, with_searches
from gensar_lite.data.published.packed import Tally
from gensar_lite.data.sources import Tables
from gensar_lite.data.text import clean

REVIEW = {"reviewerID": str, "asin": str, "unixReviewTime": int}
LEAST_MATCHED = 0.5  # of the published rows must be purchases of the log: else another edition
_ASIN = re.compile(rb"""["']asin["']\s*:\s*["']([^"'\\]+)["']""")


class Product(NamedTuple):
    """What the metadata say of an item, cleaned; paths from the root down, no name twice in one."""

    title: str = ""
    description: str = ""
    brand: str = ""
    paths: tuple[tuple[str, ...], ...] = ()


def load_amazon(settings: DataConfig) -> Tables:
    """Fetch the files of ``settings.category`` if need be, and join them. Raises `ConfigError`."""
    if settings.source == "electronics":
        settings = dataclasses.replace(settings, category="Electronics")
    return join(fetch(source_row(settings)), settings)


def source_row(settings: DataConfig) -> Source:
    """The row of `data_download`, without the query files where ``settings.published`` is off."""
    row = find(f"amazon-{one_of('data.category', settings.category, AMAZON_CATEGORIES)}")
    return row if settings.published else row._replace(files=row.files[:2])


def join(files: dict[str, Path], settings: DataConfig) -> Tables:
    """Reviews, metadata and, where they are among `files`, published queries as `Tables`."""
    reviews = next(path for name, path in files.items() if name.startswith("reviews_"))
    meta = next(path for name, path in files.items() if name.startswith("meta_"))
    log = read_purchases(reviews, settings)
    products, meta_facts = read_products(meta, log.items)
    root = common_root(products)
    items = item_table(products, log.items, root)
    if all(name in files for name in QUERY_FILES):
        search = published_search(*(files[name] for name in QUERY_FILES), log)
    else:
        search = semi_synthetic_search(items, log.events, settings, root)
    source = {"source": f"Amazon {settings.category} 2014, 5-core", "time": "seconds, by the day"}
    facts = source | log.facts | meta_facts | search.facts
    return Tables(items, search.queries, search.events, search.relevance, facts)


def read_purchases(path: Path, settings: DataConfig) -> Log:
    """Who reviewed what when: a purchase per user and item, the earliest; items by ASIN."""
    table, tally = read_columns(path, REVIEW)
    log = number_log(table.set_axis(["user", "item", "time"], axis=1), settings)
    return log._replace(facts={"review lines dropped": tally.dropped, **log.facts})


def read_products(path: Path, asins: np.ndarray) -> tuple[list[Product], dict[str, int]]:
    """The metadata of every item of `asins`, in their order; without any an empty `Product`."""
    place = {asin: i for i, asin in enumerate(asins)}
    products: list[Product | None] = [None] * len(asins)
    tally = Tally(path.name)
    num_doubled = 0

    def is_wanted(line: bytes) -> bool:
        # most lines are of items outside the 5-core: they are not parsed
        asin = _ASIN.search(line)
        return asin is None or asin[1].decode("utf-8", "replace") in place

    for record in read_records(path, is_wanted, tally):
        row = place.get(_text(record.get("asin")))
        if row is not None:
            num_doubled += products[row] is not None
            products[row] = products[row] or read_product(record)
    tally.check("record with asin, title, categories")
    facts = {
        "metadata lines dropped": tally.dropped,
        "items with two records": num_doubled,
        "items without one": products.count(None),
    }
    return [product or Product() for product in products], facts


def read_product(record: dict) -> Product:
    """One record of the metadata; a field of another form than published counts as empty."""
    lists = record.get("categories")
    paths = []
    for path in lists if isinstance(lists, list) else []:
        names = map(_text, path) if isinstance(path, list) else ()
        paths.append(tuple(dict.fromkeys(filter(None, names))))
    texts = (_text(record.get(name)) for name in ("title", "description", "brand"))
    return Product(*texts, paths=tuple(dict.fromkeys(filter(None, paths))))


def common_root(products: list[Product]) -> str:
    """The level that most paths start with, e.g. ``Electronics``; "" without paths."""
    counts = Counter(path[0] for product in products for path in product.paths)
    return max(counts, key=lambda name: (counts[name], name)) if counts else ""


def item_table(products: list[Product], asins: np.ndarray, root: str) -> pd.DataFrame:
    """The catalogue. An item's category is its deepest path (the first of equals), the common
    `root` left out; every reader of a made text reads the title too, which it does not repeat."""
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


def published_search(texts: Path, train: Path, test: Path, log: Log) -> Search:
    """One search event for each published (user, query, item) that is a purchase of `log`, at the
    purchase's time; one purchase may have several.

    A query's relevant items are all that any user bought after it (grade 1). Raises `ArtifactError`
    on another edition.
    """
    lines = [line for block in blocks(texts) for line in block.splitlines()]
    known = np.array([clean(line.decode("utf-8", "replace")) for line in lines], dtype=object)
    judged = pd.concat([_judgements(path, len(known)) for path in (train, test)], ignore_index=True)
    matched = match(judged.assign(text=known[judged["query"].to_numpy(dtype=int)]), log, "category")
    count, pairs = matched.is_purchase.sum(), matched.pairs
    if not len(judged) or count < LEAST_MATCHED * len(judged):
        raise ArtifactError(
            f"{train.name}: {count:,} of {len(judged):,} published rows are purchases of the "
            "reviews: it is another edition. Delete the files and fetch them again, or set "
            "data.published=false."
        )
    facts = {
        "search": "semi-synthetic",
        "search made": "category-path queries as published (Ai et al. 2017); their random split is "
        "not used",
        "queries": len(matched.queries),
        "search events": len(pairs),
        "published rows that are no purchase here": len(judged) - int(count),
        "purchases with several searches": int((pairs.groupby("row").size() > 1).sum()),
    }
    events = with_searches(log.events, pairs)
    return Search(matched.queries, events, clicked(events), facts)


def _judgements(path: Path, num_queries: int) -> pd.DataFrame:
    """The lines of one file that say "bought": ``user, query, item``, `query` a line number."""
    tally = Tally(path.name)
    rows = [row for block in blocks(path) for row in _rows(block, num_queries, tally)]
    tally.check("line like 'USER_QUERYNUMBER 0 ASIN 1'")
    table = pd.DataFrame(rows, columns=["user", "query", "item", "bought"])
    return table.loc[table["bought"] == "1", ["user", "query", "item"]]


def _rows(block: bytes, num_queries: int, tally: Tally) -> Iterator[tuple[str, int, str, str]]:
    for line in filter(bytes.strip, block.splitlines()):
        tally.read += 1
        fields = line.decode("utf-8", "replace").split()
        user, _, query = fields[0].rpartition("_") if fields else ("", "", "")
        if len(fields) == 4 and user and query.isdecimal() and int(query) < num_queries:
            yield user, int(query), fields[2], fields[3]
        else:
            tally.drop(line)
