"""A finished run, opened by its folder alone: no preset has to be named.

In: the path of ``artifacts/<run>``. Out: a `Workspace` with the settings that the stages recorded. Nothing is written.
This file does not check what the folders hold: `Workspace.require` does, whenever a stage is asked for.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.artifacts.workspace import Workspace
from gensar_lite.config import PRESETS, STAGES, Config, ConfigError, flat, override, preset


def open_run(folder: Path | str) -> Workspace:
    """The workspace of ``artifacts/<run>``. A stage that was not built has the settings of the nearest preset.

    Raises `ArtifactError` when there is no such folder, it lies elsewhere, or none of its stages was finished.
    """
    folder = Path(os.path.abspath(folder))  # a link stays a link: the folder behind it may lie on another disk
    bare = Workspace.open(root=folder.parent.parent, run=folder.name)
    if folder.parent.name != "artifacts":
        raise ArtifactError(f"run: {folder.name} must lie in a folder artifacts/, as in: artifacts/tour.")
    told = {stage: meta["settings"] for stage in STAGES if (meta := bare.meta(stage))}
    if not told:
        known = ", ".join(finished_runs(bare.root, "data"))
        known = f" There are: {known}." if known else ""
        first = f"Build it first: gensar run --preset {folder.name}"
        if folder.name not in PRESETS:  # whose data it should hold, nobody knows but the user
            first = (
                f"Build it first: gensar run --run {shlex.quote(folder.name)} --items ITEMS.csv --events EVENTS.csv "
                "for data of your own; gensar run --preset tour for the built-in shop"
            )
        raise ArtifactError(f"run: artifacts/{folder.name} holds no finished stage.{known} {first}")
    return Workspace(bare.root, recorded_config(told, folder.name), folder.name)


def recorded_run(root: Path | str, run: str) -> Workspace | None:
    """The workspace of a run with the settings it was built with, None where none of its stages is finished."""
    bare = Workspace.open(root=root, run=run)
    folder = bare.folder(STAGES[0]).parent
    return open_run(folder) if any((folder / stage / "meta.json").exists() for stage in STAGES) else None


def finished_runs(root: Path | str, stage: str = "training") -> list[str]:
    """Names of the runs below ``root/artifacts`` whose `stage` was finished, sorted; cells of studies are left out."""
    folders = [path for path in Path(root).glob("artifacts/*") if path.is_dir()]
    studies = tuple(f"{kind}-{path.name}-" for kind in ("identifiers", "baselines") for path in folders)
    names = [path.name for path in folders if (path / stage / "meta.json").exists()]
    return sorted(name for name in names if not name.startswith(studies))


def recorded_config(told: dict[str, dict], run: str) -> Config:
    """The tree of settings that stages were built with, ``{stage: settings}``; what they do not say is the preset's.

    The preset is the one that differs least, so that a command that repeats the run is short; `run` breaks a tie.
    Names that this version does not know are left out: the stage is then refused as built with other settings.
    """
    known = set(flat(Config()))
    pairs = {f"{stage}.{name}": value for stage, section in told.items() for name, value in section.items()}
    pairs = {key: value for key, value in pairs.items() if key in known}

    def distance(name: str) -> tuple[int, bool]:
        base = flat(preset(name))
        return sum(base[key] != value for key, value in pairs.items()), name != run

    try:
        return override(preset(min(PRESETS, key=distance)), pairs)
    except ConfigError as problem:
        raise ArtifactError(
            f"run: artifacts/{run} was built with a setting that this version refuses: {problem} "
            "Build it again under another name (--run NAME), or remove its folder."
        ) from None
