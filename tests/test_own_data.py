"""A user's own files: what is guessed, what each bad input says, what comes out, the whole road.

Inputs are small MovieLens-like files written here. Each bad input has one documented outcome: FIX,
DROP and WARN are findings of the report, STOP is an `ArtifactError`; messages are compared as a
reader sees them.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite import __main__ as cli
from gensar_lite.artifacts import ArtifactError, Corpus, Workspace
from gensar_lite.config import ConfigError, DataConfig, override, preset
from gensar_lite.data import Tables, prepare
from gensar_lite.data.own.columns import choose_columns, parse_overrides
from gensar_lite.data.own.files import load_files
from gensar_lite.data.own.times import read_times
from gensar_lite.data.own.typed import as_text
from gensar_lite.data.report import Checks, Report
from gensar_lite.data.splitting import core_mask, largest_core
from gensar_lite.decoding import ranking_judge
from gensar_lite.parser import read_settings
from gensar_lite.training.stage import new_generator, present_tasks

ITEMS = [
    {"movieId": "00123", "title": "Rain over Oslo", "genres": "Drama"},
    {"movieId": "NA", "title": "The Long Way", "genres": "Adventure|Comedy"},
    {"movieId": "7", "title": "Tea at Five", "genres": "Comedy"},
    {"movieId": "../x", "title": "Signal Lost", "genres": "Thriller"},
    {"movieId": "e5", "title": "Harbour", "genres": "Drama"},
    {"movieId": "1e5", "title": "North", "genres": "Adventure"},
]
START = 1_400_000_000


def ratings(num_users: int = 40, length: int = 5, seed: int = 0) -> pd.DataFrame:
    """Clean events of `num_users` users, one a day: ``userId, movieId, timestamp``, all text."""
    rng = np.random.default_rng(seed)
    ids = [row["movieId"] for row in ITEMS]
    rows = [
        (f"u{user:03d}", ids[item], str(START + 86_400 * day))
        for user in range(num_users)
        for day, item in enumerate(rng.permutation(len(ids))[:length])
    ]
    return pd.DataFrame(rows, columns=["userId", "movieId", "timestamp"])


class Desk:
    """A folder of a user's files: write them, load them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.settings = DataConfig(source="files")
        self.items(ITEMS)
        self.events(ratings())

    def raw(self, name: str, content: bytes, suffix: str = ".csv") -> Desk:
        path = self.folder / f"{name}{suffix}"
        path.write_bytes(content)
        self.settings = dataclasses.replace(self.settings, **{name: str(path)})
        return self

    def table(self, name: str, table: pd.DataFrame | list) -> Desk:
        return self.raw(name, pd.DataFrame(table).to_csv(index=False).encode())

    def items(self, table) -> Desk:
        return self.table("items", table)

    def events(self, table) -> Desk:
        return self.table("events", table)

    def queries(self, table) -> Desk:
        return self.table("queries", table)

    def load(self, **changes) -> Tables:
        return load_files(dataclasses.replace(self.settings, **changes))

    def stops(self, **changes) -> str:
        with pytest.raises(ArtifactError) as error:
            self.load(**changes)
        return str(error.value)

    def found(self, level: str, **changes) -> list[str]:
        return [f.message for f in self.load(**changes).report.findings if f.level == level]


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


def changed(row: int, **cells: str) -> pd.DataFrame:
    """The clean events with some cells of one row (counted from 1) replaced."""
    events = ratings()
    for column, value in cells.items():
        if column not in events:
            events[column] = ""
        events.loc[row - 1, column] = value
    return events


def one(messages: list[str], part: str) -> str:
    """The only message with `part` in it."""
    (message,) = [m for m in messages if part in m]
    return message


# -------------------------------------------------------------------------------------- clean files


def test_clean_files_become_tables_and_ids_stay_as_they_are_written(desk):
    tables = desk.load()
    assert tables.items["source_id"].tolist() == ["00123", "NA", "7", "../x", "e5", "1e5"]
    assert tables.items["item_id"].tolist() == list(range(6))
    assert tables.users["source_id"].tolist() == [f"u{user:03d}" for user in range(40)]
    assert tables.report.columns["items"] == {
        "item_id": "movieId",
        "title": "title",
        "category": "genres",
    }
    assert tables.report.columns["events"] == {
        "user_id": "userId",
        "item_id": "movieId",
        "time": "timestamp",
    }
    back = tables.events.merge(tables.users, on="user_id").merge(
        tables.items[["item_id", "source_id"]], on="item_id"
    )
    wanted = ratings()
    found = set(
        zip(back["source_id_x"], back["source_id_y"], back["time"].astype(str), strict=True)
    )
    assert found == set(wanted.itertuples(index=False, name=None))
    assert tables.report.kept == {
        "items": 6,
        "users": 40,
        "events": 200,
        "queries": 0,
        "searches": 0,
    }
    assert [f.level for f in tables.report.findings if f.level == "DROP"] == []


def test_a_user_finds_his_rows_again_in_the_corpus(desk, tmp_path):
    events = pd.concat(
        [ratings(), pd.DataFrame([("a short one", "7", str(START))], columns=ratings().columns)]
    )
    desk.events(events)
    config = dataclasses.replace(preset("tiny"), data=desk.settings)
    folder = prepare(Workspace.open(config, tmp_path))
    corpus, users = Corpus.load(folder), pd.read_parquet(folder / "users.parquet")
    assert corpus.num_users == len(users) == 40
    mine = corpus.events[corpus.events["user_id"] == users.index[users["source_id"] == "u007"][0]]
    assert (
        corpus.items["source_id"][mine["item_id"]].tolist()
        == ratings().query("userId == 'u007'")["movieId"].tolist()
    )
    assert mine["split"].tolist() == ["train"] * 3 + ["validation", "test"]


@pytest.mark.parametrize(
    "kind", ["csv", "tsv", "semicolon", "csv.gz", "jsonl", "jsonl.gz", "parquet", "typed parquet"]
)
def test_every_format_says_the_same(desk, kind):
    wanted, events = desk.load(), ratings()
    if kind == "semicolon":
        desk.raw("events", events.to_csv(index=False, sep=";").encode())
    elif kind == "tsv":
        desk.raw("events", events.to_csv(index=False, sep="\t").encode(), ".tsv")
    elif "parquet" in kind:
        typed = (
            events.assign(timestamp=pd.to_datetime(events["timestamp"].astype(int), unit="s"))
            if "typed" in kind
            else events
        )
        typed.to_parquet(desk.folder / "events.parquet", index=False)
        desk.settings = dataclasses.replace(
            desk.settings, events=str(desk.folder / "events.parquet")
        )
    else:
        text = (
            events.to_csv(index=False)
            if kind.startswith("csv")
            else events.to_json(orient="records", lines=True)
        )
        desk.raw(
            "events",
            gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode(),
            f".{kind}",
        )
    found = desk.load()
    pd.testing.assert_frame_equal(found.events, wanted.events)
    pd.testing.assert_frame_equal(found.items, wanted.items)


