"""The table of bad inputs: each has one documented outcome and a message with what, where and what
to do next.

A row says how the files look, with which settings they are read, and what must come of it. Files
that a row does not name are the clean ones of `clean_files`. To add a case, append a row to the
list of its kind; test_bad_inputs.py does the rest.
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
    """One row. `outcome` is what the message says has happened.

    READ: the tables equal the clean ones, and no finding is needed. FIX, DROP, WARN: read, with a
    finding of that level whose message matches. STOP: an `ArtifactError` or `ConfigError` whose
    message matches.
    """

    name: str
    outcome: str
    message: str  # a regular expression, searched in the message; "" with READ
    files: Mapping[str, bytes | str]  # "events.tsv": its content; the stem says which table it is
    settings: Mapping[str, object] = {}  # of DataConfig
    same: bool = False  # FIX, DROP, WARN: what is read equals the clean tables all the same


# ------------------------------------------------------------------------- clean files, and changes


def ratings() -> pd.DataFrame:
    """The clean events as text: 40 users meet 5 of 6 items each, one a day; ``userId, movieId,
    timestamp``.
    """
    rows = [
        (f"u{user:03d}", ITEMS[(user + day) % len(ITEMS)], str(START + 86_400 * day))
        for user in range(NUM_USERS)
        for day in range(LENGTH)
    ]
    return pd.DataFrame(rows, columns=["userId", "movieId", "timestamp"])


def merged(users: int, name: str) -> pd.DataFrame:
    """The clean events with the last `users` users under one name."""
    user = ratings()["userId"]
    return ratings().assign(userId=user.where(user < f"u{NUM_USERS - users:03d}", name))


def dated(form: str) -> pd.Series:
    """The clean events' times as dates of a form of `strftime`."""
    return pd.Series(pd.to_datetime(ratings()["timestamp"].astype(int), unit="s").dt.strftime(form))


def films() -> pd.DataFrame:
    """The clean items as text: ``movieId, title, genres``."""
    return pd.DataFrame(
        {"movieId": ITEMS, "title": [f"film {i}" for i in range(len(ITEMS))], "genres": "Drama"}
    )


def as_csv(table: pd.DataFrame, separator: str = ",", **options: object) -> str:
    return table.to_csv(index=False, sep=separator, **options)


def clean_files() -> dict[str, str]:
    return {"items.csv": as_csv(films()), "events.csv": as_csv(ratings())}


def with_cells(row: int, **cells: str) -> pd.DataFrame:
    """The clean events with some cells of one row (counted from 1) replaced; a new column is empty
    elsewhere.
    """
    return _with_cells(ratings(), row, cells)


def with_item_cells(row: int, **cells: str) -> pd.DataFrame:
    """The clean items with some cells of one row (counted from 1) replaced; a new column is empty
    elsewhere.
    """
    return _with_cells(films(), row, cells)


def _with_cells(table: pd.DataFrame, row: int, cells: Mapping[str, str]) -> pd.DataFrame:
    for column, value in cells.items():
        if column not in table:
            table[column] = ""
        table.loc[row - 1, column] = value
    return table


def with_line(text: str, number: int, line: str) -> str:
    """The text with one more line, which becomes line `number` (from 1, a csv's header)."""
    lines = text.splitlines()
    return "\n".join([*lines[: number - 1], line, *lines[number - 1 :]]) + "\n"


def json_lines(table: pd.DataFrame) -> str:
    return table.to_json(orient="records", lines=True)


def parquet(table: pd.DataFrame) -> bytes:
    memory = io.BytesIO()
    table.to_parquet(memory, index=False)
    return memory.getvalue()


# ---------------------------------------------------------------------------------------- the files

CSV, LINES = as_csv(ratings()), json_lines(ratings())
PACKED = gzip.compress(CSV.encode())

