"""Parquet, a file or a folder of part files, as columns of text.

In: bytes or a folder, and which columns are wanted. Out: the names of all columns, the wanted ones as text, the
number of rows. A number that was an id must be seen as one: 12.0 stays "12.0". This file does not know what a
column means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.own.columns import refuse_doubled
from gensar_lite.data.own.filetext import file_name, read_bytes
from gensar_lite.data.own.jsontables import as_text
from gensar_lite.data.report import Finding, show, some

Columns = dict[str, pd.Series]


def read_parquet(
    data: bytes, path: Path, name: str, wanted: Callable[[str], bool]
) -> tuple[list[str], Columns, int, list[Finding]]:
    """Names of all columns, the wanted ones as text, rows, no findings."""
    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(data))
        names = file.schema_arrow.names
        refuse_doubled(names, name)
        table = file.read(columns=[column for column in names if wanted(column)])
    except (pa.ArrowException, OSError):
        raise ArtifactError(
            f"{name}: {file_name(path)} is no parquet file, or part of one. Write it again."
        ) from None
    columns = {key: _column(table[key], key, path, name) for key in table.column_names}
    return names, columns, file.metadata.num_rows, []


def part_files(folder: Path) -> list[Path]:
    """The parquet files of a folder in the order of their names, in which part 2 comes before part 10."""
    parts = (p for p in folder.glob("*.parquet") if p.is_file() and p.name[0] not in "._")
    return sorted(parts, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [
        (int(piece), "") if piece.isdecimal() else (-1, piece)
        for piece in re.split(r"(\d+)", path.name)
    ]


def read_parts(
    folder: Path, name: str, wanted: Callable[[str], bool]
) -> tuple[list[str], Columns, int, list[Finding]]:
    """The part files of a folder as one table. They must have the same columns."""
    parts = part_files(folder)
    if not parts:
        raise ArtifactError(
            f"{name}: the folder {file_name(folder)} holds no .parquet files. Name a file, or a folder whose own files "
            "are the parts (folders inside it are not read)."
        )
    _refuse_inner_parts(folder, parts, name)
    first, pieces, rows = [], [], 0
    for part in parts:
        names, columns, count, _ = read_parquet(read_bytes(part, name), part, name, wanted)
        first = first or names
        if set(names) != set(first):
            odd = sorted(set(names) ^ set(first))
            raise ArtifactError(
                f"{name}: {file_name(part)} has other columns than {file_name(parts[0])} ({some(odd)}). "
                "Write the parts of a folder with the same columns."
            )
        pieces.append(columns)
        rows += count
    joined = {
        key: pd.concat([piece[key] for piece in pieces], ignore_index=True) for key in pieces[0]
    }
    return first, joined, rows, []


def _refuse_inner_parts(folder: Path, parts: list[Path], name: str) -> None:
    """Raises `ArtifactError` where folders inside hold parts too: are they more rows, or a copy?"""
    paths = (path.relative_to(folder) for path in folder.rglob("*.parquet"))
    inner = (p for p in paths if len(p.parts) > 1 and not any(part[0] in "._" for part in p.parts))
    if one := next(inner, None):
        raise ArtifactError(
            f"{name}: the folder {file_name(folder)} holds the part {file_name(parts[0])}, and a folder inside it "
            f"holds {one.as_posix()!r}, which would not be read. Put all parts into one folder, or move others out."
        )


def _plain(value: float) -> str:
    """All digits of a double: an exponent would look like a number that a spreadsheet rounded."""
    text = repr(value)
    return np.format_float_positional(value, trim="0") if "e" in text else text


def _column(column: pa.ChunkedArray, key: str, path: Path, name: str) -> pd.Series:
    try:
        return pd.Series(_cells(column), dtype="str")
    except pa.ArrowException as problem:
        reason = str(problem).splitlines()[0][:80]
        raise ArtifactError(
            f"{name}: the column {show(key)} of {file_name(path)} has cells that are no text ({column.type}; "
            f"{reason}). Write it as text, or leave it out."
        ) from None


def _cells(column: pa.ChunkedArray) -> list | pd.Series:
    kind = column.type
    if pa.types.is_floating(kind):  # Arrow writes 12.0 as "12"
        return [
            "" if value is None or value != value else _plain(value) for value in column.to_pylist()
        ]
    if pa.types.is_nested(kind):
        return [as_text(value) for value in column.to_pylist()]
    return column.cast(pa.string()).fill_null("").to_pandas()
