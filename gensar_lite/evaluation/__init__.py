"""Stage evaluation: who ranks how well, how sure that is, and a page that shows it.

Verb: `evaluate`, then `write_report`. In: every earlier stage. Out: one value per query, metrics
with intervals, a report; `write_trec` hands a run to other tools.
"""

from gensar_lite.evaluation.runs import write_trec
from gensar_lite.evaluation.scores import values_of
from gensar_lite.evaluation.stage import evaluate
from gensar_lite.evaluation.summary_page import write_report
from gensar_lite.evaluation.trec import write_trec_folder
from gensar_lite.evaluation.uncertainty import bootstrap_interval, paired_difference
from gensar_lite.metrics import make_qrels, rank_of_target, relevance_metrics, target_metrics

__all__ = [
    "bootstrap_interval",
    "evaluate",
    "make_qrels",
    "paired_difference",
    "rank_of_target",
    "relevance_metrics",
    "target_metrics",
    "values_of",
    "write_report",
    "write_trec",
    "write_trec_folder",
]
