"""The bench of decoding in small: both sides answer alike, and every figure is there."""

import numpy as np
import pytest

from benchmarks.contest import measure
from benchmarks.decoding import CODES, LEVELS, bench_decoding, random_catalogue


@pytest.mark.slow
def test_both_sides_give_the_same_lists():
    contest = bench_decoding(
        num_items=1600, batch=3, num_beams=4, backbone="t5-micro", sizes=(300, 600)
    )
    found = measure("decoding", contest, rounds=1)
    assert found["identical"]["equal"] == 1
    assert 0 <= found["equal"] <= 1
    assert {"ratio", "ratio_identical", "ratio_candidates", "growth", "latency_ms"} <= set(found)
    assert set(found["growth"]["seconds"]) == {"300", "600"}
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p95"]


@pytest.mark.parametrize("num_items", [10, 1000, 30_000])
def test_a_random_catalogue_is_distinct_and_shares_prefixes(num_items):
    codes = random_catalogue(num_items, seed=0)
    assert codes.shape == (num_items, LEVELS)
    assert codes.min() >= 0
    assert codes.max() < CODES
    assert len(np.unique(codes, axis=0)) == num_items
    assert len(np.unique(codes[:, :2], axis=0)) <= max(num_items // 20, 1)
