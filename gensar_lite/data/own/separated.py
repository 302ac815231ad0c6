"""Cells between separators (csv, tsv, MovieLens' ``::``, RecBole's files) as columns of text.

In: text, and its `OwnFile`. Out: `TextColumns`; what was noticed goes to the file's `Checks`. Which
reading of its quotes a text has, quoting.py decides. This file does not know what a column means.
"""

import re
from itertools import islice
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gensar_lite.config import ConfigError
from gensar_lite.data.own.columns import is_header, refuse_doubled
from gensar_lite.data.own.filetext import OwnFile, TextColumns
from gensar_lite.data.own.quoting import (
    CSV_LIKE,
    ESCAPE,
    QUOTE,
    Choice,
    choose_reading,
    is_blank,
    line_cells,
    records,
)
from gensar_lite.data.report import show, some

SEPARATORS = (",", "\t", "::", ";", "|")  # the likelier first
_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_SAMPLE = 20  # lines that a separator is guessed from


class Layout(NamedTuple):
    """How the lines of a file are cut."""

    separator: str
    names: list[str]  # of all columns
    skip: int  # rows before the first one of data: 1 for a header
    places: list[int]  # of the wanted columns

    @property
    def width(self) -> int:
        return len(self.names)


def check_separator(text: str) -> str:
    """The separator that a setting means (``tab`` is one); "" stays "". Raises `ConfigError`."""
    separator = _WORDS.get(text.lower(), text)
    if re.search(r'["\\\n\r]|\w', separator):
        words = ", ".join(filter(str.isalpha, _WORDS))
        raise ConfigError(
            f"data.separator: {show(text)} separates no cells. Say a sign or several "
            f"(, ; | ::), or one of {words}."
        )
    return separator


def guess_separator(lines: list[str]) -> str:
    """The one that all of the first lines have equally often, else the first line's most frequent;
    what stands between quotes counts for nothing."""
    bare = [re.sub(r'"[^"]*"', "", line) for line in lines]
    even = [s for s in SEPARATORS if len({line.count(s) for line in bare}) == 1]
    by_count = max(even or SEPARATORS, key=bare[0].count)
    return by_count if by_count in bare[0] else max(SEPARATORS, key=bare[0].count)


def read_separated(text: str, file: OwnFile) -> TextColumns:
    """Raises `ArtifactError` for rows of another number of cells, and a quote that joins rows."""
    layout = _layout(text, file)
    columns_and_rows = None if QUOTE in text else _split(text, layout, file)
    if columns_and_rows is None:
        # without a quote or backslash the rows are ragged, and no reading can help
        may_fit = QUOTE in text or ESCAPE in text
        choice = choose_reading(text, layout.separator, layout.width) if may_fit else Choice("")
        if not choice.reading:
            _refuse(text, layout, choice, file)
        columns_and_rows = _read(text, layout, choice.reading, file)
    return layout.names, *columns_and_rows


def _layout(text: str, file: OwnFile) -> Layout:
    head = list(islice((line for line in text.split("\n") if line.strip()), _SAMPLE))
    # the settings speak of all files; one without their separator is looked at by itself
    usual = file.separator
    separator = usual if usual and usual in head[0] else guess_separator(head)
    if separator != (usual or ","):
        file.checks.note("separator", separator=separator)
    names = line_cells(head[0], separator, 0)
    skip = 1
    if not file.header and is_header(file.checks.name, names):
        file.checks.note("header")
    elif not file.header:
        names = [f"column_{place}" for place in range(1, len(names) + 1)]
        skip = 0
    refuse_doubled(names, file.checks.name)
    return Layout(separator, names, skip, [n for n, name in enumerate(names) if file.wanted(name)])


def _split(text: str, layout: Layout, file: OwnFile) -> tuple[dict[str, pd.Series], int] | None:
    """Lines without quotes, cut at once; None when one has another number of cells."""
    lines = text.removesuffix("\n").split("\n")
    full = [line for line in lines if not is_blank(line, layout.separator)]
    rows = pa.array(full[layout.skip :], pa.large_string())
    cells = pc.split_pattern(rows, layout.separator)  # (rows, width)
    if len(rows) and not pc.all(pc.equal(pc.list_value_length(cells), layout.width)).as_py():
        return None
    if blank := len(lines) - len(full):
        file.checks.note("blank", blank, len(lines), "lines")
    flat = cells.flatten()
    places = {place: pa.array(np.arange(place, len(flat), layout.width)) for place in layout.places}
    columns = {layout.names[place]: flat.take(of).to_pandas() for place, of in places.items()}
    return columns, len(rows)


def _read(text: str, layout: Layout, reading: str, file: OwnFile) -> tuple[dict, int]:
    """Record by record, in the reading that fits."""
    separator = layout.separator
    columns: dict[str, list[str]] = {layout.names[place]: [] for place in layout.places}
    rows = -layout.skip
    covered = 0  # lines
    literal = []  # rows with a quote that is a character
    for start, end, cells in records(text, separator, layout.width, reading):
        covered += end - start + 1
        rows += 1
        if rows > 0:
            for place in layout.places:
                columns[layout.names[place]].append(cells[place])
            if reading == "lines" and any(cell.startswith(QUOTE) for cell in cells):
                literal.append(rows)
    lines = text.removesuffix("\n").split("\n")
    note = file.checks.note
    if blank := len(lines) - covered:
        note("blank", blank, len(lines), "lines")
    if reading == "escapes":
        note("escape", sum(ESCAPE in line for line in lines), len(lines), "lines")
    if several := covered - rows - layout.skip:
        note("continued", several, covered, "lines")
    if literal:
        opening = re.compile(rf"(^|{re.escape(separator)}){QUOTE}")
        first = show(next(line for line in lines if opening.search(line)))
        # in a file with commas a quote that is not closed is rather a fault than a character
        rule = "open-quote-in-csv" if separator in CSV_LIKE else "open-quote"
        note(rule, len(literal), rows, "rows", literal, first)
    return columns, rows


def _refuse(text: str, layout: Layout, choice: Choice, file: OwnFile) -> None:
    """Raises `ArtifactError`: why no reading fits (rows of another width, an open quote)."""
    lines = text.split("\n")
    if choice.joined:
        start, end, _ = choice.joined
        raise file.error(
            f"a quote in line {start:,} of {file.label} joins the lines up to {end:,}, and each of "
            f"them looks like a row of its own (line {start:,}: {show(lines[start - 1])}). Double "
            'a quote that is part of a text and put the text into quotes (""), or write the table '
            "as .jsonl or .parquet."
        )
    quote = ""
    if number := choice.open_line:
        line = show(lines[number - 1])
        quote = f" Line {number:,} opens a quote that is not closed there: {line}."
    # each line a row, numbered from 1 behind the header
    separator, names, skip, _ = layout
    rows = list(records(text, separator, len(names), "lines"))[skip:]
    ragged = [number for number, row in enumerate(rows, 1) if len(row.cells) != len(names)]
    if not ragged:
        then = 'Close it, or double it ("") inside a quoted text.'
        raise file.error(f"{file.label} cannot be read.{quote} {then}")
    start, _, cells = rows[ragged[0] - 1]
    first = f"{len(cells)} cells, {show(lines[start - 1])}"
    words = {"width": len(names), "names": some(names), "separator": separator, "quote": quote}
    file.checks.note("ragged", len(ragged), len(rows), "rows", ragged, first, **words)
