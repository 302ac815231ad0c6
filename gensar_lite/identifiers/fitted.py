"""A fitted quantizer: what gives any item codes, kept as tensors; and identifiers for new items.

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
from gensar_lite.embeddings.fused import Space
from gensar_lite.identifiers.assignment import make_unique, spread, with_extra_level
from gensar_lite.identifiers.balanced import balanced_codes
from gensar_lite.identifiers.kmeans import fit_dual_kmeans, fit_product
from gensar_lite.identifiers.measures import row_numbers
from gensar_lite.identifiers.quantizer import DualCodebooks, DualCodes, dual_quantize, nearest
from gensar_lite.identifiers.room import Room, room_for, sized
from gensar_lite.identifiers.rqvae import DualRQVAE, fit_rq_vae, latents_of
from gensar_lite.machine.threads import one_thread

_TOGETHER = 8192  # items quantized at once: what is computed on the way stays small

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
    """Spaces, codebooks and, for rq-vae, encoders; `settings` as fitted, with their sizes."""

    settings: IdentifiersConfig
    spaces: tuple[Space, ...]
    books: DualCodebooks
    model: DualRQVAE | None = None

    def quantize(self, embeddings: ItemEmbeddings, whole: bool = False) -> DualCodes:
        """Codes of both views before repair: the nearest codewords.

        `whole`: of the catalogue it was fitted on, which `balanced` codewords share evenly.
        """
        even = whole and self.settings.quantizer == "balanced"
        num_items = max(len(embeddings.semantic), 1)
        step = num_items if even else _TOGETHER
        parts = []
        for low in range(0, num_items, step):
            latents = self.latents(embeddings.rows(slice(low, low + step)))
            parts.append(dual_quantize(latents, self.books, balanced_codes if even else nearest))
        codes = [np.concatenate([getattr(part, view) for part in parts]) for view in VIEWS]
        last = {
            view: np.concatenate([part.last_residual[view] for part in parts]) for view in VIEWS
        }
        return DualCodes(*codes, last)

    def latents(self, embeddings: ItemEmbeddings) -> tuple[np.ndarray, ...]:
        """What is quantized, (N, d) of each space."""
        vectors = tuple(space.apply(embeddings) for space in self.spaces)
        if self.model is None:
            return vectors
        return latents_of(self.model, [torch.as_tensor(x, dtype=torch.float32) for x in vectors])

    def tensors(self) -> dict[str, np.ndarray]:
        """What `of` needs: codebooks, ``space<i>.*`` and ``rqvae.*``."""
        tensors = dict(zip(("trunk", *VIEWS), self.books, strict=True))
        for i, space in enumerate(self.spaces):
            tensors |= {f"space{i}.{name}": value for name, value in space.tensors().items()}
        if self.model is not None:
            tensors |= {f"rqvae.{k}": v.numpy() for k, v in self.model.state_dict().items()}
        return tensors

    @staticmethod
    def of(tensors: dict[str, np.ndarray], settings: IdentifiersConfig) -> FittedQuantizer:
        """The quantizer whose `tensors()` these are; sizes are theirs, whatever `settings` say.

        Raises `ConfigError` for `random`, which fits nothing.
        """
        if settings.strategy not in SPACES:
            raise ConfigError(
                f"identifiers: strategy {settings.strategy} fits no quantizer, so new items cannot "
                f"be assigned. Choose one of: {', '.join(SPACES)}."
            )

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        names = SPACES[settings.strategy]
        spaces = tuple(Space.of(views, part(f"space{i}.")) for i, views in enumerate(names))
        books = DualCodebooks(*(tensors[k] for k in ("trunk", *VIEWS)))
        sizes = {"codebook_size": books.num_codes, "num_levels": books.num_levels}
        settings = dataclasses.replace(settings, **sizes, num_shared=books.num_shared)
        model = None
        if state := part("rqvae."):
            model = DualRQVAE(tuple(space.width for space in spaces), settings).eval()
            model.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
        return FittedQuantizer(settings, spaces, books, model)


def load_quantizer(folder: Path, settings: IdentifiersConfig) -> FittedQuantizer:
    """The fitted quantizer of an identifiers folder (``ws.require("identifiers")``)."""
    return FittedQuantizer.of(load_file(folder / "quantizer.safetensors"), settings)


def fit_quantizer(
    embeddings: ItemEmbeddings, settings: IdentifiersConfig
) -> tuple[FittedQuantizer, list[dict]]:
    """Fit on a whole catalogue. Returns the quantizer and the learning curve (rq-vae, else empty).

    Sizes that `settings` leave to the catalogue (0) are chosen here, see `sized`.
    """
    settings = sized(settings, len(embeddings.semantic))
    # rq-vae's encoders find their own directions; the fused strategies are named after theirs
    named = {"fused-svd": True, "fused-concat": False}
    turned = named.get(settings.strategy, settings.quantizer != "rq-vae")
    dim = settings.latent_dim if turned else None
    spaces = tuple(Space.fit(embeddings, views, dim) for views in SPACES[settings.strategy])
    vectors = tuple(space.apply(embeddings) for space in spaces)
    if settings.quantizer == "rq-vae":
        model, curve = fit_rq_vae(vectors, settings)
        return FittedQuantizer(settings, spaces, model.codebooks(), model), curve
    pq = settings.quantizer == "pq"
    books = fit_product(vectors[0], settings) if pq else fit_dual_kmeans(vectors, settings)
    return FittedQuantizer(settings, spaces, books), []


def unique_codes(
    codes: DualCodes, fitted: FittedQuantizer, taken: Identifiers | None = None
) -> Identifiers:
    """Identifiers from codes by `settings.uniqueness`, beside those that are `taken`.

    There is room for every item of a catalogue (`room_for`). New items beside taken ones take the
    nearest free code also under `sinkhorn`, which would move the others. Raises `ArtifactError`
    with the numbers when they do not fit into what there is.
    """
    how = fitted.settings.uniqueness
    levels = codes.semantic.shape[1]
    all_trunk = fitted.books.num_shared == levels
    views = VIEWS[:1] if all_trunk else VIEWS  # with the same codes both views share one array
    if taken is None:  # both views get as many levels
        counted = how == "extra-level"
        alike = [getattr(codes, view)[:, : levels if counted else levels - 1] for view in views]
        most = max(int(np.bincount(row_numbers(part)).max(initial=0)) for part in alike)
        room = room_for(most, fitted.books.num_codes, counted)
    else:
        room = Room(taken.codebook_size, taken.num_levels - levels)
    unique = []
    for view in views:
        before = None if taken is None else taken.view(view)
        own = getattr(codes, view)
        if how == "extra-level":
            own = with_extra_level(own, room.num_codes, view, before, room.num_counters)
        else:
            case = codes.last_residual[view], fitted.books.last(view)
            own = spread(own, *case) if how == "sinkhorn" and taken is None else own
            own = make_unique(own, *case, view, before, room)
        unique.append(own)
    num_shared = unique[0].shape[1] if all_trunk else fitted.books.num_shared
    return Identifiers(unique[0], unique[-1], num_shared, room.num_codes).check()


def assign(items: ItemEmbeddings, fitted: FittedQuantizer, taken: Identifiers) -> Identifiers:
    """Identifiers of new items (M), without refitting; none equals one of `taken` (N), which stay.

    Raises `ArtifactError` where a prefix has no room left, or for vectors that are not finite.
    """
    # not `ItemEmbeddings.check`, which wants different vectors: one new item is enough
    finite = [np.isfinite(space.apply(items)).all(axis=1) for space in fitted.spaces]
    bad = np.flatnonzero(~np.all(finite, axis=0))
    if len(bad):
        raise ArtifactError(
            f"identifiers: {len(bad)} of {len(finite[0])} new items have vectors with NaN or "
            f"infinity (rows {', '.join(map(str, bad[:5]))}). "
            "Repair these vectors before assigning."
        )
    with one_thread():
        return unique_codes(fitted.quantize(items), fitted, taken)
