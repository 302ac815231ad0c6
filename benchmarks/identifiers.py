"""Speed of the identifiers room: repairing collisions, an epoch of RQ-VAE, a million items, whole fits.

In: sizes and a seed. Out: a `Contest` with further ones. Everything is generated: two views of Beauty's widths.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.contest import Contest, timed
from benchmarks.plain_codes import PlainRQVAE, plain_epoch, spread_by_groups, unique_by_dictionary
from gensar_lite.artifacts import VIEWS, Identifiers, ItemEmbeddings
from gensar_lite.config import ConfigError, IdentifiersConfig, preset
from gensar_lite.identifiers import build_identifiers, codebook_usage, collision_rate, make_unique
from gensar_lite.identifiers.fitted import FittedQuantizer, fit_quantizer, unique_codes
from gensar_lite.identifiers.rqvae import (
    WEIGHT_DECAY,
    DualRQVAE,
    initialise,
    new_optimiser,
    train_epoch,
)
from gensar_lite.machine.threads import one_thread

BEAUTY = 12_101  # items, with vectors of 384 and 128 dimensions


def bench_identifiers(
    num_items: int = BEAUTY, many_items: int = 1_000_000, seed: int = 0
) -> Contest:
    """Collision repair: one optimal assignment a bucket, against the paper's loop over groups of colliding items, up
    to 20 rounds of Sinkhorn. Further: ``rqvae``, ``million``, ``collisions_left``, ``fits``.

    ``equal`` of the repair is the share of items with the same identifier; the paper's leaves collisions, ours none.
    """
    settings = preset("beauty-quick").identifiers
    e = generated_embeddings(num_items, (384, 128), seed)
    fitted, _ = fit_quantizer(e, settings)
    codes = fitted.quantize(e)
    case = codes.semantic, codes.last_residual["semantic"], fitted.books.last("semantic")
    kept: dict[str, np.ndarray] = {}

    def keep(side: str, call: Callable[[], np.ndarray]) -> np.ndarray:
        kept[side] = call()
        return kept[side]

    def left() -> dict[str, float]:
        return {"before": collision_rate(case[0])} | {
            side: collision_rate(found) for side, found in kept.items()
        }

    return Contest(
        lambda: keep("ours", lambda: make_unique(*case, "semantic")),
        lambda: keep("baseline", lambda: spread_by_groups(*case)),
        lambda a, b: float((a == b).all(axis=1).mean()),
        num_items,
        "items",
        {
            "num_items": num_items,
            "codebook_size": settings.codebook_size,
            "levels": f"{settings.num_shared} + {settings.num_levels - settings.num_shared}",
            "baseline": "Python loop over colliding groups, 20 rounds of Sinkhorn",
            "equal": "share of items with the same identifier",
        },
        more={
            "collisions_left": left,
            "rqvae": _rqvae(e, settings, seed),
            "million": functools.partial(_many, many_items, seed),
            "fits": functools.partial(_fits, e, settings),
        },
    )


def _rqvae(e: ItemEmbeddings, settings: IdentifiersConfig, seed: int) -> Contest:
    """One epoch of the dual RQ-VAE with Sinkhorn at the last levels, both from the same weights."""
    told = IdentifiersConfig(
        **vars(settings) | {"uniqueness": "sinkhorn", "precision": "auto", "batch_size": 1024}
    )
    views = tuple(
        torch.from_numpy((v - v.mean(axis=0)) / v.std(axis=0))
        for v in (e.semantic, e.collaborative)
    )
    models, dims = [], tuple(view.shape[1] for view in views)
    for kind, precision in ((DualRQVAE, told.precision), (PlainRQVAE, "fp32")):
        torch.manual_seed(seed)
        models.append(kind(dims, IdentifiersConfig(**vars(told) | {"precision": precision})))
        initialise(models[-1], views, told)
    ours, plain = models
    optimiser, schedule = new_optimiser(ours, told, 100)
    adam = torch.optim.AdamW(plain.parameters(), lr=told.lr, weight_decay=WEIGHT_DECAY)
    order = torch.Generator().manual_seed(seed)

    @one_thread()  # as in the fit
    def epoch() -> float:
        return train_epoch(
            ours, views, lambda *batch: ours(*batch)[0], optimiser, schedule, told.batch_size, order
        )

    return Contest(
        epoch,
        lambda: plain_epoch(plain, views, adam, told.batch_size),
        lambda a, b: min(a, b) / max(a, b),
        len(views[0]),
        "items",
        {
            "num_items": len(views[0]),
            "dims": dims,
            "batch": told.batch_size,
            "precision": "bf16" if ours.bf16 else "fp32",
            "threads": 1,
            "baseline": f"DataLoader, fp32, plain Sinkhorn loop, {torch.get_num_threads()} threads",
            "equal": "smaller of both mean losses over the larger, batches in another order",
        },
    )


def _many(num_items: int, seed: int) -> dict[str, object]:
    """Codes and unique identifiers of many items in two views, and the same with a dictionary loop for the repair."""
    settings = IdentifiersConfig(codebook_size=256, num_levels=4, num_shared=2, latent_dim=64)
    e = generated_embeddings(num_items, (64, 64), seed)
    fitted, _ = fit_quantizer(e.rows(slice(min(num_items, 20_000))), settings)

    @one_thread()
    def ours() -> Identifiers:
        return unique_codes(fitted.quantize(e), fitted)

    def plain() -> Identifiers:
        return _plainly(e, fitted)

    (mine, seconds, peak), (theirs, plain_seconds, plain_peak) = timed(ours), timed(plain)
    same = [(mine.view(view) == theirs.view(view)).all(axis=1).mean() for view in VIEWS]
    return {
        "seconds": round(seconds, 2),
        "seconds_baseline": round(plain_seconds, 2),
        "peak_mib": round(peak, 1),
        "peak_mib_baseline": round(plain_peak, 1),
        "equal": round(float(np.mean(same)), 4),
        "collisions_left": max(collision_rate(mine.view(view)) for view in VIEWS),
        "settings": {
            "num_items": num_items,
            "dims": [64, 64],
            "levels": "2 + 2",
            "codebook_size": 256,
            "baseline": "same quantization, then a loop over items with a set of taken identifiers",
            "equal": "share of items with the same identifier, mean of both views",
        },
    }


def _plainly(e: ItemEmbeddings, fitted: FittedQuantizer) -> Identifiers:
    codes = fitted.quantize(e)
    views = (
        unique_by_dictionary(
            getattr(codes, view), codes.last_residual[view], fitted.books.last(view)
        )
        for view in VIEWS
    )
    return Identifiers(*views, fitted.books.num_shared, fitted.settings.codebook_size)


def _fits(e: ItemEmbeddings, settings: IdentifiersConfig) -> dict[str, dict]:
    """Seconds of whole dual fits with unique identifiers, the least share of codewords in use, collisions before."""
    found = {}
    for quantizer in ("rq-kmeans", "rq-vae"):
        told = IdentifiersConfig(**vars(settings) | {"quantizer": quantizer, "precision": "auto"})
        started = time.perf_counter()
        built = build_identifiers(e, told)
        found[quantizer] = {
            "seconds": round(time.perf_counter() - started, 1),
            "least_usage": min(
                float(codebook_usage(c, told.codebook_size)["usage"].min())
                for c in built.before.values()
            ),
            "collision_rate_before": {
                view: round(collision_rate(built.before[view]), 4) for view in VIEWS
            },
        }
    return found


def generated_embeddings(num_items: int, dims: tuple[int, int], seed: int) -> ItemEmbeddings:
    """Two views of items in groups of about twelve within 40 groups; one item in a hundred is the twin of another."""
    rng = np.random.default_rng(seed)
    fine = rng.integers(max(num_items // 12, 1), size=num_items)
    twins = rng.integers(num_items, size=(2, num_items // 100))
    views = []
    for dim in dims:
        coarse = rng.standard_normal((40, dim), dtype=np.float32)
        centre = 0.7 * rng.standard_normal((fine.max() + 1, dim), dtype=np.float32)
        table = coarse[fine % 40] + centre[fine]
        table += rng.standard_normal((num_items, dim), dtype=np.float32)
        table[twins[0]] = table[twins[1]]
        views.append(table)
    return ItemEmbeddings(*views)


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
        views.append(
            np.concatenate([trunk, np.stack(np.unravel_index(leaf, [size] * own), axis=1)], axis=1)
        )
    return Identifiers(views[0], views[1], settings.num_shared, size).check()
