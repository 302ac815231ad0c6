"""Constrained beam search: the best items of the whole catalogue, or of a part of it, code by code.

In: a `Generator`, a `Trie` per view, a question or events. Out: item ids and scores, best first,
and where the list is provably the exact one. A score is the sum over levels of log softmax over
that level's K codes; with the vocabulary head, over all tokens, as Hugging Face's ``generate`` has
it. Neither is renormalised over allowed children, unless `renormalise` says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from gensar_lite.config import TrainingConfig
from gensar_lite.decoding.bonus import Bonus
from gensar_lite.decoding.exclusion import forbid, spent_levels
from gensar_lite.decoding.paths import Paths, Question, Ranking, keep_best
from gensar_lite.decoding.read import Cache, advance, encode
from gensar_lite.decoding.steps import Stacks, linear, read_stacks
from gensar_lite.decoding.whole import answer_scores
from gensar_lite.identifiers.trie import Trie
from gensar_lite.machine.precision import use_bf16
from gensar_lite.training import TASK_OF_EVENTS, Generator
from gensar_lite.training.backbones import output_rows
from gensar_lite.training.backbones.tree import TreeModel
from gensar_lite.training.sequences.ragged import pad_and_mask
from gensar_lite.training.text import PAD

# is shown the paths, their continuations (B, n, K) and the numbers of those that are kept (B, m)
Watch = Callable[[Paths, torch.Tensor, torch.Tensor], None]
_SPLIT = 128  # positions whose whole vocabulary is held in memory at a time


@dataclass(frozen=True)
class Decoder:
    """A trained generator with a trie of the whole catalogue per view. It may be trained on between
    two searches where `stacks` is None, see `prepared`."""

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
        """Of a generator: its tries are built here."""
        ids = generator.identifiers
        views = ("semantic", "collaborative")
        tries = {view: Trie.build(ids.view(view), ids.codebook_size) for view in views}
        return Decoder(generator, tries, settings, precision, renormalise)

    def prepared(self) -> Decoder:
        """For a model that will not change any more: its weights are turned into the search's form
        once, not anew in every search: a sixth of a single query's time for t5-small in bf16."""
        model = self.generator.model
        if self.is_tree or not model.config.is_encoder_decoder:  # runs as it is
            return self
        dtype = torch.bfloat16 if use_bf16(self.precision) else torch.float32
        return dataclasses.replace(self, stacks=read_stacks(model, dtype))

    @property
    def device(self) -> torch.device:
        return self.generator.model.device

    @property
    def is_tree(self) -> bool:
        """Whether the model scores the whole catalogue at once, see whole.py."""
        return isinstance(self.generator.model, TreeModel)

    def autocast(self) -> torch.autocast:
        """The number format of products, as a context."""
        half = use_bf16(self.precision)
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half)

    def sources(self, task: str, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """What the model reads for events `rows` (B,): token ids (B, S) and their mask."""
        builder = self.generator.builder
        if self.is_tree:
            source, mask = pad_and_mask(builder.sources(TASK_OF_EVENTS[task], rows), PAD)
            return torch.from_numpy(source).to(self.device), torch.from_numpy(mask).to(self.device)
        batch = builder.batch(TASK_OF_EVENTS[task], rows)
        return tuple(torch.from_numpy(part).to(self.device) for part in (batch.source, batch.mask))

    def question(self, task: str, rows: np.ndarray, **limits) -> Question:
        """The `Question` of events `rows` (B,) of one task, each from its own history; `limits` are
        ``allowed``, ``exclude`` and ``bonus``."""
        return Question(task, *self.sources(task, rows), **limits)

    def search(self, task: str, rows: np.ndarray, num_beams: int, **limits) -> Ranking:
        """`answer` for events `rows` (B,) of one task."""
        return self.answer(self.question(task, rows, **limits), num_beams)

    @torch.inference_mode()
    def answer(
        self,
        question: Question,
        num_beams: int,
        floor: np.ndarray | None = None,
        watch: Watch | None = None,
    ) -> Ranking:
        """The best items of B requests, (B, n): `num_beams` each, or all that may be answered where
        there are fewer; n is the longest list's length.

        No item is invalid and none stands twice. `floor` (B,) drops what scores lower: a k-th best
        score that is known already. `watch` is shown every level before it is cut.

        What was cut bounds what is missing: log-probabilities only fall from a prefix to its items,
        so no item below a cut prefix scores higher than the prefix did.
        """
        with self.autocast():
            paths = self.begin(question)
            low = np.full(len(question.source), -np.inf) if floor is None else floor
            low = torch.from_numpy(low).to(paths.scores)  # (B,)
            bound = low
            while paths.level < paths.trie.num_levels:
                total = self.continuations(paths)  # (B, n, K)
                if floor is not None:
                    total = total.masked_fill_(total < low[:, None, None], -torch.inf)
                scores, best, bound = keep_best(total, num_beams, bound)
                if watch is not None:
                    watch(paths, total, best)
                paths = self.follow(paths, best, scores)
        items = paths.trie.items(paths.nodes)
        return Ranking(items, paths.scores.cpu().numpy(), bound.cpu().numpy())

    def begin(self, question: Question) -> Paths:
        """Read the sources once, and what every target starts with, on one path per request."""
        view = TASK_OF_EVENTS[question.task].view
        trie, codes = self.tries[view], self.generator.identifiers.view(view)
        allowed, batch, spent = question.allowed, len(question.source), None
        if allowed is not None and allowed.ndim == 1:
            trie = trie.restrict(allowed)
        elif allowed is not None:
            trie = Trie.of_candidates(codes, trie.codebook_size, allowed)
        if question.exclude is not None:
            spent = spent_levels(trie, codes, batch, question.exclude)
        cache, tokens = self._read(question)
        roots, bonus = trie.roots(batch), None
        scores = torch.zeros(batch, 1, device=self.device)
        if question.bonus is not None:
            bonus = Bonus(trie, question.bonus)
            scores += torch.from_numpy(bonus.of(roots, 0)).to(scores)
        return Paths(view, trie, cache, 0, tokens, roots, scores, spent, bonus)

    def _read(self, question: Question) -> tuple[Cache, torch.Tensor]:
        """A cache that has read the sources and what targets begin with, but for its last token
        (B, 1), which waits: `continuations` reads it."""
        model = self.generator.model
        cache = encode(model, question.source, question.mask, self.stacks)
        given = self.generator.builder.given(TASK_OF_EVENTS[question.task])
        *read, last = (question.source.new_full((len(question.source), 1), t) for t in given)
        for tokens in read:
            advance(model, cache, tokens)
        return cache, last

    def continuations(self, paths: Paths) -> torch.Tensor:
        """Scores (B, n, K) of every path with one more code, -inf where the trie has no such child
        or nothing is left below it. Moves the cache."""
        logp = self._log_probabilities(paths)
        allowed = paths.trie.allowed(paths.nodes, paths.level)  # (B, n, K)
        forbidden = ~torch.from_numpy(allowed).to(self.device)
        if self.renormalise:
            logp = logp.masked_fill(forbidden, -torch.inf).log_softmax(dim=-1)
        total = (paths.scores[..., None] + logp).masked_fill_(forbidden, -torch.inf)
        if paths.bonus is not None:
            total += torch.from_numpy(paths.bonus.steps(paths.nodes, paths.level)).to(total)
        return forbid(total, paths.nodes, paths.spent[paths.level]) if paths.spent else total

    def follow(self, paths: Paths, best: torch.Tensor, scores: torch.Tensor) -> Paths:
        """Go on with continuations `best` (B, m), numbered ``path * K + code``, of those `scores`
        (B, m)."""
        size, level = paths.trie.codebook_size, paths.level
        parents, codes = best // size, best % size
        nodes = np.take_along_axis(paths.nodes, parents.cpu().numpy(), axis=1)
        nodes = paths.trie.step(nodes, codes.cpu().numpy(), level)
        nodes = np.where(torch.isfinite(scores).cpu().numpy(), nodes, -1)
        tokens = codes + self.generator.layout.level_offset(paths.view, level)
        if level + 1 < paths.trie.num_levels:  # a finished path is not read again
            paths.cache.select(parents)
        return paths._replace(level=level + 1, tokens=tokens, nodes=nodes, scores=scores)

    def _log_probabilities(self, paths: Paths) -> torch.Tensor:
        """(B, n, K) log-probabilities of the next level's codes."""
        layout, model = self.generator.layout, self.generator.model
        if self.is_tree:
            return paths.cache.advance(paths.tokens).float()
        hidden = advance(model, paths.cache, paths.tokens)  # (B, n, d)
        offset = layout.level_offset(paths.view, paths.level)
        rows = slice(offset, offset + layout.codebook_size)
        logits = output_rows(model, hidden, rows).float()
        if self.settings.head != "vocabulary":
            return logits.log_softmax(dim=-1)
        # the vocabulary head divides by all tokens, in parts: a vocabulary per beam is much memory
        norms = [
            output_rows(model, part, slice(None), linear).float().logsumexp(dim=-1)
            for part in hidden.flatten(0, 1).split(_SPLIT)
        ]
        return logits - torch.cat(norms).view(*hidden.shape[:2], 1)

    @torch.inference_mode()
    def score(self, question: Question, candidates: np.ndarray) -> np.ndarray:
        """Log-probabilities (B, C) of candidate items (B, C), exact: no beam, their codes are
        given."""
        if self.is_tree:
            scores = answer_scores(self.generator.model, question)
            return scores.cpu().numpy()[np.arange(len(scores))[:, None], candidates]
        with self.autocast():
            paths = self.begin(question)
            codes = self.generator.identifiers.view(paths.view)[candidates]  # (B, C, L)
            return self.walk(paths, codes).scores.cpu().numpy()

    def walk(self, paths: Paths, codes: np.ndarray) -> Paths:
        """Go from the root along given codes (B, C, l), one path each; a path that leaves the trie
        scores -inf."""
        codes = torch.from_numpy(codes).to(self.device)
        numbers = torch.arange(codes.shape[1], device=self.device) * paths.trie.codebook_size
        for level in range(codes.shape[2]):
            # path c goes on with its own code; before the first level there is one path for all
            best = codes[..., level] + (numbers if level else 0)
            paths = self.follow(paths, best, self.continuations(paths).flatten(1).gather(1, best))
        return paths

    def score_rows(self, task: str, rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """`score` for events `rows` (B,) of one task."""
        return self.score(self.question(task, rows), candidates)

    def score_candidates(
        self, events: pd.DataFrame, candidates: np.ndarray, batch_size: int = 64
    ) -> np.ndarray:
        """`score_rows` for target events (rows of the event table, any tasks), in batches."""
        rows, tasks = events["event_id"].to_numpy(), events["task"].to_numpy()
        scores = np.zeros(candidates.shape, dtype=np.float32)
        for task in np.unique(tasks):
            for part in self.batches(task, np.flatnonzero(tasks == task), rows, batch_size):
                scores[part] = self.score_rows(task, rows[part], candidates[part])
        return scores

    def batches(
        self, task: str, places: np.ndarray, rows: np.ndarray, batch_size: int
    ) -> list[np.ndarray]:
        """Positions `places` of `rows` in groups of similar source length."""
        lengths = self.generator.builder.lengths(TASK_OF_EVENTS[task], rows[places])
        order = places[np.argsort(-lengths, kind="stable")]
        return [order[low : low + batch_size] for low in range(0, len(order), batch_size)]
