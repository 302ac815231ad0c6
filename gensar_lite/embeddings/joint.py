"""The joint view: one space for items, queries and users, trained on both tasks at once.

In: a `Corpus` and the frozen text vectors of its items and queries. Out: item vectors (N, d), the trained model, one
row of figures per validation. After the bi-encoder of Penha et al. (arXiv 2508.10478), made for a laptop: small
networks on top of frozen text vectors are trained, the text encoder is not. This file reads no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from gensar_lite.artifacts import TASKS, ArtifactError, Corpus
from gensar_lite.config import EmbeddingsConfig
from gensar_lite.data import history_items
from gensar_lite.embeddings.judge import full_ranking

HISTORY = 10  # items of a user that are read, the latest ones
HIDDEN = 256  # width of an adapter's hidden layer
DROPOUT = 0.1  # inside the adapters
BATCH = 512  # examples a step, both tasks mixed; they are each other's negatives
LEARNING_RATE = 2e-3
PATIENCE = 3  # validations without a better mean NDCG@10 of both tasks
MAX_JUDGED = 1000  # validation targets a task, the first ones


class JointModel(nn.Module):
    """Unit vectors (d) of items, queries, and of users by their items.

    An item is its adapted text plus a free vector, which starts at zero and learns what no text tells. An item
    without a train event stays where its text puts it.
    """

    def __init__(self, item_text: torch.Tensor, query_text: torch.Tensor, dim: int):
        super().__init__()
        self.register_buffer("item_text", item_text, persistent=False)  # (N, d_sem)
        self.register_buffer("query_text", query_text, persistent=False)  # (Q, d_sem)
        self.adapt_item, self.adapt_query = (_adapter(item_text.shape[1], dim) for _ in range(2))
        self.free = nn.Embedding(len(item_text), dim)
        self.user = nn.Linear(2 * dim, dim)
        nn.init.zeros_(self.free.weight)

    def items(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, d) for item ids (B,)."""
        return F.normalize(self.adapt_item(self.item_text[ids]) + self.free(ids), dim=-1)

    def queries(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, d) for query ids (B,)."""
        return F.normalize(self.adapt_query(self.query_text[ids]), dim=-1)

    def users(self, history: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """(B, d) for histories (B, T): rows of `table` (M, d), oldest first, -1 on the left where there is none.

        A user is a learned mix of the mean item and the last one.
        """
        real = (history >= 0).unsqueeze(-1)  # (B, T, 1)
        met = table[history.clamp(min=0)] * real  # (B, T, d)
        mean = met.sum(dim=1) / real.sum(dim=1).clamp(min=1)
        return F.normalize(self.user(torch.cat([mean, met[:, -1]], dim=1)), dim=-1)

    @torch.no_grad()
    def item_vectors(self) -> torch.Tensor:
        """The joint view: (N, d) unit rows."""
        return self.items(torch.arange(len(self.item_text)))


def _adapter(width: int, dim: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, dim)
    )


class Examples(NamedTuple):
    """Train events: history (E, T) or query (E,) to item (E,). `query` is -1 for recommendation."""

    history: torch.Tensor
    query: torch.Tensor
    item: torch.Tensor


def joint_examples(events: pd.DataFrame) -> Examples:
    """Every train event as an example; a recommendation needs at least one item before it."""
    train = events[(events["split"] == "train").to_numpy()]
    history = history_items(events, train["event_id"].to_numpy(), HISTORY)
    query, item = train["query_id"].to_numpy(), train["item_id"].to_numpy()
    keep = (query >= 0) | (history >= 0).any(axis=1)
    return Examples(*(torch.tensor(x[keep]) for x in (history, query, item)))


def contrastive(
    anchors: torch.Tensor,
    items: torch.Tensor,
    goal: torch.Tensor,
    log_share: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """InfoNCE: cross-entropy of anchors (B, d) over the items of the batch (M, d), of which `goal` (B,) is right.

    All others are negatives. A popular item is a negative more often than a rare one, so the logarithm of an item's
    share (M,) is taken off its score (Yi et al., RecSys 2019).
    """
    return F.cross_entropy(anchors @ items.T / temperature - log_share, goal)


def batch_loss(
    model: JointModel, part: Examples, log_share: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The loss of both tasks in one batch; each item it holds is encoded once."""
    real = part.history >= 0
    ids, place = torch.unique(torch.cat([part.item, part.history[real]]), return_inverse=True)
    table = model.items(ids)  # (M, d)
    history = torch.full_like(part.history, -1)
    history[real] = place[len(part.item) :]
    search = part.query >= 0
    anchors = torch.cat(
        [model.queries(part.query[search]), model.users(history[~search], table)]
    )  # (B, d)
    rows = torch.cat([place[: len(part.item)][search], place[: len(part.item)][~search]])
    targets, goal = torch.unique(
        rows, return_inverse=True
    )  # histories are read, only targets compete
    return contrastive(anchors, table[targets], goal, log_share[ids[targets]], temperature)


