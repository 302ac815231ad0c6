"""Text in which quotes or backslashes stand: which of three readings its records have, if any.

In: a text, a separator, the number of columns. Out: a `Choice` of a reading, or the first lines
that it fails at.

- quotes: a cell may stand between quotes, then it may hold separators, line ends and doubled quotes
  (RFC 4180);
- escapes: the same, and a backslash takes the meaning from the character after it;
- lines: every line is a record; a quote that is not closed in its line is a mere character.

The danger is a quote that nobody closes: it joins the rows up to the next quote into one cell. So
records are counted against lines, and lines that a quoted cell takes in must not look like rows.
This file does not know what a column means.
"""

import csv
import re
import sys
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

QUOTE = '"'
ESCAPE = "\\"
# separators whose writers quote by the book; elsewhere quotes are often mere characters
CSV_LIKE = (",", ";")
_ANYTHING = r"(?s:.*)"
_SHAPES = (r"[0-9]+", r"\S+")  # what all cells of a column may have in common
_FEWEST = 20  # rows from which the shape of a column is learned
_MOST = 1000
_BALANCED = r'"[^"]*(?:""[^"]*)*"'  # a cell between quotes


class Record(NamedTuple):
    """One record and the lines that it stands in, from 1."""

    start: int
    end: int
    cells: list[str]


class Joined(NamedTuple):
    """A record of several lines that look like rows of their own."""

    start: int
    end: int
    is_sure: bool  # some column has a shape that these lines have too; else as many cells only


class Trial(NamedTuple):
    """How a reading of the whole text went."""

    misfit: int = 0  # the line in which the first record starts that does not fit; 0: all fit
    misfit_end: int = 0  # its last line; 0 when a quote is not closed by the rules
    joined: Joined | None = None  # when all fit: rows that a quote has joined all the same

    @property
    def is_good(self) -> bool:
        return not self.misfit and not self.joined


class Choice(NamedTuple):
    """What to do with a text."""

    reading: str  # quotes | escapes | lines | "" (none fits)
    open_line: int = 0  # with "": the line of the quote that is not closed, 0 if there is none
    joined: Joined | None = None  # with "": lines that a quote joins


def choose_reading(text: str, separator: str, width: int) -> Choice:
    """The reading in which every record has `width` cells and no quote swallows rows."""
    # 1. By the book: does every record fit, and does no record of several lines look like rows?
    trial = _try(text, separator, width)
    # 2. If not: is every line a record by itself?
    by_lines = not trial.is_good and all(
        len(record.cells) == width for record in records(text, separator, width, "lines")
    )
    # 3. A record only has the number of cells that rows have, and its lines cannot all stand
    #    alone: then this writer puts line ends into cells, and nothing was joined
    if trial.joined and not trial.joined.is_sure and not by_lines:
        trial = Trial()
    # 4. Escapes come before the book, which would keep the backslashes as characters
    may_escape = _has_escapes(text, separator, trial.is_good)
    if may_escape and _try(text, separator, width, escapes=True).is_good:
        return Choice("escapes")
    if trial.is_good:
        return Choice("quotes")
    # 5. Lines alone, where quotes are often characters. In a file with commas, rows that the book
    #    joins are a fault that only its writer can repair; a single column fits line by line anyway
    joined = trial.joined
    is_doubtful = joined and (separator in CSV_LIKE or not joined.is_sure)
    if by_lines and width > 1 and not is_doubtful:
        return Choice("lines")
    # 6. No reading. A misfit of several lines, or without an end, begins with an open quote
    open_line = 0
    if trial.misfit and trial.misfit_end != trial.misfit:
        numbered = enumerate(text.split("\n")[trial.misfit - 1 :], trial.misfit)
        open_line = next(number for number, line in numbered if not is_blank(line, separator))
    return Choice("", open_line, joined)


def _has_escapes(text: str, separator: str, fits_the_book: bool) -> bool:
    """Whether an odd number of backslashes stands before a quote, a line end or a separator."""
    # by the book a quote inside a cell is doubled, so where that reading fits as well, only a
    # backslash before a single quote tells that it is an escape
    target = rf"{QUOTE}(?!{QUOTE})" if fits_the_book else rf"(?:{QUOTE}|\n|{re.escape(separator)})"
    return re.search(rf"(?<!\\)(?:\\\\)*\\{target}", text) is not None


