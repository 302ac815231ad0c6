"""Small logs as their users would write them, and own files made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from gensar_lite.config import DataConfig
from gensar_lite.data import Tables
from gensar_lite.data.own.event_rules import Known, check_events
from gensar_lite.data.own.files import load_files
from gensar_lite.data.report import Checks, Finding

NOW = 1_800_000_000
DAY = 86_400


def log(counts: dict[str, int]) -> pd.DataFrame:
    """Events of users who meet the items 0, 1, 2, ... one a day."""
    rows = [
        (u, str(day % 50), str(1_400_000_000 + DAY * day))
        for u, n in counts.items()
        for day in range(n)
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "time"])


def checked(
    events: pd.DataFrame, queries: pd.Series | None = None, items: pd.Index | None = None
) -> tuple[pd.DataFrame, list[Finding]]:
    """Clean events and findings; the catalogue is 0 to 49 unless `items` are given."""
    checks = Checks("events", max_drop_rate=0.01)
    items = pd.Index(map(str, range(50))) if items is None else items
    return check_events(events, Known(items, queries), checks, NOW), checks.findings


def checked_table(
    rule: Callable[[pd.DataFrame, Checks], pd.DataFrame], table: pd.DataFrame, name: str = "items"
) -> tuple[pd.DataFrame, list[Finding]]:
    """The same for the rules of items or queries."""
    checks = Checks(name, max_drop_rate=0.01)
    return rule(table, checks), checks.findings


def messages(findings: list[Finding], part: str) -> list[str]:
    return [f"{f.level} {f.message}" for f in findings if part in f.message]


def load(folder: Path, items: pd.DataFrame, events: pd.DataFrame, **changes) -> Tables:
    """Own files, written and read."""
    paths = {}
    for name, table in (("items", items), ("events", events)):
        paths[name] = str(folder / f"{name}.csv")
        table.to_csv(paths[name], index=False)
    return load_files(DataConfig(source="files", **paths | changes))


FILMS = pd.DataFrame(
    {"item_id": [str(i) for i in range(50)], "title": [f"film {i}" for i in range(50)]}
)
