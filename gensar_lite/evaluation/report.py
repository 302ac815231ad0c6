"""What a run's figures say, for a terminal and for a browser, and the page that shows it.

In: metrics (list of dicts, see scores.py) and plain facts. Out: text, tables, and one page that
loads nothing from anywhere, every value escaped by jinja2's autoescape: page.html.j2 with page.css
inside, and a content policy that tells the browser so. This file reads no artefact.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from gensar_lite.artifacts import ArtifactError, write_text
from gensar_lite.decoding.channel import SYSTEM
from gensar_lite.drawing.canvas import figure_uri
from gensar_lite.drawing.palette import TASK_TITLE
from gensar_lite.evaluation.protocols import ALL_RELEVANT, FULL
from gensar_lite.evaluation.scores import system_order

# by what search is told apart (query_groups in stage.py), and the title of that table
QUERY_GROUPS = {
    "kind": "Search by kind of query",
    "seen": "Search by queries that training has seen, and others",
    "kind and seen": "Search by both",
}
# rows of those tables
GROUPED = (
    *("joint", "joint+channel", "category-popularity", "query-clicks", "bm25", "dense"),
    *("svd x likelihood", "sasrec x likelihood", "oracle"),
)
_CELL = 22  # characters of a column in the terminal


def short(value: float) -> str:
    """A share as ``.0825``; 1 as ``1.000``; what would round to 0 and is none as ``<.0001``."""
    if 0 < value < 0.00005:
        return "<.0001"
    return f"{value:.4f}".removeprefix("0") if value < 0.99995 else f"{value:.3f}"


def _cell(row: dict) -> dict:
    """Value and interval as texts; an end that is not 0 or 1 is never rounded to it."""
    low = min(row["low"], 0.9999 if row["low"] < 1 else 1)
    high = max(row["high"], 0.0001 if row["high"] > 0 else 0)
    return {"value": short(row["value"]), "interval": f"{short(low)}, {short(high)}"}


def _lines(rows: list[dict], column: str, names: Sequence) -> list[dict]:
    """``{system, cells}`` per system of `rows`; its cells are those whose `column` has the `names`,
    None where there is no row."""
    cells = {(row["system"], row[column]): _cell(row) for row in rows}
    systems = sorted({row["system"] for row in rows}, key=system_order)
    return [{"system": s, "cells": [cells.get((s, name)) for name in names]} for s in systems]


def console_table(metrics: list[dict]) -> str:
    """Full-catalogue search and recommendation for the terminal, a row per system. A task that the
    log lacks has no columns."""
    rows = [row | {"at": (row["task"], row["metric"])} for row in metrics]
    rows = [row for row in rows if row["protocol"] == FULL]
    counts = {row["task"]: row["num_queries"] for row in rows}
    tasks = {task: title for task, title in TASK_TITLE.items() if task in counts}
    names = [(task, metric) for task in tasks for metric in ("recall@10", "ndcg@10")]
    # a task's title stands above its first column
    table = [["", *(tasks[task] if metric == "recall@10" else "" for task, metric in names)]]
    table += [["system", *(metric for _, metric in names)]]
    for line in _lines(rows, "at", names):
        cells = (f"{c['value']} [{c['interval']}]" if c else "-" for c in line["cells"])
        table.append([line["system"], *cells])
    width = max(len(line[0]) for line in table) + 2
    lines = [f"{first:<{width}}" + "".join(f"{c:<{_CELL}}" for c in rest) for first, *rest in table]
    asked = (f"{counts[task]:,} {title.lower()} targets" for task, title in tasks.items())
    return "\n".join([*map(str.rstrip, lines), f"full catalogue; {', '.join(asked)}"])


def metric_tables(metrics: list[dict]) -> list[dict]:
    """One table per task and protocol: ``{title, caption, full, columns, rows}``, full first."""
    columns, tables = ("recall@5", "recall@10", "ndcg@10", "mrr"), []
    for protocol in sorted(
        {row["protocol"] for row in metrics},
        key=lambda name: (name != FULL, name != ALL_RELEVANT, name),
    ):
        for task, title in TASK_TITLE.items():
            rows = [r for r in metrics if (r["protocol"], r["task"]) == (protocol, task)]
            if not rows:
                continue
            count = f"{rows[0]['num_queries']:,} queries"
            table = {"title": f"{title}, {protocol}", "full": protocol == FULL, "columns": columns}
            table["caption"] = f"{count}; below each figure its bootstrap interval"
            tables.append(table | {"rows": _lines(rows, "metric", columns)})
    return tables


def group_tables(rows: list[dict]) -> list[dict]:
    """One table per key of `QUERY_GROUPS`: a column per group of queries, a row per system; none
    for a single group."""
    tables = []
    for column, title in QUERY_GROUPS.items():
        part = [row for row in rows if row["column"] == column]
        counts = {row["group"]: row["num_queries"] for row in part}
        if len(counts) < 2:  # the whole table once more
            continue
        caption = f"{rows[0]['metric']}, full catalogue; in brackets the queries"
        columns = [f"{group} ({count:,})" for group, count in counts.items()]
        lines = _lines([row for row in part if row["system"] in GROUPED], "group", list(counts))
        tables.append({"title": title, "caption": caption, "columns": columns, "rows": lines})
    return tables


def verdicts(metrics: list[dict]) -> list[str]:
    """A sentence per task and system of ours: how it stands to the best of the others, in the
    recorded numbers."""
    lines = []
    for task, title in TASK_TITLE.items():
        wanted = (task, "ndcg@10", FULL)
        rows = [row for row in metrics if (row["task"], row["metric"], row["protocol"]) == wanted]
        value = {row["system"]: row["value"] for row in rows}
        ours = [name for name in ("joint", SYSTEM) if name in value]
        others = {name: v for name, v in value.items() if name not in (*ours, "oracle")}
        for name in ours if others else ():
            best, reached = max(others, key=others.get), value[name]  # the first of equal ones
            word = "level with"
            if reached != others[best]:
                word = "ahead of" if reached > others[best] else "behind"
            line = f"{title}: {name} reaches ndcg@10 {short(reached)}, {word} {best} "
            line += f"({short(others[best])})"
            if value.get("oracle"):
                share = f"{reached / value['oracle']:.0%}"
                line += f"; that is {share} of the oracle's {short(value['oracle'])}"
            lines.append(line + ".")
    return lines


def held_out_rows(figures: dict[str, dict[str, float]]) -> list[tuple]:
    """A row per task: loss per target token before and after training, and how often a token (of
    each level) was right."""
    before, after = figures.get("untrained", {}), figures.get("trained", {})
    rows = []
    for task in dict.fromkeys(key.partition("/")[0] for key in after):
        loss, level = f"{task}/held_out_loss", f"{task}/held_out_accuracy@"
        right = [f"{value:.1%}" for key, value in after.items() if key.startswith(level)]
        rows.append((task, f"{before[loss]:.3f}", f"{after[loss]:.3f}", ", ".join(right)))
    return rows


def shown(drawn: tuple[Figure, str] | None, caption: str = "") -> list[dict]:
    """A figure and its alt text as the page wants it; an empty list for None."""
    return [{"uri": figure_uri(drawn[0]), "alt": drawn[1], "caption": caption}] if drawn else []


def flat_rows(value: object, name: str = "") -> list[tuple[str, str]]:
    """Nested statistics as ``(dotted name, text)`` rows; floats with four digits."""
    # a list of records is a dict by position, from 1; any other list is one cell
    if isinstance(value, list) and any(isinstance(part, dict) for part in value):
        value = {str(number): part for number, part in enumerate(value, start=1)}
    if isinstance(value, dict):
        inside = {f"{name}.{key}" if name else str(key): part for key, part in value.items()}
        return [row for key, part in inside.items() for row in flat_rows(part, key)]
    if isinstance(value, list):
        return [(name, ", ".join(map(str, value)))]
    return [(name, f"{value:.4g}" if isinstance(value, float) else str(value))]


def refuse_foreign(folder: Path, others: tuple[str, ...]) -> None:
    """Raises `ArtifactError` where a page that this program did not write, or one of the files
    `others` without a page of ours beside it, would be replaced."""
    page = folder / "index.html"
    foreign = [name for name in others if (folder / name).exists()]
    if page.exists():
        # every page of ours says so in its title, which the template begins with
        ours = "<title>gensar_lite: " in page.read_text(encoding="utf-8", errors="replace")[:2000]
        foreign = [] if ours else [page.name]
    if foreign:
        raise ArtifactError(
            f"report: reports/{folder.name} holds {', '.join(foreign)}, which this program did not "
            "write and would replace. Move what is yours elsewhere, or choose another run with "
            "--run NAME."
        )


def write_page(
    folder: Path, context: dict[str, object], package: str = "gensar_lite.evaluation"
) -> Path:
    """The page of `context` as ``folder/index.html``: a reader sees the old page or the new one,
    never half. A name that the context lacks raises ``jinja2.UndefinedError``.

    `package` holds the template, page.html.j2; the style sheet of all pages is this room's.
    """
    # package data: a wheel holds both beside the modules
    template = (files(package) / "page.html.j2").read_text(encoding="utf-8")
    style = (files("gensar_lite.evaluation") / "page.css").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(template)
    write_text(folder / "index.html", page.render(style=style, **context))
    return folder / "index.html"
