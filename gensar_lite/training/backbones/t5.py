"""T5: an encoder that reads the source and a decoder that writes the target (T5, T5 v1.1, Flan-T5, mT5).

In: a size or a model, and a batch. Out: a fresh model, decoder states. This file does not know losses.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, T5Config, T5ForConditionalGeneration

from gensar_lite.config import TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones.cpu import suited
from gensar_lite.training.text import EOS, PAD


def fresh(
    size: dict[str, int], settings: TrainingConfig, layout: TokenLayout
) -> T5ForConditionalGeneration:
    """A T5 with random weights."""
    config = T5Config(
        vocab_size=layout.size,
        dropout_rate=settings.dropout,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
        tie_word_embeddings=not settings.small_embeddings,  # tied all the same: this is T5's word for output scale
        **size,
    )
    model = T5ForConditionalGeneration(config)
    if settings.small_embeddings:
        # Adam's steps hardly move a table of deviation 1 in a minute: words that occur a few dozen times learn
        # several times faster from d^-1/2, and without the output scale logits still start near 1
        torch.nn.init.normal_(model.shared.weight, std=config.d_model**-0.5)
    return suited(model)


def scales_output(model: PreTrainedModel) -> bool:
    """Whether decoder states are divided by the root of their width before the output layer (T5 v1.0 alone)."""
    return bool(getattr(model.config, "scale_decoder_outputs", False))


def shift_right(target: torch.Tensor) -> torch.Tensor:
    """What is read while a target (B, T) is written: PAD to start with, then the target but for its last token."""
    return torch.cat([torch.full_like(target[:, :1], PAD), target[:, :-1]], dim=1)


def states(
    model: PreTrainedModel, source: torch.Tensor, mask: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Decoder states (B, T, d): state t foretells ``target[:, t]``."""
    read = model.get_encoder()(input_ids=source, attention_mask=mask).last_hidden_state  # (B, S, d)
    decoder = model.get_decoder()
    return decoder(
        input_ids=shift_right(target),
        encoder_hidden_states=read,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state
