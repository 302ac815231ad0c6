"""Figures that other papers report on Amazon Beauty, and ours in a table of its own beside them.

In: the dictionary of `analyse`. Out: two tables (page_tables.py). They come from other
preparations of the data: they are shown, and never compared.
"""

from gensar_lite.evaluation.report import short
from gensar_lite.experiments.tradeoff.lookup import metric_of
from gensar_lite.experiments.tradeoff.page_tables import make_table, text_cell, value_cell

PUBLISHED = (  # Amazon Beauty 2014, whole catalogue: system, Recall@10, NDCG@10, where
    ("SASRec (BCE)", 0.0605, 0.0318, "in TIGER's paper"),
    ("TIGER", 0.0648, 0.0384, "in its paper"),
    ("ActionPiece", 0.0775, 0.0424, "as published"),
    ("LC-Rec (Qwen)", 0.0791, 0.0438, "as published"),
    ("eSASRec", 0.0928, 0.0523, "as published"),
    ("MARIUS", 0.1002, 0.0546, "as published"),
    ("MARIUS, reproduced", 0.0817, 0.0440, "five seeds"),
)
MARK = "published, other preparation, not comparable"


def published_tables(result: dict) -> dict[str, dict]:
    """Figures of other papers, and ours, in a table each."""
    theirs = [
        (name, [text_cell(short(r), r), text_cell(short(n), n), text_cell(where)])
        for name, r, n, where in PUBLISHED
    ]
    parts = [metric_of(result, "recommend", metric) for metric in ("recall@10", "ndcg@10")]
    ours = [(name, [value_cell(part[name]) for part in parts]) for name in parts[0]]
    columns = ["Recall@10", "NDCG@10"]
    return {
        "theirs": make_table(
            "Published by others",
            MARK,
            [*columns, "where"],
            theirs,
        ),
        "ours": make_table("Ours", "this study, whole catalogue", columns, ours, result["base"]),
    }
