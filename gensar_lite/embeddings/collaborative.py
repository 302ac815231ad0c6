"""The collaborative view: SASRec trained on train events, or an SVD of their counts, both rankers.

In: a `Corpus`. Out: item vectors (N, d_col), the trained model, one row of figures per validation.
This file does not read item texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix, diags
from sklearn.decomposition import TruncatedSVD

from gensar_lite.artifacts import Corpus
from gensar_lite.config import EmbeddingsConfig
from gensar_lite.data import history_items, seen_items
from gensar_lite.embeddings.judge import FullRanking, Rules, enough_epochs, train_epochs
from gensar_lite.embeddings.sasrec import SASRec
from gensar_lite.embeddings.sequences import Sequences, train_sequences
from gensar_lite.machine.precision import use_bf16
from gensar_lite.machine.softmax import chunked_cross_entropy

_PADDED_TOGETHER = 64  # windows of like length that run as one table
SVD_TASK = "recommend"  # the events SVD learns from: a click after a query answers the query


@dataclass(frozen=True)
class SASRecRanker:
    """A trained SASRec that ranks the catalogue after any event's history."""

    model: SASRec
    events: pd.DataFrame

    @torch.no_grad()
    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        """(B, N) scores of every item for B target events, from their strictly earlier history."""
        self.model.eval()
        history = history_items(self.events, targets["event_id"].to_numpy(), self.model.max_length)
        # a history is padded on its left, the model reads (B, T) padded on the right
        padding = history < 0
        order = np.argsort(padding, axis=1, kind="stable")
        items = torch.from_numpy(np.take_along_axis(history, order, 1))
        last = torch.from_numpy(np.maximum((~padding).sum(axis=1) - 1, 0))  # (B,)
        hidden = self.model(items)[torch.arange(len(items)), last]  # (B, d)
        return self.model.scores(hidden).float().numpy()


