"""The command line: one program under two names, one clear line for what is wrong, and the whole
road on `tiny`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from gensar_lite import __main__ as cli
from gensar_lite.artifacts import ArtifactError, Workspace, file_digest
from gensar_lite.config import STAGES, ConfigError, override, preset, section_dict
from gensar_lite.evaluation.scores import SYSTEMS
from gensar_lite.lessons import find_lessons, save_back
from gensar_lite.parser import open_workspace, read_settings

COMMANDS = (
    "download",
    *STAGES,
    "run",
    "notebooks",
    "report",
    "compare",
    "study",
    "search",
    "recommend",
    "settings",
    "bench",
    "doctor",
)
STUDIES = (
    "recommenders",
    "seeds",
    "identifiers",
    "identifier-ranking",
    "ablations",
    "tradeoff",
    "exactness",
)
METRIC_KEYS = [
    "system",
    "task",
    "protocol",
    "metric",
    "value",
    "low",
    "high",
    "num_queries",
    "seeds",
]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("GENSAR_PRESET", "GENSAR_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


def settings(*words: str):
    return read_settings(cli.parser().parse_args(["data", *words]))


# -------------------------------------------------------------------------------------- the program


def test_both_names_are_the_same_program():
    script = Path(sys.executable).with_name("gensar")
    programs = [
        [sys.executable, "-m", "gensar_lite"],
        *([[str(script)]] if script.exists() else []),
    ]
    environment = os.environ | {"COLUMNS": "100"}
    pages = [
        subprocess.run([*p, "--help"], capture_output=True, text=True, env=environment)
        for p in programs
    ]
    for page in pages:
        assert page.returncode == 0
        assert page.stdout == pages[0].stdout
        listed = [
            line.split()[0]
            for line in page.stdout.splitlines()
            if line.startswith("    ") and line.split()
        ]
        assert [word for word in listed if word in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    page = capsys.readouterr().out
    assert page.startswith(f"usage: gensar {command}")
    if command not in ("download", "compare", "study", "settings", "bench", "doctor"):
        assert "--preset" in page
        assert ("--set a.b=c" in page) != (
            command in ("search", "recommend")
        )  # these ask a run as it was built


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_has_every_command(command):
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert f"gensar {command}" in text


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["settings"], ["study"], ["dta"]])
def test_a_first_word_is_answered_without_the_heavy_libraries(words):
    code = (
        "import sys\n"
        "from gensar_lite.__main__ import main\n"
        "try:\n"
        f"    main({words})\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'torch', 'transformers', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "print('loaded:', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr


def test_studies_are_listed(capsys):
    assert cli.main(["study"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()[1:]] == list(STUDIES)
    assert cli.main(["study", "grid"]) == 1
    problem = capsys.readouterr().err
    assert "invalid choice: 'grid'" in problem
    assert [line.split()[0] for line in problem.splitlines()[1:]] == list(STUDIES)


def test_settings_are_printed_for_people_and_programs(capsys):
    assert cli.main(["settings", "decoding"]) == 0
    assert "num_beams" in capsys.readouterr().out
    assert cli.main(["settings", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["setting"].partition(".")[0] for row in rows} >= set(STAGES)


def test_an_installed_package_says_where_the_benchmarks_are(tmp_path, monkeypatch, capsys):
    from gensar_lite import verbs

    monkeypatch.setattr(verbs, "__file__", str(tmp_path / "gensar_lite" / "verbs.py"))
    assert cli.main(["bench", "data"]) == 1
    assert "no part of the installed package. Clone the repository" in capsys.readouterr().err


def test_stages_run_one_by_one(monkeypatch):
    called = []
    monkeypatch.setattr(
        "gensar_lite.pipeline.run_stage", lambda ws, stage: called.append((stage, ws.run))
    )
    for stage in STAGES:
        assert cli.main([stage, "--preset", "tiny", "--run", "mine"]) == 0
    assert called == [(stage, "mine") for stage in STAGES]


# ----------------------------------------------------------------------------------------- settings


def test_set_is_parsed_to_the_fields_type():
    changed = settings(
        "--preset", "tiny", "--set", "training.lr=5e-4", "--set", "identifiers.num_shared=1",
        "--set", "training.prompts=false", "--set", "evaluation.ks=5,10",
        "--set", " data.source = beauty ",
    )  # fmt: skip
    assert (changed.training.lr, changed.identifiers.num_shared, changed.training.prompts) == (
        5e-4,
        1,
        False,
    )
    assert (changed.evaluation.ks, changed.data.source) == ((5, 10), "beauty")
    assert changed.decoding == preset("tiny").decoding


def test_set_takes_the_last_word_and_seeds_every_stage():
    assert settings("--set", "training.epochs=2", "--set", "training.epochs=4").training.epochs == 4
    everywhere = settings("--set", "seed=7")
    assert {everywhere.data.seed, everywhere.embeddings.seed, everywhere.training.seed} == {7}


def test_a_value_may_hold_an_equals_sign():
    assert settings("--set", "embeddings.encoder=a=b").embeddings.encoder == "a=b"


@pytest.mark.parametrize("word", ["training.epochs", "training.epochs:3", ""])
def test_set_without_an_equals_sign_shows_how_to_write_it(word):
    with pytest.raises(ConfigError, match="write it as --set"):
        settings("--set", word)


# -------------------------------------------------------------------------------- what can be wrong


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["data", "--preset", "toor"],
            "there is no 'toor'. Did you mean tour? Choose one of: tiny, tour",
        ),
        (["data", "--set", "training.epoch=3"], "Did you mean training.epochs"),
        (["data", "--set", "training.epochs=many"], "training.epochs expects int, got 'many'"),
        (["data", "--set", "training.epochs"], "write it as --set stage.name=value"),
        (["dta"], "invalid choice: 'dta'"),
        ([], "COMMAND"),
        (["run", "--until", "learning"], "invalid choice: 'learning'"),
        (["run", "--presets", "tiny"], "unrecognized arguments: --presets"),
        (
            ["training", "--preset", "tiny"],
            "notebooks/01_data.ipynb again, or: gensar data --preset tiny",
        ),
        (["report", "--preset", "tiny"], "gensar evaluation --preset tiny"),
        (
            ["evaluation", "--preset", "tiny", "--run", "mine"],
            "gensar data --preset tiny --run mine",
        ),
        (
            ["notebooks", "--preset", "tiny"],
            "/notebooks, which does not exist. The lessons come with a checkout",
        ),
        (["notebooks", "--set", "training.epochs=1"], "are not passed to notebooks"),
        (["download", "beautiful"], "beautiful"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_that_says_what_to_do(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("gensar: ")
    assert said in err


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("gensar_lite.pipeline.run_stage", lambda ws, stage: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["data", "--preset", "tiny"])


def test_control_c_says_how_to_go_on(monkeypatch, capsys):
    def stop(ws, stage):
        raise KeyboardInterrupt

    monkeypatch.setattr("gensar_lite.pipeline.run_stage", stop)
    assert cli.main(["data", "--preset", "tiny"]) == 130
    assert "finished stages are reused" in capsys.readouterr().err


def test_sources_are_listed_with_licence_and_citation(capsys):
    assert cli.main(["download", "--list"]) == 0
    listed = capsys.readouterr().out
    assert "beauty" in listed
    assert "icence" in listed


# ------------------------------------------------------------------------------- which run is meant


def finished(root: Path, run: str, stages=("data", "training"), **changes) -> None:
    """Stage folders of a run, empty but for what they say of themselves."""
    ws = Workspace.open(
        override(preset("tiny"), {k.replace("__", "."): v for k, v in changes.items()}), root, run
    )
    for stage in stages:
        ws.folder(stage).mkdir(parents=True)
        meta = {
            "stage": stage,
            "settings": section_dict(getattr(ws.config, stage)),
            "inputs": {},
            "files": {},
        }
        (ws.folder(stage) / "meta.json").write_text(json.dumps(meta | {"digest": stage}))


@pytest.fixture
def asked(monkeypatch):
    """The runs that were asked, in order."""
    runs = []
    monkeypatch.setattr(
        "gensar_lite.decoding.console.answer_request",
        lambda ws, words: runs.append(ws.run) or "an answer",
    )
    return runs


def test_the_only_trained_run_answers_and_says_so(tmp_path, monkeypatch, capsys, asked):
    monkeypatch.chdir(tmp_path)
    finished(tmp_path, "mine")
    finished(tmp_path, "half", ["data"])
    finished(tmp_path, "identifiers-mine-dual-balanced-0")  # a cell of a study of mine
    assert cli.main(["search", "red"]) == 0
    out, err = capsys.readouterr()
    assert (asked, out) == (["mine"], "an answer\n")
    assert "the run mine answers" in err


def test_of_several_trained_runs_one_must_be_named(tmp_path, monkeypatch, capsys, asked):
    monkeypatch.chdir(tmp_path)
    for run in ("mine", "tour"):
        finished(tmp_path, run)
    for words in (["search", "red"], ["recommend"]):
        assert cli.main(words) == 1
        assert (
            "several runs are trained here: mine, tour. Say which: --run NAME."
            in capsys.readouterr().err
        )
    assert cli.main(["search", "red", "--run", "mine"]) == 0
    assert cli.main(["search", "red", "--preset", "tour"]) == 0
    assert asked == ["mine", "tour"]


def test_without_a_trained_run_the_presets_is_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["search", "red"]) == 1
    assert (
        "artifacts/tour holds no finished stage. Build it first: gensar run --preset tour"
        in capsys.readouterr().err
    )
    assert cli.main(["search", "red", "--run", "mine"]) == 1
    assert "gensar run --run mine --items ITEMS.csv --events EVENTS.csv" in capsys.readouterr().err


def test_requests_keep_ids_as_text():
    words = cli.parser().parse_args(["recommend", "--user", "007", "--rows"])
    assert (words.user, words.rows) == ("007", True)
    assert cli.parser().parse_args(["search", "x", "--items", "a,7"]).items == "a,7"


OWN = {
    "data__source": "files",
    "data__items": "i.csv",
    "data__events": "e.csv",
    "training__epochs": 7,
}


@pytest.fixture
def built(monkeypatch):
    """The workspaces whose stage was to be built."""
    spaces = []
    monkeypatch.setattr("gensar_lite.pipeline.run_stage", lambda ws, stage: spaces.append(ws))
    return spaces


def test_an_existing_run_goes_on_with_its_own_settings(tmp_path, monkeypatch, capsys, built):
    monkeypatch.chdir(tmp_path)
    finished(tmp_path, "mine", **OWN)
    assert cli.main(["embeddings", "--run", "mine", "--set", "embeddings.dim=8"]) == 0
    assert "run mine: with the settings it was built with" in capsys.readouterr().out
    config = built[0].config
    assert (config.data.source, config.data.items, config.training.epochs) == ("files", "i.csv", 7)
    assert (built[0].run, config.embeddings.dim) == ("mine", 8)
    assert cli.main(["embeddings", "--run", "mine", "--preset", "tiny"]) == 0
    assert built[1].config == preset("tiny")
    assert cli.main(["embeddings", "--run", "new"]) == 0
    assert built[2].config == preset("tour")


@pytest.mark.parametrize(
    "command", [*(["study", name] for name in STUDIES), ["report"], ["data"]], ids=" ".join
)
def test_studies_take_own_files_and_own_runs(command, tmp_path, monkeypatch):
    finished(tmp_path, "mine", **OWN)
    words = cli.parser().parse_args([*command, "--run", "mine", "--workspace", str(tmp_path)])
    assert open_workspace(words).config.data.items == "i.csv"
    words = cli.parser().parse_args([*command, "--items", "i.csv", "--events", "e.csv"])
    ws = open_workspace(words)
    assert (ws.run, ws.config.data.source, ws.config.data.events) == ("tour-own", "files", "e.csv")


def test_own_data_does_not_take_a_presets_name(capsys):
    assert cli.main(["data", "--run", "tour", "--items", "i.csv", "--events", "e.csv"]) == 1
    assert "--run tour-own" in capsys.readouterr().err


def test_no_advice_would_put_another_source_into_a_run(tmp_path):
    finished(tmp_path, "mine", **OWN)
    shop = Workspace.open(preset("tiny"), tmp_path, "mine")
    for stage in ("data", "embeddings", "training"):
        with pytest.raises(
            ArtifactError, match="holds the source files, these settings name shop"
        ) as error:
            shop.require(stage)
        assert f"gensar {stage} --run mine;" in str(error.value)
        assert "--preset" not in str(error.value)


# ---------------------------------------------------------------------------------------- notebooks


def lesson(path: Path, text: str) -> Path:
    cell = nbformat.v4.new_code_cell(text)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


def test_a_lesson_that_was_edited_meanwhile_is_not_overwritten(tmp_path):
    original, executed = (
        lesson(tmp_path / "00_a.ipynb", "1"),
        lesson(tmp_path / "executed.ipynb", "2"),
    )
    digest = file_digest(original)
    lesson(original, "3")
    before = original.read_bytes()
    with pytest.raises(ArtifactError, match="edited while it ran"):
        save_back(executed, original, digest)
    assert original.read_bytes() == before
    save_back(executed, original, file_digest(original))
    assert nbformat.read(original, as_version=4).cells[0].source == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00_a.ipynb", "executed.ipynb"]


def test_a_file_that_is_no_notebook_fails_alone(tmp_path, capsys):
    (tmp_path / "00_a.ipynb").write_text("{")
    words = [
        "notebooks",
        "--preset",
        "tiny",
        "--folder",
        str(tmp_path),
        "--workspace",
        str(tmp_path),
    ]
    assert cli.main(words) == 1
    assert "FAILED: cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "only", "words"),
    [
        (False, [], "/lessons, which does not exist. The lessons come with a checkout"),
        (True, [], "/lessons, which holds no notebook NN_name.ipynb"),
    ],
)
def test_where_lessons_were_looked_for_is_said(make, only, words, tmp_path):
    if make:
        (tmp_path / "lessons").mkdir()
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path.resolve()) + words)):
        find_lessons(tmp_path / "lessons", only)


# ----------------------------------------------------------------------------------- the whole road


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A workspace after `gensar run --preset tiny`, and what was printed."""
    root = tmp_path_factory.mktemp("road")
    ran = subprocess.run(
        [sys.executable, "-m", "gensar_lite", "run", "--preset", "tiny", "--workspace", str(root)],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return root, ran.stdout


@pytest.mark.slow
def test_run_builds_every_stage_and_prints_one_table(road):
    root, said = road
    for stage in STAGES:
        assert f"{stage}: built artifacts/tiny/{stage} in" in said
        assert (root / "artifacts/tiny" / stage / "meta.json").exists()
    rows = {line.split()[0] for line in said.splitlines() if line.strip()}
    assert {"joint", "popularity", "category-popularity", "bm25", "sasrec-ce", "oracle"} <= rows
    assert any(line.startswith("sasrec x likelihood  ") for line in said.splitlines())
    assert any(line.startswith("dense  ") for line in said.splitlines())
    (line,) = [line for line in said.splitlines() if line.startswith("report: ")]
    assert Path(line.removeprefix("report: ")) == root.resolve() / "reports/tiny/index.html"
    assert (root / "reports/tiny/index.html").stat().st_size > 10_000
    assert {path.name for path in root.iterdir()} == {"artifacts", "reports"}


@pytest.mark.slow
def test_metrics_have_the_promised_form(road):
    rows = json.loads((road[0] / "reports/tiny/metrics.json").read_text())
    assert all(list(row) == METRIC_KEYS for row in rows)
    keys = [tuple(row[key] for key in METRIC_KEYS[:4]) for row in rows]
    assert len(set(keys)) == len(keys)
    for row in rows:
        assert row["system"] in SYSTEMS
        assert row["task"] in ("recommend", "search")
        assert row["protocol"] in ("full", "full/all-relevant", "random-99", "bm25-99")
        assert row["metric"] in {
            f"{name}@{k}" for name in ("recall", "ndcg") for k in (5, 10, 20)
        } | {"mrr"}
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
        assert row["num_queries"] > 0
        assert row["seeds"] == [0]
    full = {row["system"] for row in rows if row["protocol"] == "full" and row["task"] == "search"}
    counted = {"popularity", "category-popularity", "query-clicks", "bm25"}
    assert full == {"joint", *counted, "dense", "sasrec x likelihood", "oracle"}


@pytest.mark.slow
def test_a_second_run_reuses_everything_in_seconds(road, capsys):
    root, _ = road
    before = {
        path: path.stat().st_mtime_ns for path in (root / "artifacts").rglob("*") if path.is_file()
    }
    metrics = (root / "reports/tiny/metrics.json").read_bytes()
    started = time.perf_counter()
    assert cli.main(["run", "--preset", "tiny", "--workspace", str(root)]) == 0
    seconds = time.perf_counter() - started
    said = capsys.readouterr().out
    for stage in STAGES:
        assert f"{stage}: reused artifacts/tiny/{stage}" in said
    assert "built" not in said
    assert seconds < 20
    after = {
        path: path.stat().st_mtime_ns for path in (root / "artifacts").rglob("*") if path.is_file()
    }
    assert after == before
    assert (root / "reports/tiny/metrics.json").read_bytes() == metrics


@pytest.mark.slow
def test_until_stops_there_and_one_setting_rebuilds_what_stands_on_it(road, capsys):
    root, _ = road
    words = ["run", "--preset", "tiny", "--workspace", str(root), "--until", "identifiers"]
    assert cli.main([*words, "--set", "identifiers.seed=9"]) == 0
    said = capsys.readouterr().out
    assert "embeddings: reused" in said
    assert "identifiers: built" in said
    assert "training" not in said
    assert "report" not in said
    tiny = Workspace.open(preset("tiny"), root)
    assert "identifiers.seed 9 -> 0" in tiny.why_stale("identifiers")
    assert "stands on identifiers" in tiny.why_stale("decoding")
    assert cli.main(words) == 0  # the other tests of this file find the road as it was
