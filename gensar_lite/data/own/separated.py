"""Cells between separators (csv, tsv, MovieLens' ``::``, RecBole's files) as columns of text.

In: text, what the settings say about header and separator, which columns are wanted. Out: the names of all columns,
the wanted ones as text, and what was found on the way. Which reading of its quotes a text has is decided in
quoting.py. This file does not know what a column means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError
from gensar_lite.data.own.columns import is_header, refuse_doubled
from gensar_lite.data.own.filetext import file_finding, file_name
from gensar_lite.data.own.quoting import (
    ESCAPE,
    QUOTE,
    Choice,
    Record,
    choose_reading,
    is_blank,
    line_cells,
    records,
)
from gensar_lite.data.report import MAX_ROWS, Finding, show, some

SEPARATORS = (",", "\t", "::", ";", "|")  # the likelier first
_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_SAMPLE = 20  # lines that a separator is guessed from
_LEVEL = {
    ",": "WARN",
    ";": "WARN",
}  # where a quote that is not closed is rather a fault than a character


def check_separator(text: str) -> str:
    """The separator that a setting means (``tab`` is one); "" stays "". Raises `ConfigError` for what is none."""
    separator = _WORDS.get(text.lower(), text)
    if re.search(r'["\\\n\r]|\w', separator):
        raise ConfigError(
            f"data.separator: {show(text)} separates no cells. Say a sign or several (, ; | ::), or one of "
            f"{', '.join(word for word in _WORDS if word.isalpha())}."
        )
    return separator


def guess_separator(lines: list[str]) -> str:
    """The separator that all of the first lines have equally often, else the first line's most frequent one.

    What stands between quotes counts for nothing. A single column has none: a comma is as good as any.
    """
    bare = [re.sub(r'"[^"]*"', "", line) for line in lines]
    even = [s for s in SEPARATORS if len({line.count(s) for line in bare}) == 1]
    by_count = max(even or SEPARATORS, key=bare[0].count)
    return by_count if by_count in bare[0] else max(SEPARATORS, key=bare[0].count)


def read_separated(
    text: str, path: Path, name: str, header: bool, separator: str, wanted: Callable[[str], bool]
) -> tuple[list[str], dict, int, list[Finding]]:
    """Names of all columns, the wanted ones as text, rows, findings.

    Raises `ArtifactError` for rows of another number of cells, and for a quote that joins rows.
    """
    head = list(islice((line for line in text.split("\n") if line.strip()), _SAMPLE))
    separator, found = _separator(head, separator, name)
    first = line_cells(head[0], separator, 0)
    names, more = _names(first, header, name)
    refuse_doubled(names, name)
    places = [place for place, column in enumerate(names) if wanted(column)]
    skip = names == first  # the header
    cells, rows, later = _cells(text, path, name, separator, names, places, skip)
    return names, {names[place]: cells[place] for place in places}, rows, found + more + later


def _separator(head: list[str], separator: str, name: str) -> tuple[str, list[Finding]]:
    """The settings speak of all files; one that does not have their separator is looked at by itself."""
    chosen = separator if separator and separator in head[0] else guess_separator(head)
    if chosen == (separator or ","):
        return chosen, []
    return chosen, [file_finding(name, f"is separated by {chosen!r}", "Read so.")]


def _names(first: list[str], header: bool, name: str) -> tuple[list[str], list[Finding]]:
    """The header's names, or ``column_1, ...``. A first row of usual names is a header whatever the settings say."""
    if header:
        return first, []
    if is_header(name, first):
        then = "It is read so, although data.header=false."
        return first, [file_finding(name, "names its columns in the first row", then)]
    return [f"column_{place}" for place in range(1, len(first) + 1)], []


def _cells(
    text: str,
    path: Path,
    name: str,
    separator: str,
    names: list[str],
    places: list[int],
    skip: bool,
) -> tuple[dict, int, list[Finding]]:
    """The cells of the columns at `places`, the number of rows, findings."""
    lines = text.removesuffix("\n").split("\n")
    full = [line for line in lines if not is_blank(line, separator)]
    if (
        QUOTE not in text
        and (split := _split(full[skip:], separator, len(names), places)) is not None
    ):
        return split, len(full) - skip, _blank(name, len(lines) - len(full), len(lines))
    plain = QUOTE not in text and ESCAPE not in text  # rows are ragged, and no quote is to blame
    choice = Choice("") if plain else choose_reading(text, separator, len(names))
    if not choice.reading:
        raise ArtifactError(_refusal(text, path, name, separator, names, skip, choice))
    return _read(text, name, separator, len(names), places, skip, choice.reading)


