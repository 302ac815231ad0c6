"""Small logs as their users would write them, and own files made of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gensar_lite.config import DataConfig
from gensar_lite.data import Tables
from gensar_lite.data.own.event_rules import check_events
from gensar_lite.data.own.files import load_files
from gensar_lite.data.own.rules import Rules
from gensar_lite.data.report import Finding

RULES = Rules(max_drop_rate=0.01, by_file=False, now=1_800_000_000)
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
    events: pd.DataFrame, queries: pd.Series | None = None
) -> tuple[pd.DataFrame, list[Finding]]:
    return check_events(events, pd.Index(map(str, range(50))), queries, RULES)


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
