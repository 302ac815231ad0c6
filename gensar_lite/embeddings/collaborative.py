"""The collaborative view: SASRec trained on train events alone, and kept as a baseline that ranks.

In: a `Corpus`. Out: item vectors (N, d_col), the trained model, one row of figures per validation.
This file does not read item texts.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.config import ConfigError, EmbeddingsConfig
from gensar_lite.data import history_items
from gensar_lite.embeddings.judge import full_ranking
from gensar_lite.embeddings.sasrec import SASRec
from gensar_lite.embeddings.sequences import Sequences, train_sequences
from gensar_lite.embeddings.softmax import chunked_cross_entropy
from gensar_lite.machine.precision import use_bf16

_LIKE_LENGTH = 64  # windows that are padded together


@dataclass(frozen=True)
class SASRecRanker:
    """A trained SASRec that ranks the catalogue after any event's history."""

    model: SASRec
    events: pd.DataFrame

    @torch.no_grad()
    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        """(B, N) scores of every item for target events, each from its strictly earlier history."""
        self.model.eval()
        history = history_items(self.events, targets["event_id"].to_numpy(), self.model.max_length)
        items, last = _right_padded(history, self.model.num_items)
        hidden = self.model(torch.from_numpy(items))
        return (
            self.model.scores(hidden[torch.arange(len(items)), torch.from_numpy(last)])
            .float()
            .numpy()
        )


def new_model(num_items: int, settings: EmbeddingsConfig) -> SASRec:
    """A freshly initialised SASRec of the settings' size (uses torch's current random state)."""
    return SASRec(
        num_items,
        settings.dim,
        settings.num_layers,
        settings.num_heads,
        settings.max_length,
        settings.dropout,
    )


class Schedule(NamedTuple):
    """How long to train, and after how many epochs to look."""

    epochs: int
    eval_every: int


def schedule(num_windows: int, settings: EmbeddingsConfig) -> Schedule:
    """``max_epochs``, or as many as make ``min_steps`` optimiser steps: an epoch of a small log is a few steps, and a
    model that has taken 160 has learned nothing. Validations stand as far apart, in steps, as without the floor."""
    steps = -(-num_windows // settings.batch_size)
    times = max(1.0, settings.min_steps / (settings.max_epochs * max(steps, 1)))
    return Schedule(math.ceil(settings.max_epochs * times), math.ceil(settings.eval_every * times))


def train_sasrec(corpus: Corpus, settings: EmbeddingsConfig) -> tuple[SASRec, list[dict]]:
    """Train SASRec with early stopping on the validation targets' full-ranking NDCG@10.

    Returns the best model and one row ``{epoch, seconds, loss, ndcg@10, recall@10}`` per validation.
    Raises `ArtifactError` when the loss is not finite, `ConfigError` for a loss that does not exist.
    """
    if settings.loss not in LOSSES:
        raise ConfigError(f"embeddings.loss: {settings.loss!r} is none of {', '.join(LOSSES)}.")
    torch.manual_seed(settings.seed)
    model = new_model(corpus.num_items, settings)
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.98),
        fused=True,
    )
    sequences = train_sequences(corpus, settings.max_length)
    epochs, eval_every = schedule(len(sequences.inputs), settings)
    judge = _Validation(corpus)
    curve, best, best_state, started = [], -1.0, None, time.perf_counter()
    bar = tqdm(range(1, epochs + 1), desc="SASRec", unit="epoch")
    for epoch in bar:
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(sequences.inputs))
        losses, done = [], (epoch - 1) / max(epochs - 1, 1)
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * (1 - done * (1 - settings.lr_end))
        model.train()
        for low in range(0, len(order), settings.batch_size):
            losses.append(
                _step(model, optimiser, sequences, order[low : low + settings.batch_size], settings)
            )
        if not np.isfinite(losses[-1]):
            raise ArtifactError(
                f"embeddings: SASRec's loss became {losses[-1]} in epoch {epoch}. Lower embeddings.lr."
            )
        minutes = (time.perf_counter() - started) / 60
        out_of_time = minutes > settings.max_minutes
        if epoch % eval_every == 0 or epoch == epochs or out_of_time:
            row = {
                "epoch": epoch,
                "seconds": round(60 * minutes, 1),
                "loss": float(np.mean(losses)),
            } | judge(model)
            curve.append(row)
            bar.set_postfix(loss=f"{row['loss']:.3f}", ndcg=f"{row['ndcg@10']:.4f}")
            if row["ndcg@10"] > best:
                best, best_state = (
                    row["ndcg@10"],
                    {k: v.clone() for k, v in model.state_dict().items()},
                )
            stale = len(curve) - 1 - int(np.argmax([r["ndcg@10"] for r in curve]))
            if out_of_time or stale >= settings.patience:
                break
    bar.close()
    model.load_state_dict(best_state)
    return model.eval(), curve


