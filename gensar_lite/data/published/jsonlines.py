"""One JSON object a line, read at the speed of the disk where the lines are clean, and line by line where not.

In: a packed file of lines, among them the Python dictionaries of Amazon 2014. Out: a table of a few columns, or
whole records. A line that is neither is dropped and counted. This file does not know what a field means.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from gensar_lite.data.published.packed import Tally, open_packed

BLOCK = 8 * 2**20
MAX_LINE = 2**20  # a longer line is damage, or an attack
_TYPES = {str: pa.string(), int: pa.int64()}


def blocks(path: Path, member: str | None = None) -> Iterator[bytes]:
    """The file as pieces of whole lines, about `BLOCK` bytes each, every line with its end.

    Of a line that is longer than a block only the first `MAX_LINE` bytes are passed on, so that it is found broken.
    """
    rest, cut = (
        b"",
        False,
    )  # the start of a line whose end has not come; whether it is too long already
    with open_packed(path, member) as stream:
        while piece := stream.read(BLOCK):
            end = piece.rfind(b"\n") + 1
            if end:
                first = (
                    piece.find(b"\n") if cut else 0
                )  # what follows a cut line's start is thrown away
                yield rest + piece[first:end]
                rest, cut = piece[end:], False
            elif not cut:
                rest = (rest + piece)[: MAX_LINE + 1]
                cut = len(rest) > MAX_LINE
    if rest:
        yield rest + b"\n"


def ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """`pieces`, the next one unpacked by a second thread while this one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = pool.submit(next, pieces, None)
            yield piece


def read_columns(
    path: Path, columns: dict[str, type], member: str | None = None
) -> tuple[pd.DataFrame, Tally]:
    """A table of `columns` (name -> ``str`` or ``int``) from a packed file of records, in the file's order.

    A line is dropped and counted if it is no record, or a column is missing, empty or of another type. Raises
    `ArtifactError` if that happens to more than 1 % of the lines.
    """
    tally = Tally(path.name)
    parts = [_parse_block(block, columns, tally) for block in ahead(blocks(path, member))]
    tally.check(f"record with {', '.join(columns)}")
    return pa.concat_tables(parts).to_pandas(), tally


def read_records(path: Path, wanted: Callable[[bytes], bool], tally: Tally) -> Iterator[dict]:
    """The records whose line is `wanted` (asked before the line is parsed), in the file's order."""
    for block in ahead(blocks(path)):
        for line in block.splitlines():
            tally.read += bool(line.strip())
            if line.strip() and wanted(line):
                record = parse_line(line)
                if record is None:
                    tally.drop(line)
                else:
                    yield record


def parse_line(line: bytes) -> dict | None:
    """A line as a record: JSON, else a Python dictionary of plain values, else None."""
    if len(line) > MAX_LINE:
        return None
    try:
        text = line.decode("utf-8-sig")
        try:
            record = json.loads(text)
        except ValueError:
            record = ast.literal_eval(text.strip())
    except (
        ValueError,
        SyntaxError,
        TypeError,
        RecursionError,
        MemoryError,
    ):  # MemoryError: nested too deeply
        return None
    return record if isinstance(record, dict) else None


def _parse_block(block: bytes, columns: dict[str, type], tally: Tally) -> pa.Table:
    schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])
    try:
        table = pa.json.read_json(
            pa.BufferReader(block),
            read_options=pa.json.ReadOptions(block_size=MAX_LINE),
            parse_options=pa.json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        ).select(list(columns))
        table.validate(full=True)  # text that is not UTF-8
        usable = table.num_rows == block.count(b"\n") and not any(
            column.null_count for column in table.columns
        )
        if usable and not any(
            _has_empty(table[name]) for name, kind in columns.items() if kind is str
        ):
            tally.read += table.num_rows
            return table
    except pa.ArrowException:  # a line of another form, somewhere in this block
        pass
    return pa.Table.from_pylist(list(_slow_rows(block, columns, tally)), schema=schema)


def _has_empty(column: pa.ChunkedArray) -> bool:
    return pc.min(pc.binary_length(column)).as_py() == 0


def _slow_rows(block: bytes, columns: dict[str, type], tally: Tally) -> Iterator[dict]:
    for line in block.splitlines():
        if not line.strip():
            continue
        tally.read += 1
        record = parse_line(line) or {}
        row = {name: _value(record.get(name), kind) for name, kind in columns.items()}
        if None in row.values():
            tally.drop(line)
        else:
            yield row


def _value(value: object, kind: type) -> object:
    """`value` if it is of the kind and can be stored, else None."""
    if kind is int:
        whole = (
            type(value) in (int, float)
            and value == value
            and abs(value) < 2**63
            and value == int(value)
        )
        return int(value) if whole else None
    if not isinstance(value, str) or not value:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    return value
