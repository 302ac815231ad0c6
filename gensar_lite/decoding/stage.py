"""The decoding stage: ranked items for every target of a split.

In: the trained generator. Out: ``run.parquet`` with ``event_id, item_id, rank, score``; with
``decoding.channel`` also ``run-channel.parquet`` (searches by ``joint+channel``) and its weights.
This file does not know metrics, except for the judge that training calls back.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from gensar_lite.artifacts import TASKS, Workspace, write_json
from gensar_lite.config import Config, DecodingConfig
from gensar_lite.data import left_out
from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.channel import Channel
from gensar_lite.decoding.exact import search_as_set
from gensar_lite.decoding.exclusion import distinct
from gensar_lite.decoding.parts import Weights
from gensar_lite.decoding.paths import batches_of_like_width
from gensar_lite.decoding.weights import Known, fit_weights
from gensar_lite.machine.precision import how_computed
from gensar_lite.machine.processes import gather_frame, my_share, rank_and_world
from gensar_lite.metrics import ndcg_at
from gensar_lite.training import TASK_OF_EVENTS, Generator, Judge, load_generator


def decode(ws: Workspace) -> Path:
    """Build ``artifacts/<run>/decoding`` (or reuse it); several processes share the targets.
    Returns the folder."""
    rank, world = rank_and_world()

    def make(folder: Path) -> dict:
        decoder, settings = load_decoder(ws), ws.config.decoding
        targets = decoder.generator.corpus.targets(settings.split)
        run = rank_events(decoder, targets, settings, rank=rank, world=world)
        run.to_parquet(folder / "run.parquet", index=False)
        statistics = {
            "queries": len(targets),
            "rows": len(run),
            "machine": how_computed(settings.precision),
            "head": ws.config.training.head,
            "processes": world,
        }
        searches = targets[targets["task"] == "search"]
        if settings.channel == "words" and len(searches):
            statistics["channel"] = _decode_channel(decoder, searches, settings, folder)
        return statistics

    return ws.build("decoding", make, rank=rank)


def _decode_channel(
    decoder: Decoder, searches: pd.DataFrame, settings: DecodingConfig, folder: Path
) -> dict:
    """Write the run of ``joint+channel`` and its weights; returns the weights, and how they were
    chosen."""
    rank, world = rank_and_world()
    known = Known.of(decoder.generator.corpus)
    if settings.weights:
        given = Weights(*settings.weights)._asdict()
        chosen = {"seen": given, "unseen": given}
    else:
        fitted = fit_weights(decoder, known=known)
        chosen = {
            name: fit.weights._asdict()
            | {key: value for key, value in fit._asdict().items() if key != "weights"}
            for name, fit in fitted.items()
        }
    write_json(folder / "channel.json", chosen)
    channel = Channel.of(decoder, read_weights(folder), known)
    parts = [
        to_run(rows, answer.items, answer.scores, settings.top_k)
        for rows, answer in channel.rank(searches, settings, rank, world)
    ]
    run = _whole_run(parts, world)
    run.to_parquet(folder / "run-channel.parquet", index=False)
    return chosen


def read_weights(folder: Path) -> dict[str, Weights]:
    """The weights of ``joint+channel`` in a decoding folder, by group of queries."""
    chosen = json.loads((folder / "channel.json").read_text())
    return {
        name: Weights(*(values[part] for part in Weights._fields))
        for name, values in chosen.items()
    }


def load_decoder(ws: Workspace) -> Decoder:
    """The run's trained model with its tries."""
    how = (ws.config.training, ws.config.decoding.precision, ws.config.decoding.renormalise)
    return Decoder.of(load_generator(ws), *how).prepared()


