"""The exact best items, without scoring the whole catalogue.

In: a `Decoder`, a `Question`, k. Out: a `Ranking` whose first k are certified. A prefix's
log-probability bounds those of all its items, so three things suffice: a beam, which often is exact
and knows it; for requests that are not settled wider beams, which drop whatever falls below the
k-th score so far; and for what is left, branch and bound (best prefixes first). Exact means up to
rounding: the same prefix scores a little differently beside others, most in bf16.
"""

import heapq

import numpy as np
import torch

from gensar_lite.config import DecodingConfig
from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.paths import MAX_PATHS, Question, Ranking
from gensar_lite.decoding.whole import rank_all

WIDER = 4  # how many times wider each further beam is
WIDEST = 1024  # beams per request, beyond which branch and bound takes over
MARGIN = 0.1  # how far below the k-th score a floor lies: more than rounding can make up
CHUNK = 256  # prefixes that branch and bound reads at a time


def search_as_set(
    decoder: Decoder, settings: DecodingConfig, question: Question, num_beams: int, k: int
) -> Ranking:
    """A beam, or with ``settings.exact`` the exact best `k`."""
    if settings.exact or decoder.is_tree:  # a tree knows the whole list anyway
        return search_exact(decoder, question, num_beams, k)
    return decoder.answer(question, num_beams)


def search_exact(
    decoder: Decoder, question: Question, num_beams: int, k: int, widest: int = WIDEST
) -> Ranking:
    """`Decoder.answer` whose first `k` items per request are certified, or all where there are
    fewer; it has as many places as the first beam, `num_beams` and at least `k`."""
    beams = max(num_beams, k)
    if decoder.is_tree:
        return rank_all(decoder.generator.model, question, beams)
    # 1. One beam for all. What it cut bounds what it may have missed.
    shape, all_rows = (len(question.source), beams), np.arange(len(question.source))
    ranking = Ranking(np.zeros(shape, int), np.zeros(shape, np.float32), np.zeros(shape[0]))
    _put(ranking, all_rows, decoder.answer(question, beams))
    open_rows = all_rows[~ranking.settled(k)]
    # 2. Wider beams for requests that are open. Their k-th score is a floor: what falls below it
    #    on the way cannot be among the best k, so a wide beam soon follows few paths.
    while len(open_rows) and beams < widest:
        beams = min(beams * WIDER, widest)
        step = max(MAX_PATHS // beams, 1)
        for low in range(0, len(open_rows), step):
            rows = open_rows[low : low + step]
            # a little below each one's k-th score, -inf where fewer are known
            floor = ranking.scores[rows, k - 1] - np.float32(MARGIN)
            _put(ranking, rows, decoder.answer(question.part(rows), beams, floor))
        open_rows = open_rows[~ranking.settled(k)[open_rows]]
    # 3. Branch and bound, one request at a time, for what no beam has settled.
    for row in open_rows:
        rows, floor = np.array([row]), ranking.scores[row, k - 1] - np.float32(MARGIN)
        _put(ranking, rows, branch_and_bound(decoder, question.part(rows), k, floor))
    return ranking


@torch.inference_mode()
def branch_and_bound(
    decoder: Decoder, question: Question, k: int, floor: float = -np.inf, chunk: int = CHUNK
) -> Ranking:
    """The exact best `k` items of one request, by the best prefixes first, `chunk` at a time.

    A chunk whose best prefix scores below the k-th item so far, or the `floor` that is known
    already, ends the search: that is the certificate, since no item scores above its prefix.
    """
    with decoder.autocast():
        start = decoder.begin(question)
        items = np.zeros(0, dtype=np.int64)  # the best so far, at most k, and their scores, falling
        scores = np.zeros(0, dtype=np.float32)
        # chunks of prefixes (m, l) that wait, the one with the best score on top; at equal scores
        # the older first, so that arrays are never compared
        heap = [(-np.inf, 0, np.zeros((1, 0), dtype=np.int64))]
        number = 0
        while heap and -heap[0][0] >= floor:  # else nothing that waits reaches the best k
            _, _, prefixes = heapq.heappop(heap)
            # read the chunk's prefixes from the root, m paths at once, and score all they go on to
            paths = decoder.begin(question) if prefixes.shape[1] else start
            paths = decoder.walk(paths, prefixes[None])
            flat = decoder.continuations(paths).flatten()  # (1, m, K) to (m * K,)
            # only what the trie allows and what reaches the floor, best first
            kept = torch.nonzero(torch.isfinite(flat) & (flat >= floor)).squeeze(1)
            kept = kept[flat[kept].argsort(descending=True, stable=True)]
            reached = flat[kept].float().cpu().numpy()
            parent, code = np.divmod(kept.cpu().numpy(), paths.trie.codebook_size)
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


def _put(ranking: Ranking, rows: np.ndarray, better: Ranking) -> None:
    """Answer `rows` (b,) of `ranking` with `better`, cut or filled to the same number of places."""
    places = ranking.items.shape[1]
    given = min(better.items.shape[1], places)
    ranking.items[rows] = -1
    ranking.scores[rows] = -np.inf
    ranking.items[rows, :given] = better.items[:, :given]
    ranking.scores[rows, :given] = better.scores[:, :given]
    ranking.bound[rows] = better.bound
