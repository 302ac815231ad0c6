"""A T5 decoder, one position at a time, for many paths of one request.

In: a `T5ForConditionalGeneration` and sources. Out: hidden states for the next position of n paths.
A source is encoded once, and its cross-attention keys are projected once and shared by all paths,
which is where `generate` spends most of its time. Weights are turned into the search's number
format once per search, or once for all (`read_stacks`); the residual stream stays in fp32.
Shapes: B requests, n paths each, S source positions, t target positions, width d, h heads of k.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import T5ForConditionalGeneration

from gensar_lite.training.backbones import weight_of

# oneDNN's fp32 product is up to twice as fast as the default one on CPU, and as exact; torch offers
# it by this private name only, so the public one stands in where it is missing
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_LARGE = 2**24  # multiplications from which its overhead is worth it


class Feed(NamedTuple):
    """The feed-forward part of a block, (..., d) to (..., d): weights of the inner layer, perhaps
    of another beside it, and of the outer one."""

    act: nn.Module
    weights: tuple[torch.Tensor, ...]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        first, *gated, last = self.weights
        inner = self.act(linear(x, first))
        for weight in gated:  # one, or none
            inner = inner * linear(x, weight)
        return linear(inner, last)


class Block(NamedTuple):
    """Weights of one block in the search's number format; None for an encoder's cross-attention.

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
        return torch.cat(weights) if weights[1:] else weights[0]

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


class Stacks(NamedTuple):
    """A model's blocks in one number format."""

    dtype: torch.dtype
    encoder: Iterable[Block]
    decoder: list[Block]


@torch.no_grad()
def read_stacks(model: T5ForConditionalGeneration, dtype: torch.dtype) -> Stacks:
    """A model's blocks as `dtype`. They do not follow the model when it is trained on."""
    stacks = (model.encoder, model.decoder)
    return Stacks(dtype, *([read_block(block, dtype) for block in s.block] for s in stacks))


class Cache:
    """Keys and values of B requests, for each block of the decoder.

    cross  keys (B * h, k, S) and values (B * h, S, k) of the source, shared by all paths
    past   keys and values (B * n, t, h, k) of what each path has read; None before the first step
    bias   (B * h, 1, S) what hides the padding of a source
    """

    def __init__(
        self, blocks: list[Block], states: torch.Tensor, mask: torch.Tensor, dtype: torch.dtype
    ):
        num_heads = blocks[0].num_heads
        self.blocks = blocks
        self.past: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(blocks)
        self.bias = _mask_bias(mask, dtype).repeat_interleave(num_heads, dim=0)
        self.cross = []
        for block in blocks:
            keys, values = _padded(linear(states, block.cross_keys), mask).chunk(2, dim=-1)
            self.cross.append((heads(keys, num_heads).transpose(1, 2), heads(values, num_heads)))

    def select(self, paths: torch.Tensor) -> None:
        """Path i of request b goes on from the old path ``paths[b, i]``; `paths` (B, n)."""
        before = len(self.past[0][0]) // len(paths)  # paths per request
        rows = paths + before * torch.arange(len(paths), device=paths.device)[:, None]
        rows = rows.flatten()
        self.past = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.past]


