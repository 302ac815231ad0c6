"""Strangers' text, made safe to store or to read.

In: a title or a name as published, a query as typed. Out: the same words on one line. This file does not know what the
text is for; escaping for a page is the page's business.
"""

from __future__ import annotations

import html
import re
import unicodedata

MAX_CHARACTERS = 512
# what publishers write where they know no brand; compared in lower case, without signs
NO_BRAND = {
    "unknown",
    "unbranded",
    "no brand",
    "generic",
    "n a",
    "na",
    "none",
    "null",
    "nan",
    "not applicable",
    "other",
}


def clean(text: str) -> str:
    """HTML entities resolved once, control, bidi and zero-width characters gone, one space between words, cut."""
    return plain(html.unescape(text[: 8 * MAX_CHARACTERS]))


def plain(text: str) -> str:
    """`clean` for typed text, in which an HTML entity is what somebody typed. Text once cleaned stays as it is."""
    text = text[: 8 * MAX_CHARACTERS]
    if not text.isprintable():  # most text is, and needs no look at each character
        kept = (c if c.isprintable() else " " for c in text if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn"))
        text = "".join(kept)
    return " ".join(text.split())[:MAX_CHARACTERS].rstrip()


def is_no_brand(name: str) -> bool:
    """Whether a brand's name says that there is none ("Unknown", "N/A", "unbranded")."""
    return " ".join(re.findall(r"[^\W_]+", name[:MAX_CHARACTERS].lower())) in NO_BRAND
