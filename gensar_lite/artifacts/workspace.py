"""A run's folders: built once, published whole, refused when they no longer fit.

In: a `Config` and a function that fills a folder. Out: ``artifacts/<run>/<stage>/`` with a ``meta.json`` written last.
This file does not know how any artefact is computed, nor what a model is.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.config import STAGES, Config, changed_settings, preset, section_dict

# what each stage reads; a change upstream makes everything below stale
INPUTS: dict[str, tuple[str, ...]] = {
    "data": (),
    "embeddings": ("data",),
    "identifiers": ("data", "embeddings"),
    "training": ("data", "identifiers"),
    "decoding": ("data", "identifiers", "training"),
    "evaluation": ("data", "embeddings", "identifiers", "training", "decoding"),
}
LESSON = {stage: f"notebooks/{i:02d}_{stage}.ipynb" for i, stage in enumerate(STAGES, start=1)}
_LIBRARIES = ("numpy", "pandas", "torch", "transformers", "tokenizers", "sentence-transformers", "faiss-cpu", "bm25s")


@dataclass(frozen=True)
class Workspace:
    """One run's folders. `root` holds ``artifacts/`` and ``reports/``; `run` names the run."""

    root: Path
    config: Config
    run: str

    @staticmethod
    def open(config: Config | None = None, root: Path | str = ".", run: str | None = None) -> Workspace:
        config = config or preset()
        return Workspace(Path(root).resolve(), config, run or config.name)

    def folder(self, stage: str) -> Path:
        return self.root / "artifacts" / self.run / stage

    @property
    def report(self) -> Path:
        """Where the run's page, figures and metrics go."""
        return self.root / "reports" / self.run

    def meta(self, stage: str) -> dict | None:
        """The stage's ``meta.json``, or None when the stage was never finished."""
        path = self.folder(stage) / "meta.json"
        return json.loads(path.read_text()) if path.exists() else None

    def why_stale(self, stage: str) -> str | None:
        """None if the stage's folder fits settings and inputs; else the reason in words."""
        meta = self.meta(stage)
        if meta is None:
            return "has not been built"
        settings, built = section_dict(getattr(self.config, stage)), meta["settings"]
        if built != settings:
            keys = [k for k in settings | built if settings.get(k) != built.get(k)]
            pairs = ", ".join(f"{stage}.{k} {built.get(k)!r} -> {settings.get(k)!r}" for k in keys)
            return f"was built with other settings ({pairs})"
        for name in INPUTS[stage]:
            reason = self.why_stale(name)
            if reason:
                return f"stands on {name}, which {reason}"
            if meta["inputs"][name] != self.meta(name)["digest"]:
                return f"was built before {name} changed"
        return None

    def require(self, stage: str) -> Path:
        """The stage's folder, checked against settings, inputs and its own file hashes.

        Raises `ArtifactError` naming the notebook and the command to rerun.
        """
        reason = self.why_stale(stage) or _damage(self.folder(stage), self.meta(stage))
        if reason:
            raise ArtifactError(
                f"{stage}: artifacts/{self.run}/{stage} {reason}. Run {LESSON[stage]} again, or: {self.command(stage)}"
            )
        return self.folder(stage)

    def command(self, verb: str) -> str:
        """The shell line that runs `verb` here: preset, run name and every setting that differs from the preset."""
        base, changed = changed_settings(self.config)
        words = ["gensar", verb, "--preset", base] + (["--run", self.run] if self.run != base else [])
        for key, value in changed.items():
            words += ["--set", f"{key}={value}"]
        return shlex.join(words)

    def build(
        self,
        stage: str,
        make: Callable[[Path], dict],
        say: Callable[[str], None] = print,
        rank: int = 0,
        outside: dict[str, str] | None = None,
    ) -> Path:
        """Run `make(folder)` for a stage unless its folder is fresh; publish the result atomically.

        `make` fills an empty folder and returns statistics for ``meta.json``, which is written last. A lock
        lets one process build while others wait and then reuse. Where several processes compute one stage
        together, each passes its `rank`: all of them run `make`, and rank 0 publishes. `outside` holds digests of a
        user's own files that `make` reads: other ones than those recorded make it build again. Returns the folder.
        """
        for name in INPUTS[stage]:
            self.require(name)
        target = self.folder(stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        if rank > 0:
            if not self._is_fresh(stage):
                with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                    make(Path(scratch))
            return target
        with _lock(target.parent / f".{stage}.lock", stage):
            if self._is_fresh(stage) and self.meta(stage).get("outside", {}) == (outside or {}):
                say(f"{stage}: reused artifacts/{self.run}/{stage}")
                return target
            if self.meta(stage):
                say(f"{stage}: {self.why_stale(stage) or _damage(target, self.meta(stage))}; building it again")
            started = time.perf_counter()
            for left in target.parent.glob(f".{stage}-*"):  # of a killed run: only the lock's holder has drafts
                shutil.rmtree(left, ignore_errors=True)
            draft = target.with_name(f".{stage}-{os.getpid()}")  # not mkdtemp's, which others could not read
            draft.mkdir()
            try:
                statistics = make(draft)
                self._finish(stage, draft, statistics, time.perf_counter() - started, outside)
                _swap(draft, target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            say(f"{stage}: built artifacts/{self.run}/{stage} in {time.perf_counter() - started:.1f} s")
        return target

    def _is_fresh(self, stage: str) -> bool:
        return self.why_stale(stage) is None and _damage(self.folder(stage), self.meta(stage)) is None

    def _finish(self, stage: str, draft: Path, statistics: dict, seconds: float, outside: dict | None) -> None:
        meta = {
            "stage": stage,
            "settings": section_dict(getattr(self.config, stage)),
            "inputs": {name: self.meta(name)["digest"] for name in INPUTS[stage]},
            "files": {name: file_digest(draft / name) for name in _files(draft)},
            **({"outside": outside} if outside else {}),
        }
        meta["digest"] = hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()
        meta |= {"statistics": statistics, "seconds": round(seconds, 2), "versions": _versions()}
        write_json(draft / "meta.json", meta)


def write_json(path: Path, value: object) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(draft, "w") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[str]:
    return (
        p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "meta.json"
    )


def _damage(folder: Path, meta: dict) -> str | None:
    for name, digest in meta["files"].items():
        if not (folder / name).exists():
            return f"has lost its file {name}"
        if file_digest(folder / name) != digest:
            return f"has a changed file {name} (its sha256 is not the one recorded)"
    return None


def _swap(draft: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}-old-{os.getpid()}")
    if target.exists():
        os.rename(target, old)
    os.rename(draft, target)
    shutil.rmtree(old, ignore_errors=True)


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
