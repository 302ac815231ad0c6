"""The trie of a catalogue: which codes may follow a prefix, and which item a whole sequence is.

In: identifiers of one view (N, L), unique. Out: allowed children as masks, next nodes, item ids - all vectorised,
all integers, and the smaller tries of a filter or of each query's own candidates. This file does not know models
or scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gensar_lite.machine.ranges import ranges

DENSE = (
    2**22
)  # cells (nodes x codes) up to which a level's children are kept as a table of booleans, 4 MiB


@dataclass(frozen=True)
class Trie:
    """Level l's nodes are the distinct prefixes of length l, numbered in sorted order, by root first.

    keys      per level (M_l,) sorted ``parent * K + code``: the children of all nodes of the level before
    tables    per level (M_{l-1}, K) allowed codes where that is small, or None: then they are read from the keys
    item_ids  (N,) the item of each leaf
    num_roots roots, 0 to num_roots - 1: one for a catalogue, one a query for candidates
    """

    keys: tuple[np.ndarray, ...]
    tables: tuple[np.ndarray | None, ...]
    item_ids: np.ndarray
    codebook_size: int
    num_roots: int = 1

    @staticmethod
    def build(codes: np.ndarray, codebook_size: int) -> Trie:
        """The trie of codes (N, L). Raises ValueError when two items share a sequence."""
        return _build(
            codes, np.arange(len(codes)), np.zeros(len(codes), dtype=np.int64), codebook_size, 1
        )

    @staticmethod
    def of_candidates(codes: np.ndarray, codebook_size: int, candidates: np.ndarray) -> Trie:
        """One trie a query in one: root b leads to the items ``candidates[b]``, (B, C) rows of codes (N, L), -1: none.

        An item that stands twice in a row counts once.
        """
        root = np.repeat(np.arange(len(candidates)), candidates.shape[1])
        root, item = root[candidates.ravel() >= 0], candidates.ravel()[candidates.ravel() >= 0]
        once = np.unique(root * len(codes) + item)
        root, item = np.divmod(once, len(codes))
        return _build(codes[item], item, root, codebook_size, len(candidates))

    @property
    def num_levels(self) -> int:
        return len(self.keys)

    @property
    def num_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for a in (*self.keys, *self.tables, self.item_ids) if a is not None)

    def restrict(self, allowed: np.ndarray) -> Trie:
        """The trie of those items alone that `allowed` (N,) says, a mask over item ids. Node numbers change."""
        leaves = nodes = np.flatnonzero(allowed[self.item_ids])
        keys, size = [], self.codebook_size
        for level in reversed(
            range(self.num_levels)
        ):  # from the leaves up: what is left, and who its parents are
            key = self.keys[level][nodes]
            parent = key // size
            new = np.diff(parent, prepend=-1) != 0
            keys.append(
                key if level == 0 else (np.cumsum(new) - 1) * size + key % size
            )  # roots keep their numbers
            nodes = parent[new]
        return _with_tables(tuple(reversed(keys)), self.item_ids[leaves], size, self.num_roots)

    def roots(self, num_queries: int) -> np.ndarray:
        """The node (B, 1) where each query starts."""
        if self.num_roots == 1:
            return np.zeros((num_queries, 1), dtype=np.int64)
        return np.arange(num_queries)[:, None]

    def allowed(self, nodes: np.ndarray, level: int) -> np.ndarray:
        """Which codes may follow nodes (...,) of depth `level`: a (..., K) boolean mask. Node -1 allows none."""
        if not len(self.keys[level]):
            return np.zeros((*nodes.shape, self.codebook_size), dtype=bool)
        if self.tables[level] is not None:
            return self.tables[level][nodes] & (nodes >= 0)[..., None]
        place, owner = self._children(nodes.ravel(), level)
        mask = np.zeros((nodes.size, self.codebook_size), dtype=bool)
        mask[owner, self.keys[level][place] % self.codebook_size] = True
        return mask.reshape(*nodes.shape, self.codebook_size)

    def _children(self, nodes: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
        """All children of nodes (n,) as numbers of the next level, and for each the position of its parent in `nodes`.

        Children of one node stand side by side, so a node's first child says where all are.
        """
        low = np.searchsorted(self.keys[level], nodes * self.codebook_size)
        count = np.searchsorted(self.keys[level], (nodes + 1) * self.codebook_size) - low
        count[nodes < 0] = 0
        return ranges(low, count), np.repeat(np.arange(len(nodes)), count)

    def step(self, nodes: np.ndarray, codes: np.ndarray, level: int) -> np.ndarray:
        """The child of nodes (...,) by codes (...,), -1 where there is none."""
        keys, key = self.keys[level], nodes * self.codebook_size + codes
        place = np.searchsorted(keys, key)
        there = (nodes >= 0) & (place < len(keys))
        place = np.where(there, place, 0)
        return (
            np.where(there & (keys[place] == key), place, -1)
            if len(keys)
            else np.full(key.shape, -1)
        )

    def span(self, nodes: np.ndarray | int, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """The leaves below nodes (...,): those from the first number to before the second, each (...,)."""
        low, high = nodes, nodes + 1
        for keys in self.keys[depth:]:
            low, high = np.searchsorted(keys, (low * self.codebook_size, high * self.codebook_size))
        return low, high

    def items(self, leaves: np.ndarray) -> np.ndarray:
        """Item ids (...,) of leaf nodes, -1 for node -1."""
        if not len(self.item_ids):
            return np.full(leaves.shape, -1)
        return np.where(leaves >= 0, self.item_ids[np.maximum(leaves, 0)], -1)


def _build(
    codes: np.ndarray, item_ids: np.ndarray, root: np.ndarray, codebook_size: int, num_roots: int
) -> Trie:
    """Sort once; then a level's new nodes are where a prefix differs from the one before it."""
    order = _sorted_order(codes, root, codebook_size, num_roots)
    parent, keys = root[order], []
    new = np.diff(parent, prepend=-1) != 0
    for level in range(codes.shape[1]):
        code = codes[order, level].astype(np.int64)
        new = new | (np.diff(code, prepend=-1) != 0)
        keys.append((parent * codebook_size + code)[new])
        parent = np.cumsum(new) - 1  # node number of each item's prefix
    twins = len(codes) - len(keys[-1])
    if twins:
        raise ValueError(f"trie: {twins} items share an identifier with another one")
    return _with_tables(tuple(keys), item_ids[order], codebook_size, num_roots)


def _sorted_order(
    codes: np.ndarray, root: np.ndarray, codebook_size: int, num_roots: int
) -> np.ndarray:
    """Positions in the order of (root, codes): by one number a sequence where it fits into 63 bits, which is fast."""
    if num_roots * codebook_size ** codes.shape[1] >= 2**63:
        return np.lexsort((*codes.T[::-1], root))
    number = root.astype(np.int64)
    for column in codes.T:
        number = number * codebook_size + column
    return np.argsort(number, kind="stable")


def _with_tables(
    keys: tuple[np.ndarray, ...], item_ids: np.ndarray, codebook_size: int, num_roots: int
) -> Trie:
    tables, num_parents = [], num_roots
    for key in keys:
        table = None
        if num_parents * codebook_size <= DENSE:
            table = np.zeros(num_parents * codebook_size, dtype=bool)
            table[key] = True
            table = table.reshape(num_parents, codebook_size)
        tables.append(table)
        num_parents = len(key)
    return Trie(keys, tuple(tables), item_ids, codebook_size, num_roots)
