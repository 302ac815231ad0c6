"""Room for every item: where a prefix holds more items than the last level has codes, that level grows or more follow.

In: codes before repair. Out: a `Room`, and sentences that say what overflowed and why. Nothing stops a catalogue: items
of equal vectors (cold ones with the same text neighbours, for one) cannot be told apart by what they are, but by a
counter. This file assigns nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gensar_lite.artifacts import Identifiers, ItemEmbeddings
from gensar_lite.identifiers.usage import row_numbers

GROWTH, LARGEST = (
    4,
    1024,
)  # the last level grows to 4 times its codes, and to no more than 1,024, before levels follow


class Room(NamedTuple):
    """What tells the items of one prefix apart: the last level's codes, then the digits of a counter."""

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
    """The least room in which `most` items of one prefix are told apart, if K (`num_codes`) codes were fitted.

    Up to 4 K codes (1,024 at most) the last level grows, to a power of two, so that a few new items fit as well: a
    longer identifier would cost every item a step of decoding. Beyond, as many counting levels of K codes as it takes.
    """
    limit = max(num_codes, min(GROWTH * num_codes, LARGEST))
    if most <= num_codes:
        return Room(num_codes)
    if most <= limit:
        return Room(min(1 << (most - 1).bit_length(), limit))
    base = max(num_codes, 2)  # nobody counts with one digit
    return Room(base, digits(most, base) - 1)


def digits(count: int, base: int) -> int:
    """How many digits the numbers from 0 to ``count - 1`` need, at least one."""
    needed = 1
    while base**needed < count:
        needed += 1
    return needed


class Quantized(NamedTuple):
    """What one set of codes came from: `name` of its view or views, codes (N, L) before repair, vectors (N, d)."""

    name: str
    codes: np.ndarray
    vectors: np.ndarray


def overflow_warnings(
    quantized: list[Quantized], num_codes: int, identifiers: Identifiers, cold: np.ndarray | None
) -> tuple[str, ...]:
    """A sentence per set of codes with a prefix of more than `num_codes` items.

    Each says how many items, how many of them are cold or have another one's vector, and what was done.
    """
    return tuple(
        text for part in quantized if (text := _overflow(part, num_codes, identifiers, cold))
    )


def _overflow(
    part: Quantized, num_codes: int, identifiers: Identifiers, cold: np.ndarray | None
) -> str:
    prefix = row_numbers(part.codes[:, :-1])
    sizes = np.bincount(prefix)
    if sizes.max(initial=0) <= num_codes:
        return ""
    inside = np.flatnonzero(sizes[prefix] > num_codes)
    counts = np.unique(part.vectors[inside], axis=0, return_counts=True)[1]
    num_cold = 0 if cold is None else int(cold[inside].sum())
    more, what = identifiers.num_levels - part.codes.shape[1], f"{part.name} vector"
    done = (
        f"{more} counting {'levels come' if more > 1 else 'level comes'} after the last one, so that an identifier has "
        f"{identifiers.num_levels} levels"
        if more
        else f"the last level has grown to {identifiers.codebook_size:,} codes"
    )
    return (
        f"identifiers: {sizes.max():,} items share one {part.name} prefix, but the last level has {num_codes:,} codes; "
        f"{len(inside):,} items stand in such prefixes, {num_cold:,} of them cold, {counts[counts > 1].sum():,} with "
        f"the same {what} as another one. So {done}."
    )


def equal_warnings(embeddings: ItemEmbeddings, views: tuple[str, ...]) -> tuple[str, ...]:
    """A sentence per view in which all items have the same vector, so that its codes say nothing."""
    tables = [(view, getattr(embeddings, view)) for view in views]
    return tuple(
        f"identifiers: all {len(table):,} items have the same {view} vector, so their {view} codes are mere numbers. "
        "Bring titles that differ (semantic) or a longer log (collaborative)."
        for view, table in tables
        if table is not None
        and len(table) > 1
        and np.allclose(table, table[:1], rtol=0, atol=1e-12)
    )
