"""`write_report`: the finished stages of a run, gathered into ``reports/<run>/``.

In: a workspace whose evaluation is built. Out: ``index.html``, which loads nothing, and
``metrics.json``. Item texts appear for the built-in shop only. Other files of the folder are left
alone.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pandas as pd

from gensar_lite.artifacts import (
    TASKS,
    VIEWS,
    Corpus,
    Identifiers,
    ItemEmbeddings,
    Workspace,
    write_bytes,
    write_json,
)
from gensar_lite.config import STAGES, flat, override, own_files
from gensar_lite.data import Seen
from gensar_lite.drawing.canvas import figure_png
from gensar_lite.embeddings.maps import flat_map
from gensar_lite.evaluation import plots, report
from gensar_lite.evaluation.data_section import file_report, sasrec_read, target_rows
from gensar_lite.evaluation.examples import example_lists
from gensar_lite.evaluation.tradeoff import tradeoff_points
from gensar_lite.identifiers import codebook_usage

NUM_EXAMPLES = 3  # example lists per task in the report (built-in shop only)
SHOP_NOTE = (
    "The built-in shop is made up: items, users, searches and purchases are drawn from a known "
    "process. That is why there is an oracle, which ranks by the true probabilities, and why texts "
    "can be shown."
)
SEMI_SYNTHETIC_NOTE = (
    "Search on this data is semi-synthetic: nobody typed these queries. They are made from what a "
    "purchased item is ({made}; after Ai et al., SIGIR 2017), so a look-up of the matching items, "
    "the row category-popularity, is a strong baseline. The purchases are real."
)
NO_TEXT_NOTE = (
    "Items are shown by number only: the texts of a real shop's catalogue are not ours to publish."
)
OWN_IDS_NOTE = "Items and users are named by the ids of your files."
GIVEN_NOTE = (
    "category-popularity is given which items answer a query, and how well, and ranks them by "
    "train purchases."
)
EXAMPLES_NOTE = (
    "Drawn at random from the targets, hits and misses alike. Numbers are the item's identifier."
)


def write_report(ws: Workspace) -> Path:
    """Write ``reports/<run>/``: ``index.html``, ``metrics.json``, ``training.json`` (the curve,
    held-out losses), ``tradeoff.png`` (one axis for a log of one task); returns the page's path.

    Raises `ArtifactError` naming the stage to run when one is missing or stale, and where the
    folder holds a page that is not ours.
    """
    metrics = json.loads((ws.require("evaluation") / "metrics.json").read_text())
    # before anything is drawn, which takes seconds
    report.refuse_foreign(ws.report, ("metrics.json", "training.json", "tradeoff.png"))
    page = report.write_page(ws.report, _context(ws, metrics))
    write_json(ws.report / "metrics.json", metrics)
    write_json(ws.report / "training.json", {"curve": _curve(ws), "held_out": _held_out(ws)})
    figure, _ = plots.tradeoff_figure(tradeoff_points(metrics))
    write_bytes(ws.report / "tradeoff.png", figure_png(figure))
    return page


def _context(ws: Workspace, metrics: list[dict]) -> dict[str, object]:
    """Everything that the template names."""
    corpus = Corpus.load(ws.require("data"))
    identifiers = Identifiers.load(ws.require("identifiers"))
    kinds = json.loads((ws.require("evaluation") / "kinds.json").read_text())
    is_shop = ws.config.data.source == "shop"  # only its texts are ours to show
    names_note = OWN_IDS_NOTE if "source_id" in corpus.items else NO_TEXT_NOTE
    both_tasks = {row["task"] for row in metrics} == set(TASKS)
    points = tradeoff_points(metrics)
    return {
        "run": ws.run,
        "source": "the built-in shop" if is_shop else ws.config.data.source,
        "size": f"{corpus.num_items:,} items, {corpus.num_users:,} users, "
        f"{len(corpus.events):,} events, {len(corpus.queries):,} queries.",
        "notes": [SHOP_NOTE] if is_shop else _search_note(ws),
        "verdicts": report.verdicts(metrics),
        "tables": report.metric_tables(metrics),
        "how": _how(ws, corpus),
        "tradeoff": report.shown(plots.tradeoff_figure(points)) if both_tasks else [],
        "bars": report.shown(plots.metric_bars(metrics)),
        "targets": target_rows(corpus),
        "files": file_report(ws.require("data")),
        "kinds": report.group_tables(kinds),
        "maps": _maps(ws, corpus, identifiers),
        "levels": _levels(identifiers),
        "curves": report.shown(plots.curve_figure(pd.DataFrame(_curve(ws)))),
        "held_out": report.held_out_rows(_held_out(ws)),
        "examples": _examples(ws, corpus, identifiers, is_shop),
        "examples_note": EXAMPLES_NOTE if is_shop else f"{EXAMPLES_NOTE} {names_note}",
        **_provenance(ws, metrics),
    }


def _curve(ws: Workspace) -> list[dict]:
    """The training curve, a row per epoch, without the columns that an epoch has nothing for."""
    curve = ws.require("training") / "curve.parquet"
    rows = pd.read_parquet(curve).to_dict("records") if curve.exists() else []
    return [{name: value for name, value in row.items() if not pd.isna(value)} for row in rows]


def _held_out(ws: Workspace) -> dict[str, dict[str, float]]:
    """Figures of what no task has learned from, before and after training; empty where none were
    recorded."""
    return ws.meta("training")["statistics"].get("held_out", {})


def _search_note(ws: Workspace) -> list[str]:
    """How the queries were made, unless people typed them."""
    facts = ws.meta("data")["statistics"].get("facts", {})
    if facts.get("search", "semi-synthetic") != "semi-synthetic":
        return []
    return [SEMI_SYNTHETIC_NOTE.format(made=facts.get("search made", "category paths"))]


def _how(ws: Workspace, corpus: Corpus) -> str:
    """How the table was made, in sentences."""
    config, settings = ws.config, ws.config.evaluation
    statistics = ws.meta("evaluation")["statistics"]
    # what holds for every run, then what only some have
    sentences = [
        f"Every system ranks all {corpus.num_items:,} items for every {config.decoding.split} "
        f"target and keeps {config.decoding.top_k}; a target that is not among them counts 0, and "
        "MRR looks no deeper. The answer is the one item that was taken. "
        f"{settings.confidence:.0%} intervals come from {settings.num_bootstrap:,} bootstrap draws "
        "of the queries; they do not tell how much another training seed would change. Where a "
        "system hits on no query, or on all, the open end is Clopper and Pearson's for the share "
        "of queries that would differ."
    ]
    if config.decoding.split == "validation":
        sentences.append("These targets also chose epochs and parameters, so they flatter.")
    if not corpus.relevance.empty:
        sentences.append(GIVEN_NOTE)
    if statistics["tuned"]:
        counting = ", ".join(statistics["tuned"])
        sentences.append(
            f"{counting} only count train events, with parameters chosen on validation."
        )
    if statistics["without_an_answer"]:
        silent = ", ".join(statistics["without_an_answer"])
        sentences.append(f"Not shown, for it answers nothing here: {silent}.")
    sentences.append(sasrec_read(ws.meta("embeddings")["statistics"]))
    return " ".join(sentences).rstrip()


def _maps(ws: Workspace, corpus: Corpus, identifiers: Identifiers) -> list[dict]:
    """A map of the items per view, coloured by top category."""
    embeddings = ItemEmbeddings.load(ws.require("embeddings"))
    # the first word of a path; items without a category are one group
    top = corpus.items["category"].fillna("").str.split(" > ").str[0].replace("", "none").to_numpy()
    figures = []
    for view in VIEWS:
        xy = flat_map(getattr(embeddings, view), "pca")
        drawn = plots.identifier_map(identifiers.view(view), xy, top, view)
        figures += report.shown(drawn, plots.map_note(top))
    return figures


def _levels(identifiers: Identifiers) -> list[tuple]:
    """``view, level, codes in use, perplexity, largest code``, as text."""
    rows, size = [], identifiers.codebook_size
    for view in VIEWS:
        for row in codebook_usage(identifiers.view(view), size).itertuples(index=False):
            level = f"{row.level}{' (shared)' if row.level <= identifiers.num_shared else ''}"
            used = f"{row.usage:.1%} of {size}"
            rows.append((view, level, used, f"{row.perplexity:.1f}", f"{row.largest:.1%}"))
    return rows


def _examples(
    ws: Workspace, corpus: Corpus, identifiers: Identifiers, with_texts: bool
) -> list[dict]:
    settings, seen = ws.config.evaluation, Seen.of_log(corpus.events)
    run = pd.read_parquet(ws.require("decoding") / "run.parquet")
    examples = []
    for task in ("search", "recommend"):
        targets = corpus.targets(ws.config.decoding.split, task)
        drawn = (NUM_EXAMPLES, with_texts, settings.seed)
        examples += example_lists(corpus, identifiers, run, targets, seen, *drawn)
    return examples


def _provenance(ws: Workspace, metrics: list[dict]) -> dict[str, object]:
    """What it takes to make the run again: command, settings, seeds, machine, versions, times."""
    # own files by name alone: a report is passed on, and where they lie is nobody's business
    names = {f"data.{name}": Path(path).name for name, path in own_files(ws.config)}
    config = override(ws.config, names)
    settings = flat(config)
    metas = {stage: ws.meta(stage) for stage in STAGES}
    # stages without a random choice have no seed
    seeds = [f"{stage} {settings[key]}" for stage in STAGES if (key := f"{stage}.seed") in settings]
    counts = {row["task"]: row["num_queries"] for row in metrics if row["protocol"] == "full"}
    seconds = {stage: meta["seconds"] for stage, meta in metas.items()}
    seconds["all"] = sum(seconds.values())
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    facts = [
        ("split", config.decoding.split),
        ("protocols", ", ".join(sorted({row["protocol"] for row in metrics}))),
        ("queries", ", ".join(f"{task} {count:,}" for task, count in counts.items())),
        ("seeds", ", ".join(seeds)),
        ("machine of this report", machine),
    ]
    versions = {"python": platform.python_version()} | metas["evaluation"]["versions"]
    statistics = {stage: meta["statistics"] for stage, meta in metas.items()}
    return {
        "command": Workspace(ws.root, config, ws.run).command("run"),
        "facts": facts,
        "stages": [(name, f"{value:,.1f}") for name, value in seconds.items()],
        "versions": list(versions.items()),
        "statistics": report.flat_rows(statistics),
        "settings": [(key, str(value)) for key, value in settings.items()],
    }
