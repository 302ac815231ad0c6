"""One line as a record: a JSON object, or a Python dictionary as in Amazon 2014.

In: a line of a file. Out: a dictionary, or None for what is none. Published and own files
are both read by it. This file does not know what a key means, nor what becomes of a line that is no
record.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Callable

MAX_LINE = 2**20  # characters; a longer line is damage, or an attack
# what the two parsers raise for damaged text; RecursionError and MemoryError: nested too deeply
BROKEN = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)


def parse_record(
    line: str, parse_json: Callable[[str], object] = json.loads
) -> tuple[dict | None, bool]:
    """The dictionary of a line, and whether it is written in Python's way (Amazon 2014).

    None for a line that is too long or holds no dictionary of plain values.
    """
    if len(line) > MAX_LINE:
        return None, False
    for parse in (parse_json, _python_literal):
        try:
            record = parse(line)
        except BROKEN:
            continue
        if isinstance(record, dict):
            return record, parse is _python_literal
    return None, False


def _python_literal(line: str) -> object:
    """A Python literal, without the compiler's advice about the backslashes of somebody's text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.literal_eval(line.strip())
