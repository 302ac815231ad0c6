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
CSV_LIKE = (
    ",",
    ";",
)  # separators whose writers quote by the book; elsewhere quotes are often mere characters
ANYTHING = r"(?s:.*)"
_FEWEST, _MOST = 20, 1000  # rows from which the shape of a column is learned


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
    joined: tuple[int, int] | None = (
        None  # with "": first and last of lines that a quote joins, rows by their looks
    )


class Joined(NamedTuple):
    """A record of several lines that look like rows of their own."""

    start: int
    end: int
    is_sure: bool  # some column has a shape that these lines have too; else they merely have as many cells


def choose_reading(text: str, separator: str, width: int) -> Choice:
    """The reading in which every record has `width` cells and no quote swallows rows."""
    trial = try_reading(text, separator, width)
    joined = _joined_rows(text, separator, width, trial) if trial.fits else None
    by_lines = False
    if joined or not trial.fits:
        by_lines = all(
            len(record.cells) == width for record in records(text, separator, width, "lines")
        )
    if joined and not joined.is_sure and not by_lines:
        joined = None  # other lines cannot stand alone, so this writer puts line ends into cells
    by_book = trial.fits and not joined
    if _escapes_fit(text, separator, width, by_book):
        return Choice("escapes")
    if by_book:
        return Choice("quotes")
    if by_lines and width > 1 and not (joined and (separator in CSV_LIKE or not joined.is_sure)):
        return Choice("lines")
    is_open = not trial.fits and (trial.misfit_end == 0 or trial.misfit_end > trial.misfit)
    return Choice(
        "", _not_blank(text, separator, trial.misfit) if is_open else 0, joined and joined[:2]
    )


def _escapes_fit(text: str, separator: str, width: int, by_book: bool) -> bool:
    """Whether backslashes are escapes. By the book a quote inside a cell is doubled, so where that reading fits as
    well, only a backslash before a single quote tells that it is one.
    """
    single = rf"(?<!\\)(?:\\\\)*\\{QUOTE}(?!{QUOTE})"
    some = rf"(?<!\\)(?:\\\\)*\\(?:{QUOTE}|\n|{re.escape(separator)})"
    if not re.search(single if by_book else some, text):
        return False
    trial = try_reading(text, separator, width, escapes=True)
    return trial.fits and not _joined_rows(text, separator, width, trial, escapes=True)


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
    """csv.reader, strict. What it cannot take, it gets as a character that the text does not hold: separators of
    several characters, and carriage returns that end no line.
    """
    free = (chr(code) for code in range(0xE000, 0xF900) if chr(code) not in text)  # private use
    swaps = [
        (part, next(free))
        for part in (separator, "\r")
        if len(part) > 1 or (part == "\r" and part in text)
    ]
    for part, one in swaps:
        text = text.replace(part, one)
    delimiter = dict(swaps).get(separator, separator)
    lines = (line + "\n" for line in text.split("\n"))
    reader = csv.reader(
        lines, delimiter=delimiter, strict=True, escapechar=ESCAPE if escapes else None
    )
    before = 0
    with _long_cells():
        for cells in reader:
            start, before = before + 1, reader.line_num
            for part, one in swaps:
                cells = [cell.replace(one, part) for cell in cells]
            if cells and (len(cells) > 1 or cells[0].strip()):
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


def _joined_rows(
    text: str, separator: str, width: int, trial: Trial, escapes: bool = False
) -> Joined | None:
    """The first record of several lines of which the first, the last and most others look like rows: a quote that
    nobody closed has joined them.
    """
    if not trial.several:
        return None
    shapes = _shapes(text, separator, width, escapes)
    lines = text.split("\n")
    for start, end in trial.several:
        like = [
            _is_like(line_cells(line, separator, width), shapes) for line in lines[start - 1 : end]
        ]
        if like[0] and like[-1] and 2 * sum(like) > len(like):
            return Joined(start, end, set(shapes) != {ANYTHING})
    return None


def _shapes(text: str, separator: str, width: int, escapes: bool) -> list[str]:
    """Of each column a pattern that all its cells in records of one line fit: digits, one word, or anything."""
    rows = islice(_by_the_book(text, separator, escapes), 1, _MOST)
    singles = [row.cells for row in rows if row.end == row.start]
    if len(singles) < _FEWEST:
        return [ANYTHING] * width
    return [_shape(cells) for cells in zip(*singles, strict=True)]


def _shape(cells: tuple[str, ...]) -> str:
    usual = (
        pattern for pattern in (r"[0-9]+", r"\S+") if all(re.fullmatch(pattern, c) for c in cells)
    )
    return next(usual, ANYTHING)


def _is_like(cells: list[str], shapes: list[str]) -> bool:
    return len(cells) == len(shapes) and all(map(re.fullmatch, shapes, cells))
