"""Backbones: a model by its name, and the two things that training and decoding ask of it.

In: a name and a `TokenLayout`. Out: a Hugging Face model (encoder-decoder or decoder-only, fresh or
pretrained), its hidden states, logits of some rows. These files do not know tasks, losses or beams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones.fresh import SIZES, fresh
from gensar_lite.training.backbones.pretrained import add_lora, load_model, pretrained, weight_of
from gensar_lite.training.text import PAD

__all__ = ["load_model", "weight_of"]
Product = Callable[[Tensor, Tensor], Tensor]  # (..., d), (R, d) -> (..., R)


def new_model(settings: TrainingConfig, layout: TokenLayout) -> PreTrainedModel:
    """A model whose vocabulary is `layout`: fresh, or pretrained with its embeddings resized.

    Raises `ArtifactError` when a pretrained backbone cannot be loaded, `ConfigError` for LoRA on a
    fresh model.
    """
    torch.manual_seed(settings.seed)  # for weights; a pretrained table has new rows
    if settings.backbone not in SIZES:
        model = pretrained(settings, layout)
        return add_lora(model, settings) if settings.lora_rank else model
    if settings.lora_rank:
        raise ConfigError(
            f"training.lora_rank: {settings.backbone} starts from random weights, all of which "
            "must be trained. Set it to 0, or name a pretrained training.backbone."
        )
    return fresh(settings, layout)


def hidden_states(model: PreTrainedModel, source: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """States (B, T, d) that predict a target (B, T), after a source (B, S) with a `mask` (B, S) of
    real tokens."""
    if not model.config.is_encoder_decoder:
        (batch, size), count = source.shape, target.shape[1]
        sees = source.new_zeros(batch, size + count, size + count, dtype=torch.bool)
        sees[:, :size, :size] = visible(mask)  # among the source
        sees[:, size:, :size] = mask.bool()[:, None]  # what follows sees all of the source
        sees[:, size:, size:] = sees.new_ones(count, count).tril()  # and of itself
        return forward(model, torch.cat([source, shift_right(target)], dim=1), sees)[:, size:]
    read = model.get_encoder()(input_ids=source, attention_mask=mask).last_hidden_state  # (B, S, d)
    return model.get_decoder()(
        input_ids=shift_right(target),
        encoder_hidden_states=read,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state


def shift_right(target: Tensor) -> Tensor:
    """What is read while a target (B, T) is written: PAD to start with, then all but its last."""
    return torch.cat([torch.full_like(target[:, :1], PAD), target[:, :-1]], dim=1)


def forward(
    model: PreTrainedModel, tokens: Tensor, sees: Tensor, place: Tensor | None = None, **kept
) -> Tensor:
    """Hidden states (B, N, d) of tokens (B, N), where ``sees[b, i, j]``: token i sees token j.

    Padding may stand in the middle: a token's position (B, N) is the number of tokens that it sees
    before itself, unless `place` gives it.
    `sees` (B, N, M) may hold tokens read before; `kept`, e.g. their cache, goes to the model.
    """
    if place is None:
        place = (sees.sum(dim=-1) - 1).clamp_min(0)  # padding sees nothing
    allowed = sees[:, None]  # (B, 1, N, M): a mask of four dimensions is taken as it is
    if model.config._attn_implementation == "eager":  # which adds the mask instead of asking it
        bias = torch.zeros(allowed.shape, device=tokens.device)
        allowed = bias.masked_fill_(~allowed, torch.finfo(torch.float).min)
    kept = {"use_cache": False} | kept
    return model.base_model(
        input_ids=tokens, attention_mask=allowed, position_ids=place, **kept
    ).last_hidden_state


def visible(mask: Tensor) -> Tensor:
    """Which token sees which, (B, S, S), from a mask of real tokens (B, S)."""
    mask = mask.bool()
    both_real = mask[:, None, :] & mask[:, :, None]
    return both_real & mask.new_ones(mask.shape[1], mask.shape[1]).tril()


class OutputLayer(NamedTuple):
    """What turns hidden states, multiplied by `scale`, into logits: `weight` (R, d), `bias` (R,) or
    None."""

    weight: Tensor
    bias: Tensor | None
    scale: float

    def rows(self, rows: slice) -> OutputLayer:
        """A part of it. Parts of a part are cheaper to learn from than parts of the whole: each has
        a gradient as long as what it was cut from."""
        bias = None if self.bias is None else self.bias[rows]
        return self._replace(weight=self.weight[rows], bias=bias)

    def __call__(self, hidden: Tensor, product: Product = F.linear) -> Tensor:
        """Logits (..., R) of states (..., d), by any way to multiply."""
        logits = product(hidden if self.scale == 1.0 else hidden * self.scale, self.weight)
        return logits if self.bias is None else logits + self.bias


def output_layer(model: PreTrainedModel) -> OutputLayer:
    """A model's whole output layer."""
    head = model.get_output_embeddings()
    # T5 v1.0 alone divides states by the root of their width
    scaled = getattr(model.config, "scale_decoder_outputs", False)
    return OutputLayer(head.weight, head.bias, model.config.d_model**-0.5 if scaled else 1.0)


def output_rows(
    model: PreTrainedModel, hidden: Tensor, rows: slice, product: Product = F.linear
) -> Tensor:
    """Logits (..., R) of some rows of the output layer for hidden states (..., d)."""
    return output_layer(model).rows(rows)(hidden, product)
