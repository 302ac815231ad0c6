"""From a file of somebody's to a table of text: csv, jsonl or parquet, the first two also as .gz.

In: a path. Out: a frame in which every cell is text, indexed by row number from 1, and what was found on the way.
An id that looks like a number stays text ("00123"), and "NA" is two letters. This file does not know what the
columns mean.
"""

from __future__ import annotations

import ast
import csv
import difflib
import gzip
import io
import json
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.report import MAX_ROWS, Finding, show, stop_if_many

DELIMITERS = ",;\t|"
KINDS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
MAX_LINE = 1 << 20  # characters of a jsonl line
_GZIP = b"\x1f\x8b"
_LEVEL = " > "  # between the elements of a list, as between the levels of a category


def read_table(path: Path, name: str, max_drop_rate: float = 0.01) -> tuple[pd.DataFrame, list[Finding]]:
    """The file as text columns, and findings about the file itself.

    Raises `ArtifactError` for what no table can be read from, with the place and the next step.
    """
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    kind = KINDS.get(suffixes[-1] if suffixes else "")
    if kind is None:
        listed = ", ".join(KINDS)
        raise ArtifactError(f"{name}: {show(path.name)} is none of {listed} (or .gz of one). Rename or convert it.")
    data = _bytes(path, name)
    if kind == "parquet":
        table, found = _parquet(data, path, name), []
    else:
        text, found = _text(data, path, name)
        table, more = _csv(text, path, name) if kind == "csv" else _jsonl(text, name, max_drop_rate)
        found += more
    if table.empty:
        raise ArtifactError(f"{name}: {show(path.name)} has no rows. Check what wrote it.")
    _refuse_doubled(list(table.columns), name)
    table.index = range(1, len(table) + 1)
    return table, found


# ------------------------------------------------------------------------------------------- bytes and text


def _bytes(path: Path, name: str) -> bytes:
    """The file's bytes, unpacked."""
    if not path.is_file():
        others = sorted(p.name for p in path.parent.glob("*") if p.is_file()) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, others, n=1)
        raise ArtifactError(f"{name}: there is no file {show(path)}." + (f" Nearest: {near[0]}." if near else ""))
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise ArtifactError(f"{name}: {show(path.name)} cannot be read ({problem.strerror}).") from None
    if data[:2] == _GZIP:
        try:
            data = gzip.decompress(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise ArtifactError(
                f"{name}: {show(path.name)} is a damaged or truncated gzip file ({problem}). Copy or fetch it again."
            ) from None
    elif path.suffix.lower() == ".gz" and data and not _is_page(data):
        raise ArtifactError(f"{name}: {show(path.name)} is called .gz and is not compressed. Rename it.")
    if not data.strip():
        raise ArtifactError(f"{name}: {show(path.name)} is empty. Check what wrote it.")
    if _is_page(data):
        raise ArtifactError(
            f"{name}: {show(path.name)} is a web page, not data (first bytes {data[:20]!r}). A download that needs a "
            "login or a click leaves such pages: fetch the file again."
        )
    return data


def _is_page(data: bytes) -> bool:
    return data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html"))


def _text(data: bytes, path: Path, name: str) -> tuple[str, list[Finding]]:
    """UTF-8 text without byte order mark, lines ended by one character."""
    found = []
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ArtifactError(f"{name}: {show(path.name)} is UTF-16, not UTF-8 (byte 0). Save it as UTF-8.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        around = data[max(problem.start - 8, 0) : problem.start + 8]
        raise ArtifactError(
            f"{name}: {show(path.name)} is not UTF-8 at byte {problem.start:,} (line {line:,}: {around!r}). "
            "Save it as UTF-8."
        ) from None
    if text.startswith("\ufeff"):
        text = text[1:]
        found.append(_file_finding(name, "starts with a byte order mark", 1, 1, "It is left out.", "files"))
    ends = text.count("\r\n")
    if ends:
        lines = text.count("\n")
        text = text.replace("\r\n", "\n")
        found.append(_file_finding(name, "end in CR LF", ends, lines, "Read as line ends.", "lines"))
    return text, found


def _file_finding(name: str, what: str, count: int, total: int, then: str, unit: str) -> Finding:
    return Finding("FIX", name, what, count, total, (), "", then, unit)


def _refuse_doubled(columns: list[str], name: str) -> None:
    for place, column in enumerate(columns):
        first = columns.index(column)
        if column and first < place:
            raise ArtifactError(
                f"{name}: two columns are called {show(column)} (columns {first + 1} and {place + 1}). Rename one."
            )


# ----------------------------------------------------------------------------------------------------- csv


def _csv(text: str, path: Path, name: str) -> tuple[pd.DataFrame, list[Finding]]:
    head, found = text.partition("\n")[0], []
    delimiter = max(DELIMITERS, key=head.count)
    if delimiter != ",":
        found.append(_file_finding(name, f"is separated by {delimiter!r}", 1, 1, "Read so.", "files"))
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    _refuse_doubled(header, name)
    ragged: list = []
    data = text.encode()
    try:
        table = pyarrow.csv.read_csv(
            pa.py_buffer(data),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=min(len(data) + 1, 1 << 30)),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                invalid_row_handler=lambda row: ragged.append(row) or "skip",
            ),
            pyarrow.csv.ConvertOptions(column_types={column: pa.string() for column in header}),
        )
    except pa.ArrowInvalid as problem:
        raise ArtifactError(f"{name}: {show(path.name)} cannot be read as csv ({problem}). Save it again.") from None
    if ragged:
        rows = tuple(row.number - 1 for row in ragged[:MAX_ROWS])
        names, first = ", ".join(map(show, header)), f"{ragged[0].actual_columns} cells, {show(ragged[0].text)}"
        what = f"have another number of cells than the {len(header)} columns {names}"
        then = f"Put texts that hold {delimiter!r} or a line end into double quotes."
        finding = Finding("STOP", name, what, len(ragged), len(table) + len(ragged), rows, first, then)
        raise ArtifactError(finding.message)
    return table.to_pandas(), found


