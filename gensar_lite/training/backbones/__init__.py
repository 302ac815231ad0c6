"""Backbones: a model by its name, and the two things that training and decoding ask of it.

In: a backbone's name and a `TokenLayout`. Out: a Hugging Face model, its hidden states for a batch,
and logits of some rows of its vocabulary. An encoder-decoder or decoder-only (causal.py), fresh or
pretrained. These files do not know tasks, losses or beams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones import causal
from gensar_lite.training.backbones.causal import shift_right
from gensar_lite.training.backbones.fresh import SIZES, fresh
from gensar_lite.training.backbones.pretrained import add_lora, load_model, pretrained, weight_of

__all__ = ["hidden_states", "load_model", "new_model", "output_layer", "output_rows", "weight_of"]

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (..., d), (R, d) -> (..., R)


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


def hidden_states(
    model: PreTrainedModel, source: torch.Tensor, mask: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """States (B, T', d) of which the last T' - t predict ``target[:, t:]``.

    source (B, S), target (B, T). With `mask` (B, S) of real tokens T' is T. With `mask`
    (B, S + 1, S), of an event read as in a stream, the target's first token is given, not
    predicted, and T' is T - 1. See `Batch`.
    """
    if not model.config.is_encoder_decoder:
        return causal.states(model, source, mask, target)
    read = model.get_encoder()(input_ids=source, attention_mask=mask).last_hidden_state  # (B, S, d)
    return model.get_decoder()(
        input_ids=shift_right(target),
        encoder_hidden_states=read,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state


class OutputLayer(NamedTuple):
    """What turns hidden states, multiplied by `scale`, into logits: `weight` (R, d), `bias` (R,) or
    None."""

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
    # T5 v1.0 alone divides states by the root of their width
    scaled = getattr(model.config, "scale_decoder_outputs", False)
    return OutputLayer(head.weight, head.bias, model.config.d_model**-0.5 if scaled else 1.0)


def output_rows(
    model: PreTrainedModel, hidden: torch.Tensor, rows: slice, product: Product = F.linear
) -> torch.Tensor:
    """Logits (..., R) of some rows of the output layer for hidden states (..., d)."""
    return output_layer(model).rows(rows)(hidden, product)
