"""What the page says of the data: targets of each task and split, and the report of somebody's own
files.

In: a corpus, the data stage's folder. Out: plain rows for the page. Cells of the files are not
shown: a report is passed on, and what stands in somebody's files is theirs (``report.json`` has an
example of each finding).
"""

from __future__ import annotations

from pathlib import Path

from gensar_lite.artifacts import SPLITS, TASKS, Corpus
from gensar_lite.data.report import Report


def target_rows(corpus: Corpus) -> list[tuple]:
    """``task, train, validation, test``: how many events of each task and split; a task without any
    has no row."""
    counts = corpus.events.groupby(["task", "split"]).size()
    tasks = [task for task in TASKS if task in set(corpus.events["task"])]
    return [(task, *(f"{counts.get((task, split), 0):,}" for split in SPLITS)) for task in tasks]


def file_report(folder: Path) -> dict[str, list[tuple]] | None:
    """``columns``, ``findings`` and ``kept`` of own files as rows; None for another source."""
    if not (folder / "report.json").exists():
        return None
    report = Report.load(folder)
    columns = []  # of each table: which columns were read as what, and which were not used
    for table, chosen in report.columns.items():
        file = report.files[table]
        pairs = ", ".join(f"{field} = {column}" for field, column in chosen.items())
        unused = ", ".join(report.unused[table]) or "none"
        columns.append((table, file["file"], f"{file['rows']:,}", pairs, unused))
    findings = []  # counted and told what was done, never with the cells at fault
    for f in report.ordered():
        what = f"{f.count:,} of {f.total:,} {f.unit} {f.what}"
        findings.append((f.level, f.table, what, share(f.count, f.total), f.then))
    kept = [(name, f"{count:,}") for name, count in report.kept.items()]
    return {"columns": columns, "findings": findings, "kept": kept}


def share(count: int, total: int) -> str:
    """A share as ``12.3 %``; one that is not 0 is never rounded to it."""
    if not count or not total:
        return "0 %"
    text = f"{count / total:.1%}" if count / total >= 0.001 else "under 0.1%"
    return text.replace("%", " %")


def sasrec_read(statistics: dict) -> str:
    """What SASRec read of the train events, as the embeddings stage recorded it; "" where it
    recorded nothing."""
    read = statistics.get("sasrec_read")
    if not read:
        return ""
    parts = [f"{value:,} {name.replace('_', ' ')}" for name, value in read.items()]
    return f"SASRec was trained on whole histories: {', '.join(parts)}."
