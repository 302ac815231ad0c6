"""Public sources: tiny files written here in each publisher's own format, and every way in which
one can be broken.
"""

from __future__ import annotations

import csv
import functools
import gzip
import http.server
import io
import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import benchmarks as bench
from benchmarks.data import prepared, prepared_plainly, write_reviews
from data_download import (
    AMAZON_CATEGORIES,
    SOURCES,
    DownloadError,
    RemoteFile,
    Source,
    describe,
    fetch,
    find,
)
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, DataConfig, preset
from gensar_lite.data import build_corpus
from gensar_lite.data.published import amazon, jsonlines, kuaisar, movielens
from gensar_lite.data.published.jsonlines import blocks, parse_line, read_columns
from gensar_lite.data.published.logs import first_events, number_log
from gensar_lite.data.published.packed import open_packed, read_csv
from gensar_lite.data.sources import SOURCES as READERS
from gensar_lite.data.sources import load_source

DAY = 86_400
# user, item, day: A1 buys B1 twice (a repeat), A2 and A3 once each thing
BOUGHT = [("A1", "B2", 3), ("A1", "B1", 1), ("A1", "B1", 9), ("A1", "B3", 5), ("A2", "B1", 2),
          ("A2", "B3", 4),
          ("A2", "B2", 4), ("A3", "B3", 7), ("A3", "B1", 8), ("A3", "B4", 9)]  # fmt: skip


def review(user: str, item: str, day: int) -> dict:
    """A review as McAuley's files write it, fields we do not need included."""
    return {
        "reviewerID": user,
        "asin": item,
        "reviewerName": "N",
        "helpful": [1, 2],
        "reviewText": 'It "works".\n',
        "overall": 5.0,
        "summary": "ok",
        "unixReviewTime": 1_300_000_000 + day * DAY,
        "reviewTime": "03 13, 2011",
    }


META = [
    {"asin": "B0", "title": "not in the 5-core", "categories": [["Electronics", "Else"]]},
    {
        "asin": "B1",
        "title": "Fast &amp; Cold",
        "description": "A  fan.",
        "brand": "Zed",
        "price": 3.5,
        "categories": [["Electronics"], ["Electronics", "Computers & Accessories", "Memory"]],
        "related": {"a": ["B2"]},
    },
    {"asin": "B2", "brand": "Zed's", "categories": [["Electronics", "GPS & Navigation"]]},
    {
        "asin": "B3",
        "title": None,
        "categories": [["Cell Phones & Accessories", "Batteries"], ["Electronics", "Audio"]],
    },
]


def pack(path: Path, lines: list[str | bytes]) -> Path:
    raw = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
    path.write_bytes(gzip.compress(raw))
    return path


@pytest.fixture
def category(tmp_path) -> dict[str, Path]:
    """The two files of a category: reviews are JSON, metadata are Python dictionaries."""
    reviews = pack(
        tmp_path / "reviews_Electronics_5.json.gz", [json.dumps(review(*row)) for row in BOUGHT]
    )
    meta = pack(tmp_path / "meta_Electronics.json.gz", [repr(record) for record in META])
    return {path.name: path for path in (reviews, meta)}


@pytest.fixture
def queries(category, tmp_path) -> dict[str, Path]:
    """The three published query files beside them."""
    texts = [
        "electronics computer accessory memory",
        "electronics gps navigation",
        "never asked",
        "electronics audio",
    ]
    judged = ["A1_0 0 B1 1", "A1_1 0 B2 1", "A2_0 0 B1 1", "A2_3 0 B3 1", "A1_3 0 B4 0"]
    held = [
        "A3_3 0 B3 1",
        "A3_0 0 B3 1",
        "A9_3 0 B3 1",
    ]  # one purchase with two queries; A9 bought nothing
    files = {"query_text.txt.gz": texts, "train.qrels.gz": judged, "test.qrels.gz": held}
    return category | {name: pack(tmp_path / name, lines) for name, lines in files.items()}


# ---------------------------------------------------------------------------------- Amazon 2014


