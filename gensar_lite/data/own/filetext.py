"""From a file of somebody's to its bytes, and from bytes to text with one kind of line end.

In: a path, and the encoding that the settings name. Out: bytes that were unpacked, text without byte order mark, and
what was found on the way. This file does not know what a table is.
"""

from __future__ import annotations

import codecs
import difflib
import encodings.aliases
import gzip
import zlib
from pathlib import Path

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError
from gensar_lite.data.report import Finding, show

_GZIP = b"\x1f\x8b"
_UTF8_MARK = b"\xef\xbb\xbf"
_EXAMPLES = "cp1252, latin-1, shift_jis, gb18030"


def own_path(text: str) -> Path:
    """The path that a user wrote; ``~nobody`` stays as it is where nobody has a home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def own_name(path: Path) -> str:
    """The last part of a path; of ``.`` and ``..`` that of the folder that is meant."""
    return path.name if path.name.strip(".") else path.resolve().name or str(path)


def file_name(path: Path) -> str:
    """The file's whole name for a message: it is what the reader has to look for, so it is never cut."""
    return repr(own_name(path))


def file_finding(
    name: str,
    what: str,
    then: str,
    count: int = 1,
    total: int = 1,
    unit: str = "files",
    level: str = "FIX",
) -> Finding:
    """A finding about the file, not about rows of a table."""
    return Finding(level, name, what, count, total, (), "", then, unit)


# ---------------------------------------------------------------------------------------------------- bytes


def read_bytes(path: Path, name: str) -> bytes:
    """The file's bytes, unpacked. Raises `ArtifactError` when there are none, or they are a web page."""
    if not path.is_file():
        others = sorted(p.name for p in path.parent.glob("*")) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, others, n=1)
        hint = f" Nearest: {near[0]}." if near else ""
        raise ArtifactError(f"{name}: there is no file {str(path)!r}.{hint}")
    try:
        data = path.read_bytes()
    except OSError as problem:
        reason = problem.strerror
        raise ArtifactError(f"{name}: {file_name(path)} cannot be read ({reason}).") from None
    data = _unpacked(data, path, name)
    if not data.strip():
        raise ArtifactError(f"{name}: {file_name(path)} is empty. Check what wrote it.")
    if _is_page(data):
        raise ArtifactError(
            f"{name}: {file_name(path)} is a web page, not data (first bytes {data[:20]!r}). A download that needs a "
            "login or a click leaves such pages: fetch the file again."
        )
    return data


def _unpacked(data: bytes, path: Path, name: str) -> bytes:
    if data[:2] == _GZIP:
        try:
            return gzip.decompress(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise ArtifactError(
                f"{name}: {file_name(path)} is a damaged or truncated gzip file ({problem}). Copy or fetch it again."
            ) from None
    if path.suffix.lower() == ".gz" and data and not _is_page(data):
        raise ArtifactError(
            f"{name}: {file_name(path)} is called .gz and is not compressed. Rename it."
        )
    return data


def _is_page(data: bytes) -> bool:
    return data[:200].lstrip(_UTF8_MARK + b" \t\r\n").lower().startswith((b"<!doctype", b"<html"))


# ----------------------------------------------------------------------------------------------------- text


def check_encoding(encoding: str) -> str:
    """The name that Python uses; "" stays "". Raises `ConfigError` with near names for what is no text encoding."""
    if not encoding:
        return ""
    try:
        "a".encode(encoding)  # also refuses codecs that are no text, such as base64
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        known = sorted(
            {
                *encodings.aliases.aliases,
                *encodings.aliases.aliases.values(),
                "shift_jis",
                "latin-1",
            }
        )
        near = difflib.get_close_matches(encoding.lower(), known, n=3)
        hint = f"Near: {', '.join(near)}." if near else f"Usual ones: {_EXAMPLES}, utf-16."
        raise ConfigError(
            f"data.encoding: {show(encoding)} is no encoding of text. {hint}"
        ) from None


def decode(data: bytes, path: Path, name: str, encoding: str = "") -> tuple[str, list[Finding]]:
    """Text without byte order mark, lines ended by one character; UTF-8, or the `encoding` of `check_encoding`.

    A file that starts with UTF-8's mark is UTF-8 whatever the settings say: they stand for all files together.
    """
    if not encoding or data.startswith(_UTF8_MARK):
        _refuse_utf16(data, path, name)
        encoding = "utf-8"
    try:
        text = data.decode(encoding)
        if encoding != "utf-8":
            text.encode()  # half a character (a lone surrogate) is no text
    except UnicodeError as problem:
        raise ArtifactError(_undecodable(data, problem, path, name, encoding)) from None
    found = []
    if text.startswith("\ufeff"):
        text = text[1:]
        found.append(file_finding(name, "starts with a byte order mark", "It is left out."))
    ends = text.count("\r\n")
    if ends:
        lines = text.count("\n")
        found.append(file_finding(name, "end in CR LF", "Read as line ends.", ends, lines, "lines"))
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace(
        "\r", "\n"
    ), found  # alone it ends lines, else it stands in a text


def _refuse_utf16(data: bytes, path: Path, name: str) -> None:
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    if marked or 3 * data[:200].count(0) > len(data[:200]):
        guess = "utf-16" if marked else "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        raise ArtifactError(
            f"{name}: {file_name(path)} is UTF-16, not UTF-8 (byte 0). Save it as UTF-8, or say so: "
            f"--set data.encoding={guess}."
        )


def _undecodable(data: bytes, problem: UnicodeError, path: Path, name: str, encoding: str) -> str:
    """What cannot be read, where and what to try. Not every codec says where."""
    start = problem.start if isinstance(problem, UnicodeDecodeError) else 0
    line = data.count(b"\n", 0, start) + 1
    around = data[max(start - 8, 0) : start + 8]
    label = "UTF-8" if encoding == "utf-8" else encoding
    then = (
        "Save it as UTF-8, or name its encoding" if encoding == "utf-8" else "Name another encoding"
    )
    return (
        f"{name}: {file_name(path)} is not {label} at byte {start:,} (line {line:,}: {around!r}). {then}: "
        f"--set data.encoding=... (e.g. {_EXAMPLES})."
    )
