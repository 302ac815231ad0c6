"""What ``gensar search`` and ``gensar recommend`` do: one request to a finished run.

In: parsed words of the command line. Out: a table or JSON, as text.
"""

import argparse
import csv
import json

from transformers.utils.logging import disable_progress_bar

from gensar_lite.artifacts import Workspace
from gensar_lite.decoding.recommender import Answer, Recommender

COLUMNS = ("rank", "item", "title", "category", "score", "identifier")


def answer_request(ws: Workspace, words: argparse.Namespace) -> str:
    """The text to print for ``search`` or ``recommend``; raises what `Recommender` does.

    Ids that are typed and printed are those of the user's own files where the run stands on such,
    row numbers where it does not or ``--rows`` asks for them.
    """
    disable_progress_bar()  # a bar of loaded weights is no answer
    recommender = Recommender.load(ws.folder("data").parent, words.rows)
    ids = recommender.items
    if words.user is None:
        history = [ids.name(ids.row(word)) for word in _item_ids(words.items)]
    else:
        history = recommender.history_of(words.user)
    allowed = recommender.items_in(words.category) if words.category else None
    query = getattr(words, "query", None)
    if words.command == "search":
        answers = recommender.search(query, history, words.k, allowed=allowed)
    else:
        answers = recommender.recommend(history, words.k, allowed=allowed)
    if not words.json:
        return answer_table(answers)
    request = {"run": ws.run, "task": words.command, "query": query, "history": history}
    rows = [{"rank": rank, **answer._asdict()} for rank, answer in enumerate(answers, start=1)]
    return json.dumps(request | {"answers": rows}, ensure_ascii=False, indent=1)


def answer_table(answers: list[Answer]) -> str:
    """Answers in columns under their names; one line says so when there are none."""
    if not answers:
        return "no item is left to answer with"
    rows = [COLUMNS]
    for rank, a in enumerate(answers, start=1):
        codes = "-".join(map(str, a.identifier))
        score = f"{a.score:.2f}"
        rows.append((str(rank), str(a.item_id), a.title[:60], a.category[-40:], score, codes))
    # each column is as wide as its longest cell
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def _item_ids(words: str | None) -> list[str]:
    """Ids between commas, as a line of a csv file: one that holds a comma stands in quotes."""
    lines = csv.reader((words or "").splitlines(), skipinitialspace=True)
    return [cell.strip() for line in lines for cell in line if cell.strip()]
