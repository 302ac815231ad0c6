"""A run on a user's own files is asked, and answers, in the ids of those files: each against the
files themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import random_identifiers
from hypothesis import given
from hypothesis import strategies as st

from gensar_lite import __main__ as cli
from gensar_lite.artifacts import Corpus, Workspace
from gensar_lite.config import ConfigError, for_own_files, override, preset
from gensar_lite.data import prepare
from gensar_lite.decoding import Recommender
from gensar_lite.decoding.ids import Ids, nearest
from gensar_lite.training import Event, new_generator
from gensar_lite.training.stage import save_generator

# 30 items whose ids are numbers that are not their rows, and three that a number would damage
FILMS = [str(100 - i) for i in range(27)] + ["007", "7", "a,b"]
VIEWERS = [str(5 * user) for user in range(12)]


def searched(number: int, step: int) -> bool:
    """Everybody searches at the third step, every second viewer also at the two last ones."""
    return step == 2 or (number % 2 == 0 and step >= 6)


def own_files(folder: Path) -> dict[str, str]:
    """Every viewer sees eight films in a row of `FILMS`, from a place of its own; some by a
    search."""
    films = pd.DataFrame(
        {"movieId": FILMS, "title": [f"film {film}" for film in FILMS], "category": "Films"}
    )
    rows = [
        (
            viewer,
            FILMS[(3 * number + step) % 30],
            1000 + step,
            "a quiet film" if searched(number, step) else "",
        )
        for number, viewer in enumerate(VIEWERS)
        for step in range(8)
    ]
    views = pd.DataFrame(rows, columns=["userId", "movieId", "timestamp", "query"])
    films.to_csv(folder / "films.csv", index=False)
    views.to_csv(folder / "views.csv", index=False)
    return {
        "data.source": "files",
        "data.items": str(folder / "films.csv"),
        "data.events": str(folder / "views.csv"),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Workspace:
    """A run on own files: their corpus as the data stage reads it, the later stages put there
    with a random model."""
    root = tmp_path_factory.mktemp("own")
    changes = for_own_files(own_files(root)) | {
        "data.split": "joint-time",
        "training.num_text_tokens": 400,
    }
    ws = Workspace.open(override(preset("tiny"), changes), root, "mine")
    prepare(ws)
    corpus, codes = Corpus.load(ws.folder("data")), random_identifiers(len(FILMS), 8)
    ws.build("embeddings", lambda folder: {}, say=lambda text: None)
    ws.build("identifiers", lambda folder: codes.save(folder) or {}, say=lambda text: None)
    generator = new_generator(corpus, codes, ws.config.training)
    with torch.no_grad():
        for p in generator.model.parameters():
            p.mul_(1.5)
    ws.build(
        "training", lambda folder: save_generator(generator, folder) or {}, say=lambda text: None
    )
    return ws


@pytest.fixture(scope="module")
def mine(run) -> Recommender:
    return Recommender.load(run.folder("data").parent)


@pytest.fixture(scope="module")
def by_row(run) -> Recommender:
    return Recommender.load(run.folder("data").parent, rows=True)


def row_of(mine: Recommender, film: str) -> int:
    """By the catalogue's table, not by `Ids`."""
    items = mine.decoder.generator.corpus.items
    return int(items.index[items["title"] == f"film {film}"][0])


def test_a_user_is_the_files_user(mine):
    """Viewer "15" is the fourth of the files; row 15 would be nobody, and row 5 is viewer "30"."""
    for number, viewer in enumerate(VIEWERS):
        seen = [FILMS[(3 * number + step) % 30] for step in range(8)]
        wanted = [
            Event(film, "a quiet film" if searched(number, step) else None)
            for step, film in enumerate(seen)
        ]
        assert mine.history_of(viewer) == wanted
        assert mine.history_of(int(viewer)) == wanted  # a number is its text
        assert mine.history_of(np.int64(viewer)) == wanted


def test_answers_speak_the_files_ids_and_match_the_rows(mine, by_row):
    history = ["100", "007", 99, Event("7", "a quiet film")]
    rows = [row_of(mine, film) for film in ("100", "007", "99")] + [
        Event(row_of(mine, "7"), "a quiet film")
    ]
    for own, plain in (
        (mine.recommend(history, 26), by_row.recommend(rows, 26)),
        (mine.search("a film", history, 30), by_row.search("a film", rows, 30)),
        *zip(
            mine.search_many(["a", "b"], [history, []], 5),
            by_row.search_many(["a", "b"], [rows, []], 5),
            strict=True,
        ),
    ):
        assert [a.title for a in own] == [f"film {a.item_id}" for a in own]
        assert [row_of(mine, a.item_id) for a in own] == [a.item_id for a in plain]
        assert all(type(a.item_id) is str for a in own)
        assert all(type(a.item_id) is int for a in plain)
    assert {a.item_id for a in mine.recommend(history, 30)} == set(FILMS) - {
        "100",
        "007",
        "99",
        "7",
    }


