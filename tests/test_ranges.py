"""Runs of numbers, against Python's own ranges."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gensar_lite.machine.ranges import ranges, within


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=8))
def test_ranges_are_pythons_one_after_the_other(runs):
    start, counts = np.array(runs, dtype=np.int64).reshape(-1, 2).T
    assert ranges(start, counts).tolist() == [
        x for low, count in runs for x in range(low, low + count)
    ]
    assert within(counts).tolist() == [x for _, count in runs for x in range(count)]
