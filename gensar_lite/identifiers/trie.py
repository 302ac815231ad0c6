"""The trie of a catalogue: which codes may follow a prefix, and which item a whole sequence is.

In: identifiers of one view (N, L), unique. Out: allowed children as masks, next nodes, item ids,
and the smaller tries of a filter or of each request's own candidates. It does not know models.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gensar_lite.machine.ranges import ranges

# cells (nodes x codes) up to which a level's children are kept as a table of booleans, 4 MiB
DENSE = 2**22


@dataclass(frozen=True)
class Trie:
    """Level l's nodes are the distinct prefixes of length l, numbered in sorted order, by root
    first.

    keys      per level (M_l,) sorted ``parent * K + code``: children of the level before's nodes
    item_ids  (N,) the item of each leaf
    num_roots roots, 0 to num_roots - 1: one for a catalogue, one per request for candidates
    """

    keys: tuple[np.ndarray, ...]
    item_ids: np.ndarray
    codebook_size: int
    num_roots: int = 1

    @staticmethod
    def build(codes: np.ndarray, codebook_size: int) -> Trie:
        """The trie of codes (N, L). Raises ValueError when two items share a sequence."""
        root = np.zeros(len(codes), dtype=np.int64)
        return _build(codes, np.arange(len(codes)), root, codebook_size, 1)

    @staticmethod
    def of_candidates(codes: np.ndarray, codebook_size: int, candidates: np.ndarray) -> Trie:
        """One trie per request in one: root b leads to the items ``candidates[b]``, rows (B, C) of
        codes (N, L), -1: none. An item that stands twice in a row counts once."""
        root, column = np.nonzero(candidates >= 0)
        pairs = np.unique(root * len(codes) + candidates[root, column])
        root, item = np.divmod(pairs, len(codes))
        return _build(codes[item], item, root, codebook_size, len(candidates))

    @property
    def num_levels(self) -> int:
        return len(self.keys)

    @cached_property
    def tables(self) -> list[np.ndarray | None]:
        """Per level (M_{l-1}, K) allowed codes, where that is small: a look-up is faster than a
        search among the keys."""
        tables, num_parents = [], self.num_roots
        for key in self.keys:
            table = None
            if num_parents * self.codebook_size <= DENSE:
                table = np.zeros((num_parents, self.codebook_size), dtype=bool)
                table.ravel()[key] = True
            tables.append(table)
            num_parents = len(key)
        return tables

    def restrict(self, allowed: np.ndarray) -> Trie:
        """The trie of the items in `allowed` (N,) alone, a mask over item ids. Node numbers
        change."""
        leaves = nodes = np.flatnonzero(allowed[self.item_ids])
        keys, size = [], self.codebook_size
        # from the leaves up: which nodes are left on a level, and who their parents are
        for level in reversed(range(self.num_levels)):
            key = self.keys[level][nodes]
            parent = key // size
            first = np.diff(parent, prepend=-1) != 0  # first child of each parent that is left
            # parents are numbered anew by those that are left; roots keep their numbers
            keys.append(key if level == 0 else (np.cumsum(first) - 1) * size + key % size)
            nodes = parent[first]
        return Trie(tuple(reversed(keys)), self.item_ids[leaves], size, self.num_roots)

    def roots(self, num_queries: int) -> np.ndarray:
        """The node (B, 1) where each request starts."""
        roots = np.arange(num_queries)[:, None]
        return roots if self.num_roots > 1 else 0 * roots

    def allowed(self, nodes: np.ndarray, level: int) -> np.ndarray:
        """Which codes may follow nodes (...,) of depth `level`: a (..., K) boolean mask. Node -1
        allows none."""
        keys, size = self.keys[level], self.codebook_size
        if len(keys) and self.tables[level] is not None:
            return self.tables[level][nodes] & (nodes >= 0)[..., None]
        mask = np.zeros((nodes.size, size), dtype=bool)
        parent, child = self.children(nodes, level)
        mask[parent, keys[child] % size] = True
        return mask.reshape(*nodes.shape, size)

    def children(self, nodes: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
        """All children of nodes (...,) of depth `level`, two flat arrays: which of the nodes, by
        its place among them, and the child. Node -1 has none."""
        keys, size, flat = self.keys[level], self.codebook_size, nodes.ravel()
        # a node's children stand side by side among the sorted keys: from the first to the last
        low, high = np.searchsorted(keys, (flat * size, (flat + 1) * size))
        count = np.where(flat < 0, 0, high - low)
        return np.repeat(np.arange(len(flat)), count), ranges(low, count)

    def step(self, nodes: np.ndarray, codes: np.ndarray, level: int) -> np.ndarray:
        """The child of nodes (...,) by codes (...,), -1 where there is none."""
        keys, key = self.keys[level], nodes * self.codebook_size + codes
        if not len(keys):
            return np.full(key.shape, -1)
        place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where((nodes >= 0) & (keys[place] == key), place, -1)

    def span(self, nodes: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """The leaves below nodes (...,): from the first number to before the second, each
        (...,)."""
        low, high = nodes, nodes + 1
        for keys in self.keys[depth:]:
            low, high = np.searchsorted(keys, (low * self.codebook_size, high * self.codebook_size))
        return low, high

    def ancestors(self) -> list[np.ndarray]:
        """Per level (N,) the node on the way to each leaf, the leaf itself last."""
        nodes = [np.arange(len(self.item_ids))]
        for keys in reversed(self.keys[1:]):
            nodes.insert(0, keys[nodes[0]] // self.codebook_size)
        return nodes

    def items(self, leaves: np.ndarray) -> np.ndarray:
        """Item ids (...,) of leaf nodes, -1 for node -1."""
        if not len(self.item_ids):
            return np.full(leaves.shape, -1)
        return np.where(leaves >= 0, self.item_ids[np.maximum(leaves, 0)], -1)


def _build(
    codes: np.ndarray, item_ids: np.ndarray, root: np.ndarray, codebook_size: int, num_roots: int
) -> Trie:
    """Sort once; then a level's nodes begin where a prefix differs from the one before it."""
    number = root.astype(np.int64)
    if num_roots * codebook_size ** codes.shape[1] < 2**63:
        for column in codes.T:  # one number per sequence, which sorts faster
            number = number * codebook_size + column
        order = np.argsort(number, kind="stable")
    else:
        order = np.lexsort((*codes.T[::-1], root))
    # items of one prefix now stand side by side
    parent, keys = root[order], []
    differs = np.diff(parent, prepend=-1) != 0
    for level in range(codes.shape[1]):
        code = codes[order, level].astype(np.int64)
        differs = differs | (np.diff(code, prepend=-1) != 0)
        keys.append((parent * codebook_size + code)[differs])
        parent = np.cumsum(differs) - 1  # node number of each item's prefix
    twins = len(codes) - len(keys[-1])
    if twins:
        raise ValueError(f"trie: {twins} items share an identifier with another one")
    return Trie(tuple(keys), item_ids[order], codebook_size, num_roots)