def test_amazon_by_hand(category):
    tables = amazon.join(category, DataConfig(source="amazon", search_rate=1.0))
    assert tables.items["title"].tolist() == ["Fast & Cold", "item B2 Zed's GPS & Navigation",
                                              "item B3 Cell Phones & Accessories Batteries",
                                              "item B4"]  # fmt: skip
    assert tables.items["brand"].tolist() == ["Zed", "Zed's", "", ""]
    # the deepest path, without the root that most paths share; another root stays
    assert tables.items["category"].tolist() == [
        "Computers & Accessories > Memory",
        "GPS & Navigation",
        "Cell Phones & Accessories > Batteries",
        "",
    ]
    assert tables.items["text"].tolist()[:2] == [
        "A fan.",
        "A product of Zed's in Electronics, GPS & Navigation.",
    ]
    bought = tables.events[tables.events["task"] == "recommend"]
    days = (bought["time"] - 1_300_000_000) // DAY
    found = list(zip(bought["user_id"], days, bought["item_id"], strict=True))
    assert found == [
        (0, 1, 0),
        (0, 3, 1),
        (0, 5, 2),
        (1, 2, 0),
        (1, 4, 1),
        (1, 4, 2),
        (2, 7, 2),
        (2, 8, 0),
        (2, 9, 3),
    ]
    assert tables.facts["repeated events dropped"] == 1  # the later of A1's two B1
    assert tables.facts["items without one"] == 1
    assert tables.queries["text"][0] == "electronics computer accessory memory"
    assert set(tables.queries["kind"]) == {"category"}
    build_corpus(tables, DataConfig())


def test_published_queries_by_hand(queries):
    tables = amazon.join(queries, DataConfig(source="electronics"))
    texts = tables.queries["text"].tolist()  # sorted; a query that nobody asked is none
    assert texts == [
        "electronics audio",
        "electronics computer accessory memory",
        "electronics gps navigation",
    ]
    searched = tables.events[tables.events["task"] == "search"]
    found = {(user, texts[query], item) for user, query, item in zip(
        searched["user_id"], searched["query_id"], searched["item_id"], strict=True)}  # fmt: skip
    memory, gps, audio = texts[1], texts[2], texts[0]
    assert found == {
        (0, memory, 0),
        (0, gps, 1),
        (1, memory, 0),
        (1, audio, 2),
        (2, audio, 2),
        (2, memory, 2),
    }
    times = tables.events.groupby(["user_id", "item_id"])["time"].nunique()
    assert (
        times.max() == 1
    )  # a search stands at its purchase's time, so neither is in the other's history
    assert tables.relevance.to_numpy().tolist() == [[0, 2, 1], [1, 0, 1], [1, 2, 1], [2, 1, 1]]
    assert tables.facts["published rows that are no purchase here"] == 1
    assert tables.facts["purchases with several searches"] == 1
    corpus, _ = build_corpus(tables, DataConfig())
    assert len(corpus.events) == 6 + 4  # A2 has two time steps only


def test_published_queries_of_another_edition_are_refused(queries):
    pack(queries["train.qrels.gz"], [f"X{i}_0 0 B1 1" for i in range(20)])
    with pytest.raises(
        ArtifactError, match=r"train\.qrels\.gz: 2 of 23 published rows .* data\.published=false"
    ):
        amazon.join(queries, DataConfig())
    pack(queries["train.qrels.gz"], ["A1 0 B1 1", "A1_99 0 B1 1", "A1_0 0 B1"])
    with pytest.raises(ArtifactError, match=r"3 of 3 lines are no line like .*'A1 0 B1 1'"):
        amazon.join(queries, DataConfig())


def test_lines_of_both_kinds_give_the_same_table(tmp_path):
    rows = [review(*row) for row in BOUGHT]
    as_json = read_columns(
        pack(tmp_path / "a.gz", [json.dumps(row) for row in rows]), amazon.REVIEW
    )[0]
    as_python = read_columns(pack(tmp_path / "b.gz", [repr(row) for row in rows]), amazon.REVIEW)[0]
    mixed = [json.dumps(row) if i % 2 else repr(row) for i, row in enumerate(rows)]
    pd.testing.assert_frame_equal(as_json, as_python)
    pd.testing.assert_frame_equal(
        as_json, read_columns(pack(tmp_path / "c.gz", mixed), amazon.REVIEW)[0]
    )
    assert as_json["asin"].tolist() == [item for _, item, _ in BOUGHT]


