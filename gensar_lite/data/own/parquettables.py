"""Parquet, a file or a folder of part files, as columns of text.

In: bytes or a folder, and which columns are wanted. Out: the names of all columns, the wanted ones
as text, the number of rows. A number that was an id must be seen as one: 12.0 stays "12.0". This
file does not know what a column means.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from gensar_lite.data.own.columns import refuse_doubled
from gensar_lite.data.own.filetext import OwnFile, TextColumns, read_bytes
from gensar_lite.data.own.jsontables import as_text
from gensar_lite.data.report import show, some


def read_parquet(data: bytes, file: OwnFile) -> TextColumns:
    """One file. Raises `ArtifactError` for what is no parquet, or has cells that are no text."""
    try:
        parquet = pyarrow.parquet.ParquetFile(pa.BufferReader(data))
        names = parquet.schema_arrow.names
        refuse_doubled(names, file.checks.name)
        table = parquet.read(columns=list(filter(file.wanted, names)))
    except (pa.ArrowException, OSError):
        problem = f"{file.label} is no parquet file, or part of one. Write it again."
        raise file.error(problem) from None
    columns = {key: _cells(table[key], key, file) for key in table.column_names}
    return names, columns, parquet.metadata.num_rows


def read_parts(file: OwnFile) -> TextColumns:
    """The part files of a folder as one table. They must have the same columns."""
    parts = _part_files(file)
    names: list[str] = []
    tables, rows = [], 0
    for part in parts:
        its_file = file._replace(path=part)
        its_names, columns, count = read_parquet(read_bytes(its_file), its_file)
        names = names or its_names
        if odd := sorted(set(its_names) ^ set(names)):
            first = repr(parts[0].name)
            raise file.error(
                f"{its_file.label} has other columns than {first} ({some(odd)}). "
                "Write the parts of a folder with the same columns."
            )
        tables.append(pd.DataFrame(columns, index=range(count), dtype="str"))
        rows += count
    return names, dict(pd.concat(tables, ignore_index=True).items()), rows


def _part_files(file: OwnFile) -> list[Path]:
    """The parquet files of a folder by their names, in which part 2 comes before part 10.

    Raises `ArtifactError` for none, and where folders inside hold parts too: more rows, or a copy?
    """
    paths = sorted(file.path.rglob("*.parquet"), key=lambda path: _natural(path.name))
    names = {path: path.relative_to(file.path).parts for path in paths if path.is_file()}
    names = {path: parts for path, parts in names.items() if not any(p[0] in "._" for p in parts)}
    direct = [path for path, parts in names.items() if len(parts) == 1]
    if not direct:
        raise file.error(
            f"the folder {file.label} holds no .parquet files. Name a file, or a folder whose own "
            "files are the parts (folders inside it are not read)."
        )
    if inner := next(("/".join(parts) for parts in names.values() if len(parts) > 1), None):
        raise file.error(
            f"the folder {file.label} holds the part {direct[0].name!r}, and a folder inside it "
            f"holds {inner!r}, which would not be read. Put all parts into one folder, or move "
            "others out."
        )
    return direct


def _natural(name: str) -> list[tuple[int, str]]:
    """A key for sorting: numbers in a name count as numbers, before letters."""
    pieces = re.split(r"(\d+)", name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def _cells(column: pa.ChunkedArray, key: str, file: OwnFile) -> pd.Series:
    """A column as text, "" for nothing."""
    kind = column.type
    try:
        if pa.types.is_floating(kind):
            cells = list(map(_digits, column.to_pylist()))
        elif pa.types.is_nested(kind):
            cells = list(map(as_text, column.to_pylist()))
        else:
            cells = column.cast(pa.string()).fill_null("").to_pandas()
        return pd.Series(cells, dtype="str")
    except pa.ArrowException as problem:
        reason = str(problem).splitlines()[0][:80]
        raise file.error(
            f"the column {show(key)} of {file.label} has cells that are no text ({kind}; {reason})."
            " Write it as text, or leave it out."
        ) from None


def _digits(value: float | None) -> str:
    """All digits of a double, also the zero of 12.0, which Arrow leaves out.

    An exponent would look like a number that a spreadsheet rounded.
    """
    if value is None or value != value:
        return ""
    text = repr(value)
    return np.format_float_positional(value, trim="0") if "e" in text else text
