"""Spelling: how queries, items and events are written as tokens. The only place that does so.

In: texts, item numbers, events as columns. Out: ragged rows of token ids. Examples, streams and
the histories of a running shop are spelled here, so that a model reads the same in all of them.
This file does not know tasks on events, batches or where an event comes from.
"""

from __future__ import annotations

import numpy as np

from gensar_lite.artifacts import VIEWS, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.sequences.ragged import Ragged, hstack
from gensar_lite.training.text import TextCodec


class Speller:
    """Tokens of texts, items and events under one catalogue's identifiers."""

    def __init__(
        self,
        identifiers: Identifiers,
        layout: TokenLayout,
        codec: TextCodec,
        settings: TrainingConfig,
    ):
        self.layout, self.codec, self.settings = layout, codec, settings
        # (N, L) each
        self.item_tokens = {
            view: layout.tokens(identifiers.view(view), view).astype(np.int32) for view in VIEWS
        }
        self.num_items = len(self.item_tokens[VIEWS[0]])
        # 2N rows: every item by its semantic, then every item by its collaborative identifier
        codes = np.concatenate(list(self.item_tokens.values()))  # (2N, L)
        marks = [Ragged.repeat(self.behaviour(view), self.num_items) for view in VIEWS]
        self._items = hstack([Ragged.concatenate(marks), Ragged.table(codes)])

    def behaviour(self, view: str) -> list[int]:
        """The behaviour token before an identifier of a view, or nothing if the settings say so."""
        token = self.layout.search_item if view == "semantic" else self.layout.recommend_item
        return [token] if self.settings.behaviour_tokens else []

    @property
    def query_marker(self) -> list[int]:
        """The behaviour token before a query, or nothing where the settings say so."""
        return [self.layout.search_query] if self.settings.behaviour_tokens else []

    def spell_texts(self, texts: list[str]) -> Ragged:
        """Item texts, cut after ``max_text_tokens``."""
        return Ragged.of(self.codec.encode(texts, self.settings.max_text_tokens))

    def spell_queries(self, texts: list[str]) -> Ragged:
        """Queries, cut after ``max_query_tokens``, after their behaviour token."""
        spelled = self.codec.encode(texts, self.settings.max_query_tokens)
        return Ragged.of([*self.query_marker, *ids] for ids in spelled)

    def spell_items(self, items: np.ndarray, semantic: bool | np.ndarray) -> Ragged:
        """Items (B,) by the identifier of a view (one for all, or of each), after its token."""
        return self._items.take(np.where(semantic, items, items + self.num_items))

    def spell_events(self, items: np.ndarray, is_search: np.ndarray, queries: Ragged) -> Ragged:
        """Events (E,): each one's row of `queries` (empty where none is shown), then its item."""
        return hstack([queries, self.spell_items(items, is_search)])

    def spell_history(self, items: np.ndarray, is_search: np.ndarray, queries: Ragged) -> Ragged:
        """As `spell_events`, each with the separator that the settings may put after it."""
        after = self.codec.encode(["; "])[0] if self.settings.history_separator else []
        events = self.spell_events(items, is_search, queries)
        return hstack([events, Ragged.repeat(after, len(items))])
