"""The lessons: how they are written, that they run, that what they record is sane, and that a
failure is noticed.

Three suites. The lint reads the committed files. Papermill executes every lesson and its solutions
on `tiny` and reads the recorded numbers back. nbval executes them on `tour` in a fresh workspace
and compares the cells whose text is the same on every machine. The tests of `gensar_lite.lessons`
use notebooks of a few cells.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from gensar_lite.artifacts import LESSON, TASKS, Workspace
from gensar_lite.config import STAGES, ConfigError, preset
from gensar_lite.lessons import (
    Verdict,
    executed_copy,
    find_lessons,
    lesson_name,
    run_lesson,
    save_back,
    table,
)
from gensar_lite.notebook import check, records

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
STAGE_LESSONS = [f"{number:02d}_{stage}" for number, stage in enumerate(STAGES, start=1)]
NAMES = ["00_tour", *STAGE_LESSONS, "07_tradeoff", "09_your_own_data"]
LESSONS = [FOLDER / f"{name}.ipynb" for name in NAMES]
SOLUTIONS = [FOLDER / "solutions" / f"{name}.ipynb" for name in NAMES]
ALL = LESSONS + SOLUTIONS

MAX_BYTES, MAX_LINES = 1_000_000, 35
WIDGET = "application/vnd.jupyter.widget-view+json"
PLOTLY = "application/vnd.plotly.v1+json"
SOMEBODYS_FOLDER = re.compile(
    r"(?<![\w.:/])/(?:home|root|Users|work|tmp|mnt|private|var)/\w|\b[A-Z]:\\\\?(?:Users|work)"
)
REMOTE_IMAGE = re.compile(
    r"!\[[^\]]*\]\(\s*https?:|<img[^>]+src\s*=\s*\\?[\"']?https?:", re.IGNORECASE
)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def cells(notebook: nbformat.NotebookNode, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def prose(notebook: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in cells(notebook, "markdown"))


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def text_of(outputs: list) -> str:
    """Everything in a cell's outputs that can be read, images left out."""
    parts = []
    for output in outputs:
        parts.append(output.get("text", ""))
        parts += [
            v
            for k, v in output.get("data", {}).items()
            if k.startswith("text/") and isinstance(v, str)
        ]
    return "\n".join(parts)


def undescribed_figures(notebook: nbformat.NotebookNode) -> list[str]:
    """Code cells with a figure but no ``Figure ...`` text in the outputs or two cells around."""
    missing = []
    for number, cell in enumerate(notebook.cells):
        drawn = [
            o
            for o in cell.get("outputs", [])
            if {"image/png", "image/svg+xml", PLOTLY} & set(o.get("data", {}))
        ]
        near = notebook.cells[max(number - 2, 0) : number + 3]
        said = [text_of(c.get("outputs", [])) for c in near] + [
            c.source for c in near if c.cell_type == "markdown"
        ]
        if drawn and not any(re.search(r"^\W*Figure\b", text, re.MULTILINE) for text in said):
            missing.append(f"cell {number}: {cell.source.splitlines()[0]}")
    return missing


