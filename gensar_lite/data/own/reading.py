"""From a user's file to a table of text: cells between separators, JSON, or parquet.

In: a path, how to read it, and which columns are wanted. Out: a `ReadTable`. An id that looks like
a number stays text ("00123"), and "NA" is two letters. It does not know what the columns mean.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from gensar_lite.config import DataConfig
from gensar_lite.data.own.filetext import OwnFile, check_encoding, decode, read_bytes
from gensar_lite.data.own.separated import check_separator, read_separated
from gensar_lite.data.own.typed import read_json, read_parquet, read_parts
from gensar_lite.data.report import Checks, Finding

_READERS = {
    read_separated: (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".inter", ".item"),
    read_json: (".jsonl", ".ndjson", ".json"),
    read_parquet: (".parquet",),
}
KINDS = {suffix: reader for reader, suffixes in _READERS.items() for suffix in suffixes}
USUAL = DataConfig()


class ReadTable(NamedTuple):
    """A file as text."""

    table: pd.DataFrame  # the wanted columns, every cell text, rows numbered from 1
    columns: list[str]  # the names of all columns of the file
    findings: list[Finding]


def read_table(
    path: Path,
    name: str,
    settings: DataConfig = USUAL,
    wanted: Callable[[str], bool] = lambda column: True,
) -> ReadTable:
    """The file, or folder of parquet files, of the table `name`; of its columns the `wanted` ones.
    Raises `ConfigError` and `ArtifactError` with the place and the next step."""
    separator, encoding = check_separator(settings.separator), check_encoding(settings.encoding)
    checks = Checks(name, settings.max_drop_rate)
    file = OwnFile(path, checks, wanted, settings.header, separator, encoding)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    reader = KINDS.get(suffixes[-1] if suffixes else "")
    if path.is_dir():
        names, columns, rows = read_parts(file)
    elif reader is None:
        kinds = ", ".join(KINDS)
        raise file.error(f"{file.label} is none of {kinds} (or .gz of one). Rename or convert it.")
    else:
        data = read_bytes(file)
        names, columns, rows = reader(data if reader is read_parquet else decode(data, file), file)
    if not rows:
        raise file.error(f"{file.label} has no rows. Check what wrote it.")
    table = pd.DataFrame(columns, index=range(rows), dtype="str")
    table.index = range(1, rows + 1)
    return ReadTable(table, names, checks.findings)
