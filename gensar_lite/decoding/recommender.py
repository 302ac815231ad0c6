"""A trained run as a running shop would use it: ask with a history or a query, get items with their titles.

In: the folder of a run, or a `Generator`; item ids and texts that need not stand in its corpus. Out: `Answer` records,
best first. Nothing is written, and several threads may ask at once. This file does not know where requests come from.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gensar_lite.artifacts import open_run
from gensar_lite.config import ConfigError, DecodingConfig
from gensar_lite.data.text import plain
from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.exact import search_as_set
from gensar_lite.decoding.paths import Found
from gensar_lite.training import TASK_OF_EVENTS, Generator, load_generator
from gensar_lite.training.adhoc import Event, adhoc_sources
from gensar_lite.training.ragged import Ragged, pad_and_mask
from gensar_lite.training.text import PAD

WIDTHS = 10  # beams are asked for in multiples of it, so that requests of nearly equal width share a batch


class Answer(NamedTuple):
    """One ranked item: `score` is its log-probability (natural log), `identifier` its codes in the task's view."""

    item_id: int
    title: str
    category: str
    score: float
    identifier: tuple[int, ...]


@dataclass(frozen=True)
class Recommender:
    """Answers requests of both tasks over the whole catalogue.

    A history is what a user did so far, in time order: item ids for purchases, or `Event` records, where a search is
    an item with the text of its query. No history is a cold start: the model then knows only which task it is asked.
    """

    decoder: Decoder
    settings: DecodingConfig
    _tokenising: threading.Lock = field(default_factory=threading.Lock, repr=False)  # tokenizers keep state in a call

    @staticmethod
    def load(folder: Path | str) -> Recommender:
        """The recommender of ``artifacts/<run>``, with the settings it was built with.

        Raises `ArtifactError` when a stage is missing, stale or damaged; the message names the command to run.
        """
        ws = open_run(folder)
        for stage in ("data", "identifiers", "training"):  # the first one that is missing is the one to build
            ws.require(stage)
        made = Recommender.of(load_generator(ws), ws.config.decoding)
        return replace(made, decoder=made.decoder.prepared())

    @staticmethod
    def of(generator: Generator, settings: DecodingConfig | None = None) -> Recommender:
        """A recommender from a generator in memory, whose model is put into evaluation mode: no dropout."""
        settings = settings or DecodingConfig()
        generator.model.eval()
        return Recommender(
            Decoder.of(generator, generator.builder.settings, settings.precision, settings.renormalise), settings
        )

    def recommend(
        self, history: Sequence = (), k: int = 10, *, exclude_seen: bool = True, allowed: np.ndarray | None = None
    ) -> list[Answer]:
        """The `k` likeliest next items after a history; fewer where the catalogue has not as many to give.

        exclude_seen  leave out every item of the history, also of the part that is too old to be read
        allowed       (N,) boolean: only these items may be answered (see `items_in`)

        Raises `ConfigError` for an item that does not exist, a blank query in the history, or k < 1.
        """
        return self.recommend_many([history], k, exclude_seen=exclude_seen, allowed=allowed)[0]

    def search(
        self,
        query: str,
        history: Sequence = (),
        k: int = 10,
        *,
        exclude_seen: bool = False,
        allowed: np.ndarray | None = None,
    ) -> list[Answer]:
        """The `k` likeliest items for a query of a user with this history; otherwise as `recommend`.

        Control characters of a query are dropped, what is longer than 512 characters or `training.max_query_tokens`
        is cut, and words that were never seen are spelled in smaller pieces. Raises `ConfigError` for a blank query.
        """
        return self.search_many([query], [history], k, exclude_seen=exclude_seen, allowed=allowed)[0]

    def recommend_many(
        self,
        histories: Sequence[Sequence],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allowed: np.ndarray | None = None,
    ) -> list[list[Answer]]:
        """`recommend` for many histories at once, in `settings.batch_size` at a time."""
        return self._answer("recommend", histories, [], k, exclude_seen, allowed)

    def search_many(
        self,
        queries: Sequence[str],
        histories: Sequence[Sequence] | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        allowed: np.ndarray | None = None,
    ) -> list[list[Answer]]:
        """`search` for many queries at once, each with its own history (default: none)."""
        histories = [()] * len(queries) if histories is None else histories
        if isinstance(queries, str) or len(histories) != len(queries):
            raise ConfigError(f"search: {len(queries)} queries need as many histories, got {len(histories)}.")
        return self._answer("search", histories, [_typed(query) for query in queries], k, exclude_seen, allowed)

    def history_of(self, user: int) -> list[Event]:
        """Everything a user of the corpus did, in time order. Raises `ConfigError` for a user that does not exist."""
        corpus = self.decoder.generator.corpus
        if not (_whole(user) and 0 <= user < corpus.num_users):
            raise ConfigError(f"user: there is no {user!r}. Users of this run are 0 to {corpus.num_users - 1}.")
        own = corpus.events[corpus.events["user_id"] == user]
        asked = [corpus.queries["text"].iloc[query] if query >= 0 else None for query in own["query_id"]]
        return [Event(int(item), query) for item, query in zip(own["item_id"], asked, strict=True)]

    def items_in(self, category: str) -> np.ndarray:
        """(N,) boolean: items whose category path begins with `category` or has a level of that name.

        Raises `ConfigError` that names similar categories.
        """
        paths = self.decoder.generator.corpus.items["category"]
        levels = {level.strip() for path in paths.unique() for level in path.split(">")} - {""}
        mask = paths.map(lambda path: category in [level.strip() for level in path.split(">")]) | (
            paths.eq(category) | paths.str.startswith(category + " > ")
        )
        if not mask.any():
            near = difflib.get_close_matches(category, sorted(levels), n=5, cutoff=0.4) or sorted(levels)[:5]
            raise ConfigError(f"category: no item is in {category!r}. Some categories are: {', '.join(near)}.")
        return mask.to_numpy()

    def _answer(self, events, histories, queries, k, exclude_seen, allowed) -> list[list[Answer]]:
        """Answers (one list a request) of one task. Requests of one batch are of like width and length."""
        generator = self.decoder.generator
        self._check(events, k, allowed)
        histories = [[_event(e, generator.corpus.num_items) for e in history] for history in histories]
        with self._tokenising:
            sources = adhoc_sources(generator.builder, TASK_OF_EVENTS[events], histories, queries)
        seen = [sorted({e.item_id for e in history}) if exclude_seen else [] for history in histories]
        width = np.array([self._width(k, len(items)) for items in seen], dtype=np.int64)
        order, answers = np.lexsort([-sources.lengths, width]), [[] for _ in histories]
        if allowed is not None and not allowed.any():
            return answers
        for num_beams in np.unique(width):
            mine = order[width[order] == num_beams]
            for low in range(0, len(mine), self.settings.batch_size):
                places = mine[low : low + self.settings.batch_size]
                gone = [seen[place] for place in places]
                found = self._search(events, sources.take(places), int(num_beams), k, gone, allowed)
                for place, items, score in zip(places, found.items, found.scores, strict=True):
                    answers[place] = self._records(events, items[:k], score[:k])
        return answers

    def _width(self, k: int, num_seen: int) -> int:
        """Beams that leave `k` answers when `num_seen` of what they reach may not be answered."""
        need = max(self.settings.num_beams, k + num_seen)
        return min(-(-need // WIDTHS) * WIDTHS, self.decoder.generator.corpus.num_items)

    def _search(
        self, events: str, sources: Ragged, num_beams: int, k: int, seen: list[list[int]], allowed: np.ndarray | None
    ) -> Found:
        given = (torch.from_numpy(a).to(self.decoder.device) for a in pad_and_mask(sources, PAD))  # (B, S) each
        pairs = [(query, item) for query, items in enumerate(seen) for item in items]
        exclude = tuple(np.array(pairs, dtype=np.int64).reshape(-1, 2).T)
        k = min(k, self.decoder.generator.corpus.num_items)
        return search_as_set(self.decoder, self.settings, events, *given, num_beams, k, allowed, exclude)

    def _records(self, events: str, items: np.ndarray, scores: np.ndarray) -> list[Answer]:
        generator = self.decoder.generator
        codes, shop = generator.identifiers.view(events), generator.corpus.items
        return [
            Answer(item, shop["title"].iat[item], shop["category"].iat[item], float(score), tuple(codes[item].tolist()))
            for item, score in zip(items.tolist(), scores, strict=True)
            if item >= 0
        ]

    def _check(self, events: str, k: int, allowed: np.ndarray | None) -> None:
        corpus, task = self.decoder.generator.corpus, TASK_OF_EVENTS[events]
        if task.name not in self.decoder.settings.tasks or not (corpus.events["task"] == events).any():
            raise ConfigError(
                f"{events}: this run never learned it, its corpus has no {events} event or training.tasks has no "
                f"{task.name}. Train one that does, e.g.: gensar run --preset tour"
            )
        if not _whole(k) or k < 1:
            raise ConfigError(f"{events}: k is {k!r}. Ask for a whole number of answers, 1 or more.")
        if allowed is not None and (np.shape(allowed) != (corpus.num_items,) or np.asarray(allowed).dtype != bool):
            raise ConfigError(f"{events}: allowed must be {corpus.num_items} booleans, one an item (see items_in).")


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _event(entry: object, num_items: int) -> Event:
    """An entry of a history, checked: an item id, an `Event`, or a pair like one."""
    item, query = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, None)
    if not _whole(item) or not 0 <= item < num_items:
        raise ConfigError(f"history: there is no item {item!r}. Items of this run are 0 to {num_items - 1}.")
    return Event(int(item), query if query is None else _typed(query))


def _typed(query: object) -> str:
    """A query on one line, as texts of the corpus are."""
    text = plain(query) if isinstance(query, str) else ""
    if not text:
        raise ConfigError(f"query: {query!r} has no words. Type what to look for, e.g.: gensar search 'red shoes'")
    return text
