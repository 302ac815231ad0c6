"""Building a stage: its inputs looked at before and after, its folder published whole or not at all.

In: a `Workspace`, a function that fills a folder, the user's own files that it reads. Out: the stage's folder.
Nothing that this program did not write is replaced. This file does not know how any artefact is computed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from gensar_lite.machine.disk import disk_problem
from gensar_lite.artifacts.folders import clear_drafts, digests, draft_of, swap
from gensar_lite.artifacts.guards import (
    Sources,
    rebuild_reason,
    refuse_changed,
    refuse_edited,
    refuse_inside,
    refuse_strangers,
    sources_of,
)
from gensar_lite.artifacts.layout import INPUTS
from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.config import section_dict
from gensar_lite.machine.atomic import write_json

if TYPE_CHECKING:
    from gensar_lite.artifacts.workspace import Workspace

_LIBRARIES = ("numpy", "pandas", "torch", "transformers", "tokenizers", "sentence-transformers", "faiss-cpu", "bm25s")


def build_stage(
    ws: Workspace,
    stage: str,
    make: Callable[[Path], dict],
    say: Callable[[str], None],
    rank: int,
    outside: dict[str, Path],
) -> Path:
    """What `Workspace.build` does, which says what its arguments mean. Returns the stage's folder."""
    target = ws.folder(stage)
    with _plain_errors(stage):
        refuse_inside(ws, stage, outside)
        for name in INPUTS[stage]:
            ws.require(name)
        refuse_edited(ws, stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        if rank > 0:
            _compute_along(ws, stage, make, outside)
            return target
        with _lock(target.parent / f".{stage}.lock", stage):
            sources = sources_of(ws, stage, outside)
            reason = rebuild_reason(ws, stage, sources)
            if reason is None:
                say(f"{stage}: reused artifacts/{ws.run}/{stage}")
                return target
            refuse_strangers(ws, stage)
            if ws.meta(stage):
                say(f"{stage}: {reason}; building it again")
            seconds = _make(ws, stage, make, sources, outside)
            say(f"{stage}: built artifacts/{ws.run}/{stage} in {seconds:.1f} s")
    return target


def _make(ws: Workspace, stage: str, make: Callable, sources: Sources, outside: dict[str, Path]) -> float:
    """Fill a draft and put it in the stage's place; returns the seconds of it."""
    started, target = time.perf_counter(), ws.folder(stage)
    clear_drafts(target)
    draft = draft_of(target)  # not mkdtemp's, which others could not read
    draft.mkdir()
    try:
        statistics = make(draft)
        refuse_changed(ws, stage, sources, outside)
        meta = {
            "stage": stage,
            "settings": section_dict(getattr(ws.config, stage)),
            "inputs": sources.inputs,
            "files": digests(draft),
            **({"outside": sources.outside} if sources.outside else {}),
        }
        meta["digest"] = hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()
        if outside:
            meta["read"] = {name: str(path.resolve()) for name, path in outside.items()}
        seconds = time.perf_counter() - started
        meta |= {"statistics": statistics, "seconds": round(seconds, 2), "versions": _versions()}
        write_json(draft / "meta.json", meta)
        refuse_strangers(ws, stage)  # hours may have gone by
        swap(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return time.perf_counter() - started


def _compute_along(ws: Workspace, stage: str, make: Callable, outside: dict[str, Path]) -> None:
    """The part of a process that does not publish."""
    sources = sources_of(ws, stage, outside)
    if rebuild_reason(ws, stage, sources):
        with tempfile.TemporaryDirectory(dir=ws.folder(stage).parent) as scratch:
            make(Path(scratch))
        refuse_changed(ws, stage, sources, outside)


@contextlib.contextmanager
def _plain_errors(stage: str) -> Iterator[None]:
    """What the disk refuses becomes one `ArtifactError`, other errors stay what they are."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        problem = disk_problem(error)
        if problem is None:
            raise
        raise ArtifactError(f"{stage}: {problem}") from error


@contextlib.contextmanager
def _lock(path: Path, stage: str) -> Iterator[None]:
    try:
        with FileLock(path, timeout=6 * 3600):
            yield
    except Timeout:
        raise ArtifactError(
            f"{stage}: another run has held {path} for six hours. Stop it, or use --run NAME."
        ) from None


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
