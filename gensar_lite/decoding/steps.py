"""A T5 decoder, one position at a time, for many paths of one query.

In: a `T5ForConditionalGeneration` and sources. Out: hidden states for the next position of n paths.
The query is encoded once, and its cross-attention keys are projected once and shared by all paths, which is
where `generate` spends most of its time. Weights are turned into the search's number format once a search, so a model
may go on training between two of them, or once for all where it does not (`read_stacks`); the residual stream stays in
fp32. This file does not know identifiers or tries.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from transformers import T5ForConditionalGeneration

from gensar_lite.decoding.layers import Block, attend, heads, linear, normed, read_block


class Stacks(NamedTuple):
    """A model's blocks in one number format."""

    dtype: torch.dtype
    encoder: Iterable[Block]
    decoder: list[Block]

    @property
    def num_bytes(self) -> int:
        """What they hold beside the model, at most: a weight in the model's own format may be the model's."""
        parts = (
            part
            for block in (*self.encoder, *self.decoder)
            for part in (*block, *block.feed.weights)
        )
        return sum(part.nbytes for part in parts if isinstance(part, torch.Tensor))


@torch.no_grad()
def read_stacks(model: T5ForConditionalGeneration, dtype: torch.dtype) -> Stacks:
    """A model's blocks as `dtype`. They do not follow the model when it is trained on."""
    return Stacks(
        dtype,
        *([read_block(b, dtype) for b in stack.block] for stack in (model.encoder, model.decoder)),
    )


class Cache:
    """Keys and values of B queries: cross-attention (shared by paths) and self-attention (one a path)."""

    def __init__(
        self, blocks: list[Block], states: torch.Tensor, mask: torch.Tensor, dtype: torch.dtype
    ):
        self.blocks = blocks
        self.own: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(
            self.blocks
        )  # (B * n, t, h, k) each
        self.bias = _mask_bias(mask, dtype).repeat_interleave(
            self.blocks[0].num_heads, dim=0
        )  # (B * h, 1, S)
        self.cross = []
        for block in self.blocks:
            keys, values = _padded(linear(states, block.cross_keys), mask).chunk(2, dim=-1)
            self.cross.append(
                (heads(keys, block.num_heads).transpose(1, 2), heads(values, block.num_heads))
            )

    @property
    def length(self) -> int:
        return 0 if self.own[0] is None else self.own[0][0].shape[1]

    def select(self, paths: torch.Tensor) -> None:
        """Keep, for each query, the paths (B, n) by number: new path i goes on from old path ``paths[b, i]``."""
        old = len(self.own[0][0]) // len(paths)  # paths a query
        rows = (paths + old * torch.arange(len(paths), device=paths.device)[:, None]).flatten()
        self.own = [
            (keys.index_select(0, rows), values.index_select(0, rows)) for keys, values in self.own
        ]


def encode(
    model: T5ForConditionalGeneration,
    source: torch.Tensor,
    mask: torch.Tensor,
    stacks: Stacks | None = None,
) -> Cache:
    """Read sources (B, S) once. Under autocast, products are made in its number format from here on. `stacks` are the
    model's, where they were read before in this format."""
    kind, stack, mask = source.device.type, model.encoder, mask.bool()
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    if stacks is None or stacks.dtype != dtype:
        # of the encoder one block at a time: none is needed twice
        encoder = (read_block(block, dtype) for block in stack.block)
        stacks = Stacks(dtype, encoder, [read_block(block, dtype) for block in model.decoder.block])
    with torch.autocast(kind, enabled=False):
        x = stack.embed_tokens(
            source[mask]
        ).float()  # (T, d): real tokens only; padding is put back for attention
        place = torch.arange(source.shape[1], device=source.device)
        bias = _position_bias(stack, place - place[:, None])  # (h, S, S)
        bias = (
            (bias + _mask_bias(mask, bias.dtype)[:, None]).flatten(0, 1).to(dtype)
        )  # (B * h, S, S)
        for block in stacks.encoder:
            own = _padded(linear(normed(x, block.norms[0]), block.own), mask).chunk(3, dim=-1)
            q, k, v = (heads(part, block.num_heads) for part in own)
            x = x + linear(attend(q, k.transpose(1, 2), v, bias, len(source))[mask], block.own_out)
            x = x + block.feed(normed(x, block.norms[-1]))
        states = normed(x, stack.final_layer_norm)
        return Cache(stacks.decoder, states, mask, dtype)


def advance(model: T5ForConditionalGeneration, cache: Cache, tokens: torch.Tensor) -> torch.Tensor:
    """Append tokens (B, n), one to each path, and return hidden states (B, n, d) for what follows."""
    stack, past = model.decoder, cache.length
    with torch.autocast(tokens.device.type, enabled=False):
        x = stack.embed_tokens(tokens.flatten()).float()  # (B * n, d)
        distance = (
            torch.arange(past + 1, device=x.device) - past
        )  # (t,) memory minus query position
        bias = _position_bias(stack, distance[None])[:, 0].T  # (t, h)
        for i, block in enumerate(cache.blocks):
            x = x + _self_attention(block, x, cache, i, bias)
            x = x + _cross_attention(block, x, cache, i, len(tokens))
            x = x + block.feed(normed(x, block.norms[2]))
        return normed(x, stack.final_layer_norm).view(*tokens.shape, -1)


def _self_attention(
    block: Block, x: torch.Tensor, cache: Cache, index: int, bias: torch.Tensor
) -> torch.Tensor:
    """A path is a handful of tokens: products of single rows are sums, not matrix products."""
    q, k, v = (
        linear(normed(x, block.norms[0]), block.own)
        .view(len(x), 3, 1, block.num_heads, -1)
        .unbind(1)
    )
    if cache.own[index] is not None:
        k, v = (
            torch.cat([cache.own[index][0], k], dim=1),
            torch.cat([cache.own[index][1], v], dim=1),
        )
    cache.own[index] = (k, v)  # (B * n, t, h, k)
    weights = ((q * k).sum(dim=-1) + bias).softmax(dim=1).to(v.dtype)  # (B * n, t, h)
    return linear((weights[..., None] * v).sum(dim=1).flatten(1), block.own_out)


def _cross_attention(
    block: Block, x: torch.Tensor, cache: Cache, index: int, batch: int
) -> torch.Tensor:
    """Paths of one query are positions of one product, since they read the same source."""
    q = heads(
        linear(normed(x, block.norms[1]), block.cross).view(batch, -1, block.cross.shape[0]),
        block.num_heads,
    )
    return linear(attend(q, *cache.cross[index], cache.bias, batch), block.cross_out).flatten(0, 1)


def _padded(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Rows of real tokens (T, c) at their places in (B, S, c), zero elsewhere."""
    found = torch.zeros(*mask.shape, x.shape[-1], dtype=x.dtype, device=x.device)
    found[mask] = x
    return found


def _position_bias(stack, distance: torch.Tensor) -> torch.Tensor:
    """(h, q, t) bias of a stack for distances (q, t), memory minus query position."""
    first = stack.block[0].layer[0].SelfAttention
    bucket = first._relative_position_bucket(
        distance,
        bidirectional=not stack.is_decoder,
        num_buckets=first.relative_attention_num_buckets,
        max_distance=first.relative_attention_max_distance,
    )
    return first.relative_attention_bias(bucket).float().permute(2, 0, 1)


def _mask_bias(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(B, 1, S): 0 for a real token, and for padding what no score outweighs, which bf16 can hold too."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -1e9)[
        :, None
    ]
