"""Every row of the table of bad inputs, through `load_files`: its outcome and its message."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from bad_files import FILE_CASES
from bad_inputs import CASES, BadInput, clean_files

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, override, preset
from gensar_lite.data import Tables
from gensar_lite.data.own.files import load_files

ALL = [*CASES, *FILE_CASES]


def table(name: str) -> str:
    """The table that a file, or a folder of files, holds."""
    return re.split(r"[./]", name)[0]


def load(folder: Path, case: BadInput) -> Tables:
    """The case's files, beside the clean ones that it does not replace, as a user has them read."""
    files = {
        name: text
        for name, text in clean_files().items()
        if table(name) not in map(table, case.files)
    }
    files |= case.files
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    paths = {table(name): str(folder / name.partition("/")[0]) for name in files}
    named = {"source": "files", **paths, **case.settings}
    config = override(preset(), {f"data.{name}": value for name, value in named.items()})
    return load_files(config.data)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Tables:
    return load(tmp_path_factory.mktemp("clean"), BadInput("clean", "READ", "", {}))


def compare(tables: Tables, clean: Tables) -> None:
    pd.testing.assert_frame_equal(tables.events, clean.events)
    pd.testing.assert_frame_equal(tables.items, clean.items)
    pd.testing.assert_frame_equal(tables.users, clean.users)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_bad_input(case, clean, tmp_path):
    if case.outcome == "STOP":
        with pytest.raises((ArtifactError, ConfigError)) as error:
            load(tmp_path, case)
        assert re.search(case.message, str(error.value)), error.value
        return
    tables = load(tmp_path, case)
    messages = [f.message for f in tables.report.findings if f.level == case.outcome]
    if case.outcome == "READ" or case.same:
        compare(tables, clean)
    if case.outcome != "READ":
        assert [m for m in messages if re.search(case.message, m)], messages


def test_the_table_is_one():
    assert len({case.name for case in ALL}) == len(ALL) >= 75
    assert {case.outcome for case in ALL} == {"READ", "FIX", "DROP", "WARN", "STOP"}
    assert all(bool(case.message) == (case.outcome != "READ") for case in ALL)