def rank_events(
    decoder: Decoder,
    targets: pd.DataFrame,
    settings: DecodingConfig,
    progress: bool = True,
    rank: int = 0,
    world: int = 1,
) -> pd.DataFrame:
    """A run (``event_id, item_id, rank, score``) for target events of any task, `settings.top_k`
    items each.

    From recommendations items of the history are left out, by the log's rule
    (`gensar_lite.data.left_out`); a list is shorter than `settings.top_k` only where no more items
    are left to rank. Where `world` processes decode together, each calls this with its `rank`, and
    all get the whole run: that of one process, bit by bit.
    """
    none = np.zeros((0, 1), np.int64)
    parts = [to_run(none[:, 0], none, none.astype(np.float32), 1)]  # columns where nothing is asked
    bar = tqdm(total=len(targets), desc="decoding", unit="query", disable=not progress or rank > 0)
    for task in TASKS:
        rows = targets.loc[targets["task"] == task, "event_id"].to_numpy()
        seen = left_out(decoder.generator.corpus) if task == "recommend" and len(rows) else None
        # how long each source is, and how many items it must not be answered with
        lengths = decoder.generator.builder.lengths(TASK_OF_EVENTS[task], rows)
        num_items = decoder.generator.corpus.num_items
        met = distinct(seen.pairs(rows), num_items)[0] if seen else rows[:0]
        counts = np.bincount(met, minlength=len(rows))
        batches = batches_of_like_width(lengths, counts, settings.top_k, settings)
        for places, num_beams in my_share(batches, rank, world):
            exclude = seen.pairs(rows[places]) if seen else None
            question = decoder.question(task, rows[places], exclude=exclude)
            answer = search_as_set(decoder, settings, question, num_beams, settings.top_k)
            parts.append(to_run(rows[places], answer.items, answer.scores, settings.top_k))
            bar.update(len(places))
    bar.close()
    return _whole_run(parts, world)


def _whole_run(parts: list[pd.DataFrame], world: int) -> pd.DataFrame:
    """One sorted run of the parts of all processes, each of which had its share of the batches."""
    run = pd.concat(parts, ignore_index=True)
    run = gather_frame(run) if world > 1 else run
    return run.sort_values(["event_id", "rank"], ignore_index=True)


def to_run(
    event_ids: np.ndarray, items: np.ndarray, scores: np.ndarray, top_k: int
) -> pd.DataFrame:
    """A run from items (B, n), best first, -1 where there is none: what is left is ranked from 1 to
    `top_k`."""
    valid = items >= 0
    rank = np.cumsum(valid, axis=1)  # items of a row are counted, gaps are not
    keep = valid & (rank <= top_k)
    event = np.broadcast_to(event_ids[:, None], items.shape)
    return pd.DataFrame(
        {"event_id": event[keep], "item_id": items[keep], "rank": rank[keep], "score": scores[keep]}
    )


def ranking_judge(config: Config) -> Callable[[Generator], Judge]:
    """A maker of judges for training: NDCG@10 and Recall@10 of both tasks on a fixed validation
    sample."""
    settings, decoding = config.training, config.decoding
    beams = DecodingConfig(num_beams=settings.eval_beams, top_k=10, batch_size=decoding.batch_size)

    def make(generator: Generator) -> Judge:
        rng = np.random.default_rng(settings.seed)
        targets = {}
        for events, task in TASK_OF_EVENTS.items():
            pool = generator.corpus.targets("validation", events)
            if task.name not in settings.tasks or pool.empty:
                continue  # nothing to judge this task by
            # drawn once per training: every epoch is judged on the same events
            chosen = np.sort(rng.permutation(len(pool))[: settings.eval_sample])
            targets[task.name] = pool.iloc[chosen]
        decoder = Decoder.of(generator, settings, settings.precision, decoding.renormalise)

        def judge(model) -> dict[str, float]:
            values = {}
            for name, part in targets.items():
                run = rank_events(decoder, part, beams, False, *rank_and_world())
                hit = run.merge(part[["event_id", "item_id"]], on=["event_id", "item_id"])
                gain = ndcg_at(hit["rank"].to_numpy(), 10)
                values[f"{name}/recall@10"] = len(hit) / len(part)
                values[f"{name}/ndcg@10"] = float(gain.sum() / len(part))
            return values

        return judge

    return make
