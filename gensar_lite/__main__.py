"""The shell's door to the same functions the notebooks call: ``gensar`` and ``python -m gensar_lite``.

In: command-line words. Out: exit status 0, or 1 with one clear line on what to do next.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gensar_lite.artifacts import (
    ArtifactError,
    Workspace,
    file_digest,
    finished_runs,
    recorded_run,
    say,
)
from gensar_lite.machine.console import forgiving_output
from gensar_lite.machine.disk import disk_problem
from gensar_lite.config import PRESETS, Config, ConfigError, for_own_files, override, preset
from gensar_lite.parser import DEFAULT_PRESET, parser


def read_settings(words: argparse.Namespace, base: Config | None = None) -> Config:
    """The preset with own files and every ``--set`` applied, or `base` with them. Raises `ConfigError`."""
    changes = _changes(words)
    if base is not None:
        return override(base, changes)
    return override(preset(words.preset or DEFAULT_PRESET), for_own_files(changes))


def _changes(words: argparse.Namespace) -> dict[str, object]:
    named = {name: getattr(words, name, None) for name in ("items", "events", "queries", "columns")}
    changes: dict[str, object] = {
        f"data.{name}": value for name, value in named.items() if value is not None
    }
    if changes:
        changes = {"data.source": "files"} | changes
    for text in words.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {text}: write it as --set stage.name=value, e.g. --set training.epochs=3."
            )
        changes[key.strip()] = value.strip()
    return changes


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Errors that we foresee become one line; others keep their traceback."""
    try:
        with forgiving_output():
            return _answer(arguments)
    except OSError as error:  # of the output itself, when all is done
        print(f"gensar: the output could not be written: {disk_problem(error)}", file=sys.stderr)
        return 1


