"""The page of the comparison of identifiers, as Markdown, its tables and its picture.

In: tables of means over seeds, a folder. Out: files of the report. This file builds nothing.
"""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import VIEWS, write_bytes, write_text
from gensar_lite.config import IdentifiersConfig
from gensar_lite.drawing.canvas import canvas, figure_png
from gensar_lite.drawing.palette import VIEW_COLOUR
from gensar_lite.experiments.growth import HELD_OUT, WAYS

PAIR = ["strategy", "quantizer"]
DEEPEST = 0  # of the levels a measure has
LEAST = -1  # the level of the least value
SHOWN = {  # a column of the table: measure and level
    "collisions before repair": ("collision_rate_before", DEEPEST),
    "least codewords in use": ("usage", LEAST),
    "purity at 1": ("purity/leaf", 1),
    "lift at 1": ("co_purchase_lift", 1),
    "text neighbours kept at 1": ("neighbour_recall/semantic", 1),
    "behaviour neighbours kept at 1": ("neighbour_recall/collaborative", 1),
}
PANELS = (
    "least codewords in use",
    "collisions before repair",
    "purity at 1",
    "text neighbours kept at 1",
    "behaviour neighbours kept at 1",
)
WARNING = (
    "These figures describe codes, they do not rank them: even use of codewords, or high purity, "
    "does not predict how well a model that generates the codes will rank. Train on them to know."
)
LEVELS = {
    "codewords in use": "usage",
    "perplexity": "perplexity",
    "collisions up to here": "collision_rate_before",
}
GROWTH = {"purity": 1, "neighbour_recall": 1, "unexplained": DEEPEST}  # measure and level


def write_grid(
    folder: Path,
    run: str,
    settings: IdentifiersConfig,
    table: pd.DataFrame,
    growth: pd.DataFrame | None,
    seeds: tuple[int, ...],
    refused: dict[str, str],
) -> None:
    """``table.csv``, ``growth.csv``, ``grid.png`` and the page: picture, one row per pair, RQ-VAE
    level by level, growing."""
    table.round(5).to_csv(folder / "table.csv", index=False)
    png, alt = _picture(table)
    write_bytes(folder / "grid.png", png)
    lines = [f"# Identifiers of {run}: strategy x quantizer", "", WARNING, ""]
    lines += [f"![{alt}](grid.png)", ""]
    lines += _markdown([*PAIR, *SHOWN, "seconds"], _pair_rows(table))
    lines.append(
        f"Means over seeds {', '.join(map(str, seeds))}; semantic / collaborative identifier. "
        "Every level, depth and deviation: table.csv. Depth 1 is the first code. Seconds are of "
        f"one fit on a machine with other work. {settings.codebook_size} codewords, "
        f"{settings.num_levels} levels, {settings.num_shared} of them shared where there is a "
        "trunk."
    )
    lines += [f"\nNot built: {pair}: {reason}" for pair, reason in refused.items()]
    lines += _level_lines(table, ("dual", "rq-vae"))
    if growth is not None:
        growth.round(5).to_csv(folder / "growth.csv", index=False)
        lines += _growth_lines(growth)
    write_text(folder / "index.md", "\n".join(lines) + "\n")


def _markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)] + [""]


def _pair_rows(table: pd.DataFrame) -> list[list[str]]:
    rows = []
    # a row of text per pair: one value, or semantic / collaborative
    for pair, part in table.groupby(PAIR, sort=False):
        texts = []
        for measure, level in SHOWN.values():
            values = [f"{value:.3f}" for value in _values(part, measure, level)]
            texts.append(" / ".join(dict.fromkeys(values)) or "-")  # equal views are said once
        seconds = part.loc[part["measure"] == "seconds", "mean"].item()
        rows.append([*pair, *texts, f"{seconds:.1f}"])
    return rows


def _values(part: pd.DataFrame, measure: str, level: int) -> list[float]:
    """The means of one pair: one value per view that has the measure."""
    rows = part[part["measure"] == measure]
    if level == LEAST:
        return rows.groupby("view", sort=False)["mean"].min().tolist()
    return _at(rows, level)["mean"].tolist()


