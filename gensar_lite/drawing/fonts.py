"""Which names a figure can draw: fonts for the letters of any script, and a number where this
machine has none.

In: names for a legend. Out: font families that together hold their letters, and labels without a
box. Matplotlib's own font knows Latin, Greek, Cyrillic and Arabic letters; others are looked for
among the installed fonts. This file draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

OWN = "DejaVu Sans"  # comes with matplotlib
NO_LETTERS = (
    "lastresort",
    "last resort",
    "emoji",
)  # fonts of boxes, and of pictures that have no outline


class Labels(NamedTuple):
    """Labels for a legend, `families` to draw them in, and a `note` with the names that are shown
    by number ("").
    """

    labels: list[str]
    families: list[str]
    note: str


def drawable_labels(names: Sequence[str], noun: str = "name") -> Labels:
    """`names` as labels without a letter that no installed font has.

    Signs without a glyph (emoji) are left out; a name with such a letter is shown as ``noun 2``
    (its place, from 1) and written out in the note, which a browser can show.
    """
    families, known = fonts_for(frozenset("".join(names)))
    labels, numbered = [], []
    for place, name in enumerate(names, start=1):
        missing = {character for character in name if character not in known}
        if any(character.isalnum() for character in missing):
            numbered.append(f"{noun} {place}: {name}")
            labels.append(f"{noun} {place}")
        else:
            labels.append("".join(c for c in name if c not in missing).strip() or f"{noun} {place}")
    note = (
        f"No installed font has the letters of these names. {'; '.join(numbered)}"
        if numbered
        else ""
    )
    return Labels(labels, families, note)


@cache
def fonts_for(characters: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Font families, matplotlib's own first, and which of `characters` they can draw: as few
    families as needed.
    """
    families, missing = [OWN], characters - _glyphs(findfont(FontProperties(family=OWN)))
    while missing:
        covers = {name: len(missing & _glyphs(path)) for name, path in _installed()}
        best = min(covers, key=lambda name: (-covers[name], name), default=None)
        if best is None or not covers[best]:
            break
        families.append(best)
        missing -= _glyphs(dict(_installed())[best])
    return families, characters - missing


@cache
def _installed() -> list[tuple[str, str]]:
    """``(family, file)`` of each family that has an upright font of usual weight; no boxes, no
    pictures.
    """
    usual = [
        font
        for font in fontManager.ttflist
        if font.style == "normal" and font.weight in (400, "normal", "regular")
    ]
    files = {font.name: font.fname for font in usual}
    return [
        pair
        for pair in sorted(files.items())
        if not any(word in pair[0].lower() for word in NO_LETTERS)
    ]


@cache
def _glyphs(path: str) -> frozenset[str]:
    """The characters that a font file has; none where it cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
