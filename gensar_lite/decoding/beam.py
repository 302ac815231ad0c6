"""Constrained beam search: the best items of the whole catalogue, or of a part of it, code by code.

In: a `Generator`, a `Trie` a view, events or sources to answer. Out: item ids and log-probabilities, best first, and
where the list is provably the exact one.
Scores: with the level head, the sum over levels of log softmax over that level's K codes; with the vocabulary
head, over all tokens, as Hugging Face's ``generate`` scores them. Neither is renormalised over allowed children,
unless `renormalise` says so. This file does not know which items were seen or bought.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from gensar_lite.config import TrainingConfig
from gensar_lite.decoding.exclusion import Pairs, Spent, forbid, spent_levels
from gensar_lite.decoding.layers import linear
from gensar_lite.decoding.paths import Found, Paths, keep_best
from gensar_lite.decoding.read import Stacks, advance, encode, prepare
from gensar_lite.decoding.trie import Trie
from gensar_lite.machine.precision import use_bf16
from gensar_lite.training import TASK_OF_EVENTS, Generator
from gensar_lite.training.backbones import output_rows

Watch = Callable[
    [Paths, torch.Tensor, torch.Tensor], None
]  # paths, continuations (B, n, K), the numbers kept (B, m)


@dataclass(frozen=True)
class Decoder:
    """A trained generator with its tries: answers events, or scores given candidates. `stacks`: see `prepared`."""

    generator: Generator
    tries: dict[str, Trie]
    settings: TrainingConfig
    precision: str = "fp32"
    renormalise: bool = False
    stacks: Stacks | None = None

    @staticmethod
    def of(
        generator: Generator,
        settings: TrainingConfig,
        precision: str = "fp32",
        renormalise: bool = False,
    ) -> Decoder:
        """The decoder of a generator, with a trie of the whole catalogue a view."""
        ids = generator.identifiers
        tries = {
            view: Trie.build(ids.view(view), ids.codebook_size)
            for view in ("semantic", "collaborative")
        }
        return Decoder(generator, tries, settings, precision, renormalise)

    def prepared(self) -> Decoder:
        """For a model that will not change any more: its weights are turned into the search's form once, not anew in
        every search: a sixth of a single query's time for t5-small in bf16."""
        dtype = torch.bfloat16 if use_bf16(self.precision) else torch.float32
        return dataclasses.replace(self, stacks=prepare(self.generator.model, dtype))

    def search(self, task: str, rows: np.ndarray, num_beams: int, **limits) -> Found:
        """`search_sources` for events `rows` (B,) of one task (recommend or search), each from its own history."""
        return self.search_sources(task, *self.sources(task, rows), num_beams, **limits)

    @torch.inference_mode()
    def search_sources(
        self,
        task: str,
        source: torch.Tensor,
        mask: torch.Tensor,
        num_beams: int,
        allowed: np.ndarray | None = None,
        exclude: Pairs | None = None,
        floor: np.ndarray | None = None,
        watch: Watch | None = None,
    ) -> Found:
        """The best items for sources (B, S) with `mask` (B, S) of real tokens; n is at most `num_beams`.

        No item is invalid and none stands twice. A query gets `num_beams` items, or all that may be found where there
        are fewer; n is the longest list's length.
        `allowed` narrows the catalogue: a mask (N,) over items, or item ids (B, C), each query's own candidates (-1:
        none). `exclude` are pairs of query number and item id that must not be found. `floor` (B,) drops what scores
        lower: a k-th best score that is known already. `watch` is shown every level before it is cut.

        What was cut bounds what is missing: log-probabilities only fall from a prefix to its items, so no item below
        a cut prefix scores higher than the prefix did.
        """
        with self.autocast():
            paths = self.begin(task, source, mask, allowed)
            low = torch.from_numpy(np.full(len(source), -np.inf) if floor is None else floor).to(
                paths.scores
            )
            bound, spent = low, self.spent(paths, exclude)
            while not paths.finished:
                total = self.continuations(paths)
                if spent is not None:
                    total = forbid(total, paths.nodes, spent[paths.level])
                if floor is not None:
                    total = total.masked_fill_(total < low[:, None, None], -torch.inf)
                scores, best, bound = keep_best(total, num_beams, bound)
                if watch is not None:
                    watch(paths, total, best)
                paths = self.follow(paths, best, scores)
        return Found(paths.trie.items(paths.nodes), paths.scores.cpu().numpy(), bound.cpu().numpy())

    def begin(
        self, task: str, source: torch.Tensor, mask: torch.Tensor, allowed: np.ndarray | None = None
    ) -> Paths:
        """Read the sources once, and what every target starts with, on one path a query."""
        view, batch = TASK_OF_EVENTS[task].view, len(source)
        trie = self.tries[view] if allowed is None else self._narrowed(view, allowed)
        cache, *given = encode(self.generator.model, source, mask, self.stacks), *self.given(task)
        for token in given[:-1]:
            advance(self.generator.model, cache, torch.full((batch, 1), token, device=self.device))
        tokens = torch.full((batch, 1), given[-1], device=self.device)
        return Paths(
            view,
            trie,
            cache,
            0,
            tokens,
            trie.roots(batch),
            torch.zeros(batch, 1, device=self.device),
        )

    def spent(self, paths: Paths, exclude: Pairs | None) -> list[Spent] | None:
        """A level, the continuations of a search at its start that lead to excluded items alone."""
        if exclude is None:
            return None
        return spent_levels(
            paths.trie, self.generator.identifiers.view(paths.view), len(paths.nodes), exclude
        )

    def continuations(self, paths: Paths) -> torch.Tensor:
        """Scores (B, n, K) of every path with one more code, -inf where the trie has no such child. Moves the cache."""
        logp = self._log_probabilities(
            advance(self.generator.model, paths.cache, paths.tokens), paths.view, paths.level
        )
        forbidden = ~torch.from_numpy(paths.trie.allowed(paths.nodes, paths.level)).to(
            self.device
        )  # (B, n, K)
        if self.renormalise:
            logp = logp.masked_fill(forbidden, -torch.inf).log_softmax(dim=-1)
        return (paths.scores[..., None] + logp).masked_fill_(forbidden, -torch.inf)

    def follow(self, paths: Paths, best: torch.Tensor, scores: torch.Tensor) -> Paths:
        """Go on with continuations `best` (B, m), numbered ``path * K + code``, which have those `scores` (B, m)."""
        size, level = paths.trie.codebook_size, paths.level
        old, codes = best // size, best % size
        children = paths.trie.step(
            np.take_along_axis(paths.nodes, old.cpu().numpy(), axis=1), codes.cpu().numpy(), level
        )
        nodes = np.where(torch.isfinite(scores).cpu().numpy(), children, -1)
        tokens = codes + self.generator.layout.level_offset(paths.view, level)
        if level + 1 < paths.trie.num_levels:  # a finished path is not read again
            paths.cache.select(old)
        return paths._replace(level=level + 1, tokens=tokens, nodes=nodes, scores=scores)

    @torch.inference_mode()
    def score_rows(self, task: str, rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Log-probabilities (B, C) of candidate items (B, C) for events `rows` of one task: exact, no beam."""
        return self.score_sources(task, *self.sources(task, rows), candidates)

    @torch.inference_mode()
    def score_sources(
        self, task: str, source: torch.Tensor, mask: torch.Tensor, candidates: np.ndarray
    ) -> np.ndarray:
        """`score_rows` for sources (B, S): every candidate's codes are given, each scored after those before it."""
        with self.autocast():
            paths = self.begin(task, source, mask)
            codes = self.generator.identifiers.view(paths.view)[candidates]  # (B, C, L)
            return self.walk(paths, codes).scores.cpu().numpy()

    def walk(self, paths: Paths, codes: np.ndarray) -> Paths:
        """Go from the root along given codes (B, C, l), one path each; a path that leaves the trie scores -inf."""
        given = torch.from_numpy(codes).to(self.device)
        first = (
            torch.arange(codes.shape[1], device=self.device) * paths.trie.codebook_size
        )  # of each path's numbers
        for level in range(codes.shape[2]):
            best = given[..., level] + (
                first if level else 0
            )  # at the first level there is one path
            paths = self.follow(paths, best, self.continuations(paths).flatten(1).gather(1, best))
        return paths

    def score_candidates(self, events, candidates: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """`score_rows` for target events (a slice of the event table, any tasks), in batches."""
        rows, tasks = events["event_id"].to_numpy(), events["task"].to_numpy()
        found = np.zeros(candidates.shape, dtype=np.float32)
        for task in np.unique(tasks):
            for part in self.batches(task, np.flatnonzero(tasks == task), rows, batch_size):
                found[part] = self.score_rows(task, rows[part], candidates[part])
        return found

    def batches(
        self, task: str, places: np.ndarray, rows: np.ndarray, batch_size: int
    ) -> list[np.ndarray]:
        """Positions `places` of `rows` in groups of similar source length."""
        lengths = self.generator.builder.lengths(TASK_OF_EVENTS[task], rows[places])
        order = places[np.argsort(-lengths, kind="stable")]
        return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]

    def sources(self, task: str, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """What the model reads for events `rows`: token ids (B, S) and their mask."""
        batch = self.generator.builder.batch(TASK_OF_EVENTS[task], rows)
        return torch.from_numpy(batch.source).to(self.device), torch.from_numpy(batch.mask).to(
            self.device
        )

    @property
    def device(self) -> torch.device:
        return self.generator.model.device

    def given(self, task: str) -> list[int]:
        """What the model reads before the first code: the start token, then what the task's targets begin with."""
        return self.generator.builder.given(TASK_OF_EVENTS[task])

    def _narrowed(self, view: str, allowed: np.ndarray) -> Trie:
        if allowed.ndim == 1:
            return self.tries[view].restrict(allowed)
        return Trie.of_candidates(
            self.generator.identifiers.view(view), self.tries[view].codebook_size, allowed
        )

    def _log_probabilities(self, hidden: torch.Tensor, view: str, level: int) -> torch.Tensor:
        """(B, n, d) -> (B, n, K) log-probabilities of a level's codes."""
        layout, model = self.generator.layout, self.generator.model
        offset = layout.level_offset(view, level)
        rows = slice(offset, offset + layout.codebook_size)
        own = output_rows(model, hidden, rows).float()
        if self.settings.head == "level":
            return own.log_softmax(dim=-1)
        whole = [  # over all tokens, in parts: a vocabulary a beam is much memory
            output_rows(model, part, slice(None), linear).float().logsumexp(dim=-1)
            for part in hidden.flatten(0, 1).split(128)
        ]
        return own - torch.cat(whole).view(*hidden.shape[:2], 1)

    def autocast(self):
        """The number format of products, as a context."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=use_bf16(self.precision)
        )
