"""A tree backbone: one position per event, and the tree of identifiers as its output layer.

A causal transformer reads a user's items, one position each; a query is the sum of its words. Both
make a context, and identifiers are written code by code: at a node of the tree, the next code is a
softmax over the node's children, each of which has a vector of its own. A node's vector is the sum
of what its codes share with other nodes, what is its own, and the words of the items below it: so a
new query meets the right branch by its words. (A position per event and a small decoder over codes:
MARIUS, arXiv 2508.14910; item text in the output of a generative retriever: LIGER, 2411.18814.)

In: item ids, words. Out: contexts, log-probabilities of items. Every item is scored by one product,
so that exact lists need no beam. This file does not know events, splits or losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from gensar_lite.artifacts import VIEWS, Identifiers
from gensar_lite.embeddings.sasrec import Block
from gensar_lite.machine.dropout import ByteDropout
from gensar_lite.training.backbones import tree_head, tree_whole
from gensar_lite.training.backbones.branches import Branches, branches
from gensar_lite.training.backbones.tree_head import Nodes
from gensar_lite.training.sequences.behaviours import BEHAVIOURS
from gensar_lite.training.sequences.tasks import answering_views

# what a code competes with: its siblings, or, as a part of whole identifiers, all others
HEADS = {"level": tree_head, "catalogue": tree_whole}
# width of contexts and nodes, width of an event, blocks, heads
TREE_SIZES = {
    "tree-micro": (96, 48, 1, 1),
    "tree-mini": (192, 64, 1, 1),
    "tree-small": (384, 128, 2, 2),
}
TOGETHER = 64  # histories of like length that are read as one table
QUERY_DROPOUT = 0.2  # of queries: they are short


class TreeConfig(PreTrainedConfig):
    """Sizes. `hidden_size` is the width of contexts, `nodes` (views, L) how many nodes each level
    of each tree has, `num_pairs` the words of all items together. `head`: see `HEADS`; with
    `item_vectors` what an item is as an event is a part of what it is as an answer."""

    model_type = "gensar-tree"

    def __init__(
        self,
        hidden_size: int = 8,
        event_size: int = 8,
        num_layers: int = 1,
        num_heads: int = 1,
        dropout: float = 0.0,
        max_history: int = 1,
        num_items: int = 1,
        num_text: int = 1,
        num_pairs: int = 0,
        codebook_size: int = 1,
        nodes: Sequence[Sequence[int]] = (),
        first_item: int = 1,
        first_phrase: int = 1,
        recommend_token: int = 0,
        views: str = "own",
        head: str = "level",
        item_vectors: bool = False,
        behaviours: bool = False,
        **kwargs,
    ):
        sizes = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        for name, value in sizes.items():
            setattr(self, name, value)
        super().__init__(**kwargs)


class TreeModel(PreTrainedModel):
    """See the head of this file. Buffers hold the catalogue: codes (V, N, L) of V views, train
    counts (N,), and the weighted words of every item, which make the nodes' words."""

    config_class = TreeConfig

    def __init__(self, config: TreeConfig):
        super().__init__(config)
        d, width, n = config.event_size, config.hidden_size, config.num_items
        self.num_levels = num_levels = len(config.nodes[0])
        self.register_buffer(
            "codes", torch.zeros(len(config.nodes), n, num_levels, dtype=torch.long)
        )
        self.register_buffer("counts", torch.zeros(n))
        self.register_buffer("text_edges", torch.zeros(n + 1, dtype=torch.long))
        self.register_buffer("text_words", torch.zeros(config.num_pairs, dtype=torch.long))
        self.register_buffer("text_weights", torch.zeros(config.num_pairs))
        # what an event is: its item's codes of each view and level, and its own row
        self.item_codes = nn.ModuleList(
            nn.Embedding(config.codebook_size, d) for _ in range(len(config.nodes) * num_levels)
        )
        self.items = nn.Embedding(n, d)
        # what was done with an item, beside it; none in trees of earlier versions
        self.behaviours = nn.Embedding(len(BEHAVIOURS), d) if config.behaviours else None
        self.positions = nn.Embedding(config.max_history, d)
        self.blocks = nn.ModuleList(
            Block(d, config.num_heads, config.dropout) for _ in range(config.num_layers)
        )
        self.norm, self.drop = nn.LayerNorm(d), ByteDropout(config.dropout)
        self.nothing = nn.Parameter(torch.zeros(d))  # the state of an empty history
        self.words = nn.Embedding(config.num_text, width)
        self.drop_query = ByteDropout(QUERY_DROPOUT)
        self.of_history = nn.ModuleDict(
            {task: nn.Linear(d, width) for task in ("recommend", "search")}
        )
        self.of_query = _two_layers(width, 2 * width, width, 0.0)
        self.of_both = _two_layers(width + d, 4 * width, width, QUERY_DROPOUT)
        self.heads = nn.ModuleList(
            TreeTables(sizes, config.codebook_size, width) for sizes in config.nodes
        )
        # the first columns of both are the same at the start
        self.of_items = nn.ModuleList(
            nn.Linear(d, width, bias=False) for _ in (config.nodes if config.item_vectors else ())
        )
        self._branches: list[Branches] | None = None
        self._nodes: list[Nodes] | None = None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Linear) and module in list(getattr(self, "of_items", ())):
            nn.init.eye_(module.weight)
        if module is getattr(self, "words", None):
            # words stand in both factors of a score: smaller ones would take epochs to tell apart;
            # phrases stay small, or what is not learned yet would drown the words
            nn.init.normal_(module.weight[: self.config.first_phrase], std=0.1)

    @torch.no_grad()
    def learn_catalogue(
        self, identifiers: Identifiers, texts: csr_matrix, counts: np.ndarray
    ) -> TreeModel:
        """Write the catalogue into the buffers: codes, words (N, num_text), train counts (N,)."""
        views = views_of(identifiers)
        self.codes.copy_(torch.from_numpy(np.stack([identifiers.view(view) for view in views])))
        self.counts.copy_(torch.from_numpy(counts))
        self.text_edges.copy_(torch.from_numpy(texts.indptr.astype(np.int64)))
        self.text_words.copy_(torch.from_numpy(texts.indices.astype(np.int64)))
        self.text_weights.copy_(torch.from_numpy(texts.data))
        self._branches = None
        return self

    @property
    def head(self) -> ModuleType:
        """The functions that make probabilities of nodes' vectors: one of `HEADS`."""
        return HEADS[self.config.head]

    @property
    def branches(self) -> list[Branches]:
        """The tree of each view, from the buffers: made once."""
        if self._branches is None:
            parts = (self.text_weights, self.text_words, self.text_edges)
            shape = (self.config.num_items, self.config.num_text)
            texts = csr_matrix(tuple(part.cpu().numpy() for part in parts), shape)
            size, counts = self.config.codebook_size, self.counts.cpu().numpy().astype(np.float64)
            self._branches = [
                branches(codes, size, texts, counts) for codes in self.codes.cpu().numpy()
            ]
        return self._branches

    def train(self, mode: bool = True) -> TreeModel:
        """As of a module; weights may have changed when it is called."""
        self._nodes = None
        return super().train(mode)

    def nodes(self) -> list[Nodes]:
        """The nodes' vectors and biases of each view's tree; made once while nothing is learned."""
        if self.training or torch.is_grad_enabled():
            return self._new_nodes()
        if self._nodes is None:
            self._nodes = self._new_nodes()
        return self._nodes

    def _new_nodes(self) -> list[Nodes]:
        pairs = zip(self.heads, self.branches, strict=True)
        made = [head(tree, self.words.weight) for head, tree in pairs]
        for of_items, tree, (vectors, _) in zip(self.of_items, self.branches, made, strict=False):
            known = of_items(self.items.weight)  # (N, width)
            for level, below in enumerate(tree.items):
                vectors[level] = vectors[level] + below(known)
        return made

    def item_table(self) -> Tensor:
        """(N, d) what an event on each item is read as; with behaviours (3 N, d), a row per marked
        item."""
        tables = iter(self.item_codes)
        columns = self.codes.permute(0, 2, 1).flatten(0, 1)  # (V * L, N)
        table = sum((next(tables)(column) for column in columns), self.items.weight)
        if self.behaviours is None:
            return table
        return (table + self.behaviours.weight[:, None]).flatten(0, 1)

    def states(self, items: Tensor, row: np.ndarray, place: np.ndarray) -> Tensor:
        """States (P, d) after event ``place[p]`` of history ``items[row[p]]``; -1: before all.

        items (B, T) item ids (marked ones, see `item_table`), oldest first, -1 after the last one.
        """
        lengths = (items >= 0).sum(dim=1).cpu().numpy()
        order = np.argsort(lengths, kind="stable")
        table, parts = self.item_table(), []
        start = np.zeros(len(items), dtype=np.int64)  # where each history's states begin
        size = 0
        for low in range(0, len(order), TOGETHER):
            rows = order[low : low + TOGETHER]
            width = max(int(lengths[rows].max()), 1)
            part = items[torch.from_numpy(rows).to(items.device), :width].clamp_min(0)
            x = self.drop(F.embedding(part, table) + self.positions.weight[:width])
            for block in self.blocks:
                x = block(x)
            parts.append(self.norm(x).flatten(0, 1))
            start[rows] = size + width * np.arange(len(rows))
            size += width * len(rows)
        states = torch.cat([*parts, self.nothing[None]])
        at = np.where(place >= 0, start[row] + place, size)
        return states[torch.from_numpy(at).to(states.device)]

    def recommending(self, states: Tensor) -> Tensor:
        """Contexts (P, width) of states (P, d) alone."""
        return self.of_history["recommend"](states)

    def searching(self, states: Tensor, words: Tensor, first: Tensor) -> Tensor:
        """Contexts (P, width) of states (P, d) and queries: `words` (E,), of which those from
        ``first[p]`` (P,) on are query p's."""
        # long queries are no louder than short ones; a phrase counts in full
        is_word = words < self.config.first_phrase
        before = F.pad(is_word.cumsum(0), (1, 0))  # (E + 1,) words before each place
        end = torch.cat([first[1:], first.new_tensor([len(words)])])
        count = (before[end] - before[first]).clamp_min(1).repeat_interleave(end - first)
        scale = torch.where(is_word, count.to(self.words.weight.dtype).rsqrt(), 1.0)
        query = self.drop_query(
            F.embedding_bag(words, self.words.weight, first, per_sample_weights=scale, mode="sum")
        )
        # words meet the words of nodes as they are; the rest is learned beside it
        mixed = self.of_both(torch.cat([query, states.to(query.dtype)], dim=1))
        return query + self.of_query(query) + self.of_history["search"](states) + mixed

    def views_of(self, task: str) -> list[int]:
        """The trees whose identifiers a task is answered with: its own first."""
        return answering_views(task, self.config.views, len(self.heads))

    def item_scores(self, context: Tensor, task: str) -> Tensor:
        """(B, N) log-probabilities of all items for contexts (B, width): of the task's identifier,
        or of the even mixture of both."""
        parts = [self.view_scores(context, view) for view in self.views_of(task)]
        return torch.logsumexp(torch.stack(parts), dim=0) - float(np.log(len(parts)))

    def view_scores(self, context: Tensor, view: int) -> Tensor:
        """(B, N) log-probabilities of all items by the identifier of one view."""
        return self.head.item_log_probabilities(context, self.branches[view], self.nodes()[view])


