"""Records keep their promises; no folder is handed out that is stale, damaged or half written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gensar_lite.artifacts import (
    INPUTS,
    ArtifactError,
    Corpus,
    Identifiers,
    ItemEmbeddings,
    Workspace,
    write_json,
)
from gensar_lite.config import STAGES, override, preset

# ----------------------------------------------------------------------------------------- records


def corpus() -> Corpus:
    items = pd.DataFrame(
        {
            "item_id": [0, 1, 2],
            "title": ["a", "b", "c"],
            "text": "",
            "brand": "",
            "category": "X > Y",
        }
    )
    queries = pd.DataFrame({"query_id": [0, 1], "text": ["red", "blue"]})
    events = pd.DataFrame(
        {
            "event_id": [0, 1, 2, 3],
            "user_id": [0, 0, 1, 1],
            "time": [0, 1, 0, 0],
            "task": ["recommend", "search", "search", "recommend"],
            "item_id": [0, 1, 2, 0],
            "query_id": [-1, 0, 1, -1],
            "split": ["train", "test", "train", "test"],
        }
    )
    relevance = pd.DataFrame({"query_id": [0, 1], "item_id": [1, 2], "grade": [2, 1]})
    return Corpus(items, queries, events, relevance)


def broken(table: str, **columns) -> Corpus:
    good = corpus()
    return Corpus(**{**vars(good), table: getattr(good, table).assign(**columns)})


def test_a_good_corpus_passes_and_comes_back_from_disk(tmp_path):
    good = corpus().check()
    good.save(tmp_path)
    back = Corpus.load(tmp_path)
    for name in ("items", "queries", "events", "relevance"):
        pd.testing.assert_frame_equal(getattr(back, name), getattr(good, name), check_dtype=False)
    assert (back.num_items, back.num_users) == (3, 2)
    assert back.targets("test")["event_id"].tolist() == [1, 3]
    assert back.targets("test", "search")["event_id"].tolist() == [1]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            broken("items", item_id=[0, 2, 1]),
            "items: item_id must be the row number; row 1 holds 2",
        ),
        (
            broken("queries", query_id=[1, 2]),
            "queries: query_id must be the row number; row 0 holds 1",
        ),
        (broken("events", event_id=[0, 1, 3, 2]), "events: event_id must be the row number; row 2"),
        (broken("events", user_id=[0, 1, 0, 1]), r"not sorted by user, then time \(row 2\)"),
        (broken("events", time=[1, 0, 0, 0]), r"not sorted by user, then time \(row 1\)"),
        (broken("events", item_id=[0, 1, 2, 3]), r"item_id 3 in row 3 does not exist \(3 known\)"),
        (broken("events", item_id=[-1, 1, 2, 0]), "item_id -1 in row 0"),
        (
            broken("events", query_id=[-1, 2, 1, -1]),
            r"query_id 2 in row 1 does not exist \(2 known\)",
        ),
        (broken("events", query_id=[-2, 0, 1, -1]), "query_id -2 in row 0"),
        (
            broken("events", task=["recommend", "browse", "search", "recommend"]),
            "task 'browse' is none of",
        ),
        (broken("events", split="holdout"), "split 'holdout' is none of train, validation, test"),
        (
            broken("events", query_id=[0, 0, 1, -1]),
            "row 0 must have a query exactly if its task is search",
        ),
        (
            broken("events", query_id=[-1, -1, 1, -1]),
            "row 1 must have a query exactly if its task is search",
        ),
    ],
)
def test_a_broken_corpus_is_told_table_and_row(bad, message):
    with pytest.raises(ArtifactError, match=message):
        bad.check()


@pytest.mark.parametrize(
    ("table", "column"), [("items", "brand"), ("events", "split"), ("relevance", "grade")]
)
def test_a_missing_column_is_named(table, column):
    good = corpus()
    bad = Corpus(**{**vars(good), table: getattr(good, table).drop(columns=column)})
    with pytest.raises(ArtifactError, match=f"{table}: no column {column}"):
        bad.check()


def test_embeddings_come_back_and_refuse_what_is_not_finite(tmp_path):
    rng = np.random.default_rng(0)
    good = ItemEmbeddings(
        rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(5, 2)).astype(np.float32)
    )
    good.save(tmp_path)
    back = ItemEmbeddings.load(tmp_path)
    np.testing.assert_array_equal(back.semantic, good.semantic)
    np.testing.assert_array_equal(back.collaborative, good.collaborative)
    bad = good.collaborative.copy()
    bad[[1, 3], 0] = np.nan, np.inf
    with pytest.raises(
        ArtifactError, match=r"2 of 5 collaborative rows hold NaN or infinity \(items 1, 3\)"
    ):
        ItemEmbeddings(good.semantic, bad).check()
    with pytest.raises(ArtifactError, match="5 semantic rows but 4 collaborative"):
        ItemEmbeddings(good.semantic, good.collaborative[:4]).check()


def test_identifiers_come_back_and_keep_their_promises(tmp_path):
    semantic, collaborative = np.array([[0, 1, 2], [0, 1, 3]]), np.array([[0, 3, 3], [0, 0, 0]])
    good = Identifiers(semantic, collaborative, num_shared=1, codebook_size=4).check()
    good.save(tmp_path)
    back = Identifiers.load(tmp_path)
    np.testing.assert_array_equal(back.semantic, semantic)
    np.testing.assert_array_equal(back.collaborative, collaborative)
    assert (back.num_shared, back.codebook_size, back.num_levels) == (1, 4, 3)
    assert back.view("search") is back.view("semantic") is back.semantic
    assert back.view("recommend") is back.view("collaborative") is back.collaborative
    for changed, message in (
        ({"num_shared": 2}, r"items \[0, 1\] do not share their first 2 codes"),
        ({"codebook_size": 3}, r"semantic code lies outside \[0, 3\)"),
        ({"semantic": semantic - 1, "collaborative": collaborative - 1}, "lies outside"),
        ({"semantic": semantic[[0, 0]]}, "1 items share a semantic identifier"),
        ({"collaborative": collaborative[:1]}, "shapes differ"),
    ):
        with pytest.raises(ArtifactError, match=message):
            Identifiers(**{**vars(good), **changed}).check()


# --------------------------------------------------------------------------------------- workspace


def workspace(root: Path, run: str | None = None, **changes) -> Workspace:
    return Workspace.open(
        override(preset("tiny"), {k.replace("__", "."): v for k, v in changes.items()}), root, run
    )


def writes(text: str = "one", statistics: dict | None = None):
    """A stage that writes two files, one of them in a folder."""

    def make(folder: Path) -> dict:
        (folder / "a.txt").write_text(text)
        (folder / "deep").mkdir()
        (folder / "deep" / "b.txt").write_text("b")
        return statistics or {"size": len(text)}

    return make


def never(folder: Path) -> dict:
    raise AssertionError("was built a second time")


def build_all(ws: Workspace, say=lambda text: None) -> None:
    for stage in STAGES:
        ws.build(stage, writes(), say=say)


def leftovers(ws: Workspace) -> list[str]:
    return [
        p.name
        for p in ws.folder("data").parent.iterdir()
        if p.name.startswith(".") and p.suffix != ".lock"
    ]


def test_a_finished_stage_is_reused_and_says_so(tmp_path):
    ws, said = workspace(tmp_path), []
    folder = ws.build("data", writes(), say=said.append)
    assert folder == tmp_path.resolve() / "artifacts" / "tiny" / "data" == ws.require("data")
    assert ws.build("data", never, say=said.append) == folder
    assert said[0].startswith("data: built artifacts/tiny/data in ")
    assert said[1] == "data: reused artifacts/tiny/data"
    meta = ws.meta("data")
    assert meta["statistics"] == {"size": 3}
    assert set(meta["files"]) == {"a.txt", "deep/b.txt"}
    assert meta["versions"]["numpy"] == np.__version__
    assert leftovers(ws) == []


def test_the_digest_tells_content_not_time(tmp_path):
    one, two, three = (workspace(tmp_path / name) for name in "abc")
    one.build("data", writes())
    two.build("data", writes(statistics={"other": 1}))
    three.build("data", writes("two"))
    assert one.meta("data")["digest"] == two.meta("data")["digest"] != three.meta("data")["digest"]


def test_other_settings_are_named_with_both_values(tmp_path):
    workspace(tmp_path, data__seed=0, data__num_users=150).build("data", writes())
    changed = workspace(tmp_path, data__seed=3, data__num_users=100)
    reason = changed.why_stale("data")
    assert "data.seed 0 -> 3" in reason
    assert "data.num_users 150 -> 100" in reason
    assert "num_items" not in reason
    with pytest.raises(
        ArtifactError, match=r"data\.seed 0 -> 3.*01_data\.ipynb.*gensar data --preset tiny"
    ):
        changed.require("data")
    changed.build("data", writes())
    assert changed.why_stale("data") is None


def test_settings_of_a_later_stage_do_not_matter_upstream(tmp_path):
    build_all(workspace(tmp_path, decoding__num_beams=20))
    changed = workspace(tmp_path, decoding__num_beams=25)
    assert [stage for stage in STAGES if changed.why_stale(stage)] == ["decoding", "evaluation"]
    assert changed.why_stale("evaluation").startswith(
        "stands on decoding, which was built with other settings"
    )


def test_a_change_upstream_makes_everything_below_stale(tmp_path):
    ws = workspace(tmp_path)
    build_all(ws)
    assert all(ws.why_stale(stage) is None for stage in STAGES)
    shutil.rmtree(ws.folder("embeddings"))
    assert ws.why_stale("identifiers") == "stands on embeddings, which has not been built"
    ws.build("embeddings", writes("new vectors"))
    assert ws.why_stale("identifiers") == "was built before embeddings changed"
    assert (
        ws.why_stale("training")
        == "stands on identifiers, which was built before embeddings changed"
    )
    with pytest.raises(ArtifactError, match="03_identifiers"):
        ws.build("training", never)
    with pytest.raises(
        ArtifactError, match=r"elsewhere/embeddings has not been built.*--run elsewhere"
    ):
        workspace(tmp_path, "elsewhere").require("embeddings")


def test_inputs_point_left():
    for stage, inputs in INPUTS.items():
        assert all(STAGES.index(name) < STAGES.index(stage) for name in inputs)


def test_a_flipped_byte_and_a_lost_file_are_noticed(tmp_path):
    ws = workspace(tmp_path, "mine")
    ws.build("data", writes())
    path = ws.folder("data") / "deep" / "b.txt"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]))
    with pytest.raises(ArtifactError, match=r"changed file deep/b\.txt") as error:
        ws.require("data")
    assert "notebooks/01_data.ipynb" in str(error.value)
    assert str(error.value).endswith("gensar data --preset tiny --run mine")
    with pytest.raises(ArtifactError, match=r"changed file deep/b\.txt"):
        ws.build("embeddings", never)
    ws.build("data", writes())  # a damaged folder is built again, not reused
    path.unlink()
    with pytest.raises(ArtifactError, match=r"lost its file deep/b\.txt"):
        ws.require("data")


def test_a_stage_that_fails_leaves_no_folder_and_keeps_the_old_one(tmp_path):
    def fail(folder: Path) -> dict:
        (folder / "half.txt").write_text("half")
        raise RuntimeError("out of paper")

    ws = workspace(tmp_path)
    with pytest.raises(RuntimeError, match="out of paper"):
        ws.build("data", fail)
    assert not ws.folder("data").exists()
    assert leftovers(ws) == []
    ws.build("data", writes())
    changed = workspace(tmp_path, data__seed=1)
    with pytest.raises(RuntimeError, match="out of paper"):
        changed.build("data", fail)
    assert ws.require("data")
    assert leftovers(ws) == []


def test_statistics_that_cannot_be_written_publish_nothing(tmp_path):
    ws = workspace(tmp_path)
    with pytest.raises(TypeError):
        ws.build("data", writes(statistics={"array": np.zeros(2)}))
    assert not ws.folder("data").exists()
    assert leftovers(ws) == []


def test_other_ranks_compute_along_and_publish_nothing(tmp_path):
    ws, seen = workspace(tmp_path), []
    ws.build("data", lambda folder: seen.append(folder) or {}, rank=1)
    assert len(seen) == 1
    assert not ws.folder("data").exists()
    assert not seen[0].exists()
    ws.build("data", writes())
    ws.build("data", never, rank=1)


def test_a_published_folder_is_readable_for_others(tmp_path):
    ws = workspace(tmp_path)
    plain = tmp_path / "plain"
    plain.mkdir()
    assert ws.build("data", writes()).stat().st_mode == plain.stat().st_mode


def test_json_is_replaced_whole(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


# ------------------------------------------------------------------------------- several processes

WORKER = """
import sys, time
from pathlib import Path
from gensar_lite.artifacts import Workspace
from gensar_lite.config import preset

