"""Speed of the identifiers room: repairing collisions, against a per-item loop.

In: sizes and a seed. Out: a `Contest`.
"""

from __future__ import annotations

import numpy as np

from gensar_lite.artifacts import Identifiers
from gensar_lite.bench.contest import Contest
from gensar_lite.config import ConfigError, IdentifiersConfig
from gensar_lite.identifiers import make_unique
from gensar_lite.identifiers.quantizer import nearest, squared_distances


def bench_identifiers(num_items: int = 20_000, dim: int = 32, num_codes: int = 256, seed: int = 0) -> Contest:
    """Collision repair: one optimal assignment a bucket, against a loop over items with a dictionary of taken codes
    (each item takes the nearest codeword of the last level that is still free in its bucket)."""
    rng = np.random.default_rng(seed)
    residual, codebook = rng.normal(size=(num_items, dim)), rng.normal(size=(num_codes, dim))
    prefix = rng.integers(max(num_items // 20, 1), size=num_items)  # about 20 items a bucket
    codes = np.stack([prefix // num_codes, prefix % num_codes, nearest(residual, codebook)], axis=1)

    def loop() -> np.ndarray:
        found, taken = codes.copy(), {}
        for row in range(num_items):
            used = taken.setdefault((int(codes[row, 0]), int(codes[row, 1])), set())
            order = np.argsort(squared_distances(residual[row : row + 1], codebook)[0])
            found[row, 2] = next(int(code) for code in order if int(code) not in used)
            used.add(int(found[row, 2]))
        return found

    settings = {"num_items": num_items, "dim": dim, "codebook_size": num_codes, "baseline": "per-item loop, dictionary"}
    same = lambda a, b: float((a == b).all(axis=1).mean())  # noqa: E731
    return Contest(lambda: make_unique(codes, residual, codebook, "semantic"), loop, same, num_items, "items", settings)


def random_identifiers(num_items: int, settings: IdentifiersConfig, seed: int) -> Identifiers:
    """Distinct code sequences whose views share their first levels, prefixes shared by many items as real ones are."""
    rng = np.random.default_rng(seed)
    size, own = settings.codebook_size, settings.num_levels - settings.num_shared
    trunk = rng.integers(size, size=(num_items, settings.num_shared))
    trunk[:, 1:] = trunk[:, :1] * 7 % size  # few trunks: 64 prefixes for the catalogue
    views = []
    if size**own < num_items:
        raise ConfigError(f"bench: {num_items} items need more than {size}^{own} own sequences.")
    for _ in range(2):
        leaf = rng.permutation(size**own)[:num_items]
        views.append(np.concatenate([trunk, np.stack(np.unravel_index(leaf, [size] * own), axis=1)], axis=1))
    return Identifiers(views[0], views[1], settings.num_shared, size).check()
