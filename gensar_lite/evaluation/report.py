"""What a run's figures say, for a terminal and for a browser.

In: metrics (list of dicts, see scores.py) and plain facts. Out: `console_table` as text, `metric_tables` and
`verdicts` for the page, `write_page` for the file. This file reads no artefact (stage.py does).
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from gensar_lite.artifacts import ArtifactError, write_text
from gensar_lite.drawing.canvas import figure_uri
from gensar_lite.drawing.palette import TASK_TITLE
from gensar_lite.evaluation.page import render
from gensar_lite.evaluation.scores import system_order

COLUMNS = ("recall@5", "recall@10", "ndcg@10", "mrr")
# by what search is told apart (query_groups in stage.py), and the title of that table
QUERY_GROUPS = {
    "kind": "Search by kind of query",
    "seen": "Search by queries that training has seen, and others",
    "kind and seen": "Search by both",
}
_PROTOCOLS = {"full": 0, "full/all-relevant": 1}


def short(value: float) -> str:
    """A share as ``.0825``; 1 as ``1.000``; what would round to 0 and is none as ``<.0001``."""
    if 0 < value < 0.00005:
        return "<.0001"
    return f"{value:.4f}".removeprefix("0") if value < 0.99995 else f"{value:.3f}"


def console_table(metrics: list[dict], columns: tuple[str, ...] = ("recall@10", "ndcg@10")) -> str:
    """One table for the terminal: full-catalogue search and recommendation, a row a system, with intervals. A task that
    the log lacks has no columns."""
    found = {(r["system"], r["task"], r["metric"]): r for r in metrics if r["protocol"] == "full"}
    systems = sorted({key[0] for key in found}, key=system_order)
    tasks = {
        task: title for task, title in TASK_TITLE.items() if any(key[1] == task for key in found)
    }
    keys = [(task, column) for task in tasks for column in columns]
    width = max([len(s) for s in systems] + [6]) + 2
    cell = 22
    head = " " * width + "".join(f"{title:<{cell * len(columns)}}" for title in tasks.values())
    lines = [head, f"{'system':<{width}}" + "".join(f"{column:<{cell}}" for _, column in keys)]
    for system in systems:
        cells = [_cell(found.get((system, *key))) for key in keys]
        texts = [f"{c['value']} [{c['interval']}]" if c else "-" for c in cells]
        lines.append(f"{system:<{width}}" + "".join(f"{text:<{cell}}" for text in texts))
    counts = {
        task: max(r["num_queries"] for r in found.values() if r["task"] == task) for task in tasks
    }
    said = ", ".join(f"{counts[task]:,} {title.lower()} targets" for task, title in tasks.items())
    return "\n".join(line.rstrip() for line in [*lines, f"full catalogue; {said}"])


def _cell(row: dict | None) -> dict | None:
    """Value and interval as texts; an end that is not 0 or 1 is never rounded to it."""
    if row is None:
        return None
    low, high = (
        min(row["low"], 0.9999 if row["low"] < 1 else 1),
        max(row["high"], 0.0001 if row["high"] > 0 else 0),
    )
    return {"value": short(row["value"]), "interval": f"{short(low)}, {short(high)}"}


def metric_tables(metrics: list[dict], columns: tuple[str, ...] = COLUMNS) -> list[dict]:
    """One table a task and protocol, full ranking first: ``{title, caption, full, columns, rows}``."""
    keys = {(row["protocol"], row["task"]) for row in metrics}
    tasks = list(TASK_TITLE)
    ordered = sorted(keys, key=lambda key: (_PROTOCOLS.get(key[0], 2), key[0], tasks.index(key[1])))
    tables = []
    for protocol, task in ordered:
        rows = [row for row in metrics if (row["protocol"], row["task"]) == (protocol, task)]
        found = {(row["system"], row["metric"]): row for row in rows}
        systems = sorted({row["system"] for row in rows}, key=system_order)
        lines = [
            {"system": s, "cells": [_cell(found.get((s, column))) for column in columns]}
            for s in systems
        ]
        title, full = f"{TASK_TITLE[task]}, {protocol}", protocol == "full"
        caption = f"{rows[0]['num_queries']:,} queries; below each figure its bootstrap interval"
        tables.append(
            {"title": title, "caption": caption, "full": full, "columns": columns, "rows": lines}
        )
    return tables


def group_tables(
    rows: list[dict],
    systems: tuple[str, ...] = ("joint", "category-popularity", "query-clicks", "bm25", "oracle"),
) -> list[dict]:
    """A table a key of `QUERY_GROUPS`: a column a group of queries, a row a system; none for a single group."""
    tables = []
    for column, title in QUERY_GROUPS.items():
        found = {(row["system"], row["group"]): row for row in rows if row["column"] == column}
        counts = {row["group"]: row["num_queries"] for row in found.values()}
        if len(counts) < 2:
            continue
        present = [s for s in systems if any((s, group) in found for group in counts)]
        lines = [
            {"system": s, "cells": [_cell(found.get((s, group))) for group in counts]}
            for s in present
        ]
        caption = f"{rows[0]['metric']}, full catalogue; in brackets the queries"
        columns = [f"{group} ({count:,})" for group, count in counts.items()]
        tables.append({"title": title, "caption": caption, "columns": columns, "rows": lines})
    return tables


def verdicts(metrics: list[dict], metric: str = "ndcg@10") -> list[str]:
    """A sentence a task: how the joint model stands to the best other system, in the recorded numbers."""
    lines = []
    for task, title in TASK_TITLE.items():
        rows = [
            r for r in metrics if (r["task"], r["metric"], r["protocol"]) == (task, metric, "full")
        ]
        value = {row["system"]: row["value"] for row in rows}
        others = {name: v for name, v in value.items() if name not in ("joint", "oracle")}
        if "joint" not in value or not others:
            continue
        best = max(others, key=others.get)
        word = (
            "ahead of"
            if value["joint"] > others[best]
            else "behind"
            if value["joint"] < others[best]
            else "level with"
        )
        line = f"{title}: joint reaches {metric} {short(value['joint'])}, {word} {best} ({short(others[best])})"
        if value.get("oracle"):
            line += f"; that is {value['joint'] / value['oracle']:.0%} of the oracle's {short(value['oracle'])}"
        lines.append(line + ".")
    return lines


def held_out_rows(figures: dict[str, dict[str, float]]) -> list[tuple]:
    """A row a task: loss a target token before and after training, and how often a token (of each level) was right."""
    before, after = figures.get("untrained", {}), figures.get("trained", {})
    rows = []
    for task in dict.fromkeys(key.partition("/")[0] for key in after):
        loss = f"{task}/held_out_loss"
        right = [
            f"{v:.1%}" for key, v in after.items() if key.startswith(f"{task}/held_out_accuracy@")
        ]
        rows.append((task, f"{before[loss]:.3f}", f"{after[loss]:.3f}", ", ".join(right)))
    return rows


def shown(drawn: tuple[Figure, str] | None, caption: str = "") -> list[dict]:
    """A figure and its alt text as the page wants it; an empty list for None."""
    return (
        []
        if drawn is None
        else [{"uri": figure_uri(drawn[0]), "alt": drawn[1], "caption": caption}]
    )


def flat_rows(value: object, name: str = "") -> list[tuple[str, str]]:
    """Nested statistics as ``(dotted name, text)`` rows; floats with four digits."""
    if isinstance(value, dict):
        inside = [(f"{name}.{key}" if name else str(key), part) for key, part in value.items()]
        return [row for key, part in inside for row in flat_rows(part, key)]
    if isinstance(value, list) and any(isinstance(part, dict) for part in value):
        return [row for i, part in enumerate(value) for row in flat_rows(part, f"{name}.{i + 1}")]
    if isinstance(value, list):
        return [(name, ", ".join(map(str, value)))]
    return [(name, f"{value:.4g}" if isinstance(value, float) else str(value))]


def refuse_foreign(folder: Path, others: tuple[str, ...]) -> None:
    """Raises `ArtifactError` where a page that this program did not write, or one of the files `others` without a page
    of ours beside it, would be replaced."""
    page = folder / "index.html"
    if page.exists():
        ours = "<title>gensar_lite: " in page.read_text(encoding="utf-8", errors="replace")[:2000]
        foreign = [] if ours else [page.name]
    else:
        foreign = [name for name in others if (folder / name).exists()]
    if foreign:
        raise ArtifactError(
            f"report: reports/{folder.name} holds {', '.join(foreign)}, which this program did not write and would "
            "replace. Move what is yours elsewhere, or choose another run with --run NAME."
        )


def write_page(folder: Path, context: dict[str, object]) -> Path:
    """Render `context` into ``folder/index.html``: a reader sees the old page or the new one, never half."""
    write_text(folder / "index.html", render(context))
    return folder / "index.html"