def test_numbers_of_jsonl_are_ids_as_written(desk):
    events = ratings().replace({"movieId": {"7": "17"}})
    lines = [json.dumps({"user": i % 40, "item": 17, "time": START + i}) for i in range(200)]
    desk.items([{"item": "17"}, {"item": "8"}]).raw("events", "\n".join(lines).encode(), ".jsonl")
    tables = desk.load()
    assert set(tables.users["source_id"]) == {str(user) for user in range(40)}
    assert tables.events["item_id"].tolist() == [0] * len(events)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_changes_nothing(seed, tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("order"))
    wanted = desk.load()
    desk.events(ratings().sample(frac=1, random_state=seed))
    found = desk.load()
    key = ["user_id", "time"]
    pd.testing.assert_frame_equal(
        found.events.sort_values(key, ignore_index=True),
        wanted.events.sort_values(key, ignore_index=True),
    )
    pd.testing.assert_frame_equal(found.users, wanted.users)


# ------------------------------------------------------------------------------------------ columns


@pytest.mark.parametrize(
    ("table", "names", "wanted"),
    [
        ("events", ["user", "item", "ts"], {"user_id": "user", "item_id": "item", "time": "ts"}),
        ("events", ["User ID", "ASIN", "Date"],
         {"user_id": "User ID", "item_id": "ASIN", "time": "Date"}),
        ("events", ["uid", "movieId", "rating", "timestamp"],
         {"user_id": "uid", "item_id": "movieId", "time": "timestamp"}),
        ("events", ["reviewerID", "asin", "unixReviewTime"],
         {"user_id": "reviewerID", "item_id": "asin", "time": "unixReviewTime"}),
        ("items", ["parent_asin", "asin", "title", "description", "store"],
         {"item_id": "parent_asin", "title": "title", "text": "description", "brand": "store"}),
        ("items", ["id", "name", "overview", "genres"],
         {"item_id": "id", "title": "name", "text": "overview", "category": "genres"}),
        ("events", ["t_dat", "customer_id", "article_id", "price"],
         {"user_id": "customer_id", "item_id": "article_id", "time": "t_dat"}),
        ("events", ["sessionId", "itemId", "timeframe", "eventdate"],
         {"user_id": "sessionId", "item_id": "itemId", "time": "eventdate"}),
        ("events", ["visit_time", "video_id", "user", "q"],
         {"user_id": "user", "item_id": "video_id", "time": "visit_time", "query": "q"}),
        ("events", ["purchase_date", "song_id", "uid", "searchterm"],
         {"user_id": "uid", "item_id": "song_id", "time": "purchase_date", "query": "searchterm"}),
        ("events", ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
         {"user_id": "user_id:token", "item_id": "item_id:token", "time": "timestamp:float"}),
        *(("items", [name], {"item_id": name}) for name in (
            "business_id", "track_id", "artistId", "recipe_id", "news_id", "game_id", "app_id")),
        ("queries", ["query_id", "text"], {"query_id": "query_id", "query": "text"}),
        ("events", ["user_id", "item_id", "time", "search_term", "event_type"],
         {"user_id": "user_id", "item_id": "item_id", "time": "time", "query": "search_term",
          "task": "event_type"}),
    ],
)  # fmt: skip
def test_usual_names_are_guessed(table, names, wanted):
    assert choose_columns(table, names, {})[0] == wanted


def test_a_second_candidate_is_told(desk):
    desk.items([row | {"name": "another title"} for row in ITEMS])
    assert one(desk.found("WARN"), "could be title") == (
        "items: 2 of 2 columns could be title: 'title', 'name'. 'title' is taken. "
        "Another one: data.columns=items.title=name"
    )
    tables = desk.load(columns=("items.title=name",))
    assert set(tables.items["title"]) == {"another title"}
    assert not [f for f in tables.report.findings if "could be" in f.what]


def test_a_type_is_a_task_only_when_it_holds_words_for_tasks(desk):
    report = (
        desk.events(ratings().assign(type=np.resize(["ORD", "CLICK", "CART"], 200))).load().report
    )
    assert "task" not in report.columns["events"]
    assert report.unused["events"] == ["type"]
    assert desk.load(columns=("events.task=type",)).report.columns["events"]["task"] == "type"
    tables = desk.events(ratings().assign(type="rec")).load()
    assert tables.report.columns["events"]["task"] == "type"


def test_a_column_can_be_named(desk):
    desk.events(ratings().rename(columns={"userId": "wer", "timestamp": "wann"}))
    tables = desk.load(columns=("events.user_id=wer", "events.time=wann"))
    assert tables.report.columns["events"] == {
        "user_id": "wer",
        "item_id": "movieId",
        "time": "wann",
    }
    assert tables.report.unused["events"] == []


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        ({"userId": "usr"}, "events: no column for user_id (nearest: 'usr'; "
         "columns: 'usr', 'movieId', 'timestamp'). "
         "Call it one of user_id, user, uid, reviewer_id, customer_id, customer, visitor_id, or "
         "say which it is: "
         "data.columns=events.user_id=usr."),
        ({"timestamp": "when"}, "data.columns=events.time=when, or set data.order=file."),
    ],
    ids=["user", "time"],
)  # fmt: skip
def test_a_missing_column_stops_with_the_nearest_name(desk, rename, said):
    assert desk.events(ratings().rename(columns=rename)).stops().endswith(said)


def test_a_named_column_that_is_not_there_stops(desk):
    assert desk.stops(columns=("events.user_id=userid",)) == (
        "events: there is no column 'userid' for user_id. Did you mean 'userId'? "
        "Columns: 'userId', 'movieId', 'timestamp'."
    )


@pytest.mark.parametrize(
    "text", ["events.usr=uid", "user_id=uid", "events.user_id", "shop.user_id=x"]
)
def test_an_override_of_another_form_lists_the_fields(text):
    with pytest.raises(
        ConfigError, match=r"is no table\.field=column\. Fields: items\.item_id, .*events\.user_id"
    ):
        parse_overrides((text,))


# ----------------------------------------------------------------------------- bad input: the files


