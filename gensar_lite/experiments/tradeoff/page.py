"""`write_study`: the kept cells of a study, gathered into its page and the files beside it.

In: a study's folder, the settings of its run. Out: ``metrics.json``, ``table.csv``, four PNGs and
``index.html``, the same to the byte each time. Sentences stand in page.html.j2. This file reads no
artefact of a run: a clone of the repository can write it all again.
"""

from importlib.resources import files
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from gensar_lite.artifacts import write_bytes, write_json, write_text
from gensar_lite.config import Config
from gensar_lite.drawing.canvas import figure_png, png_uri
from gensar_lite.drawing.palette import TASK_COLOUR, TASK_TITLE
from gensar_lite.evaluation.report import refuse_foreign, write_page
from gensar_lite.experiments.tradeoff import page_tables as tables
from gensar_lite.experiments.tradeoff.analysis import analyse
from gensar_lite.experiments.tradeoff.figures import change_figure, gain_figure, protocol_figure
from gensar_lite.experiments.tradeoff.lookup import differences_of, metric_of
from gensar_lite.experiments.tradeoff.plane_figure import LOOKS, frontier_figure, kinds_of
from gensar_lite.experiments.tradeoff.plane_svg import SHAPES, plane_marks
from gensar_lite.experiments.tradeoff.published import published_tables
from gensar_lite.experiments.tradeoff.systems import PAPER_SEEDS, seeds_of, systems_of

ROOM = "gensar_lite.experiments.tradeoff"
FIGURES = {
    "frontier": frontier_figure,
    "changes": change_figure,
    "gains": gain_figure,
    "protocols": protocol_figure,
}
FILES = ("metrics.json", "table.csv", *(f"{name}.png" for name in FIGURES))
DIFFERENCES = {
    "against_specialists": "Against the specialists",
    "against_joint": "Against the joint model",
    "against_rival": "Against the best joint system with one identifier",
    "ablations": "The paper's model without one of its parts",
}
DIGITS = 6  # of figures in the csv


def write_study(folder: Path, config: Config) -> Path:
    """Write the report of the study in `folder` whose run has the settings `config`; its page.

    Raises `ArtifactError` where too few cells are kept, or where it would replace a file that this
    program did not write.
    """
    refuse_foreign(folder, FILES)
    result = analyse(folder, config)
    write_json(folder / "metrics.json", result)
    write_text(folder / "table.csv", csv_table(result).to_csv(index=False))
    figures = {}
    for name, draw in FIGURES.items():
        figure, alt = draw(result)
        png = figure_png(figure)
        write_bytes(folder / f"{name}.png", png)
        figures[name] = {"uri": png_uri(png), "alt": alt}
    return write_page(folder, _context(folder, config, result, figures), ROOM)


def csv_table(result: dict) -> pd.DataFrame:
    """A row per system: group, seeds, minutes, headline metrics with intervals, differences to the
    joint model and the specialist with Holm's p-value. Empty where a system does not do a task."""
    by_name = {row["system"]: row for row in result["rows"]}
    lines = []
    for name, row in by_name.items():
        line = {"system": name, "cell": row["cell"], "group": row["group"]}
        line["seeds"] = " ".join(map(str, row["seeds"]))
        line["minutes"] = result["cells"][row["cell"]]["minutes"]
        for task, metric in tables.SHOWN:
            line |= _ends(f"{task}_{metric}", metric_of(result, task, metric).get(name))
        for short_name, key in (("joint", "against_joint"), ("specialist", "against_specialists")):
            for task, metric in tables.SHOWN:
                of_task = differences_of(result, key, task, metric)
                column = f"{task}_{metric}_less_{short_name}"
                line |= _ends(column, of_task.get(name), "p_holm")
        lines.append(line)
    return pd.DataFrame(lines).round(DIGITS)


def _ends(column: str, row: dict | None, *more: str) -> dict[str, float | None]:
    """A value, its interval and `more` of a row as columns."""
    keys = {"value": column} | {key: f"{column}_{key}" for key in ("low", "high", *more)}
    return {name: row[key] if row else None for key, name in keys.items()}


def _context(folder: Path, config: Config, result: dict, figures: dict) -> dict[str, object]:
    """All that the template needs."""
    style, script = (
        Markup((files(ROOM) / name).read_text(encoding="utf-8"))
        for name in ("study.css", "study.js")
    )
    kinds = set(kinds_of(result).values())
    return {
        "name": folder.name.removeprefix("tradeoff-"),
        "config": config,
        "result": result,
        "figures": figures,
        "own_style": style,
        "script": script,
        "task_colour": TASK_COLOUR,
        "task_title": TASK_TITLE,
        "planes": [plane_marks(result, near) for near in (False, True)],
        "looks": {k: (SHAPES[look.marker], look.title) for k, look in LOOKS.items() if k in kinds},
        "gaps": seed_gaps(result, config),
        "balances": balance_lines(result),
        "systems": tables.systems_table(result),
        "points": tables.point_table(result),
        "differences": [
            tables.difference_table(result, key, title)
            for key, title in DIFFERENCES.items()
            if result[key]
        ],
        "groups": tables.group_tables(result),
        "protocols": tables.protocol_tables(result),
        "flips": tables.flip_table(result),
        "gains": tables.gain_table(result),
        "cells": tables.cell_table(result),
        "published": published_tables(result) if config.data.source == "beauty" else None,
    }


def seed_gaps(result: dict, config: Config) -> list[str]:
    """What is not finished, in words: systems without a cell, then those that lack seeds."""
    lines = []
    if result["missing"]:
        lines.append(f"Not trained yet: {', '.join(result['missing'])}.")
    if all(facts["group"] != "quantizer" for facts in result["cells"].values()):
        lines.append("Other quantizers follow once every strategy has its seeds.")
    seeds, known = len(seeds_of(config)), {system.name: system for system in systems_of(config)}
    few: dict[tuple[int, int], list[str]] = {}
    for name, facts in result["cells"].items():
        wanted = PAPER_SEEDS if facts["group"] == "paper" else seeds
        if name in known and not known[name].seeded:
            wanted = 1
        if len(facts["seeds"]) < wanted:
            few.setdefault((len(facts["seeds"]), wanted), []).append(name)
    lines += [
        f"{done} of {all_} seeds so far: {', '.join(n)}." for (done, all_), n in sorted(few.items())
    ]
    return lines


def balance_lines(result: dict) -> list[str]:
    """Where each line changes both tasks by the same share, in words."""
    lines = []
    for name, found in result["balance"].items():
        title = LOOKS[name].title.removesuffix(" (line)")
        if found is None:
            lines.append(f"On the line of {title} no place changes both tasks by the same share.")
            continue
        first, second = found["between"]
        change = f"{found['change']:+.1%}".replace("-", "−")
        lines.append(
            f"On the line of {title} both tasks change by {change} between {first} and {second}, "
            f"{found['share']:.0%} of the way."
        )
    return lines
