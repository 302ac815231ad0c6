"""Source ``beauty``: the join by hand on a tiny set in the publishers' formats, and its facts on
the real files.
"""

from __future__ import annotations

import csv
import json
import os

import pytest

from data_download import fetch, missing_files
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.published.beauty import FACTS, check_facts, join, load_beauty, read_attributes
from gensar_lite.data.sources import load_source

SEQUENCES = "1 1 2 3\n2 3 1 2 4\n"
# attribute id -> name and count; those seen 5 times or more are numbered 1, 2, ... in ascending
# order of id,
# which is neither the order of the file nor that of the text ("10" < "2")
ATTRIBUTES = {
    "10": ("Masks", 9),
    "1": ("Rare Brand", 4),
    "2": ("Skin Care", 8),
    "3": ("Tom &amp; Jo&#39;s", 5),
    "4": ("Face", 7),
    "11": ("Bath &amp; Body", 6),
    "12": ("", 5),
}
# numbers: 1 Skin Care, 2 Tom & Jo's, 3 Face, 4 Masks, 5 Bath & Body, 6 the empty name
ITEM_ATTRIBUTES = {"3": [2, 1, 3, 4], "1": [1, 3], "2": [2, 1, 1, 3], "4": [6, 5]}
ASINS = {"1": "B01", "2": "B02", "3": "B03", "4": "B04"}
NUMBERS = {"B03": 0, "B01": 1, "B04": 2, "B02": 3}
TITLES = {0: "Mud &amp; Clay, 2 oz", 1: "Cold Cream", 2: "  ", 3: 'The "Big"\nJar'}


