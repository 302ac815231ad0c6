"""From runs to one number per query, and from those to means with intervals.

In: runs and the events they answer. Out: a table ``system, protocol, task, metric, event_id,
value`` with a row for every query, answered or not, so that intervals and paired tests need no
rerun; and summaries ``{system, task, protocol, metric, value, low, high, num_queries, seeds}``.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gensar_lite.config import EvaluationConfig
from gensar_lite.evaluation.runs import to_matrix
from gensar_lite.evaluation.uncertainty import bootstrap_interval, bootstrap_intervals
from gensar_lite.metrics import Qrels, relevance_metrics, target_metrics

SCORE_COLUMNS = ["system", "protocol", "task", "metric", "event_id", "value"]
SYSTEMS = (  # the order of tables
    *("joint", "joint+channel", "popularity", "category-popularity", "query-clicks", "bm25"),
    *("dense", "svd x likelihood", "sasrec x likelihood", "transitions", "item-knn"),
    *("svd", "sasrec-bpr", "sasrec-bce", "sasrec-ce", "oracle"),
)


def score_run(
    run: pd.DataFrame,
    targets: pd.DataFrame,
    system: str,
    protocol: str,
    ks: tuple[int, ...],
    depth: int,
    qrels: Qrels | None = None,
) -> pd.DataFrame:
    """Values per query of one run on `targets` (rows of the event table, one task).

    Without `qrels` the clicked item is the one answer; with them every relevant item of the query
    is, the clicked one a grade higher. `depth` is where the reciprocal rank looks no further.
    """
    event, item, query = (targets[name].to_numpy() for name in ("event_id", "item_id", "query_id"))
    ranked = to_matrix(run, event, depth)  # (B, depth)
    if qrels is None:
        values = target_metrics(ranked, item, ks)
    else:
        values = relevance_metrics(qrels, ranked, query, ks, clicked=item)
    table = pd.DataFrame(values).melt(var_name="metric")  # metric by metric, all queries of each
    names = {"system": system, "protocol": protocol}
    each = {name: np.tile(targets[name], len(values)) for name in ("task", "event_id")}
    return table.assign(**names, **each)[SCORE_COLUMNS]


def join_scores(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table of many `score_run` parts; names become categories, which is small on disk."""
    table = pd.concat(parts, ignore_index=True)
    return table.astype(dict.fromkeys(SCORE_COLUMNS[:4], "category"))


def summary(
    scores: pd.DataFrame, settings: EvaluationConfig, seeds: Sequence[int] = (0,)
) -> list[dict]:
    """Mean and bootstrap interval of every system, task, protocol and metric; `seeds` are the
    training seeds used. No interval is [0, 0] or [1, 1] (see uncertainty.py)."""
    draws = (settings.num_bootstrap, settings.confidence, settings.seed)
    rows = []
    for (task, protocol), part in scores.groupby(["task", "protocol"], observed=True, sort=True):
        # queries x (system, metric): one draw of queries serves all columns, so systems are paired
        keys = ["system", "metric"]
        table = part.pivot_table("value", "event_id", keys, observed=True, sort=False)
        intervals = bootstrap_intervals(table.to_numpy(), *draws)  # one per column
        for (system, metric), interval in zip(table.columns, intervals, strict=True):
            names = {"system": system, "task": task, "protocol": protocol, "metric": metric}
            counts = {"num_queries": len(table), "seeds": list(seeds)}
            rows.append(names | interval._asdict() | counts)
    return sorted(rows, key=lambda row: (row["task"], row["protocol"], system_order(row["system"])))


def by_group(
    scores: pd.DataFrame, groups: pd.Series, settings: EvaluationConfig, metric: str = "ndcg@10"
) -> list[dict]:
    """The same mean of full search inside groups of queries, ``{group, system, metric, value, low,
    high, num_queries}`` by group; `groups` maps event id to a name, e.g. the kind of query."""
    part = _chosen(scores, "search", metric, "full")
    part = part.assign(group=part["event_id"].map(groups))  # events without a group drop out
    draws = (settings.num_bootstrap, settings.confidence, settings.seed)
    rows = []
    for (group, system), values in part.groupby(["group", "system"], observed=True)["value"]:
        interval = bootstrap_interval(values.to_numpy(), *draws)
        names = {"group": str(group), "system": str(system), "metric": metric}
        rows.append(names | interval._asdict() | {"num_queries": len(values)})
    return sorted(rows, key=lambda row: (row["group"], system_order(row["system"])))


def values_of(
    scores: pd.DataFrame, system: str, task: str, metric: str, protocol: str = "full"
) -> np.ndarray:
    """One system's values by event id, (B,): two of these go into `paired_difference`."""
    part = _chosen(scores[scores["system"] == system], task, metric, protocol)
    return part.sort_values("event_id")["value"].to_numpy()


def _chosen(scores: pd.DataFrame, task: str, metric: str, protocol: str) -> pd.DataFrame:
    chosen = (scores["task"] == task) & (scores["metric"] == metric)
    return scores[chosen & (scores["protocol"] == protocol)]


def system_order(name: str) -> tuple[int, str]:
    """A sort key that puts known systems first, in the order of `SYSTEMS`."""
    return (SYSTEMS.index(name) if name in SYSTEMS else len(SYSTEMS), name)
