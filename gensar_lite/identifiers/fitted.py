"""A fitted quantizer: all that is needed to give any item codes, kept as tensors; and identifiers for new items.

In: `ItemEmbeddings` of a catalogue, later those of new items. Out: codes, tensors, identifiers.
This file does not know where the embeddings came from.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from gensar_lite.artifacts import VIEWS, ArtifactError, Identifiers, ItemEmbeddings
from gensar_lite.config import ConfigError, IdentifiersConfig
from gensar_lite.identifiers.assignment import make_unique, spread, with_extra_level
from gensar_lite.identifiers.balanced import balanced_codes
from gensar_lite.identifiers.kmeans import fit_dual_kmeans, fit_product
from gensar_lite.identifiers.quantizer import DualCodebooks, DualCodes, Latents, dual_quantize
from gensar_lite.identifiers.room import Room, digits, room_for
from gensar_lite.identifiers.rqvae import DualRQVAE, fit_rq_vae, latents_of
from gensar_lite.identifiers.sizes import sized
from gensar_lite.identifiers.space import Space
from gensar_lite.identifiers.usage import row_numbers
from gensar_lite.machine.threads import one_thread

_TOGETHER = 8192  # items quantized at once: memory stays flat however large the catalogue is

# what each strategy quantizes: two spaces have a trunk and branches, a single one is all trunk
SPACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "dual": (("semantic",), ("collaborative",)),
    "separate": (("semantic",), ("collaborative",)),
    "semantic": (("semantic",),),
    "collaborative": (("collaborative",),),
    "fused-concat": (("semantic", "collaborative"),),
    "fused-svd": (("semantic", "collaborative"),),
    "multitask": (("joint",),),
}


@dataclass(frozen=True)
class FittedQuantizer:
    """Spaces, codebooks and, for rq-vae, encoders. `settings` are those it was fitted with, with their sizes."""

    settings: IdentifiersConfig
    spaces: tuple[Space, ...]
    books: DualCodebooks
    model: DualRQVAE | None = None

    def quantize(self, embeddings: ItemEmbeddings, whole: bool = False) -> DualCodes:
        """Codes of both views before repair. `whole`: these are the catalogue it was fitted on, so that `balanced`
        codewords share it evenly; anything else takes the nearest codeword."""
        if whole and self.settings.quantizer == "balanced":
            return dual_quantize(self.latents(embeddings), self.books, balanced_codes)
        num_items, found = len(embeddings.semantic), None
        for start in range(0, max(num_items, 1), _TOGETHER):
            part = dual_quantize(
                self.latents(embeddings.rows(slice(start, start + _TOGETHER))), self.books
            )
            flat = (
                part.semantic,
                part.collaborative,
                *(part.last_residual[view] for view in VIEWS),
            )
            found = found or [
                np.empty((num_items, x.shape[1]), x.dtype) for x in flat
            ]  # filled, never held twice
            for table, rows in zip(found, flat, strict=True):
                table[start : start + _TOGETHER] = rows
        return DualCodes(*found[:2], dict(zip(VIEWS, found[2:], strict=True)))

    def latents(self, embeddings: ItemEmbeddings) -> Latents | tuple[np.ndarray]:
        """What is quantized, (N, d) of each space."""
        vectors = tuple(space.apply(embeddings) for space in self.spaces)
        if self.model is not None:
            return latents_of(
                self.model, tuple(torch.as_tensor(x, dtype=torch.float32) for x in vectors)
            )
        return vectors

    def tensors(self) -> dict[str, np.ndarray]:
        """What `of` needs: codebooks, ``space<i>.*`` and ``rqvae.*``."""
        found = dict(zip(("trunk", *VIEWS), self.books, strict=True))
        for i, space in enumerate(self.spaces):
            found |= {f"space{i}.{name}": value for name, value in space.tensors().items()}
        if self.model is not None:
            found |= {f"rqvae.{k}": v.numpy() for k, v in self.model.state_dict().items()}
        return found

    @staticmethod
    def of(tensors: dict[str, np.ndarray], settings: IdentifiersConfig) -> FittedQuantizer:
        """The quantizer whose `tensors()` these are; its sizes are theirs, whatever `settings` leave to the catalogue.

        Raises `ConfigError` for `random`, which fits nothing.
        """
        if settings.strategy not in SPACES:
            raise ConfigError(
                f"identifiers: strategy {settings.strategy} fits no quantizer, so new items cannot be assigned. "
                f"Choose one of: {', '.join(SPACES)}."
            )

        def part(prefix):
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        names = SPACES[settings.strategy]
        spaces = tuple(Space.of(views, part(f"space{i}.")) for i, views in enumerate(names))
        books = DualCodebooks(*(tensors[k] for k in ("trunk", *VIEWS)))
        settings = dataclasses.replace(
            settings, codebook_size=books.num_codes, num_levels=books.num_levels
        )
        model, state = None, part("rqvae.")
        if state:
            model = DualRQVAE(tuple(space.width for space in spaces), layout(settings)).eval()
            model.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
        return FittedQuantizer(settings, spaces, books, model)


def load_quantizer(folder: Path, settings: IdentifiersConfig) -> FittedQuantizer:
    """The fitted quantizer of an identifiers folder (``ws.require("identifiers")``)."""
    return FittedQuantizer.of(load_file(folder / "quantizer.safetensors"), settings)


def layout(settings: IdentifiersConfig) -> IdentifiersConfig:
    """The settings with the `num_shared` that the strategy has: none if separate, every level if of one vector."""
    if settings.strategy == "dual":
        return settings
    shared = 0 if settings.strategy == "separate" else settings.num_levels
    return dataclasses.replace(settings, num_shared=shared)


def fit_quantizer(
    embeddings: ItemEmbeddings, settings: IdentifiersConfig
) -> tuple[FittedQuantizer, list[dict]]:
    """Fit on a whole catalogue. Returns the quantizer and the learning curve (rq-vae, else empty).

    Sizes that `settings` leave to the catalogue (0) are chosen here, see `sized`.
    """
    settings = sized(settings, len(embeddings.semantic))
    inner, names = layout(settings), SPACES[settings.strategy]
    # rq-vae's encoders find their own directions; the fused strategies are named after theirs
    named = {"fused-svd": True, "fused-concat": False}
    turned = named.get(settings.strategy, settings.quantizer != "rq-vae")
    spaces = tuple(
        Space.fit(embeddings, views, settings.latent_dim if turned else None) for views in names
    )
    vectors = tuple(space.apply(embeddings) for space in spaces)
    if settings.quantizer == "rq-vae":
        model, curve = fit_rq_vae(vectors[0], vectors[1] if len(vectors) > 1 else None, inner)
        return FittedQuantizer(settings, spaces, model.codebooks(), model), curve
    if settings.quantizer == "pq":
        return FittedQuantizer(settings, spaces, fit_product(vectors[0], inner)), []
    latents = Latents(*vectors) if len(vectors) > 1 else vectors
    return FittedQuantizer(settings, spaces, fit_dual_kmeans(latents, inner)), []


def unique_codes(
    codes: DualCodes, fitted: FittedQuantizer, taken: Identifiers | None = None
) -> Identifiers:
    """Identifiers from codes by `settings.uniqueness`, beside those that are `taken`.

    Where both views have the same codes they have the same array. There is room for every item of a catalogue, in a
    larger last level or more levels if it takes them (`room_for`). New items beside taken ones take the nearest free
    code also under `sinkhorn`, which would move the others. Raises `ArtifactError` with the numbers when they do not
    fit into what there is.
    """
    how, shared, levels = (
        fitted.settings.uniqueness,
        fitted.books.num_shared,
        codes.semantic.shape[1],
    )
    one = shared == levels
    views = VIEWS[:1] if one else VIEWS
    room = (
        _room_needed([getattr(codes, view) for view in views], fitted.books.num_codes, how)
        if taken is None
        else Room(taken.codebook_size, taken.num_levels - levels)
    )
    unique = {}
    for view in views:
        mine, before = getattr(codes, view), None if taken is None else taken.view(view)
        if how == "extra-level":
            unique[view] = with_extra_level(mine, room.num_codes, view, before, room.num_counters)
            continue
        residual, book = codes.last_residual[view], fitted.books.last(view)
        if how == "sinkhorn" and taken is None:
            mine = spread(mine, residual, book)
        unique[view] = make_unique(mine, residual, book, view, before, room)
    semantic = unique["semantic"]
    shared = semantic.shape[1] if one else shared
    return Identifiers(
        semantic, unique.get("collaborative", semantic), shared, room.num_codes
    ).check()


def _room_needed(views: list[np.ndarray], num_codes: int, how: str) -> Room:
    """The room in which every view's codes (N, L) become unique: both have the same number of levels."""
    if how == "extra-level":
        most, base = max(_most_alike(codes) for codes in views), max(num_codes, 2)
        return Room(base, digits(most, base))
    return room_for(max(_most_alike(codes[:, :-1]) for codes in views), num_codes)


def _most_alike(codes: np.ndarray) -> int:
    return int(np.bincount(row_numbers(codes)).max(initial=0))


def assign(new: ItemEmbeddings, fitted: FittedQuantizer, taken: Identifiers) -> Identifiers:
    """Identifiers of new items (M rows), without refitting; none equals one of `taken` (N rows), which stay.

    Raises `ArtifactError` with the numbers where a prefix has no room left, or for vectors that are not finite.
    """
    finite = [np.isfinite(space.apply(new)).all(axis=1) for space in fitted.spaces]
    bad = np.flatnonzero(~np.all(finite, axis=0))
    if len(
        bad
    ):  # one new item is enough, so `ItemEmbeddings.check`, which wants different ones, does not fit
        raise ArtifactError(
            f"identifiers: {len(bad)} of {len(finite[0])} new items have vectors with NaN or infinity "
            f"(rows {', '.join(map(str, bad[:5]))}). Repair these vectors before assigning."
        )
    with one_thread():
        return unique_codes(fitted.quantize(new), fitted, taken)