BAD_LINES = [
    b"half a rec", b"[1, 2]", b'{"reviewerID": "A", "asin": "B"}', b"\xff\xfe", b"[" * 100_000,
                      b"{'a': " * 10_000,
    b'{"reviewerID": "", "asin": "B", "unixReviewTime": 5}',
    b'{"reviewerID": 7, "asin": "B", "unixReviewTime": 5}',
    b'{"reviewerID": "A", "asin": "\\ud800", "unixReviewTime": 5}', b"x" * 3_000_000,
    b"__import__('os').getcwd()",
    b'{"reviewerID": "A", "asin": "\xff", "unixReviewTime": 5}', 
    b'{"reviewerID": "A", "asin": "B", "unixReviewTime": 1e400}',
]  # fmt: skip


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
@pytest.mark.parametrize("place", [0, 1, 5])
def test_one_bad_line_is_dropped_and_counted(tmp_path, line, place):
    good = [json.dumps(review("A", f"B{i}", i)) for i in range(5)]
    table, tally = read_columns(
        pack(tmp_path / "r.gz", [*good[:place], line, *good[place:]]), amazon.REVIEW
    )
    assert table["asin"].tolist() == [f"B{i}" for i in range(5)]
    assert (tally.read, tally.dropped) == (6, 1)
    assert len(tally.example) <= 80


def test_more_than_one_in_a_hundred_bad_lines_stop(tmp_path):
    good = [json.dumps(review("A", f"B{i}", i)) for i in range(298)]
    assert (
        read_columns(pack(tmp_path / "r.gz", [*good, "bad", "bad"]), amazon.REVIEW)[1].dropped == 2
    )
    with pytest.raises(
        ArtifactError, match=r"r\.gz: 4 of 302 lines are no record with reviewerID.*first: 'bad'"
    ):
        read_columns(pack(tmp_path / "r.gz", [*good, *["bad"] * 4]), amazon.REVIEW)


def test_metadata_lines_of_other_items_are_not_parsed(tmp_path):
    odd = [repr({"asin": ["B1"]}), "{}", repr({"title": "of nothing"})]
    lines = [
        "{'asin': 'B7', broken",
        repr({"asin": "B1", "title": "One"}),
        "",
        "{'asin': 'B1', 'title': broken",
        *odd,
    ]
    products, facts = amazon.read_products(
        pack(tmp_path / "meta.gz", lines), np.array(["B1", "B2"])
    )
    assert [product.title for product in products] == ["One", ""]
    assert facts == {
        "metadata lines dropped": 1,
        "items with two records": 0,
        "items without one": 1,
    }


def test_fields_of_another_form_count_as_empty():
    product = amazon.read_product(
        {"asin": "B", "title": 5, "categories": [["A", None, "A", "B"], "C", []]}
    )
    assert product == ("", "", "", (("A", "B"),))
    assert amazon.read_product({"categories": "none"}).paths == ()


@given(
    st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=20),
    st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_blocks_cut_between_lines_only(tmp_path_factory, lines, size):
    path = tmp_path_factory.mktemp("blocks") / "a.txt"
    whole = b"\n".join([b"start", *lines])  # "<html" would be no data
    path.write_bytes(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonlines, "BLOCK", size)
        found = list(blocks(path))
    assert all(block.endswith(b"\n") for block in found)
    assert b"".join(found) == (whole if whole.endswith(b"\n") else whole + b"\n")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    lines = [json.dumps(review(*row)) + "\r" for row in BOUGHT]
    table, tally = read_columns(
        pack(tmp_path / "r.gz", ["\ufeff" + lines[0], *lines[1:]]), amazon.REVIEW
    )
    assert (len(table), tally.dropped) == (len(BOUGHT), 0)
    assert parse_line(b"\xef\xbb\xbf{'a': 1}\r") == {"a": 1}


def test_an_unknown_category_is_refused_before_any_address_is_made():
    with pytest.raises(
        ConfigError, match=r"data\.category: there is no 'Electronic'\. Did you mean Electronics"
    ):
        load_source(DataConfig(source="amazon", category="Electronic"))
    with pytest.raises(ConfigError, match=r"there is no '\.\./x'"):
        load_source(DataConfig(source="amazon", category="../x"))


