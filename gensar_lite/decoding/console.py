"""What ``gensar search`` and ``gensar recommend`` do: one request to a finished run, answered as a table or as JSON.

In: parsed words of the command line. Out: text. This file does not know how an answer is found.
"""

from __future__ import annotations

import argparse
import csv
import json

from transformers.utils.logging import disable_progress_bar

from gensar_lite.artifacts import Workspace
from gensar_lite.decoding.recommender import Answer, Recommender

COLUMNS = ("rank", "item", "title", "category", "score", "identifier")


def answer_request(ws: Workspace, words: argparse.Namespace) -> str:
    """The text to print for ``search`` or ``recommend``. Ids that are typed and printed are those of the user's own
    files where the run stands on such, row numbers where it does not or ``--rows`` asks for them. Raises what
    `Recommender` does."""
    disable_progress_bar()  # a bar of loaded weights is no answer
    recommender = Recommender.load(ws.folder("data").parent, words.rows)
    if words.user is None:
        history = [
            recommender.items.name(recommender.items.row(word)) for word in _item_ids(words.items)
        ]
    else:
        history = recommender.history_of(words.user)
    allowed = recommender.items_in(words.category) if words.category else None
    if words.command == "search":
        answers = recommender.search(words.query, history, words.k, allowed=allowed)
    else:
        answers = recommender.recommend(history, words.k, allowed=allowed)
    if words.json:
        asked = {
            "run": ws.run,
            "task": words.command,
            "query": getattr(words, "query", None),
            "history": history,
        }
        rows = [{"rank": rank, **answer._asdict()} for rank, answer in enumerate(answers, start=1)]
        return json.dumps(asked | {"answers": rows}, ensure_ascii=False, indent=1)
    return answer_table(answers)


def answer_table(answers: list[Answer]) -> str:
    """Answers in columns under their names; one line says so when there are none."""
    if not answers:
        return "no item is left to answer with"
    rows = [COLUMNS]
    for rank, a in enumerate(answers, start=1):
        codes = "-".join(map(str, a.identifier))
        rows.append(
            (str(rank), str(a.item_id), a.title[:60], a.category[-40:], f"{a.score:.2f}", codes)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _item_ids(words: str | None) -> list[str]:
    """Ids between commas, as a line of a csv file: one that holds a comma stands in quotes."""
    lines = (words or "").splitlines()
    cells = [cell for line in csv.reader(lines, skipinitialspace=True) for cell in line]
    return [cell.strip() for cell in cells if cell.strip()]
