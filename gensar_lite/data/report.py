"""What was wrong with a user's tables and what was done about it: counts, rows and an example.

In: a table, a mask of the rows that break a rule, the rule's name in ``findings.toml``. Out: a
`Finding`, the table without those rows, or a stop. When a rule is broken, own/ knows.
"""

import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError, write_json

# rule -> level, what is said, what to do
RULES: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("findings.toml").read_text())
LEVELS = ("DROP", "WARN", "FIX")  # the fourth, STOP, is an ArtifactError
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
        details = []
        if self.rows:
            unit = self.unit if self.count > 1 else self.unit.removesuffix("s")
            more = ", ..." if self.count > len(self.rows) else ""
            details.append(f"{unit} {', '.join(map(str, self.rows))}{more}")
        if self.first:
            details.append(f"first: {self.first}")
        where = f" ({'; '.join(details)})" if details else ""
        counts = f"{self.count:,} of {self.total:,} {self.unit}"
        return f"{self.table}: {counts} {self.what}{where}. {self.then}"


class Report(NamedTuple):
    """All there is to say about a user's files; `save` and `load` keep it as ``report.json``."""

    files: dict[str, dict]  # table -> {"file": name, "rows": rows as read}
    columns: dict[str, dict[str, str]]  # table -> field -> column of the file
    unused: dict[str, list[str]]  # table -> columns that nothing was taken from
    findings: list[Finding]
    kept: dict[str, int]  # what came out: items, users, events, searches, queries

    def ordered(self) -> list[Finding]:
        """The findings by level, as in `LEVELS`."""
        return sorted(self.findings, key=lambda finding: LEVELS.index(finding.level))

    def table(self) -> pd.DataFrame:
        """A row for each finding, what was dropped first."""
        names = {"total": "of", "first": "example"}
        table = pd.DataFrame(self.ordered(), columns=Finding._fields).rename(columns=names)
        return table[["level", "table", "count", "of", "unit", "what", "example", "then"]]

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
    def load(cls, folder: Path) -> Self:
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
    """Collects the findings about one table, `name`; several may share one list of `findings`.

    Of its rows a share of `max_drop_rate` may be dropped. A `rule` is a name of `RULES`, `words`
    fill in its braces; a mask `bad` is (R,) bool; a table's index numbers its rows from 1.
    """

    def __init__(self, name: str, max_drop_rate: float, findings: list[Finding] | None = None):
        self.name = name
        self.max_drop_rate = max_drop_rate
        self.findings = [] if findings is None else findings

    def note(self, rule: str, count: int = 1, total: int = 1, unit: str = "files",
             rows: Sequence[int] = (), first: str = "", **words: object) -> None:  # fmt: skip
        """Add a finding; of `rows` the first few are kept. Raises `ArtifactError` for a STOP."""
        level, what, then = (part.format(**words) for part in RULES[rule])
        few = tuple(map(int, rows[:MAX_ROWS]))
        finding = Finding(level, self.name, what, count, total, few, first, then, unit)
        if level == "STOP":
            raise ArtifactError(finding.message)
        self.findings.append(finding)

    def find(self, rule: str, table: pd.DataFrame, bad: np.ndarray, **words: object) -> int:
        """Add a finding about the `bad` rows, if there are any; returns how many there are."""
        places = np.flatnonzero(np.asarray(bad, dtype=bool))
        if len(places):
            row = table.iloc[places[0]].items()
            cells = [f"{k}: {show(v) if isinstance(v, str) else v}" for k, v in row if v != ""]
            first = "{" + ", ".join(cells) + "}"
            rows = table.index[places]
            self.note(rule, len(places), len(table), "rows", rows, first, **words)
        return len(places)

    def drop(
        self, rule: str, table: pd.DataFrame, bad: np.ndarray, **words: object
    ) -> pd.DataFrame:
        """`table` without the `bad` rows. Raises `ArtifactError` when they are too many."""
        if self.find(rule, table, bad, **words):
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
