"""Source ``files``: a user's own tables of items and events (and queries), checked and numbered.

In: the paths in `DataConfig`. Out: `Tables` with the ids people know beside ours, and the report of
what was fixed, dropped and warned about. This file only puts the steps in order.
"""

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import ConfigError, DataConfig
from gensar_lite.data.families import Search, semi_synthetic_search
from gensar_lite.data.own import columns as own_columns
from gensar_lite.data.own.event_rules import RECOMMEND_WORDS, SEARCH_WORDS, Known, check_events
from gensar_lite.data.own.filetext import own_name, own_path
from gensar_lite.data.own.reading import read_table
from gensar_lite.data.own.rules import check_items, check_queries
from gensar_lite.data.report import Checks, Report, show
from gensar_lite.data.sources import Tables
from gensar_lite.data.splitting import core_mask, largest_core
from gensar_lite.data.words import other_scripts

_OTHER_SCRIPTS = 0.1  # of the letters of all titles, from which on another encoder is advised
_LARGE_LOSS = 0.2  # of the users or items: what is left is another log
_EARLY_COLUMNS = 20  # that no field takes: a file in its own order may be sorted by one of them


def load_files(settings: DataConfig) -> Tables:
    """Read, check, filter and number the tables that ``settings.items, events, queries`` name.
    Raises `ConfigError` for settings that do not fit, `ArtifactError` for unusable data."""
    for name in ("items", "events"):
        if not getattr(settings, name):
            problem = f"the source files needs a table of {name}. Say --{name} {name}.csv."
            raise ConfigError(f"data.{name}: {problem}")
    # filled in on the way: every step adds its findings to one list, in the order of the steps
    report = Report(files={}, columns={}, unused={}, findings=[], kept={})
    raw, beside = _read_all(settings, report)
    tables = own_columns.FIELDS
    checks = {name: Checks(name, settings.max_drop_rate, report.findings) for name in tables}
    items = check_items(raw["items"], checks["items"])
    queries = None
    if "queries" in raw:
        queries = check_queries(raw["queries"], checks["queries"]).set_index("query_id")["query"]
    elif "query_id" in raw["events"] and "query" not in raw["events"]:
        raise ArtifactError(
            "events: there are query ids and no texts. Bring a table of queries "
            "(data.queries=queries.csv, with query_id and query), or a column query in the events."
        )
    known = Known(pd.Index(items["item_id"]), queries, beside)
    events = check_events(raw["events"], known, checks["events"])
    # users with enough time steps stay, and with min_item_events the k-core
    keep = _core(events, settings, len(raw["events"]))
    _warn_of_short(events, keep, settings, checks["events"])
    if settings.min_item_events:
        stays = np.isin(np.arange(len(items)), events["item_id"][keep])
        checks["items"].find("core", items, ~stays, least=settings.min_item_events)
        lost = int((~stays).sum())
        _warn_of_loss(checks["items"], "rows", lost, len(items), "Lower data.min_item_events.")
        number = np.cumsum(stays) - 1  # of each item among those that stay
        events = events.assign(item_id=number[events["item_id"]])
        items = items[stays]
    return _number((items, events[keep].reset_index(drop=True)), settings, checks, report)


def _read_all(
    settings: DataConfig, report: Report
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame | None]:
    """Each table with a column per field; for ``data.order=file`` the events' other columns, too.
    Fills in the report's files, columns and findings."""
    overrides = own_columns.parse_overrides(settings.columns)
    raw, beside = {}, None
    for name in own_columns.FIELDS:
        if not getattr(settings, name):
            continue
        path = own_path(getattr(settings, name))
        by_file = name == "events" and settings.order == "file"
        wanted = own_columns.usual(name, overrides[name], _EARLY_COLUMNS if by_file else 0)
        table, columns, findings = read_table(path, name, settings, wanted)
        needed = ("time",) if name == "events" and not by_file else ()
        unfit = _no_tasks(table) if name == "events" else ()
        chosen, doubts = own_columns.choose_columns(name, columns, overrides[name], needed, unfit)
        # one column may be two fields: an artist's name is often the id as well
        raw[name] = pd.DataFrame({field: table[column] for field, column in chosen.items()})
        if by_file:  # the order may be that of one of them
            beside = table.drop(columns=list(chosen.values()))
        report.files[name] = {"file": own_name(path), "rows": len(table)}
        report.columns[name] = chosen
        report.unused[name] = [column for column in columns if column not in chosen.values()]
        report.findings.extend(findings + doubts)
    return raw, beside


def _no_tasks(table: pd.DataFrame) -> list[str]:
    """Columns called ``type`` and the like without a word for a task: they mean something else."""
    columns = own_columns.fitting_columns("events", "task", list(table.columns))
    words = SEARCH_WORDS | RECOMMEND_WORDS
    return [c for c in columns if not table[c].str.strip().str.lower().isin(words).any()]


