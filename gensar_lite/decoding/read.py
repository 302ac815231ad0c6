"""What a search asks of a model of any kind: read a source once, then go on token by token.

In: a model, sources, tokens. Out: a cache, and hidden states for the next position of n paths. A T5
is read by steps.py, a decoder-only model here: the tokens of all paths are appended to the source's
keys, and each path's row of a mask says which it sees, so that nothing is copied per path.
"""

import torch
from transformers import DynamicCache, PreTrainedModel

from gensar_lite.decoding import steps
from gensar_lite.training.backbones import forward, seen_after, visible


class DecoderOnlyCache:
    """Keys and values of B requests and all their paths, and which of them each path sees.

    sees   (B, n, M) of M cached tokens
    place  (B, 1) position of the next token
    """

    def __init__(self, model: PreTrainedModel, mask: torch.Tensor):
        self.keys = DynamicCache(config=model.config)
        self.sees = seen_after(mask)
        self.place = self.sees.sum(dim=-1)

    def select(self, paths: torch.Tensor) -> None:
        """Path i of request b goes on from the old path ``paths[b, i]``; `paths` (B, n)."""
        rows = torch.arange(len(paths), device=paths.device)[:, None]
        self.sees = self.sees[rows, paths]


Cache = steps.Cache | DecoderOnlyCache


def encode(
    model: PreTrainedModel,
    source: torch.Tensor,
    mask: torch.Tensor,
    prepared: steps.Stacks | None = None,
) -> Cache:
    """Read sources (B, S), padded on the right, once; `mask` is (B, S), or (B, S + 1, S) as streams
    have it."""
    if model.config.is_encoder_decoder:
        return steps.encode(model, source, mask, prepared)
    cache = DecoderOnlyCache(model, mask)
    sees = visible(mask)
    place = (sees.sum(dim=-1) - 1).clamp_min(0)
    forward(model, source, sees, place, past_key_values=cache.keys, use_cache=True)
    return cache


def advance(model: PreTrainedModel, cache: Cache, tokens: torch.Tensor) -> torch.Tensor:
    """Append tokens (B, n), one to each path; hidden states (B, n, d) for what follows."""
    if model.config.is_encoder_decoder:
        return steps.advance(model, cache, tokens)
    batch, count = tokens.shape
    # a path sees what it saw before and its own new token, not those of its neighbours
    itself = torch.eye(count, dtype=torch.bool, device=tokens.device).expand(batch, -1, -1)
    cache.sees = torch.cat([cache.sees.expand(-1, count, -1), itself], dim=-1)  # (B, n, M + n)
    place = cache.place.expand(-1, count)  # all paths are equally long
    kept = {"past_key_values": cache.keys, "use_cache": True}
    hidden = forward(model, tokens, cache.sees, place, **kept)
    cache.place = cache.place + 1
    return hidden
