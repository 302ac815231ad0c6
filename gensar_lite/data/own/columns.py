"""Which column of a user's file is which field: guessed from usual names, shown, overridable.

In: column names and ``table.field=column`` overrides. Out: field -> column, and findings where a
guess was not the only one. This file reads no rows.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError
from gensar_lite.data.report import MAX_CELL, Checks, Finding, show, some

# table -> field -> usual names of its column, the likelier first
FIELDS: dict[str, dict[str, list[str]]] = {
    table: {field: names.split() for field, names in fields.items()}
    for table, fields in tomllib.loads(
        Path(__file__).with_name("column_names.toml").read_text()
    ).items()
}
FIELDS["items"]["item_id"] = FIELDS["events"]["item_id"] + FIELDS["items"]["item_id"]
FIELDS["queries"]["query"] = FIELDS["events"]["query"] + FIELDS["queries"]["query"]
REQUIRED = {
    "items": ("item_id",),
    "events": ("user_id", "item_id"),
    "queries": ("query_id", "query"),
}
_SHOWN_NAMES = 7  # in a message
_MOST_WITHOUT_NAMES = 50  # a table of more columns whose names are numbers means them
_COMPARED = 200  # columns among which the nearest name is looked for
_RECBOLE = re.compile(r":(token|float)(_seq)?$")  # a column's kind, after its name
# a number, or a date: no column is called so
_VALUE = re.compile(r"\s*(-?\d+(\.\d+)?|\d{4}-\d\d-\d\d.{0,30})\s*")


def parse_overrides(texts: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """``("events.user_id=uid", ...)`` -> table -> field -> column, "" for a field that has none.
    Raises `ConfigError`."""
    overrides: dict[str, dict[str, str]] = {name: {} for name in FIELDS}
    for text in texts:
        left, equals, column = text.partition("=")
        table, _, field = left.strip().partition(".")
        if not equals or field not in FIELDS.get(table, {}):
            fields = ", ".join(f"{name}.{key}" for name in FIELDS for key in FIELDS[name])
            problem = f"{show(text)} is no table.field=column. Fields: {fields}."
            raise ConfigError(f"data.columns: {problem}")
        if field in REQUIRED[table] and not column.strip():
            example = f"{table}.{field}={FIELDS[table][field][0]}"
            raise ConfigError(f"data.columns: {table}.{field} needs a column. Name it: {example}.")
        overrides[table][field] = column.strip()
    return overrides


def usual(table: str, overrides: dict[str, str], others: int = 0) -> Callable[[str], bool]:
    """Whether a column's name may be one of the table's fields, so that it has to be read. Also
    the first few `others`: a file may be sorted by one."""
    names = {_plain(name) for field in FIELDS[table].values() for name in field}
    overriding = {*overrides.values(), *map(_without_kind, overrides.values())} - {""}
    early: set[str] = set()

    def is_wanted(column: str) -> bool:
        if _plain(column) in names or not overriding.isdisjoint((column, _without_kind(column))):
            return True
        if len(early) < others:
            early.add(column)
        return column in early

    return is_wanted


def is_header(table: str, cells: list[str]) -> bool:
    """Whether a first row is made of usual names: two of them, or the only one."""
    return sum(map(usual(table, {}), cells)) >= min(2, len(cells))


def choose_columns(
    table: str,
    columns: list[str],
    overrides: dict[str, str],
    needed: tuple[str, ...] = (),
    unfit: Collection[str] = (),
) -> tuple[dict[str, str], list[Finding]]:
    """Field -> column for every field that has one; a finding for each second candidate. `unfit`
    columns are taken only when an override names them. Raises `ArtifactError` when an override or a
    `needed` field has no column (naming the nearest), or one column is to be two fields."""
    needed = (*REQUIRED[table], *needed)
    checks = Checks(table, max_drop_rate=0)
    named = {field: _named(table, field, c, columns) for field, c in overrides.items() if c}
    for field in reversed(named):
        _refuse_taken(table, field, named[field], named)
    chosen = {}
    for field in FIELDS[table]:
        if field in overrides:
            chosen |= {field: named[field]} if field in named else {}
            continue
        taken = {c for other, c in named.items() if not _may_share(table, field, other)}
        candidates = [c for c in fitting_columns(table, field, columns) if c not in unfit]
        free = [c for c in candidates if c not in taken]
        if free:
            chosen[field] = free[0]
        elif candidates and field in needed:
            _refuse_taken(table, field, candidates[0], named)
        if len(free) > 1:
            words = {"free": ", ".join(map(show, free)), "chosen": show(free[0]), "field": field}
            words["setting"] = f"{table}.{field}={as_typed(free[1])}"
            checks.note("second-column", len(free), len(free), "columns", **words)
    for field in needed:
        if field not in chosen:
            raise ArtifactError(_missing(table, field, columns, needed))
    return chosen, checks.findings


def fitting_columns(table: str, field: str, columns: list[str]) -> list[str]:
    """The columns that have a usual name of the field, the likelier first."""
    names = FIELDS[table][field]
    plain = list(map(_plain, names))
    fitting = [column for column in columns if _plain(column) in plain]
    return sorted(fitting, key=lambda column: (plain.index(_plain(column)), column not in names))


def _may_share(table: str, one: str, other: str) -> bool:
    """Whether two fields may have one column: ids of artists or brands are often their names."""
    return table == "items" and {one, other} == {"item_id", "title"}


def _refuse_taken(table: str, field: str, column: str, named: dict[str, str]) -> None:
    """Raises `ArtifactError` when an override takes the column of `field` for another field."""
    for other, its_column in named.items():
        if its_column == column and other != field and not _may_share(table, field, other):
            raise ArtifactError(
                f"{table}: the column {show(column)} is taken for {other}, so it cannot be {field} "
                f"as well. Say which column is which: "
                f"data.columns={table}.{other}=...,{table}.{field}=..."
            )


def refuse_doubled(columns: list[str], table: str) -> None:
    """Raises `ArtifactError` when two columns have one name (those without one are not taken)."""
    first: dict[str, int] = {}
    for place, column in enumerate(columns, start=1):
        if column and first.setdefault(column, place) < place:
            then = _no_header(table, columns, REQUIRED[table]) or "Rename one."
            raise ArtifactError(
                f"{table}: two columns are called {show(column)} "
                f"(columns {first[column]} and {place}). {then}"
            )


def as_typed(column: str) -> str:
    """A column's name for an example of a setting: cut, control characters escaped."""
    return repr(column[:MAX_CELL])[1:-1]


