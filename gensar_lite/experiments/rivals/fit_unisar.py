"""Training of `UniSAR`, as long and as often as the run's tree, from the same questions.

In: a corpus, a run's collaborative vectors and settings of training. Out: the best epoch on
validation as a ranker, and its curve. Words, windows, made queries, weights of tasks, optimiser and
learning rate are the tree's. Item vectors start from the collaborative view: that is what a tree
has from its identifiers, and from random vectors as many steps learn little of recommendation. Test
events are never read. This file does not know the model's inside.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from gensar_lite.artifacts import TASKS, ArtifactError, Corpus
from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.embeddings.judge import FullRanking, Rules, train_epochs
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.experiments.rivals.item_events import item_builder
from gensar_lite.experiments.rivals.unisar import Sizes, UniSAR, UniSARRanker
from gensar_lite.training import harmonic_mean
from gensar_lite.training.backbones.branches import word_weights
from gensar_lite.training.backbones.new_tree import is_tree, sizes_of
from gensar_lite.training.loop.optimiser import learning_rate, new_optimiser
from gensar_lite.training.sequences.mixture import WindowMixture, present_tasks
from gensar_lite.training.sequences.pseudo import NO_QUERIES, make_pseudo_queries
from gensar_lite.training.sequences.tasks import EVENTS
from gensar_lite.training.stage import long_enough, train_codec
from gensar_lite.training.text import WordCodec

LEARNED = ("nrip", "nsip", "adhoc")  # tasks that are questions about events
START = 0.1  # deviation of the item vectors' numbers at the start: that of words


def train_unisar(
    corpus: Corpus, collaborative: np.ndarray, settings: TrainingConfig, cache: Path | None = None
) -> tuple[UniSARRanker, list[dict]]:
    """The ranker and a row ``{epoch, seconds, loss, <task>/ndcg@10, <task>/recall@10, score}`` per
    validation; the best by `score`, the harmonic mean of the tasks' NDCG@10, is kept.

    `collaborative` (N, d) is as wide as the model; `cache`: see `make_pseudo_queries`. Raises
    `ArtifactError` where nothing can be learned.
    """
    settings = event_tasks(corpus, settings)
    codec = train_codec(corpus, settings)
    asks = "adhoc" in settings.tasks
    pseudo = make_pseudo_queries(corpus.items, settings, cache) if asks else NO_QUERIES
    builder = item_builder(corpus, codec, settings, pseudo)
    mixture = WindowMixture(builder.windows, settings.batch_size, settings.seed)
    if not mixture.num_batches:
        raise ArtifactError(
            f"rivals: no train event asks for {', '.join(settings.tasks)}, so unisar has nothing "
            "to learn. Use a longer log, or leave this rival out."
        )
    settings = long_enough(settings, mixture.num_batches)
    torch.manual_seed(settings.seed)
    model = new_unisar(corpus, codec, collaborative, settings)
    ranker = UniSARRanker(model, builder)
    optimiser = new_optimiser(model, settings)
    num_steps = settings.epochs * mixture.num_batches

    def batch_losses(epoch: int) -> Iterator[torch.Tensor]:
        for number, plan in enumerate(mixture.epoch(epoch)):
            step = (epoch - 1) * mixture.num_batches + number
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, num_steps, settings)
            yield model.loss(builder.batch(EVENTS, plan.rows, plan.prompt).to("cpu"))

    rules = Rules("unisar", "score", settings.epochs, settings.patience, "Lower training.lr.")
    rules = rules._replace(eval_every=settings.eval_every, max_minutes=settings.max_minutes)
    validate = new_judge(corpus, ranker, settings)
    return ranker, train_epochs(model, optimiser, batch_losses, validate, rules)


def new_judge(
    corpus: Corpus, ranker: UniSARRanker, settings: TrainingConfig
) -> Callable[[], dict[str, float]]:
    """What says how well `ranker` ranks now: on at most ``eval_sample`` validation targets of each
    task, the same ones at every call."""
    judges, calls = {}, itertools.count(1)
    for task in TASKS:
        targets = corpus.targets("validation", task)
        targets = sample_targets(targets, settings.eval_sample, settings.seed)
        if len(targets):
            judges[task] = FullRanking(corpus, targets, batch=256)

    def validate() -> dict[str, float]:
        row = {}
        for task, judge in judges.items():
            row |= {f"{task}/{metric}": value for metric, value in judge(ranker).items()}
        both = harmonic_mean([row[f"{task}/ndcg@10"] for task in judges])
        # where nothing tells epochs apart, the last one is the best
        return row | {"score": both if judges else float(next(calls))}

    return validate


def event_tasks(corpus: Corpus, settings: TrainingConfig) -> TrainingConfig:
    """The settings with those tasks alone that are questions about events, and of which the corpus
    has an event; words are a tree's. Raises `ConfigError` where none is left."""
    weight = dict(zip(settings.tasks, settings.task_weights, strict=True))
    tasks = tuple(task for task in settings.tasks if task in LEARNED)
    if not {"nrip", "nsip"} & set(tasks):
        raise ConfigError(
            "training.tasks: unisar learns from events. Add nrip (recommendation), nsip (search), "
            "or both, and their weights to training.task_weights."
        )
    weights = tuple(weight[task] for task in tasks)
    backbone = settings.backbone if is_tree(settings.backbone) else "tree"
    kept = dataclasses.replace(settings, backbone=backbone, tasks=tasks, task_weights=weights)
    return present_tasks(corpus, kept)


def new_unisar(
    corpus: Corpus, codec: WordCodec, collaborative: np.ndarray, settings: TrainingConfig
) -> UniSAR:
    """A model over a catalogue, of random weights but for its item vectors."""
    pairs = zip(corpus.items["title"].fillna(""), corpus.items["text"].fillna(""), strict=True)
    rows = codec.encode([f"{title} {text}" for title, text in pairs])
    # an item's text is no query: it has words and no phrase
    words = [[word for word in row if word < codec.first_phrase] for row in rows]
    width = collaborative.shape[1]
    *_, num_layers, num_heads = sizes_of(settings.backbone, corpus.num_items)
    num_heads = math.gcd(num_heads, width)  # every head is as wide as the others
    kept = (settings.max_history, settings.dropout, codec.first_phrase)
    texts = word_weights(words, codec.num_tokens)
    model = UniSAR(Sizes(width, num_layers, num_heads, *kept), texts)
    start = torch.tensor(collaborative * (START / max(float(collaborative.std()), 1e-12)))
    with torch.no_grad():
        model.items.weight.copy_(start)
    return model
