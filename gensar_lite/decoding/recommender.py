"""A trained run as a running shop would use it: ask with a history or a query, get items.

In: the folder of a run, or a `Generator`; ids of items, and texts that need not stand in its
corpus. Out: `Answer` records, best first. Ids are those of the user's own files where the run
stands on such, else row numbers. Nothing is written, and several threads may ask at once.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gensar_lite.artifacts import Corpus, open_run
from gensar_lite.config import ConfigError, DecodingConfig
from gensar_lite.data.text import plain
from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.exact import search_as_set
from gensar_lite.decoding.ids import Ids, is_whole
from gensar_lite.decoding.paths import Question, batches_of_like_width
from gensar_lite.training import TASK_OF_EVENTS, Generator, load_generator
from gensar_lite.training.sequences.adhoc import Event, adhoc_sources
from gensar_lite.training.sequences.ragged import pad_and_mask
from gensar_lite.training.text import PAD

Allowed = np.ndarray | Sequence | None  # item ids, or (N,) booleans by row number


class Answer(NamedTuple):
    """One ranked item: `item_id` as text in the user's own files, a number where it is a row, its
    log-probability (natural log), its codes in the task's view."""

    item_id: str | int
    title: str
    category: str
    score: float
    identifier: tuple[int, ...]


@dataclass(frozen=True)
class Recommender:
    """Answers requests of both tasks over the whole catalogue.

    A history is what a user did so far, in time order: item ids for purchases, or `Event` records,
    where a search is an item with the text of its query. No history is a cold start: the model then
    knows only which task it is asked. `retrain` is a command with which an error may end.
    """

    decoder: Decoder
    settings: DecodingConfig
    items: Ids
    users: Ids
    retrain: str = ""
    # tokenizers keep state during a call
    _tokenising: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @staticmethod
    def load(folder: Path | str, rows: bool = False) -> Recommender:
        """The recommender of ``artifacts/<run>``, with the settings it was built with; with `rows`,
        items and users go by row number, also where the run stands on own files.

        Raises `ArtifactError` when a stage is missing, stale or damaged; the message names the
        command to run.
        """
        ws = open_run(folder)
        for stage in ("data", "identifiers", "training"):
            ws.require(stage)  # the first that is missing is to be built
        recommender = Recommender.of(load_generator(ws), ws.config.decoding, rows)
        decoder = recommender.decoder.prepared()
        return replace(recommender, decoder=decoder, retrain=ws.command("run"))

    @staticmethod
    def of(
        generator: Generator, settings: DecodingConfig | None = None, rows: bool = False
    ) -> Recommender:
        """A recommender from a generator in memory, whose model is put into evaluation mode."""
        settings, corpus = settings or DecodingConfig(), generator.corpus
        generator.model.eval()  # no dropout
        training = generator.builder.settings
        decoder = Decoder.of(generator, training, settings.precision, settings.renormalise)
        items = Ids.of("item", corpus.num_items, None if rows else corpus.items.get("source_id"))
        users = Ids.of("user", corpus.num_users, None if rows else corpus.user_ids)
        return Recommender(decoder, settings, items, users)

    @property
    def corpus(self) -> Corpus:
        return self.decoder.generator.corpus

    def recommend(self, history: Sequence = (), k: int = 10, **limits) -> list[Answer]:
        """The `k` likeliest next items after a history: `recommend_many` of one."""
        return self.recommend_many([history], k, **limits)[0]

    def recommend_many(
        self,
        histories: Sequence[Sequence],
        k: int = 10,
        *,
        exclude_seen: bool | None = None,
        allowed: Allowed = None,
    ) -> list[list[Answer]]:
        """The `k` likeliest next items after each history; fewer where there are not as many.

        exclude_seen  leave out every item of the history, also what is too old to be read; None: as
                      the log of the run is judged (`Corpus.exclude_seen`)
        allowed       only these items: their ids, or (N,) booleans by row number (see `items_in`)

        Raises `ConfigError` for an item that does not exist, a blank query in a history, or k < 1.
        """
        if exclude_seen is None:
            exclude_seen = self.corpus.exclude_seen
        return self._answer("recommend", histories, [], k, exclude_seen, allowed)

    def search(self, query: str, history: Sequence = (), k: int = 10, **limits) -> list[Answer]:
        """The `k` likeliest items for a query of a user with this history: `search_many` of one."""
        return self.search_many([query], [history], k, **limits)[0]

    def search_many(
        self,
        queries: Sequence[str],
        histories: Sequence[Sequence] | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        allowed: Allowed = None,
    ) -> list[list[Answer]]:
        """The `k` likeliest items for each query, with a history each (default: none); else as
        `recommend_many`.

        Control characters of a query are dropped, what is longer than 512 characters or
        `training.max_query_tokens` is cut. Raises `ConfigError` for a blank query.
        """
        histories = [()] * len(queries) if histories is None else histories
        if isinstance(queries, str) or len(histories) != len(queries):
            raise ConfigError(
                f"search: {len(queries)} queries need as many histories, got {len(histories)}."
            )
        typed = [_typed(query) for query in queries]
        return self._answer("search", histories, typed, k, exclude_seen, allowed)

    def history_of(self, user: str | int) -> list[Event]:
        """Everything a user of the corpus did, in time order. Raises `ConfigError` for a user that
        does not exist."""
        log, texts = self.corpus.events, self.corpus.queries["text"]
        events = log[log["user_id"] == self.users.row(user)]
        return [
            Event(self.items.name(item), texts.iloc[query] if query >= 0 else None)
            for item, query in zip(events["item_id"].tolist(), events["query_id"], strict=True)
        ]

    def items_in(self, category: str) -> np.ndarray:
        """(N,) boolean: items whose category path begins with `category` or has a level of that
        name. Raises `ConfigError` that names similar categories."""
        paths = self.corpus.items["category"]
        # "Garden > Tools" is in Garden, in Tools and in Garden > Tools
        levels = paths.map(lambda path: [level.strip() for level in path.split(">")])
        mask = levels.map(lambda names: category in names)
        mask |= paths.eq(category) | paths.str.startswith(category + " > ")
        if not mask.any():
            known = sorted(set(levels.explode()) - {""})
            near = difflib.get_close_matches(category, known, n=5, cutoff=0.4) or known[:5]
            raise ConfigError(
                f"category: no item is in {category!r}. Some categories are: {', '.join(near)}."
            )
        return mask.to_numpy()

    def _answer(
        self,
        task: str,
        histories: Sequence[Sequence],
        queries: list[str],
        k: int,
        exclude_seen: bool,
        allowed: Allowed,
    ) -> list[list[Answer]]:
        """One list per request, all of one task: in batches, each searched as the stage does."""
        # refuse what cannot be answered before anything is read
        self._check(task, k)
        mask, k = self._mask(task, allowed), min(k, self.items.count)
        histories = [[self._event(entry) for entry in history] for history in histories]
        answers: list[list[Answer]] = [[] for _ in histories]
        if mask is not None and not mask.any():
            return answers
        builder, device = self.decoder.generator.builder, self.decoder.device
        with self._tokenising:  # the rest may run in several threads
            sources = adhoc_sources(builder, TASK_OF_EVENTS[task], histories, queries)
        # items that each request must not be answered with
        seen = [{event.item_id for event in history if exclude_seen} for history in histories]
        counts = np.array([len(items) for items in seen], dtype=np.int64)
        for places, num_beams in batches_of_like_width(sources.lengths, counts, k, self.settings):
            source, real = map(torch.from_numpy, pad_and_mask(sources.take(places), PAD))
            # flat pairs: row of the batch, item
            pairs = [(row, item) for row, place in enumerate(places) for item in seen[place]]
            exclude = tuple(np.array(pairs, dtype=np.int64).T) if pairs else None
            question = Question(task, source.to(device), real.to(device), mask, exclude)
            ranking = search_as_set(self.decoder, self.settings, question, num_beams, k)
            for place, items, scores in zip(places, ranking.items, ranking.scores, strict=True):
                found = zip(items[:k].tolist(), scores[:k].tolist(), strict=True)
                answers[place] = [
                    self._record(task, row, score) for row, score in found if row >= 0
                ]
        return answers

    def _record(self, task: str, row: int, score: float) -> Answer:
        texts = (self.corpus.items[name].iat[row] for name in ("title", "category"))
        codes = self.decoder.generator.identifiers.view(task)[row]
        return Answer(self.items.name(row), *texts, score, tuple(codes.tolist()))

    def _check(self, task: str, k: int) -> None:
        """Refuses a task that the run never learned, and a k that is no number of answers."""
        name, why = TASK_OF_EVENTS[task].name, ""
        if not (self.corpus.events["task"] == task).any():
            why = f"its log has no {task} event. Bring some, then run the stages again"
        elif name not in self.decoder.settings.tasks:
            why = f"training.tasks has no {name}. Add it, then train again"
        if why:
            again = f": {self.retrain}" if self.retrain else "."
            raise ConfigError(f"{task}: this run never learned it, {why}{again}")
        if not is_whole(k) or k < 1:
            raise ConfigError(f"{task}: k is {k!r}. Ask for a whole number of answers, 1 or more.")

    def _mask(self, task: str, allowed: Allowed) -> np.ndarray | None:
        """What may be answered as (N,) booleans, None: everything."""
        if allowed is None:
            return None
        count = self.items.count
        if np.asarray(allowed).dtype != bool:
            return np.isin(np.arange(count), [self.items.row(item) for item in allowed])
        if np.shape(allowed) != (count,):
            raise ConfigError(
                f"{task}: allowed must be {count} booleans, one per item (see items_in), or item "
                "ids."
            )
        return np.asarray(allowed)

    def _event(self, entry: object) -> Event:
        """An entry of a history, checked, its item by row number: an item id, an `Event`, or a pair
        like one."""
        item, query = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, None)
        return Event(self.items.row(item), query if query is None else _typed(query))


def _typed(query: object) -> str:
    """A query on one line, as texts of the corpus are."""
    text = plain(query) if isinstance(query, str) else ""
    if not text:
        raise ConfigError(
            f"query: {query!r} has no words. Type what to look for, e.g. 'red shoes'."
        )
    return text
