"""The tree of a catalogue's identifiers as arrays: who is whose child, and which words a node has.

In: codes of one view, words and train counts of items. Out: a `Branches` record of tensors.
This file learns nothing: tree.py gives nodes their vectors.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix

from gensar_lite.identifiers.trie import Trie


class Spread(NamedTuple):
    """A sparse matrix (M, R) by which rows of a table are added up, and its transpose (R, M)."""

    matrix: torch.Tensor
    transposed: torch.Tensor

    @staticmethod
    def of(table: csr_matrix) -> Spread:
        """From a matrix of scipy's."""
        return Spread(_sparse(table), _sparse(table.T.tocsr()))

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """(M, d) sums of rows (R, d), with a gradient."""
        return _SpreadRows.apply(rows, *(part.to(rows.device) for part in self))


class _SpreadRows(torch.autograd.Function):
    # torch has no gradient of a sparse product by a matrix that is transposed already, and an
    # embedding bag's sorts its rows anew in every step
    @staticmethod
    def forward(ctx, rows, matrix, transposed):
        ctx.transposed = transposed
        with torch.autocast(rows.device.type, enabled=False):  # there is no sparse product in bf16
            return matrix @ rows.float()

    @staticmethod
    def backward(ctx, grad):
        return ctx.transposed @ grad.float().contiguous(), None, None


def _sparse(table: csr_matrix) -> torch.Tensor:
    parts = (table.indptr.astype(np.int64), table.indices.astype(np.int64))
    parts = (*map(torch.from_numpy, parts), torch.from_numpy(table.data.astype(np.float32)))
    with warnings.catch_warnings():  # that sparse matrices of this layout are in beta
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(*parts, table.shape)


class Branches(NamedTuple):
    """One view's tree. Level l has M_l nodes; the children of a node stand side by side.

    trie    the same nodes, by their codes
    parent  per level (M_l,) node of the level before; 0, the root, for level 0
    first   per level, of each node of the level before, its first child ...
    count   ... and its number of children
    path    (L, N) the node of each item at each level
    codes   per level a `Spread` (M_l, (l + 1) K) of all codes of each node
    words   per level a `Spread` (M_l, W) of the words of the items below each node
    items   per level a `Spread` (M_l, N) of the items below each node, their mean
    """

    trie: Trie
    parent: list[torch.Tensor]
    first: list[np.ndarray]
    count: list[np.ndarray]
    path: np.ndarray
    codes: list[Spread]
    words: list[Spread]
    items: list[Spread]

    @property
    def num_levels(self) -> int:
        return len(self.parent)


def branches(
    codes: np.ndarray, codebook_size: int, texts: csr_matrix, counts: np.ndarray
) -> Branches:
    """The tree of codes (N, L).

    texts   (N, W) weights of each item's words, see `word_weights`
    counts  (N,) train events: a node has the words of its items, by how often they are taken
    """
    trie = Trie.build(codes, codebook_size)
    leaves = np.empty(len(codes), dtype=np.int64)
    leaves[trie.item_ids] = np.arange(len(codes))
    path = np.stack([nodes[leaves] for nodes in trie.ancestors()])  # (L, N)
    share = counts + 1.0
    parent, first, count, shared, words, items = [], [], [], [], [], []
    num_parents = 1
    for level, keys in enumerate(trie.keys):
        above = keys // codebook_size
        edges = np.searchsorted(above, np.arange(num_parents + 1))
        num_parents = len(keys)
        member = np.empty(num_parents, dtype=np.int64)  # any item below each node
        member[path[level]] = np.arange(len(codes))
        parent.append(torch.from_numpy(above))
        first.append(edges[:-1])
        count.append(np.diff(edges))
        shared.append(Spread.of(_codes_of(codes[member, : level + 1], codebook_size)))
        below = _mean_items(path[level], num_parents, share)
        items.append(Spread.of(below))
        words.append(Spread.of((below @ texts).tocsr()))
    return Branches(trie, parent, first, count, path, shared, words, items)


def _mean_items(node: np.ndarray, num_nodes: int, share: np.ndarray) -> csr_matrix:
    """(M, N) each item's share in the nodes that it hangs below; `node` (N,) is which, `share` (N,)
    how much it counts."""
    total = np.bincount(node, weights=share, minlength=num_nodes)
    return csr_matrix((share / total[node], (node, np.arange(len(node)))), (num_nodes, len(node)))


def _codes_of(prefix: np.ndarray, codebook_size: int) -> csr_matrix:
    """(M, l K) ones at the codes of prefixes (M, l), level after level."""
    count, length = prefix.shape
    column = prefix + codebook_size * np.arange(length)
    edges = np.arange(0, count * length + 1, length)
    ones = np.ones(count * length, dtype=np.float32)
    return csr_matrix((ones, column.ravel(), edges), (count, length * codebook_size))


def word_weights(words: list[list[int]], num_words: int) -> csr_matrix:
    """(N, num_words) the words of N items, rare ones more: idf, each row of length 1."""
    sets = [sorted(set(row)) for row in words]
    word = np.array([w for row in sets for w in row], dtype=np.int64)
    item = np.repeat(np.arange(len(sets)), [len(row) for row in sets])
    frequency = np.bincount(word, minlength=num_words)
    weight = np.log((len(sets) + 1) / (frequency + 0.5))[word]
    length = np.sqrt(np.bincount(item, weights=weight**2, minlength=len(sets)))[item]
    weight = weight / np.maximum(length, 1e-12)
    return csr_matrix((weight.astype(np.float32), (item, word)), (len(sets), num_words))
