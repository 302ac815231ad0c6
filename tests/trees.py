"""Small tree backbones with opinions, and what an item's probability is by plain loops."""

from __future__ import annotations

import math

import numpy as np
import torch
from helpers import random_identifiers
from scipy.sparse import csr_matrix

from gensar_lite.artifacts import Corpus, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.training import Generator, new_generator
from gensar_lite.training.backbones.branches import Branches, branches
from gensar_lite.training.backbones.tree_head import Nodes

TASKS = ("nrip", "nsip", "adhoc")


def tree_settings(**changes) -> TrainingConfig:
    few = {"batch_size": 4, "epochs": 2, "max_history": 5, "dropout": 0.1, "num_pseudo_queries": 6}
    learned = {"backbone": "tree-micro", "tasks": TASKS, "task_weights": (1.0, 1.0, 1.0)}
    return TrainingConfig(**(few | learned | changes))


def tree_generator(corpus: Corpus, ids: Identifiers | None = None, **changes) -> Generator:
    """A random model whose scores are apart: by more than rounding, not by so much that the best
    of two views are equal."""
    ids = ids or random_identifiers(corpus.num_items, 8)
    generator = new_generator(corpus, ids, tree_settings(**changes))
    torch.manual_seed(1)
    with torch.no_grad():
        for p in generator.model.parameters():
            p.normal_(std=0.15)
    generator.model.eval()
    return generator


def tree_of(codes: np.ndarray, num_codes: int) -> Branches:
    """The tree of items without words."""
    none = csr_matrix((len(codes), 1), dtype=np.float32)
    return branches(codes, num_codes, none, np.zeros(len(codes)))


def random_nodes(codes: np.ndarray, width: int, seed: int) -> Nodes:
    """Vectors and biases of the nodes, which are the distinct prefixes in sorted order."""
    rng = np.random.default_rng(seed)
    sizes = [len(np.unique(codes[:, : level + 1], axis=0)) for level in range(codes.shape[1])]
    return Nodes(
        [torch.from_numpy(rng.normal(size=(n, width)).astype(np.float32)) for n in sizes],
        [torch.from_numpy(rng.normal(size=n).astype(np.float32)) for n in sizes],
    )


def steps(codes: np.ndarray, nodes: Nodes, context: np.ndarray, item: int) -> list[dict]:
    """Level by level on the way to an item: prefix -> log-probability among its siblings."""
    way = []
    for level in range(codes.shape[1]):
        prefixes = sorted({tuple(row[: level + 1]) for row in codes.tolist()})
        number = {prefix: i for i, prefix in enumerate(prefixes)}
        vectors, biases = (part[level].double().numpy() for part in nodes)
        parent = tuple(codes[item, :level].tolist())
        logits = {
            prefix: float(context @ vectors[number[prefix]] + biases[number[prefix]])
            for prefix in prefixes
            if prefix[:-1] == parent
        }
        total = math.log(sum(math.exp(value) for value in logits.values()))
        way.append({prefix: value - total for prefix, value in logits.items()})
    return way


def by_loops(codes: np.ndarray, nodes: Nodes, context: np.ndarray, item: int) -> float:
    """The log-probability of an item."""
    way = enumerate(steps(codes, nodes, context, item), 1)
    return sum(step[tuple(codes[item, :level].tolist())] for level, step in way)


def whole_by_loops(codes: np.ndarray, nodes: Nodes, context: np.ndarray) -> list[float]:
    """The log-probabilities of all items where whole identifiers compete: an item scores the sum of
    the nodes on its path."""
    scores = [0.0] * len(codes)
    for level in range(codes.shape[1]):
        prefixes = sorted({tuple(row[: level + 1]) for row in codes.tolist()})
        vectors, biases = (part[level].double().numpy() for part in nodes)
        for item, row in enumerate(codes.tolist()):
            node = prefixes.index(tuple(row[: level + 1]))
            scores[item] += float(context @ vectors[node] + biases[node])
    most = max(scores)
    total = most + math.log(sum(math.exp(score - most) for score in scores))
    return [score - total for score in scores]
