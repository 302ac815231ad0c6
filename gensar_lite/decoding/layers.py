"""The parts of a T5 block as plain functions of tensors, in one number format.

In: a Hugging Face block. Out: its weights, joined where products can be, and the products themselves.
This file does not know caches, paths or tries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from gensar_lite.training.backbones import weight_of

# oneDNN's fp32 product is up to twice as fast as the default one on CPU, and as exact; torch offers it by this private
# name only, so the public one stands in where it is missing
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_LARGE = 2**24  # multiplications from which its overhead is worth it


class Feed(NamedTuple):
    """The feed-forward part of a block, (..., d) to (..., d): weights of the inner layer (or of gate and inner) and of
    the outer one."""

    act: nn.Module
    weights: tuple[torch.Tensor, ...]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        first, *more = self.weights
        inner = self.act(linear(x, first))
        return (
            linear(inner, *more) if len(more) == 1 else linear(inner * linear(x, more[0]), more[1])
        )


class Block(NamedTuple):
    """Weights of one block in the search's number format; those of cross-attention are None in an encoder.

    norms       RMS norms, which stay as they are
    own         (3 h k, d) queries, keys and values of self-attention
    cross       (h k, d) queries of cross-attention; cross_keys (2 h k, d) its keys and values
    feed        the feed-forward part
    """

    num_heads: int
    norms: tuple[nn.Module, ...]
    own: torch.Tensor
    own_out: torch.Tensor
    feed: Feed
    cross: torch.Tensor | None = None
    cross_keys: torch.Tensor | None = None
    cross_out: torch.Tensor | None = None


def read_block(block: nn.Module, dtype: torch.dtype) -> Block:
    """A Hugging Face T5 block's weights as `dtype`."""

    def joined(*layers: nn.Linear) -> torch.Tensor:
        weights = [weight_of(layer).to(dtype) for layer in layers]
        return weights[0] if len(weights) == 1 else torch.cat(weights)

    own, last = block.layer[0].SelfAttention, block.layer[-1].DenseReluDense
    norms = tuple(layer.layer_norm for layer in block.layer)
    found = Block(
        own.n_heads, norms, joined(own.q, own.k, own.v), joined(own.o), _feed(last, joined)
    )
    if len(block.layer) == 2:
        return found
    cross = block.layer[1].EncDecAttention
    return found._replace(
        cross=joined(cross.q), cross_keys=joined(cross.k, cross.v), cross_out=joined(cross.o)
    )


def _feed(layer: nn.Module, joined: Callable[..., torch.Tensor]) -> Feed:
    inner = (
        (layer.wi,) if hasattr(layer, "wi") else (layer.wi_0, layer.wi_1)
    )  # T5; T5 1.1 and its kin have a gate
    return Feed(layer.act, tuple(joined(part) for part in (*inner, layer.wo)))


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``x @ weight.T`` in the weight's number format, by the fastest road there is."""
    x = x.to(weight.dtype)
    if (
        _ONEDNN
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() * len(weight) >= _LARGE
    ):
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
    """Attention of queries (B * h, T, k) to keys (B * h, k, S) and values (B * h, S, k): (B, T, h * k).

    T5 does not scale by the width of a head.
    """
    weights = torch.baddbmm(bias, q, keys).softmax(dim=-1)  # (B * h, T, S)
    return torch.bmm(weights, values).unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)
