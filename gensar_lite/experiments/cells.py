"""The cells of a study: each is made once, kept in a small file at once, and read from there later.

In: cells, each with a file and a function. Out: their results by name. A study that was killed goes
on with the first cell that is missing. This file does not know what a cell measures.
"""

import functools
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from gensar_lite.artifacts import ArtifactError, Workspace, replacing, say, write_json
from gensar_lite.config import Config, ConfigError, as_of_today, changed_settings

Result = pd.DataFrame | dict[str, object]


class Cell(NamedTuple):
    """One result of a study, and how it is made.

    name       unique in the study: progress and refusals are told by it
    path       of the file that keeps the result: ``.json`` or, for tables, ``.parquet``
    made_from  all that the result depends on, as JSON: digests of the inputs, settings. What a file
               holds counts only while its record of this is equal
    make       makes the result: a table with the columns of `key`, or, without a key, a dictionary
    key        columns and values that tell this cell's rows from others in the same file; cells
               with equal `made_from` may share one. {}: the cell has a ``.json`` file to itself
    stage      whose settings ``made_from["settings"]`` are: one that became a constant since then
               makes no cell stale
    """

    name: str
    path: Path
    made_from: dict[str, object]
    make: Callable[[], Result]
    key: dict[str, object] = {}  # noqa: RUF012 - never written to
    stage: str = ""


def run_cells(
    study: str, cells: Sequence[Cell], go_on: bool = False
) -> tuple[dict[str, Result], dict[str, str]]:
    """Results by the names of `cells`, in their order; a missing one is made and written at once.

    A cell that raises `ArtifactError` or `ConfigError` ends the study. With `go_on` the others are
    made all the same, and the second dictionary holds the reasons by name.
    """
    # 1. what is kept already
    results = {cell.name: read_cell(cell) for cell in cells}
    # 2. the rest, one by one: a kill loses the one cell at work, no other
    missing = [cell for cell in cells if results[cell.name] is None]
    refused: dict[str, str] = {}
    started = time.perf_counter()
    for done, cell in enumerate(missing):
        # cells of one study take about as long as one another: their mean tells the time left
        minutes = (time.perf_counter() - started) / 60
        left = f", about {minutes / done * (len(missing) - done):.0f} min left" if done else ""
        say(f"{study}: {cell.name} ({done + 1} of {len(missing)}{left})")
        try:
            _write_cell(cell, cell.make())
        except (ArtifactError, ConfigError) as problem:
            if not go_on:
                raise
            refused[cell.name] = str(problem)
        else:  # read back: a first run and one that finds the cell return the same
            results[cell.name] = read_cell(cell)
    return {name: result for name, result in results.items() if result is not None}, refused


def read_cell(cell: Cell) -> Result | None:
    """The kept result, None where there is none, or only one that was made from something else."""
    content = _content(cell)
    if content is None or not cell.key:
        return content
    # the rows whose columns all have this cell's values
    mine = (content[list(cell.key)] == list(cell.key.values())).all(axis=1)
    return content[mine].reset_index(drop=True) if mine.any() else None


def _content(cell: Cell) -> Result | None:
    """All that the cell's file holds if it was made from the same, its neighbours' rows too."""
    if not cell.path.exists():
        return None
    if cell.key:
        content = read_rows(cell.path)
        record = dict(content.attrs)
    else:
        record = _load(cell.path)
        content = {name: value for name, value in record.items() if name not in cell.made_from}
    if cell.stage and "settings" in record:
        record["settings"] = as_of_today(cell.stage, record["settings"])
    # the file may say more than this, e.g. the caption of a figure made of all rows
    same = all(record.get(name) == value for name, value in cell.made_from.items())
    return content if same else None


def _write_cell(cell: Cell, result: Result) -> None:
    if not cell.key:
        write_json(cell.path, cell.made_from | result)
        return
    # read again: another process may have added its cells meanwhile
    neighbours = _content(cell)
    if neighbours is not None:
        result = pd.concat([neighbours, result], ignore_index=True)
    result.attrs = result.attrs | cell.made_from
    write_rows(cell.path, result)


def read_rows(path: Path) -> pd.DataFrame | None:
    """The rows in a study's file, None without one; ``attrs`` is what it says beside them."""
    if not path.exists():
        return None
    content = _load(path)  # a file's rows, or all of its JSON
    if isinstance(content, pd.DataFrame):  # pandas keeps attrs in the parquet's metadata
        return content
    table = pd.DataFrame(content.pop("rows"))
    table.attrs = content
    return table


def write_rows(path: Path, table: pd.DataFrame) -> None:
    """Write rows and ``attrs``: `read_rows` finds the old file or the new one, never half."""
    if path.suffix == ".parquet":
        with replacing(path) as draft:
            table.to_parquet(draft, index=False)
    else:
        write_json(path, table.attrs | {"rows": table.to_dict("records")})


def _load(path: Path) -> pd.DataFrame | dict:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:  # of json, and of pyarrow
        raise ArtifactError(
            f"study: {path} cannot be read ({problem}). Delete it and run the study again."
        ) from problem


def cell_workspace(ws: Workspace, config: Config, run: str, stages: Sequence[str]) -> Workspace:
    """A workspace of a cell's own, with copies of the finished `stages` of `ws`; a copy of what has
    been rebuilt since is copied anew.

    Raises `ArtifactError` where a stage is missing or stale, or is rebuilt meanwhile.
    """
    own = Workspace(ws.root, config, run)
    for stage in stages:
        # a stage that read the user's own files knows them by their digests; so must its copy
        read = {name: Path(path) for name, path in (ws.meta(stage) or {}).get("read", {}).items()}
        own.build(stage, functools.partial(_copied, ws, stage), outside=read)
    return own


def _copied(ws: Workspace, stage: str, folder: Path) -> dict:
    """Copy the stage's files as they are, so that its digest is the same; its statistics."""
    source = ws.require(stage)
    meta = ws.meta(stage)
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("meta.json"))
    ws.require(stage)  # again: a rebuild during the copy would leave a mixture
    if ws.meta(stage)["digest"] != meta["digest"]:
        raise ArtifactError(
            f"{stage}: artifacts/{ws.run}/{stage} was rebuilt while it was copied. Run this again."
        )
    return meta["statistics"]


def input_digests(ws: Workspace, *stages: str) -> dict[str, str]:
    """Digest of each finished stage. Ask before the stages are read: then a rebuild is noticed.

    Raises `ArtifactError` where a stage is missing or stale.
    """
    return {stage: ws.meta(stage)["digest"] for stage in stages if ws.require(stage)}


def about(ws: Workspace, config: Config, *stages: str) -> dict[str, object]:
    """What cells on validation targets are made from: how `config` arose, digests of `stages`."""
    preset, changed = changed_settings(config)
    cells = {"run": ws.run, "preset": preset, "changed": changed, "split": "validation"}
    return cells | {"inputs": input_digests(ws, *stages)}
