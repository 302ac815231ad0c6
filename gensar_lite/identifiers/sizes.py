"""How many codewords and levels a catalogue asks for, where the settings leave it open (0).

In: the number of items and settings. Out: settings without a 0. This file knows no vector: what
does not fit after all (many items at one place) is room.py's.
"""

from __future__ import annotations

import dataclasses

from gensar_lite.config import IdentifiersConfig

SMALLEST, LARGEST = 8, 256  # codewords that are chosen, powers of two; settings may say any number
LEVELS = 3  # chosen while LARGEST codewords are enough for it
SPARE = 2  # prefixes (all codes but the last) wanted per item, so that few items share one


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
