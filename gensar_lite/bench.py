"""Speed, measured as a ratio: our method and a plain baseline, interleaved in one process, medians.

In: a bench's name. Out: one JSON object of the same form for all, or the same as a table.
A baseline is the plain use of the library or recipe it names; both sides get the same inputs.
"""

from __future__ import annotations

import atexit
import functools
import json
import multiprocessing
import platform
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch

from gensar_lite.artifacts import Identifiers
from gensar_lite.config import ConfigError, DataConfig, IdentifiersConfig, TrainingConfig
from gensar_lite.identifiers import make_unique
from gensar_lite.identifiers.quantizer import nearest, squared_distances


class Contest(NamedTuple):
    """Two ways to the same answer. `amount` is what one call handles, in `unit`; `equal` compares answers.

    With `isolated` each call has a process of its own, where memory is the question: what one side leaves in the
    allocators' pools would hide what the other needs. Calls are then importable functions.
    """

    ours: Callable[[], object]
    baseline: Callable[[], object]
    equal: Callable[[object, object], float]
    amount: int
    unit: str
    settings: dict
    isolated: bool = False


def run_bench(name: str, rounds: int = 3, as_json: bool = False) -> str:
    """Run the bench called `name`; the text to print. Raises `ConfigError` that lists the benches."""
    if name not in BENCHES:
        raise ConfigError(f"bench: there is no {name!r}. Choose one of: {', '.join(BENCHES)}.")
    result = measure(name, BENCHES[name](), max(rounds, 1))
    if as_json:
        return json.dumps(result)
    return "\n".join(f"{key:<18} {value}" for key, value in result.items())


def measure(name: str, contest: Contest, rounds: int) -> dict[str, object]:
    """One unmeasured round (unless isolated), then `rounds` interleaved ones; medians, their ratio, agreement and
    peak memory."""
    answers = {}
    if not contest.isolated:
        contest.ours(), contest.baseline()
    seconds: dict[str, list[float]] = {"ours": [], "baseline": []}
    peaks = {"ours": 0.0, "baseline": 0.0}
    for _ in range(rounds):
        for side in seconds:
            run = _timed_apart if contest.isolated else _timed
            answers[side], took, peak = run(getattr(contest, side))
            seconds[side].append(took)
            peaks[side] = max(peaks[side], peak)
    ours, baseline = (statistics.median(seconds[side]) for side in ("ours", "baseline"))
    return {
        "name": name,
        "ratio": round(baseline / ours, 2),
        "ours": round(contest.amount / ours, 2),
        "baseline": round(contest.amount / baseline, 2),
        "unit": f"{contest.unit}/s",
        "equal": round(contest.equal(answers["ours"], answers["baseline"]), 4),
        "peak_mib_ours": round(peaks["ours"], 1),
        "peak_mib_baseline": round(peaks["baseline"], 1),
        "settings": contest.settings | {"rounds": rounds},
        "machine": _machine(),
    }


