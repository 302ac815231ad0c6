"""Several stages in one go: what ``gensar run`` and the tour call.

In: a `Workspace`. Out: finished stage folders, and the run's report.
This file does not compute anything itself.
"""

from __future__ import annotations

from pathlib import Path

from gensar_lite.artifacts import Workspace
from gensar_lite.config import STAGES
from gensar_lite.data import prepare
from gensar_lite.decoding import decode, ranking_judge
from gensar_lite.embeddings import embed
from gensar_lite.evaluation import evaluate, write_report
from gensar_lite.identifiers import identify
from gensar_lite.training import Watch, train


def train_with_ranking(ws: Workspace, watch: Watch | None = None) -> Path:
    """Train, choosing the epoch by constrained ranking of validation targets of both tasks. `watch` sees it go."""
    return train(ws, ranking_judge(ws.config), watch)


RUN = dict(
    zip(STAGES, (prepare, embed, identify, train_with_ranking, decode, evaluate), strict=True)
)


def run_stage(ws: Workspace, stage: str) -> Path:
    """Build one stage, or reuse it. Its inputs must be there."""
    return RUN[stage](ws)


def run_all(ws: Workspace, until: str = "evaluation") -> Path | None:
    """Build every stage up to `until`, reusing what is finished; after the last one, write the report."""
    for stage in STAGES[: STAGES.index(until) + 1]:
        run_stage(ws, stage)
    return write_report(ws) if until == "evaluation" else None
