"""Probabilities of whole identifiers: all items of the catalogue compete with one another.

In: contexts, a tree, vectors of its nodes. Out: the same as tree_head.py gives, of another
distribution. An item scores the sum of the scores of the nodes on its path, and a softmax over all
items makes probabilities of scores. What a code is worth after its prefix follows: the items below
it, summed up. So identifiers are still written code by code, and exactly.

A softmax among siblings must hand out all its probability at every node, wherever the path has led:
what speaks against all children of a node cannot be heard any more (label bias: Bottou 1991,
Lafferty et al. 2001). Here it is heard. The price is a score for every item in every step.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gensar_lite.machine.softmax import CHUNK, weighted_cross_entropy
from gensar_lite.training.backbones.branches import Branches
from gensar_lite.training.backbones.tree_head import Nodes, PathLoss

SAMPLE = 16  # contexts of a step per one whose best item is looked up: nothing is learned of it


def item_vectors(tree: Branches, nodes: Nodes) -> Tensor:
    """(N, d + 1) what every item is scored by: the sum of its nodes' vectors, and of their biases
    in the last column."""
    total = None
    for path, vectors, biases in zip(tree.path, nodes.vectors, nodes.biases, strict=True):
        place = torch.from_numpy(path).to(vectors.device)
        part = F.embedding(place, torch.cat([vectors, biases[:, None]], dim=1))
        total = part if total is None else total + part
    return total


def path_loss(
    context: Tensor, items: np.ndarray, weight: Tensor, tree: Branches, nodes: Nodes
) -> PathLoss:
    """The loss of P items after contexts (P, d). `items` (P,) are item ids, `weight` (P,) is how
    much each counts. A level is a hit where the best item has the right code up to there; while
    something is learned, hits are those of every `SAMPLE`-th context, scaled up."""
    target = torch.from_numpy(items).to(context.device)
    with_bias = F.pad(context, (0, 1), value=1.0)
    table = item_vectors(tree, nodes)
    total = weighted_cross_entropy(with_bias, table, target, weight)
    part = slice(None, None, SAMPLE if torch.is_grad_enabled() else 1)
    with torch.no_grad():
        rows = with_bias[part].split(CHUNK)
        found = torch.cat([(some @ table.T).argmax(dim=1) for some in rows]).cpu().numpy()
        right = np.stack([path[found] == path[items[part]] for path in tree.path])  # (L, P')
        counted = weight[part] * (weight.sum() / weight[part].sum())
        # no product: autocast would count in bf16
        hits = (torch.from_numpy(right).to(counted) * counted).sum(dim=1)
    return PathLoss(total, hits)


def item_log_probabilities(context: Tensor, tree: Branches, nodes: Nodes) -> Tensor:
    """(B, N) log-probability of every item, in order of item ids, for contexts (B, d)."""
    table = item_vectors(tree, nodes)
    return torch.log_softmax(context @ table[:, :-1].T + table[:, -1], dim=1)


def node_log_probabilities(context: Tensor, tree: Branches, nodes: Nodes) -> list[Tensor]:
    """Per level (B, M_l): log-probability of each node among its siblings, for contexts (B, d):
    that of the items below it, less that of those below its parent."""
    items = item_log_probabilities(context, tree, nodes)
    above, values = items.new_zeros(len(items), 1), []
    for path, parent in zip(tree.path, tree.parent, strict=True):
        node = torch.from_numpy(path).to(items.device).expand(len(items), -1)
        most = items.new_full((len(items), len(parent)), -torch.inf)
        most = most.scatter_reduce(1, node, items, "amax")  # (B, M_l)
        below = (items - most.gather(1, node)).exp()
        total = most + torch.zeros_like(most).scatter_add(1, node, below).log()
        values.append(total - above[:, parent.to(total.device)])
        above = total
    return values