def _blank(name: str, count: int, total: int) -> list[Finding]:
    return [file_finding(name, "are blank", "Left out.", count, total, "lines")] if count else []


def _split(
    lines: list[str], separator: str, width: int, places: list[int]
) -> dict[int, pd.Series] | None:
    """Lines without quotes, cut at once; None when one has another number of cells."""
    cells = pc.split_pattern(pa.array(lines, pa.large_string()), separator)  # (rows, width)
    if not pc.all(pc.equal(pc.list_value_length(cells), width)).as_py() and lines:
        return None
    flat = cells.flatten()
    return {
        place: flat.take(pa.array(np.arange(place, len(flat), width))).to_pandas()
        for place in places
    }


def _read(
    text: str, name: str, separator: str, width: int, places: list[int], skip: bool, reading: str
) -> tuple[dict[int, list[str]], int, list[Finding]]:
    """Record by record, in the reading that fits."""
    columns: dict[int, list[str]] = {place: [] for place in places}
    rows, covered, literal = 0, 0, []
    for start, end, cells in records(text, separator, width, reading):
        covered += end - start + 1
        rows += 1
        if rows > skip:
            for place in places:
                columns[place].append(cells[place])
            if reading == "lines" and any(cell.startswith(QUOTE) for cell in cells):
                literal.append(rows - skip)
    lines = text.removesuffix("\n").split("\n")
    found = _blank(name, len(lines) - covered, len(lines))
    if reading == "escapes":
        what, count = (
            "hold a backslash that takes the meaning from a sign",
            sum(ESCAPE in line for line in lines),
        )
        found.append(file_finding(name, what, "Read without it.", count, len(lines), "lines"))
    if covered > rows:
        found.append(
            file_finding(
                name, "continue a quoted cell", "Read so.", covered - rows, covered, "lines"
            )
        )
    if literal:
        first = next(
            line for line in lines if re.search(rf"(^|{re.escape(separator)}){QUOTE}", line)
        )
        what, level = "have a quote that is not closed in its line", _LEVEL.get(separator, "FIX")
        marks, then = tuple(literal[:MAX_ROWS]), "The quote is read as a character."
        found.append(
            Finding(level, name, what, len(literal), rows - skip, marks, show(first), then)
        )
    return columns, rows - skip, found


# --------------------------------------------------------------------------------------------------- refusals


def _refusal(
    text: str, path: Path, name: str, separator: str, names: list[str], skip: bool, choice: Choice
) -> str:
    """Why no reading fits: rows of another number of cells, a quote that is not closed, or both."""
    lines = text.split("\n")
    if choice.joined:
        start, end = choice.joined
        return (
            f"{name}: a quote in line {start:,} of {file_name(path)} joins the lines up to {end:,}, and each of them "
            f"looks like a row of its own (line {start:,}: {show(lines[start - 1])}). Double a quote that is part of a "
            'text and put the text into quotes (""), or write the table as .jsonl or .parquet.'
        )
    ragged = list(_ragged(text, separator, len(names), skip))  # (row, record)
    quote = ""
    if choice.open_line:
        number = choice.open_line
        quote = (
            f" Line {number:,} opens a quote that is not closed there: {show(lines[number - 1])}."
        )
    if not ragged:
        return f'{name}: {file_name(path)} cannot be read.{quote} Close it, or double it ("") inside a quoted text.'
    marks = tuple(number for number, _ in ragged[:MAX_ROWS])
    start, _, cells = ragged[0][1]
    first = f"{len(cells)} cells, {show(lines[start - 1])}"
    what = f"have another number of cells than the {len(names)} columns {some(names)}"
    then = f"Put texts that hold {separator!r} or a line end into double quotes." + quote
    total = sum(not is_blank(line, separator) for line in lines) - skip
    return Finding("STOP", name, what, len(ragged), total, marks, first, then).message


def _ragged(text: str, separator: str, width: int, skip: bool) -> Iterator[tuple[int, Record]]:
    """Rows, from 1, that have another number of cells than columns, each line a row."""
    rows = islice(records(text, separator, width, "lines"), int(skip), None)
    return ((number, row) for number, row in enumerate(rows, start=1) if len(row.cells) != width)