@dataclass(frozen=True)
class JointRanker:
    """A trained `JointModel` that ranks the catalogue for events of either task."""

    model: JointModel
    events: pd.DataFrame

    @torch.no_grad()
    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        """(B, N) cosines of every item with the query of a search, with the history of a recommendation."""
        model = self.model.eval()
        table, query = model.item_vectors(), torch.tensor(targets["query_id"].to_numpy())
        history = torch.from_numpy(
            history_items(self.events, targets["event_id"].to_numpy(), HISTORY)
        )
        anchors = model.users(history, table)
        anchors[query >= 0] = model.queries(query[query >= 0])
        return (anchors @ table.T).numpy()


def train_joint(
    corpus: Corpus, item_text: np.ndarray, query_text: np.ndarray, settings: EmbeddingsConfig
) -> tuple[JointModel, list[dict]]:
    """Train on train events; early stopping on the mean validation NDCG@10 of both tasks, full ranking.

    Returns the best model and one row ``{epoch, loss, <task>/ndcg@10, <task>/recall@10, score}`` per epoch.
    Raises `ArtifactError` when the loss is not finite.
    """
    torch.manual_seed(settings.seed)
    model = JointModel(torch.tensor(item_text), torch.tensor(query_text), settings.joint_dim)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    examples = joint_examples(corpus.events)
    log_share = torch.bincount(examples.item, minlength=corpus.num_items).add(1.0).log()
    curve, best, best_state = [], -1.0, None
    bar = tqdm(range(1, settings.joint_epochs + 1), desc="joint", unit="epoch")
    for epoch in bar:
        order = torch.from_numpy(
            np.random.default_rng([settings.seed, epoch]).permutation(len(examples.item))
        )
        losses = []
        model.train()
        for rows in order.split(BATCH):
            loss = batch_loss(
                model, Examples(*(x[rows] for x in examples)), log_share, settings.joint_temperature
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        if not np.isfinite(losses).all():
            raise ArtifactError(
                f"embeddings: the joint view's loss became {losses[-1]}. Raise joint_temperature."
            )
        row = {"epoch": epoch, "loss": float(np.mean(losses))} | _judge(model, corpus)
        curve.append(row)
        bar.set_postfix(loss=f"{row['loss']:.3f}", score=f"{row['score']:.4f}")
        if row["score"] > best:
            best, best_state = row["score"], {k: v.clone() for k, v in model.state_dict().items()}
        if len(curve) - 1 - int(np.argmax([r["score"] for r in curve])) >= PATIENCE:
            break
    bar.close()
    model.load_state_dict(best_state)
    return model.eval(), curve


def _judge(model: JointModel, corpus: Corpus) -> dict[str, float]:
    row, ranker = {}, JointRanker(model, corpus.events)
    for task in TASKS:
        targets = corpus.targets("validation", task).head(MAX_JUDGED)
        if len(targets):
            figures = full_ranking(ranker, corpus, targets)
            row |= {f"{task}/{metric}": value for metric, value in figures.items()}
    return row | {
        "score": float(np.mean([v for k, v in row.items() if k.endswith("ndcg@10")] or [0.0]))
    }
