"""A decoder without a model: its log-probabilities are a function of (query, prefix), so all can be
enumerated."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from gensar_lite.artifacts import Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.decoding import Decoder
from gensar_lite.decoding.paths import Paths, Question
from gensar_lite.identifiers import TokenLayout


class Nothing:
    """A cache of a model that remembers nothing."""

    def select(self, paths) -> None:
        pass


class Scripted(Decoder):
    """`kind`: smooth (a softmax), ties (few values), holes (some codes are impossible)."""

    @staticmethod
    def of_codes(codes: np.ndarray, num_codes: int, seed: int, kind: str = "smooth") -> Scripted:
        ids = Identifiers(codes, codes, codes.shape[1], num_codes)
        model = SimpleNamespace(device=torch.device("cpu"))
        builder = SimpleNamespace(seed=seed, kind=kind, forced=lambda task: [1])
        layout = TokenLayout(10, codes.shape[1], codes.shape[1], num_codes)
        generator = SimpleNamespace(identifiers=ids, model=model, layout=layout, builder=builder)
        return Scripted.of(generator, TrainingConfig())

    @staticmethod
    def of(generator, settings, precision="fp32", renormalise=False) -> Scripted:
        made = Decoder.of(generator, settings, precision, renormalise)
        return Scripted(made.generator, made.tries, settings, precision, renormalise)

    def _read(self, question: Question) -> tuple[Nothing, torch.Tensor]:
        tokens = question.source[:, :1]  # a source's only token is the query's number
        self.generator.builder.queries = tokens[:, 0].tolist()
        return Nothing(), tokens

    def _log_probabilities(self, paths: Paths) -> torch.Tensor:
        rows = [
            [self.script(query, prefix_of(paths.trie, int(node), paths.level)) for node in nodes]
            for query, nodes in zip(self.generator.builder.queries, paths.nodes, strict=True)
        ]
        return torch.tensor(np.array(rows))

    def script(self, query: int, prefix: tuple[int, ...]) -> np.ndarray:
        """(K,) log-probabilities after a prefix."""
        builder, size = self.generator.builder, self.generator.layout.codebook_size
        rng = np.random.default_rng([builder.seed, query, len(prefix), *prefix])
        logits = 2 * rng.normal(size=size)
        if builder.kind == "ties":
            return -np.abs(np.round(logits)).astype(np.float32)
        logp = (logits - np.log(np.exp(logits).sum())).astype(np.float32)
        if builder.kind == "holes":
            logp[rng.random(size) < 0.3] = -np.inf
        return logp

    def enumerate(self, query: int) -> np.ndarray:
        """(N,) the score of every item."""
        codes = self.generator.identifiers.collaborative
        found = np.zeros(len(codes), dtype=np.float32)
        for item, sequence in enumerate(codes.tolist()):
            for level, code in enumerate(sequence):
                found[item] += self.script(query, tuple(sequence[:level]))[code]
        return found


def asked(num_queries: int, **limits) -> Question:
    """Queries 0, 1, ... of the scripted model."""
    mask = torch.ones(num_queries, 1, dtype=torch.bool)
    return Question("recommend", torch.arange(num_queries)[:, None], mask, **limits)


def prefix_of(trie, node: int, level: int) -> tuple[int, ...]:
    if node < 0:
        return (-1 % 2**31,) * level
    codes = []
    for keys in reversed(trie.keys[:level]):
        node, code = divmod(int(keys[node]), trie.codebook_size)
        codes.append(code)
    return tuple(reversed(codes))


def random_codes(num_items: int, num_codes: int, num_levels: int, seed: int) -> np.ndarray:
    """Distinct sequences in random order, at most `num_items`."""
    rng = np.random.default_rng(seed)
    codes = np.unique(rng.integers(num_codes, size=(num_items, num_levels)), axis=0)
    return codes[rng.permutation(len(codes))]
