"""What a search asks of a model of any kind: read a source once, then go on token by token.

In: a model, sources, tokens. Out: a cache, and hidden states for the next position of n paths. A T5
is read by steps.py, a decoder-only model here: the tokens of all paths are appended to the source's
keys, and each path's row of a mask says which it sees, so that nothing is copied per path.
"""

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from gensar_lite.decoding import steps
from gensar_lite.identifiers.tokens import BEHAVIOURS
from gensar_lite.training.backbones import forward, visible
from gensar_lite.training.backbones.tree import TreeModel
from gensar_lite.training.text import SPECIAL


class DecoderOnlyCache:
    """Keys and values of B requests and all their paths, and which of them each path sees.

    sees   (B, n, M) of M cached tokens
    place  (B, 1) position of the next token
    """

    def __init__(self, model: PreTrainedModel, mask: torch.Tensor):
        self.keys = DynamicCache(config=model.config)
        self.sees = mask.bool()[:, None]
        self.place = self.sees.sum(dim=-1)

    def select(self, paths: torch.Tensor) -> None:
        """Path i of request b goes on from the old path ``paths[b, i]``; `paths` (B, n)."""
        rows = torch.arange(len(paths), device=paths.device)[:, None]
        self.sees = self.sees[rows, paths]


class TreeCache:
    """Log-probabilities of every node of the tree for B requests, and where n paths stand.

    A tree reads nothing code by code: a path is a node, and what follows is known of all.
    """

    def __init__(self, model: TreeModel, source: torch.Tensor):
        self.model = model
        self.states, self.words, self.first = tree_inputs(model, source)
        self.level = -1  # before the behaviour token, which says what is written
        self.nodes = self.values = self.view = None

    def advance(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append tokens (B, n): log-probabilities (B, n, K) of the next level's codes, -inf where
        there is no such child."""
        model, size = self.model, self.model.config.codebook_size
        if self.level < 0:
            is_recommend = bool(tokens[0, 0] == model.config.recommend_token)
            task = "recommend" if is_recommend else "search"
            context = tree_context(model, self.states, self.words, self.first, task)
            self.view = model.views_of(task)[0]
            tree, nodes = model.branches[self.view], model.nodes()[self.view]
            self.values = model.head.node_log_probabilities(context, tree, nodes)
            self.nodes = torch.zeros_like(tokens)
        else:
            code = ((tokens - model.config.num_text - len(BEHAVIOURS)) % size).cpu().numpy()
            # -1 where there is no such child
            child = model.branches[self.view].trie.step(self.nodes.cpu().numpy(), code, self.level)
            self.nodes = torch.from_numpy(child).to(tokens.device)
        self.level += 1
        return self._children()

    def select(self, paths: torch.Tensor) -> None:
        """Path i of request b goes on from the old path ``paths[b, i]``; `paths` (B, n)."""
        self.nodes = self.nodes.expand(len(paths), -1).gather(1, paths)

    def _children(self) -> torch.Tensor:
        """(B, n, K) log-probabilities of the children of the paths' nodes."""
        trie, values = self.model.branches[self.view].trie, self.values[self.level]
        nodes = self.nodes.cpu().numpy()
        path, child = trie.children(nodes, self.level)
        table = values.new_full((nodes.size, trie.codebook_size), -torch.inf)
        code = trie.keys[self.level][child] % trie.codebook_size
        table[path, code] = values[path // nodes.shape[1], child]
        return table.view(*nodes.shape, -1)


def tree_inputs(
    model: TreeModel, source: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a tree reads of sources (B, S): states (B, d), words (E,), where each query's begin."""
    is_item = source >= model.config.first_item
    is_word = (source >= len(SPECIAL)) & (source < model.config.num_text)
    length = is_item.sum(dim=1).cpu().numpy()
    # items stand before words
    items = (source - model.config.first_item).masked_fill(~is_item, -1)
    items = items[:, : max(int(length.max(initial=0)), 1)]
    states = model.states(items, np.arange(len(source)), length - 1)
    count = is_word.sum(dim=1)
    return states, source[is_word], count.cumsum(0) - count


def tree_context(
    model: TreeModel, states: torch.Tensor, words: torch.Tensor, first: torch.Tensor, task: str
) -> torch.Tensor:
    """The context (B, width) that a task is answered from."""
    if task == "recommend":
        return model.recommending(states)
    return model.searching(states, words, first)


Cache = steps.Cache | DecoderOnlyCache | TreeCache


def encode(
    model: PreTrainedModel,
    source: torch.Tensor,
    mask: torch.Tensor,
    prepared: steps.Stacks | None = None,
) -> Cache:
    """Read sources (B, S), padded on the right, once; `mask` (B, S) says which tokens are real."""
    if isinstance(model, TreeModel):
        return TreeCache(model, source)
    if model.config.is_encoder_decoder:
        return steps.encode(model, source, mask, prepared)
    cache = DecoderOnlyCache(model, mask)
    sees = visible(mask)
    place = (sees.sum(dim=-1) - 1).clamp_min(0)
    forward(model, source, sees, place, past_key_values=cache.keys, use_cache=True)
    return cache


def advance(model: PreTrainedModel, cache: Cache, tokens: torch.Tensor) -> torch.Tensor:
    """Append tokens (B, n), one to each path; hidden states (B, n, d) for what follows. A tree has
    no states of paths, see `TreeCache.advance`."""
    if model.config.is_encoder_decoder:
        return steps.advance(model, cache, tokens)
    batch, count = tokens.shape
    # a path sees what it saw before and its own new token, not those of its neighbours
    itself = torch.eye(count, dtype=torch.bool, device=tokens.device).expand(batch, -1, -1)
    cache.sees = torch.cat([cache.sees.expand(-1, count, -1), itself], dim=-1)  # (B, n, M + n)
    place = cache.place.expand(-1, count)  # all paths are equally long
    kept = {"past_key_values": cache.keys, "use_cache": True}
    hidden = forward(model, tokens, cache.sees, place, **kept)
    cache.place = cache.place + 1
    return hidden
