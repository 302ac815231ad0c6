"""Matplotlib figures without pyplot, so that nothing is kept open; fonts for letters of any script.

In: sizes, finished figures, names for a legend. Out: an empty `Figure` with its axes, PNG bytes,
labels without a box. Matplotlib's own font knows Latin, Greek, Cyrillic and Arabic letters; others
are looked for among the installed fonts. This file does not know what is drawn.
"""

import base64
import io
from collections.abc import Sequence
from functools import cache

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

OWN = "DejaVu Sans"  # comes with matplotlib
# fonts of boxes, and of pictures that have no outline
NO_LETTERS = ("lastresort", "last resort", "emoji")


def canvas(width: float, height: float, columns: int = 1) -> tuple[Figure, np.ndarray]:
    """A white figure, `width` x `height` inches, and its panels (columns,), with a faint grid."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    panels = np.atleast_1d(figure.subplots(1, columns))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, lw=0.6)
        axes.set_axisbelow(True)  # the grid lies behind the data
    return figure, panels


def figure_png(figure: Figure, dpi: int = 110) -> bytes:
    """PNG bytes, the same for the same figure: no date and no software version inside."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def figure_uri(figure: Figure) -> str:
    """The figure as a ``data:`` address, to stand in a page that loads nothing."""
    return png_uri(figure_png(figure))


def png_uri(png: bytes) -> str:
    """PNG bytes as a ``data:`` address."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def drawable_labels(names: Sequence[str], noun: str = "name") -> tuple[list[str], list[str], str]:
    """`names` as labels without a letter that no installed font has; font families; a note.

    Signs without a glyph (emoji) are left out; a name with such a letter is shown as ``noun 2``
    (its place, from 1) and written out in the note, which a browser can show ("": no such name).
    """
    # all names at once: one legend has one list of families
    families, known = fonts_for(frozenset("".join(names)))
    labels, numbered = [], []
    for place, name in enumerate(names, start=1):
        number = f"{noun} {place}"
        label = "".join(character for character in name if character in known).strip()
        # a sign may be missing, a letter may not: the name would be another one
        if any(character.isalnum() for character in set(name) - known):
            numbered.append(f"{number}: {name}")
            label = number
        labels.append(label or number)
    note = f"No installed font has the letters of these names. {'; '.join(numbered)}"
    return labels, families, note if numbered else ""


@cache
def fonts_for(characters: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Few font families, matplotlib's own first, and which of `characters` they can draw."""
    families, missing = [OWN], characters - _glyphs(findfont(FontProperties(family=OWN)))
    while missing:
        # greedy: the family that has most of what is still missing; equals by name
        covers = {name: len(missing & _glyphs(path)) for name, path in _installed().items()}
        best = min(covers, key=lambda name: (-covers[name], name), default=None)
        if best is None or not covers[best]:
            break
        families.append(best)
        missing -= _glyphs(_installed()[best])
    return families, characters - missing


@cache
def _installed() -> dict[str, str]:
    """The file of each family that has an upright font of usual weight; no boxes, no pictures."""
    files = {}
    for font in fontManager.ttflist:
        usual = font.style == "normal" and font.weight in (400, "normal", "regular")
        if usual and not any(word in font.name.lower() for word in NO_LETTERS):
            files[font.name] = font.fname
    return dict(sorted(files.items()))


@cache
def _glyphs(path: str) -> frozenset[str]:
    """The characters that a font file has; none where it cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
