"""What a beam search asks of a model, whatever its kind: read a source once, then go on token by token.

In: a model, sources, tokens. Out: a cache, hidden states. This file knows which kind of model is read by which file.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from gensar_lite.decoding import causal, steps

Cache = steps.Cache | causal.Cache
Stacks = steps.Stacks


def prepare(model: PreTrainedModel, dtype: torch.dtype) -> Stacks | None:
    """What can be done once for a model that is not trained any more; None for a decoder alone."""
    return steps.read_stacks(model, dtype) if model.config.is_encoder_decoder else None


def encode(
    model: PreTrainedModel, source: torch.Tensor, mask: torch.Tensor, prepared: Stacks | None = None
) -> Cache:
    """Read sources (B, S) once, with a mask (B, S), or (B, S + 1, S) as streams have it."""
    if model.config.is_encoder_decoder:
        return steps.encode(model, source, mask, prepared)
    return causal.encode(model, source, mask)


def advance(model: PreTrainedModel, cache: Cache, tokens: torch.Tensor) -> torch.Tensor:
    """Append tokens (B, n), one to each path, and return hidden states (B, n, d) for what follows."""
    return (steps if model.config.is_encoder_decoder else causal).advance(model, cache, tokens)
