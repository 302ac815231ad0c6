"""The table of bad inputs: each has one documented outcome and a message with what, where and what to do next.

A row says how the files look, with which settings they are read, and what must come of it. Files that a row does not
name are the clean ones of `clean_files`. To add a case, append a row to the list of its kind; test_bad_inputs.py does
the rest.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

ITEMS = ("00123", "NA", "7", "../x", "e5", "1e5")
START = 1_400_000_000
NUM_USERS, LENGTH = 40, 5  # 200 clean events


class BadInput(NamedTuple):
    """One row. `outcome` is what the reader of the message is told has happened.

    READ: the tables equal the clean ones, and no finding is needed. FIX, DROP, WARN: read, with a finding of that
    level whose message matches. STOP: an `ArtifactError` or `ConfigError` whose message matches.
    """

    name: str
    outcome: str
    message: str  # a regular expression, searched in the message; "" with READ
    files: Mapping[str, bytes | str]  # "events.tsv": its content; the stem says which table it is
    settings: Mapping[str, object] = {}  # of DataConfig
    same: bool = False  # FIX, DROP, WARN: what is read equals the clean tables all the same


# ------------------------------------------------------------------------------------ clean files, and changes


def ratings() -> pd.DataFrame:
    """The clean events as text: 40 users meet 5 of 6 items each, one a day; ``userId, movieId, timestamp``."""
    rows = [
        (f"u{user:03d}", ITEMS[(user + day) % len(ITEMS)], str(START + 86_400 * day))
        for user in range(NUM_USERS)
        for day in range(LENGTH)
    ]
    return pd.DataFrame(rows, columns=["userId", "movieId", "timestamp"])


def films() -> pd.DataFrame:
    """The clean items as text: ``movieId, title, genres``."""
    return pd.DataFrame({"movieId": ITEMS, "title": [f"film {i}" for i in range(len(ITEMS))], "genres": "Drama"})


def as_csv(table: pd.DataFrame, separator: str = ",", **options: object) -> str:
    return table.to_csv(index=False, sep=separator, **options)


def clean_files() -> dict[str, str]:
    return {"items.csv": as_csv(films()), "events.csv": as_csv(ratings())}


def with_cells(row: int, **cells: str) -> pd.DataFrame:
    """The clean events with some cells of one row (counted from 1) replaced; a new column is empty elsewhere."""
    return _with_cells(ratings(), row, cells)


def with_item_cells(row: int, **cells: str) -> pd.DataFrame:
    """The clean items with some cells of one row (counted from 1) replaced; a new column is empty elsewhere."""
    return _with_cells(films(), row, cells)


def _with_cells(table: pd.DataFrame, row: int, cells: Mapping[str, str]) -> pd.DataFrame:
    for column, value in cells.items():
        if column not in table:
            table[column] = ""
        table.loc[row - 1, column] = value
    return table


def with_line(text: str, number: int, line: str) -> str:
    """The text with one more line, which becomes line `number` (from 1; a csv's header is line 1)."""
    lines = text.splitlines()
    return "\n".join([*lines[: number - 1], line, *lines[number - 1 :]]) + "\n"


def json_lines(table: pd.DataFrame) -> str:
    return table.to_json(orient="records", lines=True)


def parquet(table: pd.DataFrame) -> bytes:
    memory = io.BytesIO()
    table.to_parquet(memory, index=False)
    return memory.getvalue()


# ------------------------------------------------------------------------------------------------- the files

CSV, LINES = as_csv(ratings()), json_lines(ratings())
PACKED = gzip.compress(CSV.encode())

FILES = [
    BadInput("empty", "STOP", r"'events\.csv' is empty\. Check what wrote it", {"events.csv": b""}),
    BadInput("blank", "STOP", r"'events\.csv' is empty", {"events.csv": b" \n\r\n"}),
    BadInput("packed nothing", "STOP", r"is empty", {"events.csv.gz": gzip.compress(b"")}),
    BadInput("header alone", "STOP", r"'events\.csv' has no rows", {"events.csv": CSV.splitlines()[0]}),
    BadInput("header alone, parquet", "STOP", r"has no rows", {"events.parquet": parquet(ratings()[:0])}),
    BadInput("truncated gz", "STOP", r"damaged or truncated gzip file .* again", {"events.csv.gz": PACKED[:-99]}),
    BadInput("gz in name only", "STOP", r"is called \.gz and is not compressed", {"events.csv.gz": CSV}),
    BadInput("gz without the name", "READ", "", {"events.csv": PACKED}),
    BadInput("web page", "STOP", r"is a web page, not data", {"events.csv": "\n<!DOCTYPE html><title>Log in</title>"}),
    BadInput("web page as parquet", "STOP", r"is a web page", {"events.parquet": "<html>"}),
    BadInput("unknown kind", "STOP", r"'events\.xlsx' is none of \.csv,.*Rename or convert", {"events.xlsx": b"PK"}),
    BadInput("broken parquet", "STOP", r"is no parquet file, or part of one", {"events.parquet": b"PAR1 and more"}),
    BadInput("byte order mark", "FIX", r"byte order mark", {"events.csv": b"\xef\xbb\xbf" + CSV.encode()}, same=True),
    BadInput("CR LF", "FIX", r"201 of 201 lines end in CR LF", {"events.csv": CSV.replace("\n", "\r\n")}, same=True),
    BadInput(
        "doubled column", "STOP", r"two columns are called 'userId' \(columns 1 and 3\)",
        {"events.csv": "userId,movieId,userId\nu,7,v\n"},
    ),
]  # fmt: skip

LINES_OF_JSON = [
    BadInput("no JSON", "DROP", r"1 of 201 lines are no JSON object \(line 8; first: '\{user: 1'\)",
             {"events.jsonl": with_line(LINES, 8, "{user: 1")}, same=True),
    BadInput("no object", "DROP", r"no JSON object \(line 8; ", {"events.jsonl": with_line(LINES, 8, "[1, 2]")},
             same=True),
    BadInput("lone surrogate", "DROP", r"no JSON object \(line 8; ",
             {"events.jsonl": with_line(LINES, 8, '{"userId": "\\ud800", "movieId": "7", "timestamp": 1}')}, same=True),
    BadInput("nesting bomb", "DROP", r"no JSON object \(line 8; ",
             {"events.jsonl": with_line(LINES, 8, '{"userId": ' + "[" * 200_000 + "]" * 200_000 + "}")}, same=True),
    BadInput("1 MiB line", "DROP", r"no JSON object \(line 8; ",
             {"events.jsonl": with_line(LINES, 8, json.dumps({"userId": "u", "more": "x" * (1 << 20)}))}, same=True),
    BadInput("many lines that are no JSON", "STOP", r"3 of 203 lines .*\(lines 201, 202, 203; .*data\.max_drop_rate",
             {"events.jsonl": LINES + "oops\n" * 3}),
    BadInput("Python dicts", "FIX", r"6 of 6 lines are Python dicts, not JSON",
             {"items.jsonl": "\n".join(map(repr, films().to_dict("records")))}, same=True),
]  # fmt: skip

# --------------------------------------------------------------------------------------------- ids, times, text

IDS = [
    BadInput("empty user id", "DROP", r"1 of 200 rows have no user_id \(row 7; .*Fill in the user_id",
             {"events.csv": as_csv(with_cells(7, userId=" "))}),
    BadInput("unknown item", "DROP", r"name an item that the items table does not have \(row 5; ",
             {"events.csv": as_csv(with_cells(5, movieId="Nort"))}),
    BadInput("spaces around an id", "FIX", r"1 of 200 rows have spaces around their user_id \(row 3; ",
             {"events.csv": as_csv(with_cells(3, userId=" u000 "))}, same=True),
    BadInput("ids as decimal numbers", "STOP", r"decimal number for user_id .* write the user_id as the text",
             {"events.parquet": parquet(ratings().assign(userId=lambda t: t["userId"].str[1:].astype(float)))}),
]  # fmt: skip

TIMES = [
    BadInput("no time", "DROP", r"1 of 200 rows have no time \(row 5; .*data\.order=file",
             {"events.csv": as_csv(with_cells(5, timestamp=""))}),
    BadInput("milliseconds", "WARN", r"200 of 200 rows have a time in milliseconds",
             {"events.csv": as_csv(ratings().assign(timestamp=lambda t: t["timestamp"] + "000"))}, same=True),
    BadInput("before 1970", "DROP", r"have a time before 1970 \(row 9; ",
             {"events.csv": as_csv(with_cells(9, timestamp="-5"))}),
    BadInput("in the future", "DROP", r"have a time in the future \(row 9; ",
             {"events.csv": as_csv(with_cells(9, timestamp="99999999999"))}),
]  # fmt: skip

TEXT = [
    BadInput("title of 1 MB", "FIX", r"title of more than 512 characters \(row 1; ",
             {"items.csv": as_csv(with_item_cells(1, title="rain " * 200_000))}),
    BadInput("item without a title", "FIX", r"have no title \(row 2; ",
             {"items.csv": as_csv(with_item_cells(2, title=""))}),
]  # fmt: skip

CASES = [*FILES, *LINES_OF_JSON, *IDS, *TIMES, *TEXT]
