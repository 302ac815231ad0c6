"""A T5 decoder, one position at a time, for many paths of one query.

In: a `T5ForConditionalGeneration` and encoder states. Out: hidden states for the next position of n paths.
The query is encoded once, and its cross-attention keys are projected once and shared by all paths, which is
where `generate` spends most of its time. This file does not know identifiers or tries.
"""

from __future__ import annotations

import torch
from transformers import T5ForConditionalGeneration


class Cache:
    """Keys and values of B queries: cross-attention (shared by paths) and self-attention (one a path)."""

    def __init__(self, model: T5ForConditionalGeneration, states: torch.Tensor, mask: torch.Tensor):
        self.cross, self.own = [], [None] * len(model.decoder.block)
        self.bias = torch.zeros(mask.shape, dtype=states.dtype, device=states.device)
        self.bias = self.bias.masked_fill(~mask.bool(), torch.finfo(states.dtype).min)[:, None, None, :]  # (B,1,1,S)
        for block in model.decoder.block:
            attention = block.layer[1].EncDecAttention
            self.cross.append((_heads(attention, attention.k(states)), _heads(attention, attention.v(states))))

    @property
    def length(self) -> int:
        return 0 if self.own[0] is None else self.own[0][0].shape[-2]

    def select(self, paths: torch.Tensor) -> None:
        """Keep, for each query, the paths (B, n) by number: new path i goes on from old path ``paths[b, i]``."""
        rows = torch.arange(len(paths), device=paths.device)[:, None]
        self.own = [(k[rows, paths], v[rows, paths]) for k, v in self.own]


def _heads(attention, x: torch.Tensor) -> torch.Tensor:
    """(B, T, h * k) -> (B, h, T, k)."""
    return x.view(*x.shape[:-1], attention.n_heads, attention.key_value_proj_dim).transpose(-3, -2)


def encode(model: T5ForConditionalGeneration, source: torch.Tensor, mask: torch.Tensor) -> Cache:
    """Read sources (B, S) once."""
    return Cache(model, model.encoder(input_ids=source, attention_mask=mask).last_hidden_state, mask)


def advance(model: T5ForConditionalGeneration, cache: Cache, tokens: torch.Tensor) -> torch.Tensor:
    """Append tokens (B, n), one to each path, and return hidden states (B, n, d) for what follows."""
    stack, past = model.decoder, cache.length
    x = stack.embed_tokens(tokens)  # (B, n, d)
    first = stack.block[0].layer[0].SelfAttention
    distance = torch.arange(past + 1, device=x.device) - past  # (t,) memory minus query position
    bucket = first._relative_position_bucket(
        distance,
        bidirectional=False,
        num_buckets=first.relative_attention_num_buckets,
        max_distance=first.relative_attention_max_distance,
    )
    bias = first.relative_attention_bias(bucket).T[:, None, :]  # (h, 1, t)
    for i, block in enumerate(stack.block):
        x = x + _self_attention(block.layer[0], x, cache, i, bias)
        x = x + _cross_attention(block.layer[1], x, cache, i)
        feed = block.layer[2]
        x = x + feed.DenseReluDense(feed.layer_norm(x))
    return stack.final_layer_norm(x)


def _self_attention(layer, x: torch.Tensor, cache: Cache, index: int, bias: torch.Tensor) -> torch.Tensor:
    attention, y = layer.SelfAttention, layer.layer_norm(x)
    shape = (*x.shape[:2], attention.n_heads, 1, attention.key_value_proj_dim)
    q, k, v = (f(y).view(shape) for f in (attention.q, attention.k, attention.v))  # (B, n, h, 1, k)
    if cache.own[index] is not None:
        k, v = torch.cat([cache.own[index][0], k], dim=-2), torch.cat([cache.own[index][1], v], dim=-2)
    cache.own[index] = (k, v)
    weights = (q @ k.transpose(-1, -2) + bias).float().softmax(dim=-1).to(v.dtype)  # (B, n, h, 1, t)
    return attention.o((weights @ v).view(*x.shape[:2], -1))


def _cross_attention(layer, x: torch.Tensor, cache: Cache, index: int) -> torch.Tensor:
    attention, (k, v) = layer.EncDecAttention, cache.cross[index]
    q = _heads(attention, attention.q(layer.layer_norm(x)))  # (B, h, n, k): paths are query positions
    weights = (q @ k.transpose(-1, -2) + cache.bias).float().softmax(dim=-1).to(v.dtype)  # (B, h, n, S)
    return attention.o((weights @ v).transpose(1, 2).flatten(2))
