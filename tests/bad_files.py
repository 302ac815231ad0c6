"""Rows of the table of bad inputs that are about the file: quotes, header, separator, encoding,
columns, folders.

The form of a row and the clean files are those of bad_inputs.py.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from bad_inputs import (
    CSV,
    BadInput,
    as_csv,
    films,
    json_lines,
    parquet,
    ratings,
    with_cells,
    with_line,
)

TSV = as_csv(ratings(), "\t")
EVENT_COLUMNS = "events.user_id=column_1,events.item_id=column_2,events.time=column_3"
ITEM_COLUMNS = "items.item_id=column_1,items.title=column_2,items.category=column_3"
UNNAMED = {"header": False, "columns": tuple(f"{EVENT_COLUMNS},{ITEM_COLUMNS}".split(","))}


def unnamed(table: pd.DataFrame, separator: str) -> str:
    """The table's lines without a header, joined as they are."""
    return "".join(separator.join(row) + "\n" for row in table.to_numpy().tolist())


def quoted(**queries: str) -> pd.DataFrame:
    """The clean events with a column ``query``: row_7='"' gives row 7 that one."""
    events = ratings().assign(query="", later="x")
    for row, text in queries.items():
        events.loc[int(row.removeprefix("row_")) - 1, "query"] = text
    return events


def joined(table: pd.DataFrame, separator: str) -> str:
    return separator.join(table.columns) + "\n" + unnamed(table, separator)


PAIR = quoted(row_7='"12 inch', row_11='7"')

QUOTES = [
    BadInput(
        "open quotes in a tsv",
        "FIX",
        r"2 of 200 rows have a quote that is not closed in its line \(rows 7, 9; ",
        {"events.tsv": joined(quoted(row_7='"12 inch', row_9='"13 inch'), "\t")},
    ),
    BadInput(
        "open quotes in a csv",
        "WARN",
        r"2 of 200 rows have a quote that is not closed .*read as a character",
        {"events.csv": joined(quoted(row_7='"12 inch', row_9='"13 inch'), ",")},
    ),
    BadInput(
        "a pair of open quotes in a tsv",
        "FIX",
        r"1 of 200 rows have a quote that is not closed",
        {"events.tsv": joined(PAIR, "\t")},
    ),
    BadInput(
        "a pair of open quotes in a csv",
        "STOP",
        r"a quote in line 8 of 'events\.csv' joins the lines up to 12",
        {"events.csv": joined(PAIR, ",")},
    ),
    BadInput(
        "an open quote before a comma",
        "STOP",
        r"\(row 7; .* Line 8 opens a quote that is not closed there",
        {"events.csv": joined(quoted(row_7='"tea, hot'), ",")},
    ),
    BadInput(
        "ragged rows",
        "STOP",
        r"1 of 201 rows have another number of cells than the 3 .*\(row 7; first: 4 cells",
        {"events.csv": with_line(CSV, 8, "u001,7,1400000000,3.5")},
    ),
    BadInput(
        "ragged tsv",
        "STOP",
        r"\(row 7; first: 2 cells, 'u001\\t7'\)",
        {"events.tsv": with_line(TSV, 8, "u001\t7")},
    ),
    BadInput(
        "cells of several lines",
        "FIX",
        r"1 of 8 lines continue a quoted cell",
        {"items.csv": as_csv(films().replace("film 0", "film\n0"))},
        same=True,
    ),
    BadInput(
        "escaped quotes",
        "FIX",
        r"1 of 7 lines hold a backslash that takes the meaning",
        {"items.csv": as_csv(films()).replace("film 0", '"the \\"film\\", 0"')},
    ),
    BadInput("everything quoted", "READ", "", {"events.csv": as_csv(ratings(), quoting=1)}),
    BadInput(
        "quoted header alone",
        "STOP",
        r"'events\.csv' has no rows",
        {"events.csv": '"userId","movieId"\n'},
    ),
]

SEPARATORS = [
    BadInput(
        "blank first lines",
        "FIX",
        r"2 of 203 lines are blank",
        {"events.csv": "\n \n" + CSV},
        same=True,
    ),
    BadInput(
        "blank lines in between",
        "FIX",
        r"1 of 202 lines are blank",
        {"events.csv": with_line(CSV, 5, "")},
        same=True,
    ),
    BadInput(
        "one column",
        "STOP",
        r"events: no column for item_id \(columns: 'userId'\)",
        {"events.csv": as_csv(ratings()[["userId"]])},
    ),
    BadInput(
        "items of one column",
        "FIX",
        r"6 of 6 rows have no title",
        {"items.csv": as_csv(films()[["movieId"]])},
    ),
    BadInput("tabs in a .txt", "FIX", r"is separated by '\\t'", {"events.txt": TSV}, same=True),
    BadInput(
        "semicolons",
        "FIX",
        r"is separated by ';'",
        {"events.csv": as_csv(ratings(), ";")},
        same=True,
    ),
    BadInput(
        "double colons, named",
        "READ",
        "",
        {"events.dat": joined(ratings(), "::")},
        {"separator": "::"},
    ),
    BadInput(
        "a separator of another file",
        "FIX",
        r"events: 1 of 1 files is separated by ','",
        {},
        {"separator": "|"},
        same=True,
    ),
    BadInput(
        "a letter as separator",
        "STOP",
        r"data\.separator: 'x' separates no cells\. Say a sign",
        {},
        {"separator": "x"},
    ),
]