def _at(rows: pd.DataFrame, level: int) -> pd.DataFrame:
    deepest = rows.groupby("view")["level"].transform("max")
    return rows[rows["level"] == (deepest if level == DEEPEST else level)]


def _level_lines(table: pd.DataFrame, pair: tuple[str, str]) -> list[str]:
    """A section with one row per view and level; nothing where the pair was not built."""
    part = table[(table[PAIR] == list(pair)).all(axis=1)]
    if part.empty:
        return []
    cells = part.set_index(["view", "level", "measure"])
    rows = []
    for view, level in itertools.product(VIEWS, range(1, int(part["level"].max()) + 1)):
        entries = [cells.loc[(view, level, measure)] for measure in LEVELS.values()]
        texts = [f"{entry['mean']:.4g} ± {entry['std']:.2g}" for entry in entries]
        rows.append([view, str(level), *texts])
    title = f"## {pair[1]}, {pair[0]}, level by level"
    return ["", title, "", *_markdown(["view", "level", *LEVELS], rows)]


def _growth_lines(growth: pd.DataFrame) -> list[str]:
    rows = []
    for (quantizer, view), part in growth.groupby(["quantizer", "view"], sort=False):
        texts = []
        for measure, level in GROWTH.items():
            # the depth that is shown; rows by assigned and refitted
            by_way = _at(part[part["measure"] == measure], level).set_index("way")
            ways = [by_way.loc[way] for way in WAYS if len(by_way)]
            texts.append(" / ".join(f"{way['mean']:.3f} ± {way['std']:.3f}" for way in ways))
        rows.append([quantizer, view, *texts])
    return [
        "",
        "## Growing without refitting",
        "",
        f"{HELD_OUT:.0%} of the items, held out, got identifiers from a quantizer fitted on the "
        "others (`assign`), or were part of the fit: assigned / refitted, mean ± deviation over "
        "seeds, of held-out items only, dual identifiers. Purity and the view's own neighbours "
        "kept at depth 1, and the share of the view's vectors that all levels leave over. Every "
        "depth: growth.csv.",
        "",
        *_markdown(["quantizer", "view", *GROWTH], rows),
    ]


def _picture(table: pd.DataFrame) -> tuple[bytes, str]:
    """PNG bytes and alt text: one row per pair, one panel per figure, a mark per view."""
    parts = dict(list(table.groupby(PAIR, sort=False)))
    figure, panels = canvas(13, 1.2 + 0.24 * len(parts), len(PANELS))
    ranges = []
    for axes, title in zip(panels, PANELS, strict=True):
        values = [_values(part, *SHOWN[title]) for part in parts.values()]
        # a large dot, and a small open square on it where both views agree
        looks = ({"marker": "o", "s": 46}, {"marker": "s", "s": 24, "facecolors": "none"})
        for i, (view, look) in enumerate(zip(VIEWS, looks, strict=True)):
            places = [place for place, of_pair in enumerate(values) if len(of_pair) > i]
            marks = {"color": VIEW_COLOUR[view], "label": f"{view} ID", "zorder": 3 + i}
            axes.scatter([values[place][i] for place in places], places, **marks, **look)
        axes.set_title(title, fontsize=9)
        # the first pair on top; only the leftmost panel names them
        names = [" + ".join(pair) if axes is panels[0] else "" for pair in parts]
        axes.set(yticks=range(len(parts)), yticklabels=names, ylim=(len(parts) - 0.5, -0.5))
        axes.tick_params(labelsize=8)
        flat = np.concatenate(values)
        if len(flat):
            # from 0, so that a small difference looks small
            axes.set_xlim(-0.04 * flat.max(), 1.06 * flat.max())
            ranges.append(f"{title} from {flat.min():.3g} to {flat.max():.3g}")
    # one legend for all panels, below them
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    alt = f"A dot per view for {len(parts)} pairs of strategy and quantizer: {'; '.join(ranges)}."
    return figure_png(figure, dpi=90), alt
