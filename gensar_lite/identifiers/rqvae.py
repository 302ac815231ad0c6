"""RQ-VAE with a shared trunk and two branches: the paper's quantizer (GenSAR, section 3.2).

In: standardised item views (N, D_s), (N, D_c). Out: latents, codebooks, a loss curve. What the
released recipe lacks: residuals stay differentiable, so that every level's commitment reaches the
encoders; latents of a fixed length cannot shrink or run away from their codewords; codebooks start
from k-means when encoders say something; unused codewords move to items that are badly served.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from gensar_lite.artifacts import VIEWS, ArtifactError
from gensar_lite.config import IdentifiersConfig
from gensar_lite.identifiers.balanced import sinkhorn_codes
from gensar_lite.identifiers.kmeans import fit_dual_kmeans
from gensar_lite.identifiers.quantizer import DualCodebooks
from gensar_lite.machine.precision import use_bf16
from gensar_lite.machine.threads import one_thread

# share of epochs before any codebook: k-means on what random encoders say is no start
_PLAIN = 1 / 3
WEIGHT_DECAY = 1e-5  # of encoders and decoders; codewords have none
_CODEBOOK_LR = 10  # times lr: codewords must keep up with latents that move
_REVIVE_EVERY = 5  # epochs, and after the last one

Views = tuple[torch.Tensor, ...]  # (N, D) of each view, one or two


class DualRQVAE(nn.Module):
    """Two encoders, one residual quantizer with a trunk and two branches, two decoders.

    With one of each, and ``num_shared == num_levels``, it is the plain RQ-VAE of a single view.
    """

    def __init__(self, dims: tuple[int, ...], settings: IdentifiersConfig):
        super().__init__()
        latent = settings.latent_dim
        self.mu = settings.commitment
        self.balance = settings.uniqueness == "sinkhorn"
        self.bf16 = use_bf16(settings.precision)
        self.encoders = nn.ModuleList(_mlp([dim, *settings.hidden, latent]) for dim in dims)
        turned = settings.hidden[::-1]
        self.decoders = nn.ModuleList(_mlp([latent, *turned, dim]) for dim in dims)
        trunk = (settings.num_shared, settings.codebook_size, len(dims) * latent)
        branch = (settings.num_levels - settings.num_shared, settings.codebook_size, latent)
        self.trunk = nn.Parameter(torch.zeros(trunk))
        self.branches = nn.ParameterList([torch.zeros(branch) for _ in VIEWS])

    def encode(self, *views: torch.Tensor) -> Views:
        """z_s, z_c: (N, d) each, of views (N, D_s), (N, D_c). Every row has the length sqrt(d)."""
        latents = [self._run(f, view) for f, view in zip(self.encoders, views, strict=True)]
        return tuple(F.normalize(z, dim=1) * z.shape[1] ** 0.5 for z in latents)

    def rebuilding_error(
        self, *views: torch.Tensor, latents: Sequence[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """MSE(v_s) + MSE(v_c) of `latents`; of those as they are it is the first epochs' loss."""
        pairs = zip(self.decoders, latents or self.encode(*views), views, strict=True)
        return sum(F.mse_loss(self._run(decoder, z), view) for decoder, z, view in pairs)

    def _run(self, network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16 and self.training):
            return network(x).to(x.dtype)

    def forward(self, *views: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The paper's loss, a scalar, and the codes (N,) of each codebook, trunk first.

        MSE(v_s) + MSE(v_c) + mean over codebooks of [codebook loss + mu * commitment loss].
        """
        # 1. the trunk quantizes [z_s ; z_c]: (N, 2d)
        z = self.encode(*views)
        all_trunk = not len(self.branches[0])
        shared, rest, terms, codes = self._levels(torch.cat(z, dim=1), self.trunk, last=all_trunk)
        # 2. sum and remainder fall apart into halves (N, d); each branch quantizes one
        halves = zip(z, shared.chunk(len(views), dim=1), rest.chunk(len(views), dim=1), strict=True)
        latents = []
        for (latent, half_sum, half), books in zip(halves, self.branches, strict=False):
            branch_sum, _, more_terms, more_codes = self._levels(half, books, last=True)
            quantized = half_sum + branch_sum
            # 3. straight-through: the decoder reads codewords, the encoder gets the gradient
            latents.append(latent + (quantized - latent).detach())
            terms += more_terms
            codes += more_codes
        return self.rebuilding_error(*views, latents=latents) + torch.stack(terms).mean(), codes

    def _levels(self, vectors: torch.Tensor, books: torch.Tensor, last: bool = False):
        """Sum of codewords and residual (N, d), loss terms and codes (N,) per level of `books`.

        `last`: these books end an identifier.
        """
        total = torch.zeros_like(vectors)
        residual = vectors
        terms, codes = [], []
        for level, book in enumerate(books, start=1):
            # the paper spreads items evenly at the last level only (section 3.2), in training
            even = self.balance and self.training and last and level == len(books)
            with torch.no_grad():
                code = self.choose(residual, book, even)
            word = book[code]  # (N, d)
            codebook_loss = F.mse_loss(word, residual.detach())  # moves the codeword
            commitment = F.mse_loss(residual, word.detach())  # moves the encoder
            terms.append(codebook_loss + self.mu * commitment)
            codes.append(code)
            total = total + word
            # still a function of the encoder: the next level's commitment reaches it, too
            residual = residual - word.detach()
        return total, residual, terms, codes

    def choose(self, residual: torch.Tensor, book: torch.Tensor, even: bool) -> torch.Tensor:
        """A code for each residual, (N,): the nearest, or Sinkhorn's, equal shares per code."""
        far = _distances(residual, book)
        if not even:
            return far.argmin(dim=1)
        far = far + residual.square().sum(dim=1, keepdim=True)
        return torch.from_numpy(sinkhorn_codes(far.numpy()))

    @torch.no_grad()
    def set_codebooks(self, books: DualCodebooks) -> None:
        """Copy codebooks in: how initialisation and revival write, and nothing else does."""
        for parameter, book in zip((self.trunk, *self.branches), books, strict=True):
            if parameter.numel():  # a plain RQ-VAE has empty branches
                parameter.copy_(torch.as_tensor(book, dtype=parameter.dtype))

    def codebooks(self) -> DualCodebooks:
        """The codebooks as float64 arrays."""
        return DualCodebooks(*(t.detach().double().numpy() for t in (self.trunk, *self.branches)))


def _mlp(widths: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for low, high in pairwise(widths):
        layers += [nn.Linear(low, high), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _distances(vectors: torch.Tensor, book: torch.Tensor) -> torch.Tensor:
    """||x - e||^2 up to a term constant in e: (N, d), (K, d) -> (N, K)."""
    return torch.addmm(book.square().sum(dim=1)[None, :], vectors, book.T, alpha=-2)


@torch.no_grad()
def revive(model: DualRQVAE, views: Views, generator: torch.Generator) -> int:
    """Move codewords that no item uses to residuals of badly served items; how many moved."""
    residual = torch.cat(model.encode(*views), dim=1)  # (N, 2d)
    residual, moved = _revive_levels(residual, model.trunk, generator)
    for half, books in zip(residual.chunk(len(views), dim=1), model.branches, strict=False):
        moved += _revive_levels(half, books, generator)[1]
    return moved


def _revive_levels(
    residual: torch.Tensor, books: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, int]:
    """The residual (N, d) after `books`, their unused codewords moved first, and their number."""
    moved = 0
    for book in books:
        code = _distances(residual, book).argmin(dim=1)
        dead = torch.bincount(code, minlength=len(book)) == 0  # (K,)
        count = min(int(dead.sum()), len(residual))
        if count:
            # drawn in proportion to squared distance, as k-means++ draws its centres
            error = (residual - book[code]).double().square().sum(dim=1)
            rows = torch.multinomial(error + 1e-12, count, generator=generator)
            book[dead.nonzero().flatten()[:count]] = residual[rows]
            code = _distances(residual, book).argmin(dim=1)
        residual = residual - book[code]
        moved += count
    return residual, moved


@one_thread()  # sums in another order would be other sums, and after many epochs other identifiers
def fit_rq_vae(
    vectors: tuple[np.ndarray, ...], settings: IdentifiersConfig
) -> tuple[DualRQVAE, list[dict]]:
    """Train on standardised (N, D_s), (N, D_c), or one view, all trunk: the model and its curve.

    A row ``{epoch, loss, revived}`` per epoch; the loss is a mean over batches, in the first third
    of the rebuilding error alone. Raises `ArtifactError` when it is not finite.
    """
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    views = tuple(torch.as_tensor(v, dtype=torch.float32) for v in vectors)
    model = DualRQVAE(tuple(view.shape[1] for view in views), settings)
    steps = settings.epochs * -(-len(views[0]) // settings.batch_size)
    optimiser, schedule = new_optimiser(model, settings, steps)
    plain = int(settings.epochs * _PLAIN)
    curve = []
    for epoch in tqdm(range(1, settings.epochs + 1), desc="RQ-VAE", unit="epoch"):
        # 1. a third of the epochs train encoders and decoders alone, until latents say something
        loss_of = model.rebuilding_error if epoch <= plain else lambda *batch: model(*batch)[0]
        # 2. then k-means on the whole catalogue's latents sets the codebooks, once
        if epoch == plain + 1:
            initialise(model, views, settings)
        # 3. from there on everything is trained together
        batches = torch.randperm(len(views[0]), generator=generator).split(settings.batch_size)
        loss = train_epoch(model, views, loss_of, optimiser, schedule, batches)
        if not np.isfinite(loss):
            what = f"rq-vae's loss became {loss} in epoch {epoch}"
            raise ArtifactError(f"identifiers: {what}. Lower identifiers.lr.")
        # 4. now and then, and at the end, unused codewords move to where they are needed
        due = epoch > plain and (epoch % _REVIVE_EVERY == 0 or epoch == settings.epochs)
        revived = revive(model, views, generator) if due else 0
        curve.append({"epoch": epoch, "loss": loss, "revived": revived})
    return model.eval(), curve


def train_epoch(
    model: DualRQVAE,
    views: Views,
    loss_of: Callable[..., torch.Tensor],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    batches: Iterable[torch.Tensor],
) -> float:
    """One pass with a step for each of `batches`, rows of the views; the mean loss."""
    model.train()
    total = torch.zeros((), dtype=torch.float64)
    for rows in batches:
        loss = loss_of(*(view[rows] for view in views))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += loss.detach() * len(rows)
    model.eval()
    return float(total) / len(views[0])


def new_optimiser(
    model: DualRQVAE, settings: IdentifiersConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW; the rate rises for a twentieth of the steps, then falls in a straight line."""
    books = [model.trunk, *model.branches]
    others = [*model.encoders.parameters(), *model.decoders.parameters()]
    of_books = {"params": books, "lr": _CODEBOOK_LR * settings.lr, "weight_decay": 0.0}
    groups = [{"params": others}, of_books]
    optimiser = torch.optim.AdamW(groups, lr=settings.lr, weight_decay=WEIGHT_DECAY, fused=True)
    rise = max(steps // 20, 1)

    def share_of_lr(step: int) -> float:
        return min((step + 1) / rise, max(1 - step / max(steps, 1), 0.02))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share_of_lr)


@torch.no_grad()
def initialise(model: DualRQVAE, views: Views, settings: IdentifiersConfig) -> None:
    """Codebooks from k-means on the encoders' outputs of the whole catalogue."""
    model.set_codebooks(fit_dual_kmeans(latents_of(model, views), settings))


@torch.no_grad()
def latents_of(model: DualRQVAE, views: Iterable[torch.Tensor]) -> tuple[np.ndarray, ...]:
    """z_s and z_c of every item as float64 arrays; of a one-view model a single one."""
    return tuple(z.double().numpy() for z in model.encode(*views))
