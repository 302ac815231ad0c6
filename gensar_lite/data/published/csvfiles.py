"""Published csv files, read as a stream: a few columns, whole rows only.

In: a packed csv file with a header, and the columns' kinds. Out: a table. A row with too many or
too few fields, or a field of another kind, is dropped and counted. This file does not know what a
column means.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.published.packed import Tally, open_packed

BLOCK = 8 * 2**20
_HEADER = 2**16  # bytes in which the header must end
_PATTERN = {int: r"^-?[0-9]{1,18}$", float: r"^-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$"}
_TYPES = {int: pa.int64(), float: pa.float64()}


def read_csv(
    path: Path,
    columns: dict[str, type],
    member: str,
    keep: Callable[[pa.Table], pa.Array] | None = None,
) -> tuple[pd.DataFrame, Tally]:
    """`columns` (name -> ``str``, ``int`` or ``float``) of a csv file in a zip, in its order.

    `keep` answers, block by block, which rows to hold (a boolean array). Raises `ArtifactError` on
    a missing column, with the nearest name there is, and when more than 1 % of the rows are
    unusable.
    """
    tally = Tally(f"{path.name}/{member}")
    _check_header(path, member, columns, tally.name)

    def ragged(row: pa.csv.InvalidRow) -> str:
        tally.read += 1
        tally.drop(row.text or "")
        return "skip"

    parts = []
    with open_packed(path, member) as stream:
        try:
            reader = pa.csv.open_csv(
                pa.PythonFile(stream, "r"),
                read_options=pa.csv.ReadOptions(block_size=BLOCK),
                parse_options=pa.csv.ParseOptions(invalid_row_handler=ragged),
                # text first: a column typed at once would fail as a whole on its first odd field
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, pa.string()), include_columns=list(columns)
                ),
            )
            for batch in reader:
                table = _typed(pa.Table.from_batches([batch]), columns, tally)
                parts.append(table.filter(keep(table)) if keep else table)
        except pa.ArrowException as problem:
            raise ArtifactError(
                f"{tally.name}: no csv ({problem}). Delete {path} and fetch it again."
            ) from None
    tally.check(f"row with {', '.join(columns)}")
    return pa.concat_tables(parts).to_pandas(), tally


def _check_header(path: Path, member: str, columns: dict[str, type], name: str) -> None:
    with open_packed(path, member) as stream:
        first = stream.read(_HEADER).split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip()
    names = next(csv.reader([first]), [])
    for column in columns:
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f"The nearest is {near[0]!r}. " if near else ""
            raise ArtifactError(
                f"{name}: no column {column!r} in its first line, {first[:200]!r}. {hint}"
                f"Another edition? Delete {path} and fetch it again."
            )


def _typed(table: pa.Table, columns: dict[str, type], tally: Tally) -> pa.Table:
    """Numbers as numbers; rows with a number that is none are dropped and counted."""
    tally.read += table.num_rows
    for place, (name, kind) in enumerate(columns.items()):
        if kind is not str:
            fine = pc.match_substring_regex(table[name], _PATTERN[kind])
            for odd in table[name].filter(pc.invert(fine)).to_pylist():
                tally.drop(f"{name} {odd}")
            table = table.filter(fine)
            table = table.set_column(place, name, table[name].cast(_TYPES[kind]))
    return table
