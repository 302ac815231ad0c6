"""Backbones: a model by its name, and the two things that training and decoding ask of it.

In: a backbone's name and a `TokenLayout`. Out: a Hugging Face model, its hidden states for a batch,
and logits of some rows of its vocabulary. Two kinds: encoder-decoder (t5.py) and decoder-only
(causal.py); fresh, or pretrained (pretrained.py), then with or without LoRA (lora.py). These files
do not know tasks, losses or beams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones import causal, t5
from gensar_lite.training.backbones.lora import add_lora, merge_lora, weight_of
from gensar_lite.training.backbones.pretrained import (
    from_scratch,
    load_model,
    loading,
    num_text_tokens,
    pretrained,
)
from gensar_lite.training.backbones.t5 import shift_right

__all__ = [
    "from_scratch",
    "hidden_states",
    "load_model",
    "loading",
    "merge_lora",
    "new_model",
    "num_text_tokens",
    "output_layer",
    "output_rows",
    "shift_right",
    "weight_of",
]

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (..., d), (R, d) -> (..., R)


def new_model(settings: TrainingConfig, layout: TokenLayout) -> PreTrainedModel:
    """A model whose vocabulary is `layout`: fresh, or pretrained with its embeddings resized.

    Raises `ArtifactError` when a pretrained backbone cannot be loaded, `ConfigError` for LoRA on a
    fresh model.
    """
    torch.manual_seed(settings.seed)  # for weights; a pretrained table has new rows
    if not from_scratch(settings.backbone):
        model = pretrained(settings, layout)
        return add_lora(model, settings) if settings.lora_rank else model
    if settings.lora_rank:
        raise ConfigError(
            f"training.lora_rank: {settings.backbone} starts from random weights, all of which "
            "must be trained. Set it to 0, or name a pretrained training.backbone."
        )
    kind = t5 if settings.backbone in t5.SIZES else causal
    return kind.fresh(settings, layout)


def hidden_states(
    model: PreTrainedModel, source: torch.Tensor, mask: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """States (B, T', d) of which the last T' - t predict ``target[:, t:]``.

    source (B, S), target (B, T). With `mask` (B, S) of real tokens T' is T. With `mask`
    (B, S + 1, S), of an event read as in a stream, the target's first token is given, not
    predicted, and T' is T - 1. See `Batch`.
    """
    kind = t5 if model.config.is_encoder_decoder else causal
    return kind.states(model, source, mask, target)


class OutputLayer(NamedTuple):
    """What turns hidden states into logits.

    weight  (R, d)
    bias    (R,) or None
    scale   what states are multiplied by
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float

    def rows(self, rows: slice) -> OutputLayer:
        """A part of it. Parts of a part are cheaper to learn from than parts of the whole: each has
        a gradient as long as what it was cut from."""
        bias = None if self.bias is None else self.bias[rows]
        return self._replace(weight=self.weight[rows], bias=bias)

    def __call__(self, hidden: torch.Tensor, product: Product = F.linear) -> torch.Tensor:
        """Logits (..., R) of states (..., d), by any way to multiply."""
        logits = product(hidden if self.scale == 1.0 else hidden * self.scale, self.weight)
        return logits if self.bias is None else logits + self.bias


def output_layer(model: PreTrainedModel) -> OutputLayer:
    """A model's whole output layer."""
    head = model.get_output_embeddings()
    scale = model.config.d_model**-0.5 if t5.scales_output(model) else 1.0
    return OutputLayer(head.weight, head.bias, scale)


def output_rows(
    model: PreTrainedModel, hidden: torch.Tensor, rows: slice, product: Product = F.linear
) -> torch.Tensor:
    """Logits (..., R) of some rows of the output layer for hidden states (..., d)."""
    return output_layer(model).rows(rows)(hidden, product)
