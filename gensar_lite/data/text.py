"""Strangers' text, made safe to store or to read.

In: a title or a name as published, a query as typed. Out: the same words on one line. Tags,
comments and scripts of HTML go, words and an ordinary ``<`` stay. This file does not know what the
text is for, and is no defence: a page escapes what it shows, whatever is in it.
"""

from __future__ import annotations

import html
import re
import unicodedata

MAX_CHARACTERS = 512
# how programs write that there is nothing, and publishers that they know no brand (`plain_words`)
NOTHING = {"n a", "na", "nan", "nil", "none", "null", "undefined", "not set", "not provided"}
NO_BRAND = NOTHING | {"unknown", "unbranded", "no brand", "generic", "not applicable", "other"}

# a name that is none of these is somebody's word: <TENT>, <3, Map<a, b>
_BREAKING = """
    address article aside base blockquote body br button canvas caption center col colgroup dd
    details div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6
    head header hr html iframe img input label legend li link main map meta nav noscript object ol
    optgroup option p param picture pre script section select source style summary svg table tbody
    td template textarea tfoot th thead title tr ul video audio
"""
_INSIDE = """
    a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strike
    strong sub sup tt u var wbr
"""
# name=value, or a word that HTML lets stand alone: "a<b and c>d" is a comparison and no tag b
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_ALONE = """
    allowfullscreen async autoplay checked controls defer disabled hidden loop muted nowrap selected
"""


def _any_of(names: str) -> str:
    return "|".join(names.split())


# possessive (*+): what was read is never tried another way, so that no text takes long
_ATTRIBUTES = rf"(?:\s+(?:[a-z][\w:.-]*\s*=\s*{_VALUE}|{_any_of(_ALONE)}))*+\s*/?"
_TAG = re.compile(
    rf"</?(?:(?P<breaking>{_any_of(_BREAKING)})|{_any_of(_INSIDE)}){_ATTRIBUTES}>", re.IGNORECASE
)
_UNSEEN = re.compile(
    rf"<!--.*?-->|<!doctype[^<>]*>|<(?P<name>script|style){_ATTRIBUTES}>.*?</(?P=name)\s*>",
    re.IGNORECASE | re.DOTALL,
)


def clean(text: str) -> str:
    """A published text on one line: entities of HTML resolved once, tags and scripts out, control,
    bidi and zero-width characters gone, one space between words, cut."""
    return plain(without_tags(_resolved(text)))


def has_tags(text: str) -> bool:
    """Whether `clean` takes HTML tags, comments or scripts out of a text."""
    text = _resolved(text)
    return without_tags(text) != text


def _resolved(text: str) -> str:
    """The beginning of a text with its HTML entities resolved, once."""
    return html.unescape(text[: 8 * MAX_CHARACTERS])


def without_tags(text: str) -> str:
    """`text` without scripts, styles and comments, and without the tags of other elements.

    ``<b>Tent</b>`` -> ``Tent``, ``Tent<br>green`` -> ``Tent green``. What is no HTML element stays:
    ``a < b``, ``<3``.
    """
    if "<" not in text or ">" not in text:
        return text
    return _TAG.sub(lambda tag: " " if tag["breaking"] else "", _UNSEEN.sub(" ", text))


def plain(text: str) -> str:
    """`clean` for typed text, in which an entity is what was typed; cleaned text stays as it is."""
    text = text[: 8 * MAX_CHARACTERS]
    if not text.isprintable():  # most text is, and needs no look at each character
        invisible = ("Cf", "Cs", "Co", "Cn")
        kept = (c for c in text if unicodedata.category(c) not in invisible)
        text = "".join(c if c.isprintable() else " " for c in kept)
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
