"""The exact best items, without scoring the whole catalogue.

In: a `Decoder`, a `Question`, k. Out: a `Ranking` whose first k are certified. A prefix's
log-probability bounds those of all its items, so three things suffice: a beam, which often is exact
and knows it; wider beams that drop whatever falls below the k-th score so far; and for what is
left, branch and bound (best prefixes first). Only requests that are not settled go on. With as many
beams as there are items a beam is the plain exhaustive ranking.
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
from gensar_lite.decoding.exclusion import forbid
from gensar_lite.decoding.paths import Question, Ranking

WIDER = 4  # how many times wider each further beam is
WIDEST = 1024  # beams per request, beyond which branch and bound takes over
MARGIN = 0.1  # how far below the k-th score a floor lies: more than rounding can make up
CHUNK = 256  # prefixes that branch and bound reads at a time


def search_as_set(
    decoder: Decoder, settings: DecodingConfig, question: Question, num_beams: int, k: int
) -> Ranking:
    """A beam, or with ``settings.exact`` the exact best `k`."""
    if settings.exact:
        return search_exact(decoder, question, num_beams, k)
    return decoder.answer(question, num_beams)


def search_exact(
    decoder: Decoder, question: Question, num_beams: int, k: int, widest: int = WIDEST
) -> Ranking:
    """`Decoder.answer` whose first `k` items per request are certified, or all where there are
    fewer.

    The first beam has `num_beams`, at least `k`; the answer has as many places.
    """
    beams = max(num_beams, k)
    # 1. One beam for all. What it cut bounds what it may have missed.
    ranking = _with_places(decoder.answer(question, beams), beams)
    open_rows = np.flatnonzero(~ranking.settled(k))
    # 2. Wider beams for requests that are open. Their k-th score is a floor: what falls below it
    #    on the way cannot be among the best k, so a wide beam soon follows few paths.
    while len(open_rows) and beams < widest:
        beams = min(beams * WIDER, widest)
        step = max(MAX_PATHS // beams, 1)
        for low in range(0, len(open_rows), step):
            rows = open_rows[low : low + step]
            floor = _floor(ranking, rows, k)
            _put(ranking, rows, decoder.answer(question.part(rows), beams, floor))
        open_rows = open_rows[~ranking.settled(k)[open_rows]]
    # 3. Branch and bound, one request at a time, for what no beam has settled.
    for row in open_rows:
        rows = np.array([row])
        floor = _floor(ranking, rows, k)[0]
        _put(ranking, rows, branch_and_bound(decoder, question.part(rows), k, floor))
    used = max(int((ranking.items >= 0).sum(axis=1).max(initial=0)), 1)
    return Ranking(ranking.items[:, :used], ranking.scores[:, :used], ranking.bound)


@torch.inference_mode()
def branch_and_bound(
    decoder: Decoder,
    question: Question,
    k: int,
    floor: float = -np.inf,
    chunk: int = CHUNK,
) -> Ranking:
    """The exact best `k` items of one request, by the best prefixes first, `chunk` at a time.

    A chunk whose best prefix scores below the k-th item so far ends the search: that is the
    certificate, since no item scores above its prefix. `floor`: such a score known already.
    """
    with decoder.autocast():
        start = decoder.begin(question)
        size = start.trie.codebook_size
        spent = decoder.spent(start, question.exclude)
        items = np.zeros(0, dtype=np.int64)  # the best so far, at most k, and their scores, falling
        scores = np.zeros(0, dtype=np.float32)
        # chunks of prefixes (m, l) that wait, the one with the best score on top; at equal scores
        # the older first, so that arrays are never compared
        heap = [(-0.0, 0, np.zeros((1, 0), dtype=np.int64))]
        number = 0
        while heap and -heap[0][0] >= floor:  # else nothing that waits reaches the best k
            _, _, prefixes = heapq.heappop(heap)
            # read the chunk's prefixes from the root, m paths at once, and score all they go on to
            paths = decoder.begin(question) if prefixes.shape[1] else start
            paths = decoder.walk(paths, prefixes[None])
            total = decoder.continuations(paths)  # (1, m, K)
            if spent is not None:
                total = forbid(total, paths.nodes, spent[paths.level])
            flat = total.flatten()  # (m * K,)
            # only what the trie allows and what reaches the floor, best first
            kept = torch.nonzero(torch.isfinite(flat) & (flat >= floor)).squeeze(1)
            kept = kept[flat[kept].argsort(descending=True, stable=True)]
            reached = flat[kept].float().cpu().numpy()
            parent, code = np.divmod(kept.cpu().numpy(), size)
            if paths.level == paths.trie.num_levels - 1:
                # whole identifiers: their items join the best k, whose last one lifts the floor
                leaves = paths.trie.step(paths.nodes[0][parent], code, paths.level)
                items = np.r_[items, paths.trie.items(leaves)]
                scores = np.r_[scores, reached]
                order = np.argsort(-scores, kind="stable")[:k]
                items, scores = items[order], scores[order]
                floor = max(floor, scores[k - 1]) if len(scores) == k else floor
                continue
            longer = np.concatenate([prefixes[parent], code[:, None]], axis=1)  # (kept, l + 1)
            for low in range(0, len(kept), chunk):
                number += 1
                heapq.heappush(heap, (-float(reached[low]), number, longer[low : low + chunk]))
    # k items: all others score at most as high as the last. Fewer: none is missing.
    bound = np.full(1, -np.inf, dtype=np.float32)
    if len(scores) == k:
        bound = np.nextafter(scores[-1:], -np.inf)
    return Ranking(items[None], scores[None], bound)


def _floor(ranking: Ranking, rows: np.ndarray, k: int) -> np.ndarray:
    """(b,) a little below each request's k-th score, -inf where fewer are known."""
    return ranking.scores[rows, k - 1] - np.float32(MARGIN)


def _with_places(ranking: Ranking, places: int) -> Ranking:
    """`ranking` filled up to so many places."""
    missing = ((0, 0), (0, places - ranking.items.shape[1]))
    items = np.pad(ranking.items, missing, constant_values=-1)
    scores = np.pad(ranking.scores, missing, constant_values=-np.inf)
    return Ranking(items, scores, ranking.bound)


def _put(ranking: Ranking, rows: np.ndarray, better: Ranking) -> None:
    """Answer `rows` (b,) of `ranking` with `better`, cut or filled to the same number of places."""
    places = ranking.items.shape[1]
    given = min(better.items.shape[1], places)
    ranking.items[rows] = -1
    ranking.scores[rows] = -np.inf
    ranking.items[rows, :given] = better.items[:, :given]
    ranking.scores[rows, :given] = better.scores[:, :given]
    ranking.bound[rows] = better.bound
