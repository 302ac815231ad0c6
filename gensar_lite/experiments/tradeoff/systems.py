"""Which systems the trade-off study compares, as changes of a run's settings.

In: the settings of a run that trains both identifiers (strategy ``dual``). Out: one `System` per
thing that is trained or fitted. This file trains nothing.

All generative systems read the log equally often: a specialist makes as many passes as the joint
model, over the questions of its own task. What differs from the joint model is named here.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gensar_lite.config import Config, ConfigError, override
from gensar_lite.config.rules import VALID_PAIRS

# what a cell trains less than its preset: equal for all systems of a study, told on its page
BUDGET: dict[str, dict[str, object]] = {
    "beauty-quick": {"training.epochs": 4, "training.eval_every": 4},
}
SEEDS = {"tour": (0, 1, 2, 3, 4)}  # of each preset's study
FEW_SEEDS = (0, 1, 2)  # of any other

ONE_IDENTIFIER = ("semantic", "collaborative", "fused-concat", "fused-svd", "multitask", "random")
QUANTIZERS = ("rq-vae", "balanced", "pq")
# the weight of recommendation against that of all that searches learn from, times the preset's
TASK_WEIGHTS = ((1, 4), (1, 2), (2, 1), (4, 1))
FUSIONS = (0.0, 0.25, 0.5, 0.75, 1.0)  # the semantic identifier's share in a list's score

# the paper's model and tasks at a laptop's size, for its ablations: a T5 reads sequences of tokens
PAPER: dict[str, object] = {
    "training.backbone": "t5-micro",
    "training.tasks": ("nrip", "nsip", "nsqp", "desc2id", "id2desc", "adhoc"),
    "training.task_weights": (1.0, 1.5, 0.2, 0.5, 0.2, 0.5),
    "training.max_recommend": 4,
    "training.max_search": 4,
    "training.history_queries": False,
    "training.small_embeddings": True,
    "training.lr": 2e-3,
    "training.weight_decay": 0.01,
    "training.dropout": 0.0,
    "training.batch_size": 32,
    "training.epochs": 3,
    "training.min_steps": 0,
    "training.eval_every": 3,
    "training.max_minutes": 60.0,
}
PAPER_PRESETS = ("tour",)  # of whose studies it is a part: a cell takes minutes even there
PAPER_SEEDS = 3

# systems that are fitted together: a cell of them costs one pass
COUNTS = "counts"  # popularity, transitions, item-knn; bm25, look-ups, dense, the oracle
RECOMMENDER = "recommender"  # SASRec, and what Bayes' rule makes of it
RIVALS = {  # learned systems without identifiers, and the tasks that each answers
    "unisar": ("recommend", "search"),
    "dense-tuned": ("search",),
    "dense-personal": ("search",),
}


class System(NamedTuple):
    """One thing that is trained or fitted, once per seed.

    name     in tables, figures and the cell's file
    group    strategy | quantizer | specialist | weights | fusion | ablation | paper | baseline
    changes  dotted settings that make it, against the study's; none of a baseline
    seeded   whether a seed changes it
    """

    name: str
    group: str
    changes: dict[str, object] = {}  # noqa: RUF012 - never written to
    seeded: bool = True


def base_name(config: Config) -> str:
    """The joint model as the preset trains it."""
    return f"dual-{config.identifiers.num_shared}"


def systems_of(config: Config, best: str | None = None) -> list[System]:
    """All systems of a study in the order of its tables and of its work: the joint model first.

    `best` names the strategy that the quantizers are tried under; None leaves them out. Raises
    `ConfigError` where the run's identifiers are not ``dual``, or a task is missing.
    """
    if config.identifiers.strategy != "dual" or not {"nrip", "nsip"} <= set(config.training.tasks):
        raise ConfigError(
            "tradeoff: the study is of a joint model with two identifiers. Start from a preset "
            "with identifiers.strategy=dual and training.tasks that hold nrip and nsip, e.g. tour."
        )
    trained = [
        *_strategies(config),
        *_specialists(config),
        *_weights(config),
        System("both-views", "fusion", {"training.views": "both", "decoding.channel": "words"}),
        *_without(config),
        *_paper(config),
    ]
    if best is not None:
        trained += _quantizers(next(s for s in trained if s.name == best))
    fitted = [
        System(COUNTS, "baseline", seeded=False),
        System(RECOMMENDER, "baseline"),
        *(System(name, "baseline", seeded=name != "dense-personal") for name in RIVALS),
    ]
    first = [system for system in trained if system.name == base_name(config)]
    return first + fitted + [system for system in trained if system not in first]


def _strategies(config: Config) -> list[System]:
    """Two identifiers with trunks of every length, then one identifier of every kind."""
    levels = range(config.identifiers.num_levels + 1)
    both = {"decoding.channel": "words"}
    dual = [
        System(
            f"dual-{shared}",
            "strategy",
            {"identifiers.num_shared": shared}
            | (both if shared == config.identifiers.num_shared else {}),
        )
        for shared in levels
    ]
    one = [System(name, "strategy", {"identifiers.strategy": name}) for name in ONE_IDENTIFIER]
    return dual + one


def _specialists(config: Config) -> list[System]:
    """One task alone: with the joint model's identifiers, and with semantic ones, as TIGER (Rajput
    et al. 2023) recommends and DSI (Tay et al. 2022) searches."""
    semantic = {"identifiers.strategy": "semantic"}
    recommend, search = _tasks(config, ("nrip",)), _tasks(config, ("nsip", "adhoc"))
    return [
        System("recommend-only", "specialist", recommend),
        System("search-only", "specialist", search | {"decoding.channel": "words"}),
        System("tiger", "specialist", semantic | recommend),
        System("dsi", "specialist", semantic | search),
    ]


def _weights(config: Config) -> list[System]:
    """The joint model with other weights of its tasks."""
    systems = []
    for recommend, search in TASK_WEIGHTS:
        # the searches' weights stay: how many of them are made, and so the cost, depends on these
        factor = recommend / search
        weights = [
            weight * factor if task == "nrip" else weight
            for task, weight in zip(
                config.training.tasks, config.training.task_weights, strict=True
            )
        ]
        name = f"weights-{recommend}-{search}"
        systems.append(System(name, "weights", {"training.task_weights": tuple(weights)}))
    return systems


def _without(config: Config) -> list[System]:
    """The joint model without one of its auxiliary tasks."""
    auxiliary = [task for task in config.training.tasks if task not in ("nrip", "nsip")]
    kept = (
        (gone, tuple(task for task in config.training.tasks if task != gone)) for gone in auxiliary
    )
    return [System(f"no-{gone}", "ablation", _tasks(config, tasks)) for gone, tasks in kept]


def _paper(config: Config) -> list[System]:
    """GenSAR as its paper trains it, and without one of its parts at a time."""
    if config.name not in PAPER_PRESETS:
        return []
    paper = override(config, PAPER)
    parts = {
        "no-prompts": {"training.prompts": False},
        "no-behaviour": {"training.behaviour_tokens": False},
        "no-trunk": {"identifiers.num_shared": 0},
    }
    for gone in paper.training.tasks[2:]:
        kept = tuple(task for task in paper.training.tasks if task != gone)
        parts[f"no-{gone}"] = _tasks(paper, kept)
    whole = System("t5", "paper", PAPER)
    return [whole, *(System(f"t5-{name}", "paper", PAPER | part) for name, part in parts.items())]


def _quantizers(best: System) -> list[System]:
    strategy = best.changes.get("identifiers.strategy", "dual")
    return [
        System(
            f"{best.name}-{quantizer}",
            "quantizer",
            best.changes | {"identifiers.quantizer": quantizer, "decoding.channel": "none"},
        )
        for quantizer in QUANTIZERS
        if (strategy, quantizer) in VALID_PAIRS
    ]


def _tasks(config: Config, names: Sequence[str]) -> dict[str, object]:
    """The settings that keep those tasks of the preset that are among `names`."""
    pairs = zip(config.training.tasks, config.training.task_weights, strict=True)
    kept = [(task, weight) for task, weight in pairs if task in names]
    tasks, weights = zip(*kept, strict=True)
    return {"training.tasks": tasks, "training.task_weights": weights}


def study_config(config: Config) -> Config:
    """The run's settings with what every cell of its study has: the budget, no channel where no
    system asks for it."""
    changes = BUDGET.get(config.name, {}) | {"decoding.channel": "none", "decoding.split": "test"}
    return override(config, changes)


def cell_config(config: Config, system: System, seed: int) -> Config:
    """The settings of one cell: identifiers and model are drawn anew by its seed; item vectors are
    those of the run."""
    seeds = {"identifiers.seed": seed, "training.seed": seed}
    return override(study_config(config), system.changes | seeds)


def seeds_of(config: Config) -> tuple[int, ...]:
    """The seeds of a preset's study."""
    return SEEDS.get(config.name, FEW_SEEDS)
