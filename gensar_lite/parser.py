"""The words of the command line: what a verb is, the options that verbs share, what they mean.

In: a list of verbs; parsed words. Out: a parser, as ``gensar --help`` shows it; settings
and the workspace of a run. This file runs no verb and imports nothing that takes time.
"""

from __future__ import annotations

import argparse
import operator
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gensar_lite import __version__
from gensar_lite.config import PRESETS, STAGES, Config, ConfigError, for_own_files, override, preset

if TYPE_CHECKING:
    from gensar_lite.artifacts import Workspace

DEFAULT_PRESET = "tour"
Run = Callable[[argparse.Namespace], int | None]  # parsed words -> exit status, None for 0
Option = Callable[[argparse.ArgumentParser], object]  # adds something to a verb's parser


class Verb(NamedTuple):
    """One word of the command line: ``data``, or ``recommenders`` after ``study``.

    With `verbs`, one of these may follow; `run` is for the word alone.
    """

    name: str
    help: str
    run: Run
    options: tuple[Option, ...]
    verbs: Sequence[Verb] = ()


def build_parser(verbs: Sequence[Verb]) -> argparse.ArgumentParser:
    """The whole command line. Parsed words hold the verb's name as ``command`` and what runs it as
    ``run``; ``preset`` is None where no ``--preset`` was given."""
    about = "Unified generative search and recommendation, stage by stage."
    top = _Parser(prog="gensar", description=about)
    top.add_argument("--version", action="version", version=f"gensar_lite {__version__}")
    _add_verbs(top, verbs, metavar="COMMAND", required=True)
    return top


class _Parser(argparse.ArgumentParser):
    """A wrong word is a wrong setting like any other: exit status 1, and the next step."""

    listing = ""  # the words that may follow, one per line, where they need a line

    def error(self, message: str):
        raise ConfigError(f"{message}. See: {self.prog} --help{self.listing}")


def _add_verbs(parser: argparse.ArgumentParser, verbs: Sequence[Verb], **settings) -> None:
    names = parser.add_subparsers(**settings)  # words that may follow
    for verb in verbs:
        words = names.add_parser(verb.name, help=verb.help)
        # an option is a function of the parser: groups and exclusive pairs fit in, too
        for add_to in verb.options:
            add_to(words)
        # of several words the last one's count: the study's, not those of ``study``
        words.set_defaults(command=verb.name, run=verb.run)
        if verb.verbs:
            words.listing = "\n" + list_verbs(verb.verbs)
            _add_verbs(words, verb.verbs, metavar="NAME")


def list_verbs(verbs: Sequence[Verb]) -> str:
    """One line per verb: its name and what it does."""
    return "\n".join(f"  {verb.name:<20}{verb.help}" for verb in verbs)


def option(*names: str, **settings) -> Option:
    """What adds ``add_argument(*names, **settings)`` to a parser."""
    return operator.methodcaller("add_argument", *names, **settings)


WORKSPACE = option(
    "--workspace", type=Path, default=Path(), help="folder of artifacts/ and reports/"
)
RUN: tuple[Option, ...] = (  # which run
    option("--preset", help=f"one of {', '.join(PRESETS)} (default: {DEFAULT_PRESET})"),
    option(
        "--run",
        dest="run_name",
        help="name of the run's folders (default: the preset's; PRESET-own for your own data)",
    ),
    WORKSPACE,
)
CHANGES = "change one setting; may be repeated"
SETTINGS = (*RUN, option("--set", action="append", default=[], metavar="a.b=c", help=CHANGES))
SEEDS = option(
    "--seeds", default="0", metavar="0,1,2", help="of fits and training; finished cells are reused"
)
JSON = option("--json", action="store_true", help="print JSON instead of a table")


def _own_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "your own data", "csv, jsonl or parquet; short for --set data.source=files ..."
    )
    for name, metavar, text in (
        ("--items", "FILE", "one row per item: its id, and title, text, brand, category"),
        ("--events", "FILE", "one row per event: user, item, time, and a query where there is one"),
        ("--queries", "FILE", "one row per query, where events name queries by an id"),
        ("--columns", "TABLE.FIELD=COLUMN,...", "columns whose names are not guessed"),
    ):
        group.add_argument(name, metavar=metavar, help=text)


WITH_FILES = (*SETTINGS, _own_files)


def _history(parser: argparse.ArgumentParser) -> None:
    # ids stay text: what they mean, the run's corpus knows
    history = parser.add_mutually_exclusive_group()
    history.add_argument("--user", metavar="ID", help="with the history of this user of the corpus")
    history.add_argument("--items", metavar="3,5,9", help="with these purchases, the oldest first")


