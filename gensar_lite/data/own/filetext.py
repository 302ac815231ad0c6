"""From a user's file to its bytes, and from bytes to text with one kind of line end.

In: an `OwnFile`. Out: bytes that were unpacked, text without byte order mark; what was noticed goes
to its `Checks`. This file does not know what a table is.
"""

import codecs
import difflib
import encodings.aliases
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from data_download import is_web_page
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError
from gensar_lite.data.report import Checks, show

_GZIP = b"\x1f\x8b"
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_EXAMPLES = "cp1252, latin-1, shift_jis, gb18030"


class OwnFile(NamedTuple):
    """A file while it is read, and what the settings say about it."""

    path: Path
    checks: Checks  # of the table that the file holds
    wanted: Callable[[str], bool]  # which columns are kept
    header: bool = True  # the first row of separated cells names the columns
    separator: str = ""  # between cells; "": guessed
    encoding: str = ""  # "": UTF-8

    @property
    def label(self) -> str:
        """The file's whole name for a message: it has to be looked for, so it is never cut."""
        return repr(own_name(self.path))

    def error(self, message: str) -> ArtifactError:
        """What to raise: the message after the table's name."""
        return ArtifactError(f"{self.checks.name}: {message}")


# what every kind of file gives: names of all columns, the wanted columns as text, number of rows
TextColumns = tuple[list[str], dict, int]


def own_path(text: str) -> Path:
    """The path that a user wrote; ``~nobody`` stays as it is where nobody has a home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def own_name(path: Path) -> str:
    """The last part of a path; of ``.`` and ``..`` that of the folder that is meant."""
    return path.name if path.name.strip(".") else path.resolve().name or str(path)


def read_bytes(file: OwnFile) -> bytes:
    """The file's bytes, unpacked. Raises `ArtifactError` for none, damage, or a web page."""
    path = file.path
    if not path.is_file():
        near = difflib.get_close_matches(path.name, sorted(p.name for p in path.parent.glob("*")))
        hint = f" Nearest: {near[0]}." if near else ""
        raise file.error(f"there is no file {str(path)!r}.{hint}")
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise file.error(f"{file.label} cannot be read ({problem.strerror}).") from None
    # the first bytes tell what is packed, the name does not: browsers unpack and keep ".gz"
    is_packed = data.startswith(_GZIP)
    try:
        data = gzip.decompress(data) if is_packed else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise file.error(
            f"{file.label} is a damaged or truncated gzip file ({problem}). Copy or fetch it again."
        ) from None
    if not data.strip():
        raise file.error(f"{file.label} is empty. Check what wrote it.")
    if is_web_page(data[:512].removeprefix(_UTF8_MARK)):
        raise file.error(
            f"{file.label} is a web page, not data (first bytes {data[:20]!r}). A download that "
            "needs a login or a click leaves such pages: fetch the file again."
        )
    if path.suffix.lower() == ".gz" and not is_packed:
        raise file.error(f"{file.label} is called .gz and is not compressed. Rename it.")
    return data


def check_encoding(encoding: str) -> str:
    """Python's name of an encoding; "" stays "". Raises `ConfigError` for none, with near names."""
    if not encoding:
        return ""
    try:
        "a".encode(encoding)  # also refuses codecs that are no text, such as base64
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        known = {*encodings.aliases.aliases, *encodings.aliases.aliases.values()}
        near = difflib.get_close_matches(encoding.lower(), sorted(known))
        hint = f"Near: {', '.join(near)}." if near else f"Usual ones: {_EXAMPLES}, utf-16."
        problem = f"data.encoding: {show(encoding)} is no encoding of text. {hint}"
        raise ConfigError(problem) from None


def decode(data: bytes, file: OwnFile) -> str:
    """Text without byte order mark, lines ended by one character. Raises `ArtifactError` that says
    where the text is none in its encoding."""
    encoding = file.encoding
    # what starts with UTF-8's mark is so whatever the settings say: they stand for all files
    if not encoding or data.startswith(_UTF8_MARK):
        _refuse_utf16(data, file)
        encoding = "utf-8"
    try:
        text = data.decode(encoding)
        if encoding != "utf-8":
            text.encode()  # half a character (a lone surrogate) is no text
    except UnicodeError as problem:
        # not every codec says where
        start = problem.start if isinstance(problem, UnicodeDecodeError) else 0
        line = data.count(b"\n", 0, start) + 1
        around = data[max(start - 8, 0) : start + 8]
        is_usual = encoding == "utf-8"
        advice = "Save it as UTF-8, or name its encoding" if is_usual else "Name another encoding"
        raise file.error(
            f"{file.label} is not {'UTF-8' if is_usual else encoding} at byte {start:,} "
            f"(line {line:,}: {around!r}). {advice}: --set data.encoding=... (e.g. {_EXAMPLES})."
        ) from None
    if text.startswith("\ufeff"):
        text = text[1:]
        file.checks.note("byte-mark")
    if ends := text.count("\r\n"):
        file.checks.note("cr-lf", ends, text.count("\n"), "lines")
        text = text.replace("\r\n", "\n")
    # a carriage return alone ends lines where nothing else does; elsewhere it stands in a text
    return text if "\n" in text else text.replace("\r", "\n")


def _refuse_utf16(data: bytes, file: OwnFile) -> None:
    is_marked = data.startswith(_UTF16_MARKS)
    start = data[:200]  # where every second byte of Latin text is zero
    if is_marked or 3 * start.count(0) > len(start):
        guess = "utf-16" if is_marked else "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        raise file.error(
            f"{file.label} is UTF-16, not UTF-8 (byte 0). Save it as UTF-8, or say so: "
            f"--set data.encoding={guess}."
        )