FILES = [
    BadInput("empty", "STOP", r"'events\.csv' is empty\. Check what wrote it", {"events.csv": b""}),
    BadInput("blank", "STOP", r"'events\.csv' is empty", {"events.csv": b" \n\r\n"}),
    BadInput("packed nothing", "STOP", r"is empty", {"events.csv.gz": gzip.compress(b"")}),
    BadInput(
        "header alone", "STOP", r"'events\.csv' has no rows", {"events.csv": CSV.splitlines()[0]}
    ),
    BadInput(
        "header alone, parquet", "STOP", r"has no rows", {"events.parquet": parquet(ratings()[:0])}
    ),
    BadInput(
        "truncated gz",
        "STOP",
        r"damaged or truncated gzip file .* again",
        {"events.csv.gz": PACKED[:-99]},
    ),
    BadInput(
        "gz in name only", "STOP", r"is called \.gz and is not compressed", {"events.csv.gz": CSV}
    ),
    BadInput("gz without the name", "READ", "", {"events.csv": PACKED}),
    BadInput(
        "web page",
        "STOP",
        r"is a web page, not data",
        {"events.csv": "\n<!DOCTYPE html><title>Log in</title>"},
    ),
    BadInput("web page as parquet", "STOP", r"is a web page", {"events.parquet": "<html>"}),
    BadInput(
        "unknown kind",
        "STOP",
        r"'events\.xlsx' is none of \.csv,.*Rename or convert",
        {"events.xlsx": b"PK"},
    ),
    BadInput(
        "broken parquet",
        "STOP",
        r"is no parquet file, or part of one",
        {"events.parquet": b"PAR1 and more"},
    ),
    BadInput(
        "byte order mark",
        "FIX",
        r"byte order mark",
        {"events.csv": b"\xef\xbb\xbf" + CSV.encode()},
        same=True,
    ),
    BadInput(
        "CR LF",
        "FIX",
        r"201 of 201 lines end in CR LF",
        {"events.csv": CSV.replace("\n", "\r\n")},
        same=True,
    ),
    BadInput(
        "doubled column",
        "STOP",
        r"two columns are called 'userId' \(columns 1 and 3\)",
        {"events.csv": "userId,movieId,userId\nu,7,v\n"},
    ),
]

LINES_OF_JSON = [
    BadInput(
        "no JSON",
        "DROP",
        r"1 of 201 lines are no JSON object \(line 8; first: '\{user: 1'\)",
        {"events.jsonl": with_line(LINES, 8, "{user: 1")},
        same=True,
    ),
    BadInput(
        "no object",
        "DROP",
        r"no JSON object \(line 8; ",
        {"events.jsonl": with_line(LINES, 8, "[1, 2]")},
        same=True,
    ),
    BadInput(
        "lone surrogate",
        "DROP",
        r"no JSON object \(line 8; ",
        {
            "events.jsonl": with_line(
                LINES, 8, '{"userId": "\\ud800", "movieId": "7", "timestamp": 1}'
            )
        },
        same=True,
    ),
    BadInput(
        "nesting bomb",
        "DROP",
        r"no JSON object \(line 8; ",
        {"events.jsonl": with_line(LINES, 8, '{"userId": ' + "[" * 200_000 + "]" * 200_000 + "}")},
        same=True,
    ),
    BadInput(
        "1 MiB line",
        "DROP",
        r"no JSON object \(line 8; ",
        {"events.jsonl": with_line(LINES, 8, json.dumps({"userId": "u", "more": "x" * (1 << 20)}))},
        same=True,
    ),
    BadInput(
        "many lines that are no JSON",
        "STOP",
        r"3 of 203 lines .*\(lines 201, 202, 203; .*data\.max_drop_rate",
        {"events.jsonl": LINES + "oops\n" * 3},
    ),
    BadInput(
        "Python dicts",
        "FIX",
        r"6 of 6 lines are Python dicts, not JSON",
        {"items.jsonl": "\n".join(map(repr, films().to_dict("records")))},
        same=True,
    ),
]

# --------------------------------------------------------------------------------- ids, times, text

