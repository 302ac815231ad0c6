"""``dense-tuned``: the text encoder's search, fitted to train searches at a laptop's price.

A fine-tuned bi-encoder without the fine-tuning of an encoder: each tower adds what a small network
makes of a frozen text vector, and nothing before the first step (a residual adapter, Houlsby et
al., ICML 2019, on the output instead of inside). In-batch InfoNCE, corrected for popularity, as in
`embeddings.joint`, whose adapters project and know users; these stay in the encoder's space and
know text alone.

In: a corpus, text vectors of its items and queries. Out: a `Dense` of tuned vectors, its
temperature chosen on validation searches. This file does not know which encoder it is.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.embeddings.joint import contrastive
from gensar_lite.embeddings.judge import FullRanking, Rules, train_epochs
from gensar_lite.evaluation.dense import Dense
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.evaluation.tuning import MAX_TARGETS, Tuned, best_of

TEMPERATURES = (0.1, 0.05, 0.2)  # the grid: cosines are divided by it in the loss
HIDDEN = 256  # width of an adapter's hidden layer
DROPOUT = 0.1  # inside the adapters
BATCH = 512  # searches per step; their items are each other's negatives
LEARNING_RATE = 1e-3
EPOCHS, MIN_STEPS = 10, 400  # at most; a small log is read more often
PATIENCE = 3  # validations without a better NDCG@10


class Towers(nn.Module):
    """Unit vectors (d_sem) of items and queries: frozen text vectors and what is learned of them.

    A vector of zeros (``lsa``: no known word) stays one.
    """

    def __init__(self, width: int):
        super().__init__()
        self.of_item, self.of_query = _adapter(width), _adapter(width)

    def items(self, text: Tensor) -> Tensor:
        """(B, d_sem) for text vectors (B, d_sem) of items."""
        return _unit(text, self.of_item)

    def queries(self, text: Tensor) -> Tensor:
        """(B, d_sem) for text vectors (B, d_sem) of queries."""
        return _unit(text, self.of_query)


def _adapter(width: int) -> nn.Module:
    last = nn.Linear(HIDDEN, width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), last)


def _unit(text: Tensor, adapter: nn.Module) -> Tensor:
    return F.normalize(text + adapter(text), dim=-1) * text.any(dim=-1, keepdim=True)


def fit_towers(corpus: Corpus, items: np.ndarray, queries: np.ndarray, seed: int = 0) -> Tuned:
    """The best of `TEMPERATURES`; `items` (N, d_sem) and `queries` (Q, d_sem) are text vectors.

    Raises `ArtifactError` where the log has no train search.
    """
    texts = torch.tensor(items), torch.tensor(queries)

    def choices() -> Iterator[tuple[dict[str, float], Dense]]:
        for temperature in TEMPERATURES:
            model = train_towers(corpus, *texts, temperature, seed)
            yield {"temperature": temperature}, tuned_vectors(model, *texts)

    return best_of(corpus, "search", choices(), seed)


@torch.no_grad()
def tuned_vectors(model: Towers, items: Tensor, queries: Tensor) -> Dense:
    """The scorer that two towers make of text vectors (N, d_sem) and (Q, d_sem)."""
    model.eval()
    vectors = model.items(items).numpy(), model.queries(queries).numpy()
    return Dense(*vectors, np.arange(len(queries)))


def train_towers(
    corpus: Corpus, items: Tensor, queries: Tensor, temperature: float, seed: int
) -> Towers:
    """Towers after their best epoch by NDCG@10 on at most `MAX_TARGETS` validation searches."""
    torch.manual_seed(seed)
    model = Towers(items.shape[1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    train = corpus.targets("train", "search")
    if train.empty:
        raise ArtifactError(
            "rivals: the log has no train search, so dense-tuned has nothing to learn. Use a log "
            "with searches, or leave this rival out."
        )
    query, item = (torch.tensor(train[name].to_numpy()) for name in ("query_id", "item_id"))
    # counts stand for shares: a constant factor changes no softmax
    log_share = torch.bincount(item, minlength=corpus.num_items).add(1.0).log()  # (N,)

    def batch_losses(epoch: int) -> Iterator[Tensor]:
        rng = np.random.default_rng([seed, epoch])
        for rows in torch.from_numpy(rng.permutation(len(item))).split(BATCH):
            # an item that several searches ask for competes once
            rivals, goal = torch.unique(item[rows], return_inverse=True)
            anchors, answers = model.queries(queries[query[rows]]), model.items(items[rivals])
            yield contrastive(anchors, answers, goal, log_share[rivals], temperature)

    targets = sample_targets(corpus.targets("validation", "search"), MAX_TARGETS, seed)
    judge, calls = FullRanking(corpus, targets, batch=256), itertools.count(1)

    def validate() -> dict[str, float]:
        if targets.empty:  # nothing tells epochs apart: the last one is the best
            return {"ndcg@10": float(next(calls))}
        return judge(tuned_vectors(model, items, queries))

    epochs = max(EPOCHS, -(-MIN_STEPS // -(-len(item) // BATCH)))
    rules = Rules("dense-tuned", "ndcg@10", epochs, PATIENCE, "Raise TEMPERATURES of towers.py.")
    train_epochs(model, optimiser, batch_losses, validate, rules)
    return model
