"""Cells of a study: made once, kept at once, found again; never taken from other inputs."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import Config, as_of_today, flat, preset, section_dict
from gensar_lite.experiments import cells as room
from gensar_lite.experiments.cells import Cell, read_rows, run_cells

MADE_FROM = {"inputs": {"data": "abc"}, "settings": {"lr": 0.1, "ks": [5, 10]}}


def cells(path, names, calls, made_from=MADE_FROM, wrong=()) -> list[Cell]:
    """Cells that share a file; each notes its name in `calls`, those in `wrong` are refused."""

    def make(name):
        calls.append(name)
        if name in wrong:
            raise ArtifactError(f"{name} cannot be made")
        return pd.DataFrame({"name": [name, name], "value": [len(name), 0.1 + 0.2]})

    return [Cell(n, path, made_from, lambda n=n: make(n), {"name": n}) for n in names]


@pytest.mark.parametrize("file", ["rows.json", "cells/rows.parquet"])
def test_a_cell_is_made_once_and_read_back_bit_by_bit(file, tmp_path):
    calls = []
    first, _ = run_cells("x", cells(tmp_path / file, ["a", "bb"], calls))
    again, _ = run_cells("x", cells(tmp_path / file, ["bb", "a", "ccc"], calls))
    assert calls == ["a", "bb", "ccc"]
    assert list(again) == ["bb", "a", "ccc"]
    for name, table in first.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True)
    rows = read_rows(tmp_path / file)
    assert rows["name"].tolist() == ["a", "a", "bb", "bb", "ccc", "ccc"]
    assert {key: rows.attrs[key] for key in MADE_FROM} == MADE_FROM


@pytest.mark.parametrize("file", ["rows.json", "rows.parquet"])
def test_what_was_made_from_something_else_is_made_again_and_replaced(file, tmp_path):
    calls, other = [], MADE_FROM | {"inputs": {"data": "xyz"}}
    run_cells("x", cells(tmp_path / file, ["a", "b"], calls))
    run_cells("x", cells(tmp_path / file, ["a"], calls, other))
    assert calls == ["a", "b", "a"]
    assert read_rows(tmp_path / file)["name"].tolist() == ["a", "a"]


def test_a_study_that_stops_goes_on_where_it_stopped(tmp_path):
    calls = []
    with pytest.raises(ArtifactError, match="b cannot be made"):
        run_cells("x", cells(tmp_path / "rows.json", ["a", "b", "c"], calls, wrong="b"))
    results, refused = run_cells("x", cells(tmp_path / "rows.json", ["a", "b", "c"], calls))
    assert calls == ["a", "b", "b", "c"]
    assert (list(results), refused) == (["a", "b", "c"], {})


def test_one_refused_cell_does_not_end_a_study_that_goes_on(tmp_path):
    study = cells(tmp_path / "rows.json", ["a", "b", "c"], [], wrong="b")
    results, refused = run_cells("x", study, go_on=True)
    assert list(results) == ["a", "c"]
    assert refused == {"b": "b cannot be made"}


def test_a_cell_with_a_file_of_its_own_keeps_a_dictionary(tmp_path):
    calls = []
    path = tmp_path / "cell.json"

    def cell(lr: float) -> Cell:
        made_from = {"log": "abc", "settings": {"lr": lr}}
        return Cell("one", path, made_from, lambda: calls.append(lr) or {"score": lr, "curve": [1]})

    assert run_cells("x", [cell(0.1)])[0] == {"one": {"score": 0.1, "curve": [1]}}
    assert run_cells("x", [cell(0.1)])[0] == {"one": {"score": 0.1, "curve": [1]}}
    assert list(json.loads(path.read_text())) == ["log", "settings", "score", "curve"]
    assert run_cells("x", [cell(0.2)])[0]["one"]["score"] == 0.2
    assert calls == [0.1, 0.2]


def test_progress_tells_the_time_left(tmp_path, monkeypatch, capsys):
    clock = iter([0.0, 0.0, 120.0, 600.0])  # at the start, then before each cell, in seconds
    monkeypatch.setattr(room.time, "perf_counter", lambda: next(clock))
    run_cells("x", cells(tmp_path / "rows.json", ["a", "b", "c"], []))
    assert capsys.readouterr().out.splitlines() == [
        "x: a (1 of 3)",
        "x: b (2 of 3, about 4 min left)",
        "x: c (3 of 3, about 5 min left)",
    ]


def test_a_damaged_file_is_named(tmp_path):
    for name, text in (("rows.json", "{"), ("rows.parquet", "no table")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ArtifactError, match=rf"{name} cannot be read.*Delete it"):
            run_cells("x", cells(tmp_path / name, ["a"], []))


def test_kept_cells_of_the_repository_name_only_settings_of_today():
    reports = Path(__file__).parent.parent / "reports"
    tables = reports.glob("identifiers-*/**/*.parquet")
    records = [("identifiers", pd.read_parquet(path).attrs) for path in tables]
    records += [
        ("embeddings", json.loads(path.read_text()))
        for path in reports.glob("baselines/*/*-*.json")
    ]
    recorded = [(stage, record["settings"]) for stage, record in records if "settings" in record]
    assert len({stage for stage, _ in recorded}) == 2
    for stage, settings in recorded:
        known = set(section_dict(getattr(preset("tour"), stage)))
        assert set(as_of_today(stage, settings)) | {"seed"} == known
    # a trade-off cell keeps what differs from the defaults of all its stages
    kept = list(reports.glob("tradeoff-*/cells/*.parquet"))
    assert kept
    for path in kept:
        assert set(pd.read_parquet(path).attrs["settings"]) <= set(flat(Config()))


def test_a_setting_that_became_a_constant_makes_no_cell_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "as_of_today", lambda stage, s: {"lr": s["lr"]})
    path = tmp_path / "cell.json"
    path.write_text(json.dumps({"settings": {"lr": 0.1, "clip": 1.0}, "score": 0.5}))
    cell = Cell("one", path, {"settings": {"lr": 0.1}}, dict, stage="training")
    assert run_cells("x", [cell])[0] == {"one": {"score": 0.5}}
    assert room.read_cell(cell._replace(made_from={"settings": {"lr": 0.2}})) is None
    assert room.read_cell(cell._replace(stage="")) is None
