"""data_download: mirrors, hashes, offline mode, locks. No network: a row of our own, files of a few
bytes.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import data_download
from data_download import SOURCES, DownloadError, RemoteFile, Source, fetch, missing_files

CONTENT = {"a.txt": b"1 1 2 3\n", "b.json": b'{"1": [1]}'}
HOST = "files.invalid/set"  # a host that can never exist


def row(name: str = "toy") -> Source:
    files = tuple(
        RemoteFile(f"https://{HOST}/{file}", hashlib.sha256(body).hexdigest(), len(body))
        for file, body in CONTENT.items()
    )
    return Source(name, "a toy", files, licence="not stated", citation="Nobody, 2000")


@pytest.fixture(autouse=True)
def _own_environment(tmp_path, monkeypatch):
    for name in ("GENSAR_MIRROR", "GENSAR_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GENSAR_DATA", str(tmp_path / "kept"))
    monkeypatch.setattr("requests.get", _no_network)


def _no_network(url, **_):
    raise ConnectionError(f"a test asked for {url}")


@pytest.fixture
def mirror(tmp_path) -> Path:
    folder = tmp_path / "mirror"
    (folder / HOST).mkdir(parents=True)
    for name, body in CONTENT.items():
        (folder / HOST / name).write_bytes(body)
    return folder


def test_mirror_folder_is_enough_and_the_licence_is_said_once(mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("GENSAR_MIRROR", str(mirror))
    said = []
    paths = fetch(row(), say=said.append)
    assert {name: path.read_bytes() for name, path in paths.items()} == CONTENT
    assert paths["a.txt"] == tmp_path / "kept" / "toy" / "a.txt"
    assert len(said) == 1
    assert "not stated" in said[0]
    assert "Nobody, 2000" in said[0]
    monkeypatch.delenv("GENSAR_MIRROR")  # from here on nothing could be fetched
    assert fetch(row(), say=said.append) == paths
    assert len(said) == 1


def test_mirror_may_be_a_file_url_and_serves_offline(mirror, monkeypatch):
    monkeypatch.setenv("GENSAR_MIRROR", mirror.as_uri())
    monkeypatch.setenv("GENSAR_OFFLINE", "1")
    assert fetch(row(), say=_quiet)["b.json"].read_bytes() == CONTENT["b.json"]


def test_mirror_may_be_a_server(mirror, monkeypatch):
    monkeypatch.undo()  # a real request, to this machine only
    handler = functools.partial(_Silent, directory=str(mirror))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GENSAR_MIRROR", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        paths = fetch(row(), mirror.parent / "kept", say=_quiet, progress=False)
        server.shutdown()
    assert {name: path.read_bytes() for name, path in paths.items()} == CONTENT


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def _quiet(line: str) -> None:
    pass


def test_a_wrong_file_in_the_mirror_is_never_kept(mirror, monkeypatch, tmp_path):
    (mirror / HOST / "a.txt").write_bytes(b"<html>a log-in page</html>")
    monkeypatch.setenv("GENSAR_MIRROR", str(mirror))
    monkeypatch.setenv("GENSAR_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"a\.txt is not the pinned file"):
        fetch(row(), say=_quiet)
    assert [p.name for p in (tmp_path / "kept" / "toy").iterdir() if p.name != ".lock"] == []


def test_a_file_that_the_mirror_lacks_is_sought_at_its_origin(mirror, monkeypatch):
    (mirror / HOST / "b.json").unlink()
    monkeypatch.setenv("GENSAR_MIRROR", str(mirror))
    asked = []

    def refuse(url, **_):
        asked.append(url)
        raise ConnectionError("no")

    monkeypatch.setattr("requests.get", refuse)
    with pytest.raises(DownloadError, match="1 of 2 files are missing"):
        fetch(row(), say=_quiet, progress=False)
    assert asked == [f"https://{HOST}/b.json"]
    assert [file.name for file in missing_files(row())] == ["b.json"]  # the other one is kept


@pytest.mark.parametrize("damage", [b"", b"1 1 2 4\n", b"1 1 2"])
def test_a_damaged_file_is_fetched_again(mirror, monkeypatch, damage):
    monkeypatch.setenv("GENSAR_MIRROR", str(mirror))
    path = fetch(row(), say=_quiet)["a.txt"]
    path.write_bytes(damage)
    assert [file.name for file in missing_files(row())] == ["a.txt"]
    assert fetch(row(), say=_quiet)["a.txt"].read_bytes() == CONTENT["a.txt"]


def test_offline_makes_no_connection_and_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("GENSAR_OFFLINE", "1")
    with pytest.raises(DownloadError) as caught:
        fetch(row(), say=_quiet)
    message = str(caught.value)
    for needed in (
        "2 of 2 files",
        "GENSAR_OFFLINE=1",
        "GENSAR_MIRROR",
        f"https://{HOST}/a.txt",
        str(tmp_path),
    ):
        assert needed in message


def test_offline_ignores_a_mirror_on_the_network(monkeypatch):
    monkeypatch.setenv("GENSAR_OFFLINE", "1")
    monkeypatch.setenv("GENSAR_MIRROR", "https://mirror.invalid/files")
    with pytest.raises(DownloadError, match="forbids connections"):
        fetch(row(), say=_quiet)


def test_several_at_once_fetch_once(mirror, monkeypatch):
    monkeypatch.setenv("GENSAR_MIRROR", str(mirror))
    said = []
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: fetch(row(), say=said.append), range(4)))
    assert all(result == results[0] for result in results)
    assert len(said) == 1


def test_no_space_and_no_right_to_write_are_said_before_anything_is_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage())
    with pytest.raises(DownloadError, match="0 MiB are free"):
        fetch(row(), say=_quiet)
    (tmp_path / "a_file").write_text("in the way")
    with pytest.raises(DownloadError, match=r"cannot write to .* Set GENSAR_DATA"):
        fetch(row(), tmp_path / "a_file", say=_quiet)


class _Usage:
    free = 0


def test_an_unknown_source_lists_the_known_ones():
    with pytest.raises(DownloadError, match=r"'beautiful'.*beauty"):
        fetch("beautiful")


def test_every_row_is_complete():
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.title
        assert source.licence
        assert source.citation
        assert len({file.name for file in source.files}) == len(source.files)
        for file in source.files:
            assert file.url.startswith("https://")
            assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert (file.sha256 is None) == (
                file.size is None
            )  # both come from the real bytes, or none does


def test_the_list_says_what_is_here():
    text = data_download.describe()
    for source in SOURCES.values():
        assert f"{source.name}: {source.title}" in text
        assert source.licence in text
        assert f"{len(source.files)} of {len(source.files)} files to fetch" in text


def test_the_readme_names_every_source_and_licence():
    text = (Path(data_download.__file__).parent / "README.md").read_text()
    for source in SOURCES.values():
        assert f"`{source.name}`" in text
        assert (f"{source.size_text}" if source.size else "not stated") in text


def test_the_package_does_not_know_gensar_lite():
    for path in Path(data_download.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*(from|import) gensar_lite", path.read_text(), re.MULTILINE), (
            path.name
        )
