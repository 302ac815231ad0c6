"""A trained run as a running shop would use it: ask with a history or a query, get items with their titles.

In: the folder of a run, or a `Generator`; ids of items, and texts that need not stand in its corpus. Out: `Answer`
records, best first. Ids are those of the user's own files where the run stands on such, else row numbers. Nothing is
written, and several threads may ask at once. This file does not know where requests come from.
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
from gensar_lite.decoding.batches import batches_of_like_width
from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.exact import search_as_set
from gensar_lite.decoding.ids import Ids
from gensar_lite.training import TASK_OF_EVENTS, Generator, load_generator
from gensar_lite.training.sequences.adhoc import Event, adhoc_sources
from gensar_lite.training.sequences.ragged import pad_and_mask
from gensar_lite.training.text import PAD

Allowed = np.ndarray | Sequence | None  # item ids, or (N,) booleans by row number


class Answer(NamedTuple):
    """One ranked item: `score` is its log-probability (natural log), `identifier` its codes in the task's view.

    item_id  the id in the user's own files, as text; the row number where the run has no own files or was asked by rows
    """

    item_id: str | int
    title: str
    category: str
    score: float
    identifier: tuple[int, ...]


@dataclass(frozen=True)
class Recommender:
    """Answers requests of both tasks over the whole catalogue.

    A history is what a user did so far, in time order: item ids for purchases, or `Event` records, where a search is
    an item with the text of its query. No history is a cold start: the model then knows only which task it is asked.

    items, users  what they are called here, see `Ids`
    retrain       the command that trains the run, with which an error may end
    """

    decoder: Decoder
    settings: DecodingConfig
    items: Ids
    users: Ids
    retrain: str = ""
    _tokenising: threading.Lock = field(
        default_factory=threading.Lock, repr=False
    )  # tokenizers keep state in a call

    @staticmethod
    def load(folder: Path | str, rows: bool = False) -> Recommender:
        """The recommender of ``artifacts/<run>``, with the settings it was built with.

        With `rows`, items and users go by row number, also where the run stands on a user's own files.

        Raises `ArtifactError` when a stage is missing, stale or damaged; the message names the command to run.
        """
        ws = open_run(folder)
        for stage in (
            "data",
            "identifiers",
            "training",
        ):  # the first one that is missing is the one to build
            ws.require(stage)
        made = Recommender.of(load_generator(ws), ws.config.decoding, rows)
        return replace(made, decoder=made.decoder.prepared(), retrain=ws.command("run"))

    @staticmethod
    def of(
        generator: Generator, settings: DecodingConfig | None = None, rows: bool = False
    ) -> Recommender:
        """A recommender from a generator in memory, whose model is put into evaluation mode: no dropout."""
        settings = settings or DecodingConfig()
        generator.model.eval()
        decoder = Decoder.of(
            generator, generator.builder.settings, settings.precision, settings.renormalise
        )
        corpus = generator.corpus
        return Recommender(
            decoder, settings, Ids.of_items(corpus, rows), Ids.of_users(corpus, rows)
        )

    def recommend(
        self,
        history: Sequence = (),
        k: int = 10,
        *,
        exclude_seen: bool | None = None,
        allowed: Allowed = None,
    ) -> list[Answer]:
        """The `k` likeliest next items after a history; fewer where the catalogue has not as many to give.

        exclude_seen  leave out every item of the history, also of the part that is too old to be read; None: as the
                      log of the run is judged (`Corpus.exclude_seen`)
        allowed       only these items may be answered: their ids, or (N,) booleans by row number (see `items_in`)

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
        allowed: Allowed = None,
    ) -> list[Answer]:
        """The `k` likeliest items for a query of a user with this history; otherwise as `recommend`.

        Control characters of a query are dropped, what is longer than 512 characters or `training.max_query_tokens`
        is cut, and words that were never seen are spelled in smaller pieces. Raises `ConfigError` for a blank query.
        """
        return self.search_many([query], [history], k, exclude_seen=exclude_seen, allowed=allowed)[
            0
        ]

    def recommend_many(
        self,
        histories: Sequence[Sequence],
        k: int = 10,
        *,
        exclude_seen: bool | None = None,
        allowed: Allowed = None,
    ) -> list[list[Answer]]:
        """`recommend` for many histories at once, in `settings.batch_size` at a time."""
        if exclude_seen is None:
            exclude_seen = self.decoder.generator.corpus.exclude_seen
        return self._answer("recommend", histories, [], k, exclude_seen, allowed)

    def search_many(
        self,
        queries: Sequence[str],
        histories: Sequence[Sequence] | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        allowed: Allowed = None,
    ) -> list[list[Answer]]:
        """`search` for many queries at once, each with its own history (default: none)."""
        histories = [()] * len(queries) if histories is None else histories
        if isinstance(queries, str) or len(histories) != len(queries):
            raise ConfigError(
                f"search: {len(queries)} queries need as many histories, got {len(histories)}."
            )
        return self._answer(
            "search", histories, [_typed(query) for query in queries], k, exclude_seen, allowed
        )

    def history_of(self, user: str | int) -> list[Event]:
        """Everything a user of the corpus did, in time order. Raises `ConfigError` for a user that does not exist."""
        corpus = self.decoder.generator.corpus
        own = corpus.events[corpus.events["user_id"] == self.users.row(user)]
        asked = [
            corpus.queries["text"].iloc[query] if query >= 0 else None for query in own["query_id"]
        ]
        return [
            Event(self.items.name(item), query)
            for item, query in zip(own["item_id"].tolist(), asked, strict=True)
        ]

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
            near = (
                difflib.get_close_matches(category, sorted(levels), n=5, cutoff=0.4)
                or sorted(levels)[:5]
            )
            raise ConfigError(
                f"category: no item is in {category!r}. Some categories are: {', '.join(near)}."
            )
        return mask.to_numpy()

    def _answer(self, events, histories, queries, k, exclude_seen, allowed) -> list[list[Answer]]:
        """Answers (one list a request) of one task."""
        self._check(events, k)
        mask, k = self._mask(events, allowed), min(k, self.items.count)
        histories, answers = (
            [[self._event(e) for e in history] for history in histories],
            [[] for _ in histories],
        )
        if mask is not None and not mask.any():
            return answers
        with self._tokenising:
            sources = adhoc_sources(
                self.decoder.generator.builder, TASK_OF_EVENTS[events], histories, queries
            )
        seen = [
            sorted({e.item_id for e in history}) if exclude_seen else [] for history in histories
        ]
        counts = np.array([len(items) for items in seen], dtype=np.int64)
        for places, num_beams in batches_of_like_width(sources.lengths, counts, k, self.settings):
            given = (
                torch.from_numpy(a).to(self.decoder.device)
                for a in pad_and_mask(sources.take(places), PAD)
            )
            pairs = [(query, item) for query, place in enumerate(places) for item in seen[place]]
            exclude = tuple(np.array(pairs, dtype=np.int64).reshape(-1, 2).T) if pairs else None
            found = search_as_set(
                self.decoder, self.settings, events, *given, num_beams, k, mask, exclude
            )
            for place, items, score in zip(places, found.items, found.scores, strict=True):
                answers[place] = self._records(events, items[:k], score[:k])
        return answers

    def _records(self, events: str, items: np.ndarray, scores: np.ndarray) -> list[Answer]:
        generator = self.decoder.generator
        codes = generator.identifiers.view(events)
        titles, shelves = generator.corpus.items["title"], generator.corpus.items["category"]
        return [
            Answer(
                self.items.name(row),
                titles.iat[row],
                shelves.iat[row],
                float(score),
                tuple(codes[row].tolist()),
            )
            for row, score in zip(items.tolist(), scores, strict=True)
            if row >= 0
        ]

    def _check(self, events: str, k: int) -> None:
        corpus, task = self.decoder.generator.corpus, TASK_OF_EVENTS[events]
        again = f": {self.retrain}" if self.retrain else "."
        if not (corpus.events["task"] == events).any():
            raise ConfigError(
                f"{events}: this run never learned it, its log has no {events} event. Bring some, then run the stages "
                f"again{again}"
            )
        if task.name not in self.decoder.settings.tasks:
            raise ConfigError(
                f"{events}: this run never learned it, training.tasks has no {task.name}. Add it, then train "
                f"again{again}"
            )
        if not _whole(k) or k < 1:
            raise ConfigError(
                f"{events}: k is {k!r}. Ask for a whole number of answers, 1 or more."
            )

    def _mask(self, events: str, allowed: Allowed) -> np.ndarray | None:
        """What may be answered as (N,) booleans, None: everything."""
        if allowed is None:
            return None
        if np.asarray(allowed).dtype == bool:
            if np.shape(allowed) != (self.items.count,):
                raise ConfigError(
                    f"{events}: allowed must be {self.items.count} booleans, one an item (see items_in), or item ids."
                )
            return np.asarray(allowed)
        mask = np.zeros(self.items.count, dtype=bool)
        mask[[self.items.row(item) for item in allowed]] = True
        return mask

    def _event(self, entry: object) -> Event:
        """An entry of a history, checked, its item by row number: an item id, an `Event`, or a pair like one."""
        item, query = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, None)
        return Event(self.items.row(item), query if query is None else _typed(query))


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _typed(query: object) -> str:
    """A query on one line, as texts of the corpus are."""
    text = plain(query) if isinstance(query, str) else ""
    if not text:
        raise ConfigError(
            f"query: {query!r} has no words. Type what to look for, e.g. 'red shoes'."
        )
    return text