def schedule(num_windows: int, settings: EmbeddingsConfig) -> tuple[int, int]:
    """Epochs to train, and epochs between validations: see `enough_epochs`."""
    steps = -(-num_windows // settings.batch_size)
    return enough_epochs(settings.max_epochs, settings.eval_every, steps, settings.min_steps)


def train_sasrec(
    corpus: Corpus, settings: EmbeddingsConfig, sequences: Sequences | None = None
) -> tuple[SASRec, list[dict]]:
    """Train SASRec with early stopping on the validation targets' full-ranking NDCG@10.

    `sequences` are the corpus's `train_sequences`, where they are at hand. Returns the best model
    and one row ``{epoch, seconds, loss, ndcg@10, recall@10}`` per validation. Raises
    `ArtifactError` when the loss is not finite.
    """
    torch.manual_seed(settings.seed)
    model = SASRec(corpus.num_items, settings)
    rates = {"lr": settings.lr, "weight_decay": settings.weight_decay, "betas": (0.9, 0.98)}
    optimiser = torch.optim.AdamW(model.parameters(), **rates, fused=True)
    sequences = sequences or train_sequences(corpus, settings.max_length)
    num_windows = len(sequences.inputs)
    epochs, eval_every = schedule(num_windows, settings)
    bf16 = use_bf16(settings.precision)

    def batch_losses(epoch: int) -> Iterator[torch.Tensor]:
        passed = (epoch - 1) / max(epochs - 1, 1)  # 0 in the first epoch, 1 in the last
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * (1 - passed * (1 - settings.lr_end))
        order = np.random.default_rng([settings.seed, epoch]).permutation(num_windows)
        for low in range(0, num_windows, settings.batch_size):
            rows = order[low : low + settings.batch_size]  # (B,)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                hidden, targets = _asked(model, sequences, rows)
                loss = LOSSES[settings.loss](model, hidden, targets)
            yield loss

    ranker = SASRecRanker(model, corpus.events)
    judge = FullRanking(corpus, corpus.targets("validation", "recommend"))
    rules = Rules("SASRec", "ndcg@10", epochs, settings.patience, "Lower embeddings.lr.")
    rules = rules._replace(eval_every=eval_every, max_minutes=settings.max_minutes)
    return model, train_epochs(model, optimiser, batch_losses, lambda: judge(ranker), rules)


def _asked(
    model: SASRec, sequences: Sequences, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states (P, d) where windows `rows` (B,) are asked something, and the answers (P,)."""
    # windows of like length run together, each table as wide as its longest: little padding
    length = (sequences.inputs[rows] >= 0).sum(axis=1)
    rows = rows[np.argsort(length, kind="stable")]
    hidden, targets = [], []
    for low in range(0, len(rows), _PADDED_TOGETHER):
        part = rows[low : low + _PADDED_TOGETHER]
        which, place, target = sequences.questions(part)
        inputs = sequences.inputs[part]
        longest = int((inputs >= 0).sum(axis=1).max())
        states = model(torch.from_numpy(inputs[:, :longest]))
        hidden.append(states[torch.from_numpy(which), torch.from_numpy(place)])
        targets.append(target)
    return torch.cat(hidden), torch.from_numpy(np.concatenate(targets))


def full_softmax(model: SASRec, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the whole catalogue for hidden states (P, d) and targets (P,)."""
    return chunked_cross_entropy(hidden, model.items.weight[: model.num_items], targets)


def one_negative(model: SASRec, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, one uniform negative per position: the SASRec paper's loss, eq. 7."""
    negatives = torch.randint_like(targets, model.num_items)
    positive = (hidden * model.items(targets)).sum(-1).float()
    negative = (hidden * model.items(negatives)).sum(-1).float()
    return F.softplus(-positive).mean() + F.softplus(negative).mean()


def pairwise(model: SASRec, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The target should beat one uniform negative: BPR (Rendle et al., UAI 2009, eq. 4)."""
    negatives = torch.randint_like(targets, model.num_items)
    margin = (hidden * (model.items(targets) - model.items(negatives))).sum(-1).float()
    return F.softplus(-margin).mean()


LOSSES = {"ce": full_softmax, "bce": one_negative, "bpr": pairwise}


def train_matrix(corpus: Corpus) -> csr_matrix:
    """(U, N) with 1 where a user met an item in a train recommendation."""
    pairs = corpus.targets("train", SVD_TASK)[["user_id", "item_id"]].drop_duplicates()
    shape = (corpus.num_users, corpus.num_items)
    return csr_matrix((np.ones(len(pairs)), (pairs["user_id"], pairs["item_id"])), shape=shape)


@dataclass(frozen=True)
class SVDRanker:
    """The strongest directions of who met what, whatever the order, and the ranker that they make.

    PureSVD (Cremonesi et al., RecSys 2010), popularity damped (EigenRec, Nikolakopoulos, 2019).
    """

    directions: np.ndarray  # (N, d)
    strength: np.ndarray  # (d,) singular values
    damping: np.ndarray  # (N,) square root of an item's number of users
    events: pd.DataFrame

    @staticmethod
    def fit(corpus: Corpus, settings: EmbeddingsConfig) -> SVDRanker:
        """Decompose the train matrix, each item's column divided by the root of its sum."""
        matrix = train_matrix(corpus)
        damping = np.sqrt(np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1.0))
        svd = TruncatedSVD(min(settings.dim, *matrix.shape), n_iter=10, random_state=settings.seed)
        svd.fit(matrix @ diags(1 / damping))
        return SVDRanker(svd.components_.T.copy(), svd.singular_values_, damping, corpus.events)

    @property
    def item_vectors(self) -> np.ndarray:
        """(N, d) rows whose products approximate how many users two items share, damped."""
        return (self.directions * self.strength).astype(np.float32)

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        """(B, N) scores of every item for B target events, from their strictly earlier history."""
        row, item = seen_items(self.events, targets["event_id"].to_numpy())
        met = csr_matrix((np.ones(len(row)), (row, item)), shape=(len(targets), len(self.damping)))
        met.data[:] = 1.0  # an item counts once, also beside its search twin
        projected = met @ (self.directions / self.damping[:, None])  # (B, d), damped as in `fit`
        return projected @ (self.directions * self.damping[:, None]).T  # unfolded and undamped
