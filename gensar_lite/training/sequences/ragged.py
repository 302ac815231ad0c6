"""Rows of different lengths as one flat integer array and offsets, joined without a Python loop.

In: lists of integers. Out: padded matrices. This file does not know what the integers mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gensar_lite.machine.ranges import ranges


class Ragged(NamedTuple):
    """Row i is ``flat[offsets[i]:offsets[i + 1]]``."""

    flat: np.ndarray
    offsets: np.ndarray

    @staticmethod
    def of(rows: Iterable[Iterable[int]]) -> Ragged:
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        lengths = np.array([len(a) for a in arrays], dtype=np.int64)
        flat = np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int32)
        return Ragged(flat.astype(np.int32), np.r_[0, np.cumsum(lengths)])

    @staticmethod
    def repeat(row: Iterable[int], times: int) -> Ragged:
        """The same row, `times` times."""
        row = np.asarray(row, dtype=np.int32)
        return Ragged(np.tile(row, times), np.arange(times + 1) * len(row))

    @staticmethod
    def table(matrix: np.ndarray) -> Ragged:
        """The rows of a matrix, all of one length."""
        return Ragged(matrix.astype(np.int32).ravel(), np.arange(len(matrix) + 1) * matrix.shape[1])

    @staticmethod
    def concatenate(parts: list[Ragged]) -> Ragged:
        """The rows of every part, one part after the other."""
        lengths = np.concatenate([part.lengths for part in parts])
        return Ragged(np.concatenate([part.flat for part in parts]), np.r_[0, np.cumsum(lengths)])

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def __getitem__(self, row):  # one row by its number, as arrays do it
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: np.ndarray) -> Ragged:
        """The rows with these numbers, in this order."""
        lengths = self.lengths[rows]
        return Ragged(self.flat[ranges(self.offsets[rows], lengths)], np.r_[0, np.cumsum(lengths)])

    def take_or_empty(self, rows: np.ndarray) -> Ragged:
        """As `take`; an empty row for the number -1."""
        lengths = np.zeros(len(rows), dtype=np.int64)
        found = self.take(rows[rows >= 0])
        lengths[rows >= 0] = found.lengths
        return Ragged(found.flat, np.r_[0, np.cumsum(lengths)])

    def merge(self, group: np.ndarray, num_groups: int) -> Ragged:
        """Join consecutive rows of one group (sorted group numbers, one a row) into one row a group."""
        counts = np.bincount(group, weights=self.lengths, minlength=num_groups).astype(np.int64)
        return Ragged(self.flat, np.r_[0, np.cumsum(counts)])


def hstack(parts: list[Ragged]) -> Ragged:
    """Row i of the result is row i of each part, one after the other."""
    lengths = np.stack([p.lengths for p in parts])  # (P, n)
    offsets = np.r_[0, np.cumsum(lengths.sum(axis=0))]
    flat = np.empty(offsets[-1], dtype=np.int32)
    begin = offsets[:-1].copy()
    for part, own in zip(parts, lengths, strict=True):
        place = np.arange(len(part.flat)) - np.repeat(part.offsets[:-1], own)
        flat[np.repeat(begin, own) + place] = part.flat
        begin += own
    return Ragged(flat, offsets)


def pad_and_mask(rows: Ragged, value: int) -> tuple[np.ndarray, np.ndarray]:
    """`pad`, and which entries are the rows' own."""
    table = pad(rows, value)
    return table, np.arange(table.shape[1]) < rows.lengths[:, None]


def pad(rows: Ragged, value: int) -> np.ndarray:
    """The rows as an (n, longest) int64 matrix, padded on the right."""
    lengths = rows.lengths
    table = np.full((len(lengths), int(lengths.max(initial=1))), value, dtype=np.int64)
    table[np.arange(table.shape[1]) < lengths[:, None]] = rows.flat
    return table
