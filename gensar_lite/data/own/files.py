"""Source ``files``: somebody's own tables of items and events (and queries), checked and numbered.

In: the paths in `DataConfig`. Out: `Tables` with the ids people know beside ours, and the report of what was
fixed, dropped and warned about. This file only puts the steps in order: reading.py, columns.py, rules.py.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, DataConfig
from gensar_lite.data.families import semi_synthetic_search
from gensar_lite.data.filtering import core_mask, largest_core
from gensar_lite.data.own.columns import and_some, choose_columns, fits, parse_overrides, usual
from gensar_lite.data.own.event_rules import RECOMMEND_WORDS, SEARCH_WORDS, check_events
from gensar_lite.data.own.filetext import own_name, own_path
from gensar_lite.data.own.item_rules import check_items, check_queries
from gensar_lite.data.own.reading import options_of, read_table
from gensar_lite.data.own.rules import Rules
from gensar_lite.data.report import Finding, Report, find, show
from gensar_lite.data.tables import Tables
from gensar_lite.data.words import other_scripts

NO_SEARCH = (
    "Nothing can be learned about search; training and evaluation do recommendation alone. Bring queries (a column "
    "query, or query_id and a queries table), or set data.make_search=true for queries made from categories."
)

OTHER_SCRIPTS = 0.1  # of the letters of all titles, from which on another encoder is advised
LARGE_LOSS = 0.2  # of the users or items: what is left is another log


def load_files(settings: DataConfig) -> Tables:
    """Read, check, filter and number the tables that ``settings.items``, ``.events`` and ``.queries`` name.

    Raises `ConfigError` for settings that do not fit, `ArtifactError` for data that cannot be used.
    """
    _check(settings)
    raw, about, found = _read_all(settings)
    rules = Rules(settings.max_drop_rate, settings.order == "file", time.time())
    items, more = check_items(raw["items"], rules)
    found += more
    queries = None
    if "queries" in raw:
        queries, more = check_queries(raw["queries"], rules)
        queries, found = queries.set_index("query_id")["query"], found + more
    elif "query_id" in raw["events"] and "query" not in raw["events"]:
        raise ArtifactError(
            "events: there are query ids and no texts. Bring a table of queries (data.queries=queries.csv, with "
            "query_id and query), or a column query in the events."
        )
    events, more = check_events(
        raw["events"], pd.Index(items["item_id"]), queries, rules, raw.get("beside")
    )
    funnel = {
        "events read": len(raw["events"]),
        "events usable": len(events),
        "users": events["user"].nunique(),
    }
    items, events, lost = _core(items, events, settings, funnel)
    found += more + lost
    return _number(items, events, about | {"findings": found}, settings)


def _check(settings: DataConfig) -> None:
    for name in ("items", "events"):
        if not getattr(settings, name):
            raise ConfigError(
                f"data.{name}: the source files needs a table of {name}. Say --{name} {name}.csv."
            )


def _read_all(settings: DataConfig) -> tuple[dict[str, pd.DataFrame], dict, list[Finding]]:
    """Each table under its fields' names, what is told about the files, and findings."""
    overrides, options = parse_overrides(settings.columns), options_of(settings)
    raw, found = {}, []
    about: dict[str, dict] = {"files": {}, "columns": {}, "unused": {}}
    for name in ("items", "events", "queries"):
        if not getattr(settings, name):
            continue
        path = own_path(getattr(settings, name))
        by_file = name == "events" and settings.order == "file"
        wanted = usual(name, overrides[name])
        table, columns, more = read_table(
            path, name, options, and_some(wanted) if by_file else wanted
        )
        needed = ("time",) if name == "events" and not by_file else ()
        unfit = _no_tasks(table) if name == "events" else ()
        chosen, guessed = choose_columns(name, columns, overrides[name], needed, unfit)
        about["files"][name] = {"file": own_name(path), "rows": len(table)}
        about["columns"][name] = chosen
        about["unused"][name] = [column for column in columns if column not in chosen.values()]
        raw[name] = pd.DataFrame({field: table[column] for field, column in chosen.items()})
        if by_file:
            raw["beside"] = table.drop(
                columns=list(chosen.values())
            )  # the order may be that of one of them
        found += more + guessed
    return raw, about, found


def _no_tasks(table: pd.DataFrame) -> list[str]:
    """Columns called ``type`` and the like that hold no word for a task (ORD, CLICK): they are about something else."""
    named = [column for column in table.columns if fits("events", "task", column)]
    words = SEARCH_WORDS | RECOMMEND_WORDS
    return [
        column for column in named if not table[column].str.strip().str.lower().isin(words).any()
    ]


