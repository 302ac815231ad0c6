"""Running the notebooks from the shell: papermill over all of them, with a verdict that can be trusted.

In: notebook files and a preset. Out: executed copies, a table of seconds and verdicts.
Success is the manifest that a lesson's last cell writes: papermill itself is content with a dead kernel.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from gensar_lite.artifacts import Workspace
from gensar_lite.config import ConfigError


class Verdict(NamedTuple):
    """How one lesson went."""

    lesson: str
    ok: bool
    seconds: float
    message: str


def find_lessons(folder: Path, only: list[str] | None = None) -> list[Path]:
    """Notebooks ``NN_word.ipynb`` in order; `only` keeps those whose number or name starts so.

    Raises `ConfigError` when nothing is left.
    """
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    kept = [p for p in found if not only or any(p.stem.startswith(o) for o in only)]
    if not kept:
        names = ", ".join(p.stem for p in found) or "none"
        raise ConfigError(
            f"notebooks: nothing matches {', '.join(only or ['*'])} in {folder.name}/. There are: {names}."
        )
    return kept


def lesson_name(path: Path) -> str:
    """``03_identifiers``, or ``03_identifiers_solutions`` for the notebook of its solutions."""
    return path.stem + ("_solutions" if path.parent.name == "solutions" else "")


def executed_copy(path: Path, ws: Workspace) -> Path:
    """Where `run_lesson` leaves the executed notebook."""
    return ws.root / "artifacts" / ws.run / "notebooks" / f"{lesson_name(path)}.ipynb"


def run_lesson(path: Path, ws: Workspace, parameters: dict | None = None) -> Verdict:
    """Execute one notebook into ``artifacts/<run>/notebooks/`` and judge it by its manifest.

    Parameters are compared with the notebook's own first: papermill only logs an unknown name.
    """
    import papermill

    parameters = {"PRESET": ws.config.name} | (parameters or {})
    known = papermill.inspect_notebook(str(path))
    unknown = [p for p in parameters if p not in known]
    name = lesson_name(path)
    if unknown:
        return Verdict(name, False, 0.0, f"has no parameter {', '.join(unknown)} (it has {', '.join(known)})")
    target = executed_copy(path, ws)
    target.parent.mkdir(parents=True, exist_ok=True)
    manifest = ws.root / "artifacts" / ws.config.name / "lessons" / f"{name}.json"
    manifest.unlink(missing_ok=True)
    started, message = time.perf_counter(), ""
    previous = os.environ.get("GENSAR_WORKSPACE")
    os.environ["GENSAR_WORKSPACE"] = str(ws.root)
    try:
        papermill.execute_notebook(
            str(path), str(target), parameters=parameters, cwd=str(path.parent), progress_bar=False, log_output=False
        )
    except Exception as error:  # a lesson may fail in any way; the others still run
        message = f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:200]}"
    finally:
        if previous is None:
            del os.environ["GENSAR_WORKSPACE"]
        else:
            os.environ["GENSAR_WORKSPACE"] = previous
    if not message and not manifest.exists():
        message = "ended without its last cell (kernel died, or a cell left early)"
    return Verdict(name, not message, time.perf_counter() - started, message or "ok")


def save_back(executed: Path, original: Path) -> None:
    """Put an executed lesson's outputs into the committed notebook, without what only a kernel needs.

    Injected parameters, widget state and papermill's traces go; outputs, counts and cell ids stay.
    """
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for name in ("widgets", "papermill"):
        notebook.metadata.pop(name, None)
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {k: v for k, v in cell.metadata.items() if v and k not in ("papermill", "execution")}
        cell.id = f"{original.stem[:2]}-{number:03d}"  # stable from one refresh to the next
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not _is_noise(o)]
    nbformat.write(notebook, original)


def _is_noise(output: dict) -> bool:
    """Progress bars: they end on standard error, or as a widget that only the running kernel can draw."""
    if output.get("output_type") == "stream" and output.get("name") == "stderr":
        return True
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def table(verdicts: list[Verdict]) -> str:
    """The summary: a line a lesson and the sum."""
    whole = Verdict("all", all(v.ok for v in verdicts), sum(v.seconds for v in verdicts), "")
    lines = [
        f"{v.lesson:<26} {'ok' if v.ok else 'FAILED':<7} {v.seconds:7.1f} s  {'' if v.ok else v.message}"
        for v in [*verdicts, whole]
    ]
    return "\n".join(line.rstrip() for line in lines)
