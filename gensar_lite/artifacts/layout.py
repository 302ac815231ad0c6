"""Which stage reads which, the notebook of each, and what a run may be called.

In: names. Out: names, or a `ConfigError`. This file touches no disk.
"""

from __future__ import annotations

from gensar_lite.config import STAGES, ConfigError

# what each stage reads; a change upstream makes everything below stale
INPUTS: dict[str, tuple[str, ...]] = {
    "data": (),
    "embeddings": ("data",),
    "identifiers": ("data", "embeddings"),
    "training": ("data", "identifiers"),
    "decoding": ("data", "identifiers", "training"),
    "evaluation": ("data", "embeddings", "identifiers", "training", "decoding"),
}
LESSON = {stage: f"notebooks/{i:02d}_{stage}.ipynb" for i, stage in enumerate(STAGES, start=1)}
# folders that all runs share
_TAKEN = {"cache": "artifacts/cache/", "baselines": "reports/baselines/"}


def check_run(name: object) -> None:
    """Raises `ConfigError` unless `name` can name a folder below artifacts/ on every system."""
    plain = isinstance(name, str) and name and name == name.strip() and name.isprintable()
    # a colon starts a drive or a stream on Windows, two dots lead out of artifacts/
    if not plain or name.startswith(".") or ".." in name or set(name) & set("/\\:"):
        raise ConfigError(
            f"run: {name!r} is no name of a run. It names a folder: no / \\ : and no .., not "
            "empty, no dot in front, e.g. --run mine. Another place for all runs is --workspace "
            "FOLDER."
        )
    if name in _TAKEN:
        raise ConfigError(
            f"run: {name!r} is taken, {_TAKEN[name]} belongs to all runs. "
            "Choose another --run NAME."
        )


def upstream(stage: str) -> list[str]:
    """Every stage that `stage` stands on, the first one first."""
    # inputs and theirs in turn, each once, in the order in which stages are built
    below = set(INPUTS[stage]).union(*(upstream(name) for name in INPUTS[stage]))
    return sorted(below, key=STAGES.index)