def _step(
    model, optimiser, sequences: Sequences, rows: np.ndarray, settings: EmbeddingsConfig
) -> float:
    length = (sequences.inputs[rows] >= 0).sum(axis=1)
    rows = rows[
        np.argsort(length, kind="stable")
    ]  # windows of like length run together: little padding
    parts = [rows[low : low + _LIKE_LENGTH] for low in range(0, len(rows), _LIKE_LENGTH)]
    questions = [sequences.questions(part) for part in parts]
    targets = torch.from_numpy(np.concatenate([target for _, _, target in questions]))  # (P,)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=use_bf16(settings.precision)):
        hidden = [
            _hidden(model, sequences.inputs[part], row, place)
            for part, (row, place, _) in zip(parts, questions, strict=True)
        ]
        loss = LOSSES[settings.loss](model, torch.cat(hidden), targets)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def _hidden(model: SASRec, inputs: np.ndarray, row: np.ndarray, place: np.ndarray) -> torch.Tensor:
    """Hidden states (P, d) at places of windows (B, T), which are padded to their longest."""
    longest = int((inputs >= 0).sum(axis=1).max())
    items = torch.from_numpy(np.where(inputs < 0, model.num_items, inputs)[:, :longest])
    return model(items)[torch.from_numpy(row), torch.from_numpy(place)]


def full_softmax(model: SASRec, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the whole catalogue for hidden states (P, d)."""
    return chunked_cross_entropy(hidden, model.items.weight[: model.num_items], targets)


def one_negative(model: SASRec, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy with one uniform negative a position: the loss of the SASRec paper, eq. 7."""
    negatives = torch.randint_like(targets, model.num_items)
    positive = (hidden * model.items(targets)).sum(-1).float()
    negative = (hidden * model.items(negatives)).sum(-1).float()
    return F.softplus(-positive).mean() + F.softplus(negative).mean()


def pairwise(model: SASRec, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Bayesian personalised ranking: the target should beat one uniform negative (Rendle et al., UAI 2009, eq. 4)."""
    negatives = torch.randint_like(targets, model.num_items)
    margin = (hidden * (model.items(targets) - model.items(negatives))).sum(-1).float()
    return F.softplus(-margin).mean()


LOSSES = {"ce": full_softmax, "bce": one_negative, "bpr": pairwise}


class _Validation:
    """Full-ranking Recall@10 and NDCG@10 on the validation recommendation targets."""

    def __init__(self, corpus: Corpus):
        self.corpus, self.targets = corpus, corpus.targets("validation", "recommend")

    def __call__(self, model: SASRec) -> dict[str, float]:
        return full_ranking(SASRecRanker(model, self.corpus.events), self.corpus, self.targets)


def _right_padded(history: np.ndarray, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Left-padded (-1) histories (B, T) as right-padded rows, and the position of each row's last item (B,)."""
    lengths = (history >= 0).sum(axis=1)
    columns = np.arange(history.shape[1])[None, :] + (history.shape[1] - lengths)[:, None]
    rows = np.take_along_axis(history, np.minimum(columns, history.shape[1] - 1), axis=1)
    rows[columns >= history.shape[1]] = pad
    return rows, np.maximum(lengths - 1, 0)
