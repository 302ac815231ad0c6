"""Batches of events for a model without identifiers: an item's number stands for it.

In: a corpus, a `WordCodec`, settings. Out: an `EventBuilder` whose histories are marked with
behaviours. This file does not know models.
"""

import dataclasses

import numpy as np

from gensar_lite.artifacts import Corpus, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.identifiers import layout_for
from gensar_lite.training.sequences.events import EventBuilder
from gensar_lite.training.sequences.pseudo import NO_QUERIES, PseudoQueries
from gensar_lite.training.text import WordCodec


def item_builder(
    corpus: Corpus, codec: WordCodec, settings: TrainingConfig, pseudo: PseudoQueries = NO_QUERIES
) -> EventBuilder:
    """The builder of a catalogue without codes; histories always say what was done."""
    number = np.arange(corpus.num_items)[:, None]
    numbers = Identifiers(number, number, num_shared=1, codebook_size=corpus.num_items)
    layout = layout_for(numbers, codec.num_tokens)
    settings = dataclasses.replace(settings, behaviour_tokens=True)
    return EventBuilder(corpus, numbers, layout, codec, settings, pseudo)
