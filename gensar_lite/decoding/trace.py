"""One search, told level by level: its prefixes, what they scored, what was cut, and where the item was lost.

In: a `Decoder` and one event or source. Out: a `Trace`: the answer of the very search that was watched, and a table of
its prefixes. This file draws nothing; figures.py does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from gensar_lite.decoding.beam import Decoder
from gensar_lite.decoding.exclusion import Pairs
from gensar_lite.decoding.paths import Found, Paths


class Lost(NamedTuple):
    """Where the beam dropped the item: after `level` codes its prefix stood at place `place` (from 1) with `score`,
    while the worst prefix that stayed had `worst_kept`."""

    level: int
    place: int
    score: float
    worst_kept: float


class Trace(NamedTuple):
    """A search that was watched.

    steps  one row a prefix that was kept, and the best that were cut; columns as in `COLUMNS`
    found  what the search returned
    lost   where `target` was dropped, or None: it is in `found`, or no target was named
    """

    steps: pd.DataFrame
    found: Found
    target: int | None
    lost: Lost | None


# level from 1; codes of the prefix, parent its shorter one; log_probability of the last code; score, their sum; place
# among all continuations of the level, from 1; kept or cut; leads to the target or not; how many codes the trie allowed
# after the parent; how many items hang below; the item of a whole sequence, else -1
COLUMNS = (
    "level", "codes", "parent", "log_probability", "score", "place", "kept", "on_target", "allowed", "items", "item",
)  # fmt: skip


def trace(
    decoder: Decoder,
    task: str,
    source: torch.Tensor,
    mask: torch.Tensor,
    num_beams: int,
    target: int | None = None,
    allowed: np.ndarray | None = None,
    exclude: Pairs | None = None,
    num_cut: int = 5,
) -> Trace:
    """Watch the search for one source (1, S). `target` is the item that was taken in truth; of what is cut, the
    `num_cut` best prefixes a level are told, and the target's."""
    if len(source) != 1:
        raise ValueError(f"trace: one source at a time, got {len(source)}")
    steps, prefixes, lost = [], [np.zeros((1, 0), dtype=np.int64)], []
    wanted = None

    def watch(paths: Paths, total: torch.Tensor, best: torch.Tensor) -> None:
        nonlocal wanted
        if target is not None and wanted is None:
            wanted = decoder.generator.identifiers.view(paths.view)[target]
        rows, kept, gone = _level(paths, total[0], best[0], prefixes[-1], wanted, num_cut)
        steps.extend(rows)
        prefixes.append(kept)
        if gone and not lost:
            lost.append(gone)

    found = decoder.search_sources(task, source, mask, num_beams, allowed, exclude, watch=watch)
    return Trace(
        pd.DataFrame(steps, columns=list(COLUMNS)), found, target, lost[0] if lost else None
    )


def trace_event(decoder: Decoder, event_id: int, num_beams: int, num_cut: int = 5) -> Trace:
    """`trace` of one event of the log, whose item is the target."""
    event = decoder.generator.corpus.events.iloc[event_id]
    sources = decoder.sources(event["task"], np.array([event_id]))
    return trace(
        decoder, event["task"], *sources, num_beams, int(event["item_id"]), num_cut=num_cut
    )


def _level(
    paths: Paths,
    total: torch.Tensor,
    best: torch.Tensor,
    prefixes: np.ndarray,
    wanted: np.ndarray | None,
    num_cut: int,
) -> tuple[list[tuple], np.ndarray, Lost | None]:
    """Rows of one level, the prefixes (m, l + 1) that stay, and whether the target is lost here."""
    size, level = total.shape[1], paths.level
    flat = total.flatten().float().cpu().numpy()
    order = np.argsort(-flat, kind="stable")[: int(np.isfinite(flat).sum())]
    place = np.empty(len(flat), dtype=np.int64)
    place[order] = np.arange(1, len(order) + 1)
    kept = best.cpu().numpy()
    kept = kept[np.isfinite(flat[kept])]
    shown = [*kept, *order[~np.isin(order, kept)][:num_cut]]
    target = _number(prefixes, wanted, level, size)
    gone = target is not None and np.isfinite(flat[target]) and target not in kept
    if gone and target not in shown:
        shown.append(target)
    before, counts = (
        paths.scores[0].float().cpu().numpy(),
        paths.trie.allowed(paths.nodes, level)[0].sum(axis=1),
    )
    rows = []
    for number in shown:
        path, code = divmod(int(number), size)
        node = paths.trie.step(paths.nodes[0, path : path + 1], np.array([code]), level)
        low, high = paths.trie.span(int(node[0]), level + 1)
        rows.append(
            (
                level + 1,
                (*prefixes[path].tolist(), code),
                tuple(prefixes[path].tolist()),
                float(flat[number] - before[path]),
                float(flat[number]),
                int(place[number]),
                bool(number in kept),
                bool(number == target),
                int(counts[path]),
                high - low,
                int(paths.trie.item_ids[low]) if level + 1 == paths.trie.num_levels else -1,
            )
        )
    longer = np.concatenate([prefixes[kept // size], (kept % size)[:, None]], axis=1)
    lost = (
        Lost(level + 1, int(place[target]), float(flat[target]), float(flat[kept].min()))
        if gone
        else None
    )
    return rows, longer, lost


def _number(prefixes: np.ndarray, wanted: np.ndarray | None, level: int, size: int) -> int | None:
    """The continuation that leads to the target, if its prefix is still there."""
    if wanted is None:
        return None
    path = np.flatnonzero((prefixes == wanted[:level]).all(axis=1))
    return int(path[0] * size + wanted[level]) if len(path) else None
