"""Plain ways to what the identifiers room does: groups in a Python loop, a dictionary, a loader.

In: the same arrays as ours. Out: codes, or a loss. Written as one would at first, with nothing done
to slow it down.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gensar_lite.identifiers.rqvae import DualRQVAE


def plain_sinkhorn(distances: torch.Tensor, epsilon: float = 0.003) -> torch.Tensor:
    """The code with most mass per item, (n, K) -> (n,): the whole matrix is scaled in turns."""
    low = distances.min()
    high = distances.max()
    scaled = 2 * (distances - low) / (high - low + 1e-12) - 1
    mass = torch.exp(-scaled / epsilon)  # float64: the paper's epsilon leaves float32
    mass /= mass.sum()
    # rows get equal mass, then columns, in turns, until both nearly have it
    for _ in range(50):
        mass /= mass.sum(dim=1, keepdim=True) * mass.shape[0] + 1e-250
        mass /= mass.sum(dim=0, keepdim=True) * mass.shape[1] + 1e-250
    return mass.argmax(dim=1)


def spread_by_groups(codes: np.ndarray, residual: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The paper's repair, one group of colliding items after the other, up to 20 rounds."""
    codes = codes.copy()
    vectors = torch.from_numpy(residual)
    book = torch.from_numpy(codebook)
    for _ in range(20):
        # items by their whole sequence
        groups = defaultdict(list)
        for row, sequence in enumerate(codes.tolist()):
            groups[tuple(sequence)].append(row)
        colliding = [rows for rows in groups.values() if len(rows) > 1]
        # the items of a group spread over all last codes; they may meet others there
        for rows in colliding:
            codes[rows, -1] = plain_sinkhorn(torch.cdist(vectors[rows], book).square()).numpy()
        if not colliding:
            break
    return codes


def unique_by_dictionary(
    codes: np.ndarray, residual: np.ndarray, codebook: np.ndarray
) -> np.ndarray:
    """Item after item takes the nearest last code that no earlier item of its prefix has."""
    codes = codes.copy()
    taken = set()
    norms = (codebook**2).sum(axis=1)
    for row, sequence in enumerate(codes.tolist()):
        key = tuple(sequence)
        if key in taken:
            # squared distances up to a constant: |b|^2 - 2 b r
            nearest = np.argsort(norms - 2 * codebook @ residual[row]).tolist()
            key = next(k for k in ((*key[:-1], code) for code in nearest) if k not in taken)
            codes[row, -1] = key[-1]
        taken.add(key)
    return codes


class PlainRQVAE(DualRQVAE):
    """The same model and loss; the last level's Sinkhorn scales the whole matrix."""

    def choose(self, residual: torch.Tensor, book: torch.Tensor, even: bool) -> torch.Tensor:
        """Codes (B,) of residuals (B, d) in a codebook (K, d); `even` spreads them."""
        distances = torch.cdist(residual, book)
        return plain_sinkhorn(distances.double().square()) if even else distances.argmin(dim=1)


def plain_epoch(
    model: PlainRQVAE, views: tuple[torch.Tensor, ...], optimiser: torch.optim.Optimizer, batch: int
) -> float:
    """One epoch through a data loader, fp32; the mean loss."""
    model.train()
    losses = []
    for rows in DataLoader(TensorDataset(*views), batch_size=batch, shuffle=True):
        loss, _ = model(*rows)  # (loss, codes)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item() * len(rows[0]))
    return sum(losses) / len(views[0])
