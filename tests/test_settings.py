"""Settings at the door: every declaration against wrong values, bounds, text, presets and uses."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import typing
from math import isfinite
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.__main__ import main
from gensar_lite.artifacts import ArtifactError
from gensar_lite.artifacts.opening import recorded_config
from gensar_lite.config import (
    OWN_FILES,
    PRESETS,
    STAGES,
    Config,
    ConfigError,
    as_of_today,
    changed_settings,
    flat,
    one_of,
    override,
    preset,
    section_dict,
)
from gensar_lite.config.declare import Setting
from gensar_lite.config.tree import ADDED, CONSTANTS, settings_of, settings_rows, settings_table

ROOT = Path(__file__).parent.parent
EVERY = {row.key: row for stage in STAGES for row in settings_of(stage).values()}
# what the other settings must be, so that any value of one setting fits
FREE = {
    "data.source": "beauty",
    "embeddings.num_heads": 1,
    "embeddings.joint": "adapter",
    "decoding.top_k": 10**9,
    "evaluation.ks": (1,),
    "identifiers.num_shared": 0,
}
# a tree that learns recommendation and search
TREE = {
    "training.backbone": "tree-mini",
    "training.tasks": ("nrip", "nsip"),
    "training.task_weights": (1.0, 1.0),
}


def step(row: Setting) -> float:
    return 1 if row.kind is int else 1e-6


def wrong_values(row: Setting) -> list[object]:
    """Values that the declaration forbids: of another type, and just outside each bound."""
    values = [None, {"a": 1}]
    if row.choices:
        values += [row.choices[0] + "x", "", 3]
    elif row.kind is str:
        values += [3, *(["", "  "] if row.needed else [])]
    elif row.kind is bool:
        values += ["yes", 2, ""]
    else:
        values += ["many", "nan", float("nan"), float("inf"), "-inf", True]
        values += [bound - step(row) for bound in (row.low,) if isfinite(bound)]
        values += [bound + step(row) for bound in (row.high,) if isfinite(bound)]
        values += [bound for bound in (row.above, row.below) if isfinite(bound)]
    if row.is_list:
        first = row.default[0] if row.default else "a"
        values = [[value] for value in values if value != ""] + [None, 5]
        values += [[], [first, first]] if row.needed else []
    return values


def right_values(row: Setting) -> list[object]:
    """The default, and the bounds themselves."""
    values = list(row.choices) if row.choices else []
    if row.kind is bool:
        values = [True, False, "true", "0"]
    if row.kind in (int, float) and not row.choices:
        values += [bound for bound in (row.low, row.high) if isfinite(bound)]
        values += [row.above + step(row)] if isfinite(row.above) else []
        values += [row.below - step(row)] if isfinite(row.below) else []
    return [row.default, *((value,) if row.is_list else value for value in values)]


@pytest.mark.parametrize("key", EVERY)
def test_a_wrong_value_is_refused_with_the_setting_and_what_is_valid(key):
    row = EVERY[key]
    for value in wrong_values(row):
        with pytest.raises(ConfigError, match=re.escape(key)) as error:
            override(Config(), {key: value})
        message = str(error.value)
        if row.choices and isinstance(value, str):
            assert all(choice in message for choice in row.choices), value
        elif row.kind in (int, float) and isinstance(value, int | float) and value == value:
            bounds = [b for b in (row.low, row.high, row.above, row.below) if isfinite(b)]
            assert all(f"{bound:,}" in message for bound in bounds) or "expects" in message, value


@pytest.mark.parametrize("key", EVERY)
def test_a_right_value_is_accepted_up_to_the_bounds(key):
    row = EVERY[key]
    for value in right_values(row):
        companions = {name: v for name, v in FREE.items() if name != key}
        if key == "training.tasks":
            companions["training.task_weights"] = (1.0,) * len(value)
        if key == "training.task_weights":
            companions["training.tasks"] = EVERY["training.tasks"].choices[: len(value)]
        if key == "training.views" or value == "catalogue":
            companions["training.backbone"] = "tree-micro"
        if key == "decoding.weights":  # none, or one per part
            value = value * 3
        if key == "identifiers.quantizer" and value == "pq":
            companions["identifiers.strategy"] = "semantic"
        if key == "evaluation.ks":
            companions["decoding.top_k"] = max(value)
        if key in ("data.source", "embeddings.num_heads", "identifiers.num_shared"):
            companions |= {"embeddings.dim": 64, "identifiers.num_levels": 32}
        changed = override(Config(), companions | {key: value})
        kept = getattr(getattr(changed, key.split(".")[0]), key.split(".")[1])
        assert row.parse(value) == kept


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("identifiers.quantizer", "rq-keans", "Did you mean rq-kmeans"),
        ("training.head", "levle", "Did you mean level"),
        ("decoding.split", "x", "Choose one of: test, validation"),
        ("training.epochs", "-3", "Set it to a whole number, 1 or more"),
        ("training.batch_size", 0, "1 or more"),
        ("embeddings.max_epochs", 0, "1 or more"),
        ("embeddings.eval_every", 0, "1 or more"),
        ("embeddings.max_length", 0, "1 or more"),
        ("evaluation.confidence", 1.5, "above 0 and below 1"),
        ("evaluation.num_bootstrap", 0, "1 or more"),
        ("data.search_rate", "nan", "0 to 1"),
        ("data.min_events", 2, "3 or more"),
        ("data.source", "movielens", "Did you mean movielens-"),
        ("data.query_families", "categroy", "Did you mean category"),
        ("training.tasks", "nrip,nspi", "Did you mean nsqp or nsip"),
        ("training.tasks", "", "Name one or more, each once"),
        ("training.tasks", "nrip,nrip", "each once"),
        ("training.task_weights", "1,0", "above 0"),
        ("training.precision", "fp16", "fp32, bf16, auto"),
        ("data.unseen_rate", 1.0, "below 1"),
        ("training.dropout", 1.0, "below 1"),
        ("identifiers.codebook_size", 65537, "0 to 65,536"),
        ("identifiers.num_levels", 33, "0 to 32"),
        ("training.backbone", " ", "may not be empty"),
    ],
)
def test_the_message_of_a_wrong_value(key, value, expected):
    with pytest.raises(ConfigError, match=expected):
        override(preset(), {key: value})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"training.tasks": "nrip"}, "1 tasks need as many positive weights"),
        ({"training.task_weights": "1"}, "3 tasks need as many positive weights"),
        ({"training.stream": "true"}, r"streams of tokens are gone.*tree-mini"),
        ({"training.lora_rank": "4"}, "there are no weights to adapt"),
        (
            {"training.backbone": "t5-micro", "training.views": "both"},
            "training.views: both needs a tree over events, not t5-micro",
        ),
        (
            {"training.backbone": "t5-micro", "training.head": "catalogue"},
            "training.head: catalogue needs a tree over events, not t5-micro",
        ),
        (TREE | {"training.tasks": "nrip,nsqp"}, "cannot learn nsqp.*Choose from nrip, nsip, adh"),
        (TREE | {"training.head": "vocabulary"}, "training.head: has no meaning for tree-mini"),
        (TREE | {"training.warm_embeddings": True}, "warm_embeddings: has no meaning"),
        (TREE | {"training.prompts": False}, "prompts: has no meaning"),
        (TREE | {"training.label_smoothing": 0.1}, "label_smoothing: has no meaning"),
        (TREE | {"training.lora_rank": 4}, "there are no weights to adapt"),
        ({"training.backbone": "tree-mirco"}, "Did you mean tree-micro"),
        ({"training.backbone": "t5-mirco"}, "Did you mean t5-micro"),
        ({"training.tracker": "tensorbord"}, "Did you mean tensorboard"),
        ({"embeddings.encoder": "minilmm"}, "Did you mean minilm"),
        ({"training.pseudo_queries": "statistcs"}, "Did you mean statistics"),
        ({"embeddings.dim": 63}, "cannot be divided among 2 heads"),
        ({"identifiers.num_shared": 4}, "Set it to 0 to 3"),
        ({"identifiers.num_levels": 0, "identifiers.num_shared": 32}, "Set it to 0 to 31"),
        ({"identifiers.quantizer": "pq"}, r"dual \+ pq is no valid pair.*semantic \+ pq"),
        (
            {"identifiers.strategy": "multitask", "embeddings.joint": "none"},
            "embeddings.joint=adapter",
        ),
        ({"training.backbone": "tree-mini", "training.prompts": False}, "training.prompts: has no"),
        ({"evaluation.ks": "5,50"}, "50 is deeper than the 20 items"),
        ({"data.num_events": 14_999}, "Set it to 15000 to 562500"),
        ({"data.num_events": 562_501}, "Set it to 15000 to 562500"),
    ],
)
def test_settings_that_do_not_fit_each_other(changes, expected):
    with pytest.raises(ConfigError, match=expected):
        override(preset(), changes)


def test_a_tree_may_leave_out_behaviours_and_let_the_catalogue_compete():
    changes = {"head": "catalogue", "item_vectors": True, "behaviour_tokens": False}
    made = override(preset(), TREE | {f"training.{name}": v for name, v in changes.items()})
    assert {name: getattr(made.training, name) for name in changes} == changes


def test_settings_that_depend_on_each_other_may_come_in_any_order():
    changes = {
        "training.tasks": "nrip",
        "training.task_weights": "2",
        "identifiers.num_shared": 5,
        "identifiers.num_levels": 6,
        "embeddings.num_heads": 3,
        "embeddings.dim": 96,
        "evaluation.ks": "50",
        "decoding.top_k": 50,
        "seed": 4,
    }
    backwards = dict(reversed(changes.items()))
    assert override(preset(), changes) == override(preset(), backwards)


def test_every_choice_has_its_code():
    """The declared choices are the keys of the tables that answer to them."""
    from gensar_lite.data.families import DESCRIPTIONS
    from gensar_lite.data.sources import SOURCES
    from gensar_lite.embeddings.collaborative import LOSSES
    from gensar_lite.identifiers.fitted import SPACES
    from gensar_lite.training.backbones.tree import HEADS
    from gensar_lite.training.sequences.tasks import TASK_NAMES

    choices = {key: set(row.choices) for key, row in EVERY.items()}
    assert choices["data.source"] == set(SOURCES)
    assert choices["data.query_families"] == set(DESCRIPTIONS)
    assert choices["embeddings.loss"] == set(LOSSES)
    assert choices["identifiers.strategy"] == {*SPACES, "random"}
    assert choices["training.head"] == {*HEADS, "vocabulary", "auto"}
    assert choices["training.tasks"] == set(TASK_NAMES)


def test_every_number_has_a_range_and_every_setting_a_meaning():
    for key, row in EVERY.items():
        assert row.meaning, key
        if row.kind in (int, float):
            assert isfinite(max(row.low, row.above)), key


def test_one_of_offers_the_nearest_name():
    assert one_of("x", "b", ("a", "b")) == "b"
    with pytest.raises(ConfigError, match=r"bench: there is no 'decodin'\. Did you mean decoding"):
        one_of("bench", "decodin", ("training", "decoding"))
    with pytest.raises(ConfigError, match=r"there is no 'q'\. Choose one of: a, b"):
        one_of("x", "q", ("a", "b"))


def valid_value(row: Setting) -> st.SearchStrategy:
    """Any value that the declaration allows."""
    least, most = max(row.low, row.above), min(row.high, row.below)
    most = most if isfinite(most) else None
    if row.choices:
        part = st.sampled_from(row.choices)
    elif row.kind is int:
        part = st.integers(least, most)
    elif row.kind is float:
        ends = {"exclude_min": isfinite(row.above), "exclude_max": isfinite(row.below)}
        part = st.floats(least, most, allow_nan=False, allow_infinity=False, **ends)
    elif row.kind is bool:
        part = st.booleans()
    else:  # a comma ends an entry of a list
        part = st.text("abz_.=|/-", min_size=1)
    if not row.is_list:
        return part
    return st.lists(part, min_size=int(row.needed), max_size=6, unique=row.needed).map(tuple)


@pytest.mark.parametrize("key", EVERY)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_changed_settings_prints_override_reads_back(key, data):
    stage, name = key.split(".")
    value = data.draw(valid_value(EVERY[key]))
    config = preset()
    section = dataclasses.replace(getattr(config, stage), **{name: value})
    changed = dataclasses.replace(config, **{stage: section})
    base, changes = changed_settings(changed)
    text = changes.get(key)
    if text is None:  # the preset's own value, or one that own files get
        return
    assert base == "tour"
    assert EVERY[key].parse(text) == value


def test_recorded_settings_of_earlier_versions():
    built = section_dict(preset("beauty").identifiers)
    for stage, constants in CONSTANTS.items():
        for name, value in constants.items():
            assert f"{stage}.{name}" not in EVERY
            added = ADDED.get(stage, {})
            assert as_of_today(stage, {"seed": 0, name: value}) == added | {"seed": 0}
            other = {"seed": 0, name: -1}
            assert as_of_today(stage, other) == added | other
    # what came later is as it was before it came, and what was recorded stays
    for stage, added in ADDED.items():
        assert {f"{stage}.{name}" for name in added} <= set(EVERY)
        own = dict.fromkeys(added, -1)
        assert as_of_today(stage, own) == own
    told = {"identifiers": built | {"weight_decay": 1e-5, "no_longer": 3}}
    assert recorded_config(told, "x").identifiers == preset("beauty").identifiers
    with pytest.raises(ArtifactError, match=r"artifacts/x .*identifiers\.quantizer.*Build it"):
        recorded_config({"identifiers": built | {"quantizer": "rq-old"}}, "x")


def test_the_table_shows_every_setting_in_100_columns():
    table = settings_table()
    assert max(map(len, table.splitlines())) <= 100
    for key, row in EVERY.items():
        name = key.split(".")[1]
        assert re.search(rf"^{name} ", table, re.M)
        assert row.valid.split(",")[0] in " ".join(table.split()), key
    assert "tiny 16" in settings_table("embeddings")
    assert "num_beams" not in settings_table("embeddings")


def test_the_rows_lead_back_to_defaults_and_presets():
    rows = json.loads(json.dumps(settings_rows()))
    assert {row["setting"]: row["default"] for row in rows} == flat(Config())
    for name, changes in {**PRESETS, "own files": OWN_FILES}.items():
        shown = {row["setting"]: row["presets"][name] for row in rows if name in row["presets"]}
        assert shown == json.loads(json.dumps(changes))


def test_the_command_prints_table_and_json_and_refuses_an_unknown_stage(capsys):
    assert main(["settings", "decoding"]) == 0
    assert capsys.readouterr().out.strip() == settings_table("decoding")
    assert main(["settings", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(EVERY)
    assert main(["settings", "decodin"]) == 1
    assert "Did you mean decoding? Choose one of: data, emb" in capsys.readouterr().err
    assert main(["data", "--set", "identifiers.quantizer=rq-keans"]) == 1
    assert "Did you mean rq-kmeans or rq-vae?" in capsys.readouterr().err


def uses() -> set[str]:
    """Settings that a preset, a lesson or a test of behaviour names.

    A test names one by its key, as an attribute of its section, or by its name as an argument or a
    key of a dict; a name that several sections have, in a file that speaks of the section.
    """
    names = [key.split(".")[1] for key in EVERY]
    named = {key for changes in [*PRESETS.values(), OWN_FILES] for key in changes}
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        named |= set(re.findall(r"\b[a-z]+\.[a-z_]+\b", path.read_text(encoding="utf-8")))
    for path in (ROOT / "tests").glob("*.py"):
        if path.name in ("test_config.py", "test_settings.py"):
            continue
        source = path.read_text(encoding="utf-8")
        words = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.keyword) and node.arg:
                words.add(node.arg)
            elif isinstance(node, ast.Dict):
                words |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                named |= set(re.findall(r"\b[a-z]+\.[a-z_]+\b", node.value))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                named.add(f"{node.value.attr}.{node.attr}")
        for key in EVERY:
            stage, _, name = key.partition(".")
            is_clear = names.count(name) == 1 or f"{stage.capitalize()}Config" in source
            if is_clear and name in words:
                named.add(key)
    return named


def test_every_setting_has_a_use():
    assert set(EVERY) - uses() == set()


def test_every_setting_is_read():
    package = ROOT / "gensar_lite"
    files = [path for path in package.rglob("*.py") if path.parent != package / "config"]
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    # a source's own tables are read by their names, in a loop
    names = {key.split(".")[1] for key in EVERY if key not in ("data.items", "data.events")}
    assert {name for name in names if not re.search(rf"\.{name}\b", source)} == set()


def test_hints_of_the_sections_are_plain():
    """A reader, and `declared`, see int, float, bool, str, Literal and tuples of them."""
    for stage in STAGES:
        for hint in typing.get_type_hints(type(getattr(Config(), stage))).values():
            parts = typing.get_args(hint) if typing.get_origin(hint) is tuple else (hint,)
            kinds = {p for p in parts if p is not Ellipsis and not typing.get_args(p)}
            assert kinds <= {int, float, bool, str}
