"""Backbones of our own sizes from random weights, and what makes any backbone fast on a CPU.

In: a size, or any model. Out: a model; on a CPU with attention written out and dropout by bytes.
This file does not know batches or losses.
"""

import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.masking_utils import eager_mask

from gensar_lite.config import TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.machine.dropout import ByteDropout, byte_dropout
from gensar_lite.training.text import EOS, PAD

# width, feed-forward width, heads, layers (a T5's of the encoder, and as many of the decoder)
SIZES = {
    "t5-micro": (96, 192, 4, 2),
    "t5-mini": (128, 512, 4, 3),
    "t5-small": (512, 2048, 8, 6),
    "gpt-micro": (96, 384, 4, 2),
    "gpt-mini": (128, 512, 4, 3),
    "gpt-small": (512, 2048, 8, 6),
}
T5_ATTENTION = "t5_byte_dropout"


def fresh(settings: TrainingConfig, layout: TokenLayout) -> PreTrainedModel:
    """A model of one of `SIZES` with random weights; words in and out are one table."""
    make = _fresh_t5 if settings.backbone.startswith("t5") else _fresh_gpt
    return suited(make(settings, vocab_size=layout.size, pad_token_id=PAD, eos_token_id=EOS))


def _fresh_t5(settings: TrainingConfig, **vocabulary: int) -> T5ForConditionalGeneration:
    width, inner, heads, layers = SIZES[settings.backbone]
    sizes = {"d_model": width, "d_ff": inner, "d_kv": width // heads}
    sizes |= {"num_heads": heads, "num_layers": layers}
    config = T5Config(
        dropout_rate=settings.dropout,
        decoder_start_token_id=PAD,
        # one table all the same: this is T5's word for output scale
        tie_word_embeddings=not settings.small_embeddings,
        **sizes,
        **vocabulary,
    )
    model = T5ForConditionalGeneration(config)
    if settings.small_embeddings:
        # Adam's steps hardly move a table of deviation 1 in a minute: words that occur a few dozen
        # times learn several times faster from d^-1/2, and without the output scale logits still
        # start near 1
        torch.nn.init.normal_(model.shared.weight, std=width**-0.5)
    return model


def _fresh_gpt(settings: TrainingConfig, **vocabulary: int) -> GPTNeoXForCausalLM:
    """GPT-NeoX and not Llama: it drops out of embeddings and residuals, without which the model
    learns a small log by heart, and its LayerNorm is one fused kernel."""
    width, inner, heads, layers = SIZES[settings.backbone]
    sizes = {"hidden_size": width, "intermediate_size": inner}
    sizes |= {"num_attention_heads": heads, "num_hidden_layers": layers}
    rotary = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    config = GPTNeoXConfig(
        hidden_dropout=settings.dropout,
        bos_token_id=PAD,
        tie_word_embeddings=True,
        use_parallel_residual=False,
        rope_parameters=rotary,
        **sizes,
        **vocabulary,
    )
    return GPTNeoXForCausalLM(config)


def suited(model: PreTrainedModel) -> PreTrainedModel:
    """The model, changed in place where there is no GPU."""
    # rows are short, and T5 adds a position bias: attention as plain products was 1.4 (T5) and 1.6
    # times (decoder-only, rows of 80 tokens) faster than the fused kernel
    if torch.cuda.is_available():
        return model
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, ByteDropout(child.p).train(child.training))
    model.set_attn_implementation(T5_ATTENTION if model.config.is_encoder_decoder else "eager")
    return model


def t5_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """T5's attention: query (B, h, T, k), key, value (B, h, S, k) to (B, T, h, k), and weights."""
    # 1. products, not divided by the root of k: T5's initial weights are small enough
    scores = torch.matmul(query, key.transpose(2, 3))  # (B, h, T, S)
    # 2. the bias (1, h, T, S), learned per head and distance of two tokens, stands for positions;
    #    the mask (B, 1, T, S) adds the least number where a token may not look
    for added in (position_bias, attention_mask):
        scores = scores if added is None else scores + added
    weights = byte_dropout(scores.softmax(dim=-1), dropout)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(T5_ATTENTION, t5_attention)
AttentionMaskInterface.register(T5_ATTENTION, eager_mask)
