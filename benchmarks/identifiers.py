"""Speed of the identifiers room: repair of collisions, an epoch of RQ-VAE, a million items, fits.

In: sizes and a seed. Out: a `Contest` with further ones. Everything is generated: two views of
Beauty's widths.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.contest import Contest, timed
from benchmarks.inputs import generated_embeddings
from benchmarks.plain_codes import PlainRQVAE, plain_epoch, spread_by_groups, unique_by_dictionary
from gensar_lite.artifacts import VIEWS, Identifiers, ItemEmbeddings
from gensar_lite.config import IdentifiersConfig, preset
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

BEAUTY = 12_101  # items
DIMS = (384, 128)  # of their vectors


def bench_identifiers(
    num_items: int = BEAUTY, many_items: int = 1_000_000, seed: int = 0
) -> Contest:
    """Repair of collisions: one optimal assignment per bucket, against the paper's loop over groups
    of colliding items, up to 20 rounds of Sinkhorn. Further: ``rqvae``, ``million``,
    ``collisions_left``, ``fits``.

    ``equal`` of the repair is the share of items with the same identifier; the paper's leaves
    collisions, ours none.
    """
    settings = preset("beauty-quick").identifiers
    embeddings = generated_embeddings(num_items, DIMS, seed)
    # codes as the quantizer leaves them, with collisions: what both sides repair
    fitted, _ = fit_quantizer(embeddings, settings)
    codes = fitted.quantize(embeddings)
    case = (codes.semantic, codes.last_residual["semantic"], fitted.books.last("semantic"))
    # the answers are kept, so that what they leave over can be reported
    repaired: dict[str, np.ndarray] = {}

    def keep(side: str, repair: Callable[[], np.ndarray]) -> np.ndarray:
        repaired[side] = repair()
        return repaired[side]

    def collisions_left() -> dict[str, float]:
        left = {side: collision_rate(codes) for side, codes in repaired.items()}
        return {"before": collision_rate(case[0])} | left

    return Contest(
        ours=lambda: keep("ours", lambda: make_unique(*case, "semantic")),
        baseline=lambda: keep("baseline", lambda: spread_by_groups(*case)),
        equal=lambda a, b: float((a == b).all(axis=1).mean()),
        amount=num_items,
        unit="items",
        settings={
            "num_items": num_items,
            "codebook_size": settings.codebook_size,
            "levels": f"{settings.num_shared} + {settings.num_levels - settings.num_shared}",
            "baseline": "Python loop over colliding groups, 20 rounds of Sinkhorn",
            "equal": "share of items with the same identifier",
        },
        more={
            "collisions_left": collisions_left,
            "rqvae": _rqvae(embeddings, settings, seed),
            "million": functools.partial(_many, many_items, seed),
            "fits": functools.partial(_fits, embeddings, settings),
        },
    )


def _rqvae(embeddings: ItemEmbeddings, settings: IdentifiersConfig, seed: int) -> Contest:
    """One epoch of the dual RQ-VAE with Sinkhorn at the last levels, from the same weights."""
    settings = dataclasses.replace(
        settings, uniqueness="sinkhorn", precision="auto", batch_size=1024
    )
    views = tuple(
        torch.from_numpy((view - view.mean(axis=0)) / view.std(axis=0))
        for view in (embeddings.semantic, embeddings.collaborative)
    )
    # both begin with the same weights and codebooks
    ours = _initialised(DualRQVAE, views, settings, seed)
    plain = _initialised(PlainRQVAE, views, dataclasses.replace(settings, precision="fp32"), seed)
    optimiser, schedule = new_optimiser(ours, settings, 100)
    adam = torch.optim.AdamW(plain.parameters(), lr=settings.lr, weight_decay=WEIGHT_DECAY)
    order = torch.Generator().manual_seed(seed)
    batch = settings.batch_size

    def loss(*rows: torch.Tensor) -> torch.Tensor:
        return ours(*rows)[0]

    @one_thread()  # as in the fit
    def epoch() -> float:
        batches = torch.randperm(len(views[0]), generator=order).split(batch)
        return train_epoch(ours, views, loss, optimiser, schedule, batches)

    return Contest(
        ours=epoch,
        baseline=lambda: plain_epoch(plain, views, adam, batch),
        equal=lambda a, b: min(a, b) / max(a, b),
        amount=len(views[0]),
        unit="items",
        settings={
            "num_items": len(views[0]),
            "dims": tuple(view.shape[1] for view in views),
            "batch": batch,
            "precision": "bf16" if ours.bf16 else "fp32",
            "threads": 1,
            "baseline": f"DataLoader, fp32, plain Sinkhorn loop, {torch.get_num_threads()} threads",
            "equal": "smaller of both mean losses over the larger, batches in another order",
        },
    )


def _initialised(
    kind: type[DualRQVAE], views: tuple[torch.Tensor, ...], settings: IdentifiersConfig, seed: int
) -> DualRQVAE:
    torch.manual_seed(seed)
    model = kind(tuple(view.shape[1] for view in views), settings)
    initialise(model, views, settings)
    return model


def _many(num_items: int, seed: int) -> dict[str, object]:
    """Codes and unique identifiers of many items in two views, and the same with a dictionary loop
    for the repair."""
    settings = IdentifiersConfig(codebook_size=256, num_levels=4, num_shared=2, latent_dim=64)
    embeddings = generated_embeddings(num_items, (64, 64), seed)
    # fitted on a part: a million items are assigned, not learned from
    fitted, _ = fit_quantizer(embeddings.rows(slice(min(num_items, 20_000))), settings)
    ours = one_thread()(lambda: unique_codes(fitted.quantize(embeddings), fitted))
    # once each: a second round of minutes would tell nothing new
    identifiers, seconds, peak = timed(ours)
    plain, plain_seconds, plain_peak = timed(lambda: _plain_identifiers(embeddings, fitted))
    same = [(identifiers.view(v) == plain.view(v)).all(axis=1).mean() for v in VIEWS]
    return {
        "seconds": round(seconds, 2),
        "seconds_baseline": round(plain_seconds, 2),
        "peak_mib": round(peak, 1),
        "peak_mib_baseline": round(plain_peak, 1),
        "equal": round(float(np.mean(same)), 4),
        "collisions_left": max(collision_rate(identifiers.view(view)) for view in VIEWS),
        "settings": {
            "num_items": num_items,
            "dims": [64, 64],
            "levels": "2 + 2",
            "codebook_size": 256,
            "baseline": "same quantization, then a loop over items with a set of taken identifiers",
            "equal": "share of items with the same identifier, mean of both views",
        },
    }


def _plain_identifiers(embeddings: ItemEmbeddings, fitted: FittedQuantizer) -> Identifiers:
    codes = fitted.quantize(embeddings)
    # the same codes, then the plain repair
    views = [
        unique_by_dictionary(
            getattr(codes, view), codes.last_residual[view], fitted.books.last(view)
        )
        for view in VIEWS
    ]
    return Identifiers(*views, fitted.books.num_shared, fitted.settings.codebook_size)


def _fits(embeddings: ItemEmbeddings, settings: IdentifiersConfig) -> dict[str, dict]:
    """Seconds of whole dual fits with unique identifiers, the least share of codewords in use, and
    the rate of collisions before the repair."""
    fits = {}
    for quantizer in ("rq-kmeans", "rq-vae"):
        settings = dataclasses.replace(settings, quantizer=quantizer, precision="auto")
        started = time.perf_counter()
        built = build_identifiers(embeddings, settings)
        seconds = time.perf_counter() - started
        # of all levels of both views, the emptiest
        usage = [
            codebook_usage(codes, settings.codebook_size)["usage"].min()
            for codes in built.before.values()
        ]
        fits[quantizer] = {
            "seconds": round(seconds, 1),
            "least_usage": float(min(usage)),
            "collision_rate_before": {
                view: round(collision_rate(built.before[view]), 4) for view in VIEWS
            },
        }
    return fits