def make(folder):
    (folder / "a.txt").write_text("half")
    with open(sys.argv[1] + "/built", "a") as file:
        file.write("x")
    print("working", flush=True)
    time.sleep(float(sys.argv[2]))
    return {}

Workspace.open(preset("tiny"), sys.argv[1]).build("data", make)
"""


def worker(root: Path, seconds: float) -> subprocess.Popen:
    words = [sys.executable, "-c", textwrap.dedent(WORKER), str(root), str(seconds)]
    there = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=there)


def test_a_killed_build_publishes_nothing_and_the_next_one_cleans_up(tmp_path):
    ws, process = workspace(tmp_path), worker(tmp_path, 600)
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not ws.folder("data").exists()
    assert ws.why_stale("data") == "has not been built"
    ws.build("data", writes())  # the lock died with its owner
    assert ws.require("data")
    assert leftovers(ws) == []


def test_four_processes_build_a_stage_once(tmp_path):
    said = [
        process.communicate(timeout=60)[0] for process in [worker(tmp_path, 0.3) for _ in range(4)]
    ]
    assert (tmp_path / "built").read_text() == "x"
    assert sum("data: built" in text for text in said) == 1
    assert sum("data: reused" in text for text in said) == 3


def test_the_command_names_what_differs(tmp_path):
    config = override(preset("tiny"), {"identifiers.num_shared": 2, "evaluation.ks": "5,10"})
    assert Workspace.open(config, tmp_path, run="one").command("run") == (
        "gensar run --preset tiny --run one --set identifiers.num_shared=2 --set evaluation.ks=5,10"
    )
