"""T5, v1.1, Flan and mT5: an encoder reads the source and a decoder writes the target.

In: a size or a model, and a batch. Out: a fresh model, decoder states. This file does not know
losses.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, T5Config, T5ForConditionalGeneration

from gensar_lite.config import TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones.cpu import suited
from gensar_lite.training.text import EOS, PAD

# of our own, from random weights: width, feed-forward width, width of a head, heads, layers of the
# encoder and of the decoder
SIZES = {
    "t5-micro": {"d_model": 96, "d_ff": 192, "d_kv": 24, "num_heads": 4, "num_layers": 2},
    "t5-mini": {"d_model": 128, "d_ff": 512, "d_kv": 32, "num_heads": 4, "num_layers": 3},
    "t5-small": {"d_model": 512, "d_ff": 2048, "d_kv": 64, "num_heads": 8, "num_layers": 6},
}


def fresh(settings: TrainingConfig, layout: TokenLayout) -> T5ForConditionalGeneration:
    """A T5 of a size of our own with random weights."""
    config = T5Config(
        vocab_size=layout.size,
        dropout_rate=settings.dropout,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
        # words in and out are one table all the same: this is T5's word for output scale
        tie_word_embeddings=not settings.small_embeddings,
        **SIZES[settings.backbone],
    )
    model = T5ForConditionalGeneration(config)
    if settings.small_embeddings:
        # Adam's steps hardly move a table of deviation 1 in a minute: words that occur a few dozen
        # times learn several times faster from d^-1/2, and without the output scale logits still
        # start near 1
        torch.nn.init.normal_(model.shared.weight, std=config.d_model**-0.5)
    return suited(model)


def scales_output(model: PreTrainedModel) -> bool:
    """Whether states are divided by the root of their width before the output: T5 v1.0 alone."""
    return bool(getattr(model.config, "scale_decoder_outputs", False))


def shift_right(target: torch.Tensor) -> torch.Tensor:
    """What is read while a target (B, T) is written: PAD to start with, then all but its last."""
    return torch.cat([torch.full_like(target[:, :1], PAD), target[:, :-1]], dim=1)


def states(
    model: PreTrainedModel, source: torch.Tensor, mask: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Decoder states (B, T, d): state t predicts ``target[:, t]``."""
    read = model.get_encoder()(input_ids=source, attention_mask=mask).last_hidden_state  # (B, S, d)
    return model.get_decoder()(
        input_ids=shift_right(target),
        encoder_hidden_states=read,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state
