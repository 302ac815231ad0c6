"""A decoder-only model, one position at a time, for many paths of one query.

In: a causal model of Hugging Face and sources. Out: hidden states for the next position of n paths. The source is read
once; the tokens of all paths are appended to its keys, and each path's row of a mask says which of them are its own.
So nothing is repeated or copied a path, and any model that takes a mask will do. This file does not know identifiers
or tries.
"""

from __future__ import annotations

import torch
from transformers import DynamicCache, PreTrainedModel

from gensar_lite.training.backbones.causal import forward, seen_after, visible


class Cache:
    """Keys and values of B queries and all their paths, and which of them each path sees.

    sees   (B, n, M) of M cached tokens
    place  (B, 1) position of the next token
    """

    def __init__(self, model: PreTrainedModel, mask: torch.Tensor):
        self.keys = DynamicCache(config=model.config)
        self.sees = seen_after(mask)
        self.place = self.sees.sum(dim=-1)

    def select(self, paths: torch.Tensor) -> None:
        """Keep, for each query, the paths (B, n) by number: new path i goes on from old path ``paths[b, i]``."""
        rows = torch.arange(len(paths), device=paths.device)[:, None]
        self.sees = self.sees[rows, paths]


def encode(model: PreTrainedModel, source: torch.Tensor, mask: torch.Tensor) -> Cache:
    """Read sources (B, S) once: padded on the right, `mask` as in `hidden_states`."""
    cache, sees = Cache(model, mask), visible(mask)
    place = (sees.sum(dim=-1) - 1).clamp_min(0)
    forward(model, source, sees, place, past_key_values=cache.keys, use_cache=True)
    return cache


def advance(model: PreTrainedModel, cache: Cache, tokens: torch.Tensor) -> torch.Tensor:
    """Append tokens (B, n), one to each path, and return hidden states (B, n, d) for what follows."""
    batch, count = tokens.shape
    itself = torch.eye(count, dtype=torch.bool, device=tokens.device).expand(batch, -1, -1)
    cache.sees = torch.cat([cache.sees.expand(-1, count, -1), itself], dim=-1)  # (B, n, M + n)
    hidden = forward(
        model,
        tokens,
        cache.sees,
        cache.place.expand(-1, count),
        past_key_values=cache.keys,
        use_cache=True,
    )
    cache.place = cache.place + 1
    return hidden