IDS = [
    BadInput(
        "empty user id",
        "DROP",
        r"1 of 200 rows have no user_id \(row 7; .*Fill in the user_id",
        {"events.csv": as_csv(with_cells(7, userId=" "))},
    ),
    BadInput(
        "unknown item",
        "DROP",
        r"name an item that the items table does not have \(row 5; ",
        {"events.csv": as_csv(with_cells(5, movieId="Nort"))},
    ),
    BadInput(
        "spaces around an id",
        "FIX",
        r"1 of 200 rows have spaces around their user_id \(row 3; ",
        {"events.csv": as_csv(with_cells(3, userId=" u000 "))},
        same=True,
    ),
    BadInput(
        "ids as decimal numbers",
        "STOP",
        r"decimal number for user_id .* write the user_id as the text",
        {
            "events.parquet": parquet(
                ratings().assign(userId=lambda t: t["userId"].str[1:].astype(float))
            )
        },
    ),
    BadInput(
        "ids of a spreadsheet",
        "STOP",
        r"rounded number for user_id \(row 4; .*export the user_id again, as text",
        {"events.csv": as_csv(with_cells(4, userId="1.001E+12"))},
    ),
    BadInput(
        "item ids of a spreadsheet",
        "STOP",
        r"items: 1 of 6 rows have a rounded number for item_id",
        {"items.csv": as_csv(with_item_cells(3, movieId="1e+05"))},
    ),
    BadInput(
        "ids of a spreadsheet with decimal commas",
        "STOP",
        r"rounded number for user_id",
        {"events.csv": as_csv(with_cells(4, userId="1,001E+12"))},
    ),
    BadInput(
        "lost leading zeros",
        "STOP",
        r"Items has '00123' where events has '123': some tool took ids for numbers",
        {"events.csv": as_csv(ratings().replace({"movieId": {"00123": "123"}}))},
    ),
    BadInput(
        "item ids in another case",
        "STOP",
        r"Items has '1e5' where events has '1E5': write ids alike",
        {"events.csv": as_csv(ratings().replace({"movieId": {"1e5": "1E5"}}))},
    ),
    BadInput(
        "user NULL",
        "WARN",
        r"5 of 200 rows belong to one user, 'NULL' \(2\.5% of the log",
        {"events.csv": as_csv(ratings().replace({"userId": {"u003": "NULL"}}))},
    ),
    BadInput(
        "strangers merged into NA",
        "WARN",
        r"100 of 200 rows belong to one user, 'NA' \(50\.0%.* the median user",
        {"events.csv": as_csv(merged(20, "NA"))},
    ),
    BadInput(
        "user 0 leads the log",
        "WARN",
        r"belong to one user, '0' .*where there is no user",
        {"events.csv": as_csv(merged(10, "0"))},
    ),
    BadInput(
        "one account for half the shop",
        "WARN",
        r"belong to one user, 'till' \(50\.0% of the log",
        {"events.csv": as_csv(merged(20, "till"))},
    ),
    BadInput(
        "users in two spellings",
        "WARN",
        r"2 of 40 ids are a user_id that differs .* \(first: 'U000', 'u000'\)",
        {"events.csv": as_csv(ratings().replace({"userId": {"u001": "U000"}}))},
    ),
    BadInput(
        "query ids as decimal numbers",
        "STOP",
        r"decimal number for query_id",
        {
            "events.csv": as_csv(with_cells(3, query_id="1.0")),
            "queries.csv": "query_id,text\n1,red tent\n",
        },
    ),
    BadInput(
        "query id -1 where there is none",
        "FIX",
        r"199 of 200 rows have a query_id that says there is none",
        {
            "events.csv": as_csv(with_cells(3, query_id="1").replace({"query_id": {"": "-1"}})),
            "queries.csv": "query_id,text\n1,red tent\n",
        },
    ),
    BadInput(
        "query id without a text",
        "DROP",
        r"1 of 200 rows have a query_id without a text \(row 3; ",
        {
            "events.csv": as_csv(with_cells(3, query_id="9")),
            "queries.csv": "query_id,text\n1,red tent\n",
        },
    ),
]

