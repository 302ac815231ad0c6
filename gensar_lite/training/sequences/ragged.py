"""Rows of different lengths as one flat integer array and offsets, joined without a Python loop.

In: lists of integers. Out: padded matrices. This file does not know what the integers mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gensar_lite.machine.ranges import ranges


class Ragged(NamedTuple):
    """Row i is ``flat[offsets[i]:offsets[i + 1]]``, so there is one offset more than rows."""

    flat: np.ndarray
    offsets: np.ndarray

    @staticmethod
    def of(rows: Iterable[Iterable[int]]) -> Ragged:
        """From lists of integers."""
        arrays = [np.zeros(0, np.int32), *(np.asarray(row, dtype=np.int32) for row in rows)]
        return Ragged(np.concatenate(arrays), np.cumsum([len(row) for row in arrays]))

    @staticmethod
    def cut(flat: np.ndarray, lengths: np.ndarray) -> Ragged:
        """A flat array cut into rows of these lengths."""
        return Ragged(flat, np.r_[0, np.cumsum(lengths)])

    @staticmethod
    def repeat(row: Iterable[int], times: int) -> Ragged:
        """The same row, `times` times."""
        return Ragged.cut(np.tile(np.asarray(row, np.int32), times), np.full(times, len(row)))

    @property
    def lengths(self) -> np.ndarray:
        """Of every row."""
        return np.diff(self.offsets)

    def __getitem__(self, row):  # one row by its number, as arrays do it
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: np.ndarray) -> Ragged:
        """The rows with these numbers, in this order."""
        lengths = self.lengths[rows]
        return Ragged.cut(self.flat[ranges(self.offsets[rows], lengths)], lengths)

    def take_or_empty(self, rows: np.ndarray) -> Ragged:
        """As `take`; an empty row for the number -1."""
        there = rows >= 0
        taken = self.take(rows[there])
        lengths = np.zeros(len(rows), dtype=np.int64)
        lengths[there] = taken.lengths
        return Ragged.cut(taken.flat, lengths)

    def merge(self, group: np.ndarray, num_groups: int) -> Ragged:
        """Join consecutive rows with one group number (ascending, one per row): a row per group."""
        counts = np.bincount(group, weights=self.lengths, minlength=num_groups).astype(np.int64)
        return Ragged.cut(self.flat, counts)  # rows stand side by side already: only edges change


def hstack(parts: list[Ragged]) -> Ragged:
    """Row i of the result is row i of each part, one after the other."""
    lengths = np.stack([part.lengths for part in parts])  # (P, n)
    offsets = np.r_[0, np.cumsum(lengths.sum(axis=0))]  # (n + 1,) of the joined rows
    flat = np.empty(offsets[-1], dtype=np.int32)
    begin = offsets[:-1].copy()  # (n,) where each joined row goes on
    for part, sizes in zip(parts, lengths, strict=True):
        flat[ranges(begin, sizes)] = part.flat  # every row of the part to its place at once
        begin += sizes
    return Ragged(flat, offsets)


def pad_and_mask(rows: Ragged, value: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows as an (n, longest) int64 matrix padded on the right, and which entries are real."""
    lengths = rows.lengths
    real = np.arange(lengths.max(initial=1)) < lengths[:, None]  # (n, longest)
    table = np.full(real.shape, value, dtype=np.int64)
    table[real] = rows.flat  # a boolean mask is filled row by row, the order of `flat`
    return table, real
