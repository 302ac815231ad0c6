"""Stage data: what happened in the shop, as one validated log of behaviour.

Verb: `prepare`. In: a source's name. Out: a `Corpus` on disk.
"""

from gensar_lite.data.histories import Seen, history_bounds, history_items, left_out, seen_items
from gensar_lite.data.sources import Tables
from gensar_lite.data.splitting import joint_time_split
from gensar_lite.data.stage import build_corpus, prepare

__all__ = [
    "Seen", "Tables", "build_corpus", "history_bounds", "history_items", "joint_time_split",
    "left_out", "prepare", "seen_items",
]  # fmt: skip