TIMES = [
    BadInput(
        "no time",
        "DROP",
        r"1 of 200 rows have no time \(row 5; .*data\.order=file",
        {"events.csv": as_csv(with_cells(5, timestamp=""))},
    ),
    BadInput(
        "milliseconds",
        "WARN",
        r"200 of 200 rows have a time in milliseconds",
        {"events.csv": as_csv(ratings().assign(timestamp=lambda t: t["timestamp"] + "000"))},
        same=True,
    ),
    BadInput(
        "times of a spreadsheet",
        "STOP",
        r"200 of 200 rows have a rounded number for time \(rows 1, .*as text",
        {"events.csv": as_csv(ratings().assign(timestamp="1.40607E+12"))},
    ),
    BadInput(
        "doubles of nanoseconds",
        "WARN",
        r"200 of 200 rows have a time in nanoseconds",
        {
            "events.parquet": parquet(
                ratings().assign(timestamp=lambda t: t["timestamp"].astype(float) * 1e9)
            )
        },
        same=True,
    ),
    BadInput(
        "dates that end in UTC",
        "READ",
        "",
        {"events.csv": as_csv(ratings().assign(timestamp=dated("%Y-%m-%d %H:%M:%S UTC")))},
    ),
    BadInput(
        "before 1970",
        "DROP",
        r"have a time before 1970 \(row 9; ",
        {"events.csv": as_csv(with_cells(9, timestamp="-5"))},
    ),
    BadInput(
        "in the future",
        "DROP",
        r"have a time in the future \(row 9; ",
        {"events.csv": as_csv(with_cells(9, timestamp="99999999999"))},
    ),
    BadInput(
        "dates without signs",
        "FIX",
        r"200 of 200 rows have a time like YYYYMMDD .*Read as dates, not as seconds",
        {"events.csv": as_csv(ratings().assign(timestamp=dated("%Y%m%d")))},
    ),
    BadInput(
        "dates and times without signs",
        "FIX",
        r"200 of 200 rows have a time like YYYYMMDDHHMMSS",
        {"events.csv": as_csv(ratings().assign(timestamp=dated("%Y%m%d%H%M%S")))},
        same=True,
    ),
    BadInput(
        "ISO dates",
        "READ",
        "",
        {"events.csv": as_csv(ratings().assign(timestamp=dated("%Y-%m-%dT%H:%M:%S")))},
    ),
    BadInput(
        "days first",
        "STOP",
        r"neither a number nor an ISO date .*2014-07-23T00:00:00",
        {"events.csv": as_csv(ratings().assign(timestamp=dated("%d/%m/%Y")))},
    ),
    BadInput(
        "months first",
        "STOP",
        r"neither a number nor an ISO date .*2014-07-23T00:00:00",
        {"events.csv": as_csv(ratings().assign(timestamp=dated("%m/%d/%Y")))},
    ),
    BadInput(
        "a 31st of February",
        "DROP",
        r"neither a number nor an ISO date \(row 9; ",
        {
            "events.csv": as_csv(
                with_cells(9, timestamp="20140231").assign(
                    timestamp=lambda t: t["timestamp"].where(t.index == 8, dated("%Y%m%d"))
                )
            )
        },
    ),
    BadInput(
        "rows sorted by item id",
        "WARN",
        r"200 of 200 rows follow the item id inside their .* 1\.00",
        {
            "events.csv": as_csv(
                ratings().sort_values(["userId", "movieId"]).drop(columns="timestamp")
            )
        },
        {"order": "file"},
    ),
    BadInput(
        "rows sorted by a count",
        "WARN",
        r"follow the column 'plays' .* data\.columns=events\.time=plays",
        {
            "events.csv": as_csv(
                ratings().drop(columns="timestamp").assign(plays=lambda t: 900 - t.index)
            )
        },
        {"order": "file"},
    ),
    BadInput(
        "rows against their time",
        "WARN",
        r"stand in another order than their time says .* Set data\.order=time",
        {"events.csv": as_csv(ratings().sample(frac=1, random_state=0))},
        {"order": "file"},
    ),
]

