"""What was wrong with a user's tables and what was done about it: counts, rows and an example.

In: a table, a mask of the rows that break a rule, words. Out: a `Finding`, the table without those
rows, or a stop. This file does not know the rules (own/rules.py, own/event_rules.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError, write_json

# removed; kept, but look at it; normalised. The fourth, STOP, is an ArtifactError
LEVELS = ("DROP", "WARN", "FIX")
MAX_ROWS = 5  # whose numbers a message lists
MAX_CELL = 40  # characters of a stranger's word
MAX_COLUMNS = 20  # names


class Finding(NamedTuple):
    """One rule that some rows broke."""

    level: str  # one of LEVELS
    table: str  # items | events | queries
    what: str  # "have no time", read after "3 of 120 rows"
    count: int
    total: int
    rows: tuple[int, ...]  # the first few, counted from 1 without the header
    first: str  # the first of them as it stands in the file, non-empty cells only
    then: str  # what was done, or what to do
    unit: str = "rows"  # what is counted: rows | lines | files ...

    @property
    def message(self) -> str:
        """``events: 3 of 120 rows have no time (rows 5, 77, 81; first: {...}). Add ...``"""
        details = [self._place()] if self.rows else []
        details += [f"first: {self.first}"] if self.first else []
        where = f" ({'; '.join(details)})" if details else ""
        counts = f"{self.count:,} of {self.total:,} {self.unit}"
        return f"{self.table}: {counts} {self.what}{where}. {self.then}"

    def _place(self) -> str:
        unit = self.unit if self.count > 1 else self.unit.removesuffix("s")
        more = ", ..." if self.count > len(self.rows) else ""
        return f"{unit} {', '.join(map(str, self.rows))}{more}"


class Report(NamedTuple):
    """All there is to say about a user's files; `save` and `load` keep it as ``report.json``."""

    files: dict[str, dict]  # table -> {"file": name, "rows": rows as read}
    columns: dict[str, dict[str, str]]  # table -> field -> column of the file
    unused: dict[str, list[str]]  # table -> columns that nothing was taken from
    findings: list[Finding]
    kept: dict[str, int]  # what came out: items, users, events, searches, queries

    def table(self) -> pd.DataFrame:
        """A row for each finding, what was dropped first."""
        columns = ["level", "table", "count", "of", "unit", "what", "example", "then"]
        rows = [
            (f.level, f.table, f.count, f.total, f.unit, f.what, f.first, f.then)
            for f in self.ordered()
        ]
        return pd.DataFrame(rows, columns=columns)

    def ordered(self) -> list[Finding]:
        """The findings by level, as in `LEVELS`."""
        return sorted(self.findings, key=lambda finding: LEVELS.index(finding.level))

    def text(self) -> str:
        """The same for a terminal: columns as understood, a line per finding, what came out."""
        lines = []
        for name, chosen in self.columns.items():
            pairs = ", ".join(f"{field} = {show(column)}" for field, column in chosen.items())
            rest = f"; not used: {some(self.unused[name])}" if self.unused[name] else ""
            file = self.files[name]
            lines.append(f"{name}: {file['file']!r}, {file['rows']:,} rows; {pairs}{rest}")
        lines += [f"{finding.level:<4} {finding.message}" for finding in self.ordered()]
        return "\n".join([*lines, self.kept_line()])

    def kept_line(self) -> str:
        """``kept: 320 items, 650 users, ...``"""
        return "kept: " + ", ".join(f"{count:,} {name}" for name, count in self.kept.items())

    def save(self, folder: Path) -> None:
        """Write ``report.json``."""
        findings = [finding._asdict() for finding in self.findings]
        write_json(folder / "report.json", self._asdict() | {"findings": findings})

    @classmethod
    def load(cls, folder: Path) -> Report:
        """The report that `save` wrote."""
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


class Checks:
    """Collects the findings about one table, `name`, while it is read and checked.

    Of its rows a share of `max_drop_rate` may be dropped. Several tables may share one list of
    `findings`. A mask `bad` is (R,) bool; a table's index numbers its rows from 1.
    """

    def __init__(self, name: str, max_drop_rate: float, findings: list[Finding] | None = None):
        self.name = name
        self.max_drop_rate = max_drop_rate
        self.findings = [] if findings is None else findings

    def note(self, level: str, what: str, then: str, count: int = 1, total: int = 1,
             unit: str = "files", rows: Sequence[int] = (), first: str = "") -> None:  # fmt: skip
        """Add a finding about the file, lines or users; of `rows` the first few are kept."""
        few = tuple(int(number) for number in rows[:MAX_ROWS])
        self.findings.append(Finding(level, self.name, what, count, total, few, first, then, unit))

    def find(
        self, level: str, table: pd.DataFrame, bad: np.ndarray, what: str, then: str
    ) -> Finding | None:
        """Add a finding about the `bad` rows and return it; None if there are none."""
        places = np.flatnonzero(np.asarray(bad, dtype=bool))
        if not len(places):
            return None
        row = table.iloc[places[0]].items()
        cells = [f"{k}: {show(v) if isinstance(v, str) else v}" for k, v in row if v != ""]
        first = "{" + ", ".join(cells) + "}"
        self.note(level, what, then, len(places), len(table), "rows", table.index[places], first)
        return self.findings[-1]

    def stop(self, table: pd.DataFrame, bad: np.ndarray, what: str, then: str) -> None:
        """Raises `ArtifactError` with the finding's message if there are `bad` rows."""
        if finding := self.find("STOP", table, bad, what, then):
            raise ArtifactError(finding.message)

    def drop(self, table: pd.DataFrame, bad: np.ndarray, what: str, then: str) -> pd.DataFrame:
        """`table` without the `bad` rows. Raises `ArtifactError` when they are too many."""
        if self.find("DROP", table, bad, what, then):
            self.stop_if_many()
        return table[~np.asarray(bad, dtype=bool)]

    def stop_if_many(self) -> None:
        """Raises `ArtifactError` when the newest finding would drop more than the share allowed."""
        finding = self.findings[-1]
        if finding.count > self.max_drop_rate * finding.total:
            raise ArtifactError(
                f"{finding.message} "
                f"(Up to {self.max_drop_rate:.0%} would be dropped: data.max_drop_rate.)"
            )

    def stop_if_many_together(self, rows: int) -> None:
        """Many small losses are a large one: the same for all rows dropped of the `rows` read."""
        # lines that were dropped before they were rows have another unit
        dropped = [f for f in self.findings if f[:2] == ("DROP", self.name) and f.unit == "rows"]
        total = sum(finding.count for finding in dropped)
        if total > self.max_drop_rate * rows:
            listed = "; ".join(f"{f.count:,} {f.what}" for f in dropped)
            raise ArtifactError(
                f"{self.name}: {total:,} of {rows:,} rows would be dropped ({listed}). Repair the "
                f"file, or allow more than {self.max_drop_rate:.0%} with data.max_drop_rate."
            )
