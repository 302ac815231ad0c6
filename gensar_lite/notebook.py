"""What a notebook's cells need: a workspace, the library's own source, recorded numbers, checks.

In: papermill parameters. Out: a `Workspace`, displays. This file does not know any stage.
"""

import hashlib
import inspect
import json
import math
import os
import textwrap
import warnings
from pathlib import Path

import numpy as np

from gensar_lite.artifacts import Workspace, say, write_json
from gensar_lite.config import ConfigError, for_own_files, override, preset

RECORD_MIME = "application/vnd.gensar.record+json"


def start(
    preset_name: str = "tour", overrides: dict | None = None, run: str | None = None
) -> Workspace:
    """The workspace of a lesson: settings of a preset plus `overrides`.

    `GENSAR_PRESET` wins over `preset_name` and `GENSAR_WORKSPACE` chooses the folder, so that a
    checker that passes no parameters can still run the lesson small and elsewhere. By default the
    project's folder is used, see `project_root`.
    """
    # progress bars of model loading are no lesson; everything else stays visible
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", message="IProgress not found")
    name = os.environ.get("GENSAR_PRESET") or preset_name
    # a user's own tables bring settings of their own
    config = override(preset(name), for_own_files(overrides or {}))
    ws = Workspace.open(config, os.environ.get("GENSAR_WORKSPACE") or project_root(), run)
    say(f"preset {config.name}, source {config.data.source}, artefacts in artifacts/{ws.run}/")
    return ws


def project_root() -> Path:
    """The nearest folder at or above the current one with a ``pyproject.toml``, else this one."""
    here = Path.cwd()
    return next((p for p in (here, *here.parents) if (p / "pyproject.toml").exists()), here)


def show(*objects) -> None:
    """Display the source of library functions or classes, so that a lesson need not copy it."""
    from IPython.display import Code, display  # where no notebook runs, it may not be needed

    for item in objects:
        display(Code(textwrap.dedent(inspect.getsource(item)), language="python"))


def record(name: str, value: float) -> None:
    """Show a learned number and store it in the notebook's output, for tests and reports.

    Raises `ConfigError` for a value that is not a finite number.
    """
    from IPython.display import display

    number = float(value)
    if not math.isfinite(number):
        raise ConfigError(
            f"record: {name} is {number}, which is no result. Look at the cell that computed it."
        )
    # both kinds: the first is read back by tests, the second by people
    kinds = {RECORD_MIME: {"name": name, "value": number}, "text/plain": f"{name} = {number:.4g}"}
    display(kinds, raw=True)


def records(notebook: Path) -> dict[str, float]:
    """Every recorded number of an executed notebook, by name."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    recorded = [output.get("data", {}).get(RECORD_MIME) for output in outputs]
    return {entry["name"]: entry["value"] for entry in recorded if entry}


def finish(ws: Workspace, lesson: str, **facts) -> Path:
    """The last cell of a lesson: write the manifest that proves it ran to its end.

    It lies under the preset's name, where `gensar notebooks` looks for it, whatever run the lesson
    works in.
    """
    path = ws.root / "artifacts" / ws.config.name / "lessons" / f"{lesson}.json"
    write_json(path, {"lesson": lesson, "preset": ws.config.name, "run": ws.run, "facts": facts})
    say(f"lesson {lesson} finished")
    return path


def check(answer, expected, hint: str, tolerance: float = 0.0) -> None:
    """Check an exercise's answer. Prints that it is right, or raises with the hint.

    Numbers may differ by `tolerance`; sequences and arrays are compared element by element.
    """
    try:
        numbers = np.asarray(answer, dtype=float), np.asarray(expected, dtype=float)
        right = np.allclose(*numbers, atol=tolerance)
    except (TypeError, ValueError):  # no numbers, or another shape
        right = answer == expected
    if not right:
        raise AssertionError(f"Not yet: {answer!r}. Hint: {hint}")
    print("Right.")


def seal(answer, salt: str, digits: int = 3) -> str:
    """A fingerprint of an exercise's answer: a cell can hold it without telling the answer.

    Numbers are rounded to `digits`, texts lose case and outer blanks, sequences keep their order.
    `salt` names the exercise, so that equal answers of two exercises look different.
    """
    return hashlib.sha256(f"{salt}: {_rounded(answer, digits)}".encode()).hexdigest()[:16]


def _rounded(answer, digits: int) -> str:
    if isinstance(answer, str):
        return answer.strip().lower()
    if isinstance(answer, bool | np.bool_):  # a yes is not a 1
        return str(bool(answer)).lower()
    if np.iterable(answer):
        return f"[{', '.join(_rounded(part, digits) for part in answer)}]"
    try:
        # adding 0 turns -0.0 into 0.0
        return f"{round(float(answer), digits) + 0.0:.{digits}f}"
    except (TypeError, ValueError):  # no number: wrong, whatever it is
        return repr(answer)


def sealed_check(answer, sealed: str, salt: str, hint: str, digits: int = 3) -> None:
    """As `check`, where the cell knows the answer's `seal` alone."""
    if seal(answer, salt, digits) != sealed:
        raise AssertionError(f"Not yet: {answer!r}. Hint: {hint}")
    print("Right.")
