"""Decoder-only: source and target are one sequence, read from left to right.

In: a size or a model, and a batch. Out: a fresh model, hidden states. Which token sees which is a
matrix, so that padding may stand in the middle and two events of one moment need not see each
other; a token's position is the number of tokens that it sees before itself.
This file does not know losses, events or beams.
"""

from __future__ import annotations

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel

from gensar_lite.config import TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones.cpu import suited
from gensar_lite.training.backbones.t5 import shift_right
from gensar_lite.training.text import EOS, PAD

# of our own, from random weights: width, feed-forward width, heads, layers
_NAMES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
SIZES = {
    "gpt-micro": dict(zip(_NAMES, (96, 384, 4, 2), strict=True)),
    "gpt-mini": dict(zip(_NAMES, (128, 512, 4, 3), strict=True)),
    "gpt-small": dict(zip(_NAMES, (512, 2048, 8, 6), strict=True)),
}


def fresh(settings: TrainingConfig, layout: TokenLayout) -> GPTNeoXForCausalLM:
    """A GPT of a size of our own: random weights, rotary positions, words in and out one table.

    GPT-NeoX and not Llama: it drops out of embeddings and residuals, without which the model learns
    a small log by heart, and its LayerNorm is one fused kernel.
    """
    rotary = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    config = GPTNeoXConfig(
        vocab_size=layout.size,
        hidden_dropout=settings.dropout,
        pad_token_id=PAD,
        bos_token_id=PAD,
        eos_token_id=EOS,
        tie_word_embeddings=True,
        use_parallel_residual=False,
        rope_parameters=rotary,
        **SIZES[settings.backbone],
    )
    return suited(GPTNeoXForCausalLM(config))


def states(
    model: PreTrainedModel, source: torch.Tensor, mask: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Hidden states that predict the target (B, T), see `hidden_states`.

    With a mask (B, S) the target starts after PAD, as T5's does. With a mask (B, S + 1, S) nothing
    stands between the source and the target's first token: so a stream of events goes on.
    """
    after = shift_right(target) if mask.ndim == 2 else target[:, :-1]  # (B, T')
    whole = torch.cat([source, after], dim=1)  # (B, S + T')
    return read(model, whole, append(mask, after.shape[1]))[:, source.shape[1] :]


def read(model: PreTrainedModel, tokens: torch.Tensor, sees: torch.Tensor, **kept) -> torch.Tensor:
    """Hidden states (B, N, d) of tokens (B, N), where ``sees[b, i, j]``: token i sees token j.

    `kept` goes to the model's forward, e.g. a cache.
    """
    place = (sees.sum(dim=-1) - 1).clamp_min(0)  # (B, N); padding sees nothing
    return forward(model, tokens, sees, place, use_cache=False, **kept)


def forward(
    model: PreTrainedModel, tokens: torch.Tensor, sees: torch.Tensor, place: torch.Tensor, **kept
):
    """As `read`, with positions (B, N) given; `sees` (B, N, M) may hold tokens read before."""
    allowed = sees[:, None]  # (B, 1, N, M): a mask of four dimensions is taken as it is
    if model.config._attn_implementation == "eager":  # which adds the mask instead of asking it
        least = torch.finfo(torch.float).min
        bias = torch.zeros(allowed.shape, device=tokens.device)
        allowed = bias.masked_fill_(~allowed, least)
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


def append(mask: torch.Tensor, count: int) -> torch.Tensor:
    """`visible` for the source and `count` tokens that follow it, read from left to right."""
    batch = len(mask)
    size = mask.shape[-1]
    whole = mask.new_zeros(batch, size + count, size + count, dtype=torch.bool)
    whole[:, :size, :size] = visible(mask)  # among the source
    whole[:, size:, :size] = seen_after(mask)  # what follows sees of the source
    whole[:, size:, size:] = whole.new_ones(count, count).tril()  # and of itself
    return whole
