"""The verbs of the command line, in the order of ``gensar --help``: one entry per verb.

In: parsed words. Out: what the verb builds, and lines on standard output. What a verb needs is
imported when it runs: ``--help`` and a wrong word are answered at once.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gensar_lite.config import ConfigError, preset
from gensar_lite.parser import (
    DEFAULT_PRESET,
    JSON,
    PAIR,
    REQUEST,
    SEEDS,
    SETTINGS,
    STAGE,
    STAGE_TEXTS,
    TREC,
    UNTIL,
    WITH_FILES,
    Option,
    Verb,
    asked_run,
    build_parser,
    list_verbs,
    open_workspace,
    option,
    seed_numbers,
)

# filled by the decorator below, top to bottom: the order of ``gensar --help``
VERBS: list[Verb] = []
STUDIES: list[Verb] = []  # what may follow ``gensar study``


def verb(name: str, text: str, *options: Option, then: Sequence[Verb] = ()):
    """Enter the function below as a verb; `then` are the words that may follow it."""

    def enter(run):
        VERBS.append(Verb(name, text, run, options, then))
        return run

    return enter


def study(name: str, text: str, *options: Option):
    """Enter the function below, which returns what to print, as a study."""

    def enter(answer):
        def run(words: argparse.Namespace) -> None:
            print(answer(words))

        STUDIES.append(Verb(name, text, run, (*WITH_FILES, *options)))

    return enter


def parser() -> argparse.ArgumentParser:
    """The command line, as ``gensar --help`` shows it."""
    return build_parser(VERBS)


# ------------------------------------------------------------------------------- stages and reports


@verb(
    "download",
    "fetch and verify a data source",
    option("source", nargs="?", help="name of the source; see --list"),
    option("--list", action="store_true", help="list sources with licence, size and citation"),
)
def _download(words: argparse.Namespace) -> None:
    from data_download import describe, fetch

    # alone it lists, too: nobody knows the names by heart
    if words.list or not words.source:
        print(describe())
        return
    for name, path in fetch(words.source).items():
        print(f"{name}: {path}")


def _stage(words: argparse.Namespace) -> None:
    from gensar_lite.pipeline import run_stage

    run_stage(open_workspace(words), words.command)


for stage, text in STAGE_TEXTS.items():
    verb(stage, text, *WITH_FILES)(_stage)


@verb("run", "all stages, then the report", *WITH_FILES, UNTIL)
def _run(words: argparse.Namespace) -> None:
    from gensar_lite.pipeline import run_all

    page = run_all(open_workspace(words), words.until)
    if page:  # only the last stage writes one
        print(f"report: {page}")


@verb(
    "notebooks",
    "execute the notebooks with papermill",
    *SETTINGS,
    option("--only", action="append", metavar="03", help="number or name; may be repeated"),
    option("--save", action="store_true", help="put outputs back into the notebooks, to commit"),
    option("--folder", type=Path, help="where the notebooks are (default: notebooks/)"),
)
def _notebooks(words: argparse.Namespace) -> int:
    from gensar_lite.lessons import run_lessons

    ws = open_workspace(words)
    # a notebook starts its own run from its own cell: silence would mislead
    if words.set or words.run_name:
        raise ConfigError(
            "notebooks: --set and --run are not passed to notebooks; their parameters cell says "
            "what can be changed."
        )
    return run_lessons(ws, words.folder or ws.root / "notebooks", words.only, words.save)


@verb("report", "write reports/<run>/ from finished stages", *WITH_FILES, TREC)
def _report(words: argparse.Namespace) -> None:
    from gensar_lite.evaluation import write_report, write_trec_folder

    ws = open_workspace(words)
    print(f"report: {write_report(ws)}")
    if words.trec:
        print(f"trec: {write_trec_folder(ws)}")


@verb("compare", "two evaluated runs, or two systems: differences and how sure they are", *PAIR)
def _compare(words: argparse.Namespace) -> None:
    from gensar_lite.evaluation.compare import compare_runs, comparison_table

    record = compare_runs(words.workspace, words.runs, words.system, words.metric)
    print(json.dumps(record, indent=1) if words.json else comparison_table(record))


# ------------------------------------------------------------------------------------------ studies


@verb("study", "what a single run cannot answer; alone, it lists the studies", then=STUDIES)
def _study(words: argparse.Namespace) -> None:
    print(f"gensar study NAME, one of:\n{list_verbs(STUDIES)}")


MODEL = option("--model", default="sasrec-ce", help="sasrec-ce | -bce | -bpr | svd (the first)")


@study(
    "recommenders", "recommenders without a generator: what a joint model has to beat", SEEDS, MODEL
)
def _recommenders(words: argparse.Namespace) -> str:
    from gensar_lite.evaluation.report import console_table
    from gensar_lite.experiments.recommenders import compare_recommenders

    rows = compare_recommenders(open_workspace(words), words.model, seed_numbers(words))
    return console_table(rows)


@study("seeds", "the run again with other training seeds: means, intervals, paired leads", SEEDS)
def _seeds(words: argparse.Namespace) -> str:
    from gensar_lite.evaluation.report import console_table
    from gensar_lite.experiments.seeds import compare_seeds

    return console_table(compare_seeds(open_workspace(words), seed_numbers(words))["rows"])


@study("identifiers", "strategy x quantizer, by the codes alone", SEEDS)
def _identifiers(words: argparse.Namespace) -> str:
    from gensar_lite.experiments.identifier_grid import compare_identifiers, report_folder

    ws = open_workspace(words)
    compare_identifiers(ws, seed_numbers(words))
    # Markdown reads well in a terminal
    return (report_folder(ws) / "index.md").read_text(encoding="utf-8")


@study("identifier-ranking", "a model on each of several identifiers: slow", SEEDS)
def _identifier_ranking(words: argparse.Namespace) -> str:
    from gensar_lite.experiments.identifier_ranking import rank_identifiers, report_folder

    ws = open_workspace(words)
    rows = rank_identifiers(ws, seed_numbers(words))
    return f"ranking of {len(rows)} models: {report_folder(ws) / 'ranking.json'}"


@study("ablations", "what prompts and behaviour tokens are worth", SEEDS)
def _ablations(words: argparse.Namespace) -> str:
    from gensar_lite.experiments.ablations import ablate

    return ablate(open_workspace(words), seed_numbers(words)).to_string(index=False)


ALL_SEEDS = option("--seeds", metavar="0,1,2", help="default: those of the preset's study")
SYSTEMS = option("--system", action="append", default=[], help="only this one; may be repeated")
PLAN = option("--plan", action="store_true", help="only tell cells, minutes and what is done")
PAGE = option("--report", action="store_true", help="only write the report of the kept cells again")


@study(
    "tradeoff", "search against recommendation, system by system", ALL_SEEDS, SYSTEMS, PLAN, PAGE
)
def _tradeoff(words: argparse.Namespace) -> str:
    from gensar_lite.experiments.tradeoff.page import write_study
    from gensar_lite.experiments.tradeoff.study import plan_lines, run_study, study_folder

    ws = open_workspace(words)
    if words.report:
        return f"tradeoff: {write_study(study_folder(ws), ws.config)}"
    seeds = seed_numbers(words) if words.seeds is not None else None
    if words.plan:
        return "\n".join(plan_lines(ws, seeds))
    return f"tradeoff: {run_study(ws, seeds, tuple(words.system))}"


SAMPLE = option("--sample", type=int, default=500, help="targets per task, a fixed sample (500)")


@study("exactness", "how often a beam misses the exact list, and what it costs", SAMPLE)
def _exactness(words: argparse.Namespace) -> str:
    from gensar_lite.experiments.exactness import measure_exactness

    if words.sample < 1:
        raise ConfigError(f"--sample {words.sample}: write a whole number from 1.")
    rows, path = measure_exactness(open_workspace(words), words.sample)
    table = rows.to_string(index=False, float_format="{:.4g}".format)
    return f"{table}\nexactness: {path}"


# ----------------------------------------------------------------------------------------- requests


# decorators work from below: search is entered first
@verb("recommend", "ask a trained run: what comes next", *REQUEST)
@verb(
    "search",
    "ask a trained run: items for a query",
    option("query", help="what to look for, in quotes"),
    *REQUEST,
)
def _request(words: argparse.Namespace) -> None:
    from gensar_lite.artifacts import Workspace
    from gensar_lite.decoding.console import answer_request

    config = preset(words.preset or DEFAULT_PRESET)
    ws = Workspace.open(config, words.workspace, asked_run(words))
    print(answer_request(ws, words))


# -------------------------------------------------------------------------------------- information


@verb("settings", "every setting: meaning, valid values, default, presets", STAGE, JSON)
def _settings(words: argparse.Namespace) -> None:
    from gensar_lite.config.tree import settings_rows, settings_table

    rows = settings_rows(words.stage)
    print(json.dumps(rows, indent=1) if words.json else settings_table(words.stage))


@verb(
    "bench",
    "measure speed against a plain baseline, interleaved in one run",
    option("name", help="what to measure; an unknown name lists those there are"),
    option("--rounds", type=int, default=3, help="interleaved rounds; the median counts"),
    option("--kills", type=int, default=20, help="resume only: how often a training is killed"),
    JSON,
)
def _bench(words: argparse.Namespace) -> None:
    # benchmarks/ stands beside the package in a checkout, and is not installed
    checkout = Path(__file__).parent.parent
    if not (checkout / "benchmarks" / "__init__.py").exists():
        raise ConfigError(
            "bench: the benchmarks are no part of the installed package. Clone the repository, "
            "install it with pip install -e . and run the command again."
        )
    # the console script does not start in the checkout's folder
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from benchmarks import run_bench

    print(run_bench(words.name, words.rounds, words.json, words.kills))


@verb("doctor", "what is installed, cores, GPU, free disk, mirror, offline mode")
def _doctor(words: argparse.Namespace) -> None:
    from gensar_lite.doctor import report

    # (name, value) pairs, printed in two columns
    rows = report()
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
