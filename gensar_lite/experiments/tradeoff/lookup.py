"""What figures and tables of the study look up in an analysis.

In: the dictionary of `analyse`. Out: rows by system, changes relative to the specialists, places in
an order. This file draws nothing and measures nothing.
"""

from gensar_lite.evaluation.protocols import FULL

HEADLINE = "ndcg@10"
ORACLE = "oracle"  # knows the answers: it is no system to be compared


def is_sure(row: dict) -> bool:
    """Whether a difference's interval excludes 0."""
    return row["low"] > 0 or row["high"] < 0


def metric_of(
    result: dict, task: str, metric: str = HEADLINE, protocol: str = FULL
) -> dict[str, dict]:
    """Rows of one metric by system, in the order of the study."""
    wanted = (task, metric, protocol)
    return {
        row["system"]: row
        for row in result["rows"]
        if (row["task"], row["metric"], row["protocol"]) == wanted
    }


def differences_of(result: dict, table: str, task: str, metric: str = HEADLINE) -> dict[str, dict]:
    """Rows of one table of differences by system."""
    return {
        row["system"]: row
        for row in result[table]
        if (row["task"], row["metric"]) == (task, metric)
    }


def changes_of(result: dict, task: str) -> dict[str, dict]:
    """Of every joint system the difference to the task's specialist as a share of what that one
    has, interval over seeds and users included."""
    unit = metric_of(result, task)[result["specialists"][task]]["value"]
    rows = differences_of(result, "against_specialists", task)
    return {
        point["system"]: {
            key: rows[point["system"]][key] / max(unit, 1e-12) for key in ("value", "low", "high")
        }
        for point in result["points"]
        if point["system"] in rows
    }


def places_of(result: dict, task: str, protocol: str) -> dict[str, int]:
    """Place of every system but the oracle, 1 the best; equal ones in the order of the study."""
    rows = metric_of(result, task, protocol=protocol)
    names = sorted((n for n in rows if n != ORACLE), key=lambda name: -rows[name]["value"])
    return {name: place for place, name in enumerate(names, start=1)}


def group_of(result: dict) -> dict[str, str]:
    """The group of every system."""
    return {row["system"]: row["group"] for row in result["rows"]}


def notable(result: dict) -> list[str]:
    """Joint systems that a figure names: the joint model, no trunk, the best of each task, what
    validation chose, UniSAR."""
    points = {row["system"]: row for row in result["points"]}
    best = [max(points, key=lambda name: points[name][task]) for task in ("search", "recommend")]
    names = [result["base"], "dual-0", *best, result["ours"], result["rival"], "unisar"]
    return [name for name in dict.fromkeys(names) if name in points]
