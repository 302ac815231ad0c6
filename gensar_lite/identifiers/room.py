"""Room for every item: sizes that suit a catalogue, and more of it where a prefix overflows.

In: how many items there are, and how many of them are alike. Out: settings without a 0, a `Room`,
and sentences that say what overflowed and why. Where a prefix holds more items than the last level
has codes, that level grows, or more levels follow: nothing stops a catalogue. Items of equal
vectors (cold ones with the same text neighbours, for one) cannot be told apart by what they are,
but by a counter. This file assigns nothing.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from gensar_lite.artifacts import Identifiers, ItemEmbeddings
from gensar_lite.config import IdentifiersConfig
from gensar_lite.identifiers.usage import row_numbers

SMALLEST, LARGEST = 8, 256  # codewords that are chosen, powers of two; settings may say any number
LEVELS = 3  # chosen while LARGEST codewords are enough for it
SPARE = 2  # prefixes (all codes but the last) wanted per item, so that few items share one
GROWTH, MOST_CODES = 4, 1024  # the last level grows to so many times its codes, at most to so many


def sized(settings: IdentifiersConfig, num_items: int) -> IdentifiersConfig:
    """`settings` with `codebook_size` K and `num_levels` L chosen for N items where they are 0.

    The rule: L is 3, and K the smallest power of two from 8 to 256 with ``K^(L-1) >= 2 N``, so that
    there are twice as many prefixes as items; beyond 32,768 items K is 256 and L grows until that
    holds. 10 items get K = 8, 300 get 32, 4,000 get 128, 30,000 get 256, all with 3 levels; 100,000
    get 4 levels of 256. A number that is set stays, and the other one follows from it. A dual
    identifier keeps at least one level beside its shared ones.
    """
    levels = settings.num_levels or LEVELS
    size = settings.codebook_size or SMALLEST
    if not settings.codebook_size:
        while size < LARGEST and size ** (levels - 1) < SPARE * num_items:
            size *= 2
    if not settings.num_levels:
        base = settings.codebook_size or LARGEST
        while base > 1 and base ** (levels - 1) < SPARE * num_items:
            levels += 1
        if settings.strategy == "dual":
            levels = max(levels, settings.num_shared + 1)
    return dataclasses.replace(settings, codebook_size=size, num_levels=levels)


class Room(NamedTuple):
    """What tells the items of one prefix apart: the last level's codes, then a counter's digits."""

    num_codes: int  # K of an identifier, at every level
    num_counters: int = 0  # levels after the last one that only count

    @property
    def repeats(self) -> int:
        """How many items one whole code sequence may have: the counter's values."""
        return self.num_codes**self.num_counters

    @property
    def items(self) -> int:
        """How many items one prefix may have."""
        return self.num_codes * self.repeats


def room_for(most: int, num_codes: int) -> Room:
    """The least room in which `most` items of one prefix differ, if K (`num_codes`) were fitted."""
    if most <= num_codes:
        return Room(num_codes)
    # up to 4 K codes the last level grows, to a power of two, so that a few new items fit as well:
    # a longer identifier would cost every item a step of decoding
    limit = max(num_codes, min(GROWTH * num_codes, MOST_CODES))
    if most <= limit:
        return Room(min(1 << (most - 1).bit_length(), limit))
    # beyond, as many counting levels as it takes; nobody counts with one digit
    base = max(num_codes, 2)
    return Room(base, digits(most, base) - 1)


def digits(count: int, base: int) -> int:
    """How many digits the numbers from 0 to ``count - 1`` need, at least one."""
    needed = 1
    while base**needed < count:
        needed += 1
    return needed


def overflow_warning(
    name: str,
    codes: np.ndarray,
    vectors: np.ndarray,
    num_codes: int,
    identifiers: Identifiers,
    cold: np.ndarray | None,
) -> str:
    """A sentence where codes (N, L) before repair hold a prefix of more than `num_codes` items.

    It says how many, how many of them are cold or have another one's vector (N, d) of the view or
    views `name`, and what was done in `identifiers`; "" where nothing overflows.
    """
    prefix = row_numbers(codes[:, :-1])
    sizes = np.bincount(prefix)
    if sizes.max(initial=0) <= num_codes:
        return ""
    inside = np.flatnonzero(sizes[prefix] > num_codes)  # items of the prefixes that overflow
    alike = np.unique(vectors[inside], axis=0, return_counts=True)[1]
    num_cold = 0 if cold is None else int(cold[inside].sum())
    more = identifiers.num_levels - codes.shape[1]
    done = f"the last level has grown to {identifiers.codebook_size:,} codes"
    if more:
        levels = "levels come" if more > 1 else "level comes"
        done = (
            f"{more} counting {levels} after the last one, so that an identifier has "
            f"{identifiers.num_levels} levels"
        )
    return (
        f"identifiers: {sizes.max():,} items share one {name} prefix, but the last level has "
        f"{num_codes:,} codes; {len(inside):,} items stand in such prefixes, {num_cold:,} of them "
        f"cold, {alike[alike > 1].sum():,} with the same {name} vector as another one. So {done}."
    )


def equal_warning(embeddings: ItemEmbeddings, view: str) -> str:
    """A sentence where all items have the same vector in `view`, so that its codes say nothing."""
    table = getattr(embeddings, view)
    if table is None or len(table) <= 1 or not np.allclose(table, table[:1], rtol=0, atol=1e-12):
        return ""
    return (
        f"identifiers: all {len(table):,} items have the same {view} vector, so their {view} codes "
        "are mere numbers. Bring titles that differ (semantic) or a longer log (collaborative)."
    )
