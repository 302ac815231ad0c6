"""`write_report`: the finished stages of a run, gathered into ``reports/<run>/``.

In: a workspace whose evaluation is built. Out: ``index.html``, which loads nothing, and ``metrics.json``.
Item texts appear for the built-in shop only. Other files of the folder are left alone.
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
    write_json,
)
from gensar_lite.config import STAGES, Config, flat, override, own_files
from gensar_lite.data import Seen
from gensar_lite.drawing.canvas import figure_png
from gensar_lite.evaluation.data_section import file_report, sasrec_read, target_rows
from gensar_lite.evaluation.examples import example_lists
from gensar_lite.evaluation.plots import (
    curve_figure,
    identifier_map,
    map_note,
    metric_bars,
    pca_2d,
    tradeoff_figure,
)
from gensar_lite.evaluation.report import (
    flat_rows,
    group_tables,
    held_out_rows,
    metric_tables,
    refuse_foreign,
    shown,
    verdicts,
    write_page,
)
from gensar_lite.evaluation.tradeoff import tradeoff_points
from gensar_lite.identifiers import codebook_usage

NUM_EXAMPLES = 3  # example lists per task in the report (built-in shop only)
SHOP_NOTE = (
    "The built-in shop is made up: items, users, searches and purchases are drawn from a known process. "
    "That is why there is an oracle, which ranks by the true probabilities, and why texts can be shown."
)
SEMI_SYNTHETIC_NOTE = (
    "Search on this data is semi-synthetic: nobody typed these queries. They are made from what a purchased item is "
    "({made}; after Ai et al., SIGIR 2017), so a look-up of the matching items, the row category-popularity, is a "
    "strong baseline. The purchases are real."
)
NO_TEXT_NOTE = (
    "Items are shown by number only: the texts of a real shop's catalogue are not ours to publish."
)
OWN_IDS_NOTE = "Items and users are named by the ids of your files."
GIVEN_NOTE = " category-popularity is given which items answer a query, and how well, and ranks them by train purchases."
SHOP_EXAMPLES_NOTE = (
    "Drawn at random from the targets, hits and misses alike. Numbers are the item's identifier."
)


def write_report(ws: Workspace) -> Path:
    """Write ``reports/<run>/``: ``index.html``, ``metrics.json``, ``training.json`` (the curve, held-out losses),
    ``tradeoff.png`` (one axis for a log of one task); returns the page's path.

    Raises `ArtifactError` naming the stage to run when one is missing or stale, and where the folder holds a page that
    is not ours.
    """
    metrics = json.loads((ws.require("evaluation") / "metrics.json").read_text())
    refuse_foreign(ws.report, ("metrics.json", "training.json", "tradeoff.png"))
    page = write_page(ws.report, _context(ws, metrics))
    write_json(ws.report / "metrics.json", metrics)
    write_json(ws.report / "training.json", {"curve": _log(ws), "held_out": _held_out(ws)})
    figure, _ = tradeoff_figure(tradeoff_points(metrics))
    (ws.report / "tradeoff.png").write_bytes(figure_png(figure))
    return page


def _context(ws: Workspace, metrics: list[dict]) -> dict[str, object]:
    corpus, identifiers = (
        Corpus.load(ws.require("data")),
        Identifiers.load(ws.require("identifiers")),
    )
    kinds = json.loads((ws.require("evaluation") / "kinds.json").read_text())
    is_shop = ws.config.data.source == "shop"
    return {
        "run": ws.run,
        "source": "the built-in shop" if is_shop else ws.config.data.source,
        "size": f"{corpus.num_items:,} items, {corpus.num_users:,} users, {len(corpus.events):,} events, "
        f"{len(corpus.queries):,} queries.",
        "notes": [SHOP_NOTE] if is_shop else _search_note(ws),
        "verdicts": verdicts(metrics),
        "tables": metric_tables(metrics),
        "how": _how(ws, corpus),
        "tradeoff": shown(tradeoff_figure(tradeoff_points(metrics)))
        if _both_tasks(metrics)
        else [],
        "bars": shown(metric_bars(metrics)),
        "targets": target_rows(corpus),
        "files": file_report(ws.require("data")),
        "kinds": group_tables(kinds),
        "maps": _maps(ws, corpus, identifiers),
        "levels": _levels(identifiers),
        "curves": shown(curve_figure(pd.DataFrame(_log(ws)))),
        "held_out": held_out_rows(_held_out(ws)),
        "examples": _examples(ws, corpus, identifiers, is_shop),
        "examples_note": f"{SHOP_EXAMPLES_NOTE} {_names_note(corpus, is_shop)}".strip(),
        **_provenance(ws, metrics),
    }


def _both_tasks(metrics: list[dict]) -> bool:
    return {row["task"] for row in metrics} == set(TASKS)


def _names_note(corpus: Corpus, is_shop: bool) -> str:
    if is_shop:
        return ""
    return OWN_IDS_NOTE if "source_id" in corpus.items else NO_TEXT_NOTE


def _log(ws: Workspace) -> list[dict]:
    """The training curve, a row an epoch, without the columns that an epoch has nothing for."""
    curve = ws.require("training") / "curve.parquet"
    rows = pd.read_parquet(curve).to_dict("records") if curve.exists() else []
    return [{name: value for name, value in row.items() if not pd.isna(value)} for row in rows]


def _held_out(ws: Workspace) -> dict[str, dict[str, float]]:
    """Figures of what no task has learned from, before and after training; empty where none were recorded."""
    return ws.meta("training")["statistics"].get("held_out", {})


def _search_note(ws: Workspace) -> list[str]:
    """How the queries were made, unless people typed them."""
    facts = ws.meta("data")["statistics"].get("facts", {})
    if facts.get("search", "semi-synthetic") != "semi-synthetic":
        return []
    return [SEMI_SYNTHETIC_NOTE.format(made=facts.get("search made", "category paths"))]


def _how(ws: Workspace, corpus: Corpus) -> str:
    config, settings = ws.config, ws.config.evaluation
    tuned = ws.meta("evaluation")["statistics"]["tuned"]
    counting = (
        f" {', '.join(tuned)} only count train events, with parameters chosen on validation."
        if tuned
        else ""
    )
    silent = ws.meta("evaluation")["statistics"]["without_an_answer"]
    left = f" Not shown, for it answers nothing here: {', '.join(silent)}." if silent else ""
    given = "" if corpus.relevance.empty else GIVEN_NOTE
    read = sasrec_read(ws.meta("embeddings")["statistics"])
    chosen = (
        " These targets also chose epochs and parameters, so they flatter."
        if config.decoding.split == "validation"
        else ""
    )
    return (
        f"Every system ranks all {corpus.num_items:,} items for every {config.decoding.split} target and keeps "
        f"{config.decoding.top_k}; a target that is not among them counts 0, and MRR looks no deeper. The answer is "
        f"the one item that was taken. {settings.confidence:.0%} intervals come from {settings.num_bootstrap:,} "
        "bootstrap draws of the queries; they do not tell how much another training seed would change. Where a system "
        "hits on no query, or on all, the open end is Clopper and Pearson's for the share of queries that would differ."
        f"{chosen}{given}{counting}{left}{' ' + read if read else ''}"
    )


def _maps(ws: Workspace, corpus: Corpus, identifiers: Identifiers) -> list[dict]:
    embeddings = ItemEmbeddings.load(ws.require("embeddings"))
    top = corpus.items["category"].fillna("").str.split(" > ").str[0].replace("", "none").to_numpy()
    figures = []
    for view in VIEWS:
        xy = pca_2d(getattr(embeddings, view))
        figures += shown(identifier_map(identifiers.view(view), xy, top, view), map_note(top))
    return figures


def _levels(identifiers: Identifiers) -> list[tuple]:
    rows = []
    for view in VIEWS:
        for row in codebook_usage(identifiers.view(view), identifiers.codebook_size).itertuples(
            index=False
        ):
            used = f"{row.usage:.1%} of {identifiers.codebook_size}"
            shared = " (shared)" if row.level <= identifiers.num_shared else ""
            rows.append(
                (view, f"{row.level}{shared}", used, f"{row.perplexity:.1f}", f"{row.largest:.1%}")
            )
    return rows


def _examples(
    ws: Workspace, corpus: Corpus, identifiers: Identifiers, with_texts: bool
) -> list[dict]:
    settings, seen = ws.config.evaluation, Seen.of_log(corpus.events)
    run = pd.read_parquet(ws.require("decoding") / "run.parquet")
    found, share = (
        [],
        {"search": NUM_EXAMPLES, "recommend": NUM_EXAMPLES},
    )
    for task in reversed(TASKS):
        targets = corpus.targets(ws.config.decoding.split, task)
        found += example_lists(
            corpus, identifiers, run, targets, seen, share[task], with_texts, settings.seed
        )
    return found


def _provenance(ws: Workspace, metrics: list[dict]) -> dict[str, object]:
    metas = {stage: ws.meta(stage) for stage in STAGES}
    seeds = {
        stage: getattr(ws.config, stage).seed
        for stage in STAGES
        if hasattr(getattr(ws.config, stage), "seed")
    }
    counts = {row["task"]: row["num_queries"] for row in metrics if row["protocol"] == "full"}
    facts = [
        ("split", ws.config.decoding.split),
        ("protocols", ", ".join(sorted({row["protocol"] for row in metrics}))),
        ("queries", ", ".join(f"{task} {count:,}" for task, count in counts.items())),
        ("seeds", ", ".join(f"{stage} {seed}" for stage, seed in seeds.items())),
        (
            "machine of this report",
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        ),
    ]
    total = sum(meta["seconds"] for meta in metas.values())
    return {
        "command": Workspace(ws.root, _by_name(ws.config), ws.run).command("run"),
        "facts": facts,
        "stages": [(stage, f"{meta['seconds']:,.1f}") for stage, meta in metas.items()]
        + [("all", f"{total:,.1f}")],
        "versions": [
            ("python", platform.python_version()),
            *metas["evaluation"]["versions"].items(),
        ],
        "statistics": [
            row for stage, meta in metas.items() for row in flat_rows(meta["statistics"], stage)
        ],
        "settings": [(key, str(value)) for key, value in flat(_by_name(ws.config)).items()],
    }


def _by_name(config: Config) -> Config:
    """Own files by name alone: a report is passed on, and where they lie is nobody's business."""
    return override(config, {f"data.{name}": Path(path).name for name, path in own_files(config)})
