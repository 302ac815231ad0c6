"""Probabilities of nodes and items, and their loss: a softmax among siblings at every level.

In: contexts, a tree, vectors of its nodes. Out: sums of cross-entropy, log-probabilities. The
probability of an item is the product of those of the nodes on its path, so that all items of a tree
sum to 1. This file does not know where contexts come from.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gensar_lite.training.backbones.branches import Branches

GROUP = 32  # contexts of one parent that are multiplied with its children together
# numbers of children up to which parents share a table: padding at most doubles it
WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 1024)


class Nodes(NamedTuple):
    """Per level the vectors (M_l, d) and biases (M_l,) of a tree's nodes."""

    vectors: list[Tensor]
    biases: list[Tensor]


class PathLoss(NamedTuple):
    """Sums over P targets: weighted cross-entropy () of all levels, hits (L,) of each level."""

    total: Tensor
    hits: Tensor


def path_loss(
    context: Tensor, items: np.ndarray, weight: Tensor, tree: Branches, nodes: Nodes
) -> PathLoss:
    """The loss of P items after contexts (P, d): at each level the item's node against its
    siblings. `items` (P,) are item ids, `weight` (P,) is how much each counts."""
    # a last row of zeros stands where a group is not full
    padded = torch.cat([context, context.new_zeros(1, context.shape[1])])
    total = context.new_zeros((), dtype=torch.float32)
    hits = []
    parent = np.zeros(len(items), dtype=np.int64)
    for level in range(tree.num_levels):
        node = tree.path[level][items]
        rank = node - tree.first[level][parent]  # among its siblings
        count = tree.count[level][parent]
        hit = weight[torch.from_numpy(count == 1).to(weight.device)].sum()
        # an only child is certain: nothing is learned of it
        open_rows = np.flatnonzero(count > 1)
        open_rows = open_rows[np.argsort(count[open_rows], kind="stable")]
        edges = np.searchsorted(count[open_rows], (*WIDTHS, np.iinfo(np.int64).max), "right")
        low = 0
        for high in edges.tolist():
            rows = open_rows[low:high]
            low = high
            if not len(rows):
                continue
            rows = rows[np.argsort(parent[rows], kind="stable")]
            logits = _sibling_logits(padded, rows, parent[rows], level, tree, nodes)
            wanted = torch.from_numpy(rank[rows]).to(logits.device)
            of_row = weight[torch.from_numpy(rows).to(weight.device)]
            loss = F.cross_entropy(logits, wanted, reduction="none")
            total = total + (loss * of_row).sum()
            hit = hit + (of_row * (logits.detach().argmax(dim=1) == wanted)).sum()
        hits.append(hit)
        parent = node
    return PathLoss(total, torch.stack(hits))


def _sibling_logits(
    padded: Tensor, rows: np.ndarray, parent: np.ndarray, level: int, tree: Branches, nodes: Nodes
) -> Tensor:
    """Logits (n, W) of contexts `rows` (n,), sorted by `parent`, for the children of their parents;
    -1e9 where a parent has fewer than W."""
    device = padded.device
    if parent[0] == parent[-1]:  # one family, as at the root: its children are looked up once
        first = tree.first[level][parent[0]]
        family = slice(first, first + tree.count[level][parent[0]])
        vectors, biases = nodes.vectors[level][family], nodes.biases[level][family]
        return (padded[torch.from_numpy(rows).to(device)] @ vectors.T).float() + biases
    # 1. contexts of one parent in groups of at most GROUP: (n,) their group and place in it
    begins = np.flatnonzero(np.diff(parent, prepend=-1))
    size = np.diff(np.r_[begins, len(parent)])
    height = min(GROUP, int(size.max()))
    within = np.arange(len(parent)) - np.repeat(begins, size)
    groups = -(-size // height)  # of each parent
    group = np.repeat(np.r_[0, np.cumsum(groups)[:-1]], size) + within // height
    place = torch.from_numpy(group * height + within % height).to(device)
    # 2. each group's children, padded to the largest family: (G, W)
    families = np.repeat(parent[begins], groups)
    count = tree.count[level][families]
    column = np.arange(int(count.max()))
    real = column < count[:, None]
    child = np.where(real, tree.first[level][families][:, None] + column, 0)
    child = torch.from_numpy(child).to(device)
    real = torch.from_numpy(real).to(device)
    # 3. one product a group: (G, GROUP, d) x (G, d, W)
    slots = torch.full((len(child) * height,), len(padded) - 1, device=device)
    slots[place] = torch.from_numpy(rows).to(device)
    contexts = F.embedding(slots, padded).view(len(child), height, -1)
    vectors = F.embedding(child, nodes.vectors[level])  # (G, W, d)
    logits = torch.bmm(contexts, vectors.transpose(1, 2)).float()
    logits = logits + nodes.biases[level][child][:, None]
    logits = logits.masked_fill(~real[:, None], -1e9)
    return logits.flatten(0, 1)[place]


def node_log_probabilities(context: Tensor, tree: Branches, nodes: Nodes) -> list[Tensor]:
    """Per level (B, M_l): log-probability of each node among its siblings, for contexts (B, d)."""
    values = []
    for level, parent in enumerate(tree.parent):
        logits = context @ nodes.vectors[level].T + nodes.biases[level]  # (B, M_l)
        parent = parent.to(logits.device)
        families = parent.expand(len(logits), -1)
        most = logits.new_full((len(logits), len(tree.count[level])), -torch.inf)
        most = most.scatter_reduce(1, families, logits, "amax")  # (B, M_{l-1})
        shifted = logits - most[:, parent]
        sums = torch.zeros_like(most).scatter_add(1, families, shifted.exp())
        values.append(shifted - sums.log()[:, parent])
    return values


def item_log_probabilities(context: Tensor, tree: Branches, nodes: Nodes) -> Tensor:
    """(B, N) log-probability of every item, in order of item ids, for contexts (B, d)."""
    total = None
    for level, values in enumerate(node_log_probabilities(context, tree, nodes)):
        total = values if total is None else total[:, tree.parent[level].to(values.device)] + values
    return total[:, torch.from_numpy(tree.path[-1]).to(total.device)]
