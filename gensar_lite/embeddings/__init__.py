"""Stage embeddings: a semantic and a collaborative vector for every item.

Verb: `embed`. In: a `Corpus`. Out: `ItemEmbeddings` on disk, and SASRec as a baseline that ranks.
"""

from gensar_lite.embeddings.collaborative import SASRecRanker, train_sasrec
from gensar_lite.embeddings.semantic import encode, item_texts, minilm_folder
from gensar_lite.embeddings.stage import embed, load_sasrec

__all__ = ["SASRecRanker", "embed", "encode", "item_texts", "load_sasrec", "minilm_folder", "train_sasrec"]
