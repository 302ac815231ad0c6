"""Speed of preparing a log, against one ``json.loads`` a line and pandas' groups.

In: sizes and a seed. Out: a `Contest`.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from benchmarks.contest import Contest
from gensar_lite.config import DataConfig


def bench_data(num_events: int = 1_700_000, seed: int = 0) -> Contest:
    """From a gzip file of reviews to a sorted, filtered, numbered, split log: ours, against one ``json.loads`` a line
    and pandas' groups. As many users and items as Electronics has; the generated file is removed at the end."""
    from benchmarks.generated import prepared, prepared_plainly, write_reviews

    folder = Path(tempfile.mkdtemp(prefix="gensar-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = write_reviews(
        folder / "reviews.json.gz", num_events, num_events // 9 + 1, num_events // 27 + 1, seed
    )
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
