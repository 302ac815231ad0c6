"""Where a search stands, what it found, and the small step between: which continuations stay.

In: scores of continuations. Out: the best of them, and the best that was cut, which is what an answer's certificate
rests on. This file does not know models.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from gensar_lite.decoding.read import Cache
from gensar_lite.decoding.trie import Trie


class Found(NamedTuple):
    """Answers to B queries, best first.

    items   (B, n) item ids, -1 where a query has fewer than n
    scores  (B, n) log-probabilities, -inf where there is no item
    bound   (B,) no item that is missing scores higher; -inf: none is missing
    """

    items: np.ndarray
    scores: np.ndarray
    bound: np.ndarray

    @property
    def certified(self) -> np.ndarray:
        """(B, n) place j: the first j + 1 items are provably the exact best, up to rounding and equal scores."""
        return self.scores > self.bound[:, None]

    def settled(self, k: int) -> np.ndarray:
        """(B,) the first k are provably exact, or all that there are."""
        return (self.certified[:, :k].sum(axis=1) >= k) | np.isneginf(self.bound)


class Paths(NamedTuple):
    """Where B searches stand: n prefixes of `level` codes each.

    tokens  (B, n) the last token of each, which the model has not read yet
    nodes   (B, n) nodes of the trie, -1 for a path that leads nowhere
    scores  (B, n) log-probabilities
    """

    view: str
    trie: Trie
    cache: Cache
    level: int
    tokens: torch.Tensor
    nodes: np.ndarray
    scores: torch.Tensor

    @property
    def finished(self) -> bool:
        return self.level == self.trie.num_levels


def keep_best(
    total: torch.Tensor, num_beams: int, bound: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best `num_beams` of continuations (B, n, K): scores (B, m), numbers (B, m) ``path * K + code``, and the best
    score cut so far (B,), of which `bound` is what was cut before.

    m is smaller where no query has as many that are finite.
    """
    flat = total.flatten(1)
    count = int(torch.isfinite(flat).sum(dim=1).max())
    keep = max(min(num_beams, count), 1)
    scores, best = flat.topk(min(keep + 1, flat.shape[1]), dim=1)
    if count > keep:
        bound = torch.maximum(bound, scores[:, keep])
    return scores[:, :keep], best[:, :keep], bound
