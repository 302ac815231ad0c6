"""What must hold before and after a stage is built: the same inputs, a place that is free or ours.

In: a run's folders, a stage, the user's own files that it reads. Out: nothing, or an
`ArtifactError`. This file writes and removes nothing.
"""

from __future__ import annotations

from pathlib import Path

from gensar_lite.artifacts.folders import path_digest, strangers
from gensar_lite.artifacts.layout import INPUTS, upstream
from gensar_lite.artifacts.reading import RunFolders, Sources
from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.config import STAGES


def refuse_inside(ws: RunFolders, stage: str, outside: dict[str, Path]) -> None:
    """What a build replaces or removes must not be what it reads."""
    # links are followed on both sides: another name of the folder is the folder
    for name in (*STAGES, "training-checkpoints"):
        folder = ws.folder(name).resolve()
        for path in outside.values():
            if folder in (path.resolve(), *path.resolve().parents):
                raise ArtifactError(
                    f"{stage}: {path} lies in {ws.place(name)}, a folder that building this run "
                    "replaces. Move it elsewhere, or choose another run with --run NAME."
                )


def refuse_strangers(ws: RunFolders, stage: str) -> None:
    """The stage's place must not be a file, nor a folder with what no build of ours wrote."""
    target = ws.folder(stage)
    if target.exists() and not target.is_dir():
        problem = "is a file"
    elif names := strangers(target):  # of a folder that is absent or all ours there are none
        count = f"{len(names)} files that were" if len(names) > 1 else "a file that was"
        problem = f"holds {count} not written by this program ({', '.join(names[:3])})"
    else:
        return
    raise ArtifactError(
        f"{stage}: {ws.place(stage)} {problem}, and building the stage would replace it. Move "
        "what is yours elsewhere, or choose another run with --run NAME."
    )


def refuse_changed(ws: RunFolders, stage: str, before: Sources, outside: dict[str, Path]) -> None:
    """Nothing is published under the names of inputs that are not those it was made from."""
    now = ws.sources(stage, outside)  # digests anew, however long the build took
    changed = [ws.place(k) for k in INPUTS[stage] if before.inputs[k] != now.inputs[k]]
    for name, path in outside.items():
        if before.outside.get(name) != now.outside.get(name):
            changed.append(str(path))
    if changed:
        raise ArtifactError(
            f"{stage}: {' and '.join(changed)} changed while this stage was being built from it; "
            f"nothing was published. {ws.again(stage)}"
        )


def refuse_edited(ws: RunFolders, stage: str) -> None:
    """Upstream stages must stand on the user's files as they are now; absent files say nothing."""
    for name in upstream(stage):
        meta = ws.meta(name)  # there is one: `require` came before
        for what, path in meta.get("read", {}).items():
            # a table that was moved away since is no reason: what was made of it still stands
            now = path_digest(Path(path))
            if now and now != meta.get("outside", {}).get(what):
                raise ArtifactError(
                    f"{stage}: {path} changed since {ws.place(name)} was built from it. "
                    f"{ws.again(name)}"
                )
