"""What settings need of each other; what one setting alone may be stands in its declaration.

In: the whole tree. Out: nothing, or a `ConfigError` that names both settings and what fits.
This file does not know how a setting is used.
"""

import difflib
from collections.abc import Iterable
from typing import get_args

from gensar_lite.config.declare import ConfigError, one_of
from gensar_lite.config.sections import MAX_LEVELS, Config, OneView, TrainingConfig

MIN_SHOP_EVENTS = 5  # events of each user of the built-in shop, at least
MAX_SHOP_SHARE = 8  # events are at most one in 8 of user x item: nobody meets an item twice

_RESIDUAL = ("rq-kmeans", "rq-vae", "balanced")
_STRATEGIES = ("dual", "separate", *get_args(OneView))
VALID_PAIRS = {(strategy, quantizer) for strategy in _STRATEGIES for quantizer in _RESIDUAL}
# product quantization has parts, and no trunk that two identifiers could share
VALID_PAIRS |= {(strategy, "pq") for strategy in get_args(OneView)} | {("random", "none")}


TREES = ("tree", "tree-micro", "tree-mini", "tree-small")
TREE_TASKS = ("nrip", "nsip", "adhoc")  # what a tree can learn: all that ends in an item
# names of ours among settings that may be any name or folder
OUR_NAMES = {
    "embeddings.encoder": ("minilm", "lsa", "bge", "e5", "gte", "multilingual"),
    "training.backbone": (
        *("t5-micro", "t5-mini", "t5-small"),
        *("gpt-micro", "gpt-mini", "gpt-small"),
        *TREES,
    ),
    "training.pseudo_queries": ("statistics",),
    "training.tracker": ("none", "tensorboard"),
}
ALIKE = 0.85  # a name that is so like one of ours, and is none, is taken for a slip


def check(config: Config) -> None:
    """Raise `ConfigError` where two settings do not fit, or a name is a slip of one of ours."""
    for key, names in OUR_NAMES.items():
        stage, _, name = key.partition(".")
        value = getattr(getattr(config, stage), name)
        if value not in names and difflib.get_close_matches(value, names, n=1, cutoff=ALIKE):
            one_of(key, value, names)
    _check_shop(config)
    _check_identifiers(config)
    _check_training(config)
    dim, num_heads = config.embeddings.dim, config.embeddings.num_heads
    if dim % num_heads:
        raise ConfigError(
            f"embeddings.dim: {dim} cannot be divided among {num_heads} heads. "
            "Set it to a multiple of embeddings.num_heads."
        )
    if len(config.decoding.weights) not in (0, 3):
        raise ConfigError(
            f"decoding.weights: {len(config.decoding.weights)} weights, but there are three parts. "
            "Name history, likelihood and popularity, or none to fit them."
        )
    deepest, top_k = max(config.evaluation.ks), config.decoding.top_k
    if deepest > top_k:
        raise ConfigError(
            f"evaluation.ks: {deepest} is deeper than the {top_k} items that are kept per query. "
            "Raise decoding.top_k or lower evaluation.ks."
        )


def check_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Raise `ConfigError` for a (strategy, quantizer) that does not exist, with those that do."""
    wrong = [pair for pair in pairs if pair not in VALID_PAIRS]
    if wrong:
        listed = ", ".join(" + ".join(known) for known in sorted(VALID_PAIRS))
        raise ConfigError(
            f"identifiers: {' + '.join(wrong[0])} is no valid pair of strategy and quantizer. "
            f"Choose one of: {listed}."
        )


def _check_shop(config: Config) -> None:
    items, users = config.data.num_items, config.data.num_users
    least, most = MIN_SHOP_EVENTS * users, users * items // MAX_SHOP_SHARE
    if config.data.source == "shop" and not least <= config.data.num_events <= most:
        raise ConfigError(
            f"data.num_events: {config.data.num_events} does not suit {users} users and {items} "
            f"items. Set it to {least} to {most}, or change data.num_users or data.num_items."
        )


def _check_identifiers(config: Config) -> None:
    settings = config.identifiers
    quantizer = "none" if settings.strategy == "random" else settings.quantizer
    check_pairs([(settings.strategy, quantizer)])
    most = settings.num_levels or MAX_LEVELS - 1  # 0 levels: chosen later, one more than is shared
    if settings.strategy == "dual" and settings.num_shared > most:
        raise ConfigError(
            f"identifiers.num_shared: {settings.num_shared} levels cannot be shared. "
            f"Set it to 0 to {most}, or raise identifiers.num_levels."
        )
    if settings.strategy == "multitask" and config.embeddings.joint == "none":
        raise ConfigError(
            "identifiers.strategy: multitask quantizes the joint view, which is off. "
            "Set embeddings.joint=adapter too."
        )


def _check_training(config: Config) -> None:
    settings = config.training
    if len(settings.task_weights) != len(settings.tasks):
        raise ConfigError(
            f"training.task_weights: {len(settings.tasks)} tasks need as many positive weights, "
            f"got {list(settings.task_weights)}. Set it together with training.tasks."
        )
    if settings.lora_rank and settings.backbone in OUR_NAMES["training.backbone"]:
        raise ConfigError(
            f"training.lora_rank: {settings.backbone} starts from scratch, there are no weights "
            "to adapt. Set it to 0, or training.backbone to a pretrained model."
        )
    _check_tree(settings)


def _check_tree(settings: TrainingConfig) -> None:
    """A tree reads events and writes identifiers; other backbones know nothing of both views."""
    if settings.backbone not in TREES:
        wrong = {"views": settings.views != "own", "head": settings.head == "catalogue"}
        for name in (name for name, is_wrong in wrong.items() if is_wrong):
            raise ConfigError(
                f"training.{name}: {getattr(settings, name)} needs a tree over events, "
                f"not {settings.backbone}. Set training.backbone to one of {', '.join(TREES)}, or "
                f"leave training.{name} at its default."
            )
        return
    other = [name for name in settings.tasks if name not in TREE_TASKS]
    if other:
        raise ConfigError(
            f"training.tasks: {settings.backbone} cannot learn {', '.join(other)}: it writes "
            f"identifiers of items only. Choose from {', '.join(TREE_TASKS)}."
        )
    wrong = {"head": settings.head == "vocabulary", "warm_embeddings": settings.warm_embeddings}
    wrong |= {"prompts": not settings.prompts, "label_smoothing": settings.label_smoothing > 0}
    for name in (name for name, is_wrong in wrong.items() if is_wrong):
        raise ConfigError(
            f"training.{name}: has no meaning for {settings.backbone}. Leave it at its default."
        )
