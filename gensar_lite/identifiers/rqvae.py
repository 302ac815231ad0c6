"""RQ-VAE with a shared trunk and two branches: the paper's quantizer (GenSAR, section 3.2).

In: standardised item views (N, D_s), (N, D_c). Out: latents and codebooks, and a loss curve.
Four faults of the released recipe are absent: the residual stays differentiable, so every level's commitment
reaches the encoders; codebooks start from k-means on the whole catalogue, by a call and not by a hidden flag;
inputs are standardised; codewords that nobody uses are moved to items that are badly served.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from gensar_lite.artifacts import VIEWS, ArtifactError
from gensar_lite.config import IdentifiersConfig
from gensar_lite.identifiers.kmeans import fit_dual_kmeans
from gensar_lite.identifiers.quantizer import DualCodebooks, Latents
from gensar_lite.identifiers.sinkhorn import sinkhorn_codes
from gensar_lite.identifiers.threads import one_thread


class DualRQVAE(nn.Module):
    """Two encoders, one residual quantizer with a trunk and two branches, two decoders.

    With one of each, and ``num_shared == num_levels``, it is the plain RQ-VAE of a single view.
    """

    def __init__(self, dims: tuple[int, ...], settings: IdentifiersConfig):
        super().__init__()
        latent, k = settings.latent_dim, settings.codebook_size
        own = settings.num_levels - settings.num_shared
        self.mu, self.balance = settings.commitment, settings.uniqueness == "sinkhorn"
        self.encoders = nn.ModuleList(mlp([dim, *settings.hidden, latent]) for dim in dims)
        self.decoders = nn.ModuleList(mlp([latent, *reversed(settings.hidden), dim]) for dim in dims)
        self.trunk = nn.Parameter(torch.zeros(settings.num_shared, k, len(dims) * latent))
        self.branches = nn.ParameterList([torch.zeros(own, k, latent) for _ in VIEWS])

    def encode(self, *views: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """z_s, z_c: (N, d) each, of the views (N, D_s), (N, D_c)."""
        return tuple(encoder(view) for encoder, view in zip(self.encoders, views, strict=True))

    def forward(self, *views: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The paper's loss (a scalar) and the codes of each codebook, trunk first: MSE(v_s) + MSE(v_c) +
        mean over codebooks of [codebook loss + mu * commitment loss]."""
        z = self.encode(*views)
        halves, all_trunk = len(views), not len(self.branches[0])
        shared, residual, terms, codes = self._levels(torch.cat(z, dim=1), self.trunk, last=all_trunk)
        loss = 0.0
        for view, (target, half_sum, half) in enumerate(
            zip(views, shared.chunk(halves, dim=1), residual.chunk(halves, dim=1), strict=True)
        ):
            own, _, more_terms, more_codes = self._levels(half, self.branches[view], last=True)
            quantized = half_sum + own  # half of the summed shared codewords + summed specific ones
            quantized = z[view] + (quantized - z[view]).detach()  # straight-through estimator
            loss = loss + F.mse_loss(self.decoders[view](quantized), target)
            terms, codes = terms + more_terms, codes + more_codes
        return loss + torch.stack(terms).mean(), codes

    def _levels(self, vectors: torch.Tensor, books: torch.Tensor, last: bool = False):
        total, residual, terms, codes = torch.zeros_like(vectors), vectors, [], []
        for level, book in enumerate(books, start=1):
            with torch.no_grad():
                distances = torch.cdist(residual, book)  # (N, K)
                if self.balance and self.training and last and level == len(books):  # section 3.2: the last level only
                    code = torch.from_numpy(sinkhorn_codes(distances.square().numpy()))
                else:
                    code = distances.argmin(dim=1)  # (N,)
            word = book[code]
            terms.append(F.mse_loss(word, residual.detach()) + self.mu * F.mse_loss(residual, word.detach()))
            total, codes = total + word, [*codes, code]
            residual = residual - word.detach()  # still a function of the encoder: its gradient is wanted
        return total, residual, terms, codes

    @torch.no_grad()
    def set_codebooks(self, books: DualCodebooks) -> None:
        """Copy codebooks in: how initialisation and revival write, and nothing else does."""
        for own, new in zip((self.trunk, *self.branches), books, strict=True):
            if own.numel():  # a plain RQ-VAE has empty branches
                own.copy_(torch.as_tensor(new, dtype=own.dtype))

    def codebooks(self) -> DualCodebooks:
        """The codebooks as float64 arrays."""
        return DualCodebooks(*(t.detach().double().numpy() for t in (self.trunk, *self.branches)))


