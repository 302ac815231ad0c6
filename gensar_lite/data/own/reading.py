"""From a file of somebody's to a table of text: cells between separators, JSON, or parquet.

In: a path, how to read it, and which columns are wanted. Out: a frame in which every cell is text, indexed by row
number from 1, the names of all columns, and what was found on the way. An id that looks like a number stays text
("00123"), and "NA" is two letters. This file does not know what the columns mean.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.own.columns import refuse_doubled
from gensar_lite.data.own.filetext import check_encoding, decode, file_name, read_bytes
from gensar_lite.data.own.jsontables import read_json
from gensar_lite.data.own.parquettables import read_parquet, read_parts
from gensar_lite.data.own.separated import check_separator, read_separated
from gensar_lite.data.report import Finding

_SEPARATED = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".inter", ".item")
_JSON = (".jsonl", ".ndjson", ".json")
KINDS = (
    dict.fromkeys(_SEPARATED, "separated") | dict.fromkeys(_JSON, "json") | {".parquet": "parquet"}
)


class Options(NamedTuple):
    """How files are read, as the settings say it."""

    header: bool = True  # the first row of separated cells names the columns
    separator: str = ""  # between cells; "": guessed
    encoding: str = ""  # "": UTF-8
    max_drop_rate: float = 0.01  # share of damaged lines that may be dropped


USUAL = Options()


class ReadTable(NamedTuple):
    """A file as text."""

    table: pd.DataFrame  # the wanted columns, every cell text, rows numbered from 1
    columns: list[str]  # the names of all columns of the file
    findings: list[Finding]


def options_of(settings: DataConfig) -> Options:
    """Raises `ConfigError` for an unknown encoding or a separator that cannot be one."""
    separator, encoding = check_separator(settings.separator), check_encoding(settings.encoding)
    return Options(settings.header, separator, encoding, settings.max_drop_rate)


def read_table(
    path: Path, name: str, options: Options = USUAL, wanted: Callable[[str], bool] | None = None
) -> ReadTable:
    """The file, or folder of parquet files, as text columns; of the columns only those that are `wanted` (all).

    Raises `ArtifactError` for what no table can be read from, with the place and the next step.
    """
    wanted = wanted or (lambda column: True)
    if path.is_dir():
        names, columns, rows, found = read_parts(path, name, wanted)
    else:
        names, columns, rows, found = _read_file(path, name, options, wanted)
    if not rows:
        raise ArtifactError(f"{name}: {file_name(path)} has no rows. Check what wrote it.")
    refuse_doubled(names, name)
    table = pd.DataFrame(columns, index=range(rows), dtype="str")
    table.index = range(1, rows + 1)
    return ReadTable(table, names, found)


def _read_file(path: Path, name: str, options: Options, wanted: Callable[[str], bool]) -> tuple:
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    kind = KINDS.get(suffixes[-1] if suffixes else "")
    if kind is None:
        raise ArtifactError(
            f"{name}: {file_name(path)} is none of {', '.join(KINDS)} (or .gz of one). Rename or convert it."
        )
    data = read_bytes(path, name)
    if kind == "parquet":
        return read_parquet(data, path, name, wanted)
    text, found = decode(data, path, name, options.encoding)
    if kind == "json":
        names, columns, rows, more = read_json(text, path, name, options.max_drop_rate, wanted)
    else:
        names, columns, rows, more = read_separated(
            text, path, name, options.header, options.separator, wanted
        )
    return names, columns, rows, found + more
