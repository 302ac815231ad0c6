"""Nothing of the user's is deleted, nothing stale is reused, each refusal is one line."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gensar_lite import __main__ as cli
from gensar_lite.artifacts import ArtifactError, Workspace, open_run, path_digest, say
from gensar_lite.artifacts import folders as folders_file
from gensar_lite.config import ConfigError, override, preset
from gensar_lite.embeddings import stage as embeddings_stage
from gensar_lite.embeddings.encoders import ENCODERS, encoder_files, find_encoder, fingerprint
from gensar_lite.embeddings.semantic import encode
from gensar_lite.machine.console import Forgiving
from gensar_lite.machine.disk import disk_problem
from gensar_lite.notebook import start
from gensar_lite.training import stage as training_stage
from gensar_lite.training.loop.checkpoint import remove_checkpoints
from gensar_lite.training.sequences import pseudo


def workspace(root: Path, run: str | None = None, **changes) -> Workspace:
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return Workspace.open(override(preset("tiny"), dotted), root, run)


def writes(text: str = "one"):
    def make(folder: Path) -> dict:
        (folder / "a.txt").write_text(text)
        return {}

    return make


def never(folder: Path) -> dict:
    raise AssertionError("nothing was to be built")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes; the lock files of builds are nobody's work."""
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock"
    ]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def quiet(text: str) -> None:
    pass


# -------------------------------------------------------------------------- what is not ours stays

NO_NAMES = [
    "..",
    ".",
    "a/b",
    "/abs",
    "a\\b",
    "..\\b",
    "a..b",
    "",
    " ",
    "mine ",
    ".hidden",
    "C:x",
    "a\nb",
    "cache",
    5,
]


@pytest.mark.parametrize("name", NO_NAMES, ids=repr)
def test_a_runs_name_is_no_path_on_any_road(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GENSAR_WORKSPACE", str(tmp_path))
    for road in (
        lambda: Workspace.open(preset("tiny"), tmp_path, name),
        lambda: Workspace(tmp_path, preset("tiny"), name),
        lambda: start("tiny", run=name),
    ):
        with pytest.raises(ConfigError, match=r"^run: .*(--run mine|Choose another --run NAME)"):
            road()
    assert list(tmp_path.iterdir()) == []


def test_plain_names_of_runs_stay_possible(tmp_path):
    for name in ("mine", "tour-own", "2024_q1", "läden", "a.b", "two words"):
        assert (
            Workspace.open(preset("tiny"), tmp_path, name).folder("data").parent.parent
            == tmp_path / "artifacts"
        )


@pytest.mark.parametrize("run", ["..", "a/b", ""])
def test_the_command_line_refuses_such_a_run_before_it_touches_a_folder(
    run, tmp_path, monkeypatch, capsys
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "log.csv").write_text("mine")
    monkeypatch.chdir(tmp_path)
    for words in (["data"], ["search", "red"], ["report"], ["study", "recommenders"]):
        assert cli.main([*words, "--run", run]) == 1
        assert "is no name of a run" in capsys.readouterr().err
    assert tree(tmp_path) == {"data/log.csv": b"mine"}


def test_own_files_inside_the_runs_folder_are_refused_and_stay(tmp_path, monkeypatch, capsys):
    place = tmp_path / "artifacts" / "mine" / "data"
    place.mkdir(parents=True)
    (place / "items.csv").write_text("item_id,title\n1,a\n")
    (place / "events.csv").write_text("user_id,item_id,time\n1,1,1\n")
    monkeypatch.chdir(tmp_path)
    words = [
        "--items",
        "artifacts/mine/data/items.csv",
        "--events",
        "artifacts/mine/data/events.csv",
    ]
    before = tree(tmp_path)
    assert cli.main(["data", "--run", "mine", *words]) == 1
    assert "items.csv lies in artifacts/mine/data" in capsys.readouterr().err
    (tmp_path / "link.csv").symlink_to(place / "items.csv")
    assert cli.main(["data", "--run", "mine", "--items", "link.csv", "--events", words[-1]]) == 1
    assert "lies in artifacts/mine/data" in capsys.readouterr().err
    (tmp_path / "link.csv").unlink()
    assert tree(tmp_path) == before


def test_a_model_in_a_folder_that_training_replaces_is_refused(tmp_path):
    ws = workspace(tmp_path)
    for name in ("training", "training-checkpoints/step-00000001-epochs-0001"):
        (ws.folder("data").parent / name).mkdir(parents=True)
        with pytest.raises(ArtifactError, match="lies in artifacts/tiny/training"):
            ws.build("data", never, outside={"backbone": ws.folder("data").parent / name})


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path):
    ws = workspace(tmp_path)
    place = ws.folder("data")
    place.mkdir(parents=True)
    (place / "sub").mkdir()
    (place / "sub" / "log.csv").write_text("mine")
    with pytest.raises(
        ArtifactError, match=r"artifacts/tiny/data holds a file .* \(sub/log\.csv\).*--run NAME"
    ):
        ws.build("data", never)
    assert tree(place) == {"sub/log.csv": b"mine"}


