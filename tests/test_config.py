"""Settings: presets, overrides from text and from Python, types, and what a wrong key is told."""

from __future__ import annotations

import dataclasses
import json

import pytest

from gensar_lite.config import (
    PRESETS,
    STAGES,
    Config,
    ConfigError,
    flat,
    override,
    preset,
    section_dict,
)
from gensar_lite.config.tree import ADDED, as_of_today, settings_of


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_tree_of_the_declared_types(name):
    config = preset(name)
    assert config.name == name
    for stage in STAGES:
        section = getattr(config, stage)
        for key, row in settings_of(stage).items():
            value = getattr(section, key)
            assert type(value) is (tuple if row.is_list else row.kind), key
            assert all(type(v) is row.kind for v in (value if row.is_list else ())), key
            assert row.parse(value) == value, key


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_keeps_the_identifier_and_task_promises(name):
    config = preset(name)
    assert 0 <= config.identifiers.num_shared < config.identifiers.num_levels
    assert len(config.training.tasks) == len(config.training.task_weights)
    assert config.decoding.top_k <= config.decoding.num_beams
    assert max(config.evaluation.ks) <= config.decoding.top_k


def test_an_unknown_preset_lists_the_presets():
    with pytest.raises(ConfigError, match="tour") as error:
        preset("turo")
    assert all(name in str(error.value) for name in PRESETS)


def test_sections_are_frozen_and_overrides_leave_the_original_alone():
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.identifiers.num_shared = 3
    before = config.identifiers.num_shared
    changed = override(config, {"identifiers.num_shared": before + 1})
    assert (changed.identifiers.num_shared, config.identifiers.num_shared) == (before + 1, before)
    assert changed.data is config.data


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("identifiers.num_shared", "1", 1),
        ("identifiers.lr", "1e-2", 0.01),
        ("identifiers.lr", 1, 1.0),
        ("data.source", "beauty", "beauty"),
        ("training.prompts", "False", False),
        ("training.prompts", "1", True),
        ("training.prompts", False, False),
        ("evaluation.ks", "5, 10", (5, 10)),
        ("evaluation.ks", [1], (1,)),
        ("training.tasks", "nsip,nrip", ("nsip", "nrip")),
        ("training.task_weights", "1,0.5", (1.0, 0.5)),
    ],
)
def test_text_and_python_values_are_parsed_to_the_type(key, text, value):
    stage, name = key.split(".")
    parsed = getattr(getattr(override(Config(), {key: text}), stage), name)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("identifiers.num_shared", "two", "int"),
        ("identifiers.num_shared", "1.5", "int"),
        ("identifiers.num_shared", 1.0, "int"),
        ("identifiers.num_shared", True, "int"),
        ("identifiers.num_shared", None, "int"),
        ("identifiers.lr", "fast", "float"),
        ("identifiers.lr", True, "float"),
        ("data.source", 3, "str"),
        ("training.prompts", "yes", "bool"),
        ("training.prompts", 1, "bool"),
        ("evaluation.ks", 5, "list of int"),
        ("evaluation.ks", "5,ten", "int"),
    ],
)
def test_a_wrong_type_is_told_what_was_expected(key, value, expected):
    with pytest.raises(ConfigError, match=f"{key} expects.*{expected}"):
        override(Config(), {key: value})


def test_an_unknown_key_is_told_the_nearest_and_the_valid_ones():
    with pytest.raises(ConfigError, match=r"no 'identifiers\.num_share'") as error:
        override(Config(), {"identifiers.num_share": 1})
    assert "Did you mean identifiers.num_shared" in str(error.value)
    assert "identifiers.codebook_size" in str(error.value)
    assert "training.lr" not in str(error.value)  # of that section only
    for key in (
        "num_shared",
        "identifiers",
        "identifiers.",
        "nowhere.lr",
        "identifiers.lr.x",
        "name",
    ):
        with pytest.raises(ConfigError, match="Valid keys"):
            override(Config(), {key: 1})


def test_one_seed_fans_out_to_every_stage_that_has_one():
    config = override(preset("tiny"), {"seed": "7"})
    seeds = {key: value for key, value in flat(config).items() if key.endswith(".seed")}
    assert {key.split(".")[0] for key in seeds} == {
        "data",
        "embeddings",
        "identifiers",
        "training",
        "evaluation",
    }
    assert set(seeds.values()) == {7}
    later = override(config, {"seed": 1, "data.seed": 2})
    assert (later.data.seed, later.training.seed) == (2, 1)
    with pytest.raises(ConfigError, match=r"data\.seed expects int"):
        override(config, {"seed": "x"})


