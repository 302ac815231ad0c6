"""What is minimised: cross-entropy of codes within their level, of text within text, or of all.

In: a model and a `Batch` of tensors. Out: sums, so that parts of a step add up. This file does not
know the kind of backbone, optimisers, nor in which order batches come.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from gensar_lite.artifacts import VIEWS
from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones import hidden_states, output_layer, output_rows
from gensar_lite.training.backbones.tree import TreeModel
from gensar_lite.training.sequences.events import EventBatch
from gensar_lite.training.sequences.tasks import Batch
from gensar_lite.training.text import PAD


class Loss(NamedTuple):
    """Sums over one batch; all are tensors without gradient but the first.

    total   () cross-entropy, weighted in a batch of events
    tokens  () tokens (their weights, of events) that it sums over: total / tokens is minimised
    hits    (L,) codes of each level that had the highest logit, or (1,) tokens of a text
    count   () of how many
    """

    total: Tensor
    tokens: Tensor
    hits: Tensor
    count: Tensor

    def row(self, num_levels: int) -> np.ndarray:
        """Total, tokens, count, hits: (3 + L,), 0 where there are fewer hits than levels."""
        row = np.zeros(3 + num_levels)
        row[:3] = float(self.total), float(self.tokens), float(self.count)
        row[3 : 3 + len(self.hits)] = self.hits.detach().cpu().numpy()
        return row


class Objective(nn.Module):
    """The loss as a module's forward: Accelerate can wrap it for processes and number formats."""

    def __init__(self, model: PreTrainedModel, layout: TokenLayout, settings: TrainingConfig):
        """Raises `ConfigError` where the model cannot do what ``gradient_checkpointing`` asks."""
        super().__init__()
        self.model, self.layout, self.settings = model, layout, settings
        if not settings.gradient_checkpointing:
            return
        if not getattr(model, "supports_gradient_checkpointing", False):
            raise ConfigError(
                f"training.gradient_checkpointing: {type(model).__name__} does not support it. Set "
                "it to false; training.accumulate with a smaller training.batch_size also saves "
                "memory."
            )
        # not re-entrant: that keeps dropout's random numbers and needs no input with a gradient.
        # Earlier versions of transformers call it gradient_checkpointing
        later = hasattr(model, "activation_checkpointing_enable")
        name = "activation_checkpointing" if later else "gradient_checkpointing"
        getattr(model, f"{name}_enable")(**{f"{name}_kwargs": {"use_reentrant": False}})

    def forward(self, batch: Batch) -> Loss:
        """The loss of one micro-batch."""
        return task_loss(self.model, batch, self.layout, self.settings)


def task_loss(
    model: PreTrainedModel, batch: Batch | EventBatch, layout: TokenLayout, settings: TrainingConfig
) -> Loss:
    """The loss of a batch of one task, or of questions to a tree.

    With the level head a behaviour token before codes is given, not predicted, each code competes
    with the K codes of its level, and text with text; with the vocabulary head every token competes
    with every token, as in the paper.
    """
    if isinstance(batch, EventBatch):
        return tree_loss(model, batch)
    target = batch.target
    hidden = hidden_states(model, batch.source, batch.mask, target)  # (B, T, d)
    num_levels, view = layout.num_levels, batch.task.view
    is_text, by_level = batch.task.writes == "text", settings.head != "vocabulary"
    if is_text:
        real = target != PAD  # (B, T): padding does not count
        target = target[real]  # (M,)
        # text and behaviour tokens compete, with the level head no code
        rows = slice(0, layout.level_offset(VIEWS[0], 0) if by_level else None)
        logits = output_rows(model, hidden[real], rows)  # (M, R)
    elif by_level:
        logits = level_logits(model, hidden[:, -num_levels:], layout, view)  # (B, L, K)
        first = torch.as_tensor(layout.offsets(view), device=target.device)  # (L,)
        target = target[:, -num_levels:] - first
    else:
        logits = output_rows(model, hidden, slice(None))  # (B, T, V)
    loss, right = _scored(logits, target, settings)
    hits = right.sum()[None] if is_text else right.sum(dim=0)[-num_levels:]
    tokens, count = loss.new_tensor([target.numel(), len(target)])
    return Loss(loss.sum(), tokens, hits, count)


def tree_loss(model: TreeModel, batch: EventBatch) -> Loss:
    """The loss of questions to a tree: each identifier that answers a task, level by level."""
    count = batch.num_recommend
    states = model.states(batch.items, batch.row, batch.place)  # (P, d)
    contexts = {
        "recommend": model.recommending(states[:count]),
        "search": model.searching(states[count:], batch.words, batch.first),
    }
    parts = {"recommend": slice(0, count), "search": slice(count, None)}
    total = states.new_zeros((), dtype=torch.float32)
    hits, answers = batch.weight.new_zeros(model.num_levels), torch.zeros_like(total)
    for view, (tree, nodes) in enumerate(zip(model.branches, model.nodes(), strict=True)):
        tasks = [task for task in contexts if view in model.views_of(task)]
        if not tasks:
            continue
        context = torch.cat([contexts[task] for task in tasks])
        weight = torch.cat([batch.weight[parts[task]] for task in tasks])
        target = np.concatenate([batch.target[parts[task]] for task in tasks])
        loss = model.head.path_loss(context, target, weight, tree, nodes)
        total, hits, answers = total + loss.total, hits + loss.hits, answers + weight.sum()
    return Loss(total, answers * model.num_levels, hits, answers)


def level_logits(model: PreTrainedModel, hidden: Tensor, layout: TokenLayout, view: str) -> Tensor:
    """Logits (B, L, K) of each level's own codes for states (B, L, d): not of the vocabulary."""
    size, offsets = layout.codebook_size, layout.offsets(view).tolist()
    first = min(offsets)
    # levels are cut from the rows of all codes, so that gradients are as long as those alone
    codes = output_layer(model).rows(slice(first, max(offsets) + size))
    levels = [
        codes.rows(slice(offset - first, offset - first + size))(hidden[:, level])  # (B, K)
        for level, offset in enumerate(offsets)
    ]
    return torch.stack(levels, dim=1)


def _scored(logits: Tensor, wanted: Tensor, settings: TrainingConfig) -> tuple[Tensor, Tensor]:
    """Cross-entropy (M,) of logits (..., R), flat, and which are right, shaped as `wanted`."""
    logits = logits.float()  # exponentials are not summed in bf16
    each = {"reduction": "none", "label_smoothing": settings.label_smoothing}
    loss = F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), **each)
    return loss, logits.detach().argmax(dim=-1) == wanted
