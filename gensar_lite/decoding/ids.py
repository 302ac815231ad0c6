"""What items and users are called: ids of a user's own files, or row numbers where there are none.

In: an id that somebody typed. Out: its row number, and back; or an error with the nearest ids.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd

from gensar_lite.config import ConfigError
from gensar_lite.data.text import nearest


@dataclass(frozen=True)
class Ids:
    """Ids of items or of users (`noun`). `names` (n,) are those of own files, by row number; None:
    the row number, 0 to ``count - 1``, is the id."""

    noun: str
    count: int
    names: Sequence[str] | None = None

    @staticmethod
    def of(noun: str, count: int, names: pd.Series | np.ndarray | None) -> Ids:
        return Ids(noun, count, None if names is None else names.tolist())

    def row(self, asked: object) -> int:
        """The row number of an id, given as text or as a whole number: 17 is "17", not "017".

        Raises `ConfigError` that names the nearest ids for one that does not exist.
        """
        text = str(asked) if is_whole(asked) else asked  # anything else is no id
        row = None
        if isinstance(text, str):
            row = self._as_number(text) if self.names is None else self._rows.get(text)
        if row is None:
            shown = repr(asked) if isinstance(asked, str) else asked
            hint = self._hint(str(asked))
            raise ConfigError(f"{self.noun}: there is no {self.noun} {shown}. {hint}")
        return row

    def name(self, row: int) -> str | int:
        """The id of a row number."""
        return row if self.names is None else self.names[row]

    def _as_number(self, text: str) -> int | None:
        """The row number that a text spells, and spells plainly: no sign, space or leading zero."""
        plain = text.isascii() and text.isdecimal() and str(int(text[:20])) == text
        return int(text) if plain and int(text) < self.count else None

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    # a miss is looked up in all ids, letter by letter, so this is for errors only
    def _hint(self, text: str) -> str:
        if self.names is None:
            return f"{self.noun.capitalize()}s of this run are 0 to {self.count - 1}."
        near = nearest(text, self.names)
        start = "Nearest:" if near else "Ids are those of your files, e.g."
        hint = f"{start} {', '.join(map(repr, near or self.names[:3]))}."
        if self._as_number(text) is not None:
            hint += " Row numbers are asked for with --rows (in Python rows=True)."
        return hint


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)
