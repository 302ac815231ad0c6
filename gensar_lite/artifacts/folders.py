"""Folders of stages on disk: what is ours, what is whole, and how one takes another's place.

In: paths. Out: digests, reasons in words, a folder swapped in by renames. Nothing is replaced or
removed that this program did not write: a stage's folder is known by its ``meta.json``, a draft by
its name. This file does not know settings, nor what a stage computes.
"""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from gensar_lite.artifacts.records import ArtifactError

_META_KEYS = {"stage", "settings", "inputs", "files", "digest"}
_SYSTEM_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}  # left by file browsers, nobody's work


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_digest(path: Path) -> str | None:
    """sha256 of a file; of a folder, over names and bytes of all files below; None for neither.

    Hidden files are left out (``.git``, a download's ``.cache``): no model and no table is read
    from them.
    """
    if path.is_file():
        return file_digest(path)  # a table
    if not path.is_dir():
        return None
    # os.walk follows links, as programs that read the folder do; rglob would not
    walked = os.walk(path, followlinks=True)
    files = [Path(folder, name) for folder, _, names in walked for name in names]
    # sorted and with "/" on every system: the digest does not depend on where the folder lies
    names = sorted(file.relative_to(path).as_posix() for file in files if file.is_file())
    # a name ends with a zero byte, which no name holds: no two folders give the same text
    lines = [f"{k}\0{file_digest(path / k)}\n" for k in names if "/." not in f"/{k}"]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def read_meta(folder: Path) -> dict | None:
    """What a finished stage says of itself, None where there is no ``meta.json``.

    Raises `ArtifactError` for a file of that name that is not one of ours, or is damaged.
    """
    path, meta = folder / "meta.json", None
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (IsADirectoryError, ValueError, RecursionError):
        pass  # no JSON, or JSON made to break a reader
    if isinstance(meta, dict) and set(meta) >= _META_KEYS and meta["stage"] == folder.name:
        return meta
    raise ArtifactError(
        f"{folder.name}: {path} is damaged, or was not written by this program. Look at that "
        "folder; if nothing of yours is in it, delete it and build the stage again."
    )


def damage(folder: Path, meta: dict) -> str | None:
    """What is wrong with a finished folder's files, in words; None if all are as recorded."""
    # files that came in addition do no harm here: `strangers` looks for them before a rebuild
    for name, digest in meta["files"].items():
        if not (folder / name).exists():
            return f"has lost its file {name}"
        if file_digest(folder / name) != digest:
            return f"has a changed file {name} (its sha256 is not the one recorded)"
    return None


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file of a finished draft, by its path in the folder."""
    return {name: file_digest(folder / name) for name in _names(folder) if name != "meta.json"}


def strangers(folder: Path) -> list[str]:
    """Files in a stage's folder that no build of ours put there, by their paths in it.

    Raises `ArtifactError` as `read_meta` does.
    """
    meta = read_meta(folder)
    ours = {"meta.json", *meta["files"]} if meta else set()
    names = [name for name in _names(folder) if name not in ours]
    return [name for name in names if Path(name).name not in _SYSTEM_FILES]


def draft_of(target: Path) -> Path:
    """Where this process prepares what will stand at `target`: a name that only we give."""
    return target.with_name(f".{target.name}-gensar-draft-{os.getpid()}")


def clear_drafts(target: Path) -> None:
    """Remove what killed builds of `target` left behind, nothing else beside it."""
    # the number at the end tells a draft of ours from a folder that somebody named alike
    pattern = re.compile(rf"\.{re.escape(target.name)}-gensar-(draft|replaced)-\d+")
    for path in target.parent.iterdir():
        if pattern.fullmatch(path.name):
            _remove(path)


def swap(draft: Path, target: Path) -> None:
    """`draft` takes the place of `target`, which must be ours, empty or absent.

    When that fails, all is as before.
    """
    old = target.with_name(f".{target.name}-gensar-replaced-{os.getpid()}")
    replaces = os.path.lexists(target)  # a link that leads nowhere is there too
    # two renames and no copy: at every instant the old folder or the new one is whole on disk
    if replaces:
        os.rename(target, old)
    try:
        os.rename(draft, target)
    except OSError:
        if replaces:
            os.rename(old, target)
        raise
    if replaces:
        _remove(old)


def _remove(path: Path) -> None:
    if path.is_symlink():  # what it leads to may lie on another disk and is not ours to remove
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _names(folder: Path) -> list[str]:
    """Everything below a folder that is no folder itself, as sorted paths in it."""
    # a link to a folder counts as one name: what lies behind it is not looked into
    below = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    return [path.relative_to(folder).as_posix() for path in below]
