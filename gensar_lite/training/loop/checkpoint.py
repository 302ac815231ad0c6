"""Checkpoints that are whole or absent: weights, optimiser and progress of a training run.

In: groups of tensors, a record. Out: folders ``step-...``, renamed into place when complete:
``<group>.safetensors`` and, written last, ``manifest.json`` (files with size and sha256, progress,
identity). This file does not know what is trained.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file

from gensar_lite.artifacts import ArtifactError, file_digest, say, write_json
from gensar_lite.config import as_of_today, gone
from gensar_lite.machine.atomic import sync

Tensors = dict[str, torch.Tensor]
_NAME = re.compile(r"step-(\d{8,})-epochs-(\d{4,})")
_DRAFT = re.compile(r"\.draft-\d+")


class Group(NamedTuple):
    """Tensors of one file. `content` names what they hold, e.g. ``weights-12``: equal names are
    equal tensors, so a file that is on disk already is linked and not written again."""

    content: str
    tensors: Tensors


class Checkpoints:
    """One run's checkpoints: the newest one, and one of an earlier step in case that is damaged.

    identity  what must be the same for a run to go on: settings, digests of inputs, processes
    say       where notes go
    """

    def __init__(self, folder: Path, identity: dict[str, object], say: Callable[[str], None] = say):
        self.folder, self.identity, self.say = folder, json.loads(json.dumps(identity)), say
        # content -> a file known to be whole, and its entry in the manifest
        self._stored: dict[str, tuple[Path, dict]] = {}

    def save(self, name: str, groups: dict[str, Group], progress: dict) -> None:
        """Write one checkpoint called `name` (see `checkpoint_name`), remove what it replaces."""
        # 1. into a draft that no reader looks at, whatever instant the process is killed at; the
        #    manifest last, with digests of all the rest
        self.folder.mkdir(parents=True, exist_ok=True)
        _remove(_folders(self.folder, _DRAFT))
        draft, target = self.folder / f".draft-{os.getpid()}", self.folder / name
        draft.mkdir()
        files = {}
        for group, (content, tensors) in groups.items():
            path = draft / f"{group}.safetensors"
            files[path.name] = self._store(path, content, tensors)
        manifest = {"identity": self.identity, "progress": progress, "files": files}
        write_json(draft / "manifest.json", manifest)
        sync(draft)
        _remove([target])  # a damaged one of the same step
        # 2. one rename: a folder of this name is whole, on a disk that has been told to keep it
        os.rename(draft, target)
        sync(self.folder)
        self._remember(target, files)
        # 3. the newest of an earlier step is kept; one of the same step would be damaged with it
        older = [path for path in _folders(self.folder, _NAME) if path != target]
        spare = [path for path in older if _place(path)[0] < _place(target)[0]][-1:]
        _remove(path for path in older if path not in spare)

    def _store(self, path: Path, content: str, tensors: Tensors) -> dict:
        """Write or link one file; returns its entry in the manifest."""
        if content in self._stored:
            stored, entry = self._stored[content]
            try:
                os.link(stored, path)
            except OSError:  # a file system without links
                shutil.copyfile(stored, path)
                sync(path)
            return entry
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, path)
        sync(path)
        entry = {"content": content, "size": path.stat().st_size, "sha256": file_digest(path)}
        self._stored[content] = (path, entry)
        return entry

    def _remember(self, path: Path, files: dict[str, dict]) -> None:
        self._stored = {entry["content"]: (path / file, entry) for file, entry in files.items()}

    def newest(self) -> tuple[int, int] | None:
        """Step and finished epochs of the newest whole checkpoint, or None. Damaged ones are passed
        over, with a note. Raises `ArtifactError` where it is of a run of another identity."""
        for path in reversed(_folders(self.folder, _NAME)):
            reason = _damage(path)
            if reason:
                self.say(f"training: passes over the checkpoint {path.name}, which {reason}")
                continue
            manifest = _manifest(path)
            self._refuse_another(manifest["identity"])
            self._remember(path, manifest["files"])
            return _place(path)
        return None

    def begun_with(self, key: str) -> object | None:
        """A value of the newest readable progress record, or None. Checks nothing else."""
        for path in reversed(_folders(self.folder, _NAME)):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                return _manifest(path)["progress"].get(key)
        return None

    def load(self, name: str) -> tuple[dict[str, Tensors], dict]:
        """Tensors by group, and the progress record, of a checkpoint that `newest` has named."""
        path = self.folder / name
        try:
            manifest = _manifest(path)
        except OSError as error:
            raise ArtifactError(
                f"training: {path} can be read by the first process, but not here ({error}). All "
                "processes need the same --workspace folder, on a disk that they share."
            ) from error
        tensors = {Path(file).stem: load_file(path / file) for file in manifest["files"]}
        return tensors, manifest["progress"]

    def _refuse_another(self, identity: dict) -> None:
        (settings, identity), (_, mine) = _today(identity), _today(self.identity)
        if problem := gone("training", settings):
            raise ArtifactError(
                f"training: {self.folder} holds a run of an earlier version: {problem}. Delete "
                "that folder, or give this run another name with --run NAME."
            )
        # what either has and the other has not, or otherwise
        keys = [k for k in dict.fromkeys([*identity, *mine]) if identity.get(k) != mine.get(k)]
        if not keys:
            return
        changes = [f"{k} {_short(identity.get(k))} -> {_short(mine.get(k))}" for k in keys]
        raise ArtifactError(
            f"training: {self.folder} holds a run that was stopped and differs from this one: "
            f"{', '.join(changes)}. Go on with it by setting {keys[0]} back to "
            f"{_short(identity.get(keys[0]))}; or start anew: delete that folder, or give this run "
            "another name with --run NAME (in a notebook: start(..., run=NAME))."
        )


def _today(identity: dict) -> tuple[dict, dict]:
    """The settings in an identity as this version would record them, and the whole of it so."""
    prefix = "training."
    recorded = {k.removeprefix(prefix): v for k, v in identity.items() if k.startswith(prefix)}
    settings = as_of_today("training", recorded)
    others = {k: v for k, v in identity.items() if not k.startswith(prefix)}
    return settings, others | {f"{prefix}{k}": v for k, v in settings.items()}


def _short(value: object) -> str:
    """A value as it is typed after ``--set``; a digest by its first letters."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.8}..." if isinstance(value, str) and len(value) == 64 else str(value)