def _core(events: pd.DataFrame, settings: DataConfig, num_read: int) -> np.ndarray:
    """Which events stay (E,); raises `ArtifactError` with the counts on the way for none."""
    # user, time, item of each event (E,)
    log = pd.factorize(events["user"])[0], events["time"].to_numpy(), events["item_id"].to_numpy()
    core, steps = settings.min_item_events, settings.min_events
    keep = core_mask(*log, steps, core)
    if keep.any():
        return keep
    num_users = events["user"].nunique()
    counts = f"{num_read:,} events read, {len(events):,} events usable, {num_users:,} users"
    if core and (best := largest_core(*log, steps)):
        raise ArtifactError(
            f"events: the {core}-core is empty ({counts}). The largest k that keeps something is "
            f"{best}: set data.min_item_events={best}."
        )
    bring = "Lower data.min_events, or bring" if steps > 3 else "Bring"
    raise ArtifactError(
        f"events: no user has at least {steps} time steps ({counts}). {bring} a longer log: "
        "training, validation and test need a step each."
    )


def _warn_of_short(
    events: pd.DataFrame, keep: np.ndarray, settings: DataConfig, checks: Checks
) -> None:
    lost = sorted(set(events["user"]) - set(events["user"][keep]))
    if lost:
        bring = "Lower data.min_item_events, or bring" if settings.min_item_events else "Bring"
        counts = len(lost), events["user"].nunique()
        _warn_of_loss(checks, "users", *counts, f"{bring} longer logs.")
        checks.note("short", *counts, "users", first=show(lost[0]), steps=settings.min_events)


def _warn_of_loss(checks: Checks, unit: str, count: int, total: int, then: str) -> None:
    """Where so many are dropped, the figures are about somebody else."""
    if count >= _LARGE_LOSS * total:
        checks.note("loss", count, total, unit, share=count / total, then=then)


def _number(
    own: tuple[pd.DataFrame, pd.DataFrame], settings: DataConfig, checks: dict, report: Report
) -> Tables:
    """Rows instead of ids, of items and events. Users and queries are numbered by their sorted
    texts, so that the order of rows is nothing."""
    items, events = own
    is_search = events["task"] == "search"
    if is_search.all():
        raise ArtifactError(
            "events: every event has a query. The collaborative view needs recommendations: add "
            "events without one."
        )
    # (E,) numbers and the texts they stand for; -1 where an event has no query
    user, users = pd.factorize(events["user"], sort=True)
    query, texts = pd.factorize(events["query"].where(is_search, None), sort=True)
    queries = pd.DataFrame({"query_id": range(len(texts)), "text": list(texts), "kind": "typed"})
    relevance = pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=np.int64)
    log = events[["time", "task", "item_id"]].assign(query_id=query)
    log.insert(0, "user_id", user)
    search = "typed by users"  # where its texts come from, for the data report
    if settings.make_search:
        queries, log, relevance, _ = _search_twins(items, log, settings)
        search = "semi-synthetic"
    elif not is_search.any():
        search = "none"
        checks["events"].note("no-query", len(log), len(log), "rows")
    checks["items"].find("idle", items, ~np.isin(np.arange(len(items)), log["item_id"]))
    check_scripts(items, checks["items"])
    report.kept.update(items=len(items), users=len(users), events=len(log), queries=len(queries))
    report.kept["searches"] = int((log["task"] == "search").sum())
    items = items.rename(columns={"item_id": "source_id"}).reset_index(drop=True)
    items.insert(0, "item_id", range(len(items)))
    people = pd.DataFrame({"user_id": range(len(users)), "source_id": list(users)})
    facts = {"source": "own files", "search": search, "files": report.files}
    return Tables(items, queries, log, relevance, facts, users=people, report=report)


def check_scripts(items: pd.DataFrame, checks: Checks) -> None:
    """A warning where titles are largely in scripts that the default text encoder cannot read."""
    shares = other_scripts(items["title"])
    if sum(shares.values()) >= _OTHER_SCRIPTS:
        parts = (f"{share:.0%} {script}" for script, share in shares.items() if share >= 0.01)
        count = sum(bool(other_scripts([title])) for title in items["title"])
        checks.note("script", count, len(items), "rows", listed=", ".join(parts))


def _search_twins(items: pd.DataFrame, log: pd.DataFrame, settings: DataConfig) -> Search:
    """Purchases with queries of ``data.query_families``, where a log has none of its own."""
    if (log["task"] == "search").any():
        raise ConfigError(
            "data.make_search: the events have queries of their own, and the two are not mixed. "
            "Leave it out."
        )
    twins = semi_synthetic_search(items, log, settings)
    if twins.queries.empty:
        problem = "no category to make queries from (data.make_search). Add a column category."
        raise ArtifactError(f"items: {problem}")
    return twins
