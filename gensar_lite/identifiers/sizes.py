"""How many codewords and levels a catalogue asks for, where the settings leave it open (0).

In: the number of items and settings. Out: settings without a 0. This file knows no vector: what does not fit after all
(many items at one place) is room.py's.
"""

from __future__ import annotations

import dataclasses

from gensar_lite.config import ConfigError, IdentifiersConfig

SMALLEST, LARGEST = 8, 256  # codewords that are chosen, powers of two; settings may name any number
LEVELS = 3  # chosen while LARGEST codewords are enough for it
SPARE = 2  # prefixes (all codes but the last) wanted per item, so that few items share one
_MOST_CODES, _MOST_LEVELS = 65_536, 32


def sized(settings: IdentifiersConfig, num_items: int) -> IdentifiersConfig:
    """`settings` with `codebook_size` K and `num_levels` L chosen for N items where they are 0.

    The rule: L is 3, and K the smallest power of two from 8 to 256 with ``K^(L-1) >= 2 N``, so that there are twice
    as many prefixes as items; beyond 32,768 items K is 256 and L grows until that holds. 10 items get K = 8, 300 get
    32, 4,000 get 128, 30,000 get 256, all with 3 levels; 100,000 get 4 levels of 256. A number that is set stays, and
    the other one follows from it. A dual identifier keeps at least one level of its own beside its shared ones.
    """
    levels = settings.num_levels or _levels_for(num_items, settings)
    size = settings.codebook_size or _codes_for(num_items, settings.num_levels or LEVELS)
    return dataclasses.replace(settings, codebook_size=size, num_levels=levels)


def check_sizes(settings: IdentifiersConfig) -> None:
    """Raise `ConfigError` for a number of codewords, levels or shared levels that no identifier can have."""
    for name, most in (("codebook_size", _MOST_CODES), ("num_levels", _MOST_LEVELS)):
        value = getattr(settings, name)
        if not 0 <= value <= most:
            raise ConfigError(
                f"identifiers: {name} is {value}, but it must be 1 to {most:,}, or 0 to follow from the catalogue, "
                f"e.g. --set identifiers.{name}=0."
            )
    levels, shared = settings.num_levels, settings.num_shared
    if settings.strategy == "dual" and not 0 <= shared <= (levels or _MOST_LEVELS - 1):
        needs = (
            f"of {levels} levels needs 0 to {levels}"
            if levels
            else f"needs 0 to {_MOST_LEVELS - 1}"
        )
        raise ConfigError(f"identifiers: num_shared is {shared}, but a dual identifier {needs}.")


def _codes_for(num_items: int, levels: int) -> int:
    size = SMALLEST
    while size < LARGEST and size ** (levels - 1) < SPARE * num_items:
        size *= 2
    return size


def _levels_for(num_items: int, settings: IdentifiersConfig) -> int:
    levels, size = LEVELS, settings.codebook_size or LARGEST
    while size > 1 and size ** (levels - 1) < SPARE * num_items:
        levels += 1
    return max(levels, settings.num_shared + 1) if settings.strategy == "dual" else levels