def _manifest(path: Path) -> dict:
    return json.loads((path / "manifest.json").read_text())


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's folder, in words; None if it is whole."""
    try:
        manifest = _manifest(path)
        # all that a reader will ask of it, so that what is whole can be read
        entries = [(k, entry["size"], entry["sha256"]) for k, entry in manifest["files"].items()]
        manifest["identity"], manifest["progress"]
    except FileNotFoundError:
        return "has no manifest"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "has a manifest that cannot be read"
    for file, size, digest in entries:
        if not (path / file).exists():
            return f"has lost its file {file}"
        if (path / file).stat().st_size != size or file_digest(path / file) != digest:
            return f"has a changed file {file}"
    return None


def remove_checkpoints(folder: Path) -> None:
    """Remove every checkpoint below a folder, and the folder where nothing else is left in it."""
    _remove([*_folders(folder, _DRAFT), *_folders(folder, _NAME)])
    with contextlib.suppress(OSError):  # there is none, or somebody keeps something in it
        folder.rmdir()


def _folders(folder: Path, name: re.Pattern) -> list[Path]:
    """Drafts that killed processes left, or checkpoints, below a folder, the oldest first; what
    only looks like one is none of ours."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if name.fullmatch(path.name) and path.is_dir()]


def _remove(folders: Iterable[Path]) -> None:
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)


def checkpoint_name(step: int, epochs: int) -> str:
    """The folder after `step` steps and `epochs` finished epochs; names sort by age."""
    return f"step-{step:08d}-epochs-{epochs:04d}"


def _place(path: Path) -> tuple[int, int]:
    """The reverse of `checkpoint_name`."""
    step, epochs = _NAME.fullmatch(path.name).groups()
    return int(step), int(epochs)
