"""Room for every item: sizes that suit a catalogue, and more of it where a prefix overflows.

In: how many items there are, how many of them are alike. Out: settings without a 0, a `Room`. Where
a prefix holds more items than the last level has codes, that level grows, or levels follow that
count: items of equal vectors cannot be told apart by what they are. This file assigns nothing.
"""

import dataclasses
from typing import NamedTuple

from gensar_lite.config import IdentifiersConfig

SMALLEST, LARGEST = 8, 256  # codewords that are chosen, powers of two; settings may say any number
LEVELS = 3  # chosen while LARGEST codewords are enough for it
SPARE = 2  # prefixes (all codes but the last) wanted per item, so that few items share one
GROWTH, MOST_CODES = 4, 1024  # the last level grows to so many times its codes, at most to so many


def sized(settings: IdentifiersConfig, num_items: int) -> IdentifiersConfig:
    """`settings` with `codebook_size` K and `num_levels` L chosen for N items where they are 0.

    The rule: L is 3, and K the smallest power of two from 8 to 256 with ``K^(L-1) >= 2 N``, so that
    there are twice as many prefixes as items; beyond 32,768 items K is 256 and L grows until that
    holds. A number that is set stays, and the other one follows from it. A dual identifier keeps at
    least one level beside its shared ones, the others share none (separate) or all.
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
    shared = {"dual": settings.num_shared, "separate": 0}.get(settings.strategy, levels)
    sizes = {"codebook_size": size, "num_levels": levels, "num_shared": shared}
    return dataclasses.replace(settings, **sizes)


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


def room_for(most: int, num_codes: int, counted: bool = False) -> Room:
    """The least room in which `most` items of one prefix differ, if K (`num_codes`) were fitted.

    `counted`: of one whole code sequence, by nothing but a counter.
    """
    base = max(num_codes, 2)  # nobody counts with one digit
    if counted:
        return Room(base, digits(most, base))
    if most <= num_codes:
        return Room(num_codes)
    # up to 4 K codes the last level grows, to a power of two, so that a few new items fit as well:
    # a longer identifier would cost every item a step of decoding
    limit = max(num_codes, min(GROWTH * num_codes, MOST_CODES))
    if most <= limit:
        return Room(min(1 << (most - 1).bit_length(), limit))
    # beyond, as many counting levels as it takes
    return Room(base, digits(most, base) - 1)


def digits(count: int, base: int) -> int:
    """How many digits the numbers from 0 to ``count - 1`` need, at least one."""
    needed = 1
    while base**needed < count:
        needed += 1
    return needed