def test_flat_names_every_setting_once_and_leads_back():
    config = preset("beauty")
    everything = flat(config)
    assert next(iter(everything)) == "data.source"
    assert len(everything) == sum(
        len(dataclasses.fields(getattr(config, stage))) for stage in STAGES
    )
    assert json.loads(json.dumps(everything)) == everything
    assert dataclasses.replace(override(Config(), everything), name="beauty") == config
    as_text = {
        k: ",".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in everything.items()
    }
    assert dataclasses.replace(override(Config(), as_text), name="beauty") == config


def test_a_section_as_plain_values():
    values = section_dict(preset("tour").evaluation)
    assert values["ks"] == [5, 10, 20]
    assert json.loads(json.dumps(values)) == values


def test_a_finished_run_opens_whatever_the_preset_says_beside_it():
    """A run decoded 5 deep stands beside a preset that evaluates 20 deep."""
    from gensar_lite.artifacts.opening import recorded_config

    decoding = section_dict(preset("tiny").decoding) | {"top_k": 5}
    opened = recorded_config({"decoding": decoding}, "mine")
    assert opened.decoding.top_k == 5
    with pytest.raises(ConfigError, match="deeper than the 5 items"):
        override(opened, {"decoding.num_beams": 5})  # who builds on is told


def test_settings_that_came_later_do_not_age_a_run():
    recorded = section_dict(preset("tiny").decoding)
    for name in ADDED["decoding"]:
        del recorded[name]
    assert as_of_today("decoding", recorded) == section_dict(preset("tiny").decoding)
    assert as_of_today("decoding", recorded | {"channel": "words"})["channel"] == "words"


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_trained_before_streams_were_gone(stream, tmp_path):
    """Where they were off, run and checkpoint are as of today; else both say what to do."""
    import torch

    from gensar_lite.artifacts import ArtifactError, Workspace
    from gensar_lite.artifacts.opening import open_run
    from gensar_lite.training.loop.checkpoint import Checkpoints, Group, checkpoint_name

    settings = section_dict(preset("tiny").training)
    old = settings | {"stream": stream, "max_stream_tokens": 99, "batch_tokens": 7}
    ws = Workspace.open(preset("tiny"), tmp_path)
    for stage in ("data", "embeddings", "identifiers", "training"):
        ws.folder(stage).mkdir(parents=True)
        recorded = old if stage == "training" else section_dict(getattr(ws.config, stage))
        meta = {"stage": stage, "settings": recorded, "files": {}, "digest": stage[0]}
        reads = {"data": "d", "embeddings": "e", "identifiers": "i"}
        (ws.folder(stage) / "meta.json").write_text(json.dumps(meta | {"inputs": reads}))
    identity = {f"training.{name}": value for name, value in old.items()}
    group = {"model": Group("weights-1", {"w": torch.ones(1)})}
    Checkpoints(tmp_path / "steps", identity, print).save(checkpoint_name(1, 0), group, {})
    new = {f"training.{name}": value for name, value in settings.items()}
    checkpoints = Checkpoints(tmp_path / "steps", new, print)
    opened = open_run(ws.folder("training").parent)
    assert opened.config.training == ws.config.training
    if not stream:
        assert opened.require("training") == ws.folder("training")
        assert checkpoints.newest() is not None
        return
    with pytest.raises(ArtifactError, match=r"streams of tokens are gone.*gensar training"):
        opened.require("training")
    with pytest.raises(ArtifactError, match=r"streams of tokens are gone.*Delete that folder"):
        checkpoints.newest()


def test_a_checkpoint_of_a_version_with_more_settings_goes_on(tmp_path):
    import torch

    from gensar_lite.artifacts import ArtifactError
    from gensar_lite.training.loop.checkpoint import Checkpoints, Group, checkpoint_name

    identity = {"training.lr": 0.1, "processes": 1}
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        old = Checkpoints(folder, identity | {"training.compile": compiled}, print)
        group = {"model": Group("weights-1", {"w": torch.ones(1)})}
        old.save(checkpoint_name(1, 0), group, {})
        new = Checkpoints(folder, identity, print)
        if compiled:  # which made other weights
            with pytest.raises(ArtifactError, match=r"training\.compile True"):
                new.newest()
        else:
            assert new.newest() is not None
