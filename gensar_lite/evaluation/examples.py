"""Example lists for people: what a user had done, what was asked, what the model answered.

In: a corpus, a run, identifiers. Out: plain dicts of text, hits and misses as they are drawn.
Without `with_texts` an item is only its id (that of a user's own files, else its number): texts of
real shops are not ours to publish. The page escapes what comes from here.
"""

from itertools import groupby

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus, Identifiers
from gensar_lite.data import Seen
from gensar_lite.drawing.palette import TASK_TITLE
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.evaluation.runs import to_matrix

LENGTH = 160  # characters of a title or id that are shown


def example_lists(
    corpus: Corpus,
    identifiers: Identifiers,
    run: pd.DataFrame,
    targets: pd.DataFrame,
    seen: Seen,
    num_examples: int,
    with_texts: bool,
    seed: int = 0,
    depth: int = 5,
) -> list[dict]:
    """`num_examples` of one task: ``{title, history, query, target, answers}``, each answer
    ``{label, codes, mark}``; the mark says that it was taken, or answers the query as well."""
    chosen = sample_targets(targets, num_examples, seed)
    ranked = to_matrix(run, chosen["event_id"].to_numpy(), depth)
    # pairs of query and item that the corpus calls relevant
    relevant = set(zip(corpus.relevance["query_id"], corpus.relevance["item_id"], strict=True))
    # the ids of own files where there are any, else row numbers
    ids = corpus.items["source_id" if "source_id" in corpus.items else "item_id"]
    users = np.arange(corpus.num_users) if corpus.user_ids is None else corpus.user_ids

    def label(item: int) -> str:
        text = corpus.items["title"].iloc[item] if with_texts else f"item {ids.iloc[item]}"
        return str(text)[:LENGTH]

    def answer(item: int, row) -> dict:
        codes = "-".join(map(str, identifiers.view(row.task)[item]))
        mark = "answers the query" if (row.query_id, item) in relevant else ""
        mark = "taken" if item == row.item_id else mark
        return {"label": label(item), "codes": codes, "mark": mark}

    examples = []
    for row, items in zip(chosen.itertuples(index=False), ranked, strict=True):
        query = None
        if row.task == "search":
            text = corpus.queries["text"].iloc[row.query_id]
            query = str(text) if with_texts else f"query {row.query_id}"
        # equal neighbours are taken for a purchase and its search twin, and listed once
        history = [item for item, _ in groupby(seen.of(row.event_id).tolist())][-depth:]
        example = {
            "title": f"{TASK_TITLE[row.task]} for user {str(users[row.user_id])[:LENGTH]}",
            "history": [label(item) for item in history],
            "query": query,
            "target": label(row.item_id),
            "answers": [answer(int(item), row) for item in items if item >= 0],
        }
        examples.append(example)
    return examples
