"""Batches of events that also say what a user did: bought an item, found it by a search, or both.

In: a corpus, a `WordCodec`, settings. Out: `EventBatch` records whose history items are numbered
``item + N * behaviour``, behaviour being a place in `BEHAVIOURS`; targets stay plain item ids. This
file does not know models.
"""

from functools import cached_property

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.data.histories import run_starts
from gensar_lite.identifiers import layout_for
from gensar_lite.training import Task
from gensar_lite.training.sequences.events import EventBuilder
from gensar_lite.training.sequences.pseudo import NO_QUERIES, PseudoQueries
from gensar_lite.training.sequences.questions import Questions
from gensar_lite.training.text import WordCodec

BEHAVIOURS = ("recommend", "search", "both")  # both: a purchase and its search twin


class BehaviourBuilder(EventBuilder):
    """An `EventBuilder` whose histories are marked with behaviours."""

    def __init__(
        self,
        corpus: Corpus,
        codec: WordCodec,
        settings: TrainingConfig,
        pseudo: PseudoQueries = NO_QUERIES,
    ):
        # no identifier is written: an item's number stands for it
        number = np.arange(corpus.num_items)[:, None]
        numbers = Identifiers(number, number, num_shared=1, codebook_size=corpus.num_items)
        layout = layout_for(numbers, codec.num_tokens)
        super().__init__(corpus, numbers, layout, codec, settings, pseudo)
        self.item = self.item + corpus.num_items * behaviours(corpus.events)

    def items(self, task: Task, rows: np.ndarray) -> np.ndarray:
        """The item (B,) behind each row of a task, unmarked: it is what is asked for."""
        return super().items(task, rows) % self.num_items

    @cached_property
    def train(self) -> tuple[np.ndarray, Questions]:
        """Windows (W, T) of marked train items, -1 for none, and all that is asked of them."""
        table, asked = super().train
        return table, asked._replace(target=asked.target % self.num_items)


def behaviours(events: pd.DataFrame) -> np.ndarray:
    """(E,) places in `BEHAVIOURS`: what a user did with an item in the event's time step. All of a
    step is known before the next one, and no target is asked for within its own step."""
    user, time, item = (events[name].to_numpy() for name in ("user_id", "time", "item_id"))
    search = (events["task"] == "search").to_numpy()
    # a purchase and its search twin stand side by side: (E,) the number of each such group
    group = np.cumsum(run_starts(user, time, item)) - 1
    bought, found = (np.bincount(group, weights=part) > 0 for part in (~search, search))
    return np.where(found, np.where(bought, 2, 1), 0)[group]