HEADERS = [
    BadInput(
        "no header",
        "STOP",
        r"no column for user_id \(.*\)\. The first row looks like data, not like names: "
        rf"--set data\.header=false --columns {EVENT_COLUMNS}",
        {"events.csv": unnamed(ratings(), ",")},
    ),
    BadInput(
        "no header, numbers alone",
        "STOP",
        r"two columns are called '3' .* --set data\.header=false --columns",
        {"events.tsv": "196\t3\t3\t881250949\n"},
    ),
    BadInput(
        "no header, columns not named",
        "STOP",
        r"Say what they are: --columns items\.item_id=column_1\.",
        {"items.csv": unnamed(films(), ","), "events.csv": unnamed(ratings(), ",")},
        {"header": False},
    ),
    BadInput(
        "MovieLens' lines without names",
        "READ",
        "",
        {"items.dat": unnamed(films(), "::"), "events.dat": unnamed(ratings(), "::")},
        UNNAMED | {"separator": "::"},
    ),
    BadInput(
        "a header against the settings",
        "FIX",
        r"items: 1 of 1 files names its columns in the first row",
        {"events.csv": unnamed(ratings(), ",")},
        UNNAMED | {"columns": tuple(EVENT_COLUMNS.split(","))},
        same=True,
    ),
    BadInput(
        "RecBole's files",
        "FIX",
        r"items: 1 of 1 files is separated by '\\t'",
        {
            "items.item": "item_id:token\ttitle:token_seq\tclass:token_seq\n"
            + unnamed(films(), "\t"),
            "events.inter": "user_id:token\titem_id:token\ttimestamp:float\n"
            + unnamed(ratings(), "\t"),
        },
        {"columns": ("items.category=class",)},
        same=True,
    ),
    BadInput(
        "no column of times",
        "STOP",
        r"no column for time \(columns: 'userId', 'movieId', 'stars'\).*"
        r"events\.time=stars",
        {"events.csv": as_csv(ratings().rename(columns={"timestamp": "stars"}))},
    ),
    BadInput(
        "no item, only a user",
        "STOP",
        r"no column for item_id \(columns: 'userID', 'timestamp', 'film'\)\. .*"
        r"events\.item_id=film",
        {
            "events.csv": as_csv(
                ratings().set_axis(["userID", "film", "timestamp"], axis=1)[
                    ["userID", "timestamp", "film"]
                ]
            )
        },
    ),
    BadInput(
        "a named column that is not there",
        "STOP",
        r"no column 'userid' .* Did you mean 'userId'\?",
        {},
        {"columns": ("events.user_id=userid",)},
    ),
    BadInput(
        "an override of another form",
        "STOP",
        r"is no table\.field=column",
        {},
        {"columns": ("user_id=x",)},
    ),
    BadInput(
        "one column for two fields",
        "STOP",
        r"the column 'movieId' is taken for user_id, so it cannot be item_id as well\. "
        r".*events\.item_id=",
        {},
        {"columns": ("events.user_id=movieId",)},
    ),
    BadInput(
        "no column for a field that needs one",
        "STOP",
        r"events\.user_id needs a column\. Name it",
        {},
        {"columns": ("events.user_id=",)},
    ),
    BadInput(
        "a type that is no task",
        "READ",
        "",
        {"events.csv": as_csv(ratings().assign(type=np.resize(["ORD", "CLICK", "CART"], 200)))},
    ),
    BadInput(
        "two columns for one field",
        "WARN",
        r"could be item_id: 'movieId', 'sku'\. 'movieId' is taken",
        {"events.csv": as_csv(ratings().assign(sku="7"))},
        same=True,
    ),
]

