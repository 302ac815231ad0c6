"""doctor: every line says something, and says so without repairing or fetching anything."""

from __future__ import annotations

import pytest
import torch

from gensar_lite import doctor


@pytest.fixture(autouse=True)
def _own_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSAR_DATA", str(tmp_path / "kept"))
    monkeypatch.setenv("GENSAR_MIRROR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GENSAR_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_report(tmp_path):
    lines = dict(doctor.report())
    assert {
        "python",
        "torch",
        "cores",
        "memory",
        "GPU",
        "bf16",
        "threads",
        "measured",
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


@pytest.mark.parametrize(
    ("speedup", "words"), [(0.57, "fp32: bf16 is 0.57"), (3, "bf16: bf16 is 3")]
)
def test_it_says_which_format_auto_takes_and_by_how_much(monkeypatch, speedup, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "bf16_speedup", lambda: speedup)
    monkeypatch.setattr(doctor, "use_bf16", lambda _: speedup >= 1.2)
    assert doctor._bf16().startswith(f"precision=auto uses {words}")


def test_a_mirror_that_is_there_and_a_package_that_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSAR_MIRROR", tmp_path.as_uri())
    assert dict(doctor.report())["mirror"].endswith(", there")
    assert doctor._version("no-such-package-here").startswith("missing")
