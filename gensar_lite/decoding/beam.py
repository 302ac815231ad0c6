"""Constrained beam search: the best items of the whole catalogue, code by code.

In: a `Generator`, a `Trie` a view, events to answer. Out: item ids and log-probabilities, best first.
Scores: with the level head, the sum over levels of log softmax over that level's K codes; with the vocabulary
head, over all tokens, as Hugging Face's ``generate`` scores them. Neither is renormalised over valid children.
This file does not know which items were seen or bought.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gensar_lite.config import TrainingConfig
from gensar_lite.decoding.steps import Cache, advance, encode
from gensar_lite.decoding.trie import Trie
from gensar_lite.embeddings.precision import use_bf16
from gensar_lite.training import TASK_OF_EVENTS, Generator
from gensar_lite.training.model import output_rows
from gensar_lite.training.text import PAD


@dataclass(frozen=True)
class Decoder:
    """A trained generator with its tries: answers events, or scores given candidates."""

    generator: Generator
    tries: dict[str, Trie]
    settings: TrainingConfig
    precision: str = "fp32"

    @staticmethod
    def of(generator: Generator, settings: TrainingConfig, precision: str = "fp32") -> Decoder:
        ids = generator.identifiers
        tries = {view: Trie.build(ids.view(view), ids.codebook_size) for view in ("semantic", "collaborative")}
        return Decoder(generator, tries, settings, precision)

    @torch.no_grad()
    def search(self, task: str, rows: np.ndarray, num_beams: int) -> tuple[np.ndarray, np.ndarray]:
        """Item ids (B, n) and scores (B, n) for events `rows` of one task (recommend or search), n <= num_beams.

        No item is invalid and none stands twice; where fewer than `num_beams` items exist, n is their number.
        """
        with self._autocast():
            view, cache = self._start(task, rows)
            trie, batch = self.tries[view], len(rows)
            tokens = torch.full((batch, 1), self._given(task)[-1], device=self.device)
            nodes = np.zeros((batch, 1), dtype=np.int64)
            scores = torch.zeros(batch, 1, device=self.device)
            for level in range(trie.num_levels):
                logp = self._log_probabilities(advance(self.generator.model, cache, tokens), view, level)
                allowed = torch.from_numpy(trie.allowed(nodes, level)).to(self.device)  # (B, n, K)
                total = (scores[..., None] + logp).masked_fill(~allowed, -torch.inf).flatten(1)
                keep = min(num_beams, int(allowed.flatten(1).sum(dim=1).max()))
                scores, best = total.topk(keep, dim=1)  # (B, n)
                paths, codes = best // trie.codebook_size, best % trie.codebook_size
                parents = np.take_along_axis(nodes, paths.cpu().numpy(), axis=1)
                children = trie.step(parents, codes.cpu().numpy(), level)
                nodes = np.where(torch.isfinite(scores).cpu().numpy(), children, -1)
                cache.select(paths)
                tokens = codes + self.generator.layout.level_offset(view, level)
        return trie.items(nodes), scores.cpu().numpy()

    @torch.no_grad()
    def score_rows(self, task: str, rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Log-probabilities (B, C) of candidate items (B, C) for events `rows` of one task: exact, no beam."""
        with self._autocast():
            view, cache = self._start(task, rows)
            codes = torch.from_numpy(self.generator.identifiers.view(view)[candidates]).to(self.device)  # (B, C, L)
            tokens = torch.full((len(rows), 1), self._given(task)[-1], device=self.device)
            total = torch.zeros(candidates.shape, device=self.device)
            for level in range(codes.shape[-1]):
                logp = self._log_probabilities(advance(self.generator.model, cache, tokens), view, level)
                logp = logp.expand(-1, candidates.shape[1], -1)  # the first level has one path
                total += logp.gather(2, codes[..., level : level + 1]).squeeze(2)
                if level == 0:
                    cache.select(torch.zeros(candidates.shape, dtype=torch.long, device=self.device))
                tokens = codes[..., level] + self.generator.layout.level_offset(view, level)
        return total.cpu().numpy()

    def score_candidates(self, events, candidates: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """`score_rows` for target events (a slice of the event table, any tasks), in batches."""
        rows, tasks = events["event_id"].to_numpy(), events["task"].to_numpy()
        found = np.zeros(candidates.shape, dtype=np.float32)
        for task in np.unique(tasks):
            for part in self.batches(task, np.flatnonzero(tasks == task), rows, batch_size):
                found[part] = self.score_rows(task, rows[part], candidates[part])
        return found

    def batches(self, task: str, places: np.ndarray, rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
        """Positions `places` of `rows` in groups of similar source length."""
        lengths = self.generator.builder.lengths(TASK_OF_EVENTS[task], rows[places])
        order = places[np.argsort(-lengths, kind="stable")]
        return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]

    def _start(self, task: str, rows: np.ndarray) -> tuple[str, Cache]:
        task_of = TASK_OF_EVENTS[task]
        batch = self.generator.builder.batch(task_of, rows)
        model = self.generator.model
        source, mask = (torch.from_numpy(a).to(self.device) for a in (batch.source, batch.mask))
        cache = encode(model, source, mask)
        for token in self._given(task)[:-1]:  # one path
            advance(model, cache, torch.full((len(rows), 1), token, device=self.device))
        return task_of.view, cache

    @property
    def device(self) -> torch.device:
        return self.generator.model.device

    def _given(self, task: str) -> list[int]:
        """What the decoder reads before the first code: the start token, then what the task's targets begin with."""
        return [PAD, *self.generator.builder.forced(TASK_OF_EVENTS[task])]

    def _log_probabilities(self, hidden: torch.Tensor, view: str, level: int) -> torch.Tensor:
        """(B, n, d) -> (B, n, K) log-probabilities of a level's codes."""
        layout, model = self.generator.layout, self.generator.model
        offset = layout.level_offset(view, level)
        rows = slice(offset, offset + layout.codebook_size)
        if self.settings.head == "level":
            return output_rows(model, hidden, rows).float().log_softmax(dim=-1)
        return output_rows(model, hidden, slice(None)).float().log_softmax(dim=-1)[..., rows]

    def _autocast(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=use_bf16(self.precision))
