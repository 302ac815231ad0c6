"""The exact best items by scoring the whole catalogue: what a tree backbone gives in one product.

In: a `Decoder` of a tree, a `Question`. Out: a `Ranking`, certified. This file knows no beam.
"""

from __future__ import annotations

import numpy as np
import torch

from gensar_lite.artifacts import VIEWS
from gensar_lite.decoding.paths import Question, Ranking
from gensar_lite.decoding.read import tree_context, tree_inputs
from gensar_lite.training.backbones.tree import TreeModel


@torch.inference_mode()
def catalogue_scores(model: TreeModel, question: Question) -> torch.Tensor:
    """(B, N) log-probabilities of every item, whatever may be answered."""
    context = tree_context(model, *tree_inputs(model, question.source), question.task)
    return model.item_scores(context, question.task)


@torch.inference_mode()
def view_scores(model: TreeModel, question: Question) -> dict[str, np.ndarray]:
    """(B, N) log-probabilities of every item by each identifier alone, of a model whose tasks are
    answered by both (``training.views=both``)."""
    context = tree_context(model, *tree_inputs(model, question.source), question.task)
    views = VIEWS[: len(model.heads)]
    return {name: model.view_scores(context, i).cpu().numpy() for i, name in enumerate(views)}


@torch.inference_mode()
def answer_scores(model: TreeModel, question: Question) -> torch.Tensor:
    """(B, N) what every item scores as an answer: its bonus added, -inf where it may not be one."""
    scores = catalogue_scores(model, question)
    if question.bonus is not None:
        scores = scores + torch.from_numpy(question.bonus).to(scores)
    if question.allowed is not None:
        allowed = _allowed(question.allowed, *scores.shape).to(scores.device)
        scores = scores.masked_fill(~allowed, -torch.inf)
    if question.exclude is not None:
        rows, items = (torch.as_tensor(part).to(scores.device) for part in question.exclude)
        scores[rows, items] = -torch.inf
    return scores


@torch.inference_mode()
def rank_all(model: TreeModel, question: Question, k: int) -> Ranking:
    """The best `k` items of B requests; all that may be answered where there are fewer."""
    scores = answer_scores(model, question)
    batch, num_items = scores.shape
    kept = min(k, num_items)
    best, items = scores.topk(min(kept + 1, num_items), dim=1)
    # nothing that is missing scores above the first that was cut
    bound = best[:, kept] if best.shape[1] > kept else best.new_full((batch,), -torch.inf)
    best, items = best[:, :kept], items[:, :kept]
    items = items.masked_fill(torch.isneginf(best), -1)
    return Ranking(items.cpu().numpy(), best.cpu().numpy(), bound.cpu().numpy())


def _allowed(allowed: np.ndarray, batch: int, num_items: int) -> torch.Tensor:
    """(B, N) or (1, N) booleans of a mask (N,), or of each request's candidates (B, C)."""
    if allowed.ndim == 1:
        return torch.tensor(allowed)[None]  # a copy: a mask of pandas may not be written to
    table = torch.zeros(batch, num_items, dtype=torch.bool)
    row, column = np.nonzero(allowed >= 0)
    table[row, allowed[row, column]] = True
    return table
