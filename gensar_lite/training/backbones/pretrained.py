"""Backbones by name or folder: T5, T5 v1.1, Flan-T5, mT5, or any plain decoder (Llama, Qwen ...).

In: a name and a revision. Out: a model in fp32 with room for our tokens, perhaps with LoRA's
adapters (Hu et al., arXiv 2106.09685). Weights come as safetensors only, and no code that lies
beside them is run. Tested on random models that the tests save; larger ones are untested.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
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
from gensar_lite.training.backbones.fresh import SIZES, suited
from gensar_lite.training.backbones.tree import TreeConfig, TreeModel

# what a configuration may call its rates of dropout
DROPOUTS = ("dropout_rate", "hidden_dropout", "resid_pdrop", "embd_pdrop")
DROPOUTS += ("attention_dropout", "attn_pdrop")


@contextlib.contextmanager
def loading(backbone: str) -> Iterator[None]:
    """Turn the many ways in which a pretrained backbone can be missing into one `ArtifactError`."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"training: the backbone {backbone!r} could not be loaded "
            f"({str(error).splitlines()[0]}). Check the name and the network, or choose one that "
            f"needs no download: {', '.join(SIZES)}."
        ) from error


def pretrained_config(settings: TrainingConfig) -> PreTrainedConfig:
    """A backbone's configuration. Raises `ArtifactError` for one that cannot be had or decoded."""
    with loading(settings.backbone):
        config = AutoConfig.from_pretrained(
            settings.backbone, revision=settings.revision or None, trust_remote_code=False
        )
    kind = config.model_type
    layers = ", ".join(sorted({*(getattr(config, "layer_types", None) or ())} - {"full_attention"}))
    # decoding reads these two layer by layer
    if config.is_encoder_decoder and kind not in ("t5", "mt5"):
        problem = f"is of kind {kind}; encoders with a decoder must be of kind t5 or mt5"
    elif layers:
        problem = f"has layers of kind {layers}; each must attend to everything before"
    else:
        return config
    raise ArtifactError(
        f"training: the backbone {settings.backbone!r} {problem}. Choose another training.backbone."
    )


def pretrained(settings: TrainingConfig, layout: TokenLayout) -> PreTrainedModel:
    """The backbone with `layout` as its vocabulary: text keeps its rows, ours come after them."""
    config = pretrained_config(settings)
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, settings.dropout)
    with loading(settings.backbone):
        # fp32: small steps are lost in weights of half precision
        options = {"revision": settings.revision or None, "dtype": torch.float32}
        model = _saved_model(settings.backbone, config, **options)
    if model.get_input_embeddings().weight is not model.get_output_embeddings().weight:
        # T5 v1.1 says true all the same, and resizing would lose its output layer
        model.config.tie_word_embeddings = False
    model.resize_token_embeddings(layout.size)
    return suited(model)


def load_model(folder: Path | str) -> PreTrainedModel:
    """A model that training has saved, ready to be decoded from."""
    if (
        json.loads((Path(folder) / "config.json").read_text())["model_type"]
        == TreeConfig.model_type
    ):
        return TreeModel.from_pretrained(folder, use_safetensors=True).eval()
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return suited(_saved_model(folder, config).eval())


def _saved_model(name: Path | str, config: PreTrainedConfig, **options) -> PreTrainedModel:
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    options |= {"use_safetensors": True, "trust_remote_code": False}
    return kind.from_pretrained(name, config=config, **options)


def add_lora(model: PreTrainedModel, settings: TrainingConfig) -> PreTrainedModel:
    """Put adapters of rank ``settings.lora_rank`` beside every linear layer but the output, and
    freeze the rest but the embedding tables: our tokens are new to the backbone.

    They are scaled by 2 (alpha is twice the rank). Raises `ArtifactError` where peft is missing.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ArtifactError(
            "training: training.lora_rank needs peft. Install it: pip install 'gensar-lite[llm]', "
            "or set it to 0."
        ) from error
    rank = settings.lora_rank
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=settings.dropout, target_modules="all-linear"
    )
    inject_adapter_in_model(config, model)  # leaves the adapters alone to be trained
    for table in (model.get_input_embeddings(), model.get_output_embeddings()):
        table.weight.requires_grad_(True)
    return model


def weight_of(layer: nn.Linear) -> torch.Tensor:
    """A linear layer's weight as it acts, its adapter added: for code that multiplies by itself."""
    adapters = layer.active_adapters if _adapted(layer) else ()
    return sum((layer.get_delta_weight(name).detach() for name in adapters), layer.weight.detach())


def merge_lora(model: PreTrainedModel) -> PreTrainedModel:
    """Add each adapter, if any, to the weight that it stands beside and remove it, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if _adapted(child):
                child.merge()
                setattr(parent, name, child.get_base_layer())  # as if it had never been there
    return model.requires_grad_(True)


def _adapted(layer: nn.Module) -> bool:
    return hasattr(layer, "lora_A") and hasattr(layer, "get_delta_weight")