def _answer(arguments: list[str] | None) -> int:
    try:
        words = parser().parse_args(arguments)
        return _COMMANDS.get(words.command, _stage)(words)
    except (ConfigError, ArtifactError) as error:
        print(f"gensar: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"gensar: {disk_problem(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        reason = str(stop) or "stopped. Run the same command again: finished stages are reused."
        print(f"gensar: {reason}", file=sys.stderr)
        return 130


def _open(words: argparse.Namespace) -> Workspace:
    """The workspace that the words mean.

    A run that exists goes on with the settings it was built with, unless another start is named: a preset, a source.
    """
    if words.run_name is not None and words.preset is None and "data.source" not in _changes(words):
        built = recorded_run(words.workspace, words.run_name)
        if built is not None:
            say(
                f"run {built.run}: with the settings it was built with (--preset NAME starts from others)"
            )
            return Workspace(built.root, read_settings(words, built.config), built.run)
    config = read_settings(words)
    if config.data.source == "files" and words.run_name in PRESETS:
        raise ConfigError(
            f"--run {words.run_name}: a preset's run has this name, and would take the place of yours one day. Choose "
            f"another one for your own data, e.g. --run {words.run_name}-own."
        )
    own = (
        f"{config.name}-own" if config.data.source == "files" else None
    )  # never over the preset's own run
    return Workspace.open(
        config, words.workspace, own if words.run_name is None else words.run_name
    )


def _stage(words: argparse.Namespace) -> int:
    from gensar_lite.pipeline import run_stage

    run_stage(_open(words), words.command)
    return 0


def _run(words: argparse.Namespace) -> int:
    from gensar_lite.pipeline import run_all

    page = run_all(_open(words), words.until)
    if page:
        print(f"report: {page}")
    return 0


def _report(words: argparse.Namespace) -> int:
    from gensar_lite.evaluation import write_report

    print(f"report: {write_report(_open(words))}")
    return 0


def _baselines(words: argparse.Namespace) -> int:
    from gensar_lite.evaluation.report import console_table
    from gensar_lite.experiments.recommenders import compare_baselines

    print(console_table(compare_baselines(_open(words), words.model, _seeds(words))))
    return 0


def _exactness(words: argparse.Namespace) -> int:
    from gensar_lite.experiments.exactness import write_exactness

    path = write_exactness(_open(words), words.sample)
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        print(
            "  ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{value}"
                for key, value in row.items()
            )
        )
    print(f"exactness: {path}")
    return 0


def _grid(words: argparse.Namespace) -> int:
    from gensar_lite.experiments.identifier_grid import compare_identifiers, report_folder
    from gensar_lite.experiments.identifier_ranking import rank_identifiers

    ws = _open(words)
    if words.rank:
        rows = rank_identifiers(ws, _seeds(words))
        print(f"ranking of {len(rows)} models: {report_folder(ws) / 'ranking.json'}")
        return 0
    compare_identifiers(ws, _seeds(words))
    print((report_folder(ws) / "index.md").read_text(encoding="utf-8"))
    return 0


def _seeds(words: argparse.Namespace) -> tuple[int, ...]:
    numbers = [text.strip() for text in words.seeds.split(",")]
    if not all(text.isascii() and text.isdigit() for text in numbers):
        raise ConfigError(
            f"--seeds {words.seeds}: write whole numbers from 0 with commas, e.g. --seeds 0,1,2."
        )
    return tuple(map(int, numbers))


def _notebooks(words: argparse.Namespace) -> int:
    from gensar_lite.lessons import executed_copy, find_lessons, run_lesson, save_back, table

    ws = _open(words)
    if words.set or words.run_name:
        raise ConfigError(
            "notebooks: --set and --run are not passed to notebooks; their parameters cell says what can be changed."
        )
    folder = words.folder or ws.root / "notebooks"
    lessons = find_lessons(folder, words.only)
    verdicts = []
    for number, path in enumerate(lessons, start=1):
        print(f"[{number}/{len(lessons)}] {path.stem} ...", flush=True)
        digest = file_digest(path)
        verdicts.append(run_lesson(path, ws))
        if words.save and verdicts[-1].ok:
            try:
                save_back(executed_copy(path, ws), path, digest)
            except ArtifactError as problem:
                verdicts[-1] = verdicts[-1]._replace(ok=False, message=str(problem))
        print(
            f"        {'ok' if verdicts[-1].ok else 'FAILED: ' + verdicts[-1].message} {verdicts[-1].seconds:.1f} s"
        )
    print(table(verdicts))
    return 0 if all(v.ok for v in verdicts) else 1


def _download(words: argparse.Namespace) -> int:
    from data_download import DownloadError, describe, fetch

    if words.list or not words.source:
        print(describe())
        return 0
    try:
        for name, path in fetch(words.source).items():
            print(f"{name}: {path}")
    except DownloadError as error:
        print(f"gensar: {error}", file=sys.stderr)
        return 1
    return 0


def _request(words: argparse.Namespace) -> int:
    from gensar_lite.decoding.console import answer_request

    run = _asked_run(words)
    print(
        answer_request(
            Workspace.open(preset(words.preset or DEFAULT_PRESET), words.workspace, run), words
        )
    )
    return 0


def _asked_run(words: argparse.Namespace) -> str:
    """The run that is to answer; one that nobody named must be the only one. Raises `ConfigError` that lists them."""
    if words.run_name is not None or words.preset is not None:
        return preset(words.preset).name if words.run_name is None else words.run_name
    runs = finished_runs(words.workspace)
    if len(runs) > 1:
        raise ConfigError(
            f"{words.command}: several runs are trained here: {', '.join(runs)}. Say which: --run NAME."
        )
    if runs:
        print(
            f"gensar: the run {runs[0]} answers, the only one that is trained here", file=sys.stderr
        )
    return runs[0] if runs else DEFAULT_PRESET


def _bench(words: argparse.Namespace) -> int:
    checkout = Path(__file__).parent.parent
    if not (checkout / "benchmarks" / "__init__.py").exists():
        raise ConfigError(
            "bench: the benchmarks are no part of the installed package. Clone the repository, "
            "install it with pip install -e . and run the command again."
        )
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from benchmarks import run_bench

    print(run_bench(words.name, words.rounds, words.json, words.kills))
    return 0


def _doctor(words: argparse.Namespace) -> int:
    from gensar_lite.doctor import report

    rows = report()
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
    return 0


_COMMANDS = {
    "run": _run,
    "report": _report,
    "baselines": _baselines,
    "exactness": _exactness,
    "grid": _grid,
    "notebooks": _notebooks,
    "download": _download,
    "search": _request,
    "recommend": _request,
    "bench": _bench,
    "doctor": _doctor,
}

if __name__ == "__main__":
    sys.exit(main())
