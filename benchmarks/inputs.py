"""What several benches read: a small shop, random identifiers, two views of vectors. All generated.

In: sizes and a seed. Out: records as the stages hand them over.
"""

from __future__ import annotations

import numpy as np

from gensar_lite.artifacts import Corpus, Identifiers, ItemEmbeddings
from gensar_lite.config import ConfigError, DataConfig, IdentifiersConfig
from gensar_lite.data import build_corpus
from gensar_lite.data.shop.synthetic import make_shop


def shop_corpus(num_items: int, num_users: int, num_events: int, seed: int) -> Corpus:
    """The built-in shop in another size."""
    settings = DataConfig(
        num_items=num_items, num_users=num_users, num_events=num_events, seed=seed
    )
    return build_corpus(make_shop(settings), settings)[0]


def generated_embeddings(num_items: int, dims: tuple[int, int], seed: int) -> ItemEmbeddings:
    """Two views of items in groups of about twelve within 40 groups; 1 item in 100 is a twin."""
    rng = np.random.default_rng(seed)
    fine = rng.integers(max(num_items // 12, 1), size=num_items)
    twins = rng.integers(num_items, size=(2, num_items // 100))
    views = []
    for dim in dims:
        # a vector is its coarse group, its fine group and noise of its own
        coarse = rng.standard_normal((40, dim), dtype=np.float32)
        centre = 0.7 * rng.standard_normal((fine.max() + 1, dim), dtype=np.float32)
        table = coarse[fine % 40] + centre[fine]  # (N, dim)
        table += rng.standard_normal((num_items, dim), dtype=np.float32)
        table[twins[0]] = table[twins[1]]
        views.append(table)
    return ItemEmbeddings(*views)


def random_identifiers(num_items: int, settings: IdentifiersConfig, seed: int) -> Identifiers:
    """Distinct codes whose views share their first levels, and whose prefixes many items share."""
    rng = np.random.default_rng(seed)
    size = settings.codebook_size
    leaf_levels = settings.num_levels - settings.num_shared
    trunk = rng.integers(size, size=(num_items, settings.num_shared))  # (N, shared)
    trunk[:, 1:] = trunk[:, :1] * 7 % size  # few trunks: one per first code
    if size**leaf_levels < num_items:
        raise ConfigError(f"bench: {num_items} items need more than {size}^{leaf_levels} leaves.")
    views = []
    for _ in range(2):
        # a distinct number per item, spelled in base `size`
        leaf = rng.permutation(size**leaf_levels)[:num_items]
        codes = np.stack(np.unravel_index(leaf, [size] * leaf_levels), axis=1)
        views.append(np.concatenate([trunk, codes], axis=1))
    return Identifiers(views[0], views[1], settings.num_shared, size).check()
