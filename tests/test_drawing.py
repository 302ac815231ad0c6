"""One palette: every colour of a figure or a lesson has its name there, and one meaning."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import CSS4_COLORS

from gensar_lite.artifacts import TASKS, VIEWS
from gensar_lite.drawing import palette
from gensar_lite.drawing.canvas import canvas, figure_png, figure_uri
from gensar_lite.embeddings.fused import principal_axes

ROOT = Path(__file__).parent.parent
# the palette itself, and the page's style sheet
EXCEPT = {"drawing/palette.py", "drawing/canvas.py"}
FILES = [
    path
    for path in sorted((ROOT / "gensar_lite").rglob("*.py"))
    if path.relative_to(ROOT / "gensar_lite").as_posix() not in EXCEPT
]
LESSONS = sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))
HEX = re.compile(r"#(?:[0-9a-fA-F]{3}){1,2}(?:[0-9a-fA-F]{2})?")


def colours_named_in(source: str) -> list[str]:
    """Colours written out: any ``#rrggbb``, and colour names where a colour is set."""
    named = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            named += [node.value] if HEX.fullmatch(node.value) else []
        elif isinstance(node, ast.keyword):
            named += _names(node.arg or "", node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant):
                    named += _names(str(key.value), value)
    return named


def _names(key: str, value: ast.AST) -> list[str]:
    if "color" not in key and key not in {"c", "fc", "ec"}:
        return []
    strings = [n.value for n in ast.walk(value) if isinstance(n, ast.Constant)]
    return [text for text in strings if isinstance(text, str) and text in CSS4_COLORS]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_file_names_a_colour_of_its_own(path):
    assert colours_named_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_lesson_names_a_colour_of_its_own(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and not source.lstrip().startswith(("%", "!")):
            assert colours_named_in(source) == [], source


@pytest.mark.parametrize(
    ("source", "colours"),
    [
        ('plot(x, color="#B8B8B8")', ["#B8B8B8"]),
        ('GREY = "#abc"', ["#abc"]),
        ('plot(x, color="white" if x else "black")', ["white", "black"]),
        ('look = {"facecolor": "red", "title": "red"}', ["red"]),
        ('px.bar(x, color="task"); say("#1 of red")', []),
        ('scatter(facecolors="none")', []),
    ],
)
def test_the_check_itself(source, colours):
    assert colours_named_in(source) == colours


def test_views_and_tasks_have_one_colour_each_and_no_colour_two_meanings():
    assert set(VIEWS) < set(palette.VIEW_COLOUR)
    assert set(TASKS) == set(palette.TASK_COLOUR) == set(palette.TASK_TITLE)
    meant = [*palette.VIEW_COLOUR.values(), *palette.TASK_COLOUR.values()]
    assert len({*meant, *palette.FREE_COLOURS}) == len(meant) + len(palette.FREE_COLOURS)
    assert len(palette.MARKERS) >= len(palette.OKABE_ITO)


def test_strangers_text_is_shown_as_itself():
    text = "<b>a&b</b>\u202e\n$x$" + "y" * 99
    assert palette.plain(text).startswith("<b>a&b</b>  $x$yyy")
    assert len(palette.plain(text)) == palette.MAX_TEXT
    assert palette.escape(text, 10) == "&lt;b&gt;a&amp;b&lt;/b&gt;"
    assert palette.no_formula("a $5", 3) == r"a \$"


def test_a_canvas_is_the_same_bytes_every_time():
    figures = [canvas(2, 1, columns=2) for _ in range(2)]
    for _, panels in figures:
        assert panels.shape == (2,)
        panels[1].plot([1, 2])
    first, second = (figure_png(figure) for figure, _ in figures)
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert figure_uri(figures[0][0]).startswith("data:image/png;base64,iVBOR")


def test_principal_axes_are_those_of_the_singular_values_with_positive_weights():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))
    x -= x.mean(axis=0)
    axes = principal_axes(x, 3)  # (5, 3)
    theirs = np.linalg.svd(x)[2][:3].T
    np.testing.assert_allclose(np.abs(axes), np.abs(theirs), atol=1e-10)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert (axes[np.abs(axes).argmax(axis=0), range(3)] > 0).all()
    assert principal_axes(x, 9).shape == (5, 5)
