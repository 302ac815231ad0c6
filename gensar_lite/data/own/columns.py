"""Which column of a user's file is which field: guessed from usual names, shown, and overridable.

In: column names and ``table.field=column`` overrides. Out: field -> column, and findings where a guess was not
the only one. This file reads no rows.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError
from gensar_lite.data.report import Finding, show, some

_ITEM = (
    "item_id", "item", "parent_asin", "asin", "movie_id", "product_id", "book_id", "track_id", "sku",
    "article_id", "video_id", "business_id", "song_id", "artist_id", "album_id", "recipe_id", "news_id", "game_id",
    "app_id", "anime_id", "show_id", "podcast_id", "course_id", "job_id", "hotel_id", "restaurant_id", "venue_id",
    "place_id", "poi_id", "beer_id", "document_id", "doc_id", "content_id", "goods_id", "offer_id", "listing_id",
    "stock_code", "isbn", "iid",
)  # fmt: skip
_QUERY = (
    "query", "query_text", "search_term", "search_query", "keyword", "keywords", "q", "search_text", "search_phrase",
    "search_keyword", "query_string", "search_string",
)  # fmt: skip

# usual names of each field, the likelier first; spelling as in user_id, userId, UserID, "user id", user_id:token
FIELDS: dict[str, dict[str, tuple[str, ...]]] = {
    "items": {
        "item_id": (*_ITEM, "id"),
        "title": (
            "title", "name", "item_name", "product_title", "product_name", "item_title", "movie_title", "book_title",
            "track_name", "song_name", "artist_name", "video_title", "recipe_name", "news_title", "game_title",
            "app_name", "prod_name", "headline",
        ),
        "text": ("text", "description", "overview", "summary", "abstract", "detail_desc", "synopsis", "plot"),
        "brand": ("brand", "manufacturer", "maker", "store", "brand_name"),
        "category": (
            "category", "categories", "category_path", "genres", "genre", "category_name", "product_category",
            "main_category", "product_type_name",
        ),
    },
    "events": {
        "user_id": (
            "user_id", "user", "uid", "reviewer_id", "customer_id", "customer", "visitor_id", "session_id", "member_id",
            "client_id", "household_key", "profile_id", "author_id",
        ),
        "item_id": _ITEM,
        "time": (
            "timestamp", "time", "ts", "unix_review_time", "datetime", "date", "created_at", "t_dat", "event_time",
            "event_date", "event_timestamp", "visit_time", "purchase_date", "order_date", "date_time",
            "rating_timestamp", "review_date", "review_time", "utc_time", "utc_timestamp", "unix_time", "played_at",
            "listened_at", "click_time", "transaction_date", "invoice_date", "date_added",
        ),
        "query": _QUERY,
        "query_id": ("query_id", "qid"),
        "task": ("task", "event_type", "type"),
    },
    "queries": {"query_id": ("query_id", "qid", "id"), "query": (*_QUERY, "text")},
}  # fmt: skip
REQUIRED = {
    "items": ("item_id",),
    "events": ("user_id", "item_id"),
    "queries": ("query_id", "query"),
}
_ALL_NAMES = [group for fields in FIELDS.values() for group in fields.values()]
_SHOWN_NAMES = 7  # in a message
_MOST_WITHOUT_NAMES = 50  # a table of more columns whose names are numbers means them
_COMPARED = 200  # columns among which the nearest name is looked for
_RECBOLE = re.compile(r":(token|float)(_seq)?$")  # a column's kind, after its name


def parse_overrides(texts: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """``("events.user_id=uid", ...)`` -> table -> field -> column, "" for a field that has none.

    Raises `ConfigError` that lists the fields, or names the field that cannot do without a column.
    """
    found: dict[str, dict[str, str]] = {name: {} for name in FIELDS}
    for text in texts:
        left, equals, column = text.partition("=")
        table, _, field = left.strip().partition(".")
        if not equals or field not in FIELDS.get(table, {}):
            listed = ", ".join(f"{name}.{key}" for name, fields in FIELDS.items() for key in fields)
            raise ConfigError(
                f"data.columns: {show(text)} is no table.field=column. Fields: {listed}."
            )
        if field in REQUIRED[table] and not column.strip():
            example = f"{table}.{field}={FIELDS[table][field][0]}"
            raise ConfigError(f"data.columns: {table}.{field} needs a column. Name it: {example}.")
        found[table][field] = column.strip()
    return found


def usual(table: str, overrides: dict[str, str]) -> Callable[[str], bool]:
    """Whether a column's name may be one of the table's fields: only such columns need to be read."""
    names = {_plain(name) for field in FIELDS[table].values() for name in field}
    named = {_bare(column) for column in overrides.values() if column}
    return lambda column: (
        _plain(column) in names or _bare(column) in named or column in overrides.values()
    )


def fits(table: str, field: str, column: str) -> bool:
    """Whether the column's name is a usual one of the field."""
    return _plain(column) in map(_plain, FIELDS[table][field])


