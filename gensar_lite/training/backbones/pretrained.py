"""Backbones by name or folder: T5, T5 v1.1, Flan-T5, mT5, or any plain decoder (Llama, Qwen ...).

In: a name and a revision. Out: a model in fp32 whose vocabulary has room for our tokens. Weights
come as safetensors only, and no code that lies beside them is run. Tested on random models that the
tests save; larger ones are untested. This file does not know tokenizers' words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones import causal, t5
from gensar_lite.training.backbones.cpu import suited

ENCODER_DECODERS = ("t5", "mt5")  # what decoding reads layer by layer
# what a configuration may call its rates of dropout
DROPOUTS = ("dropout_rate", "hidden_dropout", "resid_pdrop", "embd_pdrop")
DROPOUTS += ("attention_dropout", "attn_pdrop")


def from_scratch(backbone: str) -> bool:
    """Whether a backbone's name is one of our sizes, initialised at random."""
    return backbone in t5.SIZES or backbone in causal.SIZES


@contextlib.contextmanager
def loading(backbone: str) -> Iterator[None]:
    """Turn the many ways in which a pretrained backbone can be missing into one `ArtifactError`."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"training: the backbone {backbone!r} could not be loaded "
            f"({str(error).splitlines()[0]}). Check the name and the network, or choose one that "
            f"needs no download: {', '.join([*t5.SIZES, *causal.SIZES])}."
        ) from error


def pretrained_config(settings: TrainingConfig) -> PreTrainedConfig:
    """A backbone's configuration. Raises `ArtifactError` for one that cannot be had or decoded."""
    with loading(settings.backbone):
        config = AutoConfig.from_pretrained(
            settings.backbone, revision=settings.revision or None, trust_remote_code=False
        )
    kind = config.model_type
    other_layers = {*(getattr(config, "layer_types", None) or ())} - {"full_attention"}
    if config.is_encoder_decoder and kind not in ENCODER_DECODERS:
        problem = f"is of kind {kind}; encoders with a decoder must be of kind t5 or mt5"
    elif other_layers:
        layers = ", ".join(sorted(other_layers))
        problem = f"has layers of kind {layers}; each must attend to everything before"
    else:
        return config
    raise ArtifactError(
        f"training: the backbone {settings.backbone!r} {problem}. Choose another training.backbone."
    )


def num_text_tokens(settings: TrainingConfig, tokenizer_size: int) -> int:
    """Rows of the vocabulary for text: a pretrained table may hold more than its tokenizer."""
    if from_scratch(settings.backbone):
        return tokenizer_size
    return max(tokenizer_size, pretrained_config(settings).vocab_size)


def pretrained(settings: TrainingConfig, layout: TokenLayout) -> PreTrainedModel:
    """The backbone with `layout` as its vocabulary: text keeps its rows, ours come after them."""
    config = pretrained_config(settings)
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, settings.dropout)
    with loading(settings.backbone):
        model = _kind(config).from_pretrained(
            settings.backbone,
            revision=settings.revision or None,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,  # small steps are lost in weights of half precision
        )
    if model.get_input_embeddings().weight is not model.get_output_embeddings().weight:
        # T5 v1.1 says true all the same, and resizing would lose its output layer
        model.config.tie_word_embeddings = False
    model.resize_token_embeddings(layout.size)
    return suited(model)


def load_model(folder: Path | str) -> PreTrainedModel:
    """A model that training has saved, ready to be decoded from."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return suited(_kind(config).from_pretrained(folder, config=config, use_safetensors=True).eval())


def _kind(config: PreTrainedConfig):
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