def test_a_file_that_is_not_there_stops_with_the_nearest_name(desk):
    message = desk.stops(events=str(desk.folder / "evnts.csv"))
    assert message.startswith("events: there is no file '")
    assert message.endswith("Nearest: events.csv.")


@pytest.mark.parametrize("name", ["items", "events"])
def test_both_tables_are_needed(desk, name):
    with pytest.raises(
        ConfigError, match=f"data.{name}: the source files needs a table of {name}. Say --{name}"
    ):
        desk.load(**{name: ""})


def test_another_kind_of_file_stops(desk):
    assert desk.raw("events", b"PK", ".xlsx").stops() == (
        "events: 'events.xlsx' is none of .csv, .tsv, .tab, .txt, .dat, .data, .inter, .item, "
        ".jsonl, .ndjson, .json, "
        ".parquet (or .gz of one). Rename or convert it."
    )


@pytest.mark.parametrize(
    "content", [b"", b" \n\r\n", gzip.compress(b"")], ids=["nothing", "blank", "packed nothing"]
)
def test_an_empty_file_stops(desk, content):
    assert (
        desk.raw("events", content).stops() == "events: 'events.csv' is empty. Check what wrote it."
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_header_alone_stops(desk, suffix):
    empty = ratings()[:0]
    if suffix == ".csv":
        desk.raw("events", empty.to_csv(index=False).encode())
    else:
        empty.to_parquet(desk.folder / "events.parquet")
        desk.settings = dataclasses.replace(
            desk.settings, events=str(desk.folder / "events.parquet")
        )
    assert desk.stops() == f"events: 'events{suffix}' has no rows. Check what wrote it."


def test_a_truncated_gz_stops(desk):
    packed = gzip.compress(ratings().to_csv(index=False).encode())
    message = desk.raw("events", packed[: len(packed) // 2], ".csv.gz").stops()
    assert message.startswith("events: 'events.csv.gz' is a damaged or truncated gzip file (")
    assert message.endswith("Copy or fetch it again.")


def test_a_gz_that_is_none_stops(desk):
    message = desk.raw("events", ratings().to_csv(index=False).encode(), ".csv.gz").stops()
    assert message == "events: 'events.csv.gz' is called .gz and is not compressed. Rename it."


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".parquet"])
def test_a_web_page_stops(desk, suffix):
    message = desk.raw("events", b"\n<!DOCTYPE html><title>Please log in</title>", suffix).stops()
    assert message.startswith(
        f"events: 'events{suffix}' is a web page, not data (first bytes b'\\n<!DOCTYPE html>"
    )


def test_text_that_is_not_utf8_stops_with_the_offset(desk):
    text = "movieId,title\n1,Tea\n2,Café\n".encode("latin-1")
    assert desk.raw("items", text).stops() == (
        f"items: 'items.csv' is not UTF-8 at byte {text.index(0xE9)} (line 3: "
        f"{text[text.index(0xE9) - 8 :]!r}). "
        "Save it as UTF-8, or name its encoding: --set data.encoding=... (e.g. cp1252, latin-1, "
        "shift_jis, gb18030)."
    )


def test_utf16_stops(desk):
    message = desk.raw("items", "movieId,title\n".encode("utf-16")).stops()
    assert message == (
        "items: 'items.csv' is UTF-16, not UTF-8 (byte 0). Save it as UTF-8, or say so: --set "
        "data.encoding=utf-16."
    )


def test_a_byte_order_mark_and_crlf_are_fixed(desk):
    wanted = desk.load()
    text = ratings().to_csv(index=False, lineterminator="\r\n")
    desk.raw("events", b"\xef\xbb\xbf" + text.encode())
    pd.testing.assert_frame_equal(desk.load().events, wanted.events)
    messages = desk.found("FIX")
    assert (
        one(messages, "mark")
        == "events: 1 of 1 files starts with a byte order mark. It is left out."
    )
    assert one(messages, "CR LF") == "events: 201 of 201 lines end in CR LF. Read as line ends."


def test_a_ragged_csv_stops(desk):
    text = ratings().to_csv(index=False).splitlines()
    text[5] += ",4.5"
    text[9] = "u001,7"
    message = desk.raw("events", "\n".join(text).encode()).stops()
    assert message == (
        "events: 2 of 200 rows have another number of cells than the 3 columns 'userId', "
        "'movieId', "
        f"'timestamp' (rows 5, 9; first: 4 cells, {text[5]!r}). "
        "Put texts that hold ',' or a line end into double quotes."
    )


def test_quoted_commas_quotes_and_line_ends_are_no_raggedness(desk):
    titles = ['Tea, "hot"', "two\nlines", 'a 12" record']
    desk.items([row | {"title": title} for row, title in zip(ITEMS, titles * 2, strict=True)])
    assert desk.load().items["title"].tolist()[:3] == ['Tea, "hot"', "two lines", 'a 12" record']


def test_a_doubled_column_stops(desk):
    message = desk.raw("events", b"userId,movieId,userId\nu,7,v\n").stops()
    assert message == "events: two columns are called 'userId' (columns 1 and 3). Rename one."


def test_broken_parquet_stops(desk):
    message = desk.raw("events", b"PAR1 but not really", ".parquet").stops()
    assert message == "events: 'events.parquet' is no parquet file, or part of one. Write it again."


def test_a_parquet_column_that_is_no_text_stops(desk):
    table = pa.table(
        {"userId": ["u"], "movieId": ["7"], "timestamp": pa.array([b"\xff"], pa.binary())}
    )
    pyarrow.parquet.write_table(table, desk.folder / "events.parquet")
    message = desk.stops(events=str(desk.folder / "events.parquet"))
    assert message.startswith(
        "events: the column 'timestamp' of 'events.parquet' has cells that are no text (binary; "
    )


PIECES = [
    b"",
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"NA",
    b"12.0",
    b"-1",
    b"9" * 30,
    b"null",
    b"[[[",
    b"|",
    b"\xef\xbb\xbf",
]


@given(data=st.data(), suffix=st.sampled_from([".csv", ".jsonl", ".parquet", ".csv.gz"]))
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_read_or_refused_in_our_words(data, suffix, tmp_path_factory):
    desk, events = Desk(tmp_path_factory.getbasetemp()), searches()
    if suffix == ".parquet":
        content = bytearray(events.to_parquet())
    else:
        text = (
            events.to_csv(index=False)
            if "csv" in suffix
            else events.to_json(orient="records", lines=True)
        )
        content = bytearray(
            gzip.compress(text.encode()) if suffix.endswith(".gz") else text.encode()
        )
    for _ in range(data.draw(st.integers(1, 4))):
        place, length = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 9))
        content[place : place + length] = data.draw(st.sampled_from(PIECES))
    try:
        said = desk.raw("events", bytes(content), suffix).load(max_drop_rate=1.0).report.text()
    except ArtifactError as error:
        said = f"STOP {error}"
    lines = said.splitlines()
    assert lines[-1].startswith("kept: 6 items, ") or (
        len(lines) == 1 and said.startswith("STOP events: ")
    )


