"""The trie against a dictionary: build, restrict, candidates, and what it costs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import random_codes

from gensar_lite.decoding import Trie
from gensar_lite.identifiers import trie as module

shapes = st.tuples(st.integers(1, 30), st.integers(2, 5), st.integers(1, 4), st.integers(0, 99))


def every_sequence(num_codes: int, num_levels: int) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(num_codes)] * num_levels, indexing="ij"), -1).reshape(
        -1, num_levels
    )


def check(
    trie: Trie, root: int, known: dict[tuple[int, ...], int], num_codes: int, num_levels: int
) -> None:
    """From one root, the trie leads along the known sequences, to their items, and nowhere else."""
    grid = every_sequence(num_codes, num_levels)
    nodes = np.full(len(grid), root)
    for level in range(num_levels):
        allowed = trie.allowed(nodes, level)[np.arange(len(grid)), grid[:, level]]
        nodes = trie.step(nodes, grid[:, level], level)
        prefixes = {sequence[: level + 1] for sequence in known}
        assert allowed.tolist() == [tuple(g) in prefixes for g in grid[:, : level + 1].tolist()]
        assert np.array_equal(allowed, nodes >= 0)
        below = [
            sum(s[: level + 1] == tuple(g) for s in known) for g in grid[:, : level + 1].tolist()
        ]
        spans = [trie.span(int(node), level + 1) if node >= 0 else (0, 0) for node in nodes]
        assert [high - low for low, high in spans] == below
    assert trie.items(nodes).tolist() == [known.get(tuple(g), -1) for g in grid.tolist()]


@pytest.mark.parametrize("dense", [0, 2**22])  # children read from the keys, or from a table
@given(shapes)
@settings(max_examples=40, deadline=None)
def test_a_trie_allows_exactly_the_catalogue(dense, shape):
    num_items, num_codes, num_levels, seed = shape
    codes = random_codes(num_items, num_codes, num_levels, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DENSE", dense)
        trie = Trie.build(codes, num_codes)
        assert all((table is not None) == bool(dense) for table in trie.tables)
        check(trie, 0, {tuple(c): i for i, c in enumerate(codes.tolist())}, num_codes, num_levels)


@given(shapes, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_restricted_trie_holds_what_is_left(shape, seed):
    _, num_codes, num_levels, _ = shape
    codes = random_codes(*shape)
    allowed = np.random.default_rng(seed).random(len(codes)) < 0.5
    known = {tuple(c): i for i, c in enumerate(codes.tolist()) if allowed[i]}
    check(Trie.build(codes, num_codes).restrict(allowed), 0, known, num_codes, num_levels)


@given(shapes, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_candidates_are_a_trie_a_query_and_can_be_restricted(shape, seed):
    _, num_codes, num_levels, _ = shape
    codes, rng = random_codes(*shape), np.random.default_rng(seed)
    few = np.where(
        rng.random((3, 6)) < 0.7, rng.integers(len(codes), size=(3, 6)), -1
    )  # twins and empty rows too
    trie, allowed = Trie.of_candidates(codes, num_codes, few), rng.random(len(codes)) < 0.6
    for query in range(3):
        mine = [i for i in few[query].tolist() if i >= 0]
        check(trie, query, {tuple(codes[i].tolist()): i for i in mine}, num_codes, num_levels)
        left = {tuple(codes[i].tolist()): i for i in mine if allowed[i]}
        check(trie.restrict(allowed), query, left, num_codes, num_levels)


def test_a_trie_refuses_twins():
    with pytest.raises(ValueError, match="share an identifier"):
        Trie.build(np.array([[0, 1], [0, 1]]), 2)


def test_sequences_too_long_for_one_number_are_sorted_all_the_same():
    codes = random_codes(50, 1000, 8, 0)
    trie = Trie.build(codes, 1000)
    nodes = np.zeros(50, dtype=np.int64)
    for level in range(8):
        nodes = trie.step(nodes, codes[:, level], level)
    assert trie.items(nodes).tolist() == list(range(50))


def test_a_large_trie_is_small():
    drawn = np.unique(np.random.default_rng(0).integers(2**26, size=200_000))
    codes = np.stack(np.unravel_index(drawn, (16, 64, 256, 256)), axis=1)
    trie = Trie.build(codes, 256)
    arrays = (*trie.keys, *trie.tables, trie.item_ids)
    assert sum(array.nbytes for array in arrays if array is not None) < 60 * len(codes)
    nodes = np.zeros(len(codes), dtype=np.int64)
    for level in range(4):
        nodes = trie.step(nodes, codes[:, level], level)
    assert np.array_equal(trie.items(nodes), np.arange(len(codes)))
