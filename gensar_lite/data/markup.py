"""HTML in strangers' texts: tags, comments and scripts go, words and an ordinary ``<`` stay.

In: one text, short already (text.py cuts it). Out: the text that a browser would show. This file
resolves no entity; it is no defence either: a page escapes what it shows, whatever is in it.
"""

from __future__ import annotations

import re

# a name that is none of these is somebody's word: <TENT>, <3, Map<a, b>
_BREAKING = """
    address article aside base blockquote body br button canvas caption center col colgroup dd details
    div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header
    hr html iframe img input label legend li link main map meta nav noscript object ol optgroup option
    p param picture pre script section select source style summary svg table tbody td template
    textarea tfoot th thead title tr ul video audio
"""
_INSIDE = """
    a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strike
    strong sub sup tt u var wbr
"""
# name=value, or a word that HTML lets stand alone: "a<b and c>d" is a comparison and no tag b
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_ALONE = "allowfullscreen async autoplay checked controls defer disabled hidden loop muted nowrap selected"


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


def without_tags(text: str) -> str:
    """`text` without scripts, styles and comments, and without the tags of other elements.

    ``<b>Tent</b>`` -> ``Tent``, ``Tent<br>green`` -> ``Tent green``. What is no HTML element stays:
    ``a < b``, ``<3``.
    """
    if "<" not in text or ">" not in text:
        return text
    return _TAG.sub(lambda tag: " " if tag["breaking"] else "", _UNSEEN.sub(" ", text))