TEXT = [
    BadInput(
        "title of 1 MB",
        "FIX",
        r"title of more than 512 characters \(row 1; ",
        {"items.csv": as_csv(with_item_cells(1, title="rain " * 200_000))},
    ),
    BadInput(
        "item without a title",
        "FIX",
        r"have no title \(row 2; ",
        {"items.csv": as_csv(with_item_cells(2, title=""))},
    ),
    BadInput(
        "HTML in a title",
        "FIX",
        r"1 of 6 rows have a title with HTML tags or scripts \(row 1; .*Taken out",
        {"items.csv": as_csv(with_item_cells(1, title="<b>film</b> 0<script>alert(1)</script>"))},
        same=True,
    ),
    BadInput(
        "entities in a title",
        "FIX",
        r"1 of 6 rows have a title with control .* HTML entities",
        {"items.csv": as_csv(with_item_cells(1, title="film&nbsp;0"))},
        same=True,
    ),
    BadInput(
        "HTML in a query",
        "FIX",
        r"1 of 200 rows have a query with HTML tags",
        {"events.csv": as_csv(with_cells(3, query="<i>red</i> tent"))},
    ),
    BadInput(
        "brand Unknown",
        "FIX",
        r"1 of 6 rows have a brand that says there is none \(row 2; .*Made empty",
        {"items.csv": as_csv(with_item_cells(2, brand="Unknown"))},
        same=True,
    ),
    BadInput(
        "no genres listed",
        "FIX",
        r"1 of 6 rows have a category that says there is none",
        {"items.csv": as_csv(with_item_cells(2, genres="(no genres listed)"))},
    ),
    BadInput(
        "query NULL",
        "FIX",
        r"200 of 200 rows have a query that says there is none",
        {"events.csv": as_csv(ratings().assign(query="NULL"))},
        same=True,
    ),
    BadInput(
        "tasks of another kind",
        "WARN",
        r"2 of 200 rows have a task that is no search and .* \('cart', 'click'\)",
        {
            "events.csv": as_csv(
                with_cells(1, event_type="CLICK").assign(
                    event_type=lambda t: (
                        t["event_type"].where(t.index != 1, "CART").where(t.index != 2, "recommend")
                    )
                )
            )
        },
        same=True,
    ),
    BadInput(
        "searches in a log without a column of queries",
        "WARN",
        r"1 of 200 rows are searches without words \(row 3; .*learned as recommendations",
        {"events.csv": as_csv(with_cells(3, event_type="search"))},
        same=True,
    ),
    BadInput(
        "searches whose queries are empty",
        "STOP",
        r"200 of 200 rows are searches .*columns=events\.task=\.",
        {"events.csv": as_csv(ratings().assign(event_type="search", query=""))},
    ),
    BadInput(
        "a task that is switched off",
        "READ",
        "",
        {"events.csv": as_csv(ratings().assign(event_type="search", query=""))},
        {"columns": ("events.task=",)},
    ),
]

LOSSES = [
    BadInput(
        "a third of the users too short",
        "WARN",
        r"20 of 60 users are dropped, 33% of them.*about the others",
        {
            "events.csv": as_csv(ratings())
            + "".join(f"x{n // 2},7,{START + n}\n" for n in range(40))
        },
    ),
    BadInput(
        "search_rate 7",
        "STOP",
        r"data\.search_rate: 7\.0 is not valid.* 0 to 1",
        {},
        {"search_rate": 7.0},
    ),
    BadInput(
        "max_drop_rate 5",
        "STOP",
        r"data\.max_drop_rate: 5\.0 is not valid.* 0 to 1",
        {},
        {"max_drop_rate": 5.0},
    ),
    BadInput(
        "min_events 2",
        "STOP",
        r"data\.min_events: 2 is not valid.* 3 or more",
        {},
        {"min_events": 2},
    ),
    BadInput(
        "no user long enough",
        "STOP",
        r"no user has at least 9 time steps \(200 events",
        {},
        {"min_events": 9},
    ),
    BadInput(
        "a core that empties",
        "STOP",
        r"the 99-core is empty .* set data\.min_item_events=",
        {},
        {"min_item_events": 99},
    ),
]

CASES = [*FILES, *LINES_OF_JSON, *IDS, *TIMES, *TEXT, *LOSSES]
