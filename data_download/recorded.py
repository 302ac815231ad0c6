"""Trust at first use: files whose publisher states no hash are pinned to the first download.

In: a source's folder and its rows. Out: rows with a sha256 and a size, from ``recorded.json``
beside the files. Only a whole archive is ever recorded: a log-in page or half a file would be
enforced from then on. This file makes no connection and does not know what is inside an archive.
"""

import gzip
import hashlib
import json
import os
import zipfile
import zlib
from pathlib import Path

from data_download.registry import RemoteFile

NAME = "recorded.json"
_CHUNK = 1 << 20


def pinned(file: RemoteFile, home: Path) -> RemoteFile:
    """`file` with hash and size as recorded in `home`, if it states none and was fetched."""
    if file.sha256 is not None:
        return file
    known = _read(home).get(file.name)
    # another URL under the same name is another file
    return file if known is None or known["url"] != file.url else file._replace(**known)


def record(file: RemoteFile, home: Path) -> RemoteFile:
    """Write hash and size of ``home/<name>`` down, under the source's lock; returns the row."""
    path = home / file.name
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    row = file._replace(sha256=digest, size=path.stat().st_size)
    draft = home / f".{NAME}.{os.getpid()}"
    rows = _read(home) | {file.name: row._asdict()}
    draft.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    os.replace(draft, home / NAME)
    return row


def is_web_page(start: bytes) -> bool:
    """Whether a file that starts so is a web page: a log-in, an error, no data."""
    return start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))


def flaw(path: Path) -> str | None:
    """What is wrong with an archive, in words (a page, another format, no end), or None."""
    with open(path, "rb") as stream:
        start = stream.read(512)
    if is_web_page(start):
        return "it is a web page, perhaps a log-in or an error"
    if path.suffix == ".gz":
        return _gzip_flaw(path)
    # a zip file's table of contents stands at its end
    if path.suffix == ".zip" and not zipfile.is_zipfile(path):
        return "it is no zip file, or its end is missing"
    return None if start else "it is empty"


def _gzip_flaw(path: Path) -> str | None:
    try:
        with gzip.open(path) as stream:
            while stream.read(_CHUNK):
                pass
    except EOFError:
        return "its end is missing"
    except (OSError, zlib.error) as problem:
        return f"it is no intact gzip file ({problem})"
    return None if path.stat().st_size else "it is empty"


def _read(home: Path) -> dict[str, dict]:
    try:
        return json.loads((home / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