# --------------------------------------------------------------------------------------------------- jsonl


def _jsonl(text: str, name: str, max_drop_rate: float) -> tuple[pd.DataFrame, list[Finding]]:
    """A JSON object a line; a Python dict a line (Amazon 2014) is read as well; other lines are dropped."""
    if text.lstrip()[:1] == "[":
        raise ArtifactError(
            f"{name}: the file is one JSON array. Write one object a line (pandas: orient='records', lines=True)."
        )
    rows, bad, literal, total = [], [], [], 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        total += 1
        row = _object(line, json_object)
        if row is None and (row := _object(line, python_literal)) is not None:
            literal.append(number)
        if row is None:
            bad.append((number, line))
            continue
        rows.append({str(key): as_text(value) for key, value in row.items()})
    found = []
    if literal:
        marks = tuple(literal[:MAX_ROWS])
        what = "are Python dicts, not JSON"
        found = [Finding("FIX", name, what, len(literal), total, marks, "{...}", "Read as such.", "lines")]
    if bad:
        marks, first = tuple(number for number, _ in bad[:MAX_ROWS]), show(bad[0][1])
        then = "Write one JSON object a line."
        dropped = Finding("DROP", name, "are no JSON object", len(bad), total, marks, first, then, "lines")
        stop_if_many(dropped, max_drop_rate)
        found.append(dropped)
    return pd.DataFrame(rows).fillna("").astype("str"), found


def json_object(line: str) -> object:
    """JSON with its numbers left as they are written, and NaN as nothing."""
    return json.loads(line, parse_int=str, parse_float=str, parse_constant=lambda word: None)


def python_literal(line: str) -> object:
    """A Python literal, without the compiler's advice about the backslashes of somebody's text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.literal_eval(line)


def _object(line: str, parse: Callable[[str], object]) -> dict | None:
    """The line as a dict, or None: too long, too deep, no dict, or text that is no Unicode (a lone surrogate)."""
    if len(line) > MAX_LINE:
        return None
    try:
        row = parse(line)
        if "\\" in line:
            json.dumps(row, ensure_ascii=False, default=str).encode()
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return row if isinstance(row, dict) else None


def as_text(value: object) -> str:
    """A JSON value as a cell: nothing is "", a list is its elements (of a list of lists: of the first)."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        inner = value[0] if value and isinstance(value[0], list | tuple) else value
        return _LEVEL.join(as_text(part) for part in inner)
    return json.dumps(value) if isinstance(value, dict) else str(value)


# ------------------------------------------------------------------------------------------------- parquet


def _parquet(data: bytes, path: Path, name: str) -> pd.DataFrame:
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(data))
    except (pa.ArrowInvalid, OSError):
        raise ArtifactError(f"{name}: {show(path.name)} is no parquet file, or part of one. Write it again.") from None
    _refuse_doubled(table.column_names, name)
    columns = {}
    for key in table.column_names:
        try:
            columns[key] = _parquet_column(table[key])
        except pa.ArrowException as problem:
            kind = str(table[key].type)
            raise ArtifactError(
                f"{name}: the column {show(key)} of {show(path.name)} has cells that are no text ({kind}; "
                f"{str(problem).splitlines()[0][:80]}). Write it as text, or leave it out."
            ) from None
    return pd.DataFrame(columns).astype("str")


def _parquet_column(column: pa.ChunkedArray) -> list | pd.Series:
    kind = column.type
    if pa.types.is_floating(kind):  # Arrow writes 12.0 as "12": an id that was made a number must be seen as one
        return ["" if value is None or value != value else repr(value) for value in column.to_pylist()]
    if pa.types.is_nested(kind):
        return [as_text(value) for value in column.to_pylist()]
    return column.cast(pa.string()).fill_null("").to_pandas()
