"""Pseudo-queries: what could have been typed to find an item, made from the item's own text.

In: a catalogue and a seed. Out: query texts and the item of each. This file does not know the log of searches: it
never reads a query that somebody typed, of whatever split.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class PseudoQueries(NamedTuple):
    """P queries: their texts, and the item (P,) that each was made for, in ascending order."""

    texts: list[str]
    item: np.ndarray

    @staticmethod
    def none() -> PseudoQueries:
        return PseudoQueries([], np.zeros(0, dtype=np.int64))
