"""What is minimised, as a module: Accelerate can then wrap it for many processes and number formats.

In: a batch of tensors. Out: its `Loss`, in sums.
This file does not know optimisers, nor in which order batches come.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.loop.losses import Loss, task_loss
from gensar_lite.training.sequences.tasks import Batch


class Objective(nn.Module):
    """The loss as a module's forward."""

    def __init__(self, model: PreTrainedModel, layout: TokenLayout, settings: TrainingConfig):
        super().__init__()
        self.model, self.layout, self.settings = model, layout, settings

    def forward(self, batch: Batch) -> Loss:
        """The loss of one micro-batch."""
        return task_loss(self.model, batch, self.layout, self.settings)


def new_objective(
    model: PreTrainedModel, layout: TokenLayout, settings: TrainingConfig, device: torch.device
) -> nn.Module:
    """The objective, with what the settings switch on: gradient checkpointing, compilation on a GPU.

    Raises `ConfigError` where either cannot be had.
    """
    if settings.gradient_checkpointing:
        if not getattr(model, "supports_gradient_checkpointing", False):
            raise ConfigError(
                f"training.gradient_checkpointing: {type(model).__name__} does not support it. Set it to false; "
                "training.accumulate with a smaller training.batch_size also saves memory."
            )
        # the variant that is not re-entrant keeps dropout's random numbers and needs no input with a gradient
        name = (
            "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
        )  # earlier versions
        enable = getattr(model, f"{name}_checkpointing_enable")
        enable(**{f"{name}_checkpointing_kwargs": {"use_reentrant": False}})
    objective = Objective(model, layout, settings)
    if not settings.compile:
        return objective
    if device.type != "cuda":
        raise ConfigError(
            f"training.compile: measured slower than plain PyTorch on a {device.type}. Set it to false, or train on a "
            "CUDA GPU."
        )
    return torch.compile(objective, dynamic=True)  # widths differ from batch to batch
