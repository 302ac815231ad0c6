"""What stages hand over: records, the workspace that keeps them, and the check that nothing is stale.

In: folders under ``artifacts/<run>/<stage>/``. Out: records (`Corpus`, `ItemEmbeddings`, `Identifiers`) and
`Workspace`, which builds a stage's folder atomically and refuses one that no longer fits its inputs.
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

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from safetensors.numpy import load_file, save_file

from gensar_lite.config import STAGES, Config, changed_settings, preset, section_dict

TASKS = ("recommend", "search")
SPLITS = ("train", "validation", "test")
VIEWS = ("semantic", "collaborative")
VIEW_OF_TASK = {"search": "semantic", "recommend": "collaborative"}

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
_COLUMNS = {
    "items": ["item_id", "title", "text", "brand", "category"],
    "queries": ["query_id", "text"],
    "events": ["event_id", "user_id", "time", "task", "item_id", "query_id", "split"],
    "relevance": ["query_id", "item_id", "grade"],
}


class ArtifactError(RuntimeError):
    """An artefact is missing, stale, damaged or breaks a promise; the message names the next step."""


# ------------------------------------------------------------------------------------------- records


@dataclass(frozen=True)
class Corpus:
    """A catalogue, its queries and one log of behaviour.

    items      (N rows) ``item_id, title, text, brand, category``; category levels are joined by `` > ``
    queries    (Q rows) ``query_id, text``, often ``kind``, and from the data stage ``seen``: is it in a train search?
    events     ``event_id, user_id, time, task, item_id, query_id, split``, sorted by user, then time;
               ``query_id`` is -1 for recommendation
    relevance  ``query_id, item_id, grade``: every item that answers a query (grade >= 1)

    In `items`, `queries` and `events` the row number is the id.
    """

    items: pd.DataFrame
    queries: pd.DataFrame
    events: pd.DataFrame
    relevance: pd.DataFrame

    @property
    def num_items(self) -> int:
        return len(self.items)

    @property
    def num_users(self) -> int:
        return int(self.events["user_id"].max()) + 1

    def targets(self, split: str, task: str | None = None) -> pd.DataFrame:
        """Events of one split (and task): what is to be predicted, each from its own history."""
        keep = self.events["split"] == split
        return self.events[keep if task is None else keep & (self.events["task"] == task)]

    def check(self) -> Corpus:
        """Assert the promises; returns self. Raises `ArtifactError` that names the table and rows."""
        for name, columns in _COLUMNS.items():
            missing = [c for c in columns if c not in getattr(self, name).columns]
            if missing:
                raise ArtifactError(f"{name}: no column {', '.join(missing)}. Rebuild the data stage.")
        for name, column in (("items", "item_id"), ("queries", "query_id"), ("events", "event_id")):
            ids = getattr(self, name)[column].to_numpy()
            wrong = np.flatnonzero(ids != np.arange(len(ids)))
            if len(wrong):
                raise ArtifactError(f"{name}: {column} must be the row number; row {wrong[0]} holds {ids[wrong[0]]}.")
        user, when = self.events["user_id"].to_numpy(), self.events["time"].to_numpy()
        bad = np.flatnonzero((user[1:] < user[:-1]) | ((user[1:] == user[:-1]) & (when[1:] < when[:-1])))
        if len(bad):
            raise ArtifactError(f"events: not sorted by user, then time (row {bad[0] + 1}).")
        for column, size in (("item_id", len(self.items)), ("query_id", len(self.queries))):
            ids = self.events[column].to_numpy()
            low = -1 if column == "query_id" else 0
            bad = np.flatnonzero((ids < low) | (ids >= size))
            if len(bad):
                raise ArtifactError(f"events: {column} {ids[bad[0]]} in row {bad[0]} does not exist ({size} known).")
        for column, valid in (("task", TASKS), ("split", SPLITS)):
            odd = sorted(set(self.events[column]) - set(valid))
            if odd:
                raise ArtifactError(f"events: {column} {odd[0]!r} is none of {', '.join(valid)}.")
        is_search = (self.events["task"] == "search").to_numpy()
        bad = np.flatnonzero(is_search != (self.events["query_id"].to_numpy() >= 0))
        if len(bad):
            raise ArtifactError(f"events: row {bad[0]} must have a query exactly if its task is search.")
        return self

    def save(self, folder: Path) -> None:
        for name in _COLUMNS:
            getattr(self, name).to_parquet(folder / f"{name}.parquet", index=False)

    @staticmethod
    def load(folder: Path) -> Corpus:
        return Corpus(**{name: pd.read_parquet(folder / f"{name}.parquet") for name in _COLUMNS}).check()


@dataclass(frozen=True)
class ItemEmbeddings:
    """Views of every item: `semantic` (N, d_sem) from text, `collaborative` (N, d_col) from behaviour.

    joint  (N, d) from one encoder trained on both tasks, or None
    cold   (N,) bool: nothing to learn from, so the collaborative row is its text neighbours' mean; None: not recorded
    """

    semantic: np.ndarray
    collaborative: np.ndarray
    joint: np.ndarray | None = None
    cold: np.ndarray | None = None

    def check(self) -> ItemEmbeddings:
        """Assert equal rows that are worth quantizing; returns self. Raises `ArtifactError` with the item ids."""
        for name, table in self.tensors().items():
            if len(table) != len(self.semantic):
                raise ArtifactError(f"embeddings: {len(self.semantic)} semantic rows but {len(table)} {name}.")
            if name != "cold":
                check_vectors(table, name)
        return self

    def tensors(self) -> dict[str, np.ndarray]:
        """What there is, by name: the views as float32, `cold` as bool."""
        there = {name: table for name, table in vars(self).items() if table is not None}
        return {k: np.ascontiguousarray(v, dtype=bool if k == "cold" else np.float32) for k, v in there.items()}

    def save(self, folder: Path) -> None:
        save_file(self.tensors(), folder / "embeddings.safetensors")

    @staticmethod
    def load(folder: Path) -> ItemEmbeddings:
        return ItemEmbeddings(**load_file(folder / "embeddings.safetensors")).check()


def check_vectors(table: np.ndarray, view: str) -> None:
    """Assert that item vectors (N, d) are finite, not zero, not all alike. Raises `ArtifactError` with item ids."""
    for what, wrong in (("hold NaN or infinity", ~np.isfinite(table).all(axis=1)), ("are zero", ~table.any(axis=1))):
        bad = np.flatnonzero(wrong)
        if len(bad):
            raise ArtifactError(
                f"embeddings: {len(bad)} of {len(table)} {view} rows {what} "
                f"(items {', '.join(map(str, bad[:5]))}). Repair these vectors before quantizing."
            )
    if np.allclose(table, table[:1], rtol=0, atol=1e-12):
        raise ArtifactError(
            f"embeddings: all {len(table)} items have the same {view} vector, there is nothing to quantize."
        )


@dataclass(frozen=True)
class Identifiers:
    """Every item's code sequences: `semantic` and `collaborative`, both (N, L) integers in [0, K).

    The first `num_shared` codes of an item agree in both views. A one-view strategy answers both with the
    same array and has ``num_shared == L``.
    """

    semantic: np.ndarray
    collaborative: np.ndarray
    num_shared: int
    codebook_size: int

    @property
    def num_levels(self) -> int:
        return self.semantic.shape[1]

    def view(self, name: str) -> np.ndarray:
        """Codes (N, L) of ``semantic`` or ``collaborative``, or of a task's view (``search``, ``recommend``)."""
        return getattr(self, VIEW_OF_TASK.get(name, name))

    def check(self) -> Identifiers:
        """Assert range, shared prefix and uniqueness per view; returns self. Raises `ArtifactError`."""
        if self.semantic.shape != self.collaborative.shape:
            raise ArtifactError(
                f"identifiers: shapes differ: {self.semantic.shape} semantic, {self.collaborative.shape} collaborative."
            )
        bad = np.flatnonzero(
            (self.semantic[:, : self.num_shared] != self.collaborative[:, : self.num_shared]).any(axis=1)
        )
        if len(bad):
            raise ArtifactError(
                f"identifiers: items {bad[:5].tolist()} do not share their first {self.num_shared} codes."
            )
        for name in VIEWS:
            codes = getattr(self, name)
            if codes.size and (codes.min() < 0 or codes.max() >= self.codebook_size):
                raise ArtifactError(f"identifiers: a {name} code lies outside [0, {self.codebook_size}).")
            twins = len(codes) - len(np.unique(codes, axis=0))
            if twins:
                raise ArtifactError(f"identifiers: {twins} items share a {name} identifier with another one.")
        return self

    def save(self, folder: Path) -> None:
        frame = {"item_id": np.arange(len(self.semantic))} | {view: list(getattr(self, view)) for view in VIEWS}
        pd.DataFrame(frame).to_parquet(folder / "identifiers.parquet", index=False)
        layout = {"num_shared": self.num_shared, "codebook_size": self.codebook_size}
        (folder / "identifiers.json").write_text(json.dumps(layout))

    @staticmethod
    def load(folder: Path) -> Identifiers:
        frame = pd.read_parquet(folder / "identifiers.parquet")
        layout = json.loads((folder / "identifiers.json").read_text())
        return Identifiers(**{view: np.stack(frame[view].to_numpy()) for view in VIEWS}, **layout).check()


# ----------------------------------------------------------------------------------------- workspace


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
