"""What is minimised, as a module: Accelerate can then wrap it for many processes and number formats.

In: a task's name and its batch as named tensors. Out: cross-entropy summed over target tokens, and hits.
This file does not know optimisers, nor in which order batches come.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers import T5ForConditionalGeneration

from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.model import task_loss
from gensar_lite.training.tasks import TASKS, Batch


class Objective(nn.Module):
    """The loss as a module's forward."""

    def __init__(self, model: T5ForConditionalGeneration, layout: TokenLayout, settings: TrainingConfig):
        super().__init__()
        self.model, self.layout, self.settings = model, layout, settings

    def forward(self, task: str, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss (a scalar) and hits (L,) of one micro-batch of `task`."""
        source, mask, target = batch["source"], batch["mask"], batch["target"]
        return task_loss(self.model, source, mask, target, TASKS[task].view, self.layout, self.settings)


def batch_tensors(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """Every array of a batch by its name, as tensors on `device`."""
    return {k: torch.from_numpy(v).to(device) for k, v in batch._asdict().items() if isinstance(v, np.ndarray)}


def new_objective(
    model: T5ForConditionalGeneration, layout: TokenLayout, settings: TrainingConfig, device: torch.device
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
        name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"  # earlier versions
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
