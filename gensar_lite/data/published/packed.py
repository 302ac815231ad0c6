"""Packed text files, read as a stream: nothing is unpacked to disk, one piece is held in memory.

In: a plain or ``.gz`` file, or a ``.zip`` file and the name of one member. Out: a stream of its
bytes, or a few columns of a csv file, and a `Tally` of lines that readers could not use. This file
does not know what a column means.
"""

import contextlib
import csv
import difflib
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from data_download import is_web_page
from gensar_lite.artifacts import ArtifactError

MAX_BYTES = 64 * 2**30  # unpacked; a larger one is a bomb, no known data set comes near
MAX_BAD_RATE = 0.01  # of the lines; one bad line is always forgiven
BLOCK = 8 * 2**20
_HEADER = 2**16  # bytes in which a csv file's header must end
_PATTERN = {int: r"^-?[0-9]{1,18}$", float: r"^-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$"}
_TYPES = {int: pa.int64(), float: pa.float64()}
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError)


class Tally:
    """Lines read and lines that could not be used, with the first one as an example."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.read = 0
        self.dropped = 0
        self.example = ""

    def drop(self, line: bytes | str) -> None:
        """Count an unusable line."""
        if not self.dropped:
            text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
            self.example = text[:80]
        self.dropped += 1

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
                f"{self.example!r}). Is it the right file? Delete it and fetch it again."
            )


@contextlib.contextmanager
def open_packed(
    path: Path, member: str | None = None, limit: int = MAX_BYTES
) -> Iterator[IO[bytes]]:
    """A stream of the unpacked bytes of `path` (of `member` in a zip file, whatever its folder).
    Raises `ArtifactError`, also later while reading: no data, damage, more than `limit` bytes."""
    guarded = _Guarded(f"{path.name}/{member}" if member else path.name, path, limit)
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as problem:
        then = "Fetch it again: gensar download"
        raise guarded.error(f"cannot be read ({problem.strerror}). {then}") from None
    if is_web_page(start):
        raise guarded.error(f"is a web page instead of data. Delete {path} and fetch it again.")
    with contextlib.ExitStack() as stack:
        try:
            if member is not None:
                archive = stack.enter_context(zipfile.ZipFile(path))
                info = _member(archive, path, member)
                guarded.refuse_more_than_limit(info.file_size)
                stream = archive.open(info)
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


def _member(archive: zipfile.ZipFile, path: Path, member: str) -> zipfile.ZipInfo:
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
    return matches[0]


class _Guarded(io.RawIOBase):
    """Counts what is read, and turns whatever a damaged archive raises into one kind of error."""

    def __init__(self, name: str, path: Path, limit: int) -> None:
        self.stream: IO[bytes] | None = None
        self._name, self._path, self._limit = name, path, limit
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            piece = self.stream.read(size if size >= 0 else self._limit + 1)
        except _DAMAGE as problem:
            raise self.damaged(problem) from None
        self._count += len(piece)
        self.refuse_more_than_limit(self._count)
        return piece

    def refuse_more_than_limit(self, count: int) -> None:
        if count > self._limit:
            raise self.error(
                f"unpacks to more than {self._limit / 2**30:.0f} GiB, which no known edition does. "
                "Is it the right file?"
            )

    def damaged(self, problem: Exception) -> ArtifactError:
        """The error of an archive that breaks here."""
        ends = isinstance(problem, EOFError) or "runcated" in str(problem)
        return self.error(
            f"damaged after {self._count:,} unpacked bytes: "
            f"{'its end is missing' if ends else problem}. Delete {self._path} and fetch it again."
        )

    def error(self, message: str) -> ArtifactError:
        return ArtifactError(f"{self._name}: {message}")


# ------------------------------------------------------------------------------------ csv files


def read_csv(
    path: Path,
    columns: dict[str, type],
    member: str,
    keep: Callable[[pa.Table], pa.Array] | None = None,
) -> tuple[pd.DataFrame, Tally]:
    """`columns` (name -> ``str``, ``int`` or ``float``) of a csv file in a zip, in its order; of
    the rows those that `keep` says, block by block (a boolean array). Raises `ArtifactError` on a
    missing column, and when more than 1 % of the rows are unusable."""
    tally = Tally(f"{path.name}/{member}")
    _check_header(path, member, columns, tally.name)

    def ragged(row: pa.csv.InvalidRow) -> str:
        tally.read += 1
        tally.drop(row.text or "")
        return "skip"

    parts = []
    with open_packed(path, member) as stream:
        try:
            # text first: a column typed at once would fail as a whole on its first odd field
            kinds = dict.fromkeys(columns, pa.string())
            convert = pa.csv.ConvertOptions(column_types=kinds, include_columns=list(columns))
            parse = pa.csv.ParseOptions(invalid_row_handler=ragged)
            blocks = pa.csv.ReadOptions(block_size=BLOCK)
            for batch in pa.csv.open_csv(pa.PythonFile(stream, "r"), blocks, parse, convert):
                table = _typed(pa.Table.from_batches([batch]), columns, tally)
                parts.append(table.filter(keep(table)) if keep else table)
        except pa.ArrowException as problem:
            raise ArtifactError(
                f"{tally.name}: no csv ({problem}). Delete {path} and fetch it again."
            ) from None
    tally.check(f"row with {', '.join(columns)}")
    return pa.concat_tables(parts).to_pandas(), tally


def _check_header(path: Path, member: str, columns: dict[str, type], name: str) -> None:
    with open_packed(path, member) as stream:
        first = stream.read(_HEADER).split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip()
    names = next(csv.reader([first]), [])
    for column in columns:
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f"The nearest is {near[0]!r}. " if near else ""
            raise ArtifactError(
                f"{name}: no column {column!r} in its first line, {first[:200]!r}. {hint}"
                f"Another edition? Delete {path} and fetch it again."
            )


def _typed(table: pa.Table, columns: dict[str, type], tally: Tally) -> pa.Table:
    """Numbers as numbers; rows with a number that is none are dropped and counted."""
    tally.read += table.num_rows
    for place, (name, kind) in enumerate(columns.items()):
        if kind is not str:
            fine = pc.match_substring_regex(table[name], _PATTERN[kind])
            for odd in table[name].filter(pc.invert(fine)).to_pylist():
                tally.drop(f"{name} {odd}")
            table = table.filter(fine)
            table = table.set_column(place, name, table[name].cast(_TYPES[kind]))
    return table
