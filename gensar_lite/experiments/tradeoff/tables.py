"""The tables of a trade-off study: means with intervals, groups of targets, paired differences.

In: a `Study`. Out: plain rows for json. An interval speaks of other seeds and other users; a search
has a second one, over query strings. This file draws nothing and concludes nothing.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.config import EvaluationConfig
from gensar_lite.evaluation.protocols import ALL_RELEVANT, FULL
from gensar_lite.evaluation.significance import (
    crossed_difference,
    crossed_interval,
    holm,
    randomisation,
    sign_flip,
)
from gensar_lite.experiments.tradeoff.results import METRICS, SAMPLED, Outcome, Study, values

HEADLINE = {"recommend": ("ndcg@10", "recall@20"), "search": ("ndcg@10",)}  # of differences
NUM_DRAWS = 5000  # of the randomisation test
MIN_GROUP = 30  # targets that a group has at least
HEAD, TORSO = 0.2, 0.6  # shares of train occurrences: the most frequent items make the head


class Draws(NamedTuple):
    """How intervals are drawn."""

    num_bootstrap: int
    confidence: float
    seed: int

    @staticmethod
    def of(settings: EvaluationConfig) -> "Draws":
        """As in an evaluation."""
        return Draws(settings.num_bootstrap, settings.confidence, settings.seed)


def metric_rows(study: Study, draws: Draws) -> list[dict]:
    """Every system, task, protocol and metric: mean over seeds and targets with its interval."""
    rows = []
    for (system, task), outcome in study.outcomes.items():
        users = study.targets[task]["user_id"].to_numpy()
        asked = outcome.sampled[0] >= 0
        for protocol in (FULL, SAMPLED[task], ALL_RELEVANT):
            clusters = users[asked] if protocol == SAMPLED[task] else users
            for metric in METRICS:
                try:
                    table = values(outcome, metric, protocol)
                except KeyError:  # one metric, of searches, is graded
                    continue
                interval = crossed_interval(table, clusters, *draws)
                rows.append(
                    {"system": system, "cell": outcome.cell, "group": outcome.group, "task": task}
                    | {"protocol": protocol, "metric": metric}
                    | interval._asdict()
                    | {"num_queries": table.shape[1], "seeds": list(outcome.seeds)}
                )
    return rows


def target_groups(targets: pd.DataFrame) -> dict[str, pd.Series]:
    """The group of every target by how frequent its item is, how long its history is, and, where
    there is a query, by its kind and whether train has its string."""
    frequency = targets["item_events"]
    # a target's item belongs to the head where items at least as frequent make `HEAD` of targets
    order = frequency.rank(ascending=False, method="min", pct=True)
    popularity = np.select(
        [frequency == 0, order <= HEAD, order <= TORSO], ["cold", "head", "torso"], "tail"
    )
    long = targets["history"] > targets["history"].median()
    groups = {
        "item": pd.Series(popularity, index=targets.index),
        "history": long.map({True: "long history", False: "short history"}),
    }
    for name in ("kind", "seen"):
        if (targets[name] != "").any() and targets[name].nunique() > 1:
            groups[name] = targets[name].replace({"True": "seen string", "False": "unseen string"})
    return groups


def group_rows(study: Study, draws: Draws, metric: str = "ndcg@10") -> list[dict]:
    """The mean of every system inside `target_groups`, full catalogue."""
    rows = []
    for (system, task), outcome in study.outcomes.items():
        targets = study.targets[task]
        table, users = values(outcome, metric), targets["user_id"].to_numpy()
        for column, names in target_groups(targets).items():
            for name, count in names.value_counts(sort=False).items():
                if count < MIN_GROUP:
                    continue
                mine = (names == name).to_numpy()
                interval = crossed_interval(table[:, mine], users[mine], *draws)
                labels = {"task": task, "column": column, "name": str(name), "system": system}
                rows.append(labels | interval._asdict() | {"num_queries": int(count)})
    return rows


def difference_rows(study: Study, others: dict[str, str], draws: Draws) -> list[dict]:
    """Every system less the one that `others` names for the task: `HEADLINE` metrics, full
    catalogue, p-values adjusted (Holm) over the rows of one task, metric and rival."""
    rows = []
    for task, other in others.items():
        if (other, task) not in study.outcomes:
            continue
        rival = study.outcomes[other, task]
        systems = [name for name in study.systems(task) if name != other]
        for metric in HEADLINE[task]:
            part = [
                {"task": task, "metric": metric, "system": name, "other": other}
                | _difference(study, study.outcomes[name, task], rival, metric, draws)
                for name in systems
            ]
            for row, p in zip(part, holm(np.array([row["p"] for row in part])), strict=True):
                rows.append(row | {"p_holm": round(float(p), 6)})
    return rows


def _difference(
    study: Study, first: Outcome, second: Outcome, metric: str, draws: Draws
) -> dict[str, object]:
    targets = study.targets[first.task]
    ours, theirs = values(first, metric), values(second, metric)
    users, means = targets["user_id"].to_numpy(), (ours.mean(axis=0), theirs.mean(axis=0))
    row: dict[str, object] = crossed_difference(ours, theirs, users, *draws)._asdict()
    row["relative"] = row["value"] / max(float(theirs.mean()), 1e-12)
    row["p"] = randomisation(*means, NUM_DRAWS, draws.seed, users)
    if first.task == "search":
        strings = targets["query_id"].to_numpy()
        over = crossed_difference(ours, theirs, strings, *draws)
        row |= {"low_strings": over.low, "high_strings": over.high}
    # seeds of the same number are no pair, but an exchange of all of them is a fair one
    if first.seeds == second.seeds and len(first.seeds) > 1:
        row["p_seeds"] = sign_flip(ours.mean(axis=1) - theirs.mean(axis=1))
    return row