class TreeTables(nn.Module):
    """What is learned of one tree: vectors of nodes, of codes, biases, how much words count."""

    def __init__(self, sizes: Sequence[int], codebook_size: int, width: int):
        super().__init__()
        levels = range(len(sizes))
        self.free = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        # a code's share in the nodes of each level below it
        self.shared = nn.ModuleList(
            nn.Embedding((level + 1) * codebook_size, width) for level in levels
        )
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)
        self.word_scale = nn.Parameter(torch.ones(len(sizes)))

    def forward(self, tree: Branches, words: Tensor) -> Nodes:
        """Vectors and biases of all nodes, with the word vectors (W, width)."""
        parts = zip(self.free, self.shared, tree.codes, tree.words, self.word_scale, strict=True)
        vectors = [
            free.weight + codes(shared.weight) + scale * bags(words)
            for free, shared, codes, bags, scale in parts
        ]
        return Nodes(vectors, list(self.bias))


def views_of(identifiers: Identifiers) -> list[str]:
    """The views that are identifiers of their own: one where both are the same."""
    one = identifiers.num_shared == identifiers.num_levels
    return list(VIEWS[:1] if one else VIEWS)


def _two_layers(size: int, inner: int, out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(size, inner), nn.GELU(), ByteDropout(dropout), nn.Linear(inner, out)
    )
