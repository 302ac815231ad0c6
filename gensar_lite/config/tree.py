"""The tree of settings: presets, overrides from text and from Python, back to text, all as a table.

In: a preset's name and changes (from a notebook, papermill or ``--set a.b=c``). Out: a `Config` in
which every value is valid; lines for people. This file does not know what the settings mean.
"""

import dataclasses
import functools
import textwrap
import tomllib
from pathlib import Path

from gensar_lite.config.declare import ConfigError, Setting, declared, nearest, one_of
from gensar_lite.config.rules import check
from gensar_lite.config.sections import Config

STAGES = ("data", "embeddings", "identifiers", "training", "decoding", "evaluation")
# settings of earlier versions that became constants: runs that recorded these values still fit
CONSTANTS = {
    "identifiers": {"weight_decay": 1e-5},
    "training": {"compile": False, "stream": False},
    "evaluation": {"num_examples": 6},
}
# settings of earlier versions that meant something only where a `GONE` one was on
IDLE = {"training": ("max_stream_tokens", "batch_tokens")}
# what earlier versions could do and this one cannot: for whoever asks for it, or has built with it
GONE = {
    "training.stream": "streams of tokens are gone, trees over events took their place; train "
    "again, e.g. with training.backbone=tree-mini",
}
# settings that came later: runs that did not record them were built with these values
ADDED = {
    "training": {"views": "own", "max_history": 50, "min_steps": 0, "item_vectors": False},
    "decoding": {"channel": "none", "weights": []},
}

NAME_WIDTH, DEFAULT_WIDTH, LINE_WIDTH = 25, 17, 100  # of the table


def _read_presets() -> tuple[dict[str, object], dict[str, dict[str, object]]]:
    """What own files and each preset change, ``{"stage.name": value}``."""
    tables = tomllib.loads(Path(__file__).with_name("presets.toml").read_text(encoding="utf-8"))

    def dotted(table: dict) -> dict[str, object]:
        base = dotted(tables["bases"][table["base"]]) if "base" in table else {}
        own = {
            f"{stage}.{name}": tuple(value) if isinstance(value, list) else value
            for stage, section in table.items()
            if stage != "base"
            for name, value in section.items()
        }
        return base | own

    presets = {name: dotted(table) for name, table in tables["presets"].items()}
    return dotted(tables["own_files"]), presets


OWN_FILES, PRESETS = _read_presets()


def settings_of(stage: str) -> dict[str, Setting]:
    """The declarations of a stage's settings, ``{name: Setting}``, in order."""
    return declared(stage, type(getattr(Config(), stage)))


def preset(name: str = "tour") -> Config:
    """The settings called `name`. Raises `ConfigError` that lists the presets."""
    changes = PRESETS[one_of("preset", name, PRESETS)]
    return dataclasses.replace(override(Config(), changes), name=name)


def override(config: Config, changes: dict[str, object]) -> Config:
    """`config` with dotted `changes`, e.g. ``{"identifiers.num_shared": 1}``.

    Text is parsed to the setting's type (``"1e-3"``, ``"true"``, ``"5,10"``), so papermill
    parameters and ``--set`` take the same road. The bare key ``seed`` sets the seed of every stage
    that has one; of two changes of one setting the later wins. Raises `ConfigError` for an unknown
    key, a wrong value, or settings that do not fit each other once all changes are made.
    """
    config = overlay(config, changes)
    check(config)
    return config


def overlay(config: Config, changes: dict[str, object]) -> Config:
    """`override` that leaves open whether the settings fit each other: recorded ones come from
    stages that were built at different times."""
    changed: dict[str, dict[str, object]] = {}
    for key, value in changes.items():
        for row in _places(key):
            stage, _, name = row.key.partition(".")
            changed.setdefault(stage, {})[name] = row.parse(value)
    # a section that nothing changes stays the same object
    sections = {
        stage: dataclasses.replace(getattr(config, stage), **values)
        for stage, values in changed.items()
    }
    return dataclasses.replace(config, **sections)


def for_own_files(changes: dict[str, object]) -> dict[str, object]:
    """`changes` on top of `OWN_FILES` where they say ``data.source=files``: no preset knows it."""
    return OWN_FILES | changes if changes.get("data.source") == "files" else changes


def flat(config: Config) -> dict[str, object]:
    """Every setting as ``{"stage.name": value}``, in order."""
    return {
        f"{stage}.{name}": value
        for stage in STAGES
        for name, value in section_dict(getattr(config, stage)).items()
    }


