"""Running the notebooks from the shell: papermill over all of them, with a verdict that can be trusted.

In: notebook files and a preset. Out: executed copies, a table of seconds and verdicts.
Success is the manifest that a lesson's last cell writes: papermill itself is content with a dead kernel.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from gensar_lite.artifacts import ArtifactError, Workspace, file_digest, replacing
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
    lessons = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    kept = [p for p in lessons if not only or any(p.stem.startswith(o) for o in only)]
    if not kept:
        raise ConfigError(_nothing_kept(folder.resolve(), [path.stem for path in lessons], only))
    return kept


def _nothing_kept(folder: Path, names: list[str], only: list[str] | None) -> str:
    if names:
        return f"notebooks: nothing in {folder} matches {', '.join(only or [])}. There are: {', '.join(names)}."
    there = "holds no notebook NN_name.ipynb" if folder.is_dir() else "does not exist"
    return (
        f"notebooks: looked in {folder}, which {there}. The lessons come with a checkout of the project, not with the "
        "installed package: change to the checkout's folder, or say where they are with --folder."
    )


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
    name = lesson_name(path)
    try:
        known = papermill.inspect_notebook(str(path))
    except Exception as error:  # no notebook at all, whatever papermill calls that
        return Verdict(name, False, 0.0, f"cannot be read ({_last_line(error)})")
    unknown = [p for p in parameters if p not in known]
    if unknown:
        return Verdict(
            name, False, 0.0, f"has no parameter {', '.join(unknown)} (it has {', '.join(known)})"
        )
    target = executed_copy(path, ws)
    target.parent.mkdir(parents=True, exist_ok=True)
    manifest = ws.root / "artifacts" / ws.config.name / "lessons" / f"{name}.json"
    manifest.unlink(missing_ok=True)
    started, message = time.perf_counter(), ""
    previous = os.environ.get("GENSAR_WORKSPACE")
    os.environ["GENSAR_WORKSPACE"] = str(ws.root)
    try:
        papermill.execute_notebook(
            str(path),
            str(target),
            parameters=parameters,
            cwd=str(path.parent),
            progress_bar=False,
            log_output=False,
        )
    except Exception as error:  # a lesson may fail in any way; the others still run
        message = _last_line(error)
    finally:
        if previous is None:
            del os.environ["GENSAR_WORKSPACE"]
        else:
            os.environ["GENSAR_WORKSPACE"] = previous
    if not message and not manifest.exists():
        message = "ended without its last cell (kernel died, or a cell left early)"
    return Verdict(name, not message, time.perf_counter() - started, message or "ok")


def _last_line(error: Exception) -> str:
    """The kind of an error and what it says in the end, an empty text included."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1][:200]}"


def save_back(executed: Path, original: Path, digest: str | None = None) -> None:
    """Put an executed lesson's outputs into the committed notebook, without what only a kernel needs.

    Injected parameters, widget state and papermill's traces go; outputs, counts and cell ids stay. With `digest`, that
    of the notebook when it was started, one that was edited meanwhile stays as it is: raises `ArtifactError`.
    """
    import nbformat

    if digest is not None and file_digest(original) != digest:
        raise ArtifactError(
            f"notebooks: {original} was edited while it ran, so its outputs were not saved into it. They are in "
            f"{executed}; run it again to have them in both."
        )
    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = [
        c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])
    ]
    for name in ("widgets", "papermill"):
        notebook.metadata.pop(name, None)
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {
            k: v for k, v in cell.metadata.items() if v and k not in ("papermill", "execution")
        }
        cell.id = f"{original.stem[:2]}-{number:03d}"  # stable from one refresh to the next
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not _is_noise(o)]
    with replacing(original) as draft:
        nbformat.write(notebook, draft)


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
