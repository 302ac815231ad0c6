"""The shell's door to the same functions the notebooks call: ``gensar`` and ``python -m gensar_lite``.

In: command-line words. Out: exit status 0, or 1 with one clear line on what to do next.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gensar_lite import __version__
from gensar_lite.artifacts import ArtifactError, Workspace
from gensar_lite.config import PRESETS, STAGES, Config, ConfigError, for_own_files, override, preset

HELP = {
    "data": "stage 1: a validated, split corpus from a source",
    "embeddings": "stage 2: a semantic and a collaborative vector for every item",
    "identifiers": "stage 3: two code sequences for every item",
    "training": "stage 4: one model for search and recommendation",
    "decoding": "stage 5: ranked items for every target, by constrained beam search",
    "evaluation": "stage 6: metrics with intervals, beside baselines",
}


class _Parser(argparse.ArgumentParser):
    """A wrong word is a wrong setting like any other: one line, exit status 1."""

    def error(self, message: str):
        raise ConfigError(f"{message}. See: {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """The command line, as `gensar --help` shows it."""
    top = _Parser(prog="gensar", description="Unified generative search and recommendation, stage by stage.")
    top.add_argument("--version", action="version", version=f"gensar_lite {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    settings, own = _settings_parent(), _own_files_parent()
    download = commands.add_parser("download", help="fetch and verify a data source")
    download.add_argument("source", nargs="?", help="name of the source; see --list")
    download.add_argument("--list", action="store_true", help="list sources with licence, size and citation")
    for stage in STAGES:
        commands.add_parser(stage, help=HELP[stage], parents=[settings, own])
    run = commands.add_parser("run", help="all stages, then the report", parents=[settings, own])
    run.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage to build")
    lessons = commands.add_parser("notebooks", help="execute the notebooks with papermill", parents=[settings])
    lessons.add_argument("--only", action="append", metavar="03", help="a lesson's number or name; may be repeated")
    lessons.add_argument("--save", action="store_true", help="put the outputs back into the notebooks (for a commit)")
    lessons.add_argument("--folder", type=Path, default=None, help="where the notebooks are (default: notebooks/)")
    commands.add_parser("report", help="write reports/<run>/ from finished stages", parents=[settings, own])
    rivals = commands.add_parser(
        "baselines", help="recommenders without a generator over several seeds", parents=[settings]
    )
    rivals.add_argument("--model", default="sasrec-ce", help="sasrec-ce | -bce | -bpr | svd (default: sasrec-ce)")
    rivals.add_argument("--seeds", default="0", metavar="0,1,2", help="seeds of its training; finished ones are reused")
    grid = commands.add_parser("grid", help="diagnose identifiers, strategy x quantizer x seeds", parents=[settings])
    grid.add_argument("--seeds", default="0", metavar="0,1,2", help="seeds of their fit; finished cells are reused")
    grid.add_argument("--rank", action="store_true", help="train a model on each of a few instead, and rank: slow")
    _add_requests(commands)
    exactness = commands.add_parser(
        "exactness", help="how often a beam misses the exact list, and what it costs", parents=[settings, own]
    )
    exactness.add_argument("--sample", type=int, default=500, help="targets a task, a fixed sample (default: 500)")
    bench = commands.add_parser("bench", help="measure speed against a plain baseline, interleaved in one run")
    bench.add_argument("name", help="what to measure; an unknown name lists those there are")
    bench.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    bench.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the median counts")
    bench.add_argument("--kills", type=int, default=20, help="resume only: how often a training is killed")
    commands.add_parser("doctor", help="what is installed, cores, GPU, free disk, mirror, offline mode")
    return top


def _settings_parent() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False, parents=[_run_parent()])
    parent.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="change one setting; may be repeated"
    )
    return parent


def _run_parent() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--preset", default="tour", help=f"one of {', '.join(PRESETS)} (default: tour)")
    parent.add_argument(
        "--run",
        dest="run_name",
        help="name of the run's folders (default: the preset's name; PRESET-own for your own data)",
    )
    parent.add_argument("--workspace", type=Path, default=Path("."), help="folder of artifacts/ and reports/")
    return parent


def _add_requests(commands) -> None:
    search = commands.add_parser("search", help="ask a trained run: items for a query", parents=[_run_parent()])
    search.add_argument("query", help="what to look for, in quotes")
    recommend = commands.add_parser("recommend", help="ask a trained run: what comes next", parents=[_run_parent()])
    for verb in (search, recommend):
        history = verb.add_mutually_exclusive_group()
        history.add_argument("--user", type=int, metavar="N", help="with the history of this user of the run's corpus")
        history.add_argument("--items", metavar="3,5,9", help="with these purchases as history, the oldest first")
        verb.add_argument("-k", type=int, default=10, metavar="10", help="number of answers (default: 10)")
        verb.add_argument("--category", help="only items of this category path, or with a level of this name")
        verb.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def _own_files_parent() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    own = parent.add_argument_group("your own data", "csv, jsonl or parquet; short for --set data.source=files ...")
    own.add_argument("--items", metavar="FILE", help="a row an item: its id, and title, text, brand, category")
    own.add_argument(
        "--events", metavar="FILE", help="a row an event: user, item, time, and a query where there is one"
    )
    own.add_argument("--queries", metavar="FILE", help="a row a query, where events name queries by an id")
    own.add_argument("--columns", metavar="TABLE.FIELD=COLUMN,...", help="columns whose names are not guessed")
    return parent


def read_settings(words: argparse.Namespace) -> Config:
    """The preset with own files and every ``--set`` applied. Raises `ConfigError`."""
    told = {name: getattr(words, name, None) for name in ("items", "events", "queries", "columns")}
    changes = {f"data.{name}": value for name, value in told.items() if value is not None}
    if changes:
        changes = {"data.source": "files"} | changes
    for text in words.set:
        key, found, value = text.partition("=")
        if not found:
            raise ConfigError(f"--set {text}: write it as --set stage.name=value, e.g. --set training.epochs=3.")
        changes[key.strip()] = value.strip()
    return override(preset(words.preset), for_own_files(changes))


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Errors that we foresee become one line; others keep their traceback."""
    try:
        words = parser().parse_args(arguments)
        return _COMMANDS.get(words.command, _stage)(words)
    except (ConfigError, ArtifactError) as error:
        print(f"gensar: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        said = str(stop) or "stopped. Run the same command again: finished stages are reused."
        print(f"gensar: {said}", file=sys.stderr)
        return 130


def _open(words: argparse.Namespace) -> Workspace:
    config = read_settings(words)
    own = f"{config.name}-own" if config.data.source == "files" else None  # never over the preset's own run
    return Workspace.open(config, words.workspace, words.run_name or own)


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
    from gensar_lite.evaluation.study import compare_baselines

    print(console_table(compare_baselines(_open(words), words.model, _seeds(words))))
    return 0


def _exactness(words: argparse.Namespace) -> int:
    from gensar_lite.evaluation.exactness import write_exactness

    path = write_exactness(_open(words), words.sample)
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        print("  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{value}" for key, value in row.items()))
    print(f"exactness: {path}")
    return 0


def _grid(words: argparse.Namespace) -> int:
    from gensar_lite.identifiers.grid import compare_identifiers, report_folder
    from gensar_lite.studies import rank_identifiers

    ws = _open(words)
    if words.rank:
        rows = rank_identifiers(ws, _seeds(words))
        print(f"ranking of {len(rows)} models: {report_folder(ws) / 'ranking.json'}")
        return 0
    compare_identifiers(ws, _seeds(words))
    print((report_folder(ws) / "index.md").read_text(encoding="utf-8"))
    return 0


def _seeds(words: argparse.Namespace) -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in words.seeds.split(","))
    except ValueError:
        raise ConfigError(f"--seeds {words.seeds}: write whole numbers with commas, e.g. --seeds 0,1,2.") from None


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
        verdicts.append(run_lesson(path, ws))
        if words.save and verdicts[-1].ok:
            save_back(executed_copy(path, ws), path)
        print(f"        {'ok' if verdicts[-1].ok else 'FAILED: ' + verdicts[-1].message} {verdicts[-1].seconds:.1f} s")
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

    print(answer_request(Workspace.open(preset(words.preset), words.workspace, words.run_name), words))
    return 0


def _bench(words: argparse.Namespace) -> int:
    from gensar_lite.bench import run_bench

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
