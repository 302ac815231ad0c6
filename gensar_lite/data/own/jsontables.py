"""JSON as columns of text: an object per line, or one array of objects.

In: text, and which columns are wanted. Out: the names of all keys, the wanted ones as text; what
was dropped goes to the file's `Checks`. Of the other keys nothing but their names is kept, so that
a record of thousands of keys costs what is taken from it. This file does not know what a key means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.lines import BROKEN, MAX_LINE, parse_record
from gensar_lite.data.own.filetext import OwnFile, TextColumns
from gensar_lite.data.report import MAX_ROWS, show

_LEVEL = " > "  # between the elements of a list, as between the levels of a category
_SPACE = re.compile(r"[ \t\n\r]*")
_ARRAY = re.compile(r"\s*\[\s*[{\]]")  # of objects; a line [1, 2] is a line that is no object
# numbers stay as they are written, and NaN is nothing
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda word: None)

# place from 1, text, its object (None: unusable), whether it is written as a Python dictionary
Parsed = tuple[int, str, dict | None, bool]


def read_json(text: str, file: OwnFile) -> TextColumns:
    """All keys in the order of their first sight, and the wanted columns.

    A Python dictionary in a line (Amazon 2014) is read as well; what is no object is dropped.
    Raises `ArtifactError` when that is too much, or an array breaks off.
    """
    if _ARRAY.match(text):
        objects = _usable(_elements(text, file), file, "elements", "Write objects only.")
    else:
        objects = _usable(_lines(text), file, "lines", "Write one JSON object per line.")
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
                cells.append(as_text(value))
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
        if row is None or not _is_unicode(row, source):
            bad.append((place, source))
            continue
        if is_python:
            in_python.append(place)
        yield row
    if in_python:
        what, marks = "are Python dicts, not JSON", tuple(in_python[:MAX_ROWS])
        count = len(in_python)
        file.checks.note("FIX", what, "Read as such.", count, total, unit, marks, "{...}")
    if bad:
        marks = tuple(place for place, _ in bad[:MAX_ROWS])
        first = show(bad[0][1])
        file.checks.note("DROP", "are no JSON object", then, len(bad), total, unit, marks, first)
        file.checks.stop_if_many()


def _lines(text: str) -> Iterator[Parsed]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line and not line.isspace():
            yield number, line, *parse_record(line, _DECODER.decode)


def _elements(text: str, file: OwnFile) -> Iterator[Parsed]:
    """The elements of an array. Raises `ArtifactError` where it breaks off."""
    place = _SPACE.match(text, text.index("[") + 1).end()  # of the next element, or of the end
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
    line = text.count("\n", 0, place) + 1
    rest = text[place : place + 60]
    where = f"line {line:,} " + (f"reads {show(rest)}" if rest else "ends")
    return file.error(
        f"the JSON array of {file.label} breaks off after {number:,} elements ({where}). Write or "
        "fetch it again; one object per line (.jsonl) loses no more than the damaged ones."
    )


def _is_unicode(row: dict, source: str) -> bool:
    """Whether no text is a lone surrogate, which only an escape can write."""
    if "\\" not in source:
        return True
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