def json_lines(events: pd.DataFrame) -> list[str]:
    return events.to_json(orient="records", lines=True).splitlines()


BAD_LINES = {
    "no JSON": "{user: 1",
    "no object": "[1, 2]",
    "lone surrogate": '{"userId": "\\ud800", "movieId": "7", "timestamp": 1}',
    "nesting bomb": '{"userId": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "1 MiB line": json.dumps(
        {"userId": "u", "movieId": "7", "timestamp": "1", "more": "x" * (1 << 20)}
    ),
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_line_that_is_no_json_object_is_dropped(desk, line):
    wanted = desk.load().events
    lines = json_lines(ratings())
    desk.raw("events", "\n".join([*lines[:7], line, *lines[7:]]).encode(), ".jsonl")
    (message,) = desk.found("DROP")
    assert message.startswith("events: 1 of 201 lines are no JSON object (line 8; first: ")
    assert message.endswith("Write one JSON object per line.")
    assert len(message) < 200
    pd.testing.assert_frame_equal(desk.load().events, wanted)


def test_many_such_lines_stop(desk):
    message = desk.raw(
        "events", "\n".join(json_lines(ratings()) + ["oops"] * 3).encode(), ".jsonl"
    ).stops()
    assert message.startswith(
        "events: 3 of 203 lines are no JSON object (lines 201, 202, 203; first: 'oops')."
    )
    assert message.endswith("(Up to 1% would be dropped: data.max_drop_rate.)")


def test_python_dict_lines_are_fixed(desk):
    wanted = desk.load().items
    lines = [
        repr({"asin": row["movieId"], "title": row["title"], "genres": row["genres"]})
        for row in ITEMS
    ]
    desk.raw("items", "\n".join(lines).encode(), ".jsonl")
    pd.testing.assert_frame_equal(desk.load().items, wanted)
    assert one(desk.found("FIX"), "Python") == (
        "items: 6 of 6 lines are Python dicts, not JSON (lines 1, 2, 3, 4, 5, ...; first: {...}). "
        "Read as such."
    )


def test_a_json_array_is_read(desk):
    wanted = desk.load().events
    desk.raw("events", ratings().to_json(orient="records", indent=1).encode(), ".json")
    pd.testing.assert_frame_equal(desk.load().events, wanted)


def test_json_values_become_cells():
    assert as_text(None) == ""
    assert as_text([["Toys", "Games"], ["Gifts"]]) == "Toys > Games"
    assert as_text(["Toys", "Games"]) == "Toys > Games"
    assert as_text({"a": 1}) == '{"a": 1}'
    assert as_text(True) == "True"


# ----------------------------------------------------------------------------------- bad input: ids


def test_an_empty_id_is_dropped(desk):
    (message,) = desk.events(changed(7, userId=" ")).found("DROP")
    _, item, time = ratings().loc[6]
    assert message == (
        f"events: 1 of 200 rows have no user_id (row 7; first: "
        f"{{item_id: {item!r}, time: {time!r}}}). "
        "Fill in the user_id, or take these rows out."
    )
    assert len(desk.load().events) == 199


def test_more_than_one_percent_stops_and_the_share_can_be_raised(desk):
    events = ratings()
    events.loc[[0, 11, 22], "userId"] = ""
    message = desk.events(events).stops()
    assert message.startswith("events: 3 of 200 rows have no user_id (rows 1, 12, 23; first: {")
    assert message.endswith("take these rows out. (Up to 1% would be dropped: data.max_drop_rate.)")
    assert len(desk.load(max_drop_rate=0.02).events) == 197