ENCODINGS = [
    BadInput(
        "Latin-1 unsaid",
        "STOP",
        r"not UTF-8 at byte 16 \(line 2: .*--set data\.encoding=\.\.\. \(e\.g\. cp1252",
        {"items.csv": "movieId,title\n7,été\n".encode("latin-1")},
    ),
    BadInput(
        "Latin-1 said",
        "READ",
        "",
        {"items.csv": as_csv(films().assign(note="été")).encode("latin-1")},
        {"encoding": "latin-1"},
    ),
    BadInput(
        "Shift JIS said",
        "READ",
        "",
        {"items.csv": as_csv(films().assign(note="日本")).encode("shift_jis")},
        {"encoding": "shift_jis"},
    ),
    BadInput(
        "UTF-16 unsaid",
        "STOP",
        r"is UTF-16, .* --set data\.encoding=utf-16\.",
        {"events.csv": CSV.encode("utf-16")},
    ),
    BadInput(
        "UTF-16 without a mark",
        "STOP",
        r"--set data\.encoding=utf-16-le\.",
        {"events.csv": CSV.encode("utf-16-le")},
    ),
    BadInput(
        "UTF-16 said",
        "READ",
        "",
        {"events.csv": CSV.encode("utf-16"), "items.csv": as_csv(films()).encode("utf-16")},
        {"encoding": "utf-16"},
    ),
    BadInput(
        "another encoding than said",
        "STOP",
        r"'items\.csv' is not shift_jis at byte \d+ .*Name another encoding",
        {"items.csv": b"movieId,title\n7,\xff\xff\n"},
        {"encoding": "shift_jis"},
    ),
    BadInput(
        "an unknown encoding",
        "STOP",
        r"data\.encoding: 'cp1225' is no encoding of text\. Near: .*cp125",
        {},
        {"encoding": "cp1225"},
    ),
]

ARRAY = json.dumps(ratings().to_dict("records"), indent=1)
HALVES = {
    f"events/part-{n}.parquet": parquet(ratings()[rows])
    for n, rows in ((2, slice(90)), (10, slice(90, None)))
}

FORMATS = [
    BadInput("JSON array", "READ", "", {"events.json": ARRAY}),
    BadInput(
        "JSON array that breaks off",
        "STOP",
        r"JSON array of 'events\.json' breaks off after 1\d\d elements",
        {"events.json": ARRAY[:12_000]},
    ),
    BadInput(
        "JSON array with a number",
        "DROP",
        r"1 of 201 elements are no JSON object \(element 201; first: '12'\)",
        {"events.json": ARRAY[:-1] + ", 12]"},
        same=True,
    ),
    BadInput("empty JSON array", "STOP", r"'events\.json' has no rows", {"events.json": "[]"}),
    BadInput("empty JSON objects", "STOP", r"no column for user_id", {"events.jsonl": "{}\n" * 9}),
    BadInput(
        "wide JSON lines",
        "STOP",
        r"no column for item_id \(columns: .* and 4,981 more\)",
        {
            "events.jsonl": "".join(
                json.dumps({"userId": "u", f"k{n}": n}) + "\n" for n in range(5000)
            )
        },
    ),
    BadInput("parquet folder", "READ", "", HALVES, {"order": "time"}),
    BadInput(
        "parquet folder with other columns",
        "STOP",
        r"'part-3\.parquet' has other columns than 'part-2\.parquet' "
        r"\('more'\)",
        HALVES | {"events/part-3.parquet": parquet(ratings().assign(more="x"))},
    ),
    BadInput(
        "parquet folder with a damaged part",
        "STOP",
        r"'part-2\.parquet' is no parquet file",
        HALVES | {"events/part-2.parquet": b"PAR1"},
    ),
    BadInput(
        "parquet folder with parts inside folders",
        "STOP",
        r"holds the part 'part-2\.parquet', and a folder inside it holds "
        r"'2024/part-1\.parquet'",
        HALVES | {"events/2024/part-1.parquet": parquet(ratings())},
    ),
    BadInput(
        "parquet folder with leavings of its writer",
        "READ",
        "",
        HALVES | {"events/_temporary/part-1.parquet": b"PAR1"},
    ),
    BadInput(
        "nobody's home",
        "STOP",
        r"there is no file '~nobody-of-this-name/x\.csv'",
        {},
        {"items": "~nobody-of-this-name/x.csv"},
    ),
    BadInput(
        "folder without parquet",
        "STOP",
        r"the folder 'events' holds no \.parquet files",
        {"events/part-0.csv": CSV},
    ),
    BadInput(
        "parquet with bytes",
        "STOP",
        r"the column 'userId' of 'events\.parquet' has cells that are no text",
        {"events.parquet": parquet(ratings().assign(userId=b"\xff"))},
    ),
    BadInput(
        "a long name of a file",
        "STOP",
        rf"no file 'missing/{'a' * 90}\.csv'",
        {},
        {"events": f"missing/{'a' * 90}.csv"},
    ),
    BadInput(
        "lines of JSON in latin-1",
        "READ",
        "",
        {"events.jsonl": json_lines(with_cells(1)).encode("latin-1")},
        {"encoding": "latin-1"},
    ),
]

FILE_CASES = [*QUOTES, *SEPARATORS, *HEADERS, *ENCODINGS, *FORMATS]
