"""Text in which quotes or backslashes stand: which of three readings its records have, and where none of them fits.

In: text, a separator, the number of columns. Out: a `Choice` of a reading, or the first lines that it fails at.

- quotes: a cell may stand between quotes, then it may hold separators, line ends and doubled quotes (RFC 4180);
- escapes: the same, and a backslash takes the meaning from the character after it;
- lines: every line is a record; a quote that is not closed in its line is a character like any other.

The danger is a quote that nobody closes: it joins the rows up to the next quote into one cell. So records are counted
against lines, and lines that a quoted cell takes in must not look like rows. This file does not know what a column
means.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

QUOTE, ESCAPE = '"', "\\"
CSV_LIKE = (",", ";")  # separators whose writers quote by the book; elsewhere quotes are often mere characters
_SAMPLE = 1000  # rows from which the shape of a column is learned


class Record(NamedTuple):
    """One record and the lines that it stands in, from 1."""

    start: int
    end: int
    cells: list[str]


class Trial(NamedTuple):
    """How a reading of the whole text went."""

    records: int  # with the header
    several: list[tuple[int, int]]  # first and last line of each record of more than one line
    misfit: int  # the line in which the first record starts that does not fit; 0: all fit
    misfit_end: int  # its last line; 0 when a quote is not closed by the rules

    @property
    def fits(self) -> bool:
        return self.misfit == 0


class Choice(NamedTuple):
    """What to do with a text."""

    reading: str  # quotes | escapes | lines | "" (none fits)
    open_line: int = 0  # with "": the line of the quote that is not closed, 0 if there is none
    joined: tuple[int, int] | None = None  # with "": lines that a quote joins though each is a row of its own


def choose_reading(text: str, separator: str, width: int) -> Choice:
    """The reading in which every record has `width` cells and no quote swallows rows."""
    # an escape is meant where a backslash that is no escaped one stands before a quote or a separator
    meant = rf"(?<!\\)(?:\\\\)*\\(?:{QUOTE}|{re.escape(separator)})"
    if re.search(meant, text):
        trial = try_reading(text, separator, width, escapes=True)
        if trial.fits and not _joined_rows(text, separator, width, trial, escapes=True):
            return Choice("escapes")
    trial = try_reading(text, separator, width)
    joined = _joined_rows(text, separator, width, trial) if trial.fits else None
    if trial.fits and not joined:
        return Choice("quotes")
    by_lines = width > 1 and all(len(r.cells) == width for r in records(text, separator, width, "lines"))
    if by_lines and not (joined and separator in CSV_LIKE):
        return Choice("lines")
    is_open = not trial.fits and (trial.misfit_end == 0 or trial.misfit_end > trial.misfit)
    return Choice("", _not_blank(text, separator, trial.misfit) if is_open else 0, joined)


def _not_blank(text: str, separator: str, number: int) -> int:
    """The line of this number, or the first after it that is not blank."""
    lines = text.split("\n")[number - 1 :]
    return number + next(place for place, line in enumerate(lines) if not is_blank(line, separator))


def records(text: str, separator: str, width: int, reading: str) -> Iterator[Record]:
    """The records of a reading, blank lines left out. Raises `csv.Error` at a quote that breaks the rules."""
    if reading != "lines":
        yield from _by_the_book(text, separator, reading == "escapes")
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not is_blank(line, separator):
            yield Record(number, number, line_cells(line, separator, width))


def is_blank(line: str, separator: str) -> bool:
    """Nothing but spaces; a row of empty cells is none, whatever separates them."""
    return not line or (line.isspace() and separator not in line)


def line_cells(line: str, separator: str, width: int) -> list[str]:
    """The cells of one line, quotes taken literally unless they are balanced around a cell.

    Separators between balanced quotes are text only if the line has `width` cells then (0: as many as it has).
    """
    if QUOTE not in line:
        return line.split(separator)
    cells = _quoted_cells(line, separator)
    return cells if width in (0, len(cells)) else [_bare(cell) for cell in line.split(separator)]


_BALANCED = r'"[^"]*(?:""[^"]*)*"'


def _quoted_cells(line: str, separator: str) -> list[str]:
    part = re.escape(separator)
    cells, place = [], 0
    pattern = re.compile(rf"({_BALANCED})(?={part}|$)|(.*?)(?={part}|$)", re.DOTALL)
    while True:
        match = pattern.match(line, place)
        cells.append(_bare(match.group()))
        if match.end() == len(line):
            return cells
        place = match.end() + len(separator)


def _bare(cell: str) -> str:
    if len(cell) > 1 and cell[0] == QUOTE and re.fullmatch(_BALANCED, cell):
        return cell[1:-1].replace(QUOTE * 2, QUOTE)
    return cell


# --------------------------------------------------------------------------------------------- by the book


def _by_the_book(text: str, separator: str, escapes: bool) -> Iterator[Record]:
    """csv.reader, strict. A separator of several characters is read as one that the text does not hold."""
    one = separator
    if len(separator) > 1:
        one = next(chr(code) for code in range(0xE000, 0xF900) if chr(code) not in text)
        text = text.replace(separator, one)
    lines = (line + "\n" for line in text.split("\n"))
    reader = csv.reader(lines, delimiter=one, strict=True, escapechar=ESCAPE if escapes else None)
    before = 0
    with _long_cells():
        for cells in reader:
            start, before = before + 1, reader.line_num
            if cells and (len(cells) > 1 or cells[0].strip()):
                if one != separator:
                    cells = [cell.replace(one, separator) for cell in cells]
                yield Record(start, before, cells)


@contextmanager
def _long_cells() -> Iterator[None]:
    """The library refuses cells of more than 131,072 characters; a title of ten megabytes is cut later, not here."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def try_reading(text: str, separator: str, width: int, escapes: bool = False) -> Trial:
    """Count records and the lines that they take; stop at the first that does not fit."""
    several, count, last = [], 0, 0
    try:
        for start, end, cells in _by_the_book(text, separator, escapes):
            if len(cells) != width:
                return Trial(count, several, start, end)
            count, last = count + 1, end
            if end > start:
                several.append((start, end))
    except csv.Error:
        return Trial(count, several, last + 1, 0)
    return Trial(count, several, 0, 0)


def _joined_rows(text: str, separator: str, width: int, trial: Trial, escapes: bool = False) -> tuple[int, int] | None:
    """The first record of several lines of which the first, the last and most others look like rows: a quote that
    nobody closed has joined them.
    """
    if not trial.several:
        return None
    shapes = _shapes(text, separator, width, escapes)
    lines = text.split("\n")
    for start, end in trial.several:
        like = [_is_like(line_cells(line, separator, width), shapes) for line in lines[start - 1 : end]]
        if like[0] and like[-1] and 2 * sum(like) > len(like):
            return start, end
    return None


def _shapes(text: str, separator: str, width: int, escapes: bool) -> list[str]:
    """Of each column a pattern that all its cells in records of one line fit: digits, one word, or anything."""
    rows = islice(_by_the_book(text, separator, escapes), 1, _SAMPLE)
    singles = [row.cells for row in rows if row.end == row.start]
    columns = list(zip(*singles, strict=True)) or [()] * width
    return [_shape(cells) for cells in columns]


def _shape(cells: tuple[str, ...]) -> str:
    usual = (pattern for pattern in (r"[0-9]+", r"\S+") if cells and all(re.fullmatch(pattern, c) for c in cells))
    return next(usual, r"(?s).*")


def _is_like(cells: list[str], shapes: list[str]) -> bool:
    return len(cells) == len(shapes) and all(map(re.fullmatch, shapes, cells))
