"""Which requests are searched together, and with how many beams.

In: how long each request's source is, and how many items it must not be answered with. Out:
batches of one width. The one rule of the decoding stage, of training's judge and of
`Recommender`. This file does not know models.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gensar_lite.config import DecodingConfig

WIDTHS = 10  # beams beyond the setting come in multiples of it: nearly equal ones share a batch
WIDENED = 250  # left-out items up to which each brings a beam; a list is full without them too
MAX_PATHS = 16_384  # paths that one batch follows at a time


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
