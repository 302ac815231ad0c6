"""The sampled protocol's targets and candidates: the same for every system of a log.

In: a corpus, targets, the BM25 baseline. Out: per task a fixed sample of targets with a list of
candidates each. This file ranks nothing; what the protocol is worth stands in protocols.py.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.config import EvaluationConfig
from gensar_lite.data import Seen
from gensar_lite.evaluation.baselines import Scorer
from gensar_lite.evaluation.protocols import bm25_candidates, random_candidates, sample_targets

_TOGETHER = 256  # searches whose catalogue is scored at once: bounds memory


class Sampled(NamedTuple):
    """Targets (B rows of the event table, one task) and their candidates (B, C) as item ids: the
    target in column 0, -1 where the catalogue has too few others."""

    targets: pd.DataFrame
    candidates: np.ndarray


def sampled_candidates(
    corpus: Corpus,
    targets: dict[str, pd.DataFrame],
    without: Seen | None,
    bm25: Scorer | None,
    settings: EvaluationConfig,
) -> dict[str, Sampled]:
    """One `Sampled` per task of `targets`: random negatives for recommendation, for search the
    items that `bm25` likes, which only a log with searches needs."""
    draw, sampled = (settings.num_negatives, settings.seed), {}
    for task, rows in targets.items():
        part = sample_targets(rows, settings.max_sampled, settings.seed)
        if task == "search":
            cuts = [part.iloc[low : low + _TOGETHER] for low in range(0, len(part), _TOGETHER)]
            items = np.concatenate([bm25_candidates(cut, bm25.scores(cut), *draw) for cut in cuts])
        else:
            items = random_candidates(part, without, corpus.num_items, *draw)
        sampled[task] = Sampled(part, items)
    return sampled
