"""What does a leak buy? Rankers that learn nothing and copy what the user did, under any split.

In: a corpus. Out: Recall@10 and NDCG@10 of copying beside the same ranker without it. On an honest
split of a log where nobody takes an item twice, copying loses places and wins none; on a leaky one
it finds answers that stand in the question, or in the training material. This file does not know
how a leak came about (`gensar_lite.data.leaks` does).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS, Corpus
from gensar_lite.data import history_items
from gensar_lite.evaluation.baselines import CategoryPopularity, top_k_run
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.evaluation.runs import to_matrix
from gensar_lite.metrics import target_metrics

LENGTH = 5  # items that are copied
DEPTH = 10  # of the lists
# targets (B rows) -> items to copy (B, LENGTH), best last, -1 for none
Source = Callable[[pd.DataFrame], np.ndarray]


@dataclass(frozen=True)
class Copying:
    """The items of `source` first, then popular ones; for both tasks, nothing is learned.

    In search the grades of the items come first, as in `CategoryPopularity`: of those that answer
    the query equally well, the copied ones stand on top.
    """

    base: CategoryPopularity
    source: Source

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        """(B, N): an item's grade, plus a fraction below 0.5 by popularity, or above 0.5 by its
        place in `source`."""
        table = self.base.scores(targets)  # grade (0 in recommendation) + popularity in [0, 1)
        # popularity moves to the lower half of each grade's range, what is copied to the upper one
        grade = np.floor(table)
        table = grade + (table - grade) / 2
        copied = self.source(targets)
        # later places of the history are more recent, and score higher
        for place in range(copied.shape[1]):
            rows = np.flatnonzero(copied[:, place] >= 0)
            items = copied[rows, place]
            table[rows, items] = grade[rows, items] + 0.5 + (place + 1) / (2 * LENGTH + 2)
        return table


def from_history(corpus: Corpus) -> Source:
    """The last `LENGTH` items of each target's history: what the question holds."""
    return lambda targets: history_items(corpus.events, targets["event_id"].to_numpy(), LENGTH)


def from_train(corpus: Corpus) -> Source:
    """The last `LENGTH` items of the target's user in train events: what a model may remember."""
    train = corpus.events[corpus.events["split"] == "train"].drop_duplicates(["user_id", "item_id"])
    # sorted by user; the row at the end belongs to nobody, and answers for places before the first
    user = np.r_[train["user_id"].to_numpy(), -1]
    item = np.r_[train["item_id"].to_numpy(), -1]

    def source(targets: pd.DataFrame) -> np.ndarray:
        asked = targets["user_id"].to_numpy()[:, None]  # (B, 1)
        end = np.searchsorted(user[:-1], asked, "right")  # one behind the user's last row, (B, 1)
        rows = np.maximum(end - LENGTH + np.arange(LENGTH), -1)  # (B, LENGTH)
        return np.where(user[rows] == asked, item[rows], -1)

    return source


def copying_scores(corpus: Corpus, max_targets: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Test scores with and without copying: ``task, ranker, recall@10, ndcg@10, num_queries``.

    Rankers: ``popularity`` (inside the grades), ``copies history``, ``copies train``. The answer is
    the click; at most `max_targets` per task, a fixed sample. No item is left out of a list, for a
    leak is to be seen.
    """
    base = CategoryPopularity.fit(corpus)
    rankers = {
        "popularity": base,
        "copies history": Copying(base, from_history(corpus)),
        "copies train": Copying(base, from_train(corpus)),
    }
    rows = []
    for task in TASKS:
        targets = sample_targets(corpus.targets("test", task), max_targets, seed)
        for name, ranker in rankers.items():
            # no `seen` here: an item of the history stays in the list, so that copying can win
            run = top_k_run(ranker, targets, DEPTH, name=name)
            ranked = to_matrix(run, targets["event_id"].to_numpy(), DEPTH)
            values = target_metrics(ranked, targets["item_id"].to_numpy(), (DEPTH,))
            means = {key: float(values[key].mean()) for key in (f"recall@{DEPTH}", f"ndcg@{DEPTH}")}
            rows.append({"task": task, "ranker": name, **means, "num_queries": len(targets)})
    return pd.DataFrame(rows)