def test_electronics_is_one_command():
    assert preset("paper").data.source == "electronics"
    row = amazon.source_row(preset("paper").data)
    assert row == SOURCES["electronics"]
    names = [file.name for file in row.files]
    assert names == [
        "reviews_Electronics_5.json.gz",
        "meta_Electronics.json.gz",
        "query_text.txt.gz",
        "train.qrels.gz",
        "test.qrels.gz",
    ]
    assert len(amazon.source_row(DataConfig(published=False)).files) == 2
    assert len(amazon.source_row(DataConfig(category="Beauty")).files) == 2
    assert len(set(AMAZON_CATEGORIES)) == 24


def test_electronics_from_mirror_to_corpus(queries, tmp_path, monkeypatch):
    for file in SOURCES["electronics"].files:
        place = tmp_path / "mirror" / file.host_path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(queries[file.name].read_bytes())
    monkeypatch.setenv("GENSAR_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("GENSAR_DATA", str(tmp_path / "kept"))
    corpus, report = build_corpus(load_source(preset("paper").data), preset("paper").data)
    assert report["facts"]["source"] == "Amazon Electronics 2014, 5-core"
    assert report["by_task"]["search"] == {"train": 3, "validation": 1, "test": 0}
    assert corpus.num_items == 4


# --------------------------------------------------------------------------- packed files, logs


def test_damaged_archives_are_named(tmp_path):
    text = json.dumps(review("A", "B", 1)) * 200
    whole = pack(tmp_path / "r.json.gz", [text * 50]).read_bytes()
    broken = {
        whole[:-40]: "its end is missing",
        b"  <!DOCTYPE html><html>log in</html>": "is a web page instead of data",
        b"reviews": "does not start as gzip files do",
        whole[:60] + b"\x00" * 60 + whole[120:]: "damaged after",
        gzip.compress(b""): "no line in it",
    }
    for content, message in broken.items():
        (tmp_path / "r.json.gz").write_bytes(content)
        with pytest.raises(ArtifactError, match=rf"^r\.json\.gz: .*{message}.* fetch it again"):
            read_columns(tmp_path / "r.json.gz", amazon.REVIEW)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_columns(tmp_path / "none.gz", amazon.REVIEW)


def test_a_bomb_is_stopped_at_the_cap(tmp_path):
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(b"0" * 5_000_000))
    with (
        open_packed(bomb, limit=1_000_000) as stream,
        pytest.raises(ArtifactError, match="unpacks to more than"),
    ):
        sum(map(len, iter(functools.partial(stream.read, 1000), b"")))
    zipped = packed_csv(tmp_path / "bomb.zip", {"a.csv": [["x" * 2_000_000]]})
    with (
        pytest.raises(ArtifactError, match=r"bomb\.zip/a\.csv: unpacks"),
        open_packed(zipped, "a.csv", limit=1000),
    ):
        pass


def packed_csv(
    path: Path, members: dict[str, list[list[object]]], folder: str = "some folder/"
) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in members.items():
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            archive.writestr(folder + name, text.getvalue())
    return path


def test_named_members_only(tmp_path):
    rows = [["a", "b"], [1, "00123"]]
    path = packed_csv(tmp_path / "set.zip", {"ratings.csv": rows, "../../escape.csv": rows})
    table, _ = read_csv(path, {"a": int, "b": str}, "ratings.csv")
    assert table.to_dict("list") == {"a": [1], "b": ["00123"]}
    assert sorted(tmp_path.rglob("*")) == [path]  # nothing was unpacked
    with pytest.raises(
        ArtifactError,
        match=r"no members are called rating\.csv\. Did they rename it to ratings\.csv",
    ):
        read_csv(path, {"a": int}, "rating.csv")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ArtifactError, match=r"set\.zip/ratings\.csv: damaged"):
        read_csv(path, {"a": int}, "ratings.csv")


