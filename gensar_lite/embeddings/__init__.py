"""Stage embeddings: a semantic and a collaborative vector per item, and a joint one if asked for.

Verb: `embed`. In: a `Corpus`. Out: `ItemEmbeddings` on disk, and the recommender behind them as a
baseline.
"""

from gensar_lite.embeddings.collaborative import SASRecRanker, train_sasrec
from gensar_lite.embeddings.encoders import minilm_folder
from gensar_lite.embeddings.semantic import encode, encode_queries, item_texts
from gensar_lite.embeddings.stage import embed, load_joint, load_ranker, load_sasrec

__all__ = [
    "SASRecRanker",
    "embed",
    "encode",
    "encode_queries",
    "item_texts",
    "load_joint",
    "load_ranker",
    "load_sasrec",
    "minilm_folder",
    "train_sasrec",
]
