"""Decoder-only: source and target are one sequence, read from left to right.

In: a model and a batch. Out: hidden states. Which token sees which is a matrix, so that padding may
stand in the middle and two events of one moment need not see each other; a token's position is the
number of tokens that it sees before itself. This file does not know losses, events or beams.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from gensar_lite.training.text import PAD


def shift_right(target: torch.Tensor) -> torch.Tensor:
    """What is read while a target (B, T) is written: PAD to start with, then all but its last."""
    return torch.cat([torch.full_like(target[:, :1], PAD), target[:, :-1]], dim=1)


def states(
    model: PreTrainedModel, source: torch.Tensor, mask: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Hidden states that predict the target (B, T), see `hidden_states`.

    With a mask (B, S) the target starts after PAD, as T5's does. With a mask (B, S + 1, S) nothing
    stands between the source and the target's first token: so a stream of events goes on.
    """
    after = shift_right(target) if mask.ndim == 2 else target[:, :-1]  # (B, T')
    (batch, size), count = source.shape, after.shape[1]
    sees = source.new_zeros(batch, size + count, size + count, dtype=torch.bool)
    sees[:, :size, :size] = visible(mask)  # among the source
    sees[:, size:, :size] = seen_after(mask)  # what follows sees of the source
    sees[:, size:, size:] = sees.new_ones(count, count).tril()  # and of itself
    return forward(model, torch.cat([source, after], dim=1), sees)[:, size:]


def forward(
    model: PreTrainedModel,
    tokens: torch.Tensor,
    sees: torch.Tensor,
    place: torch.Tensor | None = None,
    **kept,
) -> torch.Tensor:
    """Hidden states (B, N, d) of tokens (B, N), where ``sees[b, i, j]``: token i sees token j.

    `sees` (B, N, M) may hold tokens read before, then with their cache in `kept`, what goes to the
    model's own forward. Positions `place` (B, N) follow from `sees` where they are not given.
    """
    if place is None:
        place = (sees.sum(dim=-1) - 1).clamp_min(0)  # padding sees nothing
    allowed = sees[:, None]  # (B, 1, N, M): a mask of four dimensions is taken as it is
    if model.config._attn_implementation == "eager":  # which adds the mask instead of asking it
        bias = torch.zeros(allowed.shape, device=tokens.device)
        allowed = bias.masked_fill_(~allowed, torch.finfo(torch.float).min)
    kept = {"use_cache": False} | kept
    return model.base_model(
        input_ids=tokens, attention_mask=allowed, position_ids=place, **kept
    ).last_hidden_state


def visible(mask: torch.Tensor) -> torch.Tensor:
    """Which token sees which, (B, S, S), from a mask of real tokens (B, S) or a `Batch.mask`."""
    if mask.ndim == 3:
        return mask[:, : mask.shape[2]]
    mask = mask.bool()
    both_real = mask[:, None, :] & mask[:, :, None]
    return both_real & mask.new_ones(mask.shape[1], mask.shape[1]).tril()


def seen_after(mask: torch.Tensor) -> torch.Tensor:
    """What a token that follows the source sees of it, (B, 1, S), see `Batch.mask`."""
    return mask.bool()[:, None, :] if mask.ndim == 2 else mask[:, -1:]
