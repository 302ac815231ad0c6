"""Backbones: T5 from scratch in a few sizes, or a pretrained one, with room for code tokens.

In: a backbone's name and a `TokenLayout`. Out: a `T5ForConditionalGeneration` and a loss over one batch.
This file does not know events, histories or how batches are ordered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from transformers import AutoConfig, T5Config, T5ForConditionalGeneration

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.text import EOS, PAD

# from-scratch sizes: width, feed-forward width, width of a head, heads, layers of encoder and of decoder
SIZES = {
    "t5-micro": {"d_model": 96, "d_ff": 192, "d_kv": 24, "num_heads": 4, "num_layers": 2, "num_decoder_layers": 2},
    "t5-mini": {"d_model": 128, "d_ff": 512, "d_kv": 32, "num_heads": 4, "num_layers": 3, "num_decoder_layers": 3},
    "t5-small": {"d_model": 512, "d_ff": 2048, "d_kv": 64, "num_heads": 8, "num_layers": 6, "num_decoder_layers": 6},
}


def from_scratch(backbone: str) -> bool:
    """Whether a backbone's name is one of our sizes, initialised at random."""
    return backbone in SIZES


@contextlib.contextmanager
def loading(backbone: str) -> Iterator[None]:
    """Turn the many ways in which a pretrained backbone can be missing into one `ArtifactError`."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"training: the backbone {backbone!r} could not be loaded ({str(error).splitlines()[0]}). "
            f"Check the name and the network, or choose one that needs no download: {', '.join(SIZES)}."
        ) from error


def new_model(settings: TrainingConfig, layout: TokenLayout) -> T5ForConditionalGeneration:
    """A model whose vocabulary is `layout`: fresh, or pretrained with its embeddings resized.

    Raises `ArtifactError` when a pretrained backbone cannot be loaded.
    """
    torch.manual_seed(settings.seed)
    if from_scratch(settings.backbone):
        config = T5Config(
            vocab_size=layout.size,
            dropout_rate=settings.dropout,
            pad_token_id=PAD,
            eos_token_id=EOS,
            decoder_start_token_id=PAD,
            tie_word_embeddings=not settings.small_embeddings,  # tied all the same: this is T5's word for output scale
            **SIZES[settings.backbone],
        )
        model = T5ForConditionalGeneration(config)
        if settings.small_embeddings:
            # Adam's steps hardly move a table of deviation 1 in a minute: words that occur a few dozen times learn
            # several times faster from d^-1/2, and without the output scale logits still start near 1
            torch.nn.init.normal_(model.shared.weight, std=config.d_model**-0.5)
        if not torch.cuda.is_available():  # short rows with a position bias: eager was 1.4 times faster than sdpa
            model.set_attn_implementation("eager")
        return model
    with loading(settings.backbone):
        config = AutoConfig.from_pretrained(settings.backbone, trust_remote_code=False, dropout_rate=settings.dropout)
        model = T5ForConditionalGeneration.from_pretrained(
            settings.backbone, config=config, use_safetensors=True, dtype=torch.float32
        )  # small steps are lost in weights of half precision, however they were published
    model.resize_token_embeddings(layout.size)
    return model


def num_text_tokens(settings: TrainingConfig, tokenizer_size: int) -> int:
    """Rows of the vocabulary that belong to text: a pretrained table may hold more rows than its tokenizer."""
    if from_scratch(settings.backbone):
        return tokenizer_size
    config = AutoConfig.from_pretrained(settings.backbone, trust_remote_code=False)
    return max(tokenizer_size, config.vocab_size)


def shift_right(target: torch.Tensor) -> torch.Tensor:
    """Decoder inputs (B, T) for targets (B, T): start with PAD, drop the last."""
    return torch.cat([torch.full_like(target[:, :1], PAD), target[:, :-1]], dim=1)


def output_rows(model: T5ForConditionalGeneration, hidden: torch.Tensor, rows: torch.Tensor | slice) -> torch.Tensor:
    """Logits (..., R) of some rows of the output layer for decoder states (..., d)."""
    if getattr(model.config, "scale_decoder_outputs", model.config.tie_word_embeddings):
        hidden = hidden * model.model_dim**-0.5
    return F.linear(hidden, model.lm_head.weight[rows])


def level_logits(
    model: T5ForConditionalGeneration, hidden: torch.Tensor, layout: TokenLayout, view: str
) -> torch.Tensor:
    """Logits (B, L, K) of each level's own codes for decoder states (B, L, d): K rows a level, not the vocabulary."""
    size = layout.codebook_size
    levels = [
        output_rows(model, hidden[:, level], slice(offset, offset + size))
        for level, offset in enumerate(layout.offsets(view).tolist())
    ]
    return torch.stack(levels, dim=1)


def text_loss(
    model: T5ForConditionalGeneration,
    hidden: torch.Tensor,
    target: torch.Tensor,
    layout: TokenLayout,
    settings: TrainingConfig,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `task_loss`, for texts (B, T) from decoder states (B, T, d). Padding does not count.

    With the level head no code competes: a text holds text tokens, its end among them, and behaviour tokens.
    """
    there = target != PAD  # (B, T)
    rows = slice(0, layout.level_offset("semantic", 0) if settings.head == "level" else None)
    logits, wanted = output_rows(model, hidden[there], rows).float(), target[there]  # (M, R), (M,)
    loss = F.cross_entropy(logits, wanted, reduction="sum", label_smoothing=settings.label_smoothing)
    return loss, (logits.detach().argmax(dim=-1) == wanted).sum()[None]


def task_loss(
    model: T5ForConditionalGeneration,
    source: torch.Tensor,
    mask: torch.Tensor,
    target: torch.Tensor,
    view: str | None,
    layout: TokenLayout,
    settings: TrainingConfig,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy summed over target tokens (a scalar) and hits, for one batch: per level (L,) of codes in `view`,
    or of all tokens (1,) of a text, where `view` is None.

    With the level head the behaviour token before codes is given, not predicted, each code competes with the K codes
    of its level, and text with text; with the vocabulary head every token competes with every token, as in the paper.
    """
    states = model.encoder(input_ids=source, attention_mask=mask).last_hidden_state  # (B, S, d)
    hidden = model.decoder(
        input_ids=shift_right(target), encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False
    ).last_hidden_state  # (B, 1 + L, d)
    if view is None:
        return text_loss(model, hidden, target, layout, settings)
    if settings.head == "level":
        codes = slice(-layout.num_levels, None)
        logits = level_logits(model, hidden[:, codes], layout, view).float()  # (B, L, K)
        wanted = target[:, codes] - torch.as_tensor(layout.offsets(view), device=target.device)
    else:
        logits, wanted = output_rows(model, hidden, slice(None)).float(), target
    loss = F.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), reduction="sum", label_smoothing=settings.label_smoothing
    )
    hits = (logits.detach().argmax(dim=-1) == wanted).sum(dim=0)[-layout.num_levels :]
    return loss, hits
