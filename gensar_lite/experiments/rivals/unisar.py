"""One discriminative model of both tasks, without identifiers: a softmax over the catalogue.

Named after UniSAR (Shi et al., SIGIR 2024), which reads what users searched and bought in one model
and answers both tasks. Kept: one mixed history with behaviours, shared items and words, a head for
each task. Simplified: one causal transformer stands for its extraction of four kinds of
transitions, for its cross-attention and its experts; cross-entropy over the whole catalogue for its
sampled negatives and its contrastive losses. Added: the words of an item's text, which are words of
queries, too; and popularity as a bias.

In: histories of marked items (item_events.py), words. Out: scores of all items, a loss. The trunk
and the reading of queries are those of `TreeModel`, so that what is compared is the output layer.
This file does not know events, splits or optimisers.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from gensar_lite.embeddings.sasrec import Block
from gensar_lite.machine.dropout import ByteDropout
from gensar_lite.machine.softmax import weighted_cross_entropy
from gensar_lite.training import TASK_OF_EVENTS
from gensar_lite.training.backbones.branches import Spread
from gensar_lite.training.backbones.tree import QUERY_DROPOUT, TreeModel
from gensar_lite.training.sequences.behaviours import BEHAVIOURS
from gensar_lite.training.sequences.events import EventBuilder
from gensar_lite.training.sequences.questions import EventBatch


class Sizes(NamedTuple):
    """Width d, blocks, heads, items of a history, dropout, the first number that is a phrase."""

    width: int
    num_layers: int
    num_heads: int
    max_history: int
    dropout: float
    first_phrase: int


class UniSAR(nn.Module):
    """See the head of this file. One item table (N, d) is input and output: a free vector plus the
    words of the item's text."""

    # what a `TreeModel` reads, and how: it asks for the tables below by these names
    states = TreeModel.states
    recommending = TreeModel.recommending
    searching = TreeModel.searching

    def __init__(self, sizes: Sizes, texts: csr_matrix):
        """`texts` (N, num_text): weights of each item's words, see `word_weights`."""
        super().__init__()
        (num_items, num_text), d = texts.shape, sizes.width
        self.config, self.texts = sizes, Spread.of(texts)
        self.items = nn.Embedding(num_items, d)
        self.bias = nn.Parameter(torch.zeros(num_items))
        self.word_scale = nn.Parameter(torch.ones(()))
        self.behaviours = nn.Embedding(len(BEHAVIOURS), d)
        self.positions = nn.Embedding(sizes.max_history, d)
        self.blocks = nn.ModuleList(
            Block(d, sizes.num_heads, sizes.dropout) for _ in range(sizes.num_layers)
        )
        self.norm, self.drop = nn.LayerNorm(d), ByteDropout(sizes.dropout)
        self.nothing = nn.Parameter(torch.zeros(d))  # the state of an empty history
        self.words = nn.Embedding(num_text, d)
        self.drop_query = ByteDropout(QUERY_DROPOUT)
        self.of_history = nn.ModuleDict({task: nn.Linear(d, d) for task in TASK_OF_EVENTS})
        self.of_query = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.of_both = nn.Sequential(
            nn.Linear(2 * d, 4 * d), nn.GELU(), ByteDropout(QUERY_DROPOUT), nn.Linear(4 * d, d)
        )
        self._start(sizes.first_phrase)

    def _start(self, first_phrase: int) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        # as in a tree: words must tell items apart from the first step on, phrases learn to
        nn.init.normal_(self.words.weight[:first_phrase], std=0.1)

    def vectors(self) -> Tensor:
        """(N, d) what every item is, asked for or met."""
        return self.items.weight + self.word_scale * self.texts(self.words.weight)

    def item_table(self) -> Tensor:
        """(3 N, d) what an event is read as: ``item + N * behaviour``."""
        return (self.vectors() + self.behaviours.weight[:, None]).flatten(0, 1)

    def contexts(self, batch: EventBatch) -> Tensor:
        """(P, d) of all questions, recommendations first."""
        count = batch.num_recommend
        states = self.states(batch.items, batch.row, batch.place)  # (P, d)
        searches = self.searching(states[count:], batch.words, batch.first)
        return torch.cat([self.recommending(states[:count]), searches])

    def scores(self, contexts: Tensor) -> Tensor:
        """(B, N) logits of all items for contexts (B, d)."""
        return contexts @ self.vectors().T + self.bias

    def loss(self, batch: EventBatch) -> Tensor:
        """Mean cross-entropy over the catalogue of a batch's questions, by their weights."""
        contexts, weight = self.contexts(batch), batch.weight
        # the bias is one more column, beside a context that is 1 there
        contexts = F.pad(contexts, (0, 1), value=1.0)  # (P, d + 1)
        table = torch.cat([self.vectors(), self.bias[:, None]], dim=1)  # (N, d + 1)
        target = torch.from_numpy(batch.target)
        total = weighted_cross_entropy(contexts, table, target, weight)
        return total / weight.sum()


class UniSARRanker(NamedTuple):
    """A trained `UniSAR` as a `Scorer` of both tasks, from strictly earlier events alone."""

    model: UniSAR
    builder: EventBuilder

    @torch.no_grad()
    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        """(B, N) float32 of every item for B rows of the event table."""
        model = self.model.eval()
        table = np.empty((len(targets), self.builder.num_items), dtype=np.float32)
        for task, rows in targets.groupby("task")["event_id"].indices.items():
            events = targets["event_id"].to_numpy()[rows]
            batch = self.builder.batch(TASK_OF_EVENTS[task], events).to("cpu")
            table[rows] = model.scores(model.contexts(batch)).numpy()
        return table