def test_small_losses_add_up_to_a_stop(desk):
    events = ratings()
    events.loc[[0, 1], "userId"] = ""
    events.loc[9, "movieId"] = ""
    assert desk.events(events).stops() == (
        "events: 3 of 200 rows would be dropped (2 have no user_id; 1 have no item_id). Repair the "
        "file, or allow "
        "more than 1% with data.max_drop_rate."
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_id_like_a_decimal_number_stops(desk, kind):
    events = ratings(6)
    events["userId"] = [float(u[1:]) for u in events["userId"]]
    if kind == "csv":
        desk.events(events)
    else:
        events.to_parquet(desk.folder / "events.parquet", index=False)
        desk.settings = dataclasses.replace(
            desk.settings, events=str(desk.folder / "events.parquet")
        )
    message = desk.stops()
    assert message.startswith(
        "events: 30 of 30 rows have a decimal number for user_id (rows 1, 2, 3, 4, 5, ...; "
    )
    assert "first: {user_id: '0.0'," in message
    assert message.endswith(
        "Some tool took ids for numbers: write the user_id as the text that it is."
    )


def test_spaces_around_ids_are_fixed(desk):
    wanted = desk.load().events
    desk.events(changed(3, userId=" u000 "))
    assert one(desk.found("FIX"), "spaces").startswith(
        "events: 1 of 200 rows have spaces around their user_id (row 3; first: {user_id: ' u000 ',"
    )
    pd.testing.assert_frame_equal(desk.load().events, wanted)


def test_an_item_that_the_catalogue_does_not_have_is_dropped(desk):
    (message,) = desk.events(changed(5, movieId="Nort")).found("DROP")
    assert message.startswith(
        "events: 1 of 200 rows name an item that the items table does not have (row 5; first: {"
    )
    assert message.endswith("Add these items to the items table, or take their events out.")


def test_lost_leading_zeros_are_recognised(desk):
    message = desk.events(ratings().replace({"movieId": {"00123": "123"}})).stops()
    assert "name an item that the items table does not have" in message
    assert "Items has '00123' where events has '123': some tool took ids for numbers." in message


# ---------------------------------------------------------------------------------- bad input: time


def test_a_row_without_a_time_is_dropped_and_three_stop(desk):
    events = changed(5, timestamp="")
    (message,) = desk.events(events).found("DROP")
    assert message.startswith(
        "events: 1 of 200 rows have no time (row 5; first: {user_id: 'u000', item_id: "
    )
    assert message.endswith('Add a column "time" (seconds) or set data.order=file.')
    events.loc[[76, 80], "timestamp"] = ""
    assert (
        desk.events(events)
        .stops()
        .startswith("events: 3 of 200 rows have no time (rows 5, 77, 81; first: {")
    )


@pytest.mark.parametrize(
    ("unit", "factor"), [("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)]
)
def test_finer_units_are_divided_with_a_warning(desk, unit, factor):
    wanted = desk.load().events
    events = ratings()
    desk.events(events.assign(timestamp=[str(int(t) * factor) for t in events["timestamp"]]))
    message = one(desk.found("WARN"), unit)
    assert message.startswith(
        f"events: 200 of 200 rows have a time in {unit} (rows 1, 2, 3, 4, 5, ...; first: {{"
    )
    assert message.endswith(f"Read as {unit} and divided; times are seconds from here on.")
    pd.testing.assert_frame_equal(desk.load().events, wanted)


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])
def test_iso_dates_are_read(desk, form):
    wanted = desk.load().events
    events = ratings()
    desk.events(
        events.assign(
            timestamp=pd.to_datetime(events["timestamp"].astype(int), unit="s").dt.strftime(form)
        )
    )
    pd.testing.assert_frame_equal(desk.load().events, wanted)
    assert not [m for m in desk.found("WARN") if "time" in m and "query" not in m]


@given(st.lists(st.integers(0, 4_000_000_000), min_size=1))
@settings(max_examples=50, deadline=None)
def test_seconds_are_read_as_they_are(seconds):
    found, unit = read_times(pd.Series([str(s) for s in seconds]))
    assert unit == "seconds"
    assert found.tolist() == seconds


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("-5", "have a time before 1970 (row 9; first: {"),
        ("99999999999", "have a time in the future (row 9; first: {"),
        ("1e400", "have a time that is neither a number nor an ISO date (row 9; first: {"),
        ("yesterday", "have a time that is neither a number nor an ISO date (row 9; first: {"),
        ("inf", "have a time that is neither a number nor an ISO date (row 9; first: {"),
    ],
)
def test_an_impossible_time_is_dropped(desk, value, said):
    desk.events(changed(9, timestamp=value))
    (message,) = desk.found("DROP")
    assert message.startswith(f"events: 1 of 200 rows {said}")
    assert f"time: {value!r}" in message
    assert len(desk.load().events) == 199


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("3024-03-20", "in the future"),
        ("1924-03-20", "before 1970"),
        ("2024-02-30", "neither"),
        ("9999999-01-01", "neither"),
    ],
)
def test_an_impossible_date_is_dropped(desk, date, said):
    events = ratings()
    dates = pd.to_datetime(events["timestamp"].astype(int), unit="s").dt.strftime("%Y-%m-%d")
    (message,) = desk.events(events.assign(timestamp=[*dates[:8], date, *dates[9:]])).found("DROP")
    assert said in message
    assert "(row 9; " in message


def test_a_column_of_other_dates_stops(desk):
    message = desk.events(ratings().assign(timestamp="05 3, 2014")).stops()
    assert "200 of 200 rows have a time that is neither a number nor an ISO date" in message
    assert "Write 1406073600 or 2014-07-23T00:00:00." in message


def test_ties_are_counted_and_keep_the_order_of_the_file(desk):
    events = changed(2, timestamp=ratings()["timestamp"][0])
    message = one(desk.events(events).found("WARN"), "share their time")
    assert message.startswith(
        "events: 2 of 200 rows share their time with another one of the user (rows 1, 2; "
    )
    assert message.endswith("They are one time step: none of them sees the others.")
    first = desk.load().events["item_id"][:2]
    assert [ITEMS[i]["movieId"] for i in first] == events["movieId"][:2].tolist()


def test_unsorted_rows_are_counted(desk):
    events = ratings()
    desk.events(events.iloc[[1, 0, *range(2, 200)]])
    assert one(desk.found("FIX"), "earlier row").startswith(
        "events: 1 of 200 rows come before an earlier row of their user (row 2; first: {user_id: "
        "'u000',"
    )


def test_without_a_time_the_order_of_the_file_can_be_the_time(desk):
    wanted = desk.load().events
    events = desk.events(ratings().drop(columns="timestamp")).load(order="file").events
    assert events["time"].tolist() == list(range(200))
    assert events["item_id"].tolist() == wanted["item_id"].tolist()


# ----------------------------------------------------------------------- bad input: users and items


def test_users_with_fewer_than_three_steps_are_dropped(desk):
    short = pd.DataFrame(
        [("zoe", "7", str(START)), ("zoe", "e5", str(START + 1))], columns=ratings().columns
    )
    (message,) = desk.events(pd.concat([ratings(), short])).found("DROP")
    assert message == (
        "events: 1 of 41 users have fewer than 3 time steps (first: 'zoe'). "
        "Dropped: one step each is needed to train, validate and test (data.min_events)."
    )
    assert "zoe" not in set(desk.load().users["source_id"])


def test_nobody_left_stops_with_the_funnel(desk):
    assert desk.events(ratings(length=2)).stops() == (
        "events: no user has at least 3 time steps (80 events read, 80 events usable, 40 users). "
        "Bring a longer log: "
        "training, validation and test need a step each."
    )
    assert "Lower data.min_events, or bring a longer log" in desk.stops(min_events=4)


def test_an_empty_core_stops_with_the_largest_k_that_works(desk):
    events = ratings()
    most = events["movieId"].value_counts().min()
    message = desk.stops(min_item_events=201)
    assert message.startswith(
        "events: the 201-core is empty (200 events read, 200 events usable, 40 users)."
    )
    best = int(message.rpartition("=")[2].rstrip("."))
    assert best >= most
    assert desk.load(min_item_events=best).report.kept["events"] > 0
    assert f"set data.min_item_events={best}." in desk.stops(min_item_events=best + 1)


