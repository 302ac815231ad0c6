"""Files that are whole or absent: written beside their place, then renamed into it.

In: a path and what shall stand there. Out: the file. A process that is killed at any instant leaves
the old file or the new one, never half of it. This file does not know what is written.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft's path for the block to write to; it takes `path`'s place if the block succeeds.

    The folder is made where it is missing. The draft is a neighbour, since a rename is atomic only
    on one disk, and carries the process's number, so that two processes do not share one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        sync(draft)  # or a power cut could leave the name without its bytes
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically, one space of indentation per level."""
    write_text(path, json.dumps(value, indent=1))


def write_text(path: Path, text: str) -> None:
    """Write text atomically, as UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with replacing(path) as draft:
        draft.write_bytes(content)


def sync(path: Path) -> None:
    """Have the system put a file, or a folder's list of names, onto the disk now."""
    if path.is_dir() and os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
