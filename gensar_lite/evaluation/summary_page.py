"""`write_report`: the finished stages of a run, gathered into ``reports/<run>/``.

In: a workspace whose evaluation is built. Out: ``index.html``, whose sentences stand in
page.html.j2, and four files beside it; other files of the folder are left alone. A report is
passed on: item texts appear for the built-in shop only, cells and places of own files never.
"""

import json
import os
import platform
from pathlib import Path

import pandas as pd

from gensar_lite.artifacts import (
    SPLITS,
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
from gensar_lite.data.report import Report
from gensar_lite.drawing.canvas import figure_png
from gensar_lite.embeddings.maps import flat_map
from gensar_lite.evaluation import plots, report
from gensar_lite.evaluation.examples import example_lists
from gensar_lite.evaluation.tradeoff import tradeoff_points
from gensar_lite.identifiers import codebook_usage

NUM_EXAMPLES = 3  # example lists per task
FILES = ("metrics.json", "kinds.json", "training.json", "tradeoff.png")  # beside the page


def write_report(ws: Workspace) -> Path:
    """Write ``reports/<run>/``: ``index.html``, ``metrics.json``, ``kinds.json`` (search by groups
    of queries), ``training.json`` (the curve, held-out losses), ``tradeoff.png`` (one axis for a
    log of one task); returns the page's path.

    Raises `ArtifactError` naming the stage to run when one is missing or stale, and where the
    folder holds a page that is not ours.
    """
    folder = ws.require("evaluation")
    metrics, kinds = (
        json.loads((folder / name).read_text()) for name in ("metrics.json", "kinds.json")
    )
    # before anything is drawn, which takes seconds
    report.refuse_foreign(ws.report, FILES)
    curve = ws.require("training") / "curve.parquet"
    epochs = pd.read_parquet(curve).to_dict("records") if curve.exists() else []
    training = {  # of an epoch only the columns that it has something for
        "curve": [{k: v for k, v in epoch.items() if not pd.isna(v)} for epoch in epochs],
        "held_out": ws.meta("training")["statistics"].get("held_out", {}),
    }
    page = report.write_page(ws.report, _context(ws, metrics, kinds, training))
    write_json(ws.report / "metrics.json", metrics)
    write_json(ws.report / "kinds.json", kinds)
    write_json(ws.report / "training.json", training)
    figure, _ = plots.tradeoff_figure(tradeoff_points(metrics))
    write_bytes(ws.report / "tradeoff.png", figure_png(figure))
    return page


def _context(
    ws: Workspace, metrics: list[dict], kinds: list[dict], training: dict
) -> dict[str, object]:
    """Everything that the template names."""
    corpus = Corpus.load(ws.require("data"))
    identifiers = Identifiers.load(ws.require("identifiers"))
    statistics = {stage: ws.meta(stage)["statistics"] for stage in STAGES}
    facts = statistics["data"].get("facts", {})
    typed = facts.get("search", "semi-synthetic") != "semi-synthetic"
    is_shop = ws.config.data.source == "shop"  # only its texts are ours to show
    points = tradeoff_points(metrics)
    both_tasks = {row["task"] for row in metrics} == set(TASKS)
    return {
        "is_shop": is_shop,
        "sizes": (corpus.num_items, corpus.num_users, len(corpus.events), len(corpus.queries)),
        "queries_made": "" if typed else facts.get("search made", "category paths"),
        "has_relevance": not corpus.relevance.empty,
        "own_ids": "source_id" in corpus.items,
        "verdicts": report.verdicts(metrics),
        "tables": report.metric_tables(metrics),
        "tradeoff": report.shown(plots.tradeoff_figure(points)) if both_tasks else [],
        "bars": report.shown(plots.metric_bars(metrics)),
        "targets": target_rows(corpus),
        "files": _file_report(ws.require("data")),
        "kinds": report.group_tables(kinds),
        "maps": _maps(ws, corpus, identifiers),
        "levels": _levels(identifiers),
        "curves": report.shown(plots.curve_figure(pd.DataFrame(training["curve"]))),
        "held_out": report.held_out_rows(training["held_out"]),
        "examples": _examples(ws, corpus, identifiers, is_shop),
        "statistics": statistics,
        "flat_statistics": report.flat_rows(statistics),
        **_provenance(ws, metrics),
    }


def target_rows(corpus: Corpus) -> list[tuple]:
    """``task, train, validation, test``: how many events of each task and split; a task without any
    has no row."""
    counts = corpus.events.groupby(["task", "split"]).size()
    tasks = [task for task in TASKS if task in set(corpus.events["task"])]
    return [(task, *(f"{counts.get((task, split), 0):,}" for split in SPLITS)) for task in tasks]


def _file_report(folder: Path) -> dict[str, list[tuple]] | None:
    """``columns``, ``findings`` and ``kept`` of own files as rows; None for another source."""
    if not (folder / "report.json").exists():
        return None
    read = Report.load(folder)
    columns = []  # of each table: which columns were read as what, and which were not used
    for table, chosen in read.columns.items():
        pairs = ", ".join(f"{field} = {column}" for field, column in chosen.items())
        unused, file = ", ".join(read.unused[table]) or "none", read.files[table]
        columns.append((table, file["file"], f"{file['rows']:,}", pairs, unused))
    findings = []  # counted and told what was done, never with the cells at fault
    for f in read.ordered():
        what = f"{f.count:,} of {f.total:,} {f.unit} {f.what}"
        findings.append((f.level, f.table, what, share(f.count, f.total), f.then))
    kept = [(name, f"{count:,}") for name, count in read.kept.items()]
    return {"columns": columns, "findings": findings, "kept": kept}


def share(count: int, total: int) -> str:
    """A share as ``12.3 %``; one that is not 0 is never rounded to it."""
    if not count or not total:
        return "0 %"
    return f"{count / total * 100:.1f} %" if count / total >= 0.001 else "under 0.1 %"


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
    run = pd.read_parquet(ws.require("decoding") / "run.parquet")
    seen, drawn = Seen.of_log(corpus.events), (NUM_EXAMPLES, with_texts, ws.config.evaluation.seed)
    examples = []
    for task in ("search", "recommend"):
        targets = corpus.targets(ws.config.decoding.split, task)
        examples += example_lists(corpus, identifiers, run, targets, seen, *drawn)
    return examples


def _provenance(ws: Workspace, metrics: list[dict]) -> dict[str, object]:
    """What it takes to make the run again: command, settings, seeds, machine, versions, times."""
    # own files by name alone: where they lie is nobody's business
    names = {f"data.{name}": Path(path).name for name, path in own_files(ws.config)}
    config = override(ws.config, names)
    settings = flat(config)
    # stages without a random choice have no seed
    seeds = [f"{stage} {settings[key]}" for stage in STAGES if (key := f"{stage}.seed") in settings]
    counts = {row["task"]: row["num_queries"] for row in metrics if row["protocol"] == "full"}
    seconds = {stage: ws.meta(stage)["seconds"] for stage in STAGES}
    seconds["all"] = sum(seconds.values())
    facts = {
        "split": config.decoding.split,
        "protocols": ", ".join(sorted({row["protocol"] for row in metrics})),
        "queries": ", ".join(f"{task} {count:,}" for task, count in counts.items()),
        "seeds": ", ".join(seeds),
        "machine of this report": f"{platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores",
    }
    versions = {"python": platform.python_version()} | ws.meta("evaluation")["versions"]
    return {
        "run": ws.run,
        "config": config,
        "command": Workspace(ws.root, config, ws.run).command("run"),
        "facts": list(facts.items()),
        "stages": [(name, f"{value:,.1f}") for name, value in seconds.items()],
        "versions": list(versions.items()),
        "settings": [(key, str(value)) for key, value in settings.items()],
    }
