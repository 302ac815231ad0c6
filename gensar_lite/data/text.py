"""Strangers' text, made safe to store or to read.

In: a title or a name as published, a query as typed. Out: the same words on one line. This file
does not know what the text is for; escaping for a page is the page's business.
"""

from __future__ import annotations

import html
import re
import unicodedata

from gensar_lite.data.markup import without_tags

MAX_CHARACTERS = 512
# how programs write that there is nothing, and publishers that they know no brand (`plain_words`)
NOTHING = {"n a", "na", "nan", "nil", "none", "null", "undefined", "not set", "not provided"}
NO_BRAND = NOTHING | {"unknown", "unbranded", "no brand", "generic", "not applicable", "other"}


def clean(text: str) -> str:
    """HTML entities resolved once, tags and scripts out, control, bidi and zero-width characters
    gone, one space between words, cut.
    """
    return plain(without_tags(resolved(text)))


def resolved(text: str) -> str:
    """The beginning of a text with its HTML entities resolved, once."""
    return html.unescape(text[: 8 * MAX_CHARACTERS])


def has_tags(text: str) -> bool:
    """Whether `clean` takes HTML tags, comments or scripts out of a text."""
    return without_tags(raw := resolved(text)) != raw


def plain(text: str) -> str:
    """`clean` for typed text, in which an HTML entity is what somebody typed. Text once cleaned stays as it is."""
    text = text[: 8 * MAX_CHARACTERS]
    if not text.isprintable():  # most text is, and needs no look at each character
        kept = (
            c if c.isprintable() else " "
            for c in text
            if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")
        )
        text = "".join(kept)
    return " ".join(text.split())[:MAX_CHARACTERS].rstrip()


def plain_words(text: str) -> str:
    """The words of a short text in lower case, without signs: ``(Not set)`` -> ``not set``."""
    return " ".join(re.findall(r"[^\W_]+", text[:MAX_CHARACTERS].lower()))


def is_no_brand(name: str) -> bool:
    """Whether a brand's name says that there is none ("Unknown", "N/A", "unbranded")."""
    return plain_words(name) in NO_BRAND


def is_nothing(text: str) -> bool:
    r"""Whether a cell holds a program's word for an empty one ("NULL", "nan", "None", ``\N``)."""
    return text == r"\N" or plain_words(text) in NOTHING
