"""The trie of a catalogue: which codes may follow a prefix, and which item a whole sequence is.

In: identifiers of one view (N, L), unique. Out: allowed children as masks, next nodes, item ids - all vectorised,
all integers. This file does not know models or scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trie:
    """Level l's nodes are the distinct prefixes of length l, numbered in sorted order.

    keys      per level (M_l,) sorted ``parent * K + code``: the children of all nodes of the level before
    children  per level (M_{l-1}, ceil(K / 8)) uint8 bitmaps of allowed codes
    item_ids  (N,) the item of each leaf
    """

    keys: tuple[np.ndarray, ...]
    children: tuple[np.ndarray, ...]
    item_ids: np.ndarray
    codebook_size: int

    @property
    def num_levels(self) -> int:
        return len(self.keys)

    @staticmethod
    def build(codes: np.ndarray, codebook_size: int) -> Trie:
        """The trie of codes (N, L). Raises ValueError when two items share a sequence."""
        order = np.lexsort(codes.T[::-1])
        parent = np.zeros(len(codes), dtype=np.int64)  # node number of each item's prefix, in sorted order
        keys, children, num_nodes = [], [], 1
        for level in range(codes.shape[1]):
            key = parent * codebook_size + codes[order, level]
            found, node = np.unique(key, return_inverse=True)
            bitmap = np.zeros((num_nodes, codebook_size), dtype=bool)
            bitmap[found // codebook_size, found % codebook_size] = True
            keys.append(found)
            children.append(np.packbits(bitmap, axis=1))
            parent, num_nodes = node.ravel(), len(found)
        if num_nodes != len(codes):
            raise ValueError(f"trie: {len(codes) - num_nodes} items share an identifier with another one")
        return Trie(tuple(keys), tuple(children), order, codebook_size)

    def allowed(self, nodes: np.ndarray, level: int) -> np.ndarray:
        """Which codes may follow nodes (...,) of depth `level`: a (..., K) boolean mask. Node -1 allows none."""
        mask = np.unpackbits(self.children[level][np.maximum(nodes, 0)], axis=-1, count=self.codebook_size).astype(bool)
        return mask & (nodes >= 0)[..., None]

    def step(self, nodes: np.ndarray, codes: np.ndarray, level: int) -> np.ndarray:
        """The child of nodes (...,) by codes (...,), -1 where there is none."""
        key = nodes * self.codebook_size + codes
        place = np.minimum(np.searchsorted(self.keys[level], key), len(self.keys[level]) - 1)
        return np.where((nodes >= 0) & (self.keys[level][place] == key), place, -1)

    def items(self, leaves: np.ndarray) -> np.ndarray:
        """Item ids (...,) of leaf nodes, -1 for node -1."""
        return np.where(leaves >= 0, self.item_ids[np.maximum(leaves, 0)], -1)
