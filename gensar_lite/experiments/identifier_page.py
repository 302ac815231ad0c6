"""The page of a grid of identifiers, as Markdown, and its picture.

In: tables of means over seeds. Out: text, PNG bytes and their alt text. This file builds nothing and reads no file.
"""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gensar_lite.artifacts import VIEWS
from gensar_lite.config import IdentifiersConfig
from gensar_lite.experiments.growth import HELD_OUT, WAYS
from gensar_lite.notebook import OKABE_ITO

SHOWN = {  # a column of the table: measure and level, 0 for the deepest, -1 for that of the least value
    "collisions before repair": ("collision_rate_before", 0),
    "least codewords in use": ("usage", -1),
    "purity at 1": ("purity/leaf", 1),
    "lift at 1": ("co_purchase_lift", 1),
    "text neighbours kept at 1": ("neighbour_recall/semantic", 1),
    "behaviour neighbours kept at 1": ("neighbour_recall/collaborative", 1),
}
PANELS = ("least codewords in use", "collisions before repair", "purity at 1", "text neighbours kept at 1",
          "behaviour neighbours kept at 1")  # fmt: skip
WARNING = (
    "These figures describe codes, they do not rank them: even use of codewords, or high purity, does not predict how "
    "well a model that generates the codes will rank. Train on them to know."
)
LEVELS = {
    "codewords in use": "usage",
    "perplexity": "perplexity",
    "collisions up to here": "collision_rate_before",
}
GROWN = {
    "purity": 1,
    "neighbour_recall": 1,
    "unexplained": 0,
}  # and the depth that is shown, 0 for the deepest


def grid_page(
    run: str,
    told: IdentifiersConfig,
    table: pd.DataFrame,
    grown: pd.DataFrame | None,
    seeds: tuple[int, ...],
    refused: dict[str, str],
    alt: str,
) -> str:
    """The whole page: picture, a row a pair, RQ-VAE level by level, growing."""
    lines = [
        f"# Identifiers of {run}: strategy x quantizer",
        "",
        WARNING,
        "",
        f"![{alt}](grid.png)",
        "",
    ]
    lines += _table(["strategy", "quantizer", *SHOWN, "seconds"], _pair_rows(table))
    lines.append(
        f"Means over seeds {', '.join(map(str, seeds))}; semantic / collaborative identifier. Every level, depth and "
        "deviation: table.csv. Depth 1 is the first code. Seconds are of one fit on a machine with other work. "
        f"{told.codebook_size} codewords, {told.num_levels} levels, {told.num_shared} of them shared where there is a "
        "trunk."
    )
    lines += [f"\nNot built: {pair}: {reason}" for pair, reason in refused.items()]
    lines += _levels_of(table, "dual", "rq-vae")
    return "\n".join(lines + (_growing(grown) if grown is not None else [])) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)] + [""]


def _pair_rows(table: pd.DataFrame) -> list[list[str]]:
    rows = []
    for pair, part in table.groupby(["strategy", "quantizer"], sort=False):
        said = [
            " / ".join(dict.fromkeys(f"{v:.3f}" for v in _values(part, *what))) or "-"
            for what in SHOWN.values()
        ]
        rows.append([*pair, *said, f"{part.loc[part['measure'] == 'seconds', 'mean'].item():.1f}"])
    return rows


def _values(part: pd.DataFrame, measure: str, level: int) -> list[float]:
    """One value a view: at a level, 0 for the deepest, -1 for the least of all."""
    found = []
    for _, mine in part[part["measure"] == measure].groupby("view", sort=False):
        wanted = (
            mine["mean"].min()
            if level < 0
            else mine.loc[mine["level"] == (level or mine["level"].max()), "mean"]
        )
        found += np.atleast_1d(wanted).tolist()
    return found


def _levels_of(table: pd.DataFrame, strategy: str, quantizer: str) -> list[str]:
    part = table[(table["strategy"] == strategy) & (table["quantizer"] == quantizer)]
    if part.empty:
        return []
    rows = []
    for view in VIEWS:
        mine = part[part["view"] == view].set_index(["measure", "level"])
        for level in range(1, int(part["level"].max()) + 1):
            cells = [mine.loc[(measure, level)] for measure in LEVELS.values()]
            rows.append(
                [view, str(level), *(f"{cell['mean']:.4g} ± {cell['std']:.2g}" for cell in cells)]
            )
    return [
        "",
        f"## {quantizer}, {strategy}, level by level",
        "",
        *_table(["view", "level", *LEVELS], rows),
    ]


def _growing(grown: pd.DataFrame) -> list[str]:
    rows = []
    for (quantizer, view), part in grown.groupby(["quantizer", "view"], sort=False):
        said = []
        for measure, level in GROWN.items():
            mine = part[(part["measure"] == measure)]
            mine = mine[mine["level"] == (level or mine["level"].max())].set_index("way")
            said.append(
                " / ".join(
                    f"{mine.loc[way, 'mean']:.3f} ± {mine.loc[way, 'std']:.3f}"
                    for way in WAYS
                    if len(mine)
                )
            )
        rows.append([quantizer, view, *said])
    return [
        "",
        "## Growing without refitting",
        "",
        f"{HELD_OUT:.0%} of the items, held out, got identifiers from a quantizer fitted on the others (`assign`), or "
        "were part of the fit: assigned / refitted, mean ± deviation over seeds, of held-out items only, dual "
        "identifiers. Purity and the view's own neighbours kept at depth 1, and the share of the view's vectors that "
        "all levels leave over. Every depth: growth.csv.",
        "",
        *_table(["quantizer", "view", *GROWN], rows),
    ]


def grid_picture(table: pd.DataFrame) -> tuple[bytes, str]:
    """PNG bytes and alt text: a row a pair, a panel a figure of `PANELS`, a mark a view; deviations over seeds."""
    pairs = list(table.groupby(["strategy", "quantizer"], sort=False).groups)
    figure = Figure(figsize=(13, 1.2 + 0.24 * len(pairs)), layout="constrained", facecolor="white")
    said = []
    for axes, title in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
        values = [_values(_of(table, pair), *SHOWN[title]) for pair in pairs]
        for i, (view, marker) in enumerate(zip(VIEWS, "os", strict=True)):
            there = [(v[i], y) for y, v in enumerate(values) if len(v) > i]
            x, y = zip(*there, strict=True) if there else ((), ())
            face = {"facecolors": "none"} if i else {}
            axes.scatter(
                x,
                y,
                s=46 - 22 * i,
                marker=marker,
                color=OKABE_ITO[i],
                label=f"{view} ID",
                zorder=3 + i,
                **face,
            )
        axes.set(
            title=title, yticks=range(len(pairs)), yticklabels=[" + ".join(pair) for pair in pairs]
        )
        axes.set_ylim(len(pairs) - 0.5, -0.5)
        axes.title.set_fontsize(9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        flat = [value for v in values for value in v]
        if flat:
            axes.set_xlim(
                -0.04 * max(flat), 1.06 * max(flat)
            )  # from 0: a small difference looks small
            said.append(f"{title} from {min(flat):.3g} to {max(flat):.3g}")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=90, metadata={"Software": None})
    return (
        buffer.getvalue(),
        f"A dot a view for {len(pairs)} pairs of strategy and quantizer: {'; '.join(said)}.",
    )


def _of(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return table[(table["strategy"] == pair[0]) & (table["quantizer"] == pair[1])]
