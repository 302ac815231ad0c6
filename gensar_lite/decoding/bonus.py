"""What each item is worth besides the model's score, on the way down a trie.

In: a trie, a bonus (B, N) of every item for every request, e.g. the query's log-likelihood. Out:
what each step down adds. A node is worth the most that an item below it is worth, so a step adds
at most 0: scores of prefixes stay upper bounds of their items' sums, and all that finds exact lists
of log-probabilities (floors, certificates, branch and bound) finds exact lists of sums.
This file does not know what the bonus means.
"""

import numpy as np

from gensar_lite.identifiers.trie import Trie


class Bonus:
    """The bonus of B requests for every node of a trie.

    depths  per depth, the root's first: (B, M) worth of its M nodes; (1, M) where every request
            has its own root, and so its own nodes
    """

    def __init__(self, trie: Trie, values: np.ndarray):
        self.trie = trie
        if trie.num_roots == 1:
            leaves = values[:, trie.item_ids]  # (B, N)
        else:
            root = np.arange(len(trie.item_ids))
            for keys in reversed(trie.keys):  # from a leaf to its parent, up to its root
                root = keys[root] // trie.codebook_size
            leaves = values[root, trie.item_ids][None]  # (1, N)
        self.depths = [leaves]
        for depth in reversed(range(trie.num_levels)):
            parent = trie.keys[depth] // trie.codebook_size  # sorted: siblings stand together
            first = np.flatnonzero(np.diff(parent, prepend=-1))
            best = np.maximum.reduceat(self.depths[0], first, axis=1)
            worth = np.full((len(best), self._num_nodes(depth)), -np.inf, dtype=best.dtype)
            worth[:, parent[first]] = best  # a root may be without items
            self.depths.insert(0, worth)

    def _num_nodes(self, depth: int) -> int:
        return len(self.trie.keys[depth - 1]) if depth else self.trie.num_roots

    def of(self, nodes: np.ndarray, depth: int) -> np.ndarray:
        """The worth (B, n) of nodes (B, n) of one depth, -inf of node -1."""
        worth = self.depths[depth]
        row = np.arange(len(nodes))[:, None] if self.trie.num_roots == 1 else 0
        return np.where(nodes < 0, -np.inf, worth[row, np.maximum(nodes, 0)])

    def steps(self, nodes: np.ndarray, level: int) -> np.ndarray:
        """What each code adds, (B, n, K), after nodes (B, n) of depth `level`: at most 0, and 0
        where there is no such child."""
        trie, size = self.trie, self.trie.codebook_size
        keys, flat = trie.keys[level], nodes.ravel()
        path, child = trie.children(nodes, level)
        row = path // nodes.shape[1] if trie.num_roots == 1 else np.zeros_like(path)
        added = np.zeros((len(flat), size), dtype=np.float32)
        below = self.depths[level + 1][row, child]
        added[path, keys[child] % size] = below - self.depths[level][row, flat[path]]
        return added.reshape(*nodes.shape, size)
