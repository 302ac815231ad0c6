"""The best of a few scorers on validation targets, by full ranking.

In: a corpus, a task, scorers with the parameters that made them. Out: the best one and a record of
the choice. This file does not know what the parameters mean.
"""

from collections.abc import Iterable

from gensar_lite.artifacts import Corpus
from gensar_lite.embeddings.judge import FullRanking
from gensar_lite.evaluation.baselines import Scorer
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.evaluation.tuning import MAX_TARGETS, Tuned


def best_of(
    corpus: Corpus, task: str, choices: Iterable[tuple[dict[str, float], Scorer]], seed: int = 0
) -> Tuned:
    """The first of the best by NDCG@10 on at most `MAX_TARGETS` targets; the first of all where
    there is no target."""
    targets = sample_targets(corpus.targets("validation", task), MAX_TARGETS, seed)
    judge = FullRanking(corpus, targets, batch=256)
    best, count = None, 0
    for names, scorer in choices:  # one in memory at a time, and the best
        value = judge(scorer)["ndcg@10"] if len(targets) else 0.0
        count += 1
        if best is None or value > best[0]:
            best = value, names, scorer
    value, names, scorer = best
    figures = {"validation_ndcg@10": round(value, 4), "targets": len(targets), "choices": count}
    return Tuned(scorer, names | figures)
