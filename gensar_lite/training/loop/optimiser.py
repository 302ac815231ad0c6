"""The optimiser: AdamW, the learning rate of a step, and its state as plain named tensors.

In: a model, settings, a step's number. Out: an optimiser, a rate, tensors that safetensors can hold.
This file does not know losses or batches.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from gensar_lite.config import TrainingConfig


def new_optimiser(model: nn.Module, settings: TrainingConfig) -> torch.optim.AdamW:
    """AdamW whose weight decay spares vectors: scales of norms are no weights to shrink. Frozen weights stay out."""
    learned = [p for p in model.parameters() if p.requires_grad]
    decay, plain = [p for p in learned if p.ndim > 1], [p for p in learned if p.ndim <= 1]
    groups = [
        {"params": decay, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.lr, fused=True)


def learning_rate(step: int, num_steps: int, settings: TrainingConfig) -> float:
    """Linear warm-up, then a half cosine down to 2 % of the peak."""
    warmup = max(round(settings.warmup_rate * num_steps), 1)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    rest = (step - warmup) / max(num_steps - warmup, 1)
    return settings.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0))))


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An Adam-like optimiser's state as flat named tensors."""
    state = optimiser.state_dict()["state"]
    return {
        f"{i}.{name}": torch.as_tensor(v) for i, entry in state.items() for name, v in entry.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """The reverse of `optimiser_tensors`."""
    whole = optimiser.state_dict()
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(whole | {"state": entries})


def learned_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """What training changes, each tensor once: weights that are not frozen, and buffers that are saved.

    A tied table has several names in `state_dict`, and a frozen backbone is on disk already: neither is repeated.
    """
    saved = model.state_dict().keys()
    weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return weights | {name: b for name, b in model.named_buffers() if name in saved}


@torch.no_grad()
def put_tensors(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """The reverse of `learned_tensors`, in place."""
    for name, there in learned_tensors(model).items():
        there.copy_(tensors[name])
