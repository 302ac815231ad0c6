"""Bring a source's files here and prove that they are the right ones.

In: a source's name or row, and three environment variables: ``GENSAR_MIRROR`` (a folder or URL laid
out as ``<mirror>/<host>/<path>``, tried first), ``GENSAR_OFFLINE=1`` (no connection at all),
``GENSAR_DATA`` (where files are kept, else ``./downloads``). Out: ``{file name: path}``, every
sha256 checked, each time; one that the publisher does not state is recorded at the first download
(recorded.py). Whole files only: nothing is unpacked here.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from data_download.recorded import NAME, flaw, pinned, record
from data_download.registry import AMAZON_CATEGORIES, SOURCES, RemoteFile, Source, amazon, find

_LOCK_SECONDS = 3600
_CONNECT_SECONDS = 30


class DownloadError(RuntimeError):
    """A file could not be had, or is not the pinned one; the message names the next step."""


def data_folder() -> Path:
    """Where files are kept: ``GENSAR_DATA``, else ``downloads/`` of the project (the nearest folder
    above with a ``pyproject.toml``: notebooks run in one of their own) or current folder."""
    here = Path.cwd()
    home = next((p for p in (here, *here.parents) if (p / "pyproject.toml").exists()), here)
    return Path(os.environ.get("GENSAR_DATA") or home / "downloads")


def fetch(
    source: str | Source,
    folder: Path | str | None = None,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> dict[str, Path]:
    """Every file of `source`, in ``<folder>/<source's name>/``; what is there and intact stays.

    `say` receives the licence line before the first download. A second process waits for the first.
    Raises `DownloadError` when a file is missing offline, cannot be reached, or has another sha256.
    """
    source = _row(source)
    home = Path(folder or data_folder()) / source.name
    if missing_files(source, folder):
        _make_room(source, home)
        try:
            with FileLock(home / ".lock", timeout=_LOCK_SECONDS):
                _fetch_missing(source, missing_files(source, folder), home, say, progress)
        except Timeout:
            raise DownloadError(
                f"{source.name}: another process has held {home / '.lock'} for an hour. "
                "Stop it, or set GENSAR_DATA to another folder."
            ) from None
    return {file.name: home / file.name for file in source.files}


def missing_files(source: str | Source, folder: Path | str | None = None) -> list[RemoteFile]:
    """The files of `source` that are not here or not intact."""
    source = _row(source)
    home = Path(folder or data_folder()) / source.name
    return [file for file in source.files if not _intact(home / file.name, pinned(file, home))]


def describe() -> str:
    """Every source in a few lines: what it is, its size, licence, and whether it is here."""
    rows = [*SOURCES.values(), amazon("<category>")]
    categories = f"  categories (amazon-Books and so on): {', '.join(AMAZON_CATEGORIES)}"
    shop = "shop: built in, generated from a seed, nothing to fetch"
    return "\n".join([shop, *map(_describe, rows), categories])


def _describe(source: Source) -> str:
    missing = len(missing_files(source))
    here = f"here, in {data_folder() / source.name}"
    if missing:
        here = f"{missing} of {len(source.files)} files to fetch"
    lines = [f"{source.name}: {source.title}", f"{source.size_text}, {here}"]
    if any(file.sha256 is None for file in source.files):
        lines.append("hashes: not stated, recorded at the first download")
    lines += [f"licence: {source.licence}", f"cite: {source.citation}"]
    if not source.run_on_real_files:
        lines.append("not run on its real files yet")
    return "\n  ".join(filter(None, [*lines, source.notes]))


def _row(source: str | Source) -> Source:
    row = source if isinstance(source, Source) else find(source)
    if row is None:
        known = ", ".join([*SOURCES, "amazon-<category>"])
        raise DownloadError(f"download: there is no source {source!r}. Choose one of: {known}.")
    return row


def _intact(path: Path, file: RemoteFile) -> bool:
    if file.sha256 is None or not path.is_file() or path.stat().st_size != file.size:
        return False
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _make_room(source: Source, home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise DownloadError(
            f"{source.name}: cannot write to {home} ({problem.strerror}). "
            "Set GENSAR_DATA to a folder of yours."
        ) from None
    free = shutil.disk_usage(home).free
    if free < (source.size or 1):
        raise DownloadError(
            f"{source.name}: needs {source.size_text} in {home}, {free / 2**20:.0f} MiB are free. "
            "Make room, or set GENSAR_DATA to another disk."
        )


def _fetch_missing(
    source: Source,
    missing: list[RemoteFile],
    home: Path,
    say: Callable[[str], None],
    progress: bool,
) -> None:
    if not missing:  # another process fetched them while this one waited
        return
    if _offline() and not _mirror_folder():
        reason = "GENSAR_OFFLINE=1 forbids connections"
        raise DownloadError(_how_to_go_on(source, missing, home, reason))
    terms = f"Licence: {source.licence} Please cite: {source.citation}."
    say(f"{source.name}: {source.size_text}. {terms}")
    for number, row in enumerate(missing, start=1):
        label = f"{source.name} {number}/{len(missing)} {row.name}"
        file = pinned(row, home)
        # without a hash, a file that is there was copied by hand, as the message below proposes
        if file.sha256 is None and (home / file.name).is_file():
            problem = flaw(home / file.name)
            problems = [f"{home / file.name} is not used, delete it: {problem}"] if problem else []
        else:
            problems = _try_places(file, home, label, progress)
        if problems:
            raise DownloadError(_how_to_go_on(source, [row], home, "; ".join(problems)))
        if file.sha256 is None:
            file = record(file, home)
            say(
                f"{file.name}: its publisher states no hash; this download's is recorded in "
                f"{home / NAME} and enforced from now on: sha256 {file.sha256}, "
                f"{file.size:,} bytes."
            )


def _try_places(file: RemoteFile, home: Path, label: str, progress: bool) -> list[str]:
    """Fetch one file from the first place that has the right one; [], or what went wrong where."""
    pooch.get_logger().setLevel("WARNING")  # one bar and one line are enough
    problems = []
    for place in _places(file):
        shown = str(place)
        bar = None
        if isinstance(place, Path):
            downloader = _copy
        else:
            # pooch asks whether a bar is true, which one without a length cannot say, and sets the
            # server's length
            shape = {"unit": "B", "unit_scale": True, "desc": label}
            bar = tqdm(total=file.size or 1, disable=not progress, **shape)
            downloader = pooch.HTTPDownloader(progressbar=bar, timeout=_CONNECT_SECONDS)
        try:
            pooch.retrieve(
                url=shown,
                known_hash=file.sha256 and f"sha256:{file.sha256}",
                fname=file.name,
                path=home,
                downloader=downloader,
            )
            (home / file.name).chmod(0o644)  # pooch leaves 0600; a class shares its folder
            problem = flaw(home / file.name) if file.sha256 is None else None
            if problem is None:
                return []
            (home / file.name).unlink()
            problems.append(f"{shown} is not used: {problem}")
        except ValueError:  # pooch's word for another hash; the file it got is already gone
            problems.append(f"{shown} is not the pinned file (its sha256 differs)")
        except OSError as problem:  # requests' errors are OSErrors too
            problems.append(f"{shown} cannot be read ({type(problem).__name__})")
        finally:
            if bar is not None:
                bar.close()
    return problems


def _copy(url: str, output_file: str, pooch: object) -> None:
    shutil.copyfile(url, output_file)


def _places(file: RemoteFile) -> list[Path | str]:
    mirror = os.environ.get("GENSAR_MIRROR", "")
    places: list[Path | str] = []
    if folder := _mirror_folder():
        places.append(folder / file.host_path)
    elif mirror and not _offline():
        places.append(f"{mirror.rstrip('/')}/{file.host_path}")
    return places if _offline() else [*places, file.url]


def _mirror_folder() -> Path | None:
    mirror = os.environ.get("GENSAR_MIRROR", "")
    if mirror.startswith("file:"):
        return Path(url2pathname(urlsplit(mirror).path))
    return Path(mirror) if mirror and "://" not in mirror else None


def _offline() -> bool:
    return os.environ.get("GENSAR_OFFLINE", "").lower() not in ("", "0", "false")


def _how_to_go_on(source: Source, files: list[RemoteFile], home: Path, reason: str) -> str:
    lines = [f"  {file.url} -> {home / file.name}" for file in files]
    step = "Unset GENSAR_OFFLINE" if _offline() else "Check the network and run this again"
    if "sha256 differs" in reason and any(row.sha256 is None for row in files):
        step += f", or delete {home / NAME} to accept another edition than the first download's"
    return (
        f"{source.name}: {len(files)} of {len(source.files)} files are missing: {reason}.\n"
        f"{step}, or set GENSAR_MIRROR to a folder or URL that holds <host>/<path>, "
        "or copy by hand:\n" + "\n".join(lines)
    )
