"""What follows from a log: the size of a tree, and how long a small log is read."""

import dataclasses

import pytest

from gensar_lite.config import TrainingConfig
from gensar_lite.config.rules import TREES
from gensar_lite.training.backbones.new_tree import head_for, is_tree, sizes_of
from gensar_lite.training.backbones.tree import HEADS, TREE_SIZES
from gensar_lite.training.stage import long_enough


def test_every_name_of_a_tree_is_known_at_the_door():
    assert set(TREES) == {"tree", *TREE_SIZES}
    assert all(map(is_tree, TREES))
    assert not is_tree("t5-micro")


@pytest.mark.parametrize("num_items", [1, 3_000, 3_001, 50_000, 50_001, 10**7])
def test_a_named_size_is_that_size(num_items):
    for name, sizes in TREE_SIZES.items():
        assert sizes_of(name, num_items) == sizes


def test_a_larger_catalogue_never_has_a_smaller_tree():
    counts = (1, 200, 3_000, 3_001, 20_000, 50_000, 50_001, 10**7)
    widths = [sizes_of("tree", count)[0] for count in counts]
    assert widths == sorted(widths)
    assert {sizes_of("tree", count) for count in counts} == set(TREE_SIZES.values())


@pytest.mark.parametrize(
    ("num_items", "chosen"), [(1, "catalogue"), (50_000, "catalogue"), (50_001, "level")]
)
def test_a_head_is_chosen_where_none_is_named(num_items, chosen):
    assert head_for("auto", num_items) == chosen
    for head in HEADS:
        assert head_for(head, num_items) == head


@pytest.mark.parametrize(
    ("min_steps", "num_batches", "accumulate", "epochs", "eval_every"),
    [
        (0, 1, 1, 6, 1),  # epochs alone count
        (140, 24, 1, 6, 1),  # 144 steps are enough
        (140, 10, 1, 14, 3),  # 60 steps are not: 14 epochs make 140
        (140, 3, 1, 47, 8),  # 141 steps
        (140, 40, 2, 7, 2),  # two batches a step
        (140, 1000, 1, 6, 1),
    ],
)
def test_a_small_log_is_read_until_the_steps_are_made(
    min_steps, num_batches, accumulate, epochs, eval_every
):
    settings = TrainingConfig(epochs=6, eval_every=1, min_steps=min_steps, accumulate=accumulate)
    longer = long_enough(settings, num_batches)
    assert (longer.epochs, longer.eval_every) == (epochs, eval_every)
    assert longer.epochs * -(-num_batches // accumulate) >= min_steps
    # nothing else has changed
    assert dataclasses.replace(longer, epochs=6, eval_every=1) == settings
