"""The joint view: one space for items, queries and users, trained on both tasks at once.

In: a `Corpus`, text vectors of its items and queries. Out: item vectors (N, d), the trained model,
a row of figures per validation. After the bi-encoder of Penha et al. (arXiv 2508.10478), for a
laptop: small networks on frozen text vectors are trained, no text encoder. No text is read here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from gensar_lite.artifacts import TASKS, Corpus
from gensar_lite.config import EmbeddingsConfig
from gensar_lite.data import history_items
from gensar_lite.embeddings.judge import FullRanking, Rules, train_epochs

HISTORY = 10  # items of a user that are read, the latest ones
HIDDEN = 256  # width of an adapter's hidden layer
DROPOUT = 0.1  # inside the adapters
BATCH = 512  # examples per step, both tasks mixed; they are each other's negatives
LEARNING_RATE = 2e-3
PATIENCE = 3  # validations without a better mean NDCG@10 of both tasks
MAX_JUDGED = 1000  # validation targets per task, the first ones


class JointModel(nn.Module):
    """Unit vectors (d) of items, queries, and of users by their items.

    An item is its adapted text plus a free vector, which starts at zero and learns what no text
    says: an item without a train event stays where its text puts it.
    """

    def __init__(self, item_text: torch.Tensor, query_text: torch.Tensor, dim: int):
        super().__init__()
        self.register_buffer("item_text", item_text, persistent=False)  # (N, d_sem)
        self.register_buffer("query_text", query_text, persistent=False)  # (Q, d_sem)
        self.adapt_item = _adapter(item_text.shape[1], dim)
        self.adapt_query = _adapter(item_text.shape[1], dim)
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
        """(B, d) for histories (B, T): rows of `table` (M, d), oldest first, -1 for none."""
        # a user is a learned mix of the mean item and the last one
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
    """Train events: a history (E, T) or a query (E,), -1 where there is none, and its item (E,)."""

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
    """InfoNCE: cross-entropy of anchors (B, d) over items (M, d), of which `goal` (B,) is right.

    All others are negatives. A popular item is a negative more often than a rare one, so the
    logarithm of an item's share (M,) is taken off its score (Yi et al., RecSys 2019).
    """
    return F.cross_entropy(anchors @ items.T / temperature - log_share, goal)


def batch_loss(
    model: JointModel, part: Examples, log_share: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The loss of both tasks in one batch of B examples; `log_share` (N,) is of the catalogue."""
    size = len(part.item)
    # 1. each item that the batch holds, as a target or in a history, is encoded once
    real = part.history >= 0  # (B, T)
    ids, place = torch.unique(torch.cat([part.item, part.history[real]]), return_inverse=True)
    table = model.items(ids)  # (M, d)
    target = place[:size]  # (B,) rows of the table
    history = torch.full_like(part.history, -1)
    history[real] = place[size:]  # (B, T) rows of the table
    # 2. anchors, searches first: a query in one task, a user in the other
    search = part.query >= 0  # (B,)
    users = model.users(history[~search], table)
    anchors = torch.cat([model.queries(part.query[search]), users])  # (B, d)
    # 3. only targets compete, those of both tasks together; items of histories are merely read
    rivals, goal = torch.unique(torch.cat([target[search], target[~search]]), return_inverse=True)
    return contrastive(anchors, table[rivals], goal, log_share[ids[rivals]], temperature)


@dataclass(frozen=True)
class JointRanker:
    """A trained `JointModel` that ranks the catalogue for events of either task."""

    model: JointModel
    events: pd.DataFrame

    @torch.no_grad()
    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        """(B, N) cosines of every item with a search's query, with a recommendation's history."""
        model = self.model.eval()
        table = model.item_vectors()
        history = history_items(self.events, targets["event_id"].to_numpy(), HISTORY)
        anchors = model.users(torch.from_numpy(history), table)
        query = torch.tensor(targets["query_id"].to_numpy())
        anchors[query >= 0] = model.queries(query[query >= 0])
        return (anchors @ table.T).numpy()


def train_joint(
    corpus: Corpus, item_text: np.ndarray, query_text: np.ndarray, settings: EmbeddingsConfig
) -> tuple[JointModel, list[dict]]:
    """Train on train events; early stopping on the mean validation NDCG@10 of both tasks.

    Returns the best model and a row ``{epoch, loss, <task>/ndcg@10, <task>/recall@10, score}`` per
    epoch. Raises `ArtifactError` when the loss is not finite.
    """
    torch.manual_seed(settings.seed)
    model = JointModel(torch.tensor(item_text), torch.tensor(query_text), settings.joint_dim)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    examples = joint_examples(corpus.events)
    # counts stand for shares: a constant factor, being added to all scores, changes no softmax
    log_share = torch.bincount(examples.item, minlength=corpus.num_items).add(1.0).log()
    targets = {task: corpus.targets("validation", task).head(MAX_JUDGED) for task in TASKS}
    judges = {task: FullRanking(corpus, rows) for task, rows in targets.items() if len(rows)}

    def batch_losses(epoch: int) -> Iterator[torch.Tensor]:
        rng = np.random.default_rng([settings.seed, epoch])
        for rows in torch.from_numpy(rng.permutation(len(examples.item))).split(BATCH):
            part = Examples(*(x[rows] for x in examples))
            yield batch_loss(model, part, log_share, settings.joint_temperature)

    def validate() -> dict[str, float]:
        row = {}
        for task, judge in judges.items():
            figures = judge(JointRanker(model, corpus.events))
            row |= {f"{task}/{metric}": value for metric, value in figures.items()}
        return row | {"score": float(np.mean([row[f"{task}/ndcg@10"] for task in judges] or 0.0))}

    advice = "Raise embeddings.joint_temperature."
    rules = Rules("the joint view", "score", settings.joint_epochs, PATIENCE, advice)
    curve = train_epochs(model, optimiser, batch_losses, validate, rules)
    # without its times a view from the same seed is the same file
    return model, [{k: v for k, v in row.items() if k != "seconds"} for row in curve]
