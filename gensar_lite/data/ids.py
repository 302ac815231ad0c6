"""Ids that may be meant for another one: what stays of an id, and which ones are nearest.

In: ids as people write them. Out: their plain form, or the ids nearest to one that does not exist.
This file does not know whose ids they are.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence

LOOKED_AT = 50_000  # ids that are compared letter by letter: a second at most


def plain_id(text: str) -> str:
    """An id without what people and programs change in it.

    That is case, spaces, wide characters and zeros in front: ids with one plain form may be one.
    """
    return "".join(unicodedata.normalize("NFKC", text).casefold().split()).lstrip("0")


def nearest(text: str, ids: Sequence[str], count: int = 3) -> list[str]:
    """The ids most like a text that is none of them.

    First stand those with the same plain form, then those that hold the text or that it holds; only
    where there is neither, those with similar letters.
    """
    low = text.lower()
    plain = plain_id(text)

    def is_close(name: str) -> bool:
        return low in name.lower() or name.lower() in low or plain_id(name) == plain

    def distance(name: str) -> tuple[bool, int]:
        return plain_id(name) != plain, abs(len(name) - len(text))

    close = [name for name in ids if is_close(name)] if low else []
    if close:
        return sorted(close, key=distance)[:count]
    return difflib.get_close_matches(text, ids[:LOOKED_AT], n=count, cutoff=0.5)
