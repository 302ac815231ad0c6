"""Which column of a user's file is which field: guessed from usual names, shown, and overridable.

In: column names and ``table.field=column`` overrides. Out: field -> column, and findings where a guess was not
the only one. This file reads no rows.
"""

from __future__ import annotations

import difflib
import re

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError
from gensar_lite.data.report import Finding, show

_ITEM = ("item_id", "item", "parent_asin", "asin", "movie_id", "product_id", "book_id", "track_id", "sku")
_QUERY = ("query", "query_text", "search_term", "search_query", "keyword", "keywords")

# usual names of each field, the likelier first; spelling as in user_id, userId, UserID, "user id"
FIELDS: dict[str, dict[str, tuple[str, ...]]] = {
    "items": {
        "item_id": (*_ITEM, "id"),
        "title": ("title", "name", "item_name", "product_title", "product_name"),
        "text": ("text", "description", "overview", "summary"),
        "brand": ("brand", "manufacturer", "maker", "store"),
        "category": ("category", "categories", "category_path", "genres", "genre"),
    },
    "events": {
        "user_id": ("user_id", "user", "uid", "reviewer_id", "customer_id", "customer", "visitor_id"),
        "item_id": _ITEM,
        "time": ("timestamp", "time", "ts", "unix_review_time", "datetime", "date", "created_at"),
        "query": _QUERY,
        "query_id": ("query_id", "qid"),
        "task": ("task", "event_type", "type"),
    },
    "queries": {"query_id": ("query_id", "qid", "id"), "query": (*_QUERY, "text")},
}
REQUIRED = {"items": ("item_id",), "events": ("user_id", "item_id"), "queries": ("query_id", "query")}


def parse_overrides(texts: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """``("events.user_id=uid", ...)`` -> table -> field -> column. Raises `ConfigError` that lists the fields."""
    found: dict[str, dict[str, str]] = {name: {} for name in FIELDS}
    for text in texts:
        left, equals, column = text.partition("=")
        table, _, field = left.strip().partition(".")
        if not equals or field not in FIELDS.get(table, {}):
            listed = ", ".join(f"{name}.{key}" for name, fields in FIELDS.items() for key in fields)
            raise ConfigError(f"data.columns: {show(text)} is no table.field=column. Fields: {listed}.")
        found[table][field] = column.strip()
    return found


def choose_columns(
    table: str, columns: list[str], overrides: dict[str, str], needed: tuple[str, ...] = ()
) -> tuple[dict[str, str], list[Finding]]:
    """Field -> column for every field that has one; a finding for each second candidate.

    Raises `ArtifactError` naming the nearest column when an override or a field that is `needed` has none.
    """
    chosen, found = {}, []
    for field, names in FIELDS[table].items():
        if field in overrides:
            chosen[field] = _named(table, field, overrides[field], columns)
            continue
        fits = sorted((c for c in columns if _plain(c) in _plains(names)), key=lambda c: _rank(c, names))
        if fits:
            chosen[field] = fits[0]
        if len(fits) > 1:
            found.append(_ambiguous(table, field, fits))
    for field in (*REQUIRED[table], *needed):
        if field not in chosen:
            raise ArtifactError(_missing(table, field, columns))
    return chosen, found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name[:64].lower())


def _plains(names: tuple[str, ...]) -> list[str]:
    return [_plain(name) for name in names]


def _rank(column: str, names: tuple[str, ...]) -> tuple[int, bool]:
    return _plains(names).index(_plain(column)), column not in names


def _named(table: str, field: str, column: str, columns: list[str]) -> str:
    if column in columns:
        return column
    near = difflib.get_close_matches(column, columns, n=1, cutoff=0.4)
    hint = f" Did you mean {show(near[0])}?" if near else ""
    listed = ", ".join(map(show, columns))
    raise ArtifactError(f"{table}: there is no column {show(column)} for {field}.{hint} Columns: {listed}.")


def _ambiguous(table: str, field: str, fits: list[str]) -> Finding:
    what = f"could be {field}: {', '.join(map(show, fits))}"
    then = f"{show(fits[0])} is taken. Another one: data.columns={table}.{field}={fits[1][:40]}"
    return Finding("WARN", table, what, len(fits), len(fits), (), "", then, "columns")


def _missing(table: str, field: str, columns: list[str]) -> str:
    names = FIELDS[table][field]
    by_plain = {_plain(column): column for column in columns}
    near = [by_plain[match] for name in names for match in difflib.get_close_matches(_plain(name), by_plain, n=1)]
    example = near[0] if near else columns[0]
    said = f"nearest: {show(near[0])}; " if near else ""
    order = ", or set data.order=file" if field == "time" else ""
    return (
        f"{table}: no column for {field} ({said}columns: {', '.join(map(show, columns))}). "
        f"Call it one of {', '.join(names)}, or say which it is: data.columns={table}.{field}={example[:40]}{order}."
    )
