"""What was wrong with somebody's tables and what was done about it: findings with counts, rows and an example.

In: a table, a mask of the rows that break a rule, words. Out: a `Finding`, the table without them, or a stop.
This file does not know the rules (rules.py, times.py, reading.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError, write_json

LEVELS = (
    "DROP",
    "WARN",
    "FIX",
)  # removed | kept, but look at it | normalised; the fourth, STOP, is an ArtifactError
MAX_ROWS, MAX_CELL, MAX_COLUMNS = 5, 40, 20


class Finding(NamedTuple):
    """One rule that some rows broke. `rows` are counted from 1, without the header, and are the first few only."""

    level: str  # one of LEVELS
    table: str  # items | events | queries
    what: str  # "have no time", read after "3 of 120 rows"
    count: int
    total: int
    rows: tuple[int, ...]
    first: str  # the first of them as it stands in the file, non-empty cells only
    then: str  # what was done, or what to do
    unit: str = "rows"  # what is counted: rows | lines | files

    @property
    def message(self) -> str:
        told = [
            text for text in (_place(self), f"first: {self.first}" if self.first else "") if text
        ]
        where = f" ({'; '.join(told)})" if told else ""
        return f"{self.table}: {self.count:,} of {self.total:,} {self.unit} {self.what}{where}. {self.then}"


class Report(NamedTuple):
    """Everything there is to say about a user's files; `save` and `load` keep it as ``report.json``."""

    files: dict[str, dict]  # table -> {"file": name, "rows": rows as read}
    columns: dict[str, dict[str, str]]  # table -> field -> column of the file
    unused: dict[str, list[str]]  # table -> columns that nothing was taken from
    findings: list[Finding]
    kept: dict[str, int]  # what came out: items, users, events, searches, queries

    def table(self) -> pd.DataFrame:
        """A row a finding, what was dropped first: ``level, table, count, of, unit, what, example, then``."""
        columns = ["level", "table", "count", "of", "unit", "what", "example", "then"]
        rows = [
            (f.level, f.table, f.count, f.total, f.unit, f.what, f.first, f.then)
            for f in self.ordered()
        ]
        return pd.DataFrame(rows, columns=columns)

    def ordered(self) -> list[Finding]:
        return sorted(self.findings, key=lambda finding: LEVELS.index(finding.level))

    def text(self) -> str:
        """The same for a terminal: columns as they were understood, then a line a finding, then what came out."""
        lines = []
        for name, chosen in self.columns.items():
            pairs = ", ".join(f"{field} = {show(column)}" for field, column in chosen.items())
            rest = f"; not used: {some(self.unused[name])}" if self.unused[name] else ""
            lines.append(
                f"{name}: {self.files[name]['file']!r}, {self.files[name]['rows']:,} rows; {pairs}{rest}"
            )
        lines += [f"{finding.level:<4} {finding.message}" for finding in self.ordered()]
        return "\n".join([*lines, self.kept_line()])

    def kept_line(self) -> str:
        return "kept: " + ", ".join(f"{count:,} {name}" for name, count in self.kept.items())

    def save(self, folder: Path) -> None:
        write_json(
            folder / "report.json",
            self._asdict() | {"findings": [f._asdict() for f in self.findings]},
        )

    @classmethod
    def load(cls, folder: Path) -> Report:
        stored = json.loads((folder / "report.json").read_text())
        stored["findings"] = [Finding(**f | {"rows": tuple(f["rows"])}) for f in stored["findings"]]
        return cls(**stored)


def show(name: object) -> str:
    """A stranger's word for a message: quoted, cut, control characters escaped."""
    text = str(name)
    return repr(text if len(text) <= MAX_CELL else text[:MAX_CELL] + "…")


def some(columns: Iterable[str]) -> str:
    """Names for a message: the first few of many."""
    columns = list(columns)
    rest = len(columns) - MAX_COLUMNS
    return ", ".join(map(show, columns[:MAX_COLUMNS])) + (f" and {rest:,} more" if rest > 0 else "")


def _place(finding: Finding) -> str:
    if not finding.rows:
        return ""
    listed = ", ".join(map(str, finding.rows)) + (
        ", ..." if finding.count > len(finding.rows) else ""
    )
    return f"{finding.unit if finding.count > 1 else finding.unit.removesuffix('s')} {listed}"


def find(
    level: str, name: str, table: pd.DataFrame, bad: np.ndarray, what: str, then: str
) -> list[Finding]:
    """A finding about the rows where `bad` (R,) holds; an empty list if there are none. The index numbers rows."""
    where = np.flatnonzero(bad)
    if not len(where):
        return []
    cells = {key: value for key, value in table.iloc[where[0]].items() if value != ""}
    told = [
        f"{key}: {show(value) if isinstance(value, str) else value}" for key, value in cells.items()
    ]
    first = "{" + ", ".join(told) + "}"
    rows = tuple(int(row) for row in table.index[where[:MAX_ROWS]])
    return [Finding(level, name, what, len(where), len(table), rows, first, then)]


def stop(name: str, table: pd.DataFrame, bad: np.ndarray, what: str, then: str) -> None:
    """Raises `ArtifactError` with the finding's message if `bad` (R,) holds anywhere."""
    for finding in find("STOP", name, table, bad, what, then):
        raise ArtifactError(finding.message)


def drop(
    name: str, table: pd.DataFrame, bad: np.ndarray, what: str, then: str, max_rate: float
) -> tuple[pd.DataFrame, list[Finding]]:
    """`table` without the rows where `bad` (R,) holds. More than a share of `max_rate` raises `ArtifactError`."""
    found = find("DROP", name, table, bad, what, then)
    for finding in found:
        stop_if_many(finding, max_rate)
    return table[~np.asarray(bad)], found


def stop_if_many(finding: Finding, max_rate: float) -> None:
    """Raises `ArtifactError` when a finding is about more than a share of `max_rate` of its table."""
    if finding.count > max_rate * finding.total:
        raise ArtifactError(
            f"{finding.message} (Up to {max_rate:.0%} would be dropped: data.max_drop_rate.)"
        )


def check_drops(name: str, rows: int, found: list[Finding], max_rate: float) -> None:
    """Many small losses are a large one: raises `ArtifactError` when all dropped rows of a table exceed the share."""
    dropped = [f for f in found if f.level == "DROP" and f.table == name]
    total = sum(f.count for f in dropped)
    if total > max_rate * rows:
        listed = "; ".join(f"{f.count:,} {f.what}" for f in dropped)
        raise ArtifactError(
            f"{name}: {total:,} of {rows:,} rows would be dropped ({listed}). Repair the file, or allow more than "
            f"{max_rate:.0%} with data.max_drop_rate."
        )