def test_csv_rows_that_cannot_be_used(tmp_path):
    rows = [
        ["id", "text"],
        *([i, "fine"] for i in range(200)),
        ["x", "no number"],
        [1, "too", "many"],
    ]
    table, tally = read_csv(
        packed_csv(tmp_path / "a.zip", {"a.csv": rows}), {"id": int, "text": str}, "a.csv"
    )
    assert table["id"].tolist() == list(range(200))
    assert (tally.read, tally.dropped) == (202, 2)
    with pytest.raises(
        ArtifactError, match=r"no column 'item_id' in its first line, 'user_id,itemid'.*'itemid'"
    ):
        read_csv(
            packed_csv(tmp_path / "b.zip", {"a.csv": [["user_id", "itemid"]]}),
            {"item_id": int},
            "a.csv",
        )
    few = [["id"], ["x"], ["12.0"], [3]]
    with pytest.raises(ArtifactError, match=r"2 of 3 lines are no row with id \(first: 'id x'\)"):
        read_csv(packed_csv(tmp_path / "c.zip", {"a.csv": few}), {"id": int}, "a.csv")


def test_impossible_times_and_small_items_leave_a_log():
    rows = [
        ("u", "a", -5),
        ("u", "b", 10**13),
        ("u", "a", 5),
        ("u", "b", 6),
        ("v", "a", 5),
        ("v", "b", 7),
        ("w", "c", 1),
    ]
    table = pd.DataFrame(rows, columns=["user", "item", "time"])
    log = number_log(table, DataConfig())
    assert (log.facts["events without a possible time"], len(log.events)) == (2, 5)
    assert number_log(table, DataConfig(min_item_events=2, min_events=2)).facts["items"] == 2
    with pytest.raises(
        ArtifactError, match=r"The largest number that works is 2: data\.min_item_events=2"
    ):
        number_log(table, DataConfig(min_item_events=3, min_events=2))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=20),
    st.randoms(),
)
@settings(max_examples=60, deadline=None)
def test_first_events_against_a_loop(rows, random):
    user, item, time = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    best: dict[tuple[int, int], int] = {}
    for i, (u, v, t) in enumerate(rows):
        if (u, v) not in best or t < rows[best[u, v]][2]:
            best[u, v] = i
    assert np.flatnonzero(first_events(user, item, time)).tolist() == sorted(best.values())


def test_the_order_of_the_lines_changes_nothing(category, tmp_path):
    first = amazon.join(category, DataConfig())
    pack(next(iter(category.values())), [json.dumps(review(*row)) for row in reversed(BOUGHT)])
    second = amazon.join(category, DataConfig())
    for name in ("items", "queries", "events", "relevance"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))


# --------------------------------------------------------------------------- KuaiSAR, MovieLens

REC = ["user_id", "item_id", "playing_time", "duration_ms", "time", "timestamp", "click",
       "forward", "like", "follow",
       "search", "search_item_related"]  # fmt: skip
SRC = ["user_id", "search_session_id", "search_session_time", "search_session_timestamp",
       "keyword", "search_source",
       "item_id", "click_cnt", "item_type"]  # fmt: skip
ITEM = ["item_id", "caption", "author_id", "item_type", "upload_time", "upload_type",
        "first_level_category_id",
        "first_level_category_name", "first_level_category_name_en", "second_level_category_id",
        "second_level_category_name", "second_level_category_name_en", "third_level_category_id",
        "third_level_category_name", "third_level_category_name_en", "fourth_level_category_id",
        "fourth_level_category_name", "fourth_level_category_name_en"]  # fmt: skip
NOON = 1_684_742_000_000


