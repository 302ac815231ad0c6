"""What must hold before and after a stage is built: its inputs are the same ones, its place is free or ours.

In: a `Workspace`, a stage, the user's own files that it reads. Out: a reason in words, or an `ArtifactError`.
This file writes and removes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gensar_lite.artifacts.folders import damage, path_digest, strangers
from gensar_lite.artifacts.layout import INPUTS, LESSON, upstream
from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.config import STAGES

if TYPE_CHECKING:
    from gensar_lite.artifacts.workspace import Workspace


class Sources(NamedTuple):
    """Digests of all that a stage reads: of other stages, and of files `outside` artifacts/."""

    inputs: dict[str, str]
    outside: dict[str, str]


def sources_of(ws: Workspace, stage: str, outside: dict[str, Path]) -> Sources:
    """The digests as they are now; of a stage that was never built "", of a file that is not there nothing."""
    inputs = {name: (ws.meta(name) or {}).get("digest", "") for name in INPUTS[stage]}
    return Sources(inputs, {name: text for name, path in outside.items() if (text := path_digest(path))})


def rebuild_reason(ws: Workspace, stage: str, sources: Sources) -> str | None:
    """Why a stage must be built (again), in words; None where its folder fits settings, inputs and its own digests."""
    reason = ws.why_stale(stage)
    if reason:
        return reason
    recorded = ws.meta(stage).get("outside", {})
    edited = [name for name in recorded | sources.outside if recorded.get(name) != sources.outside.get(name)]
    if edited:
        return f"was built from other {' and '.join(edited)}, which changed since"
    return damage(ws.folder(stage), ws.meta(stage))


def refuse_inside(ws: Workspace, stage: str, outside: dict[str, Path]) -> None:
    """What a build replaces or removes must not be what it reads."""
    for name in (*STAGES, "training-checkpoints"):
        folder = ws.folder(name).resolve()
        for path in outside.values():
            if folder in (path.resolve(), *path.resolve().parents):
                raise ArtifactError(
                    f"{stage}: {path} lies in artifacts/{ws.run}/{name}, a folder that building this run "
                    "replaces. Move it elsewhere, or choose another run with --run NAME."
                )


def refuse_strangers(ws: Workspace, stage: str) -> None:
    """Raises `ArtifactError` where the stage's place is a file, or a folder that holds what no build of ours wrote."""
    target, place = ws.folder(stage), f"artifacts/{ws.run}/{stage}"
    if target.exists() and not target.is_dir():
        problem = "is a file"
    elif names := strangers(target):
        count = f"{len(names)} files that were" if len(names) > 1 else "a file that was"
        problem = f"holds {count} not written by this program ({', '.join(names[:3])})"
    else:
        return
    raise ArtifactError(
        f"{stage}: {place} {problem}, and building the stage would replace it. Move what is yours elsewhere, or "
        "choose another run with --run NAME."
    )


def refuse_changed(ws: Workspace, stage: str, before: Sources, outside: dict[str, Path]) -> None:
    """Nothing is published under the names of inputs that are not those it was made from."""
    after = sources_of(ws, stage, outside)
    stages = [name for name in INPUTS[stage] if before.inputs[name] != after.inputs[name]]
    files = [str(path) for name, path in outside.items() if before.outside.get(name) != after.outside.get(name)]
    if stages or files:
        listed = " and ".join([*(f"artifacts/{ws.run}/{name}" for name in stages), *files])
        raise ArtifactError(
            f"{stage}: {listed} changed while this stage was being built from it; nothing was published. Run "
            f"{LESSON[stage]} again, or: {ws.command(stage)}"
        )


def refuse_edited(ws: Workspace, stage: str) -> None:
    """Upstream stages must stand on the user's files as they are now; those that are gone tell nothing."""
    for name in upstream(stage):
        meta = ws.meta(name)
        for what, path in meta.get("read", {}).items():
            now = path_digest(Path(path))
            if now and now != meta.get("outside", {}).get(what):
                raise ArtifactError(
                    f"{stage}: {path} changed since artifacts/{ws.run}/{name} was built from it. Run "
                    f"{LESSON[name]} again, or: {ws.command(name)}"
                )
