"""Every strategy with every quantizer over seeds: one table of diagnostics, before any generator is trained.

In: a workspace whose embeddings are built. Out: ``reports/identifiers-<run>/``: one small parquet a cell (strategy x
quantizer x seed), written as soon as it is done and reused while what it was made from is the same; ``table.csv``,
means and deviations over seeds; ``index.md``. Numbers only, no item's text. This file fits nothing itself.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from gensar_lite.artifacts import ArtifactError, Corpus, ItemEmbeddings, Workspace, write_json
from gensar_lite.config import section_dict
from gensar_lite.identifiers.diagnostics import diagnose
from gensar_lite.identifiers.strategies import VALID_PAIRS, build_identifiers

SHOWN = {  # a column of index.md: measure and level, 0 for the deepest, of each view
    "collisions before repair": ("collision_rate_before", 0),
    "least codewords in use": ("usage", -1),
    "purity at 1": ("purity/leaf", 1),
    "lift at 1": ("co_purchase_lift", 1),
    "text neighbours kept at 1": ("neighbour_recall/semantic", 1),
    "behaviour neighbours kept at 1": ("neighbour_recall/collaborative", 1),
}
WARNING = (
    "These figures describe codes, they do not rank them: even use of codewords, or high purity, does not predict how "
    "well a model that generates the codes will rank. Train on them to know."
)


def compare_identifiers(
    ws: Workspace, seeds: tuple[int, ...] = (0,), pairs: list[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Build and diagnose each pair (strategy, quantizer), all valid ones if None, with each seed; write the report.

    Returns ``strategy, quantizer, view, level, measure, mean, std, seeds``, among it ``seconds`` of building (view
    ``both``, level 0). A pair that these embeddings do not allow is named with its reason in ``index.md``. Raises
    `ArtifactError` when the embeddings are missing or stale, for an unknown pair, or when no pair could be built.
    """
    chosen = sorted(VALID_PAIRS) if pairs is None else pairs
    unknown = [pair for pair in chosen if pair not in VALID_PAIRS]
    if unknown:
        listed = ", ".join("+".join(pair) for pair in sorted(VALID_PAIRS))
        raise ArtifactError(f"grid: {'+'.join(unknown[0])} is no valid pair. Choose one of: {listed}.")
    corpus, embeddings = Corpus.load(ws.require("data")), ItemEmbeddings.load(ws.require("embeddings"))
    folder = ws.root / "reports" / f"identifiers-{ws.run}"
    folder.mkdir(parents=True, exist_ok=True)
    cells, refused = [], {}
    for strategy, quantizer in chosen:
        try:
            cells += [_cell(ws, strategy, quantizer, seed, corpus, embeddings, folder) for seed in seeds]
        except ArtifactError as problem:
            refused[f"{strategy} + {quantizer}"] = str(problem)
    if not cells:
        raise ArtifactError(f"grid: no pair could be built. {' '.join(refused.values())}")
    table = _summary(pd.concat(cells, ignore_index=True))
    table.round(6).to_csv(folder / "table.csv", index=False)
    (folder / "index.md").write_text(_page(ws, table, seeds, refused), encoding="utf-8")
    return table


def _cell(
    ws: Workspace,
    strategy: str,
    quantizer: str,
    seed: int,
    corpus: Corpus,
    embeddings: ItemEmbeddings,
    folder: Path,
) -> pd.DataFrame:
    named = {} if quantizer == "none" else {"quantizer": quantizer}
    settings = replace(ws.config.identifiers, strategy=strategy, seed=seed, **named)
    digests = {stage: ws.meta(stage)["digest"] for stage in ("data", "embeddings")}
    made_with = {"inputs": digests, "settings": section_dict(settings)}
    path = folder / f"{strategy}-{quantizer}-{seed}.json"
    if path.exists() and path.with_suffix(".parquet").exists():
        found = json.loads(path.read_text())
        if {key: found.get(key) for key in made_with} == made_with:
            return pd.read_parquet(path.with_suffix(".parquet"))
    started = time.perf_counter()
    built = build_identifiers(embeddings, settings)
    seconds = time.perf_counter() - started
    table = diagnose(built.identifiers, embeddings, corpus, built.before)
    table.loc[len(table)] = ["both", 0, "seconds", round(seconds, 3)]
    table = table.assign(strategy=strategy, quantizer=quantizer, seed=seed)
    table.to_parquet(path.with_suffix(".parquet"), index=False)
    write_json(path, made_with)  # written last: a cell without it was killed
    return table


def _summary(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (0 for one seed) over the seeds of each pair, in the order they came."""
    keys = ["strategy", "quantizer", "view", "level", "measure"]
    found = cells.groupby(keys, sort=False)["value"].agg(["mean", lambda v: v.std(ddof=0), "size"])
    return found.set_axis(["mean", "std", "seeds"], axis=1).reset_index()


def _page(ws: Workspace, table: pd.DataFrame, seeds: tuple[int, ...], refused: dict[str, str]) -> str:
    """The report as Markdown: a row a pair, `SHOWN` columns, semantic / collaborative where they differ."""
    head = ["strategy", "quantizer", *SHOWN, "seconds"]
    lines = [f"# Identifiers of {ws.run}: strategy x quantizer", "", WARNING, ""]
    lines += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for (strategy, quantizer), part in table.groupby(["strategy", "quantizer"], sort=False):
        values = [_shown(part, measure, level) for measure, level in SHOWN.values()]
        seconds = part.loc[part["measure"] == "seconds", "mean"].item()
        lines.append("| " + " | ".join([strategy, quantizer, *values, f"{seconds:.1f}"]) + " |")
    told = (
        f"Means over seeds {', '.join(map(str, seeds))}; semantic / collaborative identifier. Every level, depth and "
    )
    lines += ["", told + "deviation: table.csv. Depth 1 is the first code."]
    lines += [f"\nNot built: {pair}: {reason}" for pair, reason in refused.items()]
    return "\n".join(lines) + "\n"


def _shown(part: pd.DataFrame, measure: str, level: int) -> str:
    """One table cell; level 0 is the deepest one, -1 the level with the least value."""
    found = []
    for _, mine in part[part["measure"] == measure].groupby("view", sort=False):
        if level < 0:
            found.append(mine["mean"].min())
        else:
            wanted = level or mine["level"].max()
            found += mine.loc[mine["level"] == wanted, "mean"].tolist()
    said = list(dict.fromkeys(f"{value:.3f}" for value in found))
    return " / ".join(said) or "-"
