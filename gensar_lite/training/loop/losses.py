"""The loss of one batch: cross-entropy of codes among their level's codes, of text among text, or of all among all.

In: a model and a `Batch` of tensors. Out: sums, so that parts of a step add up. Which tokens count is read off the
target: codes and text are told apart by their token ids. This file does not know the kind of backbone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from gensar_lite.artifacts import VIEWS
from gensar_lite.config import TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones import hidden_states, output_layer, output_rows
from gensar_lite.training.backbones.causal import read
from gensar_lite.training.sequences.tasks import Batch
from gensar_lite.training.text import PAD


class Loss(NamedTuple):
    """Sums over one batch; all are tensors without gradient but the first.

    total   () cross-entropy, weighted in a stream
    tokens  () tokens (their weights in a stream) that it sums over: total / tokens is what is minimised
    hits    (L,) codes of each level that had the highest logit, or (1,) tokens of a text
    count   () of how many
    """

    total: torch.Tensor
    tokens: torch.Tensor
    hits: torch.Tensor
    count: torch.Tensor

    def row(self, num_levels: int) -> np.ndarray:
        """Total, tokens, count, hits: (3 + L,) numbers, with zeros where there are fewer hits than levels."""
        numbers = [float(v) for v in (self.total, self.tokens, self.count)]
        return np.r_[
            numbers, self.hits.detach().cpu().numpy(), np.zeros(num_levels - len(self.hits))
        ]


def task_loss(
    model: PreTrainedModel, batch: Batch, layout: TokenLayout, settings: TrainingConfig
) -> Loss:
    """The loss of a batch of one task, or of a stream (see streams.py).

    With the level head a behaviour token before codes is given, not predicted, each code competes with the K codes of
    its level, and text with text; with the vocabulary head every token competes with every token, as in the paper.
    """
    if batch.weight is not None:
        return stream_loss(model, batch, layout, settings)
    target = batch.target
    hidden = hidden_states(model, batch.source, batch.mask, target)  # (B, T, d)
    target = target[:, target.shape[1] - hidden.shape[1] :]  # a stream's first token is given
    if batch.task.writes == "text":
        return text_loss(model, hidden, target, layout, settings)
    num_levels, view = layout.num_levels, batch.task.view
    if settings.head == "level":
        logits = level_logits(model, hidden[:, -num_levels:], layout, view).float()  # (B, L, K)
        wanted = target[:, -num_levels:] - torch.as_tensor(
            layout.offsets(view), device=target.device
        )
    else:
        logits, wanted = output_rows(model, hidden, slice(None)).float(), target
    loss = _cross_entropy(logits.flatten(0, 1), wanted.flatten(), settings)
    hits = (logits.detach().argmax(dim=-1) == wanted).sum(dim=0)[-num_levels:]
    return Loss(loss.sum(), _number(wanted.numel(), loss), hits, _number(len(wanted), loss))


def level_logits(
    model: PreTrainedModel, hidden: torch.Tensor, layout: TokenLayout, view: str
) -> torch.Tensor:
    """Logits (B, L, K) of each level's own codes for states (B, L, d): K rows a level, not the vocabulary."""
    size, offsets = layout.codebook_size, layout.offsets(view).tolist()
    first = min(offsets)
    codes = output_layer(model).rows(slice(first, max(offsets) + size))
    levels = [
        codes.rows(slice(offset - first, offset - first + size))(hidden[:, level])
        for level, offset in enumerate(offsets)
    ]
    return torch.stack(levels, dim=1)


def text_loss(
    model: PreTrainedModel,
    hidden: torch.Tensor,
    target: torch.Tensor,
    layout: TokenLayout,
    settings: TrainingConfig,
) -> Loss:
    """As `task_loss`, for texts (B, T) from states (B, T, d). Padding does not count."""
    there = target != PAD  # (B, T)
    wanted = target[there]  # (M,)
    logits = output_rows(model, hidden[there], text_rows(layout, settings)).float()  # (M, R)
    loss, hits = (
        _cross_entropy(logits, wanted, settings),
        (logits.detach().argmax(dim=-1) == wanted).sum(),
    )
    return Loss(loss.sum(), _number(len(wanted), loss), hits[None], _number(len(wanted), loss))


def text_rows(layout: TokenLayout, settings: TrainingConfig) -> slice:
    """The rows that compete for a text's tokens: with the level head text and behaviour tokens, but no code."""
    return slice(0, layout.level_offset(VIEWS[0], 0) if settings.head == "level" else None)


def stream_loss(
    model: PreTrainedModel, batch: Batch, layout: TokenLayout, settings: TrainingConfig
) -> Loss:
    """As `task_loss`, for whole streams: `target` (B, N) is what each token of `source` (B, N) foretells, PAD where
    nothing counts, `weight` (B, N) how much it counts. Only the states that count meet the output layer."""
    hidden = read(model, batch.source, batch.mask).flatten(0, 1)  # (B * N, d)
    target, weight = batch.target.flatten(), batch.weight.flatten()
    total, hits = hidden.new_zeros((), dtype=torch.float32), weight.new_zeros(layout.num_levels)
    for level, low, high in _competitors(layout):
        place = ((target >= low) & (target < high) & (weight > 0)).nonzero().squeeze(1)  # (M,)
        first, rows = (low, slice(low, high)) if settings.head == "level" else (0, slice(None))
        wanted, own = target[place] - first, weight[place]
        logits = output_rows(model, hidden[place], rows).float()  # (M, R)
        total = total + (_cross_entropy(logits, wanted, settings) * own).sum()
        if level is not None:
            hits[level] += (own * (logits.detach().argmax(dim=-1) == wanted)).sum()
    codes = (target >= layout.level_offset(VIEWS[0], 0)) * weight
    return Loss(total, weight.sum(), hits, codes.sum() / layout.num_levels)


def _competitors(layout: TokenLayout) -> Iterator[tuple[int | None, int, int]]:
    """Ranges of token ids that compete with each other: (level, first, end) of every codebook, then (None, ...) text.

    A level that both views share stands once.
    """
    found = {
        layout.level_offset(view, level): level
        for view in VIEWS
        for level in range(layout.num_levels)
    }
    for low, level in found.items():
        yield level, low, low + layout.codebook_size
    yield None, 0, layout.level_offset(VIEWS[0], 0)


def _cross_entropy(
    logits: torch.Tensor, wanted: torch.Tensor, settings: TrainingConfig
) -> torch.Tensor:
    return F.cross_entropy(
        logits, wanted, reduction="none", label_smoothing=settings.label_smoothing
    )


def _number(value: int, like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(float(value), device=like.device)