def encode(
    model: T5ForConditionalGeneration,
    source: torch.Tensor,
    mask: torch.Tensor,
    stacks: Stacks | None = None,
) -> Cache:
    """Read sources (B, S) once; under autocast, in its number format from here on. `stacks` are the
    model's, where they were read before."""
    kind, stack, mask = source.device.type, model.encoder, mask.bool()
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    if stacks is None or stacks.dtype != dtype:
        # of the encoder one block at a time: none is needed twice
        encoder = (read_block(block, dtype) for block in stack.block)
        stacks = Stacks(dtype, encoder, [read_block(block, dtype) for block in model.decoder.block])
    with torch.autocast(kind, enabled=False):
        # the T real tokens of all sources alone; padding is put back for attention only
        x = stack.embed_tokens(source[mask]).float()  # (T, d)
        place = torch.arange(source.shape[1], device=source.device)
        bias = _position_bias(stack, place - place[:, None])  # (h, S, S)
        bias = bias + _mask_bias(mask, bias.dtype)[:, None]  # (B, h, S, S)
        bias = bias.flatten(0, 1).to(dtype)  # (B * h, S, S)
        for block in stacks.encoder:
            joined = _padded(linear(normed(x, block.norms[0]), block.itself), mask)  # (B, S, 3 h k)
            q, k, v = (heads(part, block.num_heads) for part in joined.chunk(3, dim=-1))
            attended = attend(q, k.transpose(1, 2), v, bias, len(source))[mask]  # (T, h k)
            x = x + linear(attended, block.itself_out)
            x = x + block.feed(normed(x, block.norms[-1]))
        states = normed(x, stack.final_layer_norm)
        return Cache(stacks.decoder, states, mask, dtype)


def advance(model: T5ForConditionalGeneration, cache: Cache, tokens: torch.Tensor) -> torch.Tensor:
    """Append tokens (B, n), one to each path; hidden states (B, n, d) for what follows."""
    stack = model.decoder
    past = 0 if cache.past[0] is None else cache.past[0][0].shape[1]  # positions read before
    with torch.autocast(tokens.device.type, enabled=False):
        x = stack.embed_tokens(tokens.flatten()).float()  # (B * n, d)
        distance = torch.arange(past + 1, device=x.device) - past  # (t,) memory minus query place
        bias = _position_bias(stack, distance[None])[:, 0].T  # (t, h)
        for i, block in enumerate(cache.blocks):
            x = x + _self_attention(block, x, cache, i, bias)
            x = x + _cross_attention(block, x, cache, i, len(tokens))
            x = x + block.feed(normed(x, block.norms[2]))
        return normed(x, stack.final_layer_norm).view(*tokens.shape, -1)


def _self_attention(
    block: Block, x: torch.Tensor, cache: Cache, index: int, bias: torch.Tensor
) -> torch.Tensor:
    """What each path reads of its own past: (B * n, d) to (B * n, d). Grows the cache by one."""
    joined = linear(normed(x, block.norms[0]), block.itself)  # (B * n, 3 h k)
    q, k, v = joined.view(len(x), 3, 1, block.num_heads, -1).unbind(1)  # (B * n, 1, h, k) each
    if cache.past[index] is not None:
        keys, values = cache.past[index]
        k, v = torch.cat([keys, k], dim=1), torch.cat([values, v], dim=1)
    cache.past[index] = (k, v)  # (B * n, t, h, k)
    # a path is a handful of tokens: products of single rows are sums, not matrix products
    weights = ((q * k).sum(dim=-1) + bias).softmax(dim=1).to(v.dtype)  # (B * n, t, h)
    return linear((weights[..., None] * v).sum(dim=1).flatten(1), block.itself_out)


def _cross_attention(
    block: Block, x: torch.Tensor, cache: Cache, index: int, batch: int
) -> torch.Tensor:
    """What each path reads of its source: (B * n, d) to (B * n, d)."""
    q = linear(normed(x, block.norms[1]), block.cross)
    # paths of one request read the same source: they are positions of one product
    q = heads(q.view(batch, -1, q.shape[-1]), block.num_heads)  # (B * h, n, k)
    attended = attend(q, *cache.cross[index], cache.bias, batch)  # (B, n, h k)
    return linear(attended, block.cross_out).flatten(0, 1)


def _padded(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Rows of real tokens (T, c) at their places in (B, S, c), zero elsewhere."""
    padded = x.new_zeros(*mask.shape, x.shape[-1])
    padded[mask] = x
    return padded


def _position_bias(stack: nn.Module, distance: torch.Tensor) -> torch.Tensor:
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
    """(B, 1, S): 0 for a real token; what no score outweighs, and bf16 can hold, for padding."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -1e9)[:, None]
