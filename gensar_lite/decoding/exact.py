"""The exact best items, without scoring the whole catalogue.

In: a `Decoder`, sources, k. Out: `Found` whose first k are certified. A prefix's log-probability bounds those of all
its items, so three things suffice: a beam, which often is exact and knows it; wider beams that drop whatever falls
below the k-th score found so far; and for what is left, branch and bound (best prefixes first). Only queries that are
not settled go on. With as many beams as there are items a beam is the plain exhaustive ranking.
Exact means up to rounding: the same prefix scores a little differently beside others, most in bf16.
This file does not know what was relevant.
"""

from __future__ import annotations

import heapq

import numpy as np
import torch

from gensar_lite.config import DecodingConfig
from gensar_lite.decoding.batches import MAX_PATHS
from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.exclusion import Pairs, forbid
from gensar_lite.decoding.paths import Found

WIDER = 4  # how many times wider each further beam is
WIDEST = 1024  # beams a query, beyond which branch and bound takes over
MARGIN = 0.1  # how far below the k-th score a floor lies: more than rounding can make up
CHUNK = 256  # prefixes that branch and bound reads at a time


def search_exact(
    decoder: Decoder,
    task: str,
    source: torch.Tensor,
    mask: torch.Tensor,
    num_beams: int,
    k: int,
    allowed: np.ndarray | None = None,
    exclude: Pairs | None = None,
    widest: int = WIDEST,
) -> Found:
    """`Decoder.search_sources` whose first `k` items a query are certified, or all where there are fewer.

    The first beam has `num_beams`, at least `k`; the answer has as many places.
    """
    width = max(num_beams, k)
    nothing = Found(
        np.zeros((len(source), 0), np.int64),
        np.zeros((len(source), 0), np.float32),
        np.zeros(len(source)),
    )
    everyone, beams = np.arange(len(source)), width
    found = _replaced(
        nothing,
        everyone,
        decoder.search_sources(task, source, mask, width, allowed, exclude),
        width,
    )
    open_ = np.flatnonzero(~found.settled(k))
    while len(open_) and beams < widest:
        beams = min(beams * WIDER, widest)
        step = max(MAX_PATHS // beams, 1)
        for part in (open_[i : i + step] for i in range(0, len(open_), step)):
            inputs = _cut(part, source, mask, allowed, exclude)
            better = decoder.search_sources(
                task, *inputs[:2], beams, *inputs[2:], floor=_floor(found, part, k)
            )
            found = _replaced(found, part, better, width)
        open_ = open_[~_take(found, open_).settled(k)]
    for row in open_:
        one = np.array([row])
        inputs = _cut(one, source, mask, allowed, exclude)
        found = _replaced(
            found, one, branch_and_bound(decoder, task, *inputs, k, _floor(found, one, k)[0]), width
        )
    used = max(int((found.items >= 0).sum(axis=1).max(initial=0)), 1)
    return Found(found.items[:, :used], found.scores[:, :used], found.bound)


def search_as_set(
    decoder: Decoder,
    settings: DecodingConfig,
    task: str,
    source: torch.Tensor,
    mask: torch.Tensor,
    num_beams: int,
    k: int,
    allowed: np.ndarray | None = None,
    exclude: Pairs | None = None,
) -> Found:
    """A beam, or with ``settings.exact`` the exact best `k`."""
    if settings.exact:
        return search_exact(decoder, task, source, mask, num_beams, k, allowed, exclude)
    return decoder.search_sources(task, source, mask, num_beams, allowed, exclude)


@torch.inference_mode()
def branch_and_bound(
    decoder: Decoder,
    task: str,
    source: torch.Tensor,
    mask: torch.Tensor,
    allowed: np.ndarray | None,
    exclude: Pairs | None,
    k: int,
    floor: float = -np.inf,
    chunk: int = CHUNK,
) -> Found:
    """The exact best `k` items of one source (1, S), by the best prefixes first, `chunk` at a time.

    A chunk whose best prefix scores below the k-th item so far ends the search. `floor`: such a score known already.
    """
    with decoder.autocast():
        start = decoder.begin(task, source, mask, allowed)
        size, spent = start.trie.codebook_size, decoder.spent(start, exclude)
        best = (
            np.zeros(0, dtype=np.int64),
            np.zeros(0, dtype=np.float32),
        )  # items and scores, falling
        heap = [
            (-0.0, 0, np.zeros((1, 0), dtype=np.int64))
        ]  # minus the best score, number, codes (m, l)
        number = 0
        while heap and -heap[0][0] >= floor:
            _, _, prefixes = heapq.heappop(heap)
            paths = decoder.begin(task, source, mask, allowed) if prefixes.shape[1] else start
            paths = decoder.walk(paths, prefixes[None])
            total = decoder.continuations(paths)  # (1, m, K)
            if spent is not None:
                total = forbid(total, paths.nodes, spent[paths.level])
            last = paths.level == paths.trie.num_levels - 1
            flat = total.flatten()
            kept = torch.nonzero(torch.isfinite(flat) & (flat >= floor)).squeeze(1)
            kept = kept[flat[kept].argsort(descending=True, stable=True)]
            scores, kept = flat[kept].float().cpu().numpy(), kept.cpu().numpy()
            if last:
                leaves = paths.trie.step(paths.nodes[0][kept // size], kept % size, paths.level)
                best = _merged(best, paths.trie.items(leaves), scores, k)
                floor = max(floor, best[1][k - 1]) if len(best[1]) == k else floor
                continue
            longer = np.concatenate([prefixes[kept // size], (kept % size)[:, None]], axis=1)
            for low in range(0, len(kept), chunk):
                number += 1  # equal scores: the older first, so arrays are never compared
                heapq.heappush(heap, (-float(scores[low]), number, longer[low : low + chunk]))
    bound = (
        np.nextafter(best[1][-1:], -np.inf)
        if len(best[1]) == k
        else np.full(1, -np.inf, dtype=np.float32)
    )
    return Found(best[0][None], best[1][None], bound)


def _merged(
    best: tuple, items: np.ndarray, scores: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    items, scores = np.r_[best[0], items], np.r_[best[1], scores]
    order = np.argsort(-scores, kind="stable")[:k]
    return items[order], scores[order]


def _floor(found: Found, rows: np.ndarray, k: int) -> np.ndarray:
    """(B,) a little below each query's k-th score, -inf where fewer are known."""
    if found.scores.shape[1] < k:
        return np.full(len(rows), -np.inf, dtype=np.float32)
    return found.scores[rows, k - 1] - np.float32(MARGIN)


def _cut(rows: np.ndarray, source: torch.Tensor, mask: torch.Tensor, allowed, exclude) -> tuple:
    """The inputs of some queries alone."""
    if allowed is not None and allowed.ndim == 2:
        allowed = allowed[rows]
    if exclude is not None:
        place = np.full(len(source), -1)
        place[rows] = np.arange(len(rows))
        mine = place[exclude[0]] >= 0
        exclude = (place[exclude[0]][mine], exclude[1][mine])
    at = torch.from_numpy(rows).to(source.device)
    return source[at], mask[at], allowed, exclude


def _take(found: Found, rows: np.ndarray) -> Found:
    return Found(*(part[rows] for part in found))


def _replaced(found: Found, rows: np.ndarray, better: Found, places: int) -> Found:
    """`found` with `rows` answered anew, cut or filled to the same number of places."""
    missing = ((0, 0), (0, places - found.items.shape[1]))
    items, scores = np.pad(found.items, missing, constant_values=-1), np.pad(found.scores, missing)
    bound, given = found.bound.astype(np.float32), min(better.items.shape[1], places)
    items[rows], scores[rows] = -1, -np.inf
    items[rows, :given], scores[rows, :given] = better.items[:, :given], better.scores[:, :given]
    bound[rows] = better.bound
    return Found(items, scores, bound)
