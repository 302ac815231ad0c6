"""What is read from a file equals what was written, whatever the writer, or the message names the
cause.

The other way of knowing is the writer: csv.writer, json, pyarrow, and by hand.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, DataConfig
from gensar_lite.data.own.columns import choose_columns, usual
from gensar_lite.data.own.filetext import check_encoding
from gensar_lite.data.own.quoting import choose_reading, line_cells
from gensar_lite.data.own.reading import read_table
from gensar_lite.data.own.separated import check_separator, guess_separator

HEADER = ["user_id", "item_id", "time", "query"]
Rows = list[list[str]]


def read(folder: Path, file: str, content: str | bytes, **options) -> Rows:
    """The rows of a file, after a look at its columns."""
    path = folder / file
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    table, columns, _ = read_table(path, "events", DataConfig(**options))
    assert columns == list(table.columns)
    assert list(table.index) == list(range(1, len(table) + 1))
    return table.to_numpy().tolist()


# ----------------------------------------------------------------------- a quote that nobody closes


def log(size: int = 360) -> Rows:
    """Rows of which every tenth has a query that starts with a quote and never closes it."""
    return [
        [
            f"u{row % 60}",
            f"i{row % 12}",
            str(1_400_000_000 + row),
            f'"{row} inch' if row % 10 == 3 else "plain words",
        ]
        for row in range(size)
    ]


@pytest.mark.parametrize("separator", ["\t", "|", "::", ";", ","])
def test_no_row_is_lost_to_a_quote(tmp_path, separator):
    text = "\n".join(map(separator.join, [HEADER, *log()]))
    assert read(tmp_path, "log.tsv", text) == log()


@pytest.mark.parametrize(("separator", "level"), [("\t", "FIX"), (",", "WARN")])
def test_a_quote_taken_as_a_character_is_counted(tmp_path, separator, level):
    (tmp_path / "log.csv").write_text("\n".join(map(separator.join, [HEADER, *log()])))
    (finding,) = [
        f for f in read_table(tmp_path / "log.csv", "events").findings if "quote" in f.what
    ]
    assert (finding.level, finding.count, finding.total, finding.rows) == (
        level,
        36,
        360,
        (4, 14, 24, 34, 44),
    )
    assert '"3 inch' in finding.first


def pair(separator: str) -> str:
    """One query starts with a quote, a later one ends with one: by the book they are one cell of
    five lines.
    """
    rows = log(40)
    for row in rows:
        row[3] = "plain words"
    rows[10][3], rows[14][3] = '"twelve', 'seven"'
    return "\n".join(map(separator.join, [HEADER, *rows]))


def test_two_quotes_that_make_a_pair_by_chance_join_no_rows(tmp_path):
    rows = read(tmp_path, "log.tsv", pair("\t"))
    assert len(rows) == 40
    assert (rows[10][3], rows[14][3]) == ('"twelve', 'seven"')
    with pytest.raises(
        ArtifactError, match=r"a quote in line 12 of 'log\.csv' joins the lines up to 16, and each"
    ):
        read(tmp_path, "log.csv", pair(","))


def test_a_cell_of_several_lines_is_one(tmp_path):
    cells = ["two\nlines, of text", 'she said ""hi""', "a\n\nb"]
    text = "id,text\n" + "".join(f'{number},"{cell}"\n' for number, cell in enumerate(cells))
    assert [row[1] for row in read(tmp_path, "items.csv", text)] == [
        "two\nlines, of text",
        'she said "hi"',
        "a\n\nb",
    ]
    table = read_table(tmp_path / "items.csv", "items")
    (finding,) = table.findings
    assert finding.message == "items: 3 of 7 lines continue a quoted cell. Read so."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'a,b\n1,2\n\n3,"4,5\n6,7\n',
            r"rows have another number .* Line 4 opens a quote that is not closed there: '3,",
        ),
        (
            'a,b\n1,2\n3,"4\n5,6,7\n',
            r"row 3; .* Line 3 opens a quote that is not closed there: '3,\"4'",
        ),
        (
            "a,b\n1,2\n3,4,5\n",
            r"^events: 1 of 2 rows have .*: 3 cells, '3,4,5'\)\. Put texts that hold ',' [^L]*$",
        ),
        (
            'a\n"1\n2\n',
            r"cannot be read\. Line 2 opens a quote that is not closed there: '\"1'\. Close it",
        ),
    ],
)
def test_the_message_names_the_line_and_the_quote(tmp_path, text, message):
    with pytest.raises(ArtifactError, match=message):
        read(tmp_path, "x.csv", text)


@pytest.mark.parametrize(
    ("text", "separator", "reading"),
    [
        ('a,b\n1,"x ""y"" z"\n', ",", "quotes"),
        ('a,b\n1,"x, y"\n', ",", "quotes"),
        ('a,b\n1,"C:\\"\n2,z\n', ",", "quotes"),
        ('a,b\n1,"x \\"y\\" z"\n', ",", "escapes"),
        ("a,b\n1,x\\, y\n", ",", "escapes"),
        ('a\tb\n1\tx \\"y\\" z\n', "\t", "escapes"),
        ('a\tb\n1\t"x\n', "\t", "lines"),
        ('a\tb\n1\t"x\n2\ty"z\n', "\t", "lines"),
        ('a,b\n1,"x" y\n', ",", "lines"),
    ],
)
def test_the_reading_is_chosen_from_the_text(text, separator, reading):
    assert choose_reading(text, separator, 2).reading == reading


def test_a_line_alone():
    assert line_cells('1\t"a\tb"', "\t", 2) == ["1", "a\tb"]
    assert line_cells('1\t"a\tb"', "\t", 3) == ["1", '"a', 'b"']
    assert line_cells('1\t"a ""b"""', "\t", 2) == ["1", 'a "b"']
    assert line_cells('1::""::"', "::", 3) == ["1", "", '"']


