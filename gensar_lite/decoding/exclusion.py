"""Items that a request must not be answered with, as continuations that a search must not follow.

In: a trie, the codes of its items, pairs of request and excluded item. Out: for each level the
continuations below which nothing else is left. As they are forbidden at every level, no beam is
spent on a prefix that leads to no answer: m beams return m items, or all that are left.
"""

from typing import NamedTuple

import numpy as np
import torch

from gensar_lite.identifiers.trie import Trie

Pairs = tuple[np.ndarray, np.ndarray]  # request numbers and item ids, flat


class Spent(NamedTuple):
    """Continuations of one level all of whose items are excluded, flat: ``code`` after node
    ``parent`` of ``query``."""

    query: np.ndarray
    parent: np.ndarray
    code: np.ndarray


def spent_levels(trie: Trie, codes: np.ndarray, num_queries: int, pairs: Pairs) -> list[Spent]:
    """What is spent at each level of a trie, for excluded `pairs` (P,) of items with `codes`
    (N, L)."""
    query, item = distinct(pairs, len(codes))
    # walk every excluded item down its request's trie: node of depth l of each pair, (P,) per level
    nodes = [trie.roots(num_queries)[query, 0]]
    for level in range(trie.num_levels):
        nodes.append(trie.step(nodes[-1], codes[item, level], level))
    inside = nodes[-1] >= 0  # an item that this trie lacks takes nothing from it
    query, item, nodes = query[inside], item[inside], [node[inside] for node in nodes]
    levels = []
    for level in range(trie.num_levels):
        parent, child = nodes[level], nodes[level + 1]
        # how many excluded items of a request hang below a child, against all items that do:
        # where the two are equal the child is spent
        key = query * (len(trie.keys[level]) + 1) + child
        _, first, excluded = np.unique(key, return_index=True, return_counts=True)
        low, high = trie.span(child[first], level + 1)
        spent = first[excluded == high - low]
        levels.append(Spent(query[spent], parent[spent], codes[item[spent], level]))
    return levels


def distinct(pairs: Pairs, num_items: int) -> Pairs:
    """Every pair once, sorted by request, then item."""
    return np.divmod(np.unique(pairs[0] * num_items + pairs[1]), num_items)


def forbid(total: torch.Tensor, nodes: np.ndarray, spent: Spent) -> torch.Tensor:
    """Scores (B, n, K) of continuations of paths at `nodes` (B, n), -inf where one is spent.
    Changes `total`."""
    num_paths = nodes.shape[1]
    # one number per (request, node), -1 for a path that leads nowhere
    size = max(nodes.max(initial=0), spent.parent.max(initial=0)) + 1
    standing = np.where(nodes >= 0, np.arange(len(nodes))[:, None] * size + nodes, -1).ravel()
    wanted = spent.query * size + spent.parent
    # which path stands at the parent of a spent continuation, if any does
    order = np.argsort(standing)
    nearest = np.minimum(np.searchsorted(standing[order], wanted), len(order) - 1)
    place = order[nearest]
    met = standing[place] == wanted
    where = (spent.query[met], place[met] % num_paths, spent.code[met])
    at = tuple(torch.from_numpy(part.astype(np.int64)).to(total.device) for part in where)
    total[at] = -torch.inf
    return total
