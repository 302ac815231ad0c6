"""What a search is asked and with how many beams, where it stands, what stays, what it answers.

In: sources, their lengths; scores of continuations. Out: batches of one width; the best, and the
best that was cut, which is what an answer's certificate rests on. This file does not know models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from gensar_lite.config import DecodingConfig
from gensar_lite.decoding.bonus import Bonus
from gensar_lite.decoding.exclusion import Pairs, Spent
from gensar_lite.decoding.read import Cache
from gensar_lite.identifiers.trie import Trie

WIDTHS = 10  # beams beyond the setting come in multiples of it: nearly equal ones share a batch
WIDENED = 250  # left-out items up to which each brings a beam; a list is full without them too
MAX_PATHS = 16_384  # paths that one batch follows at a time


@dataclass(frozen=True)
class Question:
    """B requests of one task, and what may answer them.

    task     recommend or search
    source   (B, S) token ids that the model reads
    mask     (B, S) which of them are real
    allowed  the items that may be answered: None (all), a mask (N,), or each request's own
             candidates (B, C) as item ids, -1 for none
    exclude  pairs of request number and item id that must not be answered
    bonus    (B, N) what each item is worth besides the model's score, finite: see `Bonus`
    """

    task: str
    source: torch.Tensor
    mask: torch.Tensor
    allowed: np.ndarray | None = None
    exclude: Pairs | None = None
    bonus: np.ndarray | None = None

    def part(self, rows: np.ndarray) -> Question:
        """The question of the requests `rows` (b,) alone, numbered anew."""
        at = torch.as_tensor(rows).to(self.source.device)
        limits = {}
        if self.allowed is not None and self.allowed.ndim == 2:
            limits["allowed"] = self.allowed[rows]
        if self.exclude is not None:
            number = np.full(len(self.source), -1)  # of each request among `rows`
            number[rows] = np.arange(len(rows))
            request, item = number[self.exclude[0]], self.exclude[1]
            limits["exclude"] = (request[request >= 0], item[request >= 0])
        if self.bonus is not None:
            limits["bonus"] = self.bonus[rows]
        return replace(self, source=self.source[at], mask=self.mask[at], **limits)


class Ranking(NamedTuple):
    """Answers to B requests, best first.

    items   (B, n) item ids, -1 where a request has fewer than n
    scores  (B, n) log-probabilities, -inf where there is no item
    bound   (B,) no item that is missing scores higher; -inf: none is missing
    """

    items: np.ndarray
    scores: np.ndarray
    bound: np.ndarray

    @property
    def certified(self) -> np.ndarray:
        """(B, n) place j: the first j + 1 items are provably the exact best, up to rounding and
        equal scores."""
        return self.scores > self.bound[:, None]

    def settled(self, k: int) -> np.ndarray:
        """(B,) the first k are provably exact, or all that there are."""
        return (self.certified[:, :k].sum(axis=1) >= k) | np.isneginf(self.bound)


class Paths(NamedTuple):
    """Where B searches stand: n prefixes of `level` codes each.

    tokens  (B, n) the last token of each, which the model has not read yet
    nodes   (B, n) nodes of the trie, -1 for a path that leads nowhere
    scores  (B, n) log-probabilities, with the worth of the nodes where there is a bonus
    spent   per level the continuations that lead to excluded items alone
    """

    view: str
    trie: Trie
    cache: Cache
    level: int
    tokens: torch.Tensor
    nodes: np.ndarray
    scores: torch.Tensor
    spent: list[Spent] | None = None
    bonus: Bonus | None = None


def keep_best(
    total: torch.Tensor, num_beams: int, bound: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best `num_beams` of continuations (B, n, K), of which `bound` (B,) was cut before.

    Returns scores (B, m), numbers ``path * K + code`` (B, m) and the best score cut so far (B,).
    m is smaller than `num_beams` where no request has as many that are finite.
    """
    flat = total.flatten(1)  # (B, n * K): column number = path * K + code
    # as many places as the request with the most possible continuations can fill, at least one
    most = int(torch.isfinite(flat).sum(dim=1).max())
    keep = max(min(num_beams, most), 1)
    # one more than is kept: the first that is cut, which is the best of all that are
    scores, best = flat.topk(min(keep + 1, flat.shape[1]), dim=1)
    if most > keep:
        bound = torch.maximum(bound, scores[:, keep])
    return scores[:, :keep], best[:, :keep], bound


class Batch(NamedTuple):
    """Requests (B,) by number, and the beams of their search."""

    places: np.ndarray
    num_beams: int


def batches_of_like_width(
    lengths: np.ndarray, left_out: np.ndarray, k: int, settings: DecodingConfig
) -> list[Batch]:
    """All requests in batches of one width and like length, `settings.batch_size` at most.

    `lengths` (R,) are those of the sources, `left_out` (R,) how many items each must not be
    answered with: a model likes them best, often, and a beam that follows them has less room for
    others. `k` items are asked for.
    """
    need = k + np.minimum(left_out, WIDENED)
    width = np.where(need > settings.num_beams, -(-need // WIDTHS) * WIDTHS, settings.num_beams)
    order, batches = np.lexsort([-lengths, width]), []
    for num_beams in np.unique(width).tolist():
        like = order[width[order] == num_beams]  # the longest first
        size = max(min(settings.batch_size, MAX_PATHS // num_beams), 1)
        batches += [Batch(like[low : low + size], num_beams) for low in range(0, len(like), size)]
    return batches
