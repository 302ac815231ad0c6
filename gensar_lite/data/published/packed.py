"""Packed text files, read as a stream: nothing is unpacked to disk, one piece is held in memory.

In: a plain or ``.gz`` file, or a ``.zip`` file and the name of one member. Out: a stream of its
bytes, and a `Tally` of lines that readers could not use. This file does not know what a line says
(jsonlines.py, csvfiles.py).
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

from data_download import is_web_page
from gensar_lite.artifacts import ArtifactError

MAX_BYTES = 64 * 2**30  # unpacked; a larger one is a bomb, no known data set comes near
MAX_BAD_RATE = 0.01  # of the lines; one bad line is always forgiven
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError)


class Tally:
    """Lines read and lines that could not be used, with the first few as examples."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.read = 0
        self.dropped = 0
        self.examples: list[str] = []

    def drop(self, line: bytes | str) -> None:
        """Count an unusable line."""
        self.dropped += 1
        text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        self.examples = [*self.examples, text[:80]][:3]

    def check(self, expected: str) -> None:
        """Raises `ArtifactError` when nothing was read or more than 1 % was unusable."""
        if not self.read:
            raise ArtifactError(
                f"{self.name}: no line in it. Expected {expected}. Delete the file and fetch it "
                "again."
            )
        if self.dropped > max(1, MAX_BAD_RATE * self.read):
            raise ArtifactError(
                f"{self.name}: {self.dropped:,} of {self.read:,} lines are no {expected} (first: "
                f"{self.examples[0]!r}). Is it the right file? Delete it and fetch it again."
            )


@contextlib.contextmanager
def open_packed(
    path: Path, member: str | None = None, limit: int = MAX_BYTES
) -> Iterator[IO[bytes]]:
    """A stream of the unpacked bytes of `path` (of `member` in a zip file, whatever its folder).

    Raises `ArtifactError`, also later while reading: a web page, another format, damage, a missing
    end, no such member, more than `limit` bytes.
    """
    name = f"{path.name}/{member}" if member else path.name
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as problem:
        raise ArtifactError(
            f"{name}: cannot be read ({problem.strerror}). Fetch it again: gensar download"
        ) from None
    if is_web_page(start):
        raise ArtifactError(
            f"{name}: is a web page instead of data. Delete {path} and fetch it again."
        )
    with contextlib.ExitStack() as stack:
        guarded = _Guarded(name, path, limit)
        try:
            if member is not None:
                archive = stack.enter_context(zipfile.ZipFile(path))
                stream = archive.open(_member(archive, path, member, limit))
            elif path.suffix == ".gz":
                if start[:2] != b"\x1f\x8b":
                    raise gzip.BadGzipFile("it does not start as gzip files do")
                stream = pa.CompressedInputStream(pa.OSFile(str(path)), "gzip")
            else:
                stream = open(path, "rb")  # noqa: SIM115 - the stack closes it
        except _DAMAGE as problem:
            raise guarded.damaged(problem) from None
        guarded.stream = stack.enter_context(stream)
        yield guarded


def _member(archive: zipfile.ZipFile, path: Path, member: str, limit: int) -> zipfile.ZipInfo:
    files = {}  # name without folders -> members
    for info in archive.infolist():
        if not info.is_dir() and not info.filename.startswith("__MACOSX"):
            files.setdefault(PurePosixPath(info.filename).name, []).append(info)
    matches = files.get(member, [])
    if len(matches) != 1:
        near = difflib.get_close_matches(member, files, n=1) if not matches else []
        hint = f" Did they rename it to {near[0]}?" if near else ""
        raise ArtifactError(
            f"{path.name}: {len(matches) or 'no'} members are called {member}.{hint} It holds: "
            f"{', '.join(list(files)[:12])}."
        )
    if matches[0].file_size > limit:
        raise _too_large(f"{path.name}/{member}", limit)
    return matches[0]


class _Guarded(io.RawIOBase):
    """Counts what is read, and turns whatever a damaged archive raises into one kind of error."""

    def __init__(self, name: str, path: Path, limit: int) -> None:
        self.stream: IO[bytes] | None = None
        self._name = name
        self._path = path
        self._limit = limit
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            piece = self.stream.read(size if size >= 0 else self._limit + 1)
        except _DAMAGE as problem:
            raise self.damaged(problem) from None
        self._count += len(piece)
        if self._count > self._limit:
            raise _too_large(self._name, self._limit)
        return piece

    def damaged(self, problem: Exception) -> ArtifactError:
        """The error of an archive that breaks here."""
        ends = isinstance(problem, EOFError) or "runcated" in str(problem)
        return ArtifactError(
            f"{self._name}: damaged after {self._count:,} unpacked bytes: "
            f"{'its end is missing' if ends else problem}. Delete {self._path} and fetch it again."
        )


def _too_large(name: str, limit: int) -> ArtifactError:
    return ArtifactError(
        f"{name}: unpacks to more than {limit / 2**30:.0f} GiB, which no known edition does. Is it "
        "the right file?"
    )
