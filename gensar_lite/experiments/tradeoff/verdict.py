"""What the study says, as sentences made from its numbers.

In: the tables of a study. Out: sentences, whatever the numbers are. This file measures nothing.
"""

from gensar_lite.drawing.palette import TASK_TITLE
from gensar_lite.experiments.tradeoff.lookup import is_sure
from gensar_lite.experiments.tradeoff.results import Study, values
from gensar_lite.training import harmonic_mean

AMBITION = 0.08  # lead over the best other joint system in both tasks at once
LEADS = {"search": "ndcg@10", "recommend": "recall@20"}  # what that lead is measured by


def chosen_on_validation(study: Study, groups: tuple[str, ...], task: str | None = None) -> str:
    """The cell of `groups` that is best on validation: for one task, or for both of those that do
    both. Raises `ValueError` where there is none."""
    scores = {
        name: facts["validation"][task] if task else harmonic_mean([*facts["validation"].values()])
        for name, facts in study.cells.items()
        if facts["group"] in groups
        and (task in facts.get("validation", {}) if task else len(facts.get("validation", {})) == 2)
    }
    return max(scores, key=scores.get)


def sentences(study: Study, base: str, tables: dict) -> list[str]:
    """The verdict: best strategies, the trunk, the specialists, the ambition, the protocol."""
    found = [_best_strategies(study), *_trunk(tables, base), *_specialists(tables, base)]
    found += _ambition(study, tables, base)
    area = tables["hypervolume"]
    found.append(
        f"All joint models together cover {area['value']:.3f} [{area['low']:.3f}, "
        f"{area['high']:.3f}] of the area that a model as good as both specialists would cover."
    )
    return [*found, _flips(tables)]


def _best_strategies(study: Study) -> str:
    per_task = {
        task: chosen_on_validation(study, ("strategy",), task) for task in ("search", "recommend")
    }
    joint = chosen_on_validation(study, ("strategy",))

    def figure(name: str, task: str) -> str:
        return f"{values(study.outcomes[name, task], 'ndcg@10').mean():.4f}"

    best = ", ".join(
        f"{name} for {TASK_TITLE[task].lower()} (test NDCG@10 {figure(name, task)})"
        for task, name in per_task.items()
    )
    return (
        f"Chosen on validation, the best identifier strategy is {best}, and {joint} for both "
        f"together ({figure(joint, 'search')} and {figure(joint, 'recommend')})."
    )


def _change(row: dict) -> str:
    """A difference in words."""
    ends = f"{row['value']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
    return f"{ends}, {row['relative']:+.1%}"


def _rows(tables: dict, name: str, metric: str = "ndcg@10", **wanted: str) -> list[dict]:
    return [
        row
        for row in tables[name]
        if row["metric"] == metric and all(row[key] == value for key, value in wanted.items())
    ]


def _trunk(tables: dict, base: str) -> list[str]:
    """What sharing codes costs or buys: the joint model against two identifiers without a trunk."""
    rows = _rows(tables, "against_joint", system="dual-0")
    if not rows or base == "dual-0":
        return []
    parts = []
    for row in rows:
        # the table has dual-0 less the joint model; the trunk's worth is the other way round
        ends = f"{-row['value']:+.4f} [{-row['high']:+.4f}, {-row['low']:+.4f}]"
        verb = "buys" if row["value"] < 0 else "costs"
        sure = "" if is_sure(row) else ", which may be chance"
        parts.append(f"{verb} {TASK_TITLE[row['task']].lower()} NDCG@10 {ends}{sure}")
    return [f"The shared trunk of {base} {' and '.join(parts)}, against none (dual-0)."]


def _specialists(tables: dict, base: str) -> list[str]:
    parts, lost = [], []
    for row in _rows(tables, "against_specialists", system=base):
        title = TASK_TITLE[row["task"]].lower()
        parts.append(f"{title} NDCG@10 {_change(row)} against {row['other']}")
        if row["high"] < 0:
            lost.append(title)
    if not parts:
        return []
    loses = f"loses {' and '.join(lost)}" if lost else "loses nothing significant"
    return [f"The joint model {base} {loses} at equal passes: {'; '.join(parts)}."]


def _ambition(study: Study, tables: dict, base: str) -> list[str]:
    """Our best joint system against the best other one, in both tasks at once."""
    rows = {
        task: _rows(tables, "against_rival", metric, system=tables["ours"], task=task)
        for task, metric in LEADS.items()
    }
    if not all(rows.values()):
        return []
    parts, reached = [], True
    for task, metric in LEADS.items():
        row = rows[task][0]
        parts.append(f"{TASK_TITLE[task].lower()} {metric} {_change(row)}")
        reached &= row["relative"] >= AMBITION and row["low"] > 0
    word = "is reached" if reached else "is not reached"
    return [
        f"{tables['ours']} against the best other joint system, {tables['rival']}: "
        f"{'; '.join(parts)}. A lead of {AMBITION:.0%} in both at once {word}."
    ]


def _flips(tables: dict) -> str:
    sure = [row for row in tables["flips"] if row["sure"]]
    if not sure:
        return (
            "No pair of systems is in one order over the whole catalogue and surely in the other "
            "among sampled candidates."
        )
    row = sure[0]
    full, sampled = row["full"]["value"], row["sampled"]["value"]
    better, worse = (row["first"], row["second"]) if full > 0 else (row["second"], row["first"])
    return (
        f"Sampled candidates turn {len(sure)} pairs of systems round for sure: over the whole "
        f"catalogue {better} leads {worse} in {TASK_TITLE[row['task']].lower()} by NDCG@10 "
        f"{abs(full):.4f}, among {row['protocol']} candidates {worse} leads by {abs(sampled):.4f}."
    )