@pytest.fixture
def videos(tmp_path) -> Path:
    def shown(user, item, second, click):
        return [
            user,
            item,
            6e4,
            4.5e4,
            "2023-05-22 15:53:20",
            float(NOON + second * 1000),
            click,
            0,
            0,
            0,
            0,
            0,
        ]

    def found(user, session, second, words, item, clicks, kind="VIDEO"):
        return [
            user,
            session,
            "2023-05-22 21:58:52",
            NOON + second * 1000,
            words,
            "USER_INPUT",
            item,
            clicks,
            kind,
        ]

    def video(item, words, author, first, second):
        return [
            item,
            words,
            author,
            "NORMAL",
            "2023-04-22",
            "LongImport",
            9,
            "搞笑",
            first,
            136,
            "段",
            second,
            0,
            "空",
            "empty",
            0,
            "空",
            "empty",
        ]

    rec = [
        shown(7, 100, 1, 1),
        shown(7, 200, 2, 0),
        shown(7, 300, 5, 1),
        shown(9, 100, 1, 1),
        shown(9, 300, 2, 1),
    ]
    src = [
        found(7, 1, 3, "[20, 34, 3]", 200, 1),
        found(7, 1, 3, "[20, 34, 3]", 300, 2),
        found(7, 2, 4, "[5]", 100, 0),
        found(7, 3, 6, "[5]", 100, 1),
        found(9, 4, 9, "[20, 34, 3]", 200, 1),
        found(9, 4, 9, "[5]", 555, 1, "USER"),
        found(9, 5, 10, "[]", 100, 1),
    ]
    items = [
        video(100, "[1, 213]", 10, "Funny", "Funny joke"),
        video(300, "[]", 0, "Funny", "Funny"),
        video(200, "[4]", 11, "empty", "empty"),
        video(999, "[9]", 1, "Never", "clicked"),
    ]
    members = {
        "rec_inter.csv": [REC, *rec],
        "src_inter.csv": [SRC, *src],
        "item_features.csv": [ITEM, *items],
    }
    return packed_csv(tmp_path / "KuaiSAR_v2.zip", members, "KuaiSAR_v2/")


