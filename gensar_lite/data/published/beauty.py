"""Source ``beauty``: Amazon Beauty 2014 (5-core), joined from three public preparations of the same
purchases.

In: the five files of `data_download`'s row ``beauty``. Out: `Tables`. Purchases are real; they have
an order and no times, so the position in a user's sequence is the time. Search is semi-synthetic
(families.py).
"""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_download import fetch
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.families import semi_synthetic_search
from gensar_lite.data.published.amazon import Product, item_table
from gensar_lite.data.sources import Tables
from gensar_lite.data.text import clean, is_no_brand
from gensar_lite.machine.ranges import within

ROOT = "Beauty"  # the level above every path of this data set; the published lists leave it out
ROOTS = ("Makeup", "Hair Care", "Skin Care", "Fragrance", "Bath & Body", "Tools & Accessories")
MIN_COUNT = 5  # attributes seen less often have no number upstream

# What the pinned files hold. Anything else is another edition: no number could be compared.
FACTS = {
    "users": 22_363,
    "items": 12_101,
    "interactions": 198_502,
    "users that repeat an item": 0,
    "non-empty titles": 12_094,
    "attribute numbers": 637,
    "items without a path": 0,
    "category names": 202,
    "distinct paths as published": 227,
    "distinct paths without repeated names": 224,
    "items with a brand": 7_494,
    "brands": 437,  # one of them is the empty name, published for 18 items
    "items with a brand that has a name": 7_476,
}


class Attributes(NamedTuple):
    """One item's attribute list, read."""

    brand: str | None  # None: the list has no brand; "": it has one without a name
    path: tuple[str, ...]  # from the root down, no name twice
    published: tuple[str, ...]  # the path before repeated names were dropped


def load_beauty(settings: DataConfig) -> Tables:
    """Fetch the files if need be, join them, check `FACTS`; search twins by ``settings.seed``."""
    tables, measured = join(fetch("beauty"), settings)
    check_facts(measured)
    return tables


def check_facts(measured: dict[str, int]) -> None:
    """Raises `ArtifactError` that lists every count that differs from `FACTS`."""
    wrong = {name: count for name, count in FACTS.items() if measured[name] != count}
    differences = (f"{name} {measured[name]:,} instead of {n:,}" for name, n in wrong.items())
    _require(not wrong, f"the files are not the known edition: {'; '.join(differences)}")


def join(files: dict[str, Path], settings: DataConfig) -> tuple[Tables, dict[str, int]]:
    """The five files as `Tables`, and the counts that `check_facts` compares."""
    purchases = read_purchases(files["Beauty.txt"])
    named = ("datamaps.json", "Beauty_item2attributes.json", "item_id_to_int.json")
    maps, numbers, product_of = (json.loads(files[name].read_text("utf-8")) for name in named)
    count = len(maps["id2item"])
    knows_all = count > purchases["item_id"].max()
    _require(knows_all, f"datamaps.json knows {count} items, Beauty.txt more")
    # attributes: an item's numbers -> names
    names = attribute_names(maps)
    listed = ([names[n - 1] for n in numbers.get(str(i), [])] for i in range(1, count + 1))
    attributes = [read_attributes(words) for words in listed]
    # titles: an item's ASIN -> global_product_id -> name; "" where the catalogue has none
    with open(files["products_lookup.csv"], newline="", encoding="utf-8") as file:
        title_of = {int(row["global_product_id"]): row["name"] for row in csv.DictReader(file)}
    asins = (maps["id2item"][str(i)] for i in range(1, count + 1))
    titles = [clean(title_of.get(product_of.get(asin, -1), "")) for asin in asins]
    products = [
        Product(title, brand="" if brand is None or is_no_brand(brand) else brand, paths=(path,))
        for title, (brand, path, _) in zip(titles, attributes, strict=True)
    ]
    items = item_table(products, np.arange(count), ROOT)
    search = semi_synthetic_search(items, purchases, settings, ROOT)
    measured = _measure(purchases, titles, names, attributes)
    facts = {
        "source": "Amazon Beauty 2014, 5-core",
        "time": "position in the user's sequence: the published files have an order and no times",
        **measured,
        **search.facts,
    }
    return Tables(items, search.queries, search.events, search.relevance, facts), measured


def read_purchases(path: Path) -> pd.DataFrame:
    """Lines ``user item item ...``, oldest first -> ``user_id, time, item_id``; ids from 1 -> 0."""
    lines = filter(str.strip, path.read_text().splitlines())
    rows = [np.array(line.split(), dtype=np.int64) - 1 for line in lines]
    _require(rows, f"{path.name} is empty")
    users = np.array([row[0] for row in rows])
    numbered = (np.sort(users) == np.arange(len(users))).all()
    _require(numbered, f"{path.name}: user ids are not 1 to {len(users)}")
    item = np.concatenate([row[1:] for row in rows])
    _require(item.min() >= 0, f"{path.name}: an item id is below 1")
    lengths = np.array([len(row) - 1 for row in rows])
    columns = {"user_id": np.repeat(users, lengths), "time": within(lengths), "item_id": item}
    return pd.DataFrame(columns).sort_values(["user_id", "time"], ignore_index=True)


def attribute_names(maps: dict) -> list[str]:
    """Name of attribute k at place k - 1: ascending ids, those seen `MIN_COUNT` times or more."""
    ids = sorted(maps["id2attribute"], key=int)
    often = [i for i in ids if maps["attributeid2num"][i] >= MIN_COUNT]
    return [clean(maps["id2attribute"][i]) for i in often]


def read_attributes(names: list[str]) -> Attributes:
    """An item's names in published order: a first one that is no root is the brand."""
    has_brand = bool(names) and names[0] not in ROOTS
    published = tuple(names[1:] if has_brand else names)
    return Attributes(names[0] if has_brand else None, tuple(dict.fromkeys(published)), published)


def _measure(
    purchases: pd.DataFrame, titles: list[str], names: list[str], attributes: list[Attributes]
) -> dict[str, int]:
    repeated = purchases[purchases.duplicated(["user_id", "item_id"])]
    return {
        "users": purchases["user_id"].nunique(),
        "items": purchases["item_id"].nunique(),
        "interactions": len(purchases),
        "users that repeat an item": repeated["user_id"].nunique(),
        "non-empty titles": sum(map(bool, titles)),
        "attribute numbers": len(names),
        "items without a path": sum(not a.path for a in attributes),
        "category names": len({name for a in attributes for name in a.path}),
        "distinct paths as published": len({a.published for a in attributes}),
        "distinct paths without repeated names": len({a.path for a in attributes}),
        "items with a brand": sum(a.brand is not None for a in attributes),
        "brands": len({a.brand for a in attributes} - {None}),
        "items with a brand that has a name": sum(bool(a.brand) for a in attributes),
    }


def _require(holds: object, what: str) -> None:
    if not holds:
        raise ArtifactError(
            f"beauty: {what}. Delete downloads/beauty and fetch again: gensar download beauty"
        )
