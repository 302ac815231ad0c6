"""JSON as columns of text: an object a line, or one array of objects.

In: text, and which columns are wanted. Out: the names of all keys, the wanted ones as text, what was dropped. Of the
other keys nothing but their names is kept, so that a record of thousands of keys costs what is taken from it.
This file does not know what a key means.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.own.filetext import file_name
from gensar_lite.data.report import MAX_ROWS, Finding, show, stop_if_many

MAX_LINE = 1 << 20  # characters of a line or of an element of an array
_LEVEL = " > "  # between the elements of a list, as between the levels of a category
_SPACE = re.compile(r"[ \t\n\r]*")
_ARRAY = re.compile(
    r"\s*\[\s*[{\]]"
)  # an array of objects; a line [1, 2] is a line that is no object
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda word: None)
_BROKEN = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)


class _Collector:
    """The wanted values of one object after the other; cells of a key that an object does not have are empty."""

    def __init__(self, wanted: Callable[[str], bool]):
        self.wanted, self.rows = wanted, 0
        self.names: dict[
            str, bool
        ] = {}  # every key, in the order of its first sight, and whether it is wanted
        self.columns: dict[str, list[str]] = {}

    def add(self, row: dict) -> None:
        for key, value in row.items():
            key = str(key)
            if key not in self.names:
                self.names[key] = self.wanted(key)
            if self.names[key]:
                cells = self.columns.setdefault(key, [])
                cells += [""] * (self.rows - len(cells))
                cells.append(as_text(value))
        self.rows += 1

    def result(self) -> tuple[list[str], dict[str, list[str]], int]:
        for cells in self.columns.values():
            cells += [""] * (self.rows - len(cells))
        return list(self.names), self.columns, self.rows


def read_json(
    text: str, path: Path, name: str, max_drop_rate: float, wanted: Callable[[str], bool]
) -> tuple[list[str], dict[str, list[str]], int, list[Finding]]:
    """Names of all keys, the wanted ones as text, rows, findings.

    A Python dict a line (Amazon 2014) is read as well; lines and elements that are no object are dropped.
    Raises `ArtifactError` when they are too many, or an array breaks off.
    """
    collector = _Collector(wanted)
    if _ARRAY.match(text):
        found = _add_array(text, path, name, max_drop_rate, collector)
    else:
        found = _add_lines(text, name, max_drop_rate, collector)
    return *collector.result(), found


# ---------------------------------------------------------------------------------------------------- lines


def _add_lines(text: str, name: str, max_drop_rate: float, collector: _Collector) -> list[Finding]:
    bad, literal, total = [], [], 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        total += 1
        row = _object(line, json_object)
        if row is None and (row := _object(line, python_literal)) is not None:
            literal.append(number)
        if row is None:
            bad.append((number, line))
        else:
            collector.add(row)
    found = []
    if literal:
        marks, what = tuple(literal[:MAX_ROWS]), "are Python dicts, not JSON"
        found = [
            Finding(
                "FIX", name, what, len(literal), total, marks, "{...}", "Read as such.", "lines"
            )
        ]
    return found + _dropped(
        bad, total, name, max_drop_rate, "lines", "Write one JSON object a line."
    )


def _dropped(
    bad: list[tuple[int, str]], total: int, name: str, max_drop_rate: float, unit: str, then: str
) -> list[Finding]:
    if not bad:
        return []
    marks = tuple(number for number, _ in bad[:MAX_ROWS])
    finding = Finding(
        "DROP", name, "are no JSON object", len(bad), total, marks, show(bad[0][1]), then, unit
    )
    stop_if_many(finding, max_drop_rate)
    return [finding]


# ---------------------------------------------------------------------------------------------------- array


def _add_array(
    text: str, path: Path, name: str, max_drop_rate: float, collector: _Collector
) -> list[Finding]:
    bad, total = [], 0
    for number, element, source in _elements(text, path, name):
        total = number
        if isinstance(element, dict) and len(source) <= MAX_LINE and _is_unicode(element, source):
            collector.add(element)
        else:
            bad.append((number, source))
    return _dropped(bad, total, name, max_drop_rate, "elements", "Write objects only.")


def _elements(text: str, path: Path, name: str) -> Iterator[tuple[int, object, str]]:
    """Each element of an array: its number from 1, its value, its text. One at a time, so that few are in memory."""
    place, number = _SPACE.match(text, text.index("[") + 1).end(), 0
    ended = text[place] == "]"
    while not ended:
        try:
            element, end = _DECODER.raw_decode(text, place)
        except _BROKEN:
            raise ArtifactError(_breaks_off(text, place, number, path, name)) from None
        number += 1
        yield number, element, text[place:end]
        place = _SPACE.match(text, end).end()
        ended = text[place : place + 1] == "]"
        if not ended and text[place : place + 1] != ",":
            raise ArtifactError(_breaks_off(text, place, number, path, name))
        place = place if ended else _SPACE.match(text, place + 1).end()
    place = _SPACE.match(text, place + 1).end()
    if place < len(text):
        raise ArtifactError(_breaks_off(text, place, number, path, name))


def _breaks_off(text: str, place: int, number: int, path: Path, name: str) -> str:
    line, rest = text.count("\n", 0, place) + 1, text[place : place + 60]
    where = f"reads {show(rest)}" if rest else "ends"
    return (
        f"{name}: the JSON array of {file_name(path)} breaks off after {number:,} elements (line {line:,} {where}). "
        "Write or fetch it again; one object a line (.jsonl) loses no more than the damaged ones."
    )


# --------------------------------------------------------------------------------------------------- values


def json_object(line: str) -> object:
    """JSON with its numbers left as they are written, and NaN as nothing."""
    return _DECODER.decode(line)


def python_literal(line: str) -> object:
    """A Python literal, without the compiler's advice about the backslashes of somebody's text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.literal_eval(line)


def _object(line: str, parse: Callable[[str], object]) -> dict | None:
    """The line as a dict, or None: too long, too deep, no dict, or text that is no Unicode (a lone surrogate)."""
    if len(line) > MAX_LINE:
        return None
    try:
        row = parse(line)
    except _BROKEN:
        return None
    return row if isinstance(row, dict) and _is_unicode(row, line) else None


def _is_unicode(row: object, source: str) -> bool:
    """No lone surrogate, which only an escape can write."""
    if "\\" not in source:
        return True
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode()
    except _BROKEN:
        return False
    return True


def as_text(value: object) -> str:
    """A JSON value as a cell: nothing is "", a list is its elements (of a list of lists: of the first)."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        inner = value[0] if value and isinstance(value[0], list | tuple) else value
        return _LEVEL.join(as_text(part) for part in inner)
    return json.dumps(value) if isinstance(value, dict) else str(value)