def test_an_empty_folder_or_one_that_a_file_browser_looked_into_is_fine(tmp_path):
    ws = workspace(tmp_path)
    (ws.folder("data") / "sub").mkdir(parents=True)
    (ws.folder("data") / ".DS_Store").write_text("")
    ws.build("data", writes(), say=quiet)
    assert ws.require("data")


def test_a_file_in_the_stages_place_stays(tmp_path):
    ws = workspace(tmp_path)
    ws.folder("data").parent.mkdir(parents=True)
    ws.folder("data").write_text("mine")
    with pytest.raises(ArtifactError, match="artifacts/tiny/data is a file"):
        ws.build("data", never)
    assert ws.folder("data").read_text() == "mine"


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"stage": "data"}', '{"name": "theirs"}', "\ud800x"]
)
def test_a_meta_json_that_is_not_ours_protects_its_folder(text, tmp_path):
    ws = workspace(tmp_path)
    ws.folder("data").mkdir(parents=True)
    (ws.folder("data") / "meta.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    for call in (
        lambda: ws.build("data", never),
        lambda: ws.require("data"),
        lambda: open_run(ws.folder("data").parent),
    ):
        with pytest.raises(
            ArtifactError, match=r"meta\.json is damaged, or was not written by this program"
        ):
            call()
    assert list(tree(ws.folder("data"))) == ["meta.json"]


def test_a_file_that_the_user_put_beside_ours_is_not_lost_with_them(tmp_path):
    ws = workspace(tmp_path)
    ws.build("data", writes(), say=quiet)
    (ws.folder("data") / "notes.txt").write_text("mine")
    ws.build("data", never, say=quiet)  # reusing takes nothing away
    with pytest.raises(ArtifactError, match=r"not written by this program \(notes\.txt\)"):
        workspace(tmp_path, data__seed=1).build("data", never)
    assert (ws.folder("data") / "notes.txt").read_text() == "mine"


def test_a_file_put_there_while_the_stage_was_built_stays_too(tmp_path):
    ws = workspace(tmp_path)

    def make(folder: Path) -> dict:
        ws.folder("data").mkdir()
        (ws.folder("data") / "log.csv").write_text("mine")
        return {}

    with pytest.raises(ArtifactError, match=r"\(log\.csv\)"):
        ws.build("data", make)
    assert tree(ws.folder("data").parent) == {"data/log.csv": b"mine"}


def test_only_drafts_of_ours_are_cleared_away(tmp_path):
    ws = workspace(tmp_path)
    home = ws.folder("data").parent
    names = [
        ".data-backup",
        ".data-1",
        ".data-old-2024",
        ".data-gensar-draft-x",
        ".embeddings-gensar-draft-1",
        "data-1",
    ]
    for name in [*names, ".data-gensar-draft-123", ".data-gensar-replaced-123"]:
        (home / name).mkdir(parents=True)
        (home / name / "kept.csv").write_text("mine")
    ws.build("data", writes(), say=quiet)
    assert {path.name for path in home.iterdir() if path.is_dir()} == {"data", *names}
    assert all((home / name / "kept.csv").read_text() == "mine" for name in names)


def test_a_failed_renaming_leaves_the_old_folder_in_place(tmp_path, monkeypatch):
    ws = workspace(tmp_path)
    ws.build("data", writes("old"), say=quiet)
    before, rename = tree(ws.folder("data")), os.rename

    def fails(source, target):
        if "draft" in Path(source).name:
            raise OSError(errno.EIO, "broken disk")
        rename(source, target)

    monkeypatch.setattr(folders_file.os, "rename", fails)
    with pytest.raises(ArtifactError, match="data: "):
        workspace(tmp_path, data__seed=1).build("data", writes("new"), say=quiet)
    assert tree(ws.folder("data")) == before
    assert tree(ws.folder("data").parent) == {
        f"data/{name}": content for name, content in before.items()
    }


