"""The words of the command line: which commands there are and what each of them may be told.

In: nothing. Out: an `argparse` parser, as ``gensar --help`` shows it. This file runs no command and reads no folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gensar_lite import __version__
from gensar_lite.config import PRESETS, STAGES, ConfigError

HELP = {
    "data": "stage 1: a validated, split corpus from a source",
    "embeddings": "stage 2: a semantic and a collaborative vector for every item",
    "identifiers": "stage 3: two code sequences for every item",
    "training": "stage 4: one model for search and recommendation",
    "decoding": "stage 5: ranked items for every target, by constrained beam search",
    "evaluation": "stage 6: metrics with intervals, beside baselines",
}
DEFAULT_PRESET = "tour"
SEEDS = {"default": "0", "metavar": "0,1,2"}


class _Parser(argparse.ArgumentParser):
    """A wrong word is a wrong setting like any other: one line, exit status 1."""

    def error(self, message: str):
        raise ConfigError(f"{message}. See: {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """The command line, as `gensar --help` shows it. `preset` is None where no ``--preset`` was given."""
    top = _Parser(
        prog="gensar", description="Unified generative search and recommendation, stage by stage."
    )
    top.add_argument("--version", action="version", version=f"gensar_lite {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    settings = _settings_parent()
    with_files = [settings, _own_files_parent()]
    download = commands.add_parser("download", help="fetch and verify a data source")
    download.add_argument("source", nargs="?", help="name of the source; see --list")
    download.add_argument(
        "--list", action="store_true", help="list sources with licence, size and citation"
    )
    for stage in STAGES:
        commands.add_parser(stage, help=HELP[stage], parents=with_files)
    run = commands.add_parser("run", help="all stages, then the report", parents=with_files)
    run.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage to build")
    _add_notebooks(commands, settings)
    commands.add_parser(
        "report", help="write reports/<run>/ from finished stages", parents=with_files
    )
    _add_studies(commands, with_files)
    _add_requests(commands)
    exactness = commands.add_parser(
        "exactness",
        help="how often a beam misses the exact list, and what it costs",
        parents=with_files,
    )
    exactness.add_argument(
        "--sample", type=int, default=500, help="targets a task, a fixed sample (default: 500)"
    )
    bench = commands.add_parser(
        "bench", help="measure speed against a plain baseline, interleaved in one run"
    )
    bench.add_argument("name", help="what to measure; an unknown name lists those there are")
    bench.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )
    bench.add_argument(
        "--rounds", type=int, default=3, help="interleaved rounds; the median counts"
    )
    bench.add_argument(
        "--kills", type=int, default=20, help="resume only: how often a training is killed"
    )
    commands.add_parser(
        "doctor", help="what is installed, cores, GPU, free disk, mirror, offline mode"
    )
    return top


def _settings_parent() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False, parents=[_run_parent()])
    parent.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=c",
        help="change one setting; may be repeated",
    )
    return parent


def _run_parent() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--preset", help=f"one of {', '.join(PRESETS)} (default: {DEFAULT_PRESET})")
    parent.add_argument(
        "--run",
        dest="run_name",
        help="name of the run's folders (default: the preset's name; PRESET-own for your own data)",
    )
    parent.add_argument(
        "--workspace", type=Path, default=Path("."), help="folder of artifacts/ and reports/"
    )
    return parent


def _own_files_parent() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    own = parent.add_argument_group(
        "your own data", "csv, jsonl or parquet; short for --set data.source=files ..."
    )
    own.add_argument(
        "--items", metavar="FILE", help="a row an item: its id, and title, text, brand, category"
    )
    own.add_argument(
        "--events",
        metavar="FILE",
        help="a row an event: user, item, time, and a query where there is one",
    )
    own.add_argument(
        "--queries", metavar="FILE", help="a row a query, where events name queries by an id"
    )
    own.add_argument(
        "--columns", metavar="TABLE.FIELD=COLUMN,...", help="columns whose names are not guessed"
    )
    return parent


def _add_notebooks(commands, settings: argparse.ArgumentParser) -> None:
    lessons = commands.add_parser(
        "notebooks", help="execute the notebooks with papermill", parents=[settings]
    )
    lessons.add_argument(
        "--only", action="append", metavar="03", help="a lesson's number or name; may be repeated"
    )
    lessons.add_argument(
        "--save", action="store_true", help="put the outputs back into the notebooks (for a commit)"
    )
    lessons.add_argument(
        "--folder", type=Path, default=None, help="where the notebooks are (default: notebooks/)"
    )


def _add_studies(commands, parents: list[argparse.ArgumentParser]) -> None:
    rivals = commands.add_parser(
        "baselines", help="recommenders without a generator over seeds", parents=parents
    )
    rivals.add_argument(
        "--model", default="sasrec-ce", help="sasrec-ce | -bce | -bpr | svd (default: sasrec-ce)"
    )
    rivals.add_argument("--seeds", **SEEDS, help="seeds of its training; finished ones are reused")
    grid = commands.add_parser(
        "grid", help="diagnose identifiers, strategy x quantizer x seeds", parents=parents
    )
    grid.add_argument("--seeds", **SEEDS, help="seeds of their fit; finished cells are reused")
    grid.add_argument(
        "--rank", action="store_true", help="train a model on each of a few instead, and rank: slow"
    )


def _add_requests(commands) -> None:
    """Ids of users and items stay text: what they mean, the run's corpus knows."""
    search = commands.add_parser(
        "search", help="ask a trained run: items for a query", parents=[_run_parent()]
    )
    search.add_argument("query", help="what to look for, in quotes")
    recommend = commands.add_parser(
        "recommend", help="ask a trained run: what comes next", parents=[_run_parent()]
    )
    for verb in (search, recommend):
        history = verb.add_mutually_exclusive_group()
        history.add_argument(
            "--user", metavar="ID", help="with the history of this user of the run's corpus"
        )
        history.add_argument(
            "--items", metavar="3,5,9", help="with these purchases as history, the oldest first"
        )
        verb.add_argument(
            "--rows",
            action="store_true",
            help="--user and --items are row numbers of the corpus, not your own ids",
        )
        verb.add_argument(
            "-k", type=int, default=10, metavar="10", help="number of answers (default: 10)"
        )
        verb.add_argument(
            "--category", help="only items of this category path, or with a level of this name"
        )
        verb.add_argument(
            "--json", action="store_true", help="print one JSON object instead of a table"
        )
