"""Uniqueness: no two items of one view may end with the same code sequence.

In: codes (N, L), the residual before the last level (N, d), the last codebook (K, d), the `Room`.
Out: unique codes. Only the last code ever changes, or some are added, so prefixes, and with them
the shared trunk, stay as they were quantized. Items that have identifiers (`taken`) keep them.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from gensar_lite.artifacts import ArtifactError
from gensar_lite.identifiers.balanced import sinkhorn_codes, within_capacity
from gensar_lite.identifiers.measures import row_numbers
from gensar_lite.identifiers.quantizer import squared_distances
from gensar_lite.identifiers.room import Room
from gensar_lite.machine.ranges import within

_ROUNDS = 20  # of the paper's repair
_TOGETHER = 4096  # items whose distances are computed at once


def make_unique(
    codes: np.ndarray,
    residual: np.ndarray,
    codebook: np.ndarray,
    view: str,
    taken: np.ndarray | None = None,
    room: Room | None = None,
) -> np.ndarray:
    """Give colliding items distinct last codes, at the least total distance in each prefix.

    Where two items of one prefix have the same code sequence, all its items get new last codes: an
    optimal assignment (Hungarian algorithm on squared distances) among the codes that no item of
    `taken` (M, L) has; codes of `room` (default: the codebook's) without a codeword come last. With
    counting levels the result, like `taken`, is (N, L + E): where a prefix holds more items than
    codes, each code may repeat as often as the counter can count, which tells its items apart.
    Raises `ArtifactError` with the numbers when a prefix holds more items than `room`.
    """
    room = room or Room(len(codebook))
    everyone = _with_taken(codes, taken)  # (M + N, L)
    num_taken = len(everyone) - len(codes)
    codes = codes.copy()
    # 1. items of one prefix are a bucket, numbered from 0
    bucket = row_numbers(everyone[:, :-1])
    sizes = np.bincount(bucket)
    if sizes.max(initial=0) > room.items:
        what = f"{sizes.max()} items share one {view} prefix, but the last level"
        raise _full(what, room.items)
    # 2. buckets with a collision, cut into parts of about _TOGETHER items
    whole = row_numbers(everyone)
    colliding = np.unique(bucket[np.bincount(whole)[whole] > 1])
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes[colliding]) // _TOGETHER)) + 1
    by_bucket = np.argsort(bucket, kind="stable")  # taken items come first in each
    ends = np.cumsum(sizes)
    for part in np.split(colliding, cuts) if len(colliding) else []:
        # 3. preferences: distances of the part's items to all codes, in one product
        members = [by_bucket[ends[b] - sizes[b] : ends[b]] for b in part]
        asking = [rows[rows >= num_taken] - num_taken for rows in members]
        costs = _distances(residual[np.concatenate(asking)], codebook, room.num_codes)
        costs = np.split(costs, np.cumsum([len(askers) for askers in asking])[:-1])
        # 4. bucket by bucket: the best free codes for those who ask
        for rows, askers, cost in zip(members, asking, costs, strict=True):
            used = everyone[rows[: len(rows) - len(askers)], -1]
            codes[askers, -1] = _cheapest(cost, used, room)
    if not room.num_counters:
        return codes
    return with_extra_level(codes, room.num_codes, view, taken, room.num_counters)


def _with_taken(codes: np.ndarray, taken: np.ndarray | None) -> np.ndarray:
    """Codes (M + N, L) of `taken` (M, L or more) and of new items (N, L) behind them."""
    return codes if taken is None else np.concatenate([taken[:, : codes.shape[1]], codes])


def _distances(residual: np.ndarray, codebook: np.ndarray, num_codes: int) -> np.ndarray:
    """(n, num_codes) squared distances; codes without a codeword are farthest, all equally so."""
    far = squared_distances(residual, codebook)
    missing = num_codes - len(codebook)
    if missing <= 0:
        return far
    # true distances: who gets a codeword and who does not depends on each item's own length
    far = far + (residual**2).sum(axis=1, keepdims=True)
    return np.pad(far, ((0, 0), (0, missing)), constant_values=far.max(initial=0) + 1)


def _cheapest(cost: np.ndarray, used: np.ndarray, room: Room) -> np.ndarray:
    """Last codes (n,) for items of one bucket by `cost` (n, K), beside the codes `used` before."""
    if len(cost) + len(used) > room.num_codes:  # a counter follows: codes repeat as it can count
        return within_capacity(cost, room.repeats - np.bincount(used, minlength=room.num_codes))
    free = np.setdiff1d(np.arange(room.num_codes), used)
    return free[linear_sum_assignment(cost[:, free])[1]]


def _full(what: str, room: int) -> ArtifactError:
    return ArtifactError(
        f"identifiers: {what} has only {room} codes. Build the identifiers again with all items; "
        "identifiers.codebook_size=0 and identifiers.num_levels=0 let the catalogue choose."
    )


def spread(codes: np.ndarray, residual: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The paper's repair: up to 20 times, colliding items get new last codes from Sinkhorn.

    Collisions may be left, of items at the same place for one; `make_unique` ends them.
    """
    codes = codes.copy()
    for _ in range(_ROUNDS):
        # 1. groups of items with one whole code sequence, those of one size together
        number = row_numbers(codes)
        sizes = np.bincount(number)
        order = np.argsort(number, kind="stable")
        starts = np.cumsum(sizes) - sizes
        before = codes[:, -1].copy()
        for size in np.unique(sizes[sizes > 1]):
            rows = order[starts[sizes == size][:, None] + np.arange(size)]  # (G, n)
            # 2. true squared distances (G, n, K): Sinkhorn scales each group's to [-1, 1]
            far = squared_distances(residual[rows.ravel()], codebook).reshape(*rows.shape, -1)
            far += (residual[rows] ** 2).sum(axis=-1, keepdims=True)
            # 3. each codeword gets the same share of a group, so its items move apart
            codes[rows, -1] = sinkhorn_codes(far)
        if (codes[:, -1] == before).all():
            break
    return codes


def with_extra_level(
    codes: np.ndarray, size: int, view: str, taken: np.ndarray | None = None, num_digits: int = 1
) -> np.ndarray:
    """Codes (N, L + E): a counter from 0 among the items of one code sequence (TIGER, section 3.1).

    It has `num_digits` (E) digits of base `size`, one per level. `taken` (M, L + E) are items that
    have been counted before. Raises `ArtifactError` where a counter would leave its digits.
    """
    weights = size ** np.arange(num_digits - 1, -1, -1)  # of the digits, the first counts most
    everyone = row_numbers(_with_taken(codes, taken))
    number = everyone[len(everyone) - len(codes) :]
    # 1. per code sequence, the first value that no taken item has
    next_free = np.zeros(int(everyone.max(initial=-1)) + 1, dtype=np.int64)
    if taken is not None:
        counted = taken[:, codes.shape[1] :] @ weights
        np.maximum.at(next_free, everyone[: len(taken)], counted + 1)
    # 2. the items of a sequence count on from there, in their order
    count = np.empty(len(codes), dtype=np.int64)
    by_sequence = np.argsort(number, kind="stable")
    count[by_sequence] = within(np.bincount(number, minlength=len(next_free)))
    count += next_free[number]
    if count.max(initial=0) >= size**num_digits:
        what = f"{count.max() + 1} items share one whole {view} code sequence, but the extra level"
        raise _full(what, size**num_digits)
    # 3. the count's digits become codes
    return np.concatenate([codes, count[:, None] // weights % size], axis=1)
