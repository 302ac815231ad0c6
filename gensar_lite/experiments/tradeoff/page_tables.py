"""The tables of the study's page, as plain rows that a template writes.

In: the dictionary of `analyse`. Out: tables: ``{title, caption, first, columns, rows}``, a row
``{name, base, cells}``, a cell ``{text, small, sort, kind}``; kind is ``up`` or ``down`` where an
interval excludes 0, else empty. This file writes no markup and computes no interval.
"""

from collections.abc import Iterable, Sequence

from gensar_lite.drawing.palette import TASK_TITLE
from gensar_lite.evaluation.protocols import ALL_RELEVANT, FULL
from gensar_lite.evaluation.report import short
from gensar_lite.experiments.tradeoff.figures import CAUSE_TITLE
from gensar_lite.experiments.tradeoff.lookup import (
    changes_of,
    differences_of,
    metric_of,
    places_of,
)
from gensar_lite.experiments.tradeoff.results import SAMPLED

SHOWN = (("search", "ndcg@10"), ("recommend", "ndcg@10"), ("recommend", "recall@20"))
METRIC_TITLE = {"ndcg@10": "NDCG@10", "recall@20": "Recall@20"}
GROUP_TITLE = {
    "item": "by how frequent the item is",
    "history": "by the length of the history",
    "kind": "by kind of query",
    "seen": "by queries that training has seen, and others",
}
GROUP_ORDER = ("head", "torso", "tail", "cold")
NONE = {"text": "–", "small": [], "sort": "", "kind": ""}


def text_cell(text: object, sort: object = None) -> dict:
    """A cell of words, or of a number without an interval."""
    return NONE | {"text": str(text), "sort": text if sort is None else sort}


def value_cell(row: dict | None) -> dict:
    """A mean with its interval below it; a dash for None."""
    if row is None:
        return NONE
    ends = f"{short(max(row['low'], 0))}, {short(row['high'])}"
    return NONE | {"text": short(row["value"]), "small": [ends], "sort": row["value"]}


def difference_cell(row: dict | None, form: str = "+.4f") -> dict:
    """A difference with its interval, marked where that excludes 0; a dash for None."""
    if row is None:
        return NONE
    small = [f"{_signed(row['low'], form)}, {_signed(row['high'], form)}"]
    if "low_strings" in row:
        ends = (_signed(row[f"{end}_strings"], form) for end in ("low", "high"))
        small.append(f"by string {', '.join(ends)}")
    kind = "up" if row["low"] > 0 else "down" if row["high"] < 0 else ""
    text = _signed(row["value"], form)
    return {"text": text, "small": small, "sort": row["value"], "kind": kind}


def _signed(value: float, form: str) -> str:
    return f"{value:{form}}".replace("-", "−")


def make_table(
    title: str, caption: str, columns: Sequence[str], rows: Iterable[tuple], base: str = ""
) -> dict:
    """Rows are (name, cells)."""
    lines = [{"name": name, "base": name == base, "cells": list(cells)} for name, cells in rows]
    table = {"title": title, "caption": caption, "first": "system"}
    return table | {"columns": list(columns), "rows": lines}


def _named(task: str, metric: str = "ndcg@10") -> str:
    return f"{TASK_TITLE[task]} {METRIC_TITLE[metric]}"


def systems_table(result: dict) -> dict:
    """Every system with its means, and how it stands to the joint model and to the specialists."""
    values = {at: metric_of(result, *at) for at in SHOWN}
    tables = {"the joint model": "against_joint", "the specialist": "against_specialists"}
    pairs = [(table, at) for table in tables.values() for at in SHOWN[:2]]
    less = {(table, at): differences_of(result, table, *at) for table, at in pairs}
    by_name = {row["system"]: row for row in result["rows"]}
    rows = []
    for name, row in by_name.items():
        cells = [text_cell(row["group"]), text_cell(len(row["seeds"]))]
        cells.append(text_cell(result["cells"][row["cell"]]["minutes"]))
        cells += [value_cell(values[at].get(name)) for at in SHOWN]
        cells += [difference_cell(part.get(name)) for part in less.values()]
        rows.append((name, cells))
    columns = ["group", "seeds", "minutes", *(_named(*at) for at in SHOWN)]
    columns += [f"{TASK_TITLE[task]} less {name}" for name in tables for task, _ in SHOWN[:2]]
    caption = "Whole catalogue, mean over seeds and targets; differences are of NDCG@10"
    return make_table("All systems", caption, columns, rows, result["base"])


def difference_table(result: dict, key: str, title: str) -> dict:
    """One table of differences with relative change and Holm's p-value."""
    parts = {at: differences_of(result, key, *at) for at in SHOWN}
    names = dict.fromkeys(row["system"] for row in result[key])
    rows = []
    for name in names:
        cells = []
        for part in parts.values():
            row = part.get(name)
            cells.append(difference_cell(row))
            cells.append(
                text_cell(_signed(row["relative"], "+.1%"), row["relative"]) if row else NONE
            )
            cells.append(_p_cell(row) if row else NONE)
        rows.append((name, cells))
    columns = [text for at in parts for text in (_named(*at), "relative", "p (Holm)")]
    others = {TASK_TITLE[row["task"]].lower(): row["other"] for row in result[key]}
    whom = ", ".join(f"{other} in {task}" for task, other in others.items())
    return make_table(title, f"Each system less {whom}", columns, rows, result["base"])