def _timed_apart(call: Callable[[], object]) -> tuple[object, float, float]:
    """`_timed` in a fresh process: its start and its imports are not counted."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_timed, call).result()


def _timed(call: Callable[[], object]) -> tuple[object, float, float]:
    """The answer of one call, its seconds, and how far resident memory rose above its start, MiB (every 2 ms)."""
    process, done, highest = psutil.Process(), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.002):
            highest[0] = max(highest[0], process.memory_info().rss)

    low = process.memory_info().rss
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.perf_counter()
    answer = call()
    took = time.perf_counter() - started
    done.set()
    watcher.join()
    return answer, took, max(highest[0] - low, 0) / 2**20


def _machine() -> dict[str, object]:
    return {
        "cores": psutil.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def bench_identifiers(num_items: int = 20_000, dim: int = 32, num_codes: int = 256, seed: int = 0) -> Contest:
    """Collision repair: one optimal assignment a bucket, against a loop over items with a dictionary of taken codes
    (each item takes the nearest codeword of the last level that is still free in its bucket)."""
    rng = np.random.default_rng(seed)
    residual, codebook = rng.normal(size=(num_items, dim)), rng.normal(size=(num_codes, dim))
    prefix = rng.integers(max(num_items // 20, 1), size=num_items)  # about 20 items a bucket
    codes = np.stack([prefix // num_codes, prefix % num_codes, nearest(residual, codebook)], axis=1)

    def loop() -> np.ndarray:
        found, taken = codes.copy(), {}
        for row in range(num_items):
            used = taken.setdefault((int(codes[row, 0]), int(codes[row, 1])), set())
            order = np.argsort(squared_distances(residual[row : row + 1], codebook)[0])
            found[row, 2] = next(int(code) for code in order if int(code) not in used)
            used.add(int(found[row, 2]))
        return found

    settings = {"num_items": num_items, "dim": dim, "codebook_size": num_codes, "baseline": "per-item loop, dictionary"}
    same = lambda a, b: float((a == b).all(axis=1).mean())  # noqa: E731
    return Contest(lambda: make_unique(codes, residual, codebook, "semantic"), loop, same, num_items, "items", settings)


def bench_decoding(num_items: int = 10_000, num_queries: int = 16, num_beams: int = 10, seed: int = 0) -> Contest:
    """Constrained beams: ours, against transformers' ``generate(prefix_allowed_tokens_fn=...)`` with the prefixes of
    the catalogue in a dictionary. Same random model, same sources, fp32, same scores (softmax over all tokens)."""
    from gensar_lite.data import build_corpus
    from gensar_lite.data.synthetic import make_shop
    from gensar_lite.decoding import Decoder
    from gensar_lite.training import TASKS, new_generator
    from gensar_lite.training.text import PAD

    corpus, _ = build_corpus(
        make_shop(DataConfig(num_items=num_items, num_users=300, num_events=3000, seed=seed)), DataConfig()
    )
    ids = _random_identifiers(num_items, IdentifiersConfig(codebook_size=128, num_levels=4, num_shared=2), seed)
    settings = TrainingConfig(backbone="t5-mini", head="vocabulary", dropout=0.0, seed=seed)
    generator = new_generator(corpus, ids, settings)
    model, layout = generator.model.eval(), generator.layout
    decoder = Decoder.of(generator, settings)
    rows = corpus.targets("test", "recommend")["event_id"].to_numpy()[:num_queries]
    batch = generator.builder.batch(TASKS["nrip"], rows)
    table = layout.tokens(ids.collaborative, "collaborative")
    children: dict[tuple[int, ...], set[int]] = {}
    for sequence in table.tolist():
        path = (PAD, layout.recommend_item, *sequence)
        for cut in range(1, len(path)):
            children.setdefault(path[:cut], set()).add(path[cut])
    allowed = {path: sorted(found) for path, found in children.items()}
    whole = {tuple(sequence): item for item, sequence in enumerate(table.tolist())}

    def generate() -> np.ndarray:
        out = model.generate(
            input_ids=torch.from_numpy(batch.source),
            attention_mask=torch.from_numpy(batch.mask).long(),
            num_beams=num_beams,
            num_return_sequences=num_beams,
            max_new_tokens=1 + layout.num_levels,
            min_new_tokens=1 + layout.num_levels,
            do_sample=False,
            length_penalty=0.0,
            prefix_allowed_tokens_fn=lambda _, ids: allowed.get(tuple(ids.tolist()), [1]),
        )
        found = [whole.get(tuple(ids[2:]), -1) for ids in out.tolist()]
        return np.array(found).reshape(len(rows), num_beams)

    told = {
        "num_items": num_items,
        "batch": len(rows),
        "num_beams": num_beams,
        "backbone": "t5-mini",
        "head": "vocabulary",
    }
    return Contest(
        lambda: decoder.search("recommend", rows, num_beams)[0],
        generate,
        lambda a, b: float((a == b).all(axis=1).mean()),
        len(rows),
        "queries",
        told | {"baseline": "transformers generate, prefix_allowed_tokens_fn", "precision": "fp32"},
    )


def _random_identifiers(num_items: int, settings: IdentifiersConfig, seed: int) -> Identifiers:
    """Distinct code sequences whose views share their first levels, prefixes shared by many items as real ones are."""
    rng = np.random.default_rng(seed)
    size, own = settings.codebook_size, settings.num_levels - settings.num_shared
    trunk = rng.integers(size, size=(num_items, settings.num_shared))
    trunk[:, 1:] = trunk[:, :1] * 7 % size  # few trunks: 64 prefixes for the catalogue
    views = []
    if size**own < num_items:
        raise ConfigError(f"bench: {num_items} items need more than {size}^{own} own sequences.")
    for _ in range(2):
        leaf = rng.permutation(size**own)[:num_items]
        views.append(np.concatenate([trunk, np.stack(np.unravel_index(leaf, [size] * own), axis=1)], axis=1))
    return Identifiers(views[0], views[1], settings.num_shared, size).check()


def bench_data(num_events: int = 1_700_000, seed: int = 0) -> Contest:
    """From a gzip file of reviews to a sorted, filtered, numbered, split log: ours, against one ``json.loads`` a line
    and pandas' groups. As many users and items as Electronics has; the generated file is removed at the end."""
    from gensar_lite.data.generated import prepared, prepared_plainly, write_reviews

    folder = Path(tempfile.mkdtemp(prefix="gensar-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = write_reviews(folder / "reviews.json.gz", num_events, num_events // 9 + 1, num_events // 27 + 1, seed)
    settings = DataConfig(min_item_events=5)
    told = {
        "num_events": num_events,
        "file_mib": round(path.stat().st_size / 2**20, 1),
        "min_item_events": settings.min_item_events,
        "baseline": "gzip, json.loads a line, pandas groupby",
        "memory": "of a fresh process, above its start",
    }
    return Contest(
        functools.partial(prepared, path, settings),
        functools.partial(prepared_plainly, path, settings),
        lambda a, b: float((a == b).all(axis=1).mean()) if a.shape == b.shape else 0.0,
        num_events,
        "events",
        told,
        isolated=True,
    )


BENCHES: dict[str, Callable[[], Contest]] = {
    "data": bench_data,
    "identifiers": bench_identifiers,
    "decoding": bench_decoding,
}
