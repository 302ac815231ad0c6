"""Every setting with its meaning, valid values, default and what presets change, for people.

In: a stage's name, or None for all. Out: a table as text, or rows for JSON.
This file only prints what the declarations say.
"""

import textwrap

from gensar_lite.config.declare import one_of
from gensar_lite.config.tree import OWN_FILES, PRESETS, STAGES, settings_of

NAME_WIDTH, DEFAULT_WIDTH, LINE_WIDTH = 25, 17, 100


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
