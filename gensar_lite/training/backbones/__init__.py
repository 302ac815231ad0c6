"""Backbones: a model by its name, and the two things that training and decoding ask of it.

In: a backbone's name and a `TokenLayout`. Out: a Hugging Face model, its hidden states for a batch, and logits of some
rows of its vocabulary. Two kinds: an encoder with a decoder (t5.py) and a decoder alone (causal.py); fresh, or
pretrained (pretrained.py), then with or without LoRA (lora.py). These files do not know tasks, losses or beams.
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
    load_model,
    loading,
    num_text_tokens,
    pretrained,
)
from gensar_lite.training.backbones.sizes import GPT_SIZES, T5_SIZES, from_scratch
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

    Raises `ArtifactError` when a pretrained backbone cannot be loaded, `ConfigError` for LoRA on a fresh model.
    """
    torch.manual_seed(settings.seed)
    if not from_scratch(settings.backbone):
        model = pretrained(settings, layout)
        return add_lora(model, settings) if settings.lora_rank else model
    if settings.lora_rank:
        raise ConfigError(
            f"training.lora_rank: {settings.backbone} starts from random weights, all of which must be trained. Set it "
            "to 0, or name a pretrained training.backbone."
        )
    if settings.backbone in T5_SIZES:
        return t5.fresh(T5_SIZES[settings.backbone], settings, layout)
    return causal.fresh(GPT_SIZES[settings.backbone], settings, layout)


def hidden_states(
    model: PreTrainedModel, source: torch.Tensor, mask: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """States (B, T', d) of which the last T' - t foretell ``target[:, t:]``.

    source (B, S), target (B, T). With `mask` (B, S) of real tokens T' is T. With `mask` (B, S + 1, S)
    (which tokens each token sees, and in the last row the target, see streams.py) the target's first token is given,
    not foretold, and T' is T - 1.
    """
    kind = t5 if model.config.is_encoder_decoder else causal
    return kind.states(model, source, mask, target)


class OutputLayer(NamedTuple):
    """What turns hidden states into logits: weights (R, d), bias (R,) or None, and what states are multiplied by."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float

    def rows(self, rows: slice) -> OutputLayer:
        """A part of it. Parts of a part are cheaper to learn from than parts of the whole: each has a gradient as long
        as what it was cut from."""
        return self._replace(
            weight=self.weight[rows], bias=None if self.bias is None else self.bias[rows]
        )

    def __call__(self, hidden: torch.Tensor, product: Product = F.linear) -> torch.Tensor:
        """Logits (..., R) of states (..., d), by any way to multiply."""
        logits = product(hidden if self.scale == 1.0 else hidden * self.scale, self.weight)
        return logits if self.bias is None else logits + self.bias


def output_layer(model: PreTrainedModel) -> OutputLayer:
    """A model's whole output layer."""
    head = model.get_output_embeddings()
    return OutputLayer(
        head.weight, head.bias, model.config.d_model**-0.5 if t5.scales_output(model) else 1.0
    )


def output_rows(
    model: PreTrainedModel, hidden: torch.Tensor, rows: slice, product: Product = F.linear
) -> torch.Tensor:
    """Logits (..., R) of some rows of the output layer for hidden states (..., d)."""
    return output_layer(model).rows(rows)(hidden, product)