def test_only_named_items_are_answered(mine, by_row):
    few = ["007", 99, "a,b"]
    assert {a.item_id for a in mine.search("film", k=10, allowed=few)} == {"007", "99", "a,b"}
    assert [a.item_id for a in mine.recommend(["99"], 10, allowed=set(few))] in (
        ["007", "a,b"],
        ["a,b", "007"],
    )
    assert mine.search("film", allowed=[]) == []
    rows = [row_of(mine, str(film)) for film in few]
    assert {a.item_id for a in by_row.search("film", k=10, allowed=rows)} == set(rows)
    with pytest.raises(ConfigError, match="no item '8'"):
        mine.search("film", allowed=["7", "8"])


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda r: r.history_of("17"), r"no user '17'. Nearest: '.*'\.$"),
        (lambda r: r.history_of(3), r"no user 3\. Nearest: '.*'\. Row numbers are .* --rows"),
        (lambda r: r.history_of("005"), "no user '005'. Nearest: '5'"),
        (lambda r: r.history_of(5.0), r"no user 5.0\."),
        (lambda r: r.recommend(["0007"]), "no item '0007'. Nearest: '007', '7'"),
        (lambda r: r.recommend(["100", -1]), "no item -1"),
        (lambda r: r.recommend([True]), "no item True"),
        (lambda r: r.recommend([Event("zzz", "a")]), "'zzz'. Ids are those of your files, e.g. '"),
    ],
)  # fmt: skip
def test_an_id_that_is_not_in_the_files_names_the_nearest(mine, ask, said):
    with pytest.raises(ConfigError, match=said):
        ask(mine)


@given(st.lists(st.text(max_size=6), min_size=1, max_size=20, unique=True), st.text(max_size=6))
def test_own_ids_are_texts_and_nothing_else(own, asked):
    """Every id leads to its place and back; whatever is no id is refused, however like a number
    it looks."""
    ids = Ids("item", len(own), own)
    assert [ids.name(ids.row(name)) for name in own] == own
    if asked in own:
        assert ids.row(asked) == own.index(asked)
    else:
        with pytest.raises(ConfigError, match="there is no item"):
            ids.row(asked)


@given(
    st.one_of(
        st.integers(-3, 60),
        st.integers().map(str),
        st.sampled_from(["07", "+7", " 7", "7.0", "٧", "", "1" * 5000]),
    )
)
def test_row_numbers_are_plain_numbers(asked):
    ids = Ids("user", 40)
    if str(asked) in {str(row) for row in range(40)}:
        assert ids.row(asked) == int(asked) == ids.name(int(asked))
    else:
        with pytest.raises(ConfigError, match="Users of this run are 0 to 39"):
            ids.row(asked)


def test_nearest_by_hand():
    assert nearest("17", ["u017", "u171", "x", "u17"]) == ["u17", "u017", "u171"]
    assert nearest("U017", ["u017", "u018"]) == ["u017"]
    assert (
        nearest("b00axz", ["B00AXY", "C11"]) == []
    )  # letters count, and two of a kind hold one another or not
    assert nearest("B00AXZ", ["B00AXY", "C11"]) == ["B00AXY"]
    assert nearest("005", ["0", "500", "5", "1005"]) == ["5", "1005", "0"]
    assert nearest("", ["a"]) == []


# ------------------------------------------------------------------------------ on the command line


def ask(run: Workspace, capsys, *words: str) -> dict:
    assert cli.main([*words, "--json", "--workspace", str(run.root), "--run", "mine"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_line_speaks_the_files_ids(run, mine, capsys):
    printed = ask(run, capsys, "recommend", "--user", "15", "-k", "3")
    assert printed["history"] == [list(event) for event in mine.history_of("15")]
    assert [row["item_id"] for row in printed["answers"]] == [
        a.item_id for a in mine.recommend(mine.history_of(15), 3)
    ]
    assert all(row["title"] == f"film {row['item_id']}" for row in printed["answers"])
    printed = ask(run, capsys, "search", "film", "--items", '007, 7,"a,b"')
    assert printed["history"] == ["007", "7", "a,b"]
    assert (
        cli.main(["search", "film", "--workspace", str(run.root), "--run", "mine", "-k", "30"]) == 0
    )
    table = capsys.readouterr().out.splitlines()[1:]
    assert {line.split()[1] for line in table} == set(FILMS)
    assert all(f"film {line.split()[1]}" in line for line in table)


def test_the_command_line_takes_row_numbers_on_request(run, mine, capsys):
    users = mine.decoder.generator.corpus.user_ids
    printed = ask(run, capsys, "recommend", "--user", "3", "--rows")
    own = [row_of(mine, film) for film, _ in mine.history_of(users[3])]
    assert [item for item, _ in printed["history"]] == own
    assert all(type(row["item_id"]) is int for row in printed["answers"])


def test_a_wrong_id_is_one_line(run, capsys):
    assert (
        cli.main(["recommend", "--user", "17", "--workspace", str(run.root), "--run", "mine"]) == 1
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "there is no user '17'. Nearest:" in err


def test_advice_is_the_runs_own_command(tmp_path, run):
    """No word of a preset's own source: following it must not put the built-in shop into this
    run."""
    loaded = Recommender.load(run.folder("data").parent)
    events = loaded.decoder.generator.corpus.events
    events.drop(events.index[events["task"] == "search"], inplace=True)
    with pytest.raises(
        ConfigError, match=r"search: this run never learned it, its log has no search event"
    ) as error:
        loaded.search("film")
    assert "--run mine --set data.source=files" in str(error.value)
    assert str(run.root / "views.csv") in str(error.value)
