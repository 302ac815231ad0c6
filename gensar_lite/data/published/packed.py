"""Packed text files, read as a stream: nothing is unpacked to disk and only one piece is held in memory.

In: a plain or ``.gz`` file, or a ``.zip`` file and the name of one member. Out: a stream of its bytes, and a `Tally` of
lines that readers could not use. This file does not know what a line says (jsonlines.py, csvfiles.py).
"""

from __future__ import annotations

import contextlib
import difflib
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa

from gensar_lite.artifacts import ArtifactError

MAX_BYTES = 64 * 2**30  # unpacked; a larger one is a bomb, no known data set comes near
MAX_BAD_RATE = 0.01  # of the lines; one bad line is always forgiven
_PAGE = (b"<!doctype", b"<html", b"<?xml")
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError)


class Tally:
    """Lines seen and lines that could not be used, with the first few as examples."""

    def __init__(self, name: str) -> None:
        self.name, self.read, self.dropped, self.examples = name, 0, 0, []

    def drop(self, line: bytes | str) -> None:
        self.dropped += 1
        if len(self.examples) < 3:
            self.examples.append(
                (line.decode("utf-8", "replace") if isinstance(line, bytes) else line)[:80]
            )

    def check(self, expected: str) -> Tally:
        """Returns self. Raises `ArtifactError` when nothing was read or more than 1 % was unusable."""
        if not self.read:
            raise ArtifactError(
                f"{self.name}: no line in it. Expected {expected}. Delete the file and fetch it again."
            )
        if self.dropped > max(1, MAX_BAD_RATE * self.read):
            raise ArtifactError(
                f"{self.name}: {self.dropped:,} of {self.read:,} lines are no {expected} "
                f"(first: {self.examples[0]!r}). Is it the right file? Delete it and fetch it again."
            )
        return self


@contextlib.contextmanager
def open_packed(
    path: Path, member: str | None = None, limit: int = MAX_BYTES
) -> Iterator[IO[bytes]]:
    """A stream of the unpacked bytes of `path` (of `member` in a zip file, whatever folder it is in).

    Raises `ArtifactError`, also later while reading: a web page, another format, damage, a missing end, no such
    member, more than `limit` bytes.
    """
    name = f"{path.name}/{member}" if member else path.name
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as problem:
        raise ArtifactError(
            f"{name}: cannot be read ({problem.strerror}). Fetch it again: gensar download"
        ) from None
    if start.lstrip().lower().startswith(_PAGE):
        raise ArtifactError(
            f"{name}: is a web page instead of data. Delete {path} and fetch it again."
        )
    with contextlib.ExitStack() as stack:
        try:
            if member is not None:
                stream = stack.enter_context(
                    _member(stack.enter_context(zipfile.ZipFile(path)), path, member, limit)
                )
            elif path.suffix == ".gz":
                if start[:2] != b"\x1f\x8b":
                    raise gzip.BadGzipFile("it does not start as gzip files do")
                stream = stack.enter_context(pa.CompressedInputStream(pa.OSFile(str(path)), "gzip"))
            else:
                stream = stack.enter_context(open(path, "rb"))
        except _DAMAGE as problem:
            raise ArtifactError(_damaged(name, path, 0, problem)) from None
        yield stack.enter_context(_Guarded(stream, name, path, limit))


def _member(archive: zipfile.ZipFile, path: Path, member: str, limit: int) -> IO[bytes]:
    infos = [
        info
        for info in archive.infolist()
        if not info.is_dir() and not info.filename.startswith("__MACOSX")
    ]
    found = [info for info in infos if PurePosixPath(info.filename).name == member]
    if len(found) != 1:
        names = [PurePosixPath(info.filename).name for info in infos]
        near = difflib.get_close_matches(member, names, n=1)
        hint = f" Did they rename it to {near[0]}?" if near and not found else ""
        raise ArtifactError(
            f"{path.name}: {len(found) or 'no'} members are called {member}.{hint} It holds: {', '.join(names[:12])}."
        )
    if found[0].file_size > limit:
        raise ArtifactError(_too_large(f"{path.name}/{member}", limit))
    return archive.open(found[0])


class _Guarded(io.RawIOBase):
    """Counts what is read, and turns whatever a damaged archive raises into one kind of error."""

    def __init__(self, stream: IO[bytes], name: str, path: Path, limit: int) -> None:
        self._stream, self._name, self._path, self._limit, self._count = (
            stream,
            name,
            path,
            limit,
            0,
        )

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            piece = self._stream.read(size if size >= 0 else self._limit + 1)
        except _DAMAGE as problem:
            raise ArtifactError(_damaged(self._name, self._path, self._count, problem)) from None
        self._count += len(piece)
        if self._count > self._limit:
            raise ArtifactError(_too_large(self._name, self._limit))
        return piece


def _damaged(name: str, path: Path, after: int, problem: Exception) -> str:
    what = (
        "its end is missing"
        if isinstance(problem, EOFError) or "runcated" in str(problem)
        else str(problem)
    )
    return (
        f"{name}: damaged after {after:,} unpacked bytes: {what}. Delete {path} and fetch it again."
    )


def _too_large(name: str, limit: int) -> str:
    return f"{name}: unpacks to more than {limit / 2**30:.0f} GiB, which no known edition does. Is it the right file?"
