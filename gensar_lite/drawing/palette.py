"""What figures look alike in: colours, symbols, and strangers' text made safe to draw.

In: names of views and tasks, texts that come from data. Out: colours as ``#rrggbb``, words, text.
This file draws nothing and imports no drawing library; no other file of the package names a colour
(the page's style sheet does, in `gensar_lite/evaluation/page.css`).
"""

import html

# Okabe & Ito's eight colours: colour-blind readers can tell them apart; MARKERS, SYMBOLS or DASHES
# go with them place by place, so that a black-and-white print can be read too
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW, BLACK = OKABE_ITO
GREY = "#B8B8B8"  # what is not told apart: all others, the background of a comparison
DARK_GREY = "#8C8C8C"  # a ninth colour
FAINT = "#D0D0D0"  # lines that only join points
WHITE = "#FFFFFF"

# one colour per view and per task, the same in every figure and lesson, none with two meanings;
# what both views have in common, the joint view or the shared trunk, has a third one
VIEW_COLOUR = {"semantic": BLUE, "collaborative": ORANGE, "joint": PURPLE}
TASK_COLOUR = {"search": GREEN, "recommend": VERMILLION}
FREE_COLOURS = (SKY, BLACK, DARK_GREY, YELLOW, GREY)  # for anything but views and tasks
TASK_TITLE = {"search": "Search", "recommend": "Recommendation"}

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # matplotlib's
SYMBOLS = ("circle", "square", "diamond", "triangle-up")  # plotly's
DASHES = ("solid", "dash", "dot", "dashdot")  # plotly's
MAX_TEXT = 60  # characters of a stranger's text that are shown


def plain(text: object, length: int = MAX_TEXT) -> str:
    """Untrusted text on one line: cut to `length`, control characters become spaces."""
    return "".join(c if c.isprintable() else " " for c in str(text)[:length])


def escape(text: object, length: int = MAX_TEXT) -> str:
    """`plain` for plotly and HTML, which obey markup: it is shown as itself."""
    return html.escape(plain(text, length), quote=False)


def no_formula(text: object, length: int = MAX_TEXT) -> str:
    """`plain` for matplotlib, where ``$`` starts a formula: it is shown as itself."""
    return plain(text, length).replace("$", r"\$")
