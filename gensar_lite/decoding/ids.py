"""What items and users are called: by the ids of a user's own files, or by row number where
there are none.

In: a corpus, an id that somebody typed. Out: its row number, and back; or an error that names
the nearest ids. This file does not know what is asked about the item or the user.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from gensar_lite.artifacts import Corpus
from gensar_lite.config import ConfigError

LOOKED_AT = 50_000  # ids that are compared letter by letter for the nearest one: a second at most


@dataclass(frozen=True)
class Ids:
    """Ids of one kind of thing, `noun` (item or user). `own` (n,) are those of own files, by row
    number; None: the row number, 0 to ``count - 1``, is the id."""

    noun: str
    count: int
    own: Sequence[str] | None = None

    @staticmethod
    def of_items(corpus: Corpus, rows: bool = False) -> Ids:
        """Ids of a corpus's items; with `rows`, row numbers all the same."""
        own = (
            None if rows or "source_id" not in corpus.items else corpus.items["source_id"].tolist()
        )
        return Ids("item", corpus.num_items, own)

    @staticmethod
    def of_users(corpus: Corpus, rows: bool = False) -> Ids:
        """Ids of a corpus's users; with `rows`, row numbers all the same."""
        return Ids(
            "user",
            corpus.num_users,
            None if rows or corpus.user_ids is None else corpus.user_ids.tolist(),
        )

    def row(self, asked: object) -> int:
        """The row number of an id, given as text or as a whole number: 17 is "17", and "017" is
        another one.

        Raises `ConfigError` that names the nearest ids for one that does not exist.
        """
        whole = isinstance(asked, Integral) and not isinstance(asked, bool)
        row = (
            self._row_of(str(asked) if whole else asked)
            if whole or isinstance(asked, str)
            else None
        )
        if row is None:
            named = repr(asked) if isinstance(asked, str) else asked
            raise ConfigError(
                f"{self.noun}: there is no {self.noun} {named}. {self._hint(str(asked))}"
            )
        return row

    def name(self, row: int) -> str | int:
        """The id of a row number."""
        return row if self.own is None else self.own[row]

    def _row_of(self, text: str) -> int | None:
        return self._as_number(text) if self.own is None else self._rows.get(text)

    def _as_number(self, text: str) -> int | None:
        plain = text.isascii() and text.isdecimal() and str(int(text[:20])) == text
        return int(text) if plain and int(text) < self.count else None

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.own)}

    def _hint(self, text: str) -> str:
        if self.own is None:
            return f"{self.noun.capitalize()}s of this run are 0 to {self.count - 1}."
        near = nearest(text, self.own)
        hint = (
            f"Nearest: {_listed(near)}."
            if near
            else f"Ids are those of your files, e.g. {_listed(self.own[:3])}."
        )
        if self._as_number(text) is not None:
            hint += " Row numbers are asked for with --rows (in Python rows=True)."
        return hint


def nearest(text: str, ids: Sequence[str], count: int = 3) -> list[str]:
    """The ids most like a text that is none of them: those that hold it or that it holds, else
    by their letters.

    First stands what differs by zeros in front alone, which spreadsheets and numbers lose.
    """
    low = text.lower()
    alike = [name for name in ids if low in name.lower() or name.lower() in low] if low else []
    if alike:
        bare = low.lstrip("0")
        return sorted(
            alike, key=lambda name: (name.lower().lstrip("0") != bare, abs(len(name) - len(text)))
        )[:count]
    return difflib.get_close_matches(text, ids[:LOOKED_AT], n=count, cutoff=0.5)


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in ids)