REQUEST = (  # of a trained run: whose history, which items, how many
    *RUN,
    _history,
    option("--rows", action="store_true", help="--user and --items are row numbers, not your ids"),
    option("-k", type=int, default=10, metavar="10", help="number of answers (default: 10)"),
    option("--category", help="only items of this category path, or with a level of this name"),
    JSON,
)


PAIR = (  # two runs that exist, and what of them is compared
    option("runs", nargs=2, metavar="RUN", help="names of evaluated runs; may be the same"),
    option("--system", default="joint", metavar="A,B", help="of each run, or one for both (joint)"),
    option("--metric", default="recall@10,ndcg@10", metavar="a,b", help="as in metrics.json"),
    WORKSPACE,
    JSON,
)
STAGE_TEXTS = {
    "data": "stage 1: a validated, split corpus from a source",
    "embeddings": "stage 2: a semantic and a collaborative vector per item",
    "identifiers": "stage 3: two code sequences per item",
    "training": "stage 4: one model for search and recommendation",
    "decoding": "stage 5: ranked items per target, by constrained beam search",
    "evaluation": "stage 6: metrics with intervals, beside baselines",
}
UNTIL = option("--until", choices=STAGES, default=STAGES[-1], help="the last stage to build")
TREC = option("--trec", action="store_true", help="TREC run files and qrels, too, for other tools")
STAGE = option("stage", nargs="?", help="of this stage only")


# ------------------------------------------------------------------------ which run, which settings


def read_settings(words: argparse.Namespace, base: Config | None = None) -> Config:
    """The preset with own files and every ``--set`` applied, or `base`, a built run's settings,
    with them. Raises `ConfigError`."""
    changes = _changes(words)
    if base is not None:
        return override(base, changes)
    return override(preset(words.preset or DEFAULT_PRESET), for_own_files(changes))


def _changes(words: argparse.Namespace) -> dict[str, object]:
    changes: dict[str, object] = {}
    # ``--items FILE`` is short for two settings
    for name in ("items", "events", "queries", "columns"):
        value = getattr(words, name, None)
        if value is not None:
            changes |= {"data.source": "files", f"data.{name}": value}
    for text in words.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {text}: write it as --set stage.name=value, e.g. --set training.epochs=3."
            )
        changes[key.strip()] = value.strip()
    return changes


def open_workspace(words: argparse.Namespace) -> Workspace:
    """The workspace that the words mean.

    A run that exists goes on with the settings it was built with, unless another start is named: a
    preset, a source.
    """
    from gensar_lite.artifacts import Workspace, recorded_run, say

    run = words.run_name
    # naming a preset or a source means: start again from there
    if run is not None and words.preset is None and "data.source" not in _changes(words):
        built = recorded_run(words.workspace, run)
        if built is not None:
            advice = "--preset NAME starts from others"
            say(f"run {built.run}: with the settings it was built with ({advice})")
            return Workspace(built.root, read_settings(words, built.config), built.run)
    config = read_settings(words)
    if config.data.source == "files":  # never over the preset's own run
        if run in PRESETS:
            raise ConfigError(
                f"--run {run}: a preset's run has this name, and would take the place of yours one "
                f"day. Choose another one for your own data, e.g. --run {run}-own."
            )
        run = f"{config.name}-own" if run is None else run
    return Workspace.open(config, words.workspace, run)


def seed_numbers(words: argparse.Namespace) -> tuple[int, ...]:
    """``--seeds`` as numbers. Raises `ConfigError`."""
    numbers = [text.strip() for text in words.seeds.split(",")]
    if not all(text.isascii() and text.isdigit() for text in numbers):
        raise ConfigError(
            f"--seeds {words.seeds}: write whole numbers from 0 with commas, e.g. --seeds 0,1,2."
        )
    return tuple(map(int, numbers))


def asked_run(words: argparse.Namespace) -> str:
    """The run that is to answer: the one that is named, the preset's, or the only one.

    Raises `ConfigError` that lists them.
    """
    from gensar_lite.artifacts import finished_runs

    if words.run_name is not None:
        return words.run_name
    if words.preset is not None:
        return preset(words.preset).name
    runs = finished_runs(words.workspace)
    if len(runs) > 1:
        raise ConfigError(
            f"{words.command}: several runs are trained here: {', '.join(runs)}. Say which: "
            "--run NAME."
        )
    if not runs:
        return DEFAULT_PRESET
    print(f"gensar: the run {runs[0]} answers, the only one that is trained here", file=sys.stderr)
    return runs[0]