def test_a_linked_stage_keeps_what_it_leads_to(tmp_path):
    ws = workspace(tmp_path)
    ws.build("data", writes("old"), say=quiet)
    ws.folder("data").rename(tmp_path / "elsewhere")
    ws.folder("data").symlink_to(tmp_path / "elsewhere")
    workspace(tmp_path, data__seed=1).build("data", writes("new"), say=quiet)
    assert (tmp_path / "elsewhere" / "a.txt").read_text() == "old"
    assert (ws.folder("data") / "a.txt").read_text() == "new"
    assert [path.name for path in ws.folder("data").parent.iterdir() if path.suffix != ".lock"] == [
        "data"
    ]


def test_checkpoints_are_removed_and_nothing_else(tmp_path):
    for name in (
        "step-00000004-epochs-0001",
        ".draft-12",
        "step-my-epochs-notes",
        ".draft-mine",
        "plots",
    ):
        (tmp_path / "c" / name).mkdir(parents=True)
    remove_checkpoints(tmp_path / "c")
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        ".draft-mine",
        "plots",
        "step-my-epochs-notes",
    ]
    (tmp_path / "d" / "step-00000004-epochs-0001").mkdir(parents=True)
    remove_checkpoints(tmp_path / "d")
    remove_checkpoints(tmp_path / "d")
    assert not (tmp_path / "d").exists()


# -------------------------------------------------------------------------------- nothing is stale


def test_an_input_that_is_rebuilt_meanwhile_is_an_error_and_nothing_is_published(tmp_path):
    ws, other = workspace(tmp_path), workspace(tmp_path, data__seed=5)
    ws.build("data", writes("old"), say=quiet)

    def make(folder: Path) -> dict:
        other.build("data", writes("new"), say=quiet)
        return {}

    for rank in (0, 1):
        with pytest.raises(
            ArtifactError,
            match=r"artifacts/tiny/data changed while .*gensar embeddings --preset tiny",
        ):
            ws.build("embeddings", make, say=quiet, rank=rank)
        assert not ws.folder("embeddings").exists()
        ws.build("data", writes("old"), say=quiet)
    ws.build("embeddings", writes(), say=quiet)  # and it can be built afterwards
    before = tree(ws.folder("embeddings"))
    later = workspace(tmp_path, embeddings__seed=1)
    with pytest.raises(ArtifactError, match="nothing was published"):
        later.build("embeddings", make, say=quiet)
    assert tree(ws.folder("embeddings")) == before


def test_an_input_rebuilt_with_the_same_result_is_no_change(tmp_path):
    ws = workspace(tmp_path)
    ws.build("data", writes(), say=quiet)

    def make(folder: Path) -> dict:
        (ws.folder("data") / "a.txt").write_text("damaged")
        ws.build("data", writes(), say=quiet)
        return {}

    assert ws.build("embeddings", make, say=quiet)


def test_an_own_file_that_is_edited_while_it_is_read_is_an_error(tmp_path):
    ws, own = workspace(tmp_path), tmp_path / "items.csv"
    own.write_text("a")

    def make(folder: Path) -> dict:
        own.write_text("b")
        return {}

    for rank in (0, 1):
        own.write_text("a")
        with pytest.raises(
            ArtifactError, match=r"items\.csv changed while this stage was being built.*01_data"
        ):
            ws.build("data", make, say=quiet, rank=rank, outside={"items": own})
        assert not ws.folder("data").exists()


def test_a_later_stage_does_not_stand_on_an_edited_file(tmp_path):
    ws, own = workspace(tmp_path), tmp_path / "items.csv"
    own.write_text("a")
    ws.build("data", writes(), say=quiet, outside={"items": own})
    ws.build("embeddings", writes(), say=quiet)
    own.write_text("b")
    for stage in ("embeddings", "identifiers"):
        with pytest.raises(
            ArtifactError, match=r"items\.csv changed since artifacts/tiny/data .*gensar data"
        ):
            ws.build(stage, never)
    assert ws.require(
        "embeddings"
    )  # a finished run still answers, whatever became of the log since
    own.unlink()
    ws.build("embeddings", never, say=quiet)  # nothing can be said of a file that is gone
    assert "items" in ws.why_rebuild("data", {"items": own})


