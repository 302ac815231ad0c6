"""Dropout whose mask costs one random 64-bit word for eight elements.

In: activations and a rate. Out: activations. On a CPU the usual mask, a random number an element by one thread, takes a
sixth of a training step of T5, a third of one of SASRec. This file does not know models.
"""

from __future__ import annotations

import torch
from torch import nn


def byte_dropout(x: torch.Tensor, rate: float) -> torch.Tensor:
    """`x` with elements dropped at `rate`, to 1/256; the rest is scaled by the rate that is met, so means stay."""
    kept = 256 - round(256 * rate)  # of 256 byte values
    if kept == 256:
        return x
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(
        -(2**63), None
    )
    drawn = words.view(torch.uint8)[: x.numel()].view(x.shape)
    # straight into numbers: bool to bf16 was the dearest step of all
    mask = torch.lt(
        drawn,
        kept,
        out=torch.empty_like(x, requires_grad=False, memory_format=torch.contiguous_format),
    )
    return x * mask.mul_(256 / kept)


class ByteDropout(nn.Dropout):
    """`nn.Dropout` by `byte_dropout`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return byte_dropout(x, self.p) if self.training else x