def _without_kind(name: str) -> str:
    """The name without RecBole's kind of its column."""
    return _RECBOLE.sub("", name)


def _plain(name: str) -> str:
    """Lower-case letters and digits only: how a name is spelled does not matter."""
    return re.sub(r"[^a-z0-9]", "", _without_kind(name[:64]).lower())


def _named(table: str, field: str, column: str, columns: list[str]) -> str:
    """The column that an override names, with or without RecBole's kind."""
    if column in columns:
        return column
    for other in columns:
        if _without_kind(other) == column:
            return other
    near = difflib.get_close_matches(column, columns, n=1, cutoff=0.4)
    hint = f" Did you mean {show(near[0])}?" if near else ""
    problem = f"there is no column {show(column)} for {field}.{hint} Columns: {some(columns)}."
    raise ArtifactError(f"{table}: {problem}")


def _missing(table: str, field: str, columns: list[str], needed: tuple[str, ...]) -> str:
    """No column fits a field: the nearest one, and what to do."""
    names = FIELDS[table][field]
    every_name = {name for fields in FIELDS.values() for group in fields.values() for name in group}
    others = set(map(_plain, every_name)) - set(map(_plain, names))
    # a good name of another field is not near to this one's
    offered = {_plain(c): c for c in columns if _plain(c) not in others}
    compared = list(offered)[:_COMPARED]
    near = (difflib.get_close_matches(_plain(name), compared, n=1) for name in names)
    nearest = next((offered[match[0]] for match in near if match), "")
    example = nearest or next(iter(offered.values()), "COLUMN")
    hint = f"nearest: {show(nearest)}; " if nearest else ""
    order = ", or set data.order=file" if field == "time" else ""
    then = _no_header(table, columns, needed) or (
        f"Call it one of {', '.join(names[:_SHOWN_NAMES])}, or say which it is: "
        f"data.columns={table}.{field}={as_typed(example)}{order}."
    )
    return f"{table}: no column for {field} ({hint}columns: {some(columns)}). {then}"


def _no_header(table: str, columns: list[str], needed: tuple[str, ...]) -> str:
    """What to do when the columns have no names: the first row was taken for them, or none was."""
    if not 0 < len(columns) <= _MOST_WITHOUT_NAMES:
        return ""
    pairs = ",".join(f"{table}.{f}=column_{n}" for n, f in enumerate(needed[: len(columns)], 1))
    if columns[0] == "column_1":
        return f"Say what they are: --columns {pairs}."
    # names 0, 1, 2, ...: a table that was written with the numbers of its columns
    is_counted = columns == list(map(str, range(len(columns))))
    if is_counted or not any(_VALUE.fullmatch(name[:64]) for name in columns):
        return ""
    how = f"--set data.header=false --columns {pairs}"
    return f"The first row looks like data, not like names: {how}."
