"""The house rules that a machine can check: imports point left, files are short, lines narrow,
hard steps commented, and every file says what it is."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gensar_lite"
FILES = sorted(PACKAGE.rglob("*.py"))

# a room may import itself and the rooms of earlier rows
ROWS = (
    ("config",),
    ("machine",),
    ("metrics", "drawing"),
    ("artifacts",),
    ("notebook", "data"),
    ("embeddings",),
    ("identifiers",),
    ("training",),
    ("decoding",),
    ("evaluation",),
    ("pipeline",),
    ("experiments",),
    ("explore",),
    ("lessons", "doctor", "parser"),
    ("verbs",),
    ("__main__",),
)
PLACE = {room: place for place, rooms in enumerate(ROWS) for room in rooms}
# the same inside a room: a sub-room may import itself and the sub-rooms of earlier rows
SUB_ROWS = {
    "data": (("shop", "published", "own"),),
    "training": (("sequences",), ("backbones",), ("loop",)),
}
SUB_PLACE = {
    (room, sub_room): place
    for room, rows in SUB_ROWS.items()
    for place, sub_rooms in enumerate(rows)
    for sub_room in sub_rooms
}
MAY_DOWNLOAD = {"data", "doctor", "verbs", "__main__"}
MAY_BENCH = {"verbs"}  # benchmarks/ is no part of the package
MAX_LINES = 300
MAX_WIDTH = 100  # columns
# shares over the whole package
MAX_WIDE_LINES = 0.02
MIN_COMMENTS = 0.060  # lines with a comment, of all lines
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "torch.load",
    "torch.save",
    "np.save",
    "np.load",
    "pd.read_pickle",
}
FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST, path: Path) -> set[str]:
    """Dotted names of all imports, ``from gensar_lite import data`` and relative ones included."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ("gensar_lite", *path.relative_to(PACKAGE).parts[:-1])
                base = ".".join(filter(None, [*package[: len(package) - node.level + 1], base]))
            names |= {
                f"{base}.{alias.name}" if base == "gensar_lite" else base for alias in node.names
            }
    return names


def wrong_imports(source: str, path: Path) -> list[str]:
    room, wrong = room_of(path), []
    for name in imported(ast.parse(source), path):
        top, _, rest = name.partition(".")
        if top == "data_download" and room not in MAY_DOWNLOAD:
            wrong.append(name)
        if top == "benchmarks" and room not in MAY_BENCH:
            wrong.append(name)
        if top != "gensar_lite":
            continue
        other = rest.partition(".")[0]
        if other.startswith("__") and other != "__main__":  # __version__
            continue
        if other != room and not PLACE.get(other, len(ROWS)) < PLACE.get(room, 0):
            wrong.append(name)
        if other == room and not sub_room_may_import(path, name):
            wrong.append(name)
    return wrong


def sub_room_may_import(path: Path, name: str) -> bool:
    """Whether a file of a sub-room may import this module of its room; all else of the room may."""
    room, sub_room = path.relative_to(PACKAGE).parts[:2] if path.parent != PACKAGE else ("", "")
    other = [*name.split("."), "", ""][2]
    if sub_room == other or (room, sub_room) not in SUB_PLACE or (room, other) not in SUB_PLACE:
        return True
    return SUB_PLACE[room, other] < SUB_PLACE[room, sub_room]


def comments(source: str) -> int:
    """Lines that hold a comment, alone or behind code."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})


def test_every_room_has_its_place():
    assert {room_of(path) for path in FILES} - {"__init__"} <= set(PLACE)
    for room, sub_room in SUB_PLACE:
        assert (PACKAGE / room / sub_room / "__init__.py").exists()


def test_lines_are_narrow_and_hard_steps_are_commented():
    sources = [path.read_text() for path in FILES]
    num_lines = sum(len(source.splitlines()) for source in sources)
    wide = sum(len(line) > MAX_WIDTH for source in sources for line in source.splitlines())
    assert wide <= MAX_WIDE_LINES * num_lines
    assert sum(map(comments, sources)) >= MIN_COMMENTS * num_lines


def test_comments_are_counted_by_lines():
    assert comments("# one\nx = 1  # two\ny = '# no comment'\n") == 2


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_file(path):
    source = path.read_text()
    tree = ast.parse(source)
    assert wrong_imports(source, path) == [], "imports point left"
    assert ast.get_docstring(tree), "a file says what it is in its first lines"
    assert len(source.splitlines()) <= MAX_LINES, "files are short"
    modules = {name.partition(".")[0] for name in imported(tree, path)}
    assert not modules & FORBIDDEN_MODULES
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & FORBIDDEN_CALLS


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        (
            "training/loop/loop.py",
            "from gensar_lite.evaluation.scores import ndcg",
            ["gensar_lite.evaluation.scores"],
        ),
        (
            "training/loop.py",
            "from gensar_lite.training.sequences.tasks import x\nimport gensar_lite.config",
            [],
        ),
        ("data/stage.py", "from gensar_lite import notebook", ["gensar_lite.notebook"]),
        ("data/stage.py", "def f():\n    from ..pipeline import run", ["gensar_lite.pipeline"]),
        ("data/beauty.py", "from data_download import fetch\nfrom . import tables", []),
        ("embeddings/stage.py", "import data_download.fetch", ["data_download.fetch"]),
        ("config/tree.py", "from gensar_lite.artifacts import Corpus", ["gensar_lite.artifacts"]),
        ("__main__.py", "from gensar_lite import __version__, doctor, pipeline", []),
        ("unknown.py", "from gensar_lite.config import Config", ["gensar_lite.config"]),
        (
            "data/own/rules.py",
            "from gensar_lite.data.shop.synthetic import make_shop\nimport gensar_lite.data.tables",
            ["gensar_lite.data.shop.synthetic"],
        ),
        ("data/stage.py", "from gensar_lite.data.own.rules import x", []),
        ("training/loop/steps.py", "from gensar_lite.training.backbones import new_model", []),
        (
            "training/backbones/__init__.py",
            "from gensar_lite.training.loop.loop import Trainer",
            ["gensar_lite.training.loop.loop"],
        ),
        ("verbs.py", "from benchmarks import run_bench", []),
        ("training/stage.py", "from benchmarks.contest import measure", ["benchmarks.contest"]),
        ("__init__.py", "import gensar_lite.config", ["gensar_lite.config"]),
    ],
)
def test_the_check_itself(file, source, wrong):
    assert wrong_imports(source, PACKAGE / file) == wrong
