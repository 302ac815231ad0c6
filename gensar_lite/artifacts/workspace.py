"""A run's folders: built once, published whole, refused when they no longer fit.

In: a `Config`, a function that fills a folder, the user's own files that it reads. Out:
``artifacts/<run>/<stage>/`` with a ``meta.json`` written last. Nothing that this program did not
write is replaced. This file does not know how any artefact is computed, nor what a model is.
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

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from gensar_lite.artifacts.folders import clear_drafts, digests, draft_of, swap
from gensar_lite.artifacts.guards import (
    refuse_changed,
    refuse_edited,
    refuse_inside,
    refuse_strangers,
)
from gensar_lite.artifacts.layout import INPUTS
from gensar_lite.artifacts.reading import RunFolders, Sources
from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.config import Config, preset, section_dict
from gensar_lite.machine.atomic import write_json
from gensar_lite.machine.console import say
from gensar_lite.machine.disk import disk_problem

_LIBRARIES = (
    *("numpy", "pandas", "torch", "transformers", "tokenizers"),
    *("sentence-transformers", "faiss-cpu", "bm25s"),
)
_LOCK_SECONDS = 6 * 3600


class Workspace(RunFolders):
    """A run's folders, and how they come to be."""

    @staticmethod
    def open(
        config: Config | None = None, root: Path | str = ".", run: str | None = None
    ) -> Workspace:
        """Raises `ConfigError` for a run's name that is no plain name of a folder."""
        config = config or preset()
        return Workspace(Path(root).resolve(), config, config.name if run is None else run)

    def build(
        self,
        stage: str,
        make: Callable[[Path], dict],
        say: Callable[[str], None] = say,
        rank: int = 0,
        outside: dict[str, Path] | None = None,
    ) -> Path:
        """Run `make(folder)` for a stage unless its folder is fresh; publish the result atomically.

        make     fills an empty folder and returns statistics for ``meta.json``, written last
        rank     the process's number where several compute one stage together: all of them run
                 `make`, and rank 0 publishes
        outside  files and folders of the user's own that `make` reads: when one of them changes,
                 the stage is built again

        A lock lets one process build while others wait and then reuse. What is read is compared
        before and after: where it changed meanwhile nothing is published. A folder in the stage's
        place that is not ours is never replaced. Raises `ArtifactError` for both, for inputs that
        are missing or stale, and for what the disk refuses. Returns the folder.
        """
        target, outside = self.folder(stage), outside or {}
        with _plain_errors(stage):
            # 1. before anything is computed: what is read must be sound and stay out of the way
            refuse_inside(self, stage, outside)
            for name in INPUTS[stage]:
                self.require(name)
            refuse_edited(self, stage)
            target.parent.mkdir(parents=True, exist_ok=True)
            # 2. helpers take part in what `make` does together, and publish nothing
            if rank > 0:
                self._compute_along(stage, make, outside)
                return target
            # 3. one builder at a time; whoever waited finds the stage fresh and reuses it
            with _lock(target.parent / f".{stage}.lock", stage):
                sources = self.sources(stage, outside)
                reason = self.rebuild_reason(stage, sources)
                if reason is None:
                    say(f"{stage}: reused {self.place(stage)}")
                    return target
                refuse_strangers(self, stage)
                if self.meta(stage):
                    say(f"{stage}: {reason}; building it again")
                seconds = self._make(stage, make, sources, outside)
                say(f"{stage}: built {self.place(stage)} in {seconds:.1f} s")
        return target

    def _make(
        self, stage: str, make: Callable, sources: Sources, outside: dict[str, Path]
    ) -> float:
        """Fill a draft and put it in the stage's place; returns the seconds of it."""
        started = time.perf_counter()
        target = self.folder(stage)
        clear_drafts(target)  # safe under the lock: nobody else has a draft here
        draft = draft_of(target)  # not mkdtemp's, which others could not read
        draft.mkdir()
        try:
            statistics = make(draft)
            # the inputs may have been rebuilt or edited while this one was made from them
            refuse_changed(self, stage, sources, outside)
            meta = {
                "stage": stage,
                "settings": section_dict(getattr(self.config, stage)),
                "inputs": sources.inputs,
                "files": digests(draft),
            }
            # only where there are any: digests of stages without them stay what they were
            if sources.outside:
                meta["outside"] = sources.outside
            # the stage's own digest covers what decides the result, not times or places
            meta["digest"] = hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()
            if outside:
                meta["read"] = {name: str(path.resolve()) for name, path in outside.items()}
            meta["statistics"] = statistics
            meta["seconds"] = round(time.perf_counter() - started, 2)
            meta["versions"] = _versions()
            write_json(draft / "meta.json", meta)
            refuse_strangers(self, stage)  # hours may have gone by
            swap(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return time.perf_counter() - started

    def _compute_along(self, stage: str, make: Callable, outside: dict[str, Path]) -> None:
        """The part of a process that does not publish."""
        sources = self.sources(stage, outside)
        if self.rebuild_reason(stage, sources):
            with tempfile.TemporaryDirectory(dir=self.folder(stage).parent) as scratch:
                make(Path(scratch))  # what it writes is thrown away
            refuse_changed(self, stage, sources, outside)


@contextlib.contextmanager
def _plain_errors(stage: str) -> Iterator[None]:
    """What the disk refuses becomes one `ArtifactError`, other errors stay what they are."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        problem = disk_problem(error)
        if problem is None:
            raise  # a mistake in a program is shown as one
        raise ArtifactError(f"{stage}: {problem}") from error


@contextlib.contextmanager
def _lock(path: Path, stage: str) -> Iterator[None]:
    try:
        with FileLock(path, timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise ArtifactError(
            f"{stage}: another run has held {path} for six hours. Stop it, or use --run NAME."
        ) from None


def _versions() -> dict[str, str]:
    """Versions of the libraries that are installed, by name."""
    versions = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