# ----------------------------------------------------------------------------- header and separator


@pytest.mark.parametrize(
    ("lines", "separator"),
    [
        (["user,item", "1,2"], ","),
        (["a\tb, c", "1\t2"], "\t"),
        (
            [
                "1::Toy Story (1995)::Animation|Children's|Comedy",
                "2::American President, The::Drama",
            ],
            "::",
        ),
        (['"a,b";"c,d,e"', "1;2"], ";"),
        (["one", "7"], ","),
        (["a;b", "1;2,5"], ";"),
    ],
)
def test_the_separator_is_guessed(lines, separator):
    assert guess_separator(lines) == separator


@pytest.mark.parametrize(
    ("word", "sign"), [("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), ("::", "::"), ("", "")]
)
def test_a_separator_by_name(word, sign):
    assert check_separator(word) == sign


@pytest.mark.parametrize("word", ["x", '"', "\n", "\\", "tabs"])
def test_what_separates_nothing_is_refused(word):
    with pytest.raises(
        ConfigError, match=r"data\.separator: .* separates no cells\. Say a sign .* tab, comma"
    ):
        check_separator(word)


def test_one_column_and_blank_lines(tmp_path):
    assert read(tmp_path, "x.csv", "\n \nitem_id\n7\n\n8\n\n") == [["7"], ["8"]]
    (finding,) = read_table(tmp_path / "x.csv", "items").findings
    assert finding.message == "items: 4 of 7 lines are blank. Left out."


def test_a_carriage_return_ends_lines_only_where_nothing_else_does(tmp_path):
    assert read(tmp_path, "x.csv", "item_id,title\r7,a\r8,b\r") == [["7", "a"], ["8", "b"]]
    assert read(tmp_path, "x.csv", "item_id,title\n7,a\rb\n") == [["7", "a\rb"]]
    assert read(tmp_path, "x.csv", 'item_id,title\n7,a\rb\n8,"c, d"\n') == [
        ["7", "a\rb"],
        ["8", "c, d"],
    ]


def test_files_without_a_header_have_numbered_columns(tmp_path):
    path = tmp_path / "u.data"
    path.write_text("196\t242\t3\n186\t302\t3\n")
    table, columns, _ = read_table(path, "events", DataConfig(header=False))
    assert (columns, table.to_numpy().tolist()) == (
        ["column_1", "column_2", "column_3"],
        [*map(str.split, path.open())],
    )
    path.write_text("user_id,item_id\n1,2\n")
    table, columns, findings = read_table(path, "events", DataConfig(header=False))
    assert (columns, len(table)) == (["user_id", "item_id"], 1)
    assert "names its columns in the first row" in findings[0].what


def test_an_unknown_encoding_names_near_ones():
    assert check_encoding("") == ""
    assert check_encoding("Latin-1") == "iso8859-1"
    with pytest.raises(
        ConfigError, match=r"data\.encoding: 'shift_jos' is no encoding of text\. Near: shift_jis"
    ):
        check_encoding("shift_jos")
    with pytest.raises(ConfigError, match=r"is no encoding of text"):
        check_encoding("base64")


def test_keys_that_are_one_as_text_are_one_column(tmp_path):
    lines = ["{'user_id': 'u', 1: 'a', '1': 'b'}", "{'user_id': 'v', 1: 'c'}"]
    assert read(tmp_path, "x.jsonl", "\n".join(lines)) == [["u", "b"], ["v", "c"]]


# ------------------------------------------------------------------------------------- wide records


def test_a_wide_record_costs_what_is_taken_from_it(tmp_path):
    """3,000 different keys in 150 records: a table of all of them has 450,000 cells."""
    lines = [
        json.dumps(
            {"user_id": f"u{row}", "time": row}
            | {f"key_{row}_{place}": place for place in range(20)}
        )
        for row in range(150)
    ]
    path = tmp_path / "wide.jsonl"
    path.write_text("\n".join(lines))
    tracemalloc.start()
    table, columns, _ = read_table(path, "events", wanted=usual("events", {}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(table.columns) == ["user_id", "time"]
    assert len(columns) == 3002
    assert peak < 1_000_000, "450,000 cells take 3.6 MB and more"
    with pytest.raises(
        ArtifactError, match=r"no column for item_id \(columns: .* and 2,982 more\)"
    ) as error:
        choose_columns("events", columns, {})
    assert len(str(error.value)) < 1000


# ----------------------------------------------------------------- what was written is what is read

TEXT = st.text(alphabet="ab \"'\t,;|:\n\r\\é日.0", max_size=8)
ID = st.text(alphabet="ab019é-_./", min_size=1, max_size=6)
ROWS = st.lists(
    st.tuples(ID, ID, st.integers(0, 2_000_000_000).map(str), TEXT).map(list),
    min_size=1,
    max_size=25,
)
QUOTING = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "none": csv.QUOTE_NONE}


def check(rows: Rows, may_join: bool, *file, **options) -> None:
    """The rows are read; only where a quote `may_join` lines, a message may say which ones."""
    try:
        outcome = read(*file, **options)
    except ArtifactError as error:
        outcome = str(error)
        assert may_join, outcome
        assert re.search(r"a quote in line \d+ of 'x\....' joins the lines up to \d+", outcome)
    else:
        assert outcome == rows


def holds_rows(rows: Rows, separator: str) -> bool:
    """Whether some cell holds a line end, and the last of its lines as many cells as a row."""
    later = (cell.split("\n")[1:] for row in rows for cell in row)
    return any(lines and lines[-1].count(separator) >= len(HEADER) - 1 for lines in later)


def one_line_end(rows: Rows) -> Rows:
    return [[cell.replace("\r\n", "\n") for cell in row] for row in rows]


@given(
    rows=ROWS,
    style=st.sampled_from(["minimal", "all", "none", "escaped"]),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["", "utf-8-sig", "utf-16", "latin-1", "shift_jis"]),
    named=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_what_a_csv_writer_writes_is_read(
    rows, style, separator, end, encoding, named, tmp_path_factory
):
    if style in (
        "none",
        "escaped",
    ):  # that a backslash is none of these writers' own cannot be seen
        rows = [[cell.replace("\\", "") for cell in row] for row in rows]
    if style == "none":
        rows = [[re.sub("[\r\n]", "", cell) for cell in row] for row in rows]
    rows = [
        [re.sub("\r\n?", "\r\n", cell) for cell in row] for row in rows
    ]  # the writer does not quote a lone one
    memory = io.StringIO(newline="")
    quoting = QUOTING.get(style, csv.QUOTE_MINIMAL)
    escape = "\\" if style in ("none", "escaped") else None
    writer = csv.writer(
        memory,
        delimiter=separator,
        quoting=quoting,
        escapechar=escape,
        doublequote=not escape,
        lineterminator=end,
    )
    writer.writerows([HEADER, *rows])
    try:
        content = memory.getvalue().encode(encoding or "utf-8")
    except UnicodeEncodeError:
        assume(False)
    options = {"encoding": encoding.removesuffix("-sig"), "separator": separator if named else ""}
    rows = one_line_end(rows)
    check(
        rows,
        holds_rows(rows, separator),
        tmp_path_factory.getbasetemp(),
        "x.csv",
        content,
        **options,
    )


@given(rows=ROWS, separator=st.sampled_from(["\t", "|", "::", ",", ";"]), header=st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_is_written_without_quoting_is_read(rows, separator, header, tmp_path_factory):
    forbidden = re.escape(separator[0]) + r"|[\n\r\\]"
    rows = [[re.sub(forbidden, "", cell) for cell in row] for row in rows]
    wanted = [
        [line_cells(cell, separator, 1)[0] for cell in row] for row in rows
    ]  # a cell in quotes is quoted
    text = "".join(separator.join(row) + "\n" for row in ([HEADER, *rows] if header else rows))
    pair = text.count('"') > 1  # by chance, over lines
    check(
        wanted,
        pair,
        tmp_path_factory.getbasetemp(),
        "x.dat",
        text,
        separator=separator,
        header=header,
    )


@given(rows=ROWS, kind=st.sampled_from(["lines", "array", "indented array", "parquet"]))
@settings(max_examples=40, deadline=None)
def test_json_and_parquet_are_read_as_written(rows, kind, tmp_path_factory):
    records = [dict(zip(HEADER, row, strict=True)) for row in rows]
    if kind == "parquet":
        memory = io.BytesIO()
        pd.DataFrame(rows, columns=HEADER, dtype="str").to_parquet(memory)
        content, file = memory.getvalue(), "x.parquet"
    elif kind == "lines":
        content, file = (
            "\n".join(json.dumps(record, ensure_ascii=False) for record in records),
            "x.jsonl",
        )
    else:
        content, file = json.dumps(records, indent=2 if "indented" in kind else None), "x.json"
    assert read(tmp_path_factory.getbasetemp(), file, content) == rows