def changed_settings(config: Config) -> tuple[str, dict[str, str]]:
    """The tree's preset (else ``tour``), and what differs from it, as ``--set`` wants it."""
    name = config.name if config.name in PRESETS else "tour"
    source = {"data.source": config.data.source}
    standard = flat(override(preset(name), for_own_files(source)))
    standard["data.source"] = preset(name).data.source  # the source itself is to be named
    return name, {
        key: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in flat(config).items()
        if value != standard[key]
    }


def section_dict(section: object) -> dict[str, object]:
    """One section as plain JSON-ready values (tuples become lists)."""
    values = dataclasses.asdict(section)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def as_of_today(stage: str, recorded: dict[str, object]) -> dict[str, object]:
    """The settings that a stage recorded, as this version would: without those that are
    `CONSTANTS` of the same value or `IDLE`, with those that were `ADDED` since."""
    constants, idle = CONSTANTS.get(stage, {}), IDLE.get(stage, ())
    kept = {k: v for k, v in recorded.items() if k not in constants or v != constants[k]}
    return ADDED.get(stage, {}) | {k: v for k, v in kept.items() if k not in idle}


def gone(stage: str, built: dict[str, object]) -> str | None:
    """Why this version cannot make what a stage was `built` with (`as_of_today`); None: it can."""
    return next((GONE[key] for key in (f"{stage}.{name}" for name in built) if key in GONE), None)


def own_files(config: Config) -> list[tuple[str, str]]:
    """A user's own tables that the settings name, ``[("items", path), ...]``."""
    tables = [(name, getattr(config.data, name)) for name in ("items", "events", "queries")]
    return [(name, path) for name, path in tables if path]


def settings_rows(stage: str | None = None) -> list[dict[str, object]]:
    """One row per setting of a stage, or of all. Raises `ConfigError` that lists the stages."""
    stages = STAGES if stage is None else (one_of("settings", stage, STAGES),)
    changes = {**PRESETS, "own files": OWN_FILES}
    rows = []
    for row in (row for name in stages for row in settings_of(name).values()):
        kind, key = row.kind.__name__, row.key
        presets = {name: settings[key] for name, settings in changes.items() if key in settings}
        about = {name: getattr(row, name) for name in ("default", "valid", "choices", "meaning")}
        of_type = f"list of {kind}" if row.is_list else kind
        rows.append({"setting": key, "type": of_type, **about, "presets": presets})
    return rows


def settings_table(stage: str | None = None) -> str:
    """The rows as text of at most 100 columns: name and default, beside them all the rest."""
    lines, section = [], ""
    fill = textwrap.TextWrapper(LINE_WIDTH, break_on_hyphens=False)
    fill.subsequent_indent = " " * (NAME_WIDTH + DEFAULT_WIDTH)
    for row in settings_rows(stage):
        title, _, name = row["setting"].partition(".")
        if title != section:
            section = title
            lines += ["", f"{title}: --set {title}.NAME=VALUE", ""]
        presets = ", ".join(f"{key} {as_text(value)}" for key, value in row["presets"].items())
        fill.initial_indent = f"{name:<{NAME_WIDTH}}{as_text(row['default']):<{DEFAULT_WIDTH - 1}} "
        for text in (row["meaning"], f"valid: {row['valid']}", presets and f"presets: {presets}"):
            lines += fill.wrap(text)
            fill.initial_indent = fill.subsequent_indent
    return "\n".join(lines[1:])


def as_text(value: object) -> str:
    """A value as ``--set`` takes it; what is empty as ``''``."""
    if isinstance(value, bool):
        return str(value).lower()
    return (",".join(map(str, value)) if isinstance(value, tuple) else str(value)) or "''"


@functools.cache
def _every() -> dict[str, Setting]:
    return {row.key: row for stage in STAGES for row in settings_of(stage).values()}


def _places(key: str) -> list[Setting]:
    """The settings that a key of `override` means. Raises `ConfigError` for an unknown key."""
    every = _every()
    if key in every:
        return [every[key]]
    if key in GONE:
        raise ConfigError(f"{key}: {GONE[key]}.")
    if key == "seed":
        return [row for row in every.values() if row.key.endswith(".seed")]
    stage = key.partition(".")[0]
    valid = ["seed", *every]
    listed = [name for name in valid if name.startswith(stage + ".")] if stage in STAGES else valid
    raise ConfigError(
        f"settings: there is no {key!r}.{nearest(key, valid)} Valid keys: {', '.join(listed)}."
    )
