"""Identifier strategies: which vectors are quantized, and how many levels both views share.

In: `ItemEmbeddings`. Out: `Identifiers`, unique in each view, and what led to them.
Each strategy is a few named lines over one residual quantizer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from gensar_lite.artifacts import VIEWS, ArtifactError, Identifiers, ItemEmbeddings
from gensar_lite.config import IdentifiersConfig
from gensar_lite.embeddings.fused import principal_components, standardise
from gensar_lite.identifiers.assignment import make_unique
from gensar_lite.identifiers.kmeans import fit_dual_kmeans, fit_levels
from gensar_lite.identifiers.quantizer import DualCodebooks, Latents, dual_quantize, residual_quantize
from gensar_lite.identifiers.rqvae import fit_rq_vae, latents_of

VALID_PAIRS = {
    ("dual", "rq-kmeans"),
    ("dual", "rq-vae"),
    ("semantic", "rq-kmeans"),
    ("collaborative", "rq-kmeans"),
    ("random", "none"),
}


class Built(NamedTuple):
    """Identifiers, the codes before repair by view, the fitted tensors, the learning curve (rq-vae)."""

    identifiers: Identifiers
    before: dict[str, np.ndarray]
    tensors: dict[str, np.ndarray]
    curve: list[dict]


def build_identifiers(embeddings: ItemEmbeddings, settings: IdentifiersConfig) -> Built:
    """Identifiers of every item by `settings.strategy` and `settings.quantizer`.

    Raises `ArtifactError` for a pair that does not exist, listing those that do, for too few codes, or for
    vectors that are not finite, with their item ids.
    """
    _check(settings)
    embeddings.check()
    if settings.strategy == "dual":
        return _dual(embeddings, settings)
    if settings.strategy == "random":
        return _random(len(embeddings.semantic), settings)
    return _one_view(embeddings, settings)


def _dual(embeddings: ItemEmbeddings, settings: IdentifiersConfig) -> Built:
    views = {view: standardise(getattr(embeddings, view), view) for view in VIEWS}
    curve: list[dict] = []
    if settings.quantizer == "rq-vae":
        model, curve = fit_rq_vae(views["semantic"], views["collaborative"], settings)
        inputs = tuple(torch.as_tensor(v, dtype=torch.float32) for v in views.values())
        latents, books = latents_of(model, inputs), model.codebooks()
        tensors = {f"rqvae.{k}": v.numpy() for k, v in model.state_dict().items()}
    else:
        latents = Latents(*(principal_components(v, settings.latent_dim) for v in views.values()))
        books = fit_dual_kmeans(latents, settings)
        tensors = {}
    codes = dual_quantize(latents, books)
    before = {view: getattr(codes, view) for view in VIEWS}
    unique = {view: _repair(before[view], codes.last_residual[view], books, view) for view in VIEWS}
    tensors |= dict(zip(("trunk", *VIEWS), books, strict=True))
    return Built(Identifiers(**unique, **_layout(settings, settings.num_shared)).check(), before, tensors, curve)


def _repair(codes: np.ndarray, residual: np.ndarray, books: DualCodebooks, view: str) -> np.ndarray:
    return make_unique(codes, residual, getattr(books, view)[-1], view)


def _one_view(embeddings: ItemEmbeddings, settings: IdentifiersConfig) -> Built:
    view = settings.strategy
    latent = principal_components(standardise(getattr(embeddings, view), view), settings.latent_dim)
    books = fit_levels(latent, settings.num_levels, settings)
    codes, residuals = residual_quantize(latent, books)
    unique = make_unique(codes, residuals[-2], books[-1], view)
    both = Identifiers(unique, unique, **_layout(settings, settings.num_levels)).check()
    return Built(both, dict.fromkeys(VIEWS, codes), {view: books}, [])


def _random(num_items: int, settings: IdentifiersConfig) -> Built:
    """The control: distinct code sequences drawn without looking at any vector."""
    space = settings.codebook_size**settings.num_levels
    if num_items > space:
        raise ArtifactError(f"identifiers: {num_items} items do not fit into {space} code sequences.")
    rng = np.random.default_rng(settings.seed)
    numbers = rng.permutation(space)[:num_items] if space < 10**7 else _distinct(rng, space, num_items)
    codes = np.stack(np.unravel_index(numbers, [settings.codebook_size] * settings.num_levels), axis=1)
    both = Identifiers(codes, codes, **_layout(settings, settings.num_levels)).check()
    return Built(both, dict.fromkeys(VIEWS, codes), {}, [])


def _distinct(rng: np.random.Generator, space: int, count: int) -> np.ndarray:
    numbers = np.unique(rng.integers(space, size=2 * count))
    return rng.permutation(numbers)[:count]


def _layout(settings: IdentifiersConfig, num_shared: int) -> dict[str, int]:
    return {"num_shared": num_shared, "codebook_size": settings.codebook_size}


def _check(settings: IdentifiersConfig) -> None:
    pair = (settings.strategy, "none" if settings.strategy == "random" else settings.quantizer)
    if pair not in VALID_PAIRS:
        listed = ", ".join(f"{s} + {q}" for s, q in sorted(VALID_PAIRS))
        raise ArtifactError(f"identifiers: {pair[0]} + {pair[1]} is no valid pair. Choose one of: {listed}.")
    if settings.strategy == "dual" and not 0 <= settings.num_shared < settings.num_levels:
        raise ArtifactError(
            f"identifiers: num_shared is {settings.num_shared}, but a dual identifier of {settings.num_levels} levels "
            f"needs 0 to {settings.num_levels - 1}: the last level must be a view's own."
        )