def model_folder(folder: Path) -> Path:
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    return folder


READ = ["model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json"]


@pytest.mark.parametrize("name", READ)
def test_whatever_a_local_model_reads_makes_its_stage_stale(name, tmp_path):
    folder = model_folder(tmp_path / "model")
    ws = workspace(tmp_path, embeddings__encoder=str(folder))
    read, mark = encoder_files(ws.config.embeddings), fingerprint(find_encoder(str(folder)))
    asked = override(ws.config, {"training.pseudo_queries": str(folder)}).training
    key = pseudo._key(["a"], asked)
    ws.build("data", writes(), say=quiet)
    ws.build("embeddings", writes(), say=quiet, outside=read)
    (folder / ".git").mkdir()
    (folder / ".git" / "index").write_text("nobody reads it")
    assert ws.why_rebuild("embeddings", read) is None
    assert fingerprint(find_encoder(str(folder))) == mark
    (folder / name).write_text("other")
    assert "encoder" in ws.why_rebuild("embeddings", read)
    assert fingerprint(find_encoder(str(folder))) != mark
    assert pseudo._key(["a"], asked) != key
    ws.build("embeddings", writes("again"), say=quiet, outside=read)
    assert (ws.folder("embeddings") / "a.txt").read_text() == "again"


def test_files_that_change_their_names_change_the_digest(tmp_path):
    folder = model_folder(tmp_path / "model")
    before = path_digest(folder)
    (folder / "tokenizer.json").rename(folder / "tokenizer.txt")
    assert path_digest(folder) != before
    assert path_digest(tmp_path / "nothing") is None


def test_the_stages_name_the_folders_they_read(tmp_path, monkeypatch):
    folder, asked = model_folder(tmp_path / "model"), {}
    changes = {
        "embeddings.encoder": folder,
        "training.backbone": folder,
        "training.pseudo_queries": folder,
    }
    config = override(preset("tiny"), {key: str(value) for key, value in changes.items()})
    config = override(config, {"training.tasks": "nrip,adhoc"})
    ws = Workspace.open(config, tmp_path)

    def build(self, stage, make, **options):
        asked[stage] = options["outside"]

    monkeypatch.setattr(Workspace, "build", build)
    embeddings_stage.embed(ws)
    training_stage.train(ws)
    assert asked["embeddings"] == {"encoder": folder}
    assert asked["training"] == {"backbone": folder, "pseudo_queries": folder}
    assert training_stage.model_files(preset("tiny").training) == {}
    assert all(
        encoder_files(override(config, {"embeddings.encoder": name}).embeddings) == {}
        for name in ENCODERS
    )


def test_vectors_of_a_folder_that_changed_meanwhile_are_not_kept(tmp_path, monkeypatch):
    import numpy as np

    folder = model_folder(tmp_path / "model")
    settings, cache = (
        override(preset("tiny"), {"embeddings.encoder": str(folder)}).embeddings,
        tmp_path / "cache",
    )

    def vectors(batches, *_):
        (folder / "config.json").write_text("edited")
        return np.ones((sum(map(len, batches)), 2), dtype=np.float32)

    monkeypatch.setattr("gensar_lite.embeddings.semantic._encode_batches", vectors)
    assert encode(["a", "b"], settings, cache).shape == (2, 2)
    assert not cache.exists()
    encode(["a", "b"], settings, cache)  # the second edit changes nothing
    assert len(list(cache.iterdir())) == 1


# ------------------------------------------------------------------------------ output never fails


