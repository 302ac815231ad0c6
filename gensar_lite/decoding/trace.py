"""One search, level by level: its prefixes, their scores, what was cut, where the item was lost.

In: a `Decoder` and one event or source. Out: a `Trace` of the very search that was watched. This
file draws nothing; figures.py does.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.paths import Paths, Question, Ranking


class Lost(NamedTuple):
    """Where the beam dropped the item: after `level` codes its prefix stood at place `place` (from
    1) with `score`, while the worst prefix that stayed had `worst_kept`."""

    level: int
    place: int
    score: float
    worst_kept: float


class Trace(NamedTuple):
    """A search that was watched.

    steps    one row per prefix that was kept, and the best that were cut; see `_level`
    ranking  what the search returned
    lost     where `target` was dropped, or None: it is in `ranking`, or no target was named
    """

    steps: pd.DataFrame
    ranking: Ranking
    target: int | None
    lost: Lost | None


def trace(
    decoder: Decoder,
    question: Question,
    num_beams: int,
    target: int | None = None,
    num_cut: int = 5,
) -> Trace:
    """Watch the search for one request. `target` is the item that was taken in truth; of what is
    cut, the table has the `num_cut` best prefixes per level, and the target's."""
    if len(question.source) != 1:
        raise ValueError(f"trace: one source at a time, got {len(question.source)}")
    prefixes = np.zeros((1, 0), dtype=np.int64)
    steps, lost = [], None

    def watch(paths: Paths, total: torch.Tensor, best: torch.Tensor) -> None:
        nonlocal prefixes, lost
        codes = decoder.generator.identifiers.view(paths.view)
        goal = None if target is None else codes[target]
        rows, prefixes, dropped = _level(paths, total[0], best[0], prefixes, goal, num_cut)
        steps.append(rows)
        lost = lost or dropped

    ranking = decoder.answer(question, num_beams, watch=watch)
    return Trace(pd.concat(steps, ignore_index=True), ranking, target, lost)


def trace_event(decoder: Decoder, event_id: int, num_beams: int, num_cut: int = 5) -> Trace:
    """`trace` of one event of the log, whose item is the target."""
    event = decoder.generator.corpus.events.iloc[event_id]
    question = decoder.question(event["task"], np.array([event_id]))
    return trace(decoder, question, num_beams, int(event["item_id"]), num_cut)


def _level(
    paths: Paths,
    total: torch.Tensor,
    best: torch.Tensor,
    prefixes: np.ndarray,
    goal: np.ndarray | None,
    num_cut: int,
) -> tuple[pd.DataFrame, np.ndarray, Lost | None]:
    """One level of a search: its rows, the prefixes (m, l + 1) that stay, where the target is lost.

    `total` (n, K) are the continuations of the `prefixes` (n, l), `best` (m,) the numbers of those
    that are kept, `goal` (L,) the target's codes.
    """
    size, level, trie = total.shape[1], paths.level, paths.trie
    flat = total.flatten().float().cpu().numpy()
    # every possible continuation has a place, from 1, by falling score
    order = np.argsort(-flat, kind="stable")[: int(np.isfinite(flat).sum())]
    place = np.zeros(len(flat), dtype=np.int64)
    place[order] = np.arange(1, len(order) + 1)
    kept = best.cpu().numpy()
    kept = kept[np.isfinite(flat[kept])]
    shown = np.r_[kept, order[~np.isin(order, kept)][:num_cut]]
    # the target is lost here if its prefix was there, may be continued, and is not kept
    on_way, lost = None, None
    if goal is not None:
        for path in np.flatnonzero((prefixes == goal[:level]).all(axis=1)):  # one, or none
            on_way = int(path * size + goal[level])
    if on_way is not None and np.isfinite(flat[on_way]) and on_way not in kept:
        worst = float(flat[kept].min())
        lost = Lost(level + 1, int(place[on_way]), float(flat[on_way]), worst)
        shown = shown if on_way in shown else np.r_[shown, on_way]
    path, code = np.divmod(shown, size)
    codes = np.concatenate([prefixes[path], code[:, None]], axis=1)
    low, high = trie.span(trie.step(paths.nodes[0, path], code, level), level + 1)
    before = paths.scores[0].float().cpu().numpy()
    rows = pd.DataFrame(
        {
            "level": level + 1,
            "codes": list(map(tuple, codes.tolist())),  # of the prefix, its last code included
            "parent": list(map(tuple, prefixes[path].tolist())),
            "log_probability": (flat[shown] - before[path]).astype(float),  # of the last code
            "score": flat[shown].astype(float),  # the sum over all codes
            "place": place[shown],
            "kept": np.isin(shown, kept),
            "on_target": shown == on_way if on_way is not None else False,
            "allowed": trie.allowed(paths.nodes, level)[0].sum(axis=1)[path],  # after the parent
            "items": high - low,  # that hang below
            "item": trie.item_ids[low] if level + 1 == trie.num_levels else -1,  # of a whole code
        }
    )
    longer = np.concatenate([prefixes[kept // size], (kept % size)[:, None]], axis=1)
    return rows, longer, lost
