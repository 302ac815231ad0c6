"""doctor: every line says something, and says so without repairing or fetching anything."""

from __future__ import annotations

import pytest

from gensar_lite import doctor


@pytest.fixture(autouse=True)
def _own_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSAR_DATA", str(tmp_path / "kept"))
    monkeypatch.setenv("GENSAR_MIRROR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GENSAR_OFFLINE", "1")


def test_the_report(tmp_path):
    lines = dict(doctor.report())
    assert {
        "python",
        "torch",
        "cores",
        "memory",
        "GPU",
        "bf16",
        "free disk",
        "source beauty",
        "text encoder",
    } <= set(lines)
    assert all(lines.values())
    assert "does not exist" in lines["mirror"]
    assert lines["offline mode"].startswith("on")
    assert lines["source beauty"].startswith("5 of 5 files to fetch")
    assert "verified" in lines["text encoder"]
    assert not (tmp_path / "kept").exists()


def test_a_mirror_that_is_there_and_a_package_that_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSAR_MIRROR", tmp_path.as_uri())
    assert dict(doctor.report())["mirror"].endswith(", there")
    assert doctor._version("no-such-package-here").startswith("missing")
