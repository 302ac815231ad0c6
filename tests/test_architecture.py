"""The house rules that a machine can check: imports point left, files are short and say what they are."""

from __future__ import annotations

import ast
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
    ("__main__",),
)
PLACE = {room: place for place, rooms in enumerate(ROWS) for room in rooms}
MAY_DOWNLOAD = {"data", "doctor", "__main__"}
MAX_LINES = 300
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
    """Dotted names of everything imported, ``from gensar_lite import data`` and relative imports included."""
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
        if top != "gensar_lite":
            continue
        other = rest.partition(".")[0]
        if other.startswith("__") and other != "__main__":  # __version__
            continue
        if other != room and not PLACE.get(other, len(ROWS)) < PLACE.get(room, 0):
            wrong.append(name)
    return wrong


def test_every_room_has_its_place():
    assert {room_of(path) for path in FILES} - {"__init__"} <= set(PLACE)


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
        ("__init__.py", "import gensar_lite.config", ["gensar_lite.config"]),
    ],
)
def test_the_check_itself(file, source, wrong):
    assert wrong_imports(source, PACKAGE / file) == wrong