def records(text: str, separator: str, width: int, reading: str) -> Iterator[Record]:
    """The records of a reading without blank lines. Raises `csv.Error` at a quote out of place."""
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
    Separators inside those are text only if the line has `width` cells then (0: as many as it has).
    """
    if QUOTE not in line:
        return line.split(separator)
    part = re.escape(separator)
    cell = re.compile(rf"({_BALANCED})(?={part}|$)|(.*?)(?={part}|$)", re.DOTALL)
    cells = []
    place = 0
    while place <= len(line):  # the line's end counts: after a last separator stands an empty cell
        match = cell.match(line, place)
        cells.append(_unquoted(match.group()))
        place = match.end() + (len(separator) if match.end() < len(line) else 1)
    return cells if width in (0, len(cells)) else list(map(_unquoted, line.split(separator)))


def _unquoted(cell: str) -> str:
    if cell.startswith(QUOTE) and re.fullmatch(_BALANCED, cell):
        return cell[1:-1].replace(QUOTE * 2, QUOTE)
    return cell


# ------------------------------------------------------------------------------------ by the book


def _by_the_book(text: str, separator: str, escapes: bool) -> Iterator[Record]:
    """csv.reader, strict."""
    # what it cannot take (separators of several characters, and carriage returns that end no line)
    # it gets as a character that the text does not hold
    unused = (chr(code) for code in range(0xE000, 0xF900) if chr(code) not in text)  # private use
    parts = [separator] if len(separator) > 1 else []
    parts += ["\r"] if "\r" in text else []
    swaps = dict(zip(parts, unused, strict=False))
    for part, sign in swaps.items():
        text = text.replace(part, sign)
    csv.field_size_limit(sys.maxsize)  # not 131,072 characters: a long title is cut later
    lines = (line + "\n" for line in text.split("\n"))
    sign, escape = swaps.get(separator, separator), ESCAPE if escapes else None
    reader = csv.reader(lines, delimiter=sign, strict=True, escapechar=escape)
    last = 0  # line of the record before
    for cells in reader:
        for part, sign in swaps.items():
            cells = [cell.replace(sign, part) for cell in cells]
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield Record(last + 1, reader.line_num, cells)
        last = reader.line_num


def _try(text: str, separator: str, width: int, escapes: bool = False) -> Trial:
    """Read by the book, count cells; stop at the first record that does not fit."""
    several = []  # first and last line of each record of more than one line
    last = 0
    try:
        for start, end, cells in _by_the_book(text, separator, escapes):
            if len(cells) != width:
                return Trial(start, end)
            last = end
            if end > start:
                several.append((start, end))
    except csv.Error:
        return Trial(last + 1)
    return Trial(joined=_joined_rows(text, separator, width, several, escapes))


def _joined_rows(
    text: str, separator: str, width: int, several: list[tuple[int, int]], escapes: bool
) -> Joined | None:
    """The first record of several lines of which the first, the last and most look like rows."""
    if not several:
        return None
    shapes = _shapes(text, separator, width, escapes)
    lines = text.split("\n")
    for start, end in several:
        rows = [line_cells(line, separator, width) for line in lines[start - 1 : end]]
        is_like = [len(row) == width and all(map(re.fullmatch, shapes, row)) for row in rows]
        if is_like[0] and is_like[-1] and 2 * sum(is_like) > len(is_like):
            return Joined(start, end, set(shapes) != {_ANYTHING})
    return None


def _shapes(text: str, separator: str, width: int, escapes: bool) -> list[str]:
    """A pattern per column that all its cells in records of one line fit: digits, a word, any."""
    rows = islice(_by_the_book(text, separator, escapes), 1, _MOST)
    singles = [row.cells for row in rows if row.end == row.start]
    if len(singles) < _FEWEST:
        return [_ANYTHING] * width
    shapes = []
    for cells in zip(*singles, strict=True):
        common = (p for p in _SHAPES if all(re.fullmatch(p, cell) for cell in cells))
        shapes.append(next(common, _ANYTHING))
    return shapes