def mlp(widths: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for low, high in pairwise(widths):
        layers += [nn.Linear(low, high), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def revive(model: DualRQVAE, views: tuple[torch.Tensor, ...], generator: torch.Generator) -> int:
    """Move every codeword that no item uses to the residual of a random item; returns how many moved."""
    z = model.encode(*views)
    moved = 0
    residual = torch.cat(z, dim=1)
    for book in model.trunk:
        residual, count = _revive_level(residual, book, generator)
        moved += count
    for half, books in zip(residual.chunk(len(views), dim=1), model.branches, strict=False):
        for book in books:
            half, count = _revive_level(half, book, generator)
            moved += count
    return moved


def _revive_level(residual: torch.Tensor, book: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, int]:
    code = torch.cdist(residual, book).argmin(dim=1)
    dead = torch.bincount(code, minlength=len(book)) == 0
    count = min(int(dead.sum()), len(residual))
    if count:
        rows = torch.randperm(len(residual), generator=generator)[:count]
        book[dead.nonzero().flatten()[:count]] = residual[rows]
        code = torch.cdist(residual, book).argmin(dim=1)
    return residual - book[code], count


@one_thread()  # sums in another order would be other sums, and after 200 epochs other identifiers
def fit_rq_vae(
    semantic: np.ndarray,
    collaborative: np.ndarray | None,
    settings: IdentifiersConfig,
    watch: Callable[[dict], None] | None = None,
) -> tuple[DualRQVAE, list[dict]]:
    """Train on the whole catalogue at once, (N, D_s) and (N, D_c), standardised; None: one view, all levels trunk.

    Returns the model and one row ``{epoch, loss, revived}`` an epoch; `watch` sees each row as it comes.
    Raises `ArtifactError` when the loss is not finite.
    """
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    there = (semantic,) if collaborative is None else (semantic, collaborative)
    views = tuple(torch.as_tensor(v, dtype=torch.float32) for v in there)
    model = DualRQVAE(tuple(view.shape[1] for view in views), settings)
    initialise(model, views, settings)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    warmup = max(settings.epochs // 10, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda e: min((e + 1) / warmup, max(1 - e / settings.epochs, 0.02))
    )
    curve = []
    for epoch in tqdm(range(1, settings.epochs + 1), desc="RQ-VAE", unit="epoch"):
        loss, _ = model(*views)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        moved = revive(model, views, generator) if epoch % 10 == 0 and epoch < 0.9 * settings.epochs else 0
        curve.append({"epoch": epoch, "loss": float(loss.detach()), "revived": moved})
        if not np.isfinite(curve[-1]["loss"]):
            raise ArtifactError(f"identifiers: rq-vae's loss became {loss} in epoch {epoch}. Lower identifiers.lr.")
        if watch:
            watch(curve[-1])
    return model.eval(), curve


@torch.no_grad()
def initialise(model: DualRQVAE, views: tuple[torch.Tensor, ...], settings: IdentifiersConfig) -> None:
    """Codebooks from k-means on the encoders' outputs of the whole catalogue."""
    model.set_codebooks(fit_dual_kmeans(latents_of(model, views), settings))


@torch.no_grad()
def latents_of(model: DualRQVAE, views: tuple[torch.Tensor, ...]) -> Latents | tuple[np.ndarray]:
    """z_s and z_c of every item as float64 arrays; of a one-view model a single one."""
    found = tuple(z.double().numpy() for z in model.encode(*views))
    return Latents(*found) if len(found) == 2 else found
