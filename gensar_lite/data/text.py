"""Strangers' text, made safe to store, to read and to compare.

In: a title, a query, an id or a line of a file as somebody wrote it. Out: the same words on one
line, an id's plain form, a record. Tags, comments and scripts of HTML go, words and an ordinary
``<`` stay. This file does not know what the text is for, and is no defence: a page escapes what it
shows, whatever is in it.
"""

import ast
import difflib
import html
import json
import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence

MAX_CHARACTERS = 512
MAX_LINE = 2**20  # characters; a longer line is damage, or an attack
# what parsers raise for damaged text; RecursionError and MemoryError: nested too deeply
BROKEN = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)
_LOOKED_AT = 50_000  # ids that are compared letter by letter: a second at most
# how programs write that there is nothing, and publishers that they know no brand (`plain_words`)
NOTHING = {"n a", "na", "nan", "nil", "none", "null", "undefined", "not set", "not provided"}
NO_BRAND = NOTHING | {"unknown", "unbranded", "no brand", "generic", "not applicable", "other"}

# a name that is none of these is somebody's word: <TENT>, <3, Map<a, b>
_BREAKING = """
    address article aside base blockquote body br button canvas caption center col colgroup dd
    details div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6
    head header hr html iframe img input label legend li link main map meta nav noscript object ol
    optgroup option p param picture pre script section select source style summary svg table tbody
    td template textarea tfoot th thead title tr ul video audio"""
_INSIDE = """
    a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strike
    strong sub sup tt u var wbr"""
# name=value, or a word that HTML lets stand alone: "a<b and c>d" is a comparison and no tag b
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_ALONE = """
    allowfullscreen async autoplay checked controls defer disabled hidden loop muted nowrap selected
"""
_BREAKING, _INSIDE, _ALONE = ("|".join(names.split()) for names in (_BREAKING, _INSIDE, _ALONE))
# possessive (*+): what was read is never tried another way, so that no text takes long
_ATTRIBUTES = rf"(?:\s+(?:[a-z][\w:.-]*\s*=\s*{_VALUE}|{_ALONE}))*+\s*/?"
_TAG = re.compile(rf"</?(?:(?P<breaking>{_BREAKING})|{_INSIDE}){_ATTRIBUTES}>", re.IGNORECASE)
_UNSEEN = re.compile(
    rf"<!--.*?-->|<!doctype[^<>]*>|<(?P<name>script|style){_ATTRIBUTES}>.*?</(?P=name)\s*>",
    re.IGNORECASE | re.DOTALL,
)


def clean(text: str) -> str:
    """A published text on one line: entities of HTML resolved once, tags and scripts out, control,
    bidi and zero-width characters gone, one space between words, cut."""
    return plain(_without_tags(_resolved(text)))


def has_tags(text: str) -> bool:
    """Whether `clean` takes HTML tags, comments or scripts out of a text."""
    text = _resolved(text)
    return _without_tags(text) != text


def _resolved(text: str) -> str:
    return html.unescape(text[: 8 * MAX_CHARACTERS])


def _without_tags(text: str) -> str:
    """``<b>Tent</b>`` -> ``Tent``, ``Tent<br>green`` -> ``Tent green``; ``a < b``, ``<3`` stay."""
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


def plain_id(text: str) -> str:
    """An id without what people and programs change in it: case, spaces, wide characters, zeros in
    front. Ids with one plain form may be one."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split()).lstrip("0")


def nearest(text: str, ids: Sequence[str], count: int = 3) -> list[str]:
    """The ids most like a text that is none of them: those with its plain form, then those that
    hold it or that it holds; only where there is neither, those with similar letters."""
    low, plain_text = text.lower(), plain_id(text)

    def is_close(name: str) -> bool:
        return low in name.lower() or name.lower() in low or plain_id(name) == plain_text

    close = [name for name in ids if is_close(name)] if low else []
    if not close:
        return difflib.get_close_matches(text, ids[:_LOOKED_AT], n=count, cutoff=0.5)
    close.sort(key=lambda name: (plain_id(name) != plain_text, abs(len(name) - len(text))))
    return close[:count]


def parse_record(
    line: str, parse_json: Callable[[str], object] = json.loads
) -> tuple[dict | None, bool]:
    """The dictionary of a line, None where it is too long or holds none of plain values; and
    whether it is written in Python's way (Amazon 2014)."""
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
    with warnings.catch_warnings():  # the compiler's advice about backslashes in somebody's text
        warnings.simplefilter("ignore")
        return ast.literal_eval(line.strip())
