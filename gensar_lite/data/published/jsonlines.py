"""One JSON object per line, read at the speed of the disk where the lines are clean.

In: a packed file of lines, among them the Python dictionaries of Amazon 2014. Out: a table of a few
columns, or whole records. A line that is neither is dropped and counted. It knows no field.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from gensar_lite.data.published.packed import BLOCK, Tally, open_packed
from gensar_lite.data.text import MAX_LINE, parse_record

_TYPES = {str: pa.string(), int: pa.int64()}


def blocks(path: Path) -> Iterator[bytes]:
    """The file as pieces of whole lines, about `BLOCK` bytes each, every line with its end. Of one
    longer than a block only `MAX_LINE` bytes are passed on, so that it is found broken."""
    rest = b""  # the start of a line whose end has not come
    is_cut = False  # whether that line is too long already: what follows of it is thrown away
    with open_packed(path) as stream:
        while piece := stream.read(BLOCK):
            end = piece.rfind(b"\n") + 1
            if end:
                yield rest + piece[piece.find(b"\n") if is_cut else 0 : end]
                rest = piece[end:]
                is_cut = False
            elif not is_cut:
                rest = (rest + piece)[: MAX_LINE + 1]
                is_cut = len(rest) > MAX_LINE
    if rest:
        yield rest + b"\n"


def _ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """`pieces`, the next one unpacked by a second thread while this one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = pool.submit(next, pieces, None)
            yield piece


def read_columns(path: Path, columns: dict[str, type]) -> tuple[pd.DataFrame, Tally]:
    """A table of `columns` (name -> ``str`` or ``int``) from a packed file of records, in order. A
    line is dropped if it is no record, or a column is missing, empty or of another type. Raises
    `ArtifactError` if that happens to more than 1 % of the lines."""
    tally = Tally(path.name)
    schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])
    parts = []
    for block in _ahead(blocks(path)):
        table = _clean_block(block, schema)
        if table is None:  # a line of another form, somewhere in this block
            table = pa.Table.from_pylist(list(_rows(block, columns, tally)), schema=schema)
        else:
            tally.read += table.num_rows
        parts.append(table)
    tally.check(f"record with {', '.join(columns)}")
    return pa.concat_tables(parts).to_pandas(), tally


def read_records(path: Path, wanted: Callable[[bytes], bool], tally: Tally) -> Iterator[dict]:
    """The records whose line is `wanted` (asked before the line is parsed), in the file's order."""
    for block in _ahead(blocks(path)):
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
    try:
        return parse_record(line.decode("utf-8-sig"))[0]
    except UnicodeDecodeError:
        return None


def _clean_block(block: bytes, schema: pa.Schema) -> pa.Table | None:
    """A block parsed by pyarrow at once; None where a line needs a look of its own."""
    try:
        table = pa.json.read_json(
            pa.BufferReader(block),
            pa.json.ReadOptions(block_size=MAX_LINE),
            pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        ).select(schema.names)
        table.validate(full=True)  # text that is not UTF-8
    except pa.ArrowException:
        return None
    if table.num_rows != block.count(b"\n") or any(c.null_count for c in table.columns):
        return None
    texts = [column for column in table.columns if column.type == pa.string()]
    shortest = (pc.min(pc.binary_length(column)).as_py() for column in texts)
    return table if all(shortest) else None


def _rows(block: bytes, columns: dict[str, type], tally: Tally) -> Iterator[dict]:
    for line in filter(bytes.strip, block.splitlines()):
        tally.read += 1
        record = parse_line(line) or {}
        row = {name: _value(record.get(name), kind) for name, kind in columns.items()}
        if None in row.values():
            tally.drop(line)
        else:
            yield row


def _value(value: object, kind: type) -> object:
    """`value` if it is of the kind and can be stored, else None."""
    try:
        if kind is int and type(value) in (int, float) and abs(value) < 2**63:
            return int(value) if value == int(value) else None
        if kind is str and isinstance(value, str) and value:
            value.encode()
            return value
    except (ValueError, UnicodeEncodeError):  # no number; half of a surrogate pair
        pass
    return None
