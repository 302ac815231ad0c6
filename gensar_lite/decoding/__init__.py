"""Stage decoding: from a model to ranked items, over the whole catalogue.

Verb: `decode`. In: a trained generator. Out: a run on disk - no invalid item, none twice.
`Recommender` answers what stands in no corpus: the same search, for a shop that is open.
"""

from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.exact import search_exact
from gensar_lite.decoding.paths import Question
from gensar_lite.decoding.recommender import Recommender
from gensar_lite.decoding.stage import decode, load_decoder, rank_events, ranking_judge
from gensar_lite.decoding.trace import trace_event
from gensar_lite.identifiers.trie import Trie

__all__ = [
    "Decoder",
    "Question",
    "Recommender",
    "Trie",
    "decode",
    "load_decoder",
    "rank_events",
    "ranking_judge",
    "search_exact",
    "trace_event",
]
