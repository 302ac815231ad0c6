"""Several stages in one go: what ``gensar run`` and the tour call.

In: a `Workspace`. Out: finished stage folders, and the run's report. This file computes nothing.
"""

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
    """Train; the epoch is chosen by ranking both tasks' validation targets. `watch` sees it go."""
    # the judge is passed in, since ranking lies to the right of training
    return train(ws, ranking_judge(ws.config), watch)


def run_stage(ws: Workspace, stage: str) -> Path:
    """Build one stage, or reuse it; its folder. Raises `ArtifactError` where inputs are missing."""
    builders = (prepare, embed, identify, train_with_ranking, decode, evaluate)
    return builders[STAGES.index(stage)](ws)


def run_all(ws: Workspace, until: str = "evaluation") -> Path | None:
    """Build or reuse every stage up to `until`; after the last one, write the report: its page."""
    for stage in STAGES[: STAGES.index(until) + 1]:
        run_stage(ws, stage)
    return write_report(ws) if until == "evaluation" else None
