"""How well a model ranks while it is trained, and the loop that keeps its best epoch.

In: something with ``scores(targets)`` and target events. Out: Recall@10 and NDCG@10 over the whole
catalogue, for early stopping and lessons; tables with intervals are the evaluation stage's.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.data import left_out
from gensar_lite.metrics import ndcg_at, recall_at


class Rules(NamedTuple):
    """How long a model is trained, and what its best epoch is."""

    name: str  # of the model, for people
    metric: str  # the higher the better
    epochs: int  # at most
    patience: int  # validations without a better one before stopping
    advice: str  # what to do where the loss is not finite
    eval_every: int = 1  # epochs between validations; the last epoch always ends with one
    max_minutes: float = math.inf  # of wall-clock time


def enough_epochs(epochs: int, eval_every: int, steps: int, min_steps: int) -> tuple[int, int]:
    """Epochs to train, of `steps` optimiser steps each, and epochs between validations.

    That is `epochs`, or as many as make `min_steps`: an epoch of a small log is a few steps, and a
    model that has taken 160 has learned nothing. Validations stand as far apart, in steps, as
    without the floor.
    """
    times = max(1.0, min_steps / (epochs * max(steps, 1)))
    return math.ceil(epochs * times), math.ceil(eval_every * times)


class FullRanking:
    """Ranks the whole catalogue for fixed `targets` (rows of the log), once per call.

    What users have seen, looked up once, is left out of recommendations by the log's rule.
    """

    def __init__(self, corpus: Corpus, targets: pd.DataFrame, batch: int = 1024):
        self.targets = targets
        self.batch = batch
        self.seen = left_out(corpus)

    def __call__(self, ranker) -> dict[str, float]:
        """Mean ``recall@10`` and ``ndcg@10`` of `ranker`, ties counted against it."""
        ranks = []
        for low in range(0, len(self.targets), self.batch):
            part = self.targets.iloc[low : low + self.batch]
            scores = np.array(ranker.scores(part))  # (B, N), a copy: the ranker's stay as they are
            if self.seen is not None:
                self.seen.hide(scores, part)
            of_target = scores[np.arange(len(part)), part["item_id"].to_numpy()]  # (B,)
            # whoever scores as much as the target stands before it; the target itself makes it 1
            ranks.append((scores >= of_target[:, None]).sum(axis=1))
        rank = np.concatenate(ranks)
        measures = {"recall@10": recall_at, "ndcg@10": ndcg_at}
        return {name: float(at(rank, 10).mean()) for name, at in measures.items()}


def train_epochs(
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    batch_losses: Callable[[int], Iterator[torch.Tensor]],
    validate: Callable[[], dict[str, float]],
    rules: Rules,
) -> list[dict]:
    """Train epoch by epoch, stop early, and leave `model` with the weights of its best validation.

    ``batch_losses(epoch)`` yields the loss of each batch, ``validate()`` returns figures by name.
    Returns one row ``{epoch, seconds, loss, <figures>}`` per validation. Raises `ArtifactError`
    when a loss is not finite.
    """
    curve: list[dict] = []
    started = time.perf_counter()
    bar = tqdm(range(1, rules.epochs + 1), desc=rules.name, unit="epoch")
    for epoch in bar:
        model.train()
        losses = []
        for loss in batch_losses(epoch):
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        if not np.isfinite(losses).all():
            what = f"{rules.name}'s loss became {losses[-1]} in epoch {epoch}"
            raise ArtifactError(f"embeddings: {what}. {rules.advice}")
        seconds = time.perf_counter() - started
        out_of_time = seconds > 60 * rules.max_minutes
        if epoch % rules.eval_every and epoch < rules.epochs and not out_of_time:
            continue
        row = {"epoch": epoch, "seconds": round(seconds, 1), "loss": float(np.mean(losses))}
        row |= validate()
        # the first of several equal validations counts as the best
        if not curve or row[rules.metric] > max(earlier[rules.metric] for earlier in curve):
            best = len(curve)
            weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        curve.append(row)
        bar.set_postfix({"loss": f"{row['loss']:.3f}", rules.metric: f"{row[rules.metric]:.4f}"})
        if out_of_time or len(curve) - 1 - best >= rules.patience:
            break
    bar.close()
    model.load_state_dict(weights)
    model.eval()
    return curve