def test_the_core_takes_rare_items_out_of_the_catalogue(desk):
    desk.events(
        pd.concat([ratings(), ratings()[:1].assign(movieId="rare", timestamp=str(START - 9))])
    )
    desk.items([*ITEMS, {"movieId": "rare", "title": "once", "genres": ""}, {"movieId": "never"}])
    tables = desk.load(min_item_events=2)
    assert tables.items["source_id"].tolist() == [row["movieId"] for row in ITEMS]
    (message,) = [f.message for f in tables.report.findings if f.level == "DROP"]
    assert message.startswith(
        "items: 2 of 8 rows have fewer than 2 events (k-core) (rows 7, 8; first: {item_id: 'rare'"
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=40
    ),
    st.integers(0, 4),
)
@settings(max_examples=80, deadline=None)
def test_the_core_equals_a_loop(rows, k):
    kept = list(rows)
    while True:
        stays = [
            row for row in kept
            if len({r[1] for r in kept if r[0] == row[0]}) >= 2
            and sum(r[2] == row[2] for r in kept) >= k
        ]  # fmt: skip
        if stays == kept:
            break
        kept = stays
    log = tuple(np.array(column) for column in zip(*rows, strict=True))
    mask = core_mask(*log, 2, k)
    assert [row for row, keep in zip(rows, mask, strict=True) if keep] == kept
    best = largest_core(*log, 2)
    assert not core_mask(*log, 2, best + 1).any()
    assert best == 0 or core_mask(*log, 2, best).any()


def test_duplicate_events_are_fixed(desk):
    wanted = desk.load().events
    events = ratings()
    desk.events(pd.concat([events, events[:3]]))
    assert one(desk.found("FIX"), "repeat user").startswith(
        "events: 3 of 203 rows repeat user, item, time and query of another (rows 201, 202, 203; "
        "first: {"
    )
    pd.testing.assert_frame_equal(desk.load().events, wanted)


def test_equal_item_rows_are_fixed_and_different_ones_stop(desk):
    wanted = desk.load().items
    pd.testing.assert_frame_equal(desk.items([*ITEMS, ITEMS[2]]).load().items, wanted)
    assert one(desk.found("FIX"), "repeat another row").startswith(
        "items: 1 of 7 rows repeat another row (row 7; first: {"
    )
    message = desk.items([*ITEMS, ITEMS[2] | {"title": "Tea at Six"}]).stops()
    assert message == (
        "items: 1 of 7 rows tell another story about an item of an earlier row (row 7; first: "
        "{item_id: '7', "
        "title: 'Tea at Six', category: 'Comedy'}). Keep one row per item."
    )


def test_items_that_nobody_met_stay_candidates(desk):
    desk.items([*ITEMS, {"movieId": "new", "title": "Not out yet", "genres": "Drama"}])
    assert one(desk.found("WARN"), "occur in no event").startswith(
        "items: 1 of 7 rows occur in no event (row 7; "
    )
    assert desk.load().items["source_id"].tolist()[6] == "new"


def test_items_of_test_events_alone_are_kept_and_reported_as_cold(desk, tmp_path):
    desk.items([*ITEMS, {"movieId": "new", "title": "Just out", "genres": "Drama"}])
    desk.events(changed(5, movieId="new"))
    folder = prepare(
        Workspace.open(dataclasses.replace(preset("tiny"), data=desk.settings), tmp_path)
    )
    report = Report.load(folder)
    assert one([f.message for f in report.findings], "cold") == (
        "items: 1 of 7 rows occur in no train event (cold). They are kept: only their text is "
        "known."
    )
    assert set(report.table()["level"]) <= {"DROP", "WARN", "FIX"}
    assert Corpus.load(folder).num_items == 7


# ---------------------------------------------------------------------------------- bad input: text


def test_items_without_title_or_text_are_named_after_what_there_is(desk):
    desk.items(
        [
            {
                "item": "00123",
                "title": "",
                "description": "a long film",
                "brand": "Nord",
                "category": "A > B",
            },
            {"item": "NA", "title": "", "description": "", "brand": "Nord", "category": "A>B"},
            {"item": "7", "title": " ", "description": "", "brand": "", "category": ""},
            {"item": "../x", "title": "Signal", "description": "", "brand": "", "category": "C|D"},
            *(
                {"item": i, "title": "x", "description": "y", "brand": "", "category": ""}
                for i in ("e5", "1e5")
            ),
        ]
    )
    items = desk.load().items
    assert items["title"].tolist()[:4] == ["a long film", "Nord, A, B", "item 7", "Signal"]
    assert items["text"].tolist()[:4] == ["", "", "", "C, D"]
    assert items["category"].tolist()[:4] == ["A > B", "A > B", "", "C"]
    messages = desk.found("FIX")
    assert one(messages, "no title").startswith(
        "items: 3 of 6 rows have no title (rows 1, 2, 3; first: {item_id: '00123'"
    )
    assert one(messages, "have no text").endswith(
        "Brand and category stand for it, where there are any."
    )
    assert one(messages, "with |").startswith(
        "items: 1 of 6 rows list several categories with | (row 4; "
    )


def test_a_title_of_ten_megabytes_is_cut(desk):
    desk.items([ITEMS[0] | {"title": "rain " * 2_000_000}, *ITEMS[1:]])
    message = one(desk.found("FIX"), "more than 512")
    assert message.startswith(
        "items: 1 of 6 rows have a title of more than 512 characters (row 1; first: {"
    )
    assert message.endswith("Cut to 512 characters.")
    assert len(message) < 250
    assert len(desk.load().items["title"][0]) <= 512