class Refusing(io.StringIO):
    """A stream that raises when it is written to."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


class Western(io.StringIO):
    """A console that knows the letters of cp1252 alone."""

    encoding = "cp1252"

    def write(self, text: str) -> int:
        text.encode("cp1252")
        return super().write(text)


ERRORS = [
    BrokenPipeError(errno.EPIPE, "gone"),
    OSError(errno.ENOSPC, "full"),
    ValueError("closed"),
    RuntimeError("odd"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_stream_that_raises_stops_no_build(error, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Refusing(error))
    ws = workspace(tmp_path)
    ws.build("data", lambda folder: say("靴") or writes()(folder))
    assert ws.require("data")


def test_letters_that_a_console_lacks_are_spelled_out(monkeypatch):
    console = Western()
    monkeypatch.setattr(sys, "stdout", console)
    say("größe 靴\ud800")
    assert console.getvalue() == "größe \\u9774\\ud800\n"


def test_only_a_reader_who_left_is_no_problem():
    for number, is_problem in ((errno.EPIPE, False), (errno.ENOSPC, True)):
        stream = Forgiving(Refusing(OSError(number, "x")))
        assert stream.write("a") == 1
        assert (stream.problem is not None) == is_problem


JAPANESE = "item_id,title\n" + "".join(f"i{n},靴 {n}\n" for n in range(6))
EVENTS = "user_id,item_id,time\n" + "".join(
    f"u{u},i{(u + t) % 6},{1600000000 + t}\n" for u in range(9) for t in range(5)
)


def own_files(root: Path) -> list[str]:
    (root / "items.csv").write_text(JAPANESE, encoding="utf-8")
    (root / "events.csv").write_text(EVENTS + "u1,nothing,靴\n", encoding="utf-8")
    return [
        "--items",
        "items.csv",
        "--events",
        "events.csv",
        "--preset",
        "tiny",
        "--set",
        "data.max_drop_rate=1",
    ]


def child(words: list[str], root: Path, **options) -> subprocess.CompletedProcess:
    environment = (
        os.environ | {"PYTHONPATH": str(Path(cli.__file__).parent.parent)} | options.pop("env", {})
    )
    command = [sys.executable, "-m", "gensar_lite", *words]
    return subprocess.run(command, cwd=root, env=environment, stderr=subprocess.PIPE, **options)


def test_japanese_titles_on_a_western_console_and_a_reader_who_leaves(tmp_path):
    words = ["data", *own_files(tmp_path)]
    done = child(words, tmp_path, stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "cp1252"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u9774" in done.stdout
    read, write = os.pipe()
    os.close(read)
    done = child([*words, "--run", "piped"], tmp_path, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "artifacts" / "piped" / "data" / "meta.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_could_not_be_written_is_no_success(tmp_path):
    with open("/dev/full", "w") as full:
        done = child(["doctor"], tmp_path, stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(
        "gensar: the output could not be written: No space left on device."
    )
    assert len(done.stderr.splitlines()) == 1


# -------------------------------------------------------------------------------- the disk refuses


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))


def test_a_disk_that_takes_no_more_is_one_line(tmp_path):
    done = child(
        ["data", *own_files(tmp_path)], tmp_path, stdout=subprocess.DEVNULL, preexec_fn=limit_files
    )
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert len(lines) == 1
    assert lines[0].startswith("gensar: data: ")
    assert "Make room" in lines[0]
    assert not (tmp_path / "artifacts" / "tiny-own" / "data").exists()


def test_errors_of_libraries_that_write_are_seen_through():
    from safetensors import SafetensorError

    problem = disk_problem(
        SafetensorError("Error while serializing: No space left on device (os error 28)")
    )
    assert problem.startswith("No space left on device. Make room")
    assert disk_problem(SafetensorError("header too large")) is None
    assert disk_problem(ValueError("x")) is None
    assert disk_problem(PermissionError(errno.EACCES, "x", "/mine/data")).startswith(
        "/mine/data: Permission denied."
    )
    assert disk_problem(OSError("no connection\nto the hub")) == "no connection. Try it again."


@pytest.mark.parametrize(
    "words",
    [
        ["data"],
        ["run"],
        ["search", "red"],
        ["report"],
        ["study", "recommenders"],
        ["study", "identifiers"],
    ],
)
def test_a_workspace_that_is_a_file_is_one_line(words, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert cli.main([*words, "--preset", "tiny", "--workspace", str(tmp_path / "file")]) == 1
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert out == ""
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_folder_that_cannot_be_made_is_one_line(number, tmp_path, monkeypatch, capsys):
    def refuses(self, *_, **__):
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuses)
    assert cli.main(["data", "--preset", "tiny", "--workspace", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(
        f"gensar: data: {tmp_path.resolve()}/artifacts/tiny: {os.strerror(number)}. "
    )
    assert len(err.splitlines()) == 1


def test_meta_json_names_what_was_read(tmp_path):
    ws, own = workspace(tmp_path), tmp_path / "items.csv"
    own.write_text("a")
    ws.build("data", writes(), say=quiet, outside={"items": own})
    meta = json.loads((ws.folder("data") / "meta.json").read_text())
    assert meta["read"] == {"items": str(own.resolve())}
    assert meta["outside"] == {"items": path_digest(own)}
