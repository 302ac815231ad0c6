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

from gensar_lite.artifacts.folders import (
    clear_drafts,
    digests,
    draft_of,
    path_digest,
    strangers,
    swap,
)
from gensar_lite.artifacts.reading import INPUTS, RunFolders, Sources
from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.config import STAGES, Config, preset, section_dict
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
        rank     of several processes that compute one stage together: all run `make`, 0 publishes
        outside  the user's own files and folders that `make` reads: a change builds it again

        A lock lets one process build while others wait and then reuse. Raises `ArtifactError` for
        inputs that are missing or stale or change meanwhile, for a folder in the stage's place
        that is not ours, and for what the disk refuses. Returns the folder.
        """
        target, outside = self.folder(stage), outside or {}
        with _plain_errors(stage):
            # 1. before anything is computed: what is read must be sound and stay out of the way
            self._refuse_inside(stage, outside)
            for name in INPUTS[stage]:
                self.require(name)
            self._refuse_edited(stage)
            target.parent.mkdir(parents=True, exist_ok=True)
            # 2. helpers take part in what `make` does together, and publish nothing
            if rank > 0:
                sources = self.sources(stage, outside)
                if self.why_rebuild(stage, outside, sources):
                    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                        make(Path(scratch))  # what it writes is thrown away
                    self._refuse_changed(stage, sources, outside)
                return target
            # 3. one builder at a time; whoever waited finds the stage fresh and reuses it
            with FileLock(target.parent / f".{stage}.lock", timeout=_LOCK_SECONDS):
                sources = self.sources(stage, outside)
                reason = self.why_rebuild(stage, outside, sources)
                if reason is None:
                    say(f"{stage}: reused {self.place(stage)}")
                    return target
                self._refuse_strangers(stage)
                if self.meta(stage):
                    say(f"{stage}: {reason}; building it again")
                seconds = self._make(stage, make, sources, outside)
                say(f"{stage}: built {self.place(stage)} in {seconds:.1f} s")
        return target

    def _make(self, stage: str, make: Callable, sources: Sources, outside: dict[str, Path]) -> None:
        """Fill a draft and put it in the stage's place."""
        started = time.perf_counter()
        target = self.folder(stage)
        clear_drafts(target)  # safe under the lock: nobody else has a draft here
        draft = draft_of(target)  # not mkdtemp's, which others could not read
        draft.mkdir()
        try:
            statistics = make(draft)
            # the inputs may have been rebuilt or edited while this one was made from them
            self._refuse_changed(stage, sources, outside)
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
            seconds = time.perf_counter() - started
            meta |= {"statistics": statistics, "seconds": round(seconds, 2)}
            meta["versions"] = _versions()
            write_json(draft / "meta.json", meta)
            self._refuse_strangers(stage)  # hours may have gone by
            swap(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return seconds

    def _refuse_inside(self, stage: str, outside: dict[str, Path]) -> None:
        """What a build replaces or removes must not be what it reads."""
        # links are followed on both sides: another name of the folder is the folder
        for name in (*STAGES, "training-checkpoints"):
            folder = self.folder(name).resolve()
            for path in outside.values():
                if path.resolve().is_relative_to(folder):
                    raise ArtifactError(
                        f"{stage}: {path} lies in {self.place(name)}, a folder that building this "
                        "run replaces. Move it elsewhere, or choose another run with --run NAME."
                    )

    def _refuse_strangers(self, stage: str) -> None:
        """The stage's place must not be a file, nor a folder with what no build of ours wrote."""
        target = self.folder(stage)
        if target.exists() and not target.is_dir():
            problem = "is a file"
        elif names := strangers(target):  # of a folder that is absent or all ours there are none
            count = f"{len(names)} files that were" if len(names) > 1 else "a file that was"
            problem = f"holds {count} not written by this program ({', '.join(names[:3])})"
        else:
            return
        raise ArtifactError(
            f"{stage}: {self.place(stage)} {problem}, and building the stage would replace it. "
            "Move what is yours elsewhere, or choose another run with --run NAME."
        )

    def _refuse_changed(self, stage: str, before: Sources, outside: dict[str, Path]) -> None:
        """Nothing is published under the names of inputs that are not those it was made from."""
        now = self.sources(stage, outside)  # digests anew, however long the build took
        changed = [self.place(k) for k in INPUTS[stage] if before.inputs[k] != now.inputs[k]]
        for name, path in outside.items():
            if before.outside.get(name) != now.outside.get(name):
                changed.append(str(path))
        if changed:
            raise ArtifactError(
                f"{stage}: {' and '.join(changed)} changed while this stage was being built from "
                f"it; nothing was published. {self.again(stage)}"
            )

    def _refuse_edited(self, stage: str) -> None:
        """Upstream stages must stand on the user's files as they are; absent files say nothing."""
        for name in STAGES[: STAGES.index(stage)]:
            meta = self.meta(name)  # there is one: `require` came before
            for what, path in meta.get("read", {}).items():
                # a table that was moved away since is no reason: what was made of it still stands
                now = path_digest(Path(path))
                if now and now != meta.get("outside", {}).get(what):
                    raise ArtifactError(
                        f"{stage}: {path} changed since {self.place(name)} was built from it. "
                        f"{self.again(name)}"
                    )


@contextlib.contextmanager
def _plain_errors(stage: str) -> Iterator[None]:
    """A lock that stays held, and what the disk refuses: an `ArtifactError`. Others stay."""
    try:
        yield
    except Timeout as error:
        raise ArtifactError(
            f"{stage}: another run has held {error.lock_file} for six hours. Stop it, or use --run "
            "NAME."
        ) from None
    except (OSError, SafetensorError) as error:
        problem = disk_problem(error)
        if problem is None:
            raise  # a mistake in a program is shown as one
        raise ArtifactError(f"{stage}: {problem}") from error


def _versions() -> dict[str, str]:
    """Versions of the libraries that are installed, by name."""
    versions = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
