"""Running the notebooks from the shell: papermill over all of them, with a verdict to be trusted.

In: notebook files and a preset. Out: executed copies, a table of seconds and verdicts. Success is
the manifest that a lesson's last cell writes: papermill itself is content with a dead kernel.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gensar_lite.artifacts import ArtifactError, Workspace, file_digest, replacing
from gensar_lite.config import ConfigError


class Verdict(NamedTuple):
    """How one lesson went; a message where it is not ok."""

    lesson: str
    ok: bool
    seconds: float
    message: str

    def __str__(self) -> str:
        outcome = "ok" if self.ok else "FAILED"
        message = "" if self.ok else self.message
        return f"{self.lesson:<26} {outcome:<7} {self.seconds:7.1f} s  {message}".rstrip()


def run_lessons(ws: Workspace, folder: Path, only: list[str] | None, save: bool) -> int:
    """Execute `find_lessons` one by one and print how they went: exit status 0 if all went well.

    With `save` the outputs of those that did go back into the notebooks.
    """
    lessons = find_lessons(folder, only)
    verdicts = []
    for number, path in enumerate(lessons, start=1):
        print(f"[{number}/{len(lessons)}] {path.stem} ...", flush=True)
        digest = file_digest(path)  # as it was started: the author may go on writing meanwhile
        verdict = run_lesson(path, ws)
        if save and verdict.ok:
            try:
                save_back(executed_copy(path, ws), path, digest)
            except ArtifactError as problem:
                verdict = verdict._replace(ok=False, message=str(problem))
        outcome = "ok" if verdict.ok else f"FAILED: {verdict.message}"
        print(f"        {outcome} {verdict.seconds:.1f} s")
        verdicts.append(verdict)
    print(table(verdicts))
    return 0 if all(verdict.ok for verdict in verdicts) else 1


def table(verdicts: list[Verdict]) -> str:
    """The summary: one line per lesson, and all together."""
    seconds = sum(verdict.seconds for verdict in verdicts)
    whole = Verdict("all", all(verdict.ok for verdict in verdicts), seconds, "")
    return "\n".join(map(str, [*verdicts, whole]))


def find_lessons(folder: Path, only: list[str] | None = None) -> list[Path]:
    """Notebooks ``NN_word.ipynb`` in order; `only` keeps those whose number or name starts so.

    Raises `ConfigError` when nothing is left.
    """
    lessons = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    kept = [path for path in lessons if not only or path.stem.startswith(tuple(only))]
    if kept:
        return kept
    folder = folder.resolve()
    if lessons:
        raise ConfigError(
            f"notebooks: nothing in {folder} matches {', '.join(only or [])}. There are: "
            f"{', '.join(path.stem for path in lessons)}."
        )
    problem = "holds no notebook NN_name.ipynb" if folder.is_dir() else "does not exist"
    raise ConfigError(
        f"notebooks: looked in {folder}, which {problem}. The lessons come with a checkout of the "
        "project, not with the installed package: change to the checkout's folder, or say where "
        "they are with --folder."
    )


def lesson_name(path: Path) -> str:
    """``03_identifiers``, or ``03_identifiers_solutions`` for the notebook of its solutions."""
    return path.stem + ("_solutions" if path.parent.name == "solutions" else "")


def executed_copy(path: Path, ws: Workspace) -> Path:
    """Where `run_lesson` leaves the executed notebook."""
    return ws.root / "artifacts" / ws.run / "notebooks" / f"{lesson_name(path)}.ipynb"


def run_lesson(path: Path, ws: Workspace, parameters: dict | None = None) -> Verdict:
    """Execute one notebook into ``artifacts/<run>/notebooks/`` and judge it by its manifest."""
    import papermill

    name = lesson_name(path)
    parameters = {"PRESET": ws.config.name} | (parameters or {})
    try:
        known = papermill.inspect_notebook(str(path))
    except Exception as error:  # no notebook at all, whatever papermill calls that
        return Verdict(name, False, 0.0, f"cannot be read ({_last_line(error)})")
    # papermill would only log a name it does not know, and run with the default
    unknown = ", ".join(parameter for parameter in parameters if parameter not in known)
    if unknown:
        message = f"has no parameter {unknown} (it has {', '.join(known)})"
        return Verdict(name, False, 0.0, message)
    manifest = ws.root / "artifacts" / ws.config.name / "lessons" / f"{name}.json"
    # one of an earlier execution proves nothing
    manifest.unlink(missing_ok=True)
    target = executed_copy(path, ws)
    target.parent.mkdir(parents=True, exist_ok=True)
    options = {"cwd": str(path.parent), "progress_bar": False, "log_output": False}
    started = time.perf_counter()
    message = ""
    try:
        with _workspace_told(ws.root):
            papermill.execute_notebook(str(path), str(target), parameters, **options)
        if not manifest.exists():
            message = "ended without its last cell (kernel died, or a cell left early)"
    except Exception as error:  # a lesson may fail in any way; the others still run
        message = _last_line(error)
    return Verdict(name, not message, time.perf_counter() - started, message)


@contextmanager
def _workspace_told(root: Path) -> Iterator[None]:
    """A kernel inherits the environment, and finds `root` there; ours is put back afterwards."""
    previous = dict(os.environ)
    os.environ["GENSAR_WORKSPACE"] = str(root)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(previous)


def _last_line(error: Exception) -> str:
    """The kind of an error and what it says in the end, an empty text included."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1][:200]}"


def save_back(executed: Path, original: Path, digest: str | None = None) -> None:
    """Put an executed lesson's outputs into the committed notebook, without a kernel's own traces.

    Injected parameters, widget state and papermill's traces go; outputs, counts and cell ids stay.
    With `digest`, that of the notebook when it was started, one that was edited meanwhile stays as
    it is: raises `ArtifactError`.
    """
    import nbformat

    if digest is not None and file_digest(original) != digest:
        raise ArtifactError(
            f"notebooks: {original} was edited while it ran, so its outputs were not saved into "
            f"it. They are in {executed}; run it again to have them in both."
        )
    notebook = nbformat.read(executed, as_version=4)
    injected = [c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", [])]
    notebook.cells = [cell for cell in notebook.cells if cell not in injected]
    for name in ("widgets", "papermill"):
        notebook.metadata.pop(name, None)
    for number, cell in enumerate(notebook.cells):
        # empty lists of tags differ between editors: gone, as traces of papermill are
        gone = ("papermill", "execution")
        kept = {key: value for key, value in cell.metadata.items() if value and key not in gone}
        cell.metadata = nbformat.from_dict(kept)
        cell.id = f"{original.stem[:2]}-{number:03d}"  # stable from one refresh to the next
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
    with replacing(original) as draft:
        nbformat.write(notebook, draft)


def _is_progress(output: dict) -> bool:
    """Bars end on standard error, or as a widget that only the running kernel can draw."""
    if output.get("output_type") == "stream" and output.get("name") == "stderr":
        return True
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})
