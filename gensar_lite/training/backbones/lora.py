"""LoRA (Hu et al., arXiv 2106.09685): a pretrained backbone learns in few directions.

In: a model and a rank. Out: the same model with adapters; later, the same model with them merged
into its weights. The embedding tables are trained whole, since our tokens are new to the backbone.
This file does not know the backbone.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import TrainingConfig


def add_lora(model: PreTrainedModel, settings: TrainingConfig) -> PreTrainedModel:
    """Put adapters of rank ``settings.lora_rank`` beside every linear layer but the output, and
    freeze the rest.

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
    weight = layer.weight.detach()
    if not _adapted(layer):
        return weight
    return weight + sum(layer.get_delta_weight(name).detach() for name in layer.active_adapters)


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