@pytest.fixture
def files(tmp_path):
    maps = {
        "id2item": ASINS,
        "id2attribute": {i: name for i, (name, _) in ATTRIBUTES.items()},
        "attributeid2num": {i: count for i, (_, count) in ATTRIBUTES.items()},
    }
    (tmp_path / "Beauty.txt").write_text(SEQUENCES)
    (tmp_path / "datamaps.json").write_text(json.dumps(maps))
    (tmp_path / "Beauty_item2attributes.json").write_text(json.dumps(ITEM_ATTRIBUTES))
    (tmp_path / "item_id_to_int.json").write_text(json.dumps(NUMBERS))
    with open(tmp_path / "products_lookup.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["", "global_product_id", "name"])
        writer.writerows([i, number, TITLES[number]] for i, number in enumerate((2, 0, 3, 1)))
    return {path.name: path for path in tmp_path.iterdir()}


def test_items_by_hand(files):
    tables, _ = join(files, DataConfig(source="beauty"))
    items = tables.items
    assert items["item_id"].tolist() == [0, 1, 2, 3]
    assert items["title"].tolist() == [
        "Cold Cream",
        'The "Big" Jar',
        "Mud & Clay, 2 oz",
        "item 3 Bath & Body",
    ]
    assert items["brand"].tolist() == ["", "Tom & Jo's", "Tom & Jo's", ""]
    assert items["category"].tolist() == [
        "Skin Care > Face",
        "Skin Care > Face",  # the name that stands twice is dropped
        "Skin Care > Face > Masks",
        "Bath & Body",
    ]
    assert items["text"][2] == "A product of Tom & Jo's in Beauty, Skin Care, Face, Masks."
    assert items["text"][0] == "A product in Beauty, Skin Care, Face."


def test_events_and_queries_by_hand(files):
    tables, measured = join(files, DataConfig(source="beauty", search_rate=1.0))
    bought = tables.events[tables.events["task"] == "recommend"]
    assert bought[["user_id", "time", "item_id"]].to_numpy().tolist() == [
        [0, 0, 0], [0, 1, 1], [0, 2, 2],
        [1, 0, 2], [1, 1, 0], [1, 2, 1], [1, 3, 3],
    ]  # fmt: skip
    assert tables.queries["text"].tolist() == [
        "beauty skin care face",
        "beauty skin care face mask",
        "beauty bath body",
    ]
    twins = tables.events[tables.events["task"] == "search"]
    assert twins["query_id"].tolist() == [0, 0, 1, 1, 0, 0, 2]
    assert tables.relevance["item_id"].tolist() == [0, 1, 2, 3]
    assert tables.facts["search"] == "semi-synthetic"
    assert measured == {
        "users": 2,
        "items": 4,
        "interactions": 7,
        "users that repeat an item": 0,
        "non-empty titles": 3,
        "attribute numbers": 6,
        "items without a path": 0,
        "category names": 4,
        "distinct paths as published": 4,
        "distinct paths without repeated names": 3,
        "items with a brand": 3,
        "brands": 2,
        "items with a brand that has a name": 2,
    }


def test_reading_attributes_keeps_the_published_order():
    assert read_attributes(["Makeup", "Lips"]).brand is None
    assert read_attributes(["Zed", "Makeup", "Lips"]) == (
        "Zed",
        ("Makeup", "Lips"),
        ("Makeup", "Lips"),
    )
    assert read_attributes([]) == (None, (), ())


def test_another_edition_is_refused_with_every_difference(files):
    _, measured = join(files, DataConfig(source="beauty"))
    with pytest.raises(
        ArtifactError, match=r"users 2 instead of 22,363; items 4 instead of 12,101"
    ):
        check_facts(measured)


def test_a_broken_file_is_named(files):
    files["Beauty.txt"].write_text("")
    with pytest.raises(ArtifactError, match=r"Beauty\.txt is empty"):
        join(files, DataConfig(source="beauty"))
    files["Beauty.txt"].write_text("1 1 2\n3 1 2\n")
    with pytest.raises(ArtifactError, match="user ids are not 1 to 2"):
        join(files, DataConfig(source="beauty"))
    files["Beauty.txt"].write_text("1 1 9\n")
    with pytest.raises(ArtifactError, match=r"knows 4 items, Beauty\.txt more"):
        join(files, DataConfig(source="beauty"))


def test_missing_files_offline_are_an_error_of_the_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSAR_DATA", str(tmp_path / "kept"))
    monkeypatch.setenv("GENSAR_OFFLINE", "1")
    monkeypatch.delenv("GENSAR_MIRROR", raising=False)
    with pytest.raises(ArtifactError, match="5 of 5 files are missing"):
        load_source(DataConfig(source="beauty"))


# ------------------------------------------------------------------------------- the real files


@pytest.fixture(scope="module")
def beauty(tmp_path_factory):
    settings = DataConfig(source="beauty")
    if missing_files("beauty"):
        if not os.environ.get("GENSAR_MIRROR"):
            pytest.skip(
                "needs the files of Amazon Beauty 2014: set GENSAR_MIRROR, or run: "
                "gensar download beauty"
            )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GENSAR_DATA", str(tmp_path_factory.mktemp("downloads")))
            fetch("beauty", say=lambda line: None, progress=False)
            return load_beauty(settings)
    return load_beauty(settings)


@pytest.mark.real_data
def test_facts_of_the_real_files(beauty):
    assert {name: beauty.facts[name] for name in FACTS} == FACTS
    assert len(beauty.items) == 12_101
    assert (beauty.items["title"] != "").all()
    assert (beauty.items["text"].str.len() < 512).all()
    assert (beauty.items["category"] != "").all()
    bought = beauty.events[beauty.events["task"] == "recommend"]
    assert len(bought) == 198_502
    assert bought.groupby("user_id").size().min() == 5


@pytest.mark.real_data
def test_search_on_the_real_files(beauty):
    twins = beauty.events[beauty.events["task"] == "search"]
    assert len(twins) == round(0.758 * 198_502)
    assert beauty.queries["text"].is_unique
    assert beauty.queries["text"].str.startswith("beauty ").all()
    # every item answers exactly one query, and a click is always among a query's answers
    assert beauty.relevance["item_id"].is_unique
    assert len(beauty.relevance) == 12_101
    query_of_item = beauty.relevance.set_index("item_id")["query_id"]
    assert (query_of_item.loc[twins["item_id"]].to_numpy() == twins["query_id"].to_numpy()).all()
