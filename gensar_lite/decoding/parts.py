"""Search as recommendation times likelihood: a score that is a weighted sum of log-probabilities.

    score(i) = log P_s(i | history, query)                  the semantic identifier, generated
             + history    * log P_c(i | history)            the collaborative one, without the query
             + likelihood * log P(query | i)                the words of the query (likelihood.py)
             + popularity * log P(i)                        its share of train events

Each part beside the first is known for every item, or bounded from above: a prefix scores at least
as high as its items. Bounds travel down the first part's trie as a `Bonus`, so the list of the best
upper bounds is exact; its items are then scored in full, and the list is certified once its k-th
sum is above every bound outside it (the threshold algorithm: Fagin, Lotem and Naor 2003).
In: a `Decoder`, target events, weights. Out: a `Ranking` of sums. This file fits no weight.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.exact import search_exact
from gensar_lite.decoding.paths import Paths, Question, Ranking
from gensar_lite.decoding.whole import catalogue_scores

GROWTH = 4  # how many times more items are scored in full where a list is not settled
BEAMS = 50  # of the search that bounds what history alone prefers


class Weights(NamedTuple):
    """What each part beside the model's own answer counts; 0 leaves it out."""

    history: float = 0.0
    likelihood: float = 0.0
    popularity: float = 0.0


class Bounds(NamedTuple):
    """Log-probabilities (B, N) of all items, from above, and where they are the items' own."""

    values: np.ndarray
    is_exact: np.ndarray


def upper_bounds(decoder: Decoder, question: Question, num_beams: int) -> Bounds:
    """What a beam search tells of every item: its own score, or that of its last prefix read."""
    batch = len(question.source)
    trie = bounds = read = None

    def watch(paths: Paths, total, best) -> None:
        nonlocal trie, bounds, read
        trie = paths.trie
        if paths.level == 0:
            # scores of the nodes of one depth, (B, M); a node that nobody read has its parent's
            bounds = np.zeros((batch, trie.num_roots), dtype=np.float32)
        parent, code = np.divmod(trie.keys[paths.level], trie.codebook_size)
        place = np.full((batch, bounds.shape[1]), -1)  # which path stands at a node, if any
        row, path = np.nonzero(paths.nodes >= 0)
        place[row, paths.nodes[row, path]] = path
        at = place[:, parent]  # (B, M_l+1) the path at each child's parent
        scores = total.float().cpu().numpy()
        reached = scores[np.arange(batch)[:, None], np.maximum(at, 0), code]
        read = at >= 0
        bounds = np.where(read, reached, bounds[:, parent])

    decoder.answer(question, num_beams, watch=watch)
    values = np.empty_like(bounds)
    is_exact = np.empty_like(read)
    values[:, trie.item_ids] = bounds
    is_exact[:, trie.item_ids] = read
    return Bounds(values, is_exact)


def search_sum(
    decoder: Decoder,
    question: Question,
    known: np.ndarray,
    other: Question | None,
    weight: float,
    num_beams: int,
    k: int,
) -> Ranking:
    """The exact best `k` items by ``model + known + weight * model of other``.

    known   (B, N) what is known of every item
    other   the second question to the same model (its history alone), None without it
    """
    if other is None or not weight:
        return search_exact(decoder, replace(question, bonus=known), num_beams, k)
    if decoder.is_tree:
        scores = catalogue_scores(decoder.generator.model, other).cpu().numpy()
        whole = replace(question, bonus=(known + weight * scores).astype(np.float32))
        return search_exact(decoder, whole, num_beams, k)
    bounds = upper_bounds(decoder, other, max(BEAMS, k))
    ceiling = known + weight * bounds.values  # (B, N)
    size = len(question.source)
    items = np.full((size, k), -1)
    scores = np.full((size, k), -np.inf, dtype=np.float32)
    bound = np.full(size, -np.inf, dtype=np.float32)
    rows = np.arange(size)
    wanted = 2 * k
    while len(rows):
        # 1. the best by their upper bounds, exactly
        part = replace(question.part(rows), bonus=ceiling[rows])
        listed = search_exact(decoder, part, num_beams, wanted)
        there = listed.items >= 0
        candidates = np.maximum(listed.items, 0)
        # 2. their sums: what a bound had too much is taken off
        known_of = np.take_along_axis(bounds.values[rows], candidates, axis=1)
        full = decoder.score(other.part(rows), candidates)
        sums = np.where(there, listed.scores + weight * (full - known_of), -np.inf)
        order = np.argsort(-sums, axis=1, kind="stable")[:, :k]
        # 3. nothing outside the list is above its last upper bound
        outside = np.where(there.all(axis=1), listed.scores[:, -1], -np.inf)
        outside = np.where(there.sum(axis=1) < wanted, listed.bound, outside)
        width = order.shape[1]
        items[rows, :width] = np.take_along_axis(np.where(there, listed.items, -1), order, axis=1)
        scores[rows, :width] = np.take_along_axis(sums, order, axis=1)
        bound[rows] = outside
        settled = Ranking(items[rows], scores[rows], outside).settled(k)
        rows = rows[~settled]
        wanted *= GROWTH
    return Ranking(items, scores, bound)