def and_some(wanted: Callable[[str], bool], most: int = 20) -> Callable[[str], bool]:
    """The wanted columns and the first few others: a file may be sorted by one of them."""
    others: set[str] = set()

    def wanted_or_early(column: str) -> bool:
        if not wanted(column) and len(others) < most:
            others.add(column)
        return wanted(column) or column in others

    return wanted_or_early


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
    """Field -> column for every field that has one; a finding for each second candidate.

    Columns that are `unfit` are taken only when an override names them; one that an override takes
    is guessed for no other field. Raises `ArtifactError` naming the nearest column when an override
    or a field that is `needed` has none, and when one column is to be two fields.
    """
    named = {field: _named(table, field, c, columns) for field, c in overrides.items() if c}
    for field in reversed(named):
        _refuse_taken(table, field, named[field], named)
    chosen, found = {}, []
    for field in FIELDS[table]:
        if field in overrides:
            chosen |= {field: named[field]} if field in named else {}
            continue
        taken = {c for other, c in named.items() if not _may_share(table, field, other)}
        candidates = [c for c in _candidates(table, field, columns) if c not in unfit]
        free = [c for c in candidates if c not in taken]
        if free:
            chosen[field] = free[0]
        elif candidates and field in (*REQUIRED[table], *needed):
            _refuse_taken(table, field, candidates[0], named)
        if len(free) > 1:
            found.append(_ambiguous(table, field, free))
    for field in (*REQUIRED[table], *needed):
        if field not in chosen:
            raise ArtifactError(_missing(table, field, columns, needed))
    return chosen, found


def _candidates(table: str, field: str, columns: list[str]) -> list[str]:
    """The columns that have a usual name of the field, the likelier first."""
    names = FIELDS[table][field]
    places = {_plain(name): place for place, name in reversed(list(enumerate(names)))}
    fitting = [c for c in columns if _plain(c) in places]
    return sorted(fitting, key=lambda c: (places[_plain(c)], c not in names))


def _may_share(table: str, one: str, other: str) -> bool:
    """Whether two fields may have one column: the ids of artists or brands are often their names."""
    return table == "items" and {one, other} == {"item_id", "title"}


def _refuse_taken(table: str, field: str, column: str, named: dict[str, str]) -> None:
    """Raises `ArtifactError` when an override takes the column of `field` for another field."""
    for other, theirs in named.items():
        if theirs == column and other != field and not _may_share(table, field, other):
            raise ArtifactError(
                f"{table}: the column {show(column)} is taken for {other}, so it cannot be {field} as well. "
                f"Say which column is which: data.columns={table}.{other}=...,{table}.{field}=..."
            )


def refuse_doubled(columns: list[str], table: str) -> None:
    """Raises `ArtifactError` when two columns have one name (columns without a name are not taken anyway)."""
    first: dict[str, int] = {}
    for place, column in enumerate(columns, start=1):
        if column and first.setdefault(column, place) < place:
            then = _no_header(table, columns, ()) or "Rename one."
            raise ArtifactError(
                f"{table}: two columns are called {show(column)} (columns {first[column]} and {place}). {then}"
            )


def _bare(name: str) -> str:
    """The name without RecBole's kind of its column."""
    return _RECBOLE.sub("", name)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _bare(name[:64]).lower())


def _named(table: str, field: str, column: str, columns: list[str]) -> str:
    if column in columns:
        return column
    for other in columns:
        if _bare(other) == column:
            return other
    near = difflib.get_close_matches(column, columns, n=1, cutoff=0.4)
    hint = f" Did you mean {show(near[0])}?" if near else ""
    raise ArtifactError(
        f"{table}: there is no column {show(column)} for {field}.{hint} Columns: {some(columns)}."
    )


def _ambiguous(table: str, field: str, fits: list[str]) -> Finding:
    what = f"could be {field}: {', '.join(map(show, fits))}"
    then = f"{show(fits[0])} is taken. Another one: data.columns={table}.{field}={fits[1][:40]}"
    return Finding("WARN", table, what, len(fits), len(fits), (), "", then, "columns")


def _missing(table: str, field: str, columns: list[str], needed: tuple[str, ...]) -> str:
    names = FIELDS[table][field]
    others = {_plain(name) for group in _ALL_NAMES for name in group} - set(map(_plain, names))
    by_plain = {_plain(c): c for c in columns}
    offered = [plain for plain in by_plain if plain not in others][
        :_COMPARED
    ]  # a good name of another field is none
    near = [
        by_plain[m] for name in names for m in difflib.get_close_matches(_plain(name), offered, n=1)
    ]
    example = (near or [by_plain[plain] for plain in offered] or ["COLUMN"])[0]
    nearest = f"nearest: {show(near[0])}; " if near else ""
    order = ", or set data.order=file" if field == "time" else ""
    then = _no_header(table, columns, needed) or (
        f"Call it one of {', '.join(names[:_SHOWN_NAMES])}, or say which it is: "
        f"data.columns={table}.{field}={example[:40]}{order}."
    )
    return f"{table}: no column for {field} ({nearest}columns: {some(columns)}). {then}"


def _no_header(table: str, columns: list[str], needed: tuple[str, ...]) -> str:
    """What to do when the columns have no names: a first row of data was taken for them, or none was."""
    if not 0 < len(columns) <= _MOST_WITHOUT_NAMES:
        return ""
    numbered = columns[0] == "column_1"
    counted = columns == [
        str(place) for place in range(len(columns))
    ]  # an index that was written as names
    if not numbered and (counted or not any(map(_is_value, columns))):
        return ""
    fields = zip((*REQUIRED[table], *needed), range(1, len(columns) + 1), strict=False)
    pairs = ",".join(f"{table}.{field}=column_{place}" for field, place in fields)
    if numbered:
        return f"Say what they are: --columns {pairs}."
    return (
        f"The first row looks like data, not like names: --set data.header=false --columns {pairs}."
    )


def _is_value(name: str) -> bool:
    """A number, or a date: no column is called so."""
    return bool(re.fullmatch(r"\s*(-?\d+(\.\d+)?|\d{4}-\d\d-\d\d.{0,30})\s*", name[:64]))
