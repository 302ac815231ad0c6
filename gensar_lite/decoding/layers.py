"""The parts of a T5 block as plain functions of tensors, in one number format.

In: a Hugging Face block. Out: its weights, joined where products can be, and the products
themselves. This file does not know caches, paths or tries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from gensar_lite.training.backbones import weight_of

# oneDNN's fp32 product is up to twice as fast as the default one on CPU, and as exact; torch offers
# it by this private name only, so the public one stands in where it is missing
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_LARGE = 2**24  # multiplications from which its overhead is worth it


class Feed(NamedTuple):
    """The feed-forward part of a block, (..., d) to (..., d): weights of the inner layer (or of
    gate and inner) and of the outer one."""

    act: nn.Module
    weights: tuple[torch.Tensor, ...]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        first, *gated, last = self.weights
        inner = self.act(linear(x, first))
        for weight in gated:  # one, or none
            inner = inner * linear(x, weight)
        return linear(inner, last)


class Block(NamedTuple):
    """Weights of one block in the search's number format; those of cross-attention are None in an
    encoder. d is the model's width, h the number of heads, k the width of a head.

    norms       RMS norms, which stay as they are
    itself      (3 h k, d) queries, keys and values of self-attention
    cross       (h k, d) queries of cross-attention; cross_keys (2 h k, d) its keys and values
    """

    num_heads: int
    norms: tuple[nn.Module, ...]
    itself: torch.Tensor
    itself_out: torch.Tensor
    feed: Feed
    cross: torch.Tensor | None = None
    cross_keys: torch.Tensor | None = None
    cross_out: torch.Tensor | None = None


def read_block(block: nn.Module, dtype: torch.dtype) -> Block:
    """A Hugging Face T5 block's weights as `dtype`."""

    def joined(*layers: nn.Linear) -> torch.Tensor:
        weights = [weight_of(layer).to(dtype) for layer in layers]
        return weights[0] if len(weights) == 1 else torch.cat(weights)

    attention, last = block.layer[0].SelfAttention, block.layer[-1].DenseReluDense
    # T5 has one inner layer; T5 1.1 and its kin have a gate beside it
    inner = (last.wi,) if hasattr(last, "wi") else (last.wi_0, last.wi_1)
    weights = Block(
        attention.n_heads,
        tuple(layer.layer_norm for layer in block.layer),
        joined(attention.q, attention.k, attention.v),
        joined(attention.o),
        Feed(last.act, tuple(joined(layer) for layer in (*inner, last.wo))),
    )
    if len(block.layer) == 2:  # an encoder's
        return weights
    cross = block.layer[1].EncDecAttention
    keys, out = joined(cross.k, cross.v), joined(cross.o)
    return weights._replace(cross=joined(cross.q), cross_keys=keys, cross_out=out)


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``x @ weight.T`` in the weight's number format, by the fastest road there is."""
    x = x.to(weight.dtype)
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    if _ONEDNN and plain and x.numel() * len(weight) >= _LARGE:
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return F.linear(x, weight)


def normed(x: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    """T5's layer norm: by the root mean square, no mean, no bias."""
    return F.rms_norm(x, x.shape[-1:], norm.weight.float(), norm.variance_epsilon)


def heads(x: torch.Tensor, num_heads: int) -> torch.Tensor:
    """(B, T, h * k) -> (B * h, T, k)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2).flatten(0, 1)


def attend(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor, batch: int
) -> torch.Tensor:
    """Attention of queries (B * h, T, k) to keys (B * h, k, S) and values (B * h, S, k), as
    (B, T, h * k). T5 does not scale by the width of a head."""
    # q @ keys + bias in one product; the bias holds positions and hides padding
    weights = torch.baddbmm(bias, q, keys).softmax(dim=-1)  # (B * h, T, S)
    return torch.bmm(weights, values).unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)
