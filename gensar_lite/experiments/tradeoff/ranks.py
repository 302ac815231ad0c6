"""What a study keeps of a system: where it ranked each target, and no item.

In: a corpus, its targets, runs or scorers. Out: tables of `COLUMNS`, a row per target, in the order
of `targets_table`. From these every metric and every test can be made again, to the bit. This file
does not know how a system was trained.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.config import Config
from gensar_lite.data import Seen, left_out
from gensar_lite.evaluation.baselines import BM25, Scorer, top_k_run
from gensar_lite.evaluation.runs import to_matrix
from gensar_lite.evaluation.sampled import Sampled, sampled_candidates
from gensar_lite.evaluation.stage import split_targets
from gensar_lite.metrics import Qrels, make_qrels, rank_of_target, relevance_metrics

COLUMNS = ["system", "task", "rank", "sampled_rank", "graded"]
NOT_ASKED = -1  # in `sampled_rank` and `graded`: the target is not judged so
GRADED_UNIT = 10_000  # `graded` counts ten-thousandths, so that it takes two bytes
GRADED_DEPTH = 10


class Court(NamedTuple):
    """By what all systems of a study are judged; made once.

    targets  task -> rows of the event table; sampled: see `Sampled`
    without  what recommendations may not return; qrels: all relevant items, None without a table
    depth    how many items of a list count
    """

    corpus: Corpus
    targets: dict[str, pd.DataFrame]
    sampled: dict[str, Sampled]
    without: Seen | None
    qrels: Qrels | None
    depth: int

    @staticmethod
    def of(corpus: Corpus, config: Config) -> "Court":
        """Of the split that the settings decode."""
        targets, without = split_targets(corpus, config), left_out(corpus)
        bm25 = BM25(corpus) if "search" in targets else None
        sampled = sampled_candidates(corpus, targets, without, bm25, config.evaluation)
        qrels = None
        if not corpus.relevance.empty:
            sizes = (len(corpus.queries), corpus.num_items)
            qrels = make_qrels(corpus.relevance, *sizes, max(config.evaluation.ks))
        return Court(corpus, targets, sampled, without, qrels, config.decoding.top_k)

    def of_scorer(self, system: str, task: str, scorer: Scorer) -> pd.DataFrame:
        """A system that scores the catalogue."""
        rows, (part, items) = self.targets[task], self.sampled[task]
        run = top_k_run(scorer, rows, self.depth, self.without, name=f"{system} {task}")
        among = top_k_run(scorer, part, self.depth, candidates=items, name=f"{system} 1+99")
        return self.of_runs(system, task, run, among)

    def of_runs(
        self, system: str, task: str, run: pd.DataFrame, among: pd.DataFrame
    ) -> pd.DataFrame:
        """A system's lists of a task's targets, over the catalogue and `among` the candidates."""
        rows, part = self.targets[task], self.sampled[task].targets
        event, item = rows["event_id"].to_numpy(), rows["item_id"].to_numpy()
        ranked = to_matrix(run, event, self.depth)  # (B, depth)
        sampled = np.full(len(rows), NOT_ASKED, dtype=np.int16)
        asked = np.flatnonzero(np.isin(event, part["event_id"].to_numpy()))
        sampled[asked] = rank_of_target(to_matrix(among, event[asked], self.depth), item[asked])
        graded = np.full(len(rows), NOT_ASKED, dtype=np.int16)
        if task == "search" and self.qrels is not None:
            query, cut = rows["query_id"].to_numpy(), (GRADED_DEPTH,)
            values = relevance_metrics(self.qrels, ranked, query, cut, clicked=item)
            graded[:] = np.round(values[f"ndcg@{GRADED_DEPTH}"] * GRADED_UNIT)
        ranks = rank_of_target(ranked, item).astype(np.int16)
        table = pd.DataFrame({"rank": ranks, "sampled_rank": sampled, "graded": graded})
        return table.assign(system=system, task=task)[COLUMNS]


def targets_table(court: Court) -> pd.DataFrame:
    """What groups of targets are made of, a row per target in the order of every cell's rows: no
    text, no item.

    task, event_id, user_id, query_id (-1 for recommendation); ``kind`` and ``seen`` of the query;
    ``item_events``  how often the target's item occurs in train
    ``history``      how many items the user had met before it
    ``overlap``      share of the user's train purchases whose item the user also found by a search
    ``gap``          log2 of the item's share of train searches over its share of train purchases,
                     one added to each count: above 0, it is rather searched for
    """
    corpus = court.corpus
    queries = corpus.queries
    bounds = Seen.of_log(corpus.events)
    train = corpus.events[corpus.events["split"] == "train"]
    found, bought = (train[train["task"] == task] for task in ("search", "recommend"))
    counts = [np.bincount(part["item_id"], minlength=corpus.num_items) for part in (bought, found)]
    shares = [(1 + count) / (1 + count).sum() for count in counts]
    gap = np.log2(shares[1] / shares[0])
    pairs = found[["user_id", "item_id"]].drop_duplicates().assign(found=1.0)
    both = bought.merge(pairs, how="left", on=["user_id", "item_id"])
    overlap = both["found"].fillna(0.0).groupby(both["user_id"]).mean()
    parts = []
    for task, rows in court.targets.items():
        event, item, query = (rows[c].to_numpy() for c in ("event_id", "item_id", "query_id"))
        start, end = bounds.start[event], bounds.end[event]
        table = {
            "task": task,
            "event_id": event.astype(np.int32),
            "user_id": rows["user_id"].to_numpy().astype(np.int32),
            "query_id": query.astype(np.int32),
            "item_events": (counts[0] + counts[1])[item].astype(np.int32),
            "history": (end - start).astype(np.int16),
            "overlap": rows["user_id"].map(overlap).fillna(0.0).to_numpy().astype(np.float32),
            "gap": gap[item].astype(np.float32),
        }
        for name in ("kind", "seen"):
            if name in queries and task == "search":
                table[name] = queries[name].to_numpy()[query].astype(str)
            else:
                table[name] = ""
        parts.append(pd.DataFrame(table))
    return pd.concat(parts, ignore_index=True)
