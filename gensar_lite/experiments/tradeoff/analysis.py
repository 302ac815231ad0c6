"""All that a trade-off study says, from its kept cells: one dictionary, the same to the byte each
time.

In: a study's folder, the settings of its run. Out: `analyse`: rows, groups, differences, frontier,
who gains, sentences. This file reads no artefact of a run.
"""

from collections.abc import Callable
from pathlib import Path

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import Config
from gensar_lite.evaluation.protocols import ALL_RELEVANT, FULL
from gensar_lite.experiments.tradeoff.frontier import (
    balance,
    covered,
    lines_of,
    plane_of,
    point_rows,
)
from gensar_lite.experiments.tradeoff.gainers import flip_rows, gain_rows, user_shares
from gensar_lite.experiments.tradeoff.results import SAMPLED, Outcome, Study, load_study
from gensar_lite.experiments.tradeoff.systems import (
    ONE_IDENTIFIER,
    base_name,
    study_config,
    systems_of,
)
from gensar_lite.experiments.tradeoff.tables import (
    Draws,
    difference_rows,
    group_rows,
    metric_rows,
)
from gensar_lite.experiments.tradeoff.verdict import chosen_on_validation, sentences

JOINT = ("strategy", "quantizer", "weights", "fusion", "ablation")  # groups that do both tasks
SPECIALISTS = {"recommend": ("recommend-only", "tiger"), "search": ("search-only", "dsi")}


def analyse(folder: Path, config: Config) -> dict[str, object]:
    """Everything, ready for json. Raises `ArtifactError` where the folder holds no cell, or none of
    a system that all others are compared with."""
    study, draws = load_study(folder, config), Draws.of(config.evaluation)
    base = base_name(config)
    _refuse_few(study, base)
    specialists = {
        task: next(iter(sorted(names, key=lambda name: -_validation(study, name, task))))
        for task, names in SPECIALISTS.items()
        if any((name, task) in study.outcomes for name in names)
    }
    ours, rival = _best_of_both(study)
    # the paper's model has a table of its own: it is compared with its own ablations
    whole, paper = study, _part(study, lambda outcome: outcome.group == "paper")
    study = _part(study, lambda outcome: outcome.group != "paper")
    both = [name for name in study.systems("search") if (name, "recommend") in study.outcomes]
    joint = [
        name for name in both if study.outcomes[name, "search"].group in JOINT or name == "unisar"
    ]
    result: dict[str, object] = {
        "preset": config.name,
        "budget": _budget(config),
        "base": base,
        "specialists": specialists,
        "rival": rival,
        "ours": ours,
        "protocols": [FULL, *SAMPLED.values(), ALL_RELEVANT],
        "cells": study.cells,
        "missing": _missing(study, config),
        "rows": metric_rows(whole, draws),
        "groups": group_rows(study, draws),
        "against_joint": difference_rows(study, dict.fromkeys(SAMPLED, base), draws),
        "against_specialists": difference_rows(study, specialists, draws),
        "against_rival": difference_rows(study, dict.fromkeys(SAMPLED, rival), draws),
        "ablations": difference_rows(paper, dict.fromkeys(SAMPLED, "t5"), draws),
    }
    plane = plane_of(study, joint, specialists, draws)
    lines = lines_of(joint, base)
    result |= {
        "points": point_rows(plane, draws),
        "lines": lines,
        "balance": {name: balance(plane, line) for name, line in lines.items()},
        "hypervolume": covered(plane, draws),
        "gains": gain_rows(study, base, specialists, draws),
        "users": user_shares(study, base, specialists),
        "flips": flip_rows(study, draws),
    }
    return result | {"verdict": sentences(study, base, result)}


def _refuse_few(study: Study, base: str) -> None:
    """Refuse a study without the joint model, a specialist of a task, or one identifier."""
    needed = [(base,), *SPECIALISTS.values(), ONE_IDENTIFIER]
    lacking = [" or ".join(names) for names in needed if not study.cells.keys() & set(names)]
    if lacking:
        raise ArtifactError(
            f"tradeoff: no report yet, for there is no cell of {'; of '.join(lacking)}. Run gensar "
            "study tradeoff to train what is missing."
        )


def _part(study: Study, chosen: Callable[[Outcome], bool]) -> Study:
    """The study of some outcomes alone."""
    outcomes = {key: outcome for key, outcome in study.outcomes.items() if chosen(outcome)}
    return study._replace(outcomes=outcomes)


def _validation(study: Study, name: str, task: str) -> float:
    """A cell's validation NDCG@10 of a task; below all where it has none."""
    return study.cells.get(name, {}).get("validation", {}).get(task, -1.0)


def _best_of_both(study: Study) -> tuple[str, str]:
    """On validation the best joint system with two identifiers, and the best with one or none."""
    two, one = {}, {}
    for name, facts in study.cells.items():
        single = facts["group"] == "strategy" and not name.startswith("dual-")
        (one if single or facts["group"] == "baseline" else two)[name] = facts
    found = (
        chosen_on_validation(study._replace(cells=cells), (*JOINT, "baseline"))
        for cells in (two, one)
        if cells
    )
    return tuple(found)


def _budget(config: Config) -> dict[str, object]:
    settings = study_config(config).training
    return {
        "epochs": settings.epochs,
        "min_steps": settings.min_steps,
        "batch_size": settings.batch_size,
        "backbone": settings.backbone,
    }


def _missing(study: Study, config: Config) -> list[str]:
    """Systems that the study has no cell of yet; it is told on the page."""
    return [system.name for system in systems_of(config) if system.name not in study.cells]