@pytest.mark.parametrize(
    ("title", "clean"),
    [
        ("Rain\x07 over\tOslo", "Rain over Oslo"),
        ("Rain \u202eover\u200b Oslo", "Rain over Oslo"),
        ("Rain &amp; Oslo", "Rain & Oslo"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("  Rain   Oslo ", "Rain Oslo"),
    ],
    ids=["control", "bidi and zero width", "entity", "unescaped once", "spaces"],
)
def test_odd_characters_in_a_title_are_cleaned(desk, title, clean):
    desk.items([ITEMS[0] | {"title": title}, *ITEMS[1:]])
    assert desk.load().items["title"][0] == clean
    message = one(desk.found("FIX"), "HTML")
    assert message.startswith(
        "items: 1 of 6 rows have a title with control or invisible characters, HTML entities or"
    )
    assert all(character.isprintable() for character in message)


# --------------------------------------------------------------------------------- search and tasks


def searches(every: int = 4) -> pd.DataFrame:
    events = ratings()
    query = np.where(np.arange(200) % every == 0, "film " + events["movieId"], "")
    return events.assign(search_term=query)


def test_events_with_a_query_are_searches(desk):
    tables = desk.events(searches()).load()
    assert tables.report.kept["searches"] == 50
    assert tables.queries["kind"].unique().tolist() == ["typed"]
    assert tables.queries["text"].tolist() == sorted(set(tables.queries["text"]))
    asked = tables.events[tables.events["task"] == "search"]
    wanted = "film " + tables.items["source_id"][asked["item_id"]].to_numpy()
    assert tables.queries["text"][asked["query_id"]].tolist() == wanted.tolist()
    assert (tables.events.loc[tables.events["task"] == "recommend", "query_id"] == -1).all()
    assert tables.relevance.empty
    assert not [f for f in tables.report.findings if "no query" in f.what]


def test_queries_may_have_a_table_of_their_own(desk):
    wanted = desk.events(searches()).load()
    events = searches()
    texts = sorted(set(events["search_term"]) - {""})
    number = {text: f"0{place}" for place, text in enumerate(texts)} | {"": ""}
    desk.events(
        events.assign(query_id=events["search_term"].map(number)).drop(columns="search_term")
    )
    assert desk.stops() == (
        "events: there are query ids and no texts. Bring a table of queries "
        "(data.queries=queries.csv, with query_id "
        "and query), or a column query in the events."
    )
    desk.queries([{"query_id": number[text], "text": text} for text in texts])
    tables = desk.load()
    pd.testing.assert_frame_equal(tables.events, wanted.events)
    pd.testing.assert_frame_equal(tables.queries, wanted.queries)


def test_a_query_id_without_a_text_is_dropped(desk):
    desk.events(
        changed(1, query_id="q9").assign(query_id=lambda t: t["query_id"].where(t.index != 3, "q1"))
    )
    (message,) = desk.queries([{"query_id": "q1", "text": "rain"}]).found("DROP")
    assert message.startswith(
        "events: 1 of 200 rows have a query_id without a text (row 1; first: {"
    )
    assert desk.load().report.kept["searches"] == 1
    message = desk.queries(
        [{"query_id": "q1", "text": "rain"}, {"query_id": "q1", "text": "sun"}]
    ).stops()
    assert message.startswith(
        "queries: 1 of 2 rows give another text to a query_id of an earlier row (row 2; "
    )


def test_an_empty_query_is_dropped(desk):
    events = searches()
    events.loc[4, "search_term"] = "\u200b"
    (message,) = desk.events(events).found("DROP")
    assert message == (
        "events: 1 of 200 rows have a query without a word (row 5; first: {user_id: 'u000', "
        "item_id: "
        f"{events['movieId'][4]!r}, time: "
        f"{events['timestamp'][4]}}}). Write the query's words, or leave the cell "
        "empty for a recommendation."
    )


def test_a_search_without_a_query_is_dropped_and_a_recommendation_loses_its_query(desk):
    events = searches().assign(event_type=np.where(np.arange(200) % 4 == 0, "search", "click"))
    events.loc[4, "search_term"] = ""
    events.loc[8, "event_type"] = "Recommend"
    tables = desk.events(events).load()
    messages = [f.message for f in tables.report.findings]
    assert one(messages, "without a query").startswith(
        "events: 1 of 200 rows are searches without a query (row 5; "
    )
    assert one(messages, "with a query").startswith(
        "events: 1 of 199 rows are recommendations with a query (row 9; "
    )
    assert tables.report.kept["searches"] == 48


def test_a_log_of_searches_alone_stops(desk):
    assert desk.events(searches(1)).stops() == (
        "events: every event has a query. The collaborative view needs recommendations: add events "
        "without one."
    )


def test_a_log_too_small_to_validate_stops(desk, tmp_path):
    events = ratings().assign(query=lambda t: np.where(np.arange(200) % 5 == 3, "x", ""))
    desk.events(events)
    with pytest.raises(
        ArtifactError, match=r"40 test recommendations.*bring more users or longer logs"
    ) as error:
        prepare(Workspace.open(dataclasses.replace(preset("tiny"), data=desk.settings), tmp_path))
    assert "120 train, 0 validation" in str(error.value)


def test_queries_are_made_only_when_asked_for(desk):
    (message,) = [m for m in desk.found("WARN") if "no query" in m]
    assert message.startswith(
        "events: 200 of 200 rows have no query. Nothing can be learned about search;"
    )
    assert "set data.make_search=true" in message
    tables = desk.load(make_search=True, search_rate=1.0)
    assert tables.facts["search"] == "semi-synthetic"
    assert set(tables.queries["text"]) == {"drama", "adventure", "comedy", "thriller"}
    assert (tables.events["task"] == "search").sum() == 200
    assert set(tables.relevance["query_id"]) == {0, 1, 2, 3}
    with pytest.raises(ConfigError, match="queries of their own, and the two are not mixed"):
        desk.events(searches()).load(make_search=True)
    desk.events(ratings()).items([{"movieId": row["movieId"]} for row in ITEMS])
    assert desk.stops(make_search=True) == (
        "items: no category to make queries from (data.make_search). Add a column category."
    )


# -------------------------------------------------------------------------- report and command line


def test_a_finding_reads_as_a_sentence():
    table = pd.DataFrame({"user_id": ["a", "", "b"], "item": ["x", "y\n", ""]}, index=[4, 5, 9])
    checks = Checks("events", max_drop_rate=0.5)
    kept = checks.drop("no-id", table, table["user_id"] == "", field="user_id")
    assert kept["user_id"].tolist() == ["a", "b"]
    (finding,) = checks.findings
    assert finding.message == (
        "events: 1 of 3 rows have no user_id (row 5; first: {item: 'y\\n'}). "
        "Fill in the user_id, or take these rows out."
    )
    assert checks.find("same-row", table, np.zeros(3, dtype=bool)) == 0
    assert checks.findings == [finding]


def test_a_report_comes_back_from_disk(desk, tmp_path):
    report = desk.events(changed(7, userId="")).load().report
    report.save(tmp_path)
    assert Report.load(tmp_path) == report
    table = report.table()
    assert table["level"].tolist() == sorted(table["level"], key=["DROP", "WARN", "FIX"].index)
    assert table.loc[table["level"] == "DROP", ["count", "of", "unit", "what"]].values.tolist() == [
        [1, 200, "rows", "have no user_id"]
    ]
    assert str(tmp_path) not in (tmp_path / "report.json").read_text()


def test_the_report_prints_columns_findings_and_what_is_kept(desk):
    lines = desk.events(ratings().assign(rating="3.5")).load().report.text().splitlines()
    assert (
        lines[0]
        == "items: 'items.csv', 6 rows; item_id = 'movieId', title = 'title', category = 'genres'"
    )
    assert lines[1].endswith("time = 'timestamp'; not used: 'rating'")
    assert lines[2].startswith("WARN events: 200 of 200 rows have no query.")
    assert lines[-1] == "kept: 6 items, 40 users, 200 events, 0 queries, 0 searches"


def words(desk: Desk, *more: str) -> list[str]:
    files = ["--items", desk.settings.items, "--events", desk.settings.events]
    return ["--preset", "tiny", "--workspace", str(desk.folder), *files, *more]


def test_the_options_are_short_for_settings(desk):
    parsed = cli.parser().parse_args(
        ["data", *words(desk, "--columns", "items.title=genres,events.time=timestamp")]
    )
    config = read_settings(parsed)
    assert config.data.source == "files"
    assert (config.data.items, config.data.events) == (desk.settings.items, desk.settings.events)
    assert config.data.columns == ("items.title=genres", "events.time=timestamp")
    assert override(preset("tiny"), {"data.columns": ""}).data.columns == ()


def test_the_command_writes_the_report_and_notices_an_edited_file(desk, capsys):
    assert cli.main(["data", *words(desk)]) == 0
    said = capsys.readouterr().out
    assert "data: built artifacts/tiny-own/data" in said
    assert "kept: 6 items, 40 users, 200 events" in said
    assert cli.main(["data", *words(desk)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines() == [
        "data: reused artifacts/tiny-own/data",
        "data: 5 findings in artifacts/tiny-own/data/report.json; kept: 6 items, 40 users, 200 "
        "events, 0 queries, "
        "0 searches, 40 validation recommend targets, 40 test recommend targets",
    ]
    desk.events(ratings(39))
    assert cli.main(["data", *words(desk)]) == 0
    said = capsys.readouterr().out
    assert "data: built" in said
    assert "kept: 6 items, 39 users" in said
    assert not (desk.folder / "artifacts/tiny").exists()


def test_the_next_command_that_is_named_has_the_files_too(desk, capsys):
    assert cli.main(["embeddings", *words(desk)]) == 1
    said = capsys.readouterr().err
    assert f"--set data.items={desk.settings.items} --set data.events=" in said


def test_a_bad_file_is_one_line_on_the_command_line(desk, capsys):
    desk.raw("events", b"")
    assert cli.main(["data", *words(desk)]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "gensar: events: 'events.csv' is empty. Check what wrote it.\n")


# ------------------------------------------------------------------------ a task that never happens


def test_training_leaves_out_a_task_without_events():
    log = pd.DataFrame(
        {"user_id": np.repeat(range(4), 5), "time": list(range(5)) * 4, "task": "recommend"}
    )
    corpus = small_corpus(events=log.assign(item_id=range(20), query_id=-1))
    both = override(
        preset("tiny"), {"training.tasks": "nrip,nsip", "training.task_weights": "0.5,2"}
    ).training
    kept = present_tasks(corpus, both)
    assert (kept.tasks, kept.task_weights) == (("nrip",), (0.5,))
    assert present_tasks(small_corpus(), both) == both
    with pytest.raises(
        ArtifactError, match=r"the corpus has no search event\. Choose other training\.tasks"
    ):
        present_tasks(corpus, dataclasses.replace(both, tasks=("nsip",), task_weights=(1.0,)))


def test_a_task_without_validation_targets_is_not_judged():
    corpus = small_corpus()
    events = corpus.events
    kept = events[~((events["task"] == "search") & (events["split"] == "validation"))].reset_index(
        drop=True
    )
    corpus = dataclasses.replace(corpus, events=kept.assign(event_id=range(len(kept))))
    config = preset("tiny")
    generator = new_generator(corpus, random_identifiers(corpus.num_items, 8), config.training)
    found = ranking_judge(config)(generator)(generator.model.eval())
    assert set(found) == {"nrip/recall@10", "nrip/ndcg@10"}


# ----------------------------------------------------------------------------------- the whole road


def road(
    folder: Path, with_search: bool, num_items: int = 50, settings: tuple[str, ...] = ()
) -> pd.DataFrame:
    """`gensar run --preset tiny` on a MovieLens-like data set; its metrics."""
    rng = np.random.default_rng(1)
    desk, films = Desk(folder), range(num_items)
    desk.items(
        [
            {"movieId": f"{i:04d}", "title": f"film {i} of the {['north', 'south'][i % 2]}"}
            for i in films
        ]
    )
    rows = [
        (
            f"u{user}",
            f"{item:04d}",
            START + 60 * step,
            f"film {item}" if with_search and rng.random() < 0.4 else "",
        )
        for user in range(40)
        for step, item in enumerate(rng.permutation(num_items)[:9])
    ]
    desk.events(pd.DataFrame(rows, columns=["userId", "movieId", "timestamp", "query"]))
    assert cli.main(["run", *words(desk, "--run", "mine", *settings)]) == 0
    page = (folder / "reports/mine/index.html").read_text()
    assert "data.items=items.csv" in page
    assert str(folder) not in page, "where somebody's files lie is not told"
    return pd.DataFrame(json.loads((folder / "reports/mine/metrics.json").read_text()))


@pytest.mark.slow
def test_the_whole_road_on_own_data(tmp_path, capsys):
    metrics = road(tmp_path, with_search=True)
    full = metrics[metrics["protocol"] == "full"]
    assert set(full.loc[full["task"] == "search", "system"]) == {
        "joint",
        "popularity",
        "query-clicks",
        "bm25",
        "dense",
        "sasrec x likelihood",
    }
    counting = {"transitions", "item-knn"}
    assert set(full.loc[full["task"] == "recommend", "system"]) == {
        "joint",
        "popularity",
        "sasrec-ce",
        *counting,
    }
    bm25 = full[(full["system"] == "bm25") & (full["metric"] == "recall@10")]
    assert bm25["value"].item() > 0.9, "the query names the film"
    assert "typed" in (tmp_path / "reports/mine/index.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_items", "levels"),
    [(10, "3 levels of 8"), (300, "3 levels of 32"), (4000, "3 levels of 128")],
)
def test_no_catalogue_stops_the_road(tmp_path, capsys, num_items, levels):
    quick = (
        "embeddings.min_steps=0",
        "embeddings.encoder=lsa",
        "embeddings.joint=none",
        "evaluation.max_sampled=20",
    )
    settings = tuple(word for setting in quick for word in ("--set", setting))
    metrics = road(tmp_path, True, num_items, settings)
    assert {"search", "recommend"} == set(metrics["task"])
    assert f"{num_items:,} items -> {levels} codes" in capsys.readouterr().out


@pytest.mark.slow
def test_a_log_without_search_goes_to_the_end(tmp_path, capsys):
    metrics = road(tmp_path, with_search=False)
    assert set(metrics["task"]) == {"recommend"}
    assert set(metrics["system"]) == {"joint", "popularity", "transitions", "item-knn", "sasrec-ce"}
    assert (
        "training: nrip only, the corpus has nothing to learn other tasks from"
        in capsys.readouterr().out
    )