def _core(
    items: pd.DataFrame, events: pd.DataFrame, settings: DataConfig, funnel: dict
) -> tuple[pd.DataFrame, pd.DataFrame, list[Finding]]:
    """Users with enough time steps; with ``min_item_events`` also the k-core, whose other items leave the catalogue."""
    log = pd.factorize(events["user"])[0], events["time"].to_numpy(), events["item_id"].to_numpy()
    keep = core_mask(*log, settings.min_events, settings.min_item_events)
    if not keep.any():
        raise ArtifactError(_nobody(log, settings, funnel))
    found = []
    lost = sorted(set(events["user"]) - set(events["user"][keep]))
    if lost:
        then = "Lower data.min_item_events, or bring" if settings.min_item_events else "Bring"
        found += _large_loss("events", "users", len(lost), funnel["users"], f"{then} longer logs.")
        then = "Dropped: one step each is needed to train, validate and test (data.min_events)."
        what = f"have fewer than {settings.min_events} time steps"
        found.append(
            Finding(
                "DROP", "events", what, len(lost), funnel["users"], (), show(lost[0]), then, "users"
            )
        )
    if settings.min_item_events:
        stays = np.isin(np.arange(len(items)), events["item_id"][keep])
        what = f"have fewer than {settings.min_item_events} events (k-core)"
        found += find(
            "DROP", "items", items, ~stays, what, "Dropped from the catalogue with their events."
        )
        found += _large_loss(
            "items", "rows", int((~stays).sum()), len(items), "Lower data.min_item_events."
        )
        number = np.cumsum(stays) - 1
        events = events.assign(item_id=number[events["item_id"]])
        items = items[stays]
    return items, events[keep].reset_index(drop=True), found


def _large_loss(name: str, unit: str, count: int, total: int, then: str) -> list[Finding]:
    """A warning where so many are dropped that the figures are about somebody else."""
    if count < LARGE_LOSS * total:
        return []
    what = f"are dropped, {count / total:.0%} of them"
    then = f"All figures will be about the others. {then}"
    return [Finding("WARN", name, what, count, total, (), "", then, unit)]


def _nobody(log: tuple, settings: DataConfig, funnel: dict) -> str:
    said = ", ".join(f"{count:,} {name}" for name, count in funnel.items())
    best = largest_core(*log, settings.min_events)
    if settings.min_item_events and best:
        return (
            f"events: the {settings.min_item_events}-core is empty ({said}). The largest k that keeps something is "
            f"{best}: set data.min_item_events={best}."
        )
    lower = "Lower data.min_events, or bring" if settings.min_events > 3 else "Bring"
    return (
        f"events: no user has at least {settings.min_events} time steps ({said}). {lower} a longer log: training, "
        "validation and test need a step each."
    )


def _number(items: pd.DataFrame, events: pd.DataFrame, about: dict, settings: DataConfig) -> Tables:
    """Rows instead of ids. Users and queries are numbered by their sorted texts, so the order of rows is nothing."""
    user, users = pd.factorize(events["user"], sort=True)
    is_search = (events["task"] == "search").to_numpy()
    if is_search.all():
        raise ArtifactError(
            "events: every event has a query. The collaborative view needs recommendations: add events without one."
        )
    query, texts = pd.factorize(events["query"].where(is_search, None), sort=True)
    queries = pd.DataFrame(
        {"query_id": np.arange(len(texts)), "text": list(texts), "kind": "typed"}
    )
    relevance = pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=np.int64)
    log = pd.DataFrame(
        {
            "user_id": user,
            "time": events["time"],
            "task": events["task"],
            "item_id": events["item_id"],
        }
    )
    log["query_id"] = query
    found, search = about["findings"], "typed by users"
    if settings.make_search:
        log, queries, relevance = _made_search(items, log, settings)
        search = "semi-synthetic"
    elif not is_search.any():
        search = "none"
        found = [
            *found,
            Finding("WARN", "events", "have no query", len(log), len(log), (), "", NO_SEARCH),
        ]
    idle = ~np.isin(np.arange(len(items)), log["item_id"])
    found = [
        *found,
        *find(
            "WARN",
            "items",
            items,
            idle,
            "occur in no event",
            "They stay candidates of every ranking.",
        ),
    ]
    found = [*found, *_other_scripts(items)]
    kept = {"items": len(items), "users": len(users), "events": len(log), "queries": len(queries)}
    kept["searches"] = int((log["task"] == "search").sum())
    facts = {"source": "own files", "search": search, "files": about["files"]}
    numbered = items.rename(columns={"item_id": "source_id"}).reset_index(drop=True)
    numbered.insert(0, "item_id", np.arange(len(items)))
    people = pd.DataFrame({"user_id": np.arange(len(users)), "source_id": list(users)})
    report = Report(**about | {"findings": found}, kept=kept)
    return Tables(numbered, queries, log, relevance, facts, users=people, report=report)


def _other_scripts(items: pd.DataFrame) -> list[Finding]:
    """A warning where titles are largely in scripts that the default text encoder cannot read."""
    shares = other_scripts(items["title"])
    if sum(shares.values()) < OTHER_SCRIPTS:
        return []
    listed = ", ".join(f"{share:.0%} {script}" for script, share in shares.items() if share >= 0.01)
    titles = sum(bool(other_scripts([title])) for title in items["title"])
    then = "The default encoder reads English: set embeddings.encoder=multilingual (a download of 0.5 GB)."
    what = f"have a title in another script than the Latin one (of all letters: {listed})"
    return [Finding("WARN", "items", what, titles, len(items), (), "", then)]


def _made_search(items: pd.DataFrame, log: pd.DataFrame, settings: DataConfig) -> tuple:
    """Search twins with queries of ``data.query_families``, where a log has none of its own."""
    if (log["task"] == "search").any():
        raise ConfigError(
            "data.make_search: the events have queries of their own, and the two are not mixed. Leave it out."
        )
    made = semi_synthetic_search(items, log, settings)
    if made.queries.empty:
        raise ArtifactError(
            "items: no category to make queries from (data.make_search). Add a column category."
        )
    return made.events, made.queries, made.relevance