def test_kuaisar_by_hand(videos):
    tables = kuaisar.read_kuaisar(videos, DataConfig(source="kuaisar"))
    assert tables.items["title"].tolist() == ["w1 w213", "w4", "item 300 Funny"]  # 100, 200, 300
    assert tables.items["category"].tolist() == ["Funny > Funny joke", "", "Funny"]
    assert tables.items["brand"].tolist() == ["author 10", "author 11", ""]
    assert tables.queries.to_dict("list") == {
        "query_id": [0, 1], "text": ["w20 w34 w3", "w5"], "kind": ["typed", "typed"]}  # fmt: skip
    events = tables.events.assign(time=(tables.events["time"] - NOON) // 1000)
    columns = ["user_id", "time", "item_id", "query_id"]
    assert events[columns].to_numpy().tolist() == [
        [0, 1, 0, -1], [0, 3, 1, 0], [0, 3, 2, 0], [0, 5, 2, -1], [0, 6, 0, 1],
        [1, 1, 0, -1], [1, 2, 2, -1], [1, 9, 1, 0],
    ]  # fmt: skip
    assert ((events["task"] == "search") == (events["query_id"] >= 0)).all()
    assert tables.relevance.to_numpy().tolist() == [[0, 1, 1], [0, 2, 1], [1, 0, 1]]
    assert "no text encoder" in tables.facts["words"]
    assert (
        tables.facts["clicks on what is no video"],
        tables.facts["searches without a word"],
    ) == (1, 1)
    assert tables.facts["recommended clicks on an item met before"].startswith("1;")
    assert build_corpus(tables, DataConfig())[1]["users"] == 2


def film_set(path: Path) -> Path:
    ratings = [
        ["userId", "movieId", "rating", "timestamp"],
        [1, 10, 4.0, 100],
        [1, 30, 0.5, 200],
        [1, 20, 3.5, 300],
        [2, 10, 5.0, 50],
        [2, 20, 4.0, 60],
        [2, 30, 1.0, 70],
    ]
    movies = [
        ["movieId", "title", "genres"],
        [10, "Toy, The (1995)", "Animation|Children"],
        [20, 'The "Best" (1990)', "Drama"],
        [30, "Odd", "(no genres listed)"],
        [40, "Unrated", "Drama"],
    ]
    tags = [
        ["userId", "movieId", "tag", "timestamp"],
        [1, 10, "Pixar", 150],
        [2, 10, "pixar ", 55],
        [2, 20, "slow, sad", 61],
        [2, 40, "unrated", 1],
        [1, 20, "  ", 301],
    ]
    return packed_csv(
        path, {"ratings.csv": ratings, "movies.csv": movies, "tags.csv": tags}, "ml-x/"
    )


def test_movielens_by_hand(tmp_path):
    tables = movielens.read_movielens(film_set(tmp_path / "ml-x.zip"), DataConfig(search_rate=1.0))
    assert tables.items["title"].tolist() == ["Toy, The (1995)", 'The "Best" (1990)', "Odd"]
    assert tables.items["category"].tolist() == ["Animation, Children", "Drama", ""]
    assert tables.queries["text"].tolist() == ["pixar", "slow, sad", "animation children", "drama"]
    assert tables.queries["kind"].tolist() == ["tag", "tag", "category", "category"]
    texts = tables.queries["text"].to_numpy()
    searched = tables.events[tables.events["task"] == "search"]
    found = zip(
        searched["user_id"],
        searched["time"],
        searched["item_id"],
        texts[searched["query_id"]],
        strict=True,
    )
    # tags at the time of the rating; of the untagged ratings only film 20 has genres
    assert list(found) == [
        (0, 100, 0, "pixar"),
        (0, 300, 1, "drama"),
        (1, 50, 0, "pixar"),
        (1, 60, 1, "slow, sad"),
    ]
    assert len(tables.events) == 6 + 4
    assert tables.facts["tags without a rating or a word"] == 2
    corpus, _ = build_corpus(tables, DataConfig())
    assert corpus.events.groupby(["user_id", "item_id"])["time"].nunique().max() == 1
    without = movielens.read_movielens(tmp_path / "ml-x.zip", DataConfig(search_rate=0.0))
    assert (without.events["task"] == "search").sum() == 3


# ------------------------------------------------------------------------------ recorded hashes

HOST = "files.invalid/set"
FILES = ("a.json.gz", "b.zip")
OPEN = Source(
    "open",
    "a set without hashes",
    tuple(RemoteFile(f"https://{HOST}/{name}") for name in FILES),
    "x",
    "y",
)


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "mirror" / HOST
    folder.mkdir(parents=True)
    pack(folder / "a.json.gz", ["{}"])
    packed_csv(folder / "b.zip", {"b.csv": [["x"], [1]]})
    monkeypatch.setenv("GENSAR_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("GENSAR_OFFLINE", "1")
    monkeypatch.setenv("GENSAR_DATA", str(tmp_path / "kept"))
    return folder


def test_the_first_download_is_recorded_said_and_enforced(mirror, tmp_path):
    said: list[str] = []
    paths = fetch(OPEN, say=said.append)
    recorded = json.loads((tmp_path / "kept/open/recorded.json").read_text())
    assert set(recorded) == set(FILES)
    assert recorded["a.json.gz"]["size"] == paths["a.json.gz"].stat().st_size
    assert "size not stated" in said[0]
    assert [("states no hash" in line, recorded[name]["sha256"] in line) for name, line in
            zip(FILES, said[1:], strict=True)] == [(True, True)] * 2  # fmt: skip
    assert fetch(OPEN, say=said.append) == paths
    assert len(said) == 3  # nothing is fetched or said twice
    paths["a.json.gz"].write_bytes(b"changed")
    assert (
        fetch(OPEN, say=said.append)["a.json.gz"].read_bytes()
        == (mirror / "a.json.gz").read_bytes()
    )
    pack(mirror / "a.json.gz", ["another edition"])
    paths["a.json.gz"].unlink()
    with pytest.raises(
        DownloadError,
        match=r"sha256 differs[\s\S]*delete .*recorded\.json to accept another edition",
    ):
        fetch(OPEN, say=said.append)
    (tmp_path / "kept/open/recorded.json").unlink()
    assert (
        fetch(OPEN, say=said.append)["a.json.gz"].read_bytes()
        == (mirror / "a.json.gz").read_bytes()
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json.gz", b"<html>please log in</html>", "web page"),
        ("a.json.gz", b"", "it is empty|no intact gzip"),
        ("a.json.gz", gzip.compress(bytes(range(256)) * 40)[:-5], "its end is missing"),
        ("a.json.gz", b"PK\x03\x04", "no intact gzip file"),
        ("b.zip", b"PK\x03\x04half a zip", "no zip file, or its end is missing"),
    ],
)
def test_what_is_no_whole_archive_is_never_recorded(mirror, tmp_path, name, content, reason):
    (mirror / name).write_bytes(content)
    with pytest.raises(DownloadError, match=reason):
        fetch(OPEN, say=str)
    assert not (tmp_path / "kept/open" / name).exists()
    record = tmp_path / "kept/open/recorded.json"
    assert not record.exists() or name not in json.loads(record.read_text())


def test_a_file_that_was_copied_by_hand_is_taken_if_it_is_whole(mirror, tmp_path, monkeypatch):
    monkeypatch.delenv("GENSAR_MIRROR")
    monkeypatch.delenv("GENSAR_OFFLINE")
    home = tmp_path / "kept/open"
    home.mkdir(parents=True)
    for name in FILES:
        (home / name).write_bytes((mirror / name).read_bytes())
    assert set(fetch(OPEN, say=str)) == set(FILES)
    (home / "recorded.json").unlink()
    (home / "b.zip").write_bytes(b"half")
    with pytest.raises(DownloadError, match=r"b\.zip is not used, delete it: it is no zip file"):
        fetch(OPEN, say=str)
    assert (home / "b.zip").exists()  # it is the user's


def test_a_download_over_http_without_a_hash(mirror, tmp_path, monkeypatch):
    monkeypatch.delenv("GENSAR_OFFLINE")

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Silent, directory=str(tmp_path / "mirror"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GENSAR_MIRROR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        paths = fetch(OPEN, say=str, progress=False)
        server.shutdown()
    assert paths["b.zip"].read_bytes() == (mirror / "b.zip").read_bytes()


def test_the_list_says_what_was_never_run(monkeypatch, tmp_path):
    monkeypatch.setenv("GENSAR_DATA", str(tmp_path))
    blocks_of = dict(block.split(": ", 1) for block in describe().replace("\n  ", "\t").split("\n"))
    assert len(blocks_of) == 1 + len(SOURCES) + 1
    for name, row in SOURCES.items():
        assert ("not run on its real files yet" in blocks_of[name]) == (name != "beauty")
        assert ("recorded at the first download" in blocks_of[name]) == (
            row.files[0].sha256 is None
        )
        assert row.citation in blocks_of[name]
    assert "Kindle_Store" in blocks_of["amazon-<category>"]


def test_every_source_has_a_reader_and_the_reverse():
    assert set(READERS) == {"shop", "files", "amazon", *SOURCES}
    for name in ("amazon-Beauty", "amazon-Electronics", *SOURCES):
        assert find(name) is not None
    assert find("amazon-Software") is None
    assert find("amazon-../x") is None
    assert find("nothing") is None


@pytest.mark.parametrize(
    "name", [name for name in READERS if name not in ("beauty", "shop", "files")]
)
def test_missing_files_offline_are_an_error_of_the_stage(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GENSAR_DATA", str(tmp_path / "kept"))
    monkeypatch.setenv("GENSAR_OFFLINE", "1")
    monkeypatch.delenv("GENSAR_MIRROR", raising=False)
    with pytest.raises(ArtifactError, match="GENSAR_OFFLINE=1 forbids connections"):
        load_source(DataConfig(source=name))


# ------------------------------------------------------------------------------------ the bench


def test_both_roads_of_the_bench_agree(tmp_path):
    path = write_reviews(tmp_path / "r.json.gz", 3000, 300, 100)
    chosen = DataConfig(min_item_events=5)
    ours, plain = prepared(path, chosen), prepared_plainly(path, chosen)
    assert np.array_equal(ours, plain)
    assert np.unique(ours[:, 4]).tolist() == [0, 1, 2]
    assert len(ours) < 3000  # some user had bought a thing twice


def test_the_bench_prints_its_form(monkeypatch):
    monkeypatch.setitem(bench.BENCHES, "data", functools.partial(bench.bench_data, 4000))
    result = json.loads(bench.run_bench("data", rounds=1, as_json=True))
    assert list(result) == [
        "name",
        "ratio",
        "ours",
        "baseline",
        "unit",
        "equal",
        "peak_mib_ours",
        "peak_mib_baseline",
        "settings",
        "machine",
    ]
    assert result["equal"] == 1.0
    assert result["unit"] == "events/s"
    assert result["ours"] > 0
