"""How a cell of the trade-off study is made: one system, trained or fitted with one seed.

In: a run whose data and embeddings stand, a `System`, a seed. Out: a table of ranks (ranks.py) of
all that the cell answers, with minutes and validation figures in ``attrs``. What a cell builds has
a workspace of its own, which goes when the cell is kept. This file compares nothing.
"""

import shutil
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS, Workspace
from gensar_lite.config import override
from gensar_lite.decoding import load_decoder
from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.channel import SYSTEM, Channel
from gensar_lite.decoding.stage import read_weights
from gensar_lite.decoding.whole import view_scores
from gensar_lite.embeddings import load_ranker
from gensar_lite.embeddings.judge import FullRanking
from gensar_lite.evaluation.bayes import bayes_name, tune_bayes
from gensar_lite.evaluation.protocols import sample_targets
from gensar_lite.evaluation.runs import run_from_scores
from gensar_lite.evaluation.stage import other_systems
from gensar_lite.experiments.cells import cell_workspace
from gensar_lite.experiments.rivals import fit_rival
from gensar_lite.experiments.tradeoff.ranks import Court
from gensar_lite.experiments.tradeoff.systems import (
    COUNTS,
    FUSIONS,
    RECOMMENDER,
    RIVALS,
    System,
    cell_config,
    study_config,
)
from gensar_lite.pipeline import run_stage
from gensar_lite.training import TASK_OF_EVENTS

SHARED = ("data", "embeddings")  # stages of the run that every cell reads
CHEAP = {"embeddings.joint": "none", "embeddings.encoder": "lsa"}  # where only SASRec is wanted


def make_cell(ws: Workspace, court: Court, system: System, seed: int) -> pd.DataFrame:
    """The rows of one cell; its working folders are removed once these are known."""
    started = time.perf_counter()
    if system.name == COUNTS:
        table = _counts(ws, court)
    elif system.name == RECOMMENDER:
        table = _recommender(ws, court, seed)
    elif system.group == "baseline":
        table = _rival(ws, court, system.name, seed)
    else:
        table = _generative(ws, court, system, seed)
    table = table.reset_index(drop=True)
    table.attrs["minutes"] = round((time.perf_counter() - started) / 60, 2)
    return table


def _counts(ws: Workspace, court: Court) -> pd.DataFrame:
    """All systems of an evaluation that no seed changes."""
    scorers, chosen = other_systems(ws, court.corpus, court.targets)
    recommender, _ = load_ranker(ws, court.corpus)
    tables = [
        court.of_scorer(name, task, scorer)
        for task, named in scorers.items()
        for name, scorer in named.items()
        if name not in (recommender, bayes_name(recommender))
    ]
    table = pd.concat(tables)
    table.attrs["tuned"] = chosen
    return table


def _recommender(ws: Workspace, court: Court, seed: int) -> pd.DataFrame:
    """The recommender of the collaborative view with another seed, and times the words' likelihood;
    the run's own where it has that seed."""
    own = ws
    if seed != ws.config.embeddings.seed:
        config = override(ws.config, CHEAP | {"embeddings.seed": seed})
        own = cell_workspace(ws, config, _run_name(ws, RECOMMENDER, seed), ("data",))
        run_stage(own, "embeddings")
    name, ranker = load_ranker(own, court.corpus)
    bayes = tune_bayes(court.corpus, ranker, ws.config.evaluation.seed)
    table = pd.concat(
        [
            court.of_scorer(name, "recommend", ranker),
            court.of_scorer(bayes_name(name), "search", bayes.scorer),
        ]
    )
    table.attrs["tuned"] = {bayes_name(name): bayes.record}
    _forget(ws, own)
    return table


def _rival(ws: Workspace, court: Court, name: str, seed: int) -> pd.DataFrame:
    """A learned system without identifiers."""
    scorer = fit_rival(name, Workspace(ws.root, study_config(ws.config), ws.run), seed)
    tasks = [task for task in RIVALS[name] if task in court.targets]
    table = pd.concat([court.of_scorer(name, task, scorer) for task in tasks])
    table.attrs["validation"] = {}
    for task in tasks:  # on as many targets as a generative model is chosen by
        targets = court.corpus.targets("validation", task)
        targets = sample_targets(targets, ws.config.training.eval_sample, seed)
        value = FullRanking(court.corpus, targets, batch=256)(scorer)["ndcg@10"]
        table.attrs["validation"][task] = value
    return table


def _generative(ws: Workspace, court: Court, system: System, seed: int) -> pd.DataFrame:
    """Identifiers, model, lists; of a model of both views also every fusion of their scores."""
    config = cell_config(ws.config, system, seed)
    own = cell_workspace(ws, config, _run_name(ws, system.name, seed), SHARED)
    for stage in ("identifiers", "training", "decoding"):
        run_stage(own, stage)
    decoder, answers = load_decoder(own), own.require("decoding")
    run = pd.read_parquet(answers / "run.parquet")
    tables = []
    for task in _tasks_of(config.training.tasks):
        tables.append(_judged(court, system.name, task, run, decoder.score_candidates))
    if config.decoding.channel != "none" and "nsip" in config.training.tasks:
        channel = Channel.of(decoder, read_weights(answers))
        name = SYSTEM.replace("joint", system.name)
        run = pd.read_parquet(answers / "run-channel.parquet")
        tables.append(_judged(court, name, "search", run, channel.score_candidates))
    if config.training.views == "both":
        tables += _fusions(court, system.name, decoder)
    table = pd.concat(tables)
    best = own.meta("training")["statistics"]["best"]
    table.attrs["validation"] = {
        task: best[f"{TASK_OF_EVENTS[task].name}/ndcg@10"]
        for task in TASKS
        if f"{TASK_OF_EVENTS[task].name}/ndcg@10" in best
    }
    _forget(ws, own)
    return table


def _tasks_of(names: tuple[str, ...]) -> list[str]:
    return [task for task in TASKS if TASK_OF_EVENTS[task].name in names]


def _judged(court: Court, name: str, task: str, run: pd.DataFrame, score: Callable) -> pd.DataFrame:
    """A decoded run of a task, and the scores of the sampled candidates."""
    part, items = court.sampled[task]
    scores = score(part, np.maximum(items, 0))  # (B, C); padding is never ranked
    among = run_from_scores(part["event_id"].to_numpy(), scores, court.depth, items)
    return court.of_runs(name, task, run, among)


class _Fusion:
    """A `Scorer`: the log of ``share * P(semantic) + (1 - share) * P(collaborative)``."""

    def __init__(self, decoder: Decoder, share: float):
        self.decoder, self.share = decoder, share

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        task = targets["task"].iloc[0]
        rows = targets["event_id"].to_numpy()
        views = view_scores(self.decoder.generator.model, self.decoder.question(task, rows))
        with np.errstate(divide="ignore"):
            shares = np.log([self.share, 1 - self.share]).astype(np.float32)
        return np.logaddexp(views["semantic"] + shares[0], views["collaborative"] + shares[1])


def _fusions(court: Court, name: str, decoder: Decoder) -> list[pd.DataFrame]:
    return [
        court.of_scorer(f"{name} {share:g}", task, _Fusion(decoder, share))
        for share in FUSIONS
        for task in court.targets
    ]


def _run_name(ws: Workspace, name: str, seed: int) -> str:
    return f"tradeoff-{ws.run}-{name}-{seed}"


def _forget(ws: Workspace, own: Workspace) -> None:
    """Remove a cell's working folders; never the run's own."""
    if own.run != ws.run:
        shutil.rmtree(own.root / "artifacts" / own.run)
