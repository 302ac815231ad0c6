"""JSON (an object per line, or one array of objects) and parquet as columns of text.

In: text or bytes, and their `OwnFile`. Out: `TextColumns`; what was dropped goes to the file's
`Checks`. Values of unwanted keys are not kept. A number that was an id must be seen as one: 12.0
stays "12.0". This file does not know what a column means.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.own.columns import refuse_doubled
from gensar_lite.data.own.filetext import OwnFile, TextColumns, read_bytes
from gensar_lite.data.report import show, some
from gensar_lite.data.text import BROKEN, MAX_LINE, parse_record

_LEVEL = " > "  # between the elements of a list, as between the levels of a category
_SPACE = re.compile(r"[ \t\n\r]*")
_ARRAY = re.compile(r"\s*\[\s*[{\]]")  # of objects; a line [1, 2] is a line that is no object
# numbers stay as they are written, and NaN is nothing
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda word: None)

# place from 1, text, its object (None: unusable), whether it is written as a Python dictionary
Parsed = tuple[int, str, dict | None, bool]


def read_json(text: str, file: OwnFile) -> TextColumns:
    """All keys in the order of their first sight, and the wanted columns. What is no object is
    dropped. Raises `ArtifactError` when that is too much, or an array breaks off."""
    if _ARRAY.match(text):
        objects = _usable(_elements(text, file), file, "elements", "Write objects only.")
    else:
        lines = (  # parsed one by one, when they are asked for
            (number, line, *parse_record(line, _DECODER.decode))
            for number, line in enumerate(text.split("\n"), start=1)
            if line and not line.isspace()
        )
        objects = _usable(lines, file, "lines", "Write one JSON object per line.")
    return _columns(objects, file.wanted)


def _columns(objects: Iterable[dict], wanted: Callable[[str], bool]) -> TextColumns:
    """One object after the other, so that few are in memory."""
    is_wanted: dict[str, bool] = {}  # of every key
    columns: dict[str, list[str]] = {}
    rows = 0
    for row in objects:
        for key, value in row.items():
            key = str(key)
            if key not in is_wanted:
                is_wanted[key] = wanted(key)
            if is_wanted[key]:
                cells = columns.setdefault(key, [])
                cells += [""] * (rows - len(cells))  # the objects before, without this key
                cells[rows:] = [as_text(value)]  # 1 and "1" are one key: the last one counts
        rows += 1
    for cells in columns.values():
        cells += [""] * (rows - len(cells))
    return list(is_wanted), columns, rows


def _usable(parsed: Iterable[Parsed], file: OwnFile, unit: str, then: str) -> Iterator[dict]:
    """The objects among what was parsed; at its end, findings about the rest."""
    bad: list[tuple[int, str]] = []
    in_python: list[int] = []
    total = 0
    for place, source, row, is_python in parsed:
        total += 1
        # a lone surrogate, which only an escape can write, is text that no file can hold
        if row is None or ("\\" in source and not _is_unicode(row)):
            bad.append((place, source))
            continue
        if is_python:
            in_python.append(place)
        yield row
    if in_python:
        file.checks.note("python", len(in_python), total, unit, in_python, "{...}")
    if bad:
        places, sources = zip(*bad, strict=True)
        file.checks.note("no-object", len(bad), total, unit, places, show(sources[0]), then=then)
        file.checks.stop_if_many()


def _elements(text: str, file: OwnFile) -> Iterator[Parsed]:
    """The elements of an array. Raises `ArtifactError` where it breaks off."""
    # `place` stands before an element or the closing bracket, never before space
    place = _SPACE.match(text, text.index("[") + 1).end()
    number = 0
    ended = text[place : place + 1] == "]"
    while not ended:
        try:
            element, end = _DECODER.raw_decode(text, place)
        except BROKEN:
            raise _broken(text, place, number, file) from None
        number += 1
        source = text[place:end]
        is_usable = isinstance(element, dict) and len(source) <= MAX_LINE
        yield number, source, element if is_usable else None, False
        place = _SPACE.match(text, end).end()
        ended = text[place : place + 1] == "]"
        if not ended:
            if text[place : place + 1] != ",":
                raise _broken(text, place, number, file)
            place = _SPACE.match(text, place + 1).end()
    place = _SPACE.match(text, place + 1).end()
    if place < len(text):
        raise _broken(text, place, number, file)


def _broken(text: str, place: int, number: int, file: OwnFile) -> ArtifactError:
    line = text.count("\n", 0, place) + 1  # where in the file somebody has to look
    rest = text[place : place + 60]
    where = f"line {line:,} " + (f"reads {show(rest)}" if rest else "ends")
    return file.error(
        f"the JSON array of {file.label} breaks off after {number:,} elements ({where}). Write or "
        "fetch it again; one object per line (.jsonl) loses no more than the damaged ones."
    )


def _is_unicode(row: dict) -> bool:
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode()
    except BROKEN:
        return False
    return True


def as_text(value: object) -> str:
    """A JSON value as a cell: nothing is "", a list is its elements (of lists: of the first)."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        inner = value[0] if value and isinstance(value[0], list | tuple) else value
        return _LEVEL.join(map(as_text, inner))
    return json.dumps(value) if isinstance(value, dict) else str(value)


# ------------------------------------------------------------------------------------ parquet


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
    tables = []
    rows = 0
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
    """The parquet files of a folder by their names, in which part 2 comes before part 10. Raises
    `ArtifactError` for none, and where folders inside hold parts too: more rows, or a copy?"""

    def place(path: Path) -> list[tuple[int, str]]:
        pieces = re.split(r"(\d+)", path.name)
        return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]

    paths = sorted(file.path.rglob("*.parquet"), key=place)
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
    """All digits of a double, also the zero of 12.0, which Arrow leaves out, and no exponent, which
    would look like a number that a spreadsheet rounded."""
    if value is None or value != value:
        return ""
    text = repr(value)
    return np.format_float_positional(value, trim="0") if "e" in text else text
