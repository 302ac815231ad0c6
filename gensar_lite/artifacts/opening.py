"""A finished run, opened by its folder alone: no preset has to be named.

In: the path of ``artifacts/<run>``. Out: a `Workspace` with the settings that the stages recorded.
Nothing is written. This file does not check what the folders hold: `Workspace.require` does,
whenever a stage is asked for.
"""

import os
import shlex
from pathlib import Path

from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.artifacts.workspace import Workspace
from gensar_lite.config import PRESETS, STAGES, Config, ConfigError, flat, overlay, preset


def open_run(folder: Path | str) -> Workspace:
    """The workspace of ``artifacts/<run>``. Stages not built have the nearest preset's settings.

    Raises `ArtifactError` when there is no such folder, it lies elsewhere, or none of its stages
    was finished.
    """
    # a link stays a link: the folder behind it may lie on another disk
    folder = Path(os.path.abspath(folder))
    bare = Workspace.open(root=folder.parent.parent, run=folder.name)
    if folder.parent.name != "artifacts":
        raise ArtifactError(
            f"run: {folder.name} must lie in a folder artifacts/, as in: artifacts/tour."
        )
    metas = {stage: bare.meta(stage) for stage in STAGES}
    settings = {stage: meta["settings"] for stage, meta in metas.items() if meta}
    if not settings:
        raise ArtifactError(_no_stage(bare))
    return Workspace(bare.root, recorded_config(settings, folder.name), folder.name)


def _no_stage(ws: Workspace) -> str:
    known = ", ".join(finished_runs(ws.root, "data"))
    first = f"gensar run --preset {ws.run}"
    if ws.run not in PRESETS:  # whose data it should hold, nobody knows but the user
        first = (
            f"gensar run --run {shlex.quote(ws.run)} --items ITEMS.csv --events EVENTS.csv for "
            "data of your own; gensar run --preset tour for the built-in shop"
        )
    there = f" There are: {known}." if known else ""
    return f"run: artifacts/{ws.run} holds no finished stage.{there} Build it first: {first}"


def recorded_run(root: Path | str, run: str) -> Workspace | None:
    """A run with the settings it was built with, None where none of its stages is finished."""
    folder = Workspace.open(root=root, run=run).folder(STAGES[0]).parent
    finished = any((folder / stage / "meta.json").exists() for stage in STAGES)
    return open_run(folder) if finished else None


def finished_runs(root: Path | str, stage: str = "training") -> list[str]:
    """Runs below ``root/artifacts`` whose `stage` was finished, sorted, without studies' cells."""
    # a study builds a run for each of its cells, named after its own run
    folders = [path for path in Path(root).glob("artifacts/*") if path.is_dir()]
    kinds = ("identifiers", "baselines")
    cells = tuple(f"{kind}-{path.name}-" for kind in kinds for path in folders)
    names = [path.name for path in folders if (path / stage / "meta.json").exists()]
    return sorted(name for name in names if not name.startswith(cells))


def recorded_config(sections: dict[str, dict], run: str) -> Config:
    """The settings that stages were built with, ``{stage: settings}``, on top of a preset.

    The preset is the one that differs least, so that a command that repeats the run is short;
    `run` breaks a tie. Names that this version does not know are left out: the stage is then
    refused as built with other settings. Raises `ArtifactError` for a value that it refuses.
    """
    pairs = {f"{stage}.{k}": v for stage, section in sections.items() for k, v in section.items()}
    # a setting that is gone cannot be asked for; comparing it later finds the stage stale
    pairs = {key: pairs[key] for key in flat(Config()) if key in pairs}

    def distance(name: str) -> tuple[int, bool]:
        base = flat(preset(name))
        # False sorts before True: of two presets as near, the one of the run's own name
        return sum(base[key] != value for key, value in pairs.items()), name != run

    try:
        return overlay(preset(min(PRESETS, key=distance)), pairs)
    except ConfigError as error:
        raise ArtifactError(
            f"run: artifacts/{run} was built with a setting that this version refuses: {error} "
            "Build it again under another name (--run NAME), or remove its folder."
        ) from error