@functools.cache
def library_names() -> set[str]:
    """Every function and class of the library, by name."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "gensar_lite").rglob("*.py")]
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def identify(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


# ----------------------------------------------------------------------------- how they are written


def test_there_is_a_lesson_a_stage_and_solutions_for_each():
    assert [f"notebooks/{name}.ipynb" for name in STAGE_LESSONS] == list(LESSON.values())
    missing = [identify(path) for path in ALL if not path.exists()]
    assert not missing
    strays = {
        path for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
    } - set(ALL)
    assert not {
        path.name
        for path in strays
        if path.parent.name == "solutions" and not (FOLDER / path.name).exists()
    }


@pytest.mark.parametrize("path", ALL, ids=identify)
def test_form(path):
    notebook, raw = read(path), path.read_text()
    nbformat.validate(notebook)
    assert (
        len(re.findall(r"^# ", re.sub(r"(?s)```.*?```", "", prose(notebook)), re.MULTILINE)) == 1
    ), "one H1"
    assert notebook.cells[0].source.startswith("# "), "the title comes first"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids), "cell ids are unique"
    assert len(path.read_bytes()) < MAX_BYTES, "small enough for a repository's viewer"
    assert "widgets" not in notebook.metadata, "widget state belongs to a running kernel"
    assert WIDGET not in raw, "a progress bar of a kernel that is gone"
    assert "papermill" not in notebook.metadata
    found = SOMEBODYS_FOLDER.search(re.sub(r'"image/png": "[^"]*"', "", raw))
    assert not found, raw[max(found.start() - 60, 0) : found.end() + 60]
    assert not REMOTE_IMAGE.search(raw), "a lesson loads nothing from a network"
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", ALL, ids=identify)
def test_code(path):
    notebook = read(path)
    (parameters,) = [cell for cell in cells(notebook, "code") if "parameters" in tags(cell)]
    tree = ast.parse(parameters.source)
    assert all(
        isinstance(line, ast.AnnAssign) and isinstance(line.value, ast.Constant)
        for line in tree.body
    )
    assert 'PRESET: str = "tour"  # ' in parameters.source
    for cell in cells(notebook, "code"):
        lines = cell.source.splitlines()
        assert len(lines) <= MAX_LINES, lines[0]
        tree = ast.parse(
            "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
        )
        assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        helpers = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        copied = {node.name for node in helpers} & library_names()
        assert not copied, (
            f"a lesson shows the library's {', '.join(copied)}, it does not define it again"
        )
        assert all(node.end_lineno - node.lineno < 10 for node in helpers)
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not calls & {"exit", "quit", "sys.exit", "os._exit"}
    last = cells(notebook, "code")[-1]
    assert f'finish(ws, "{lesson_name(path)}"' in last.source, (
        "the last cell proves that the lesson ran to its end"
    )
    used = {tag for cell in notebook.cells for tag in tags(cell)}
    assert used <= {
        "parameters",
        "nbval-check-output",
        "nbval-ignore-output",
        "skip-execution",
        "nbval-skip",
    }
    skipped = [
        cell for cell in notebook.cells if {"skip-execution", "nbval-skip"} & set(tags(cell))
    ]
    assert all({"skip-execution", "nbval-skip"} <= set(tags(cell)) for cell in skipped)


@pytest.mark.parametrize("path", LESSONS, ids=identify)
def test_a_lesson_teaches(path):
    notebook = read(path)
    text, first = prose(notebook), notebook.cells[0].source
    for needed in ("What you will learn", "What you need", "(Minutes|Time)"):
        assert re.search(rf"\*\*{needed}", first), f"the first cell says: {needed}"
    assert len(cells(notebook, "markdown")) > len(cells(notebook, "code")), "more prose than code"
    assert 40 <= len(notebook.cells) <= 75
    headings = [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]
    for needed in ("recap", "check your understanding", "what is now on disk"):
        assert any(heading.startswith(needed) for heading in headings), f"a heading: {needed}"
    assert re.search(r"^(\*\*|#+ )Next", cells(notebook, "markdown")[-1].source, re.MULTILINE), (
        "it ends with what is next"
    )
    assert text.count("<details>") == text.count("</details>") >= 2, "answers and hints are hidden"
    checked = [cell for cell in cells(notebook, "code") if "nbval-check-output" in tags(cell)]
    assert len(checked) >= 2, "hand examples have an output that is the same everywhere"


@pytest.mark.parametrize("path", LESSONS, ids=identify)
def test_exercises_can_be_done_and_can_be_left(path):
    notebook = read(path)
    assert re.search(r"^#+ Exercise", prose(notebook), re.MULTILINE)
    empty = [
        cell.source
        for cell in cells(notebook, "code")
        if re.search(r"^answer\w* = None", cell.source, re.MULTILINE)
    ]
    assert 2 <= len(empty) <= 4
    assert all(
        re.search(r"if answer\w* is not None", source) and "check(" in source for source in empty
    )
    solved = "\n".join(
        cell.source for cell in cells(read(FOLDER / "solutions" / path.name), "code")
    )
    assert solved.count("check(") >= len(empty)
    assert "answer = None" not in solved


@pytest.mark.parametrize("path", LESSONS, ids=identify)
def test_links_between_lessons_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)", prose(read(path))):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", LESSONS, ids=identify)
def test_committed_outputs(path):
    """Readers of the repository see figures and numbers of `tour`, whole, without an error."""
    notebook = read(path)
    outputs = [output for cell in cells(notebook, "code") for output in cell.outputs]
    assert outputs, "committed with outputs: gensar notebooks --preset tour --save"
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert "preset tour," in text_of(outputs)
    assert f"lesson {path.stem} finished" in text_of(outputs)
    assert all(
        cell.outputs for cell in cells(notebook, "code") if "nbval-check-output" in tags(cell)
    )
    assert any({"image/png", PLOTLY} & set(output.get("data", {})) for output in outputs), (
        "a lesson has pictures"
    )
    assert undescribed_figures(notebook) == []


# ------------------------------------------------------------------------------------ that they run


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Every lesson and its solutions on `tiny`, in one fresh workspace: verdicts, and where."""
    ws = Workspace.open(preset("tiny"), tmp_path_factory.mktemp("course"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GENSAR_PRESET", "GENSAR_WORKSPACE"):
            patch.delenv(name, raising=False)
        verdicts = {}
        for lesson, solution in zip(LESSONS, SOLUTIONS, strict=True):
            for path in (lesson, solution):
                verdicts[lesson_name(path)] = run_lesson(path, ws)
        yield verdicts, ws


@pytest.mark.notebook
@pytest.mark.parametrize("path", ALL, ids=identify)
def test_it_runs_to_its_end(path, course):
    verdicts, ws = course
    verdict = verdicts[lesson_name(path)]
    assert verdict.ok, verdict.message
    manifest = json.loads(
        (ws.root / "artifacts/tiny/lessons" / f"{lesson_name(path)}.json").read_text()
    )
    assert (manifest["lesson"], manifest["preset"]) == (lesson_name(path), "tiny")
    executed = read(executed_copy(path, ws))
    assert undescribed_figures(executed) == []
    if path in SOLUTIONS:
        right = [
            line for cell in cells(executed, "code") for line in text_of(cell.outputs).splitlines()
        ]
        assert (
            right.count("Right.")
            >= sum(cell.source.count("check(") for cell in cells(executed, "code"))
            >= 2
        )


@pytest.mark.notebook
@pytest.mark.parametrize("path", LESSONS, ids=identify)
def test_recorded_numbers_are_sane(path, course):
    found = records(executed_copy(path, course[1]))
    if not found:
        assert path.stem == "05_decoding", "a lesson records what it learned"
    for name, value in found.items():
        if re.search(r"recall|ndcg|mrr|_rate|usage|purity|agreement", name) and "minus" not in name:
            assert 0 <= value <= 1, name


@pytest.mark.notebook
@pytest.mark.parametrize("name", ["00_tour", "06_evaluation"])
def test_the_headline_numbers(name, course):
    """What a lesson shows stands on disk, and keeps the order that holds whatever was learned."""
    _, ws = course
    found = records(executed_copy(FOLDER / f"{name}.ipynb", ws))
    run = "tiny-first-look" if name == "00_tour" else "tiny"
    rows = pd.DataFrame(
        json.loads((ws.root / "artifacts" / run / "evaluation/metrics.json").read_text())
    )
    rows = rows[(rows["protocol"] == "full") & (rows["metric"] == "ndcg@10")]
    stored = {f"{row.system}/{row.task}/ndcg@10": row.value for row in rows.itertuples()}
    both = {
        f"{system}/{task}/ndcg@10"
        for system in ("joint", "popularity", "oracle")
        for task in ("search", "recommend")
    }
    assert both | {"bm25/search/ndcg@10"} <= set(found)
    assert {key: found[key] for key in both} == pytest.approx({key: stored[key] for key in both})
    for task in ("search", "recommend"):
        oracle = found[f"oracle/{task}/ndcg@10"]
        assert oracle > 0.2
        for system in ("joint", "popularity"):
            assert oracle >= found[f"{system}/{task}/ndcg@10"] - 0.05, (
                "nobody beats the truth but by luck"
            )
    assert found["bm25/search/ndcg@10"] > found["popularity/search/ndcg@10"], "words help a search"


@pytest.mark.notebook
def test_later_lessons_reuse_what_earlier_ones_built(course):
    _, ws = course
    for stage in STAGES:
        assert ws.why_stale(stage) is None
    assert (ws.report / "index.html").exists()
    assert {path.name for path in ws.root.iterdir()} <= {"artifacts", "reports"}


@pytest.mark.notebook
@pytest.mark.slow
def test_nbval_on_tour(tmp_path):
    """The committed notebooks, in order, as a reader's machine runs them: minutes, all fresh."""
    environment = os.environ | {"GENSAR_WORKSPACE": str(tmp_path)}
    environment.pop("GENSAR_PRESET", None)
    options = [
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=300",
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *options,
            *(str(path.relative_to(ROOT)) for path in LESSONS),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    done = sorted(path.stem for path in (tmp_path / "artifacts/tour/lessons").glob("*.json"))
    assert done == NAMES
    measured = headline(tmp_path / "artifacts/tour/evaluation/metrics.json")
    reaches_the_bars(measured)
    committed = headline(ROOT / "reports/tour/metrics.json")
    for task in TASKS:  # another machine rounds differently, and learns nearly as much
        assert measured["joint", task] == pytest.approx(committed["joint", task], abs=0.05)


def headline(path: Path) -> dict[tuple[str, str], float]:
    """Full-catalogue NDCG@10 by system and task."""
    rows = [
        row
        for row in json.loads(path.read_text())
        if (row["protocol"], row["metric"]) == ("full", "ndcg@10")
    ]
    return {(row["system"], row["task"]): row["value"] for row in rows}


def reaches_the_bars(ndcg: dict[tuple[str, str], float]) -> None:
    """What the course promises of the shop: half of what can be reached, far above popularity."""
    for task, times in (("search", 3.0), ("recommend", 1.5)):
        assert ndcg["joint", task] >= 0.5 * ndcg["oracle", task]
        assert ndcg["joint", task] >= times * ndcg["popularity", task]


def test_the_committed_tour_reaches_the_bars():
    reaches_the_bars(headline(ROOT / "reports/tour/metrics.json"))


# ------------------------------------------------------------------------ that a failure is noticed

HEAD = [new_code_cell('PRESET: str = "tour"  # settings', metadata={"tags": ["parameters"]})]
START = "from gensar_lite.notebook import finish, record, start\nws = start(PRESET)"


def write(folder: Path, name: str, *sources: str) -> Path:
    """A notebook of a few cells: parameters, then `sources`."""
    notebook = new_notebook(cells=[*HEAD, *map(new_code_cell, sources)])
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture
def ws(tmp_path, monkeypatch) -> Workspace:
    for name in ("GENSAR_PRESET", "GENSAR_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return Workspace.open(preset("tiny"), tmp_path / "work")


@pytest.mark.notebook
def test_a_good_lesson_is_ok_and_its_numbers_come_back(ws, tmp_path):
    path = write(
        tmp_path,
        "01_good",
        START,
        'record("recall@10", 0.25)',
        'record("mrr", 1)',
        'finish(ws, "01_good")',
    )
    before = path.read_bytes()
    verdict = run_lesson(path, ws)
    assert verdict.ok, verdict.message
    assert verdict.lesson == "01_good"
    assert verdict.seconds > 0
    assert records(executed_copy(path, ws)) == {"recall@10": 0.25, "mrr": 1.0}
    assert "preset tiny, source shop" in text_of(
        [o for c in read(executed_copy(path, ws)).cells for o in c.outputs]
    )
    assert path.read_bytes() == before
    assert "GENSAR_WORKSPACE" not in os.environ


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys\nsys.exit(0)", "without its last cell"),
        ("import os\nos._exit(0)", "died"),
        ('record("recall@10", float("nan"))', "recall@10 is nan"),
        ("from gensar_lite.notebook import check\ncheck(1, 2, 'think again')", "think again"),
        ('ws.require("decoding")', "gensar decoding --preset tiny"),
    ],
    ids=[
        "raises",
        "leaves early",
        "kernel dies",
        "records no number",
        "wrong answer",
        "missing artefact",
    ],
)
def test_a_broken_lesson_fails(source, said, ws, tmp_path):
    path = write(tmp_path, "01_broken", START, source, 'finish(ws, "01_broken")')
    verdict = run_lesson(path, ws)
    assert not verdict.ok
    assert said in verdict.message
    assert "\n" not in verdict.message
    assert not (ws.root / "artifacts/tiny/lessons/01_broken.json").exists()


@pytest.mark.notebook
def test_an_old_manifest_proves_nothing(ws, tmp_path):
    path = write(tmp_path, "01_twice", START, 'finish(ws, "01_twice")')
    assert run_lesson(path, ws).ok
    write(tmp_path, "01_twice", START)
    verdict = run_lesson(path, ws)
    assert not verdict.ok
    assert "without its last cell" in verdict.message


def test_an_unknown_parameter_is_refused_before_anything_runs(ws, tmp_path):
    path = write(tmp_path, "01_lesson", START, 'finish(ws, "01_lesson")')
    verdict = run_lesson(path, ws, {"PRESETT": "tiny"})
    assert not verdict.ok
    assert verdict.message == "has no parameter PRESETT (it has PRESET)"
    assert not executed_copy(path, ws).exists()


@pytest.mark.notebook
def test_the_command_fails_when_a_lesson_does_and_still_runs_the_others(ws, tmp_path, capsys):
    from gensar_lite.__main__ import main

    bad = write(tmp_path / "lessons", "01_bad", START, "1 / 0")
    good = write(tmp_path / "lessons", "02_good", START, "40 + 2", 'finish(ws, "02_good")')
    before = bad.read_bytes()
    words = [
        "notebooks",
        "--preset",
        "tiny",
        "--folder",
        str(bad.parent),
        "--workspace",
        str(ws.root),
        "--save",
    ]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert re.search(r"\[1/2\] 01_bad .*\n +FAILED: .*ZeroDivisionError", said)
    assert re.search(r"^02_good +ok", said, re.MULTILINE)
    assert bad.read_bytes() == before, "a failure is not saved"
    assert text_of(read(good).cells[2].outputs).strip() == "42"
    assert main([*words, "--only", "02"]) == 0


# ------------------------------------------------------------------- gensar_lite.lessons, .notebook


def test_lessons_are_found_in_order(tmp_path):
    for name in ("10_late", "02_b", "01_a", "draft", "1_short"):
        write(tmp_path, name)
    write(tmp_path / "solutions", "01_a")
    assert [path.stem for path in find_lessons(tmp_path)] == ["01_a", "02_b", "10_late"]
    assert [path.stem for path in find_lessons(tmp_path, ["10", "01_a"])] == ["01_a", "10_late"]
    with pytest.raises(ConfigError, match=r"matches 03.*There are: 01_a, 02_b, 10_late"):
        find_lessons(tmp_path, ["03"])
    with pytest.raises(ConfigError, match="which does not exist"):
        find_lessons(tmp_path / "nowhere")


def test_solutions_have_a_name_of_their_own(ws):
    assert lesson_name(Path("notebooks/03_identifiers.ipynb")) == "03_identifiers"
    assert (
        lesson_name(Path("notebooks/solutions/03_identifiers.ipynb")) == "03_identifiers_solutions"
    )
    paths = {executed_copy(path, ws) for path in ALL}
    assert len(paths) == len(ALL)


def test_the_table_has_a_line_a_lesson_and_the_sum():
    verdicts = [
        Verdict("00_tour", True, 31.24, "ok"),
        Verdict("01_data", False, 2.0, "ValueError: no"),
    ]
    lines = table(verdicts).splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["00_tour", "ok", "31.2"],
        ["01_data", "FAILED", "2.0"],
        ["all", "FAILED", "33.2"],
    ]
    assert lines[1].endswith("ValueError: no")
    assert table(verdicts[:1]).splitlines()[-1].split() == ["all", "ok", "31.2", "s"]


def test_saving_back_keeps_outputs_and_drops_what_a_kernel_left(tmp_path):
    path = write(tmp_path, "01_lesson", "1 + 1")
    executed = read(path)
    executed.cells.insert(
        1, new_code_cell("PRESET = 'tiny'", metadata={"tags": ["injected-parameters"]})
    )
    executed.cells.insert(0, new_markdown_cell("# Lesson 1", metadata={"tags": []}))
    outputs = [
        {"output_type": "stream", "name": "stderr", "text": "100%|####|"},
        {"output_type": "display_data", "data": {WIDGET: {}, "text/plain": "bar"}, "metadata": {}},
        {"output_type": "stream", "name": "stdout", "text": "two\n"},
        {
            "output_type": "execute_result",
            "data": {"text/plain": "2"},
            "metadata": {},
            "execution_count": 3,
        },
    ]
    executed.cells[-1].outputs = list(map(nbformat.from_dict, outputs))
    executed.cells[-1].execution_count = 3
    executed.cells[-1].metadata = {
        "papermill": {"duration": 1},
        "execution": {},
        "tags": ["nbval-check-output"],
    }
    executed.metadata |= {"widgets": {"state": {}}, "papermill": {"duration": 2}}
    nbformat.write(executed, tmp_path / "executed.ipynb")
    save_back(tmp_path / "executed.ipynb", path)
    saved = read(path)
    assert [cell.source for cell in saved.cells] == ["# Lesson 1", HEAD[0].source, "1 + 1"]
    assert [cell.id for cell in saved.cells] == ["01-000", "01-001", "01-002"]
    assert [tags(cell) for cell in saved.cells] == [[], ["parameters"], ["nbval-check-output"]]
    assert saved.cells[0].metadata == {}
    assert [output.output_type for output in saved.cells[-1].outputs] == [
        "stream",
        "execute_result",
    ]
    assert saved.cells[-1].execution_count == 3
    assert set(saved.metadata) == {"kernelspec"}
    nbformat.validate(saved)


def test_check_accepts_what_is_right_and_hints_otherwise(capsys):
    check([1.0, 2.0], pd.Series([1, 2]), "")
    check(0.3331, 1 / 3, "", tolerance=1e-3)
    check(("a", True), ("a", True), "")
    assert capsys.readouterr().out.count("Right.") == 3
    for wrong in (2, [1, 2], "1", None):
        with pytest.raises(AssertionError, match="count from 0"):
            check(wrong, [1, 3], "count from 0")
    with pytest.raises(AssertionError):
        check(0.34, 1 / 3, "", tolerance=1e-3)
