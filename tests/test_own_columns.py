"""Which column becomes which field: what an override takes away from the guesses, and users' paths.

Tables are lists of names written by hand, so that the right answer is known.
"""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from own_logs import FILMS, load, log

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, DataConfig, override, preset
from gensar_lite.data.own.columns import choose_columns, parse_overrides
from gensar_lite.data.own.filetext import own_name, own_path
from gensar_lite.data.own.reading import read_table
from gensar_lite.data.sources import source_files

COLUMNS = ["user_id", "item_id", "time", "type"]


def test_a_column_that_an_override_takes_is_guessed_for_nothing_else():
    chosen, _ = choose_columns("events", COLUMNS, {"query": "type"})
    assert chosen == {"user_id": "user_id", "item_id": "item_id", "time": "time", "query": "type"}


def test_the_guess_moves_on_to_its_next_candidate():
    columns = ["item_id", "sku", "time"]
    chosen, findings = choose_columns("events", columns, {"user_id": "item_id"})
    assert chosen == {"user_id": "item_id", "item_id": "sku", "time": "time"}
    assert not findings, "one candidate is left, so nothing is in doubt"


@pytest.mark.parametrize(
    ("table", "overrides", "message"),
    [
        (
            "events",
            {"user_id": "item_id"},
            "'item_id' is taken for user_id, so it cannot be item_id as well",
        ),
        (
            "events",
            {"task": "user_id"},
            "'user_id' is taken for task, so it cannot be user_id as well",
        ),
        (
            "events",
            {"task": "type", "query": "type"},
            "'type' is taken for task, so it cannot be query as well",
        ),
        ("events", {"query": "time"}, "'time' is taken for query, so it cannot be time as well"),
        (
            "items",
            {"title": "type", "text": "type"},
            "'type' is taken for title, so it cannot be text as well",
        ),
    ],
)
def test_two_fields_from_one_column_are_refused(table, overrides, message):
    needed = ("time",) if table == "events" else ()
    with pytest.raises(ArtifactError, match=message) as error:
        choose_columns(table, COLUMNS, overrides, needed)
    first, second = message.split()[4].rstrip(","), message.split()[-3]
    assert f"data.columns={table}.{first}=...,{table}.{second}=..." in str(error.value)


def test_recboles_names_are_one_column_in_both_spellings():
    overrides = {"task": "type", "query": "type:token"}
    with pytest.raises(
        ArtifactError, match="'type:token' is taken for task, so it cannot be query"
    ):
        choose_columns("events", ["user_id:token", "item_id:token", "type:token"], overrides)


def test_ids_that_are_names_are_titles_too():
    assert choose_columns("items", ["artist_name"], {"item_id": "artist_name"})[0] == {
        "item_id": "artist_name",
        "title": "artist_name",
    }


def test_a_field_can_be_left_without_a_column():
    assert parse_overrides(("events.task=", "items.brand= "))["events"] == {"task": ""}
    assert "task" not in choose_columns("events", COLUMNS, {"task": ""})[0]
    assert override(preset("tiny"), {"data.columns": "events.task="}).data.columns == (
        "events.task=",
    )
    with pytest.raises(ArtifactError, match="events: no column for time"):
        choose_columns("events", COLUMNS, {"time": ""}, ("time",))
    for field in ("events.user_id", "events.item_id", "items.item_id", "queries.query"):
        with pytest.raises(ConfigError, match=rf"{field} needs a column\. Name it: {field}=\w+\."):
            parse_overrides((f"{field}=",))


def test_searches_without_words_are_recommendations_and_say_so(tmp_path):
    kinds = ["view", "purchase", "search"] * 20
    tables = load(tmp_path, FILMS, log({f"u{n}": 6 for n in range(10)}).assign(event_type=kinds))
    assert set(tables.events["task"]) == {"recommend"}
    assert len(tables.events) == 60
    warned = [
        f.message
        for f in tables.report.findings
        if f.level == "WARN" and "without words" in f.message
    ]
    assert len(warned) == 1
    assert "20 of 60 rows are searches without words (rows 3, 6, 9, 12, 15, ...; " in warned[0]
    assert "they are learned as recommendations of their item" in warned[0]


def test_home_of_nobody_is_a_name():
    assert own_path("~nobody-of-this-name/x.csv") == Path("~nobody-of-this-name/x.csv")
    assert own_path("~/x.csv") == Path.home() / "x.csv"
    settings = DataConfig(source="files", items="~nobody-of-this-name/x.csv")
    assert source_files(settings) == {"items": Path("~nobody-of-this-name/x.csv")}


def test_a_folder_is_named_as_it_is_called(tmp_path, monkeypatch):
    (tmp_path / "shop" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shop")
    for text, name in (
        (".", "shop"),
        ("..", tmp_path.name),
        ("./inner/..", "shop"),
        ("inner", "inner"),
        ("/", "/"),
    ):
        assert own_name(Path(text)) == name
    with pytest.raises(ArtifactError, match=r"the folder 'shop' holds no \.parquet files"):
        read_table(Path(), "items")


@pytest.mark.parametrize("values", [[1.4e18, 1e16, 12.0, 1.5], [1e300, 1.406073612e18, -2e20, 0.1]])
def test_doubles_of_parquet_keep_all_digits_and_no_exponent(values, tmp_path):
    memory = io.BytesIO()
    pd.DataFrame({"time": values}).to_parquet(memory)
    (tmp_path / "x.parquet").write_bytes(memory.getvalue())
    cells = read_table(tmp_path / "x.parquet", "events").table["time"].tolist()
    assert list(map(float, cells)) == values
    assert not [cell for cell in cells if "e" in cell]


@pytest.mark.parametrize("first", ["\rserId", "us\x00rId", "\x1b[31muid"])
def test_a_message_holds_no_control_character_of_a_column(first):
    with pytest.raises(ArtifactError, match="no column for") as error:
        choose_columns("events", [first, "film", "timestamp"], {"item_id": "film"})
    assert str(error.value).isprintable()