def _p_cell(row: dict) -> dict:
    text = "<.001" if row["p_holm"] < 0.001 else short(row["p_holm"])
    seeds = [f"seeds {short(row['p_seeds'])}"] if "p_seeds" in row else []
    return text_cell(text, row["p_holm"]) | {"small": seeds}


def group_tables(result: dict) -> list[dict]:
    """A table per task and kind of group: NDCG@10 of every system inside each."""
    tables = []
    for task, title in TASK_TITLE.items():
        for column, way in GROUP_TITLE.items():
            part = [r for r in result["groups"] if (r["task"], r["column"]) == (task, column)]
            counts = {row["name"]: row["num_queries"] for row in part}
            if len(counts) < 2:  # the whole table once more
                continue
            names = sorted(counts, key=lambda n: (*map(n.__ne__, GROUP_ORDER), n))
            cells = {(row["system"], row["name"]): row for row in part}
            rows = [
                (name, [value_cell(cells.get((name, group))) for group in names])
                for name in dict.fromkeys(row["system"] for row in part)
            ]
            columns = [f"{name} ({counts[name]:,})" for name in names]
            caption = "NDCG@10, whole catalogue; in brackets the targets"
            tables.append(make_table(f"{title} {way}", caption, columns, rows, result["base"]))
    return tables


def protocol_tables(result: dict) -> list[dict]:
    """A table per task: NDCG@10 under each protocol with the place that it gives."""
    tables = []
    for task, title in TASK_TITLE.items():
        ways = {"whole catalogue": FULL, f"1 + 99 ({SAMPLED[task]})": SAMPLED[task]}
        parts = {name: metric_of(result, task, protocol=way) for name, way in ways.items()}
        places = {name: places_of(result, task, way) for name, way in ways.items()}
        graded = metric_of(result, task, protocol=ALL_RELEVANT)
        rows = []
        for name in parts["whole catalogue"]:
            cells = []
            for way, part in parts.items():
                cells.append(value_cell(part.get(name)))
                cells.append(text_cell(places[way][name]) if name in places[way] else NONE)
            rows.append((name, cells + ([value_cell(graded.get(name))] if graded else [])))
        columns = [text for way in ways for text in (way, "place")]
        columns += ["all relevant items, whole catalogue"] if graded else []
        tables.append(make_table(f"{title}, protocols", "NDCG@10", columns, rows, result["base"]))
    return tables


def flip_table(result: dict) -> dict:
    """Pairs whose order the sampled protocol turns round for sure."""
    rows = [
        (
            f"{row['first']} less {row['second']}",
            [
                text_cell(TASK_TITLE[row["task"]]),
                difference_cell(row["full"]),
                difference_cell(row["sampled"]),
            ],
        )
        for row in result["flips"]
        if row["sure"]
    ]
    columns = ["task", "whole catalogue", "1 + 99"]
    table = make_table("Pairs turned round for sure", "Difference of NDCG@10", columns, rows)
    return table | {"first": "pair"}


def point_table(result: dict) -> dict:
    """The joint systems of the plane: changes against the specialists, and the Pareto front."""
    changes = {task: changes_of(result, task) for task in TASK_TITLE}
    rows = []
    for point in result["points"]:
        name = point["system"]
        cells = [difference_cell(changes[task].get(name), "+.1%") for task in TASK_TITLE]
        cells.append(text_cell("yes" if point["on_front"] else "no"))
        cells.append(text_cell(f"{point['front_share']:.0%}", point["front_share"]))
        rows.append((name, cells))
    columns = [f"{title}, change" for title in TASK_TITLE.values()]
    columns += ["on the front", "in draws of users"]
    caption = "NDCG@10 against the specialist of the task; how often a draw puts it on the front"
    return make_table("Joint systems", caption, columns, rows, result["base"])


def gain_table(result: dict) -> dict:
    """Changes inside quarters of targets."""
    rows = []
    for row in result["gains"]:
        rho = NONE if row["rho"] is None else text_cell(_signed(row["rho"], "+.2f"), row["rho"])
        span = text_cell(f"{row['from']:.3g} to {row['to']:.3g}", row["from"])
        cells = [text_cell(TASK_TITLE[row["task"]]), span, text_cell(row["num_queries"])]
        rows.append((CAUSE_TITLE[row["cause"]], [*cells, difference_cell(row), rho]))
    columns = ["task", "from, to", "targets", "change", "rank correlation over users"]
    table = make_table("Quarters of targets", "NDCG@10, joint less specialist", columns, rows)
    return table | {"first": "cause"}


def cell_table(result: dict) -> dict:
    """What was trained or fitted: group, seeds, minutes, validation."""
    rows = []
    for name, facts in result["cells"].items():
        seeds = ", ".join(map(str, facts["seeds"]))
        cells = [text_cell(facts["group"]), text_cell(seeds, len(facts["seeds"]))]
        cells.append(text_cell(facts["minutes"]))
        of_task = (facts.get("validation", {}).get(task) for task in TASK_TITLE)
        cells += [NONE if value is None else text_cell(short(value), value) for value in of_task]
        rows.append((name, cells))
    columns = ["group", "seeds", "minutes a seed"]
    columns += [f"{title}, validation NDCG@10" for title in TASK_TITLE.values()]
    table = make_table("What was trained", "A cell may hold several systems", columns, rows)
    return table | {"first": "cell"}
