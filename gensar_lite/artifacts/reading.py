"""A run's folders as they are: what was built, what still fits, the next step where it does not.

In: a `Config` and names of stages. Out: paths, digests, reasons in words. This file writes nothing.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gensar_lite.artifacts.folders import damage, path_digest, read_meta
from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.config import (
    STAGES,
    Config,
    ConfigError,
    as_of_today,
    changed_settings,
    gone,
    section_dict,
)

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


class Sources(NamedTuple):
    """Digests of all that a stage reads: of other stages, and of files `outside` artifacts/."""

    inputs: dict[str, str]
    outside: dict[str, str]


@dataclass(frozen=True)
class RunFolders:
    """One run's folders. `root` holds ``artifacts/`` and ``reports/``; `run` names the run."""

    root: Path
    config: Config
    run: str

    def __post_init__(self) -> None:
        """Raises `ConfigError` unless the run can name a folder on every system."""
        name = self.run
        plain = isinstance(name, str) and name and name == name.strip() and name.isprintable()
        # a colon starts a drive or a stream on Windows, two dots lead out of artifacts/
        if not plain or name.startswith(".") or ".." in name or set(name) & set("/\\:"):
            raise ConfigError(
                f"run: {name!r} is no name of a run. It names a folder: no / \\ : and no .., not "
                "empty, no dot in front, e.g. --run mine. Another place for all runs is "
                "--workspace FOLDER."
            )
        if name in _TAKEN:
            raise ConfigError(
                f"run: {name!r} is taken, {_TAKEN[name]} belongs to all runs. "
                "Choose another --run NAME."
            )

    def folder(self, stage: str) -> Path:
        """Where the stage's artefacts lie, or will."""
        return self.root / "artifacts" / self.run / stage

    def place(self, stage: str) -> str:
        """The same as messages say it."""
        return f"artifacts/{self.run}/{stage}"

    @property
    def report(self) -> Path:
        """Where the run's page, figures and metrics go."""
        return self.root / "reports" / self.run

    def meta(self, stage: str) -> dict | None:
        """The stage's ``meta.json``, or None when the stage was never finished."""
        return read_meta(self.folder(stage))

    def sources(self, stage: str, outside: dict[str, Path]) -> Sources:
        """What the stage reads now: "" for a stage never built, nothing for a file not there."""
        inputs = {name: (self.meta(name) or {}).get("digest", "") for name in INPUTS[stage]}
        # of a folder, every file below it is read: seconds for a large model
        files = {name: path_digest(path) for name, path in outside.items()}
        return Sources(inputs, {name: digest for name, digest in files.items() if digest})

    def why_stale(self, stage: str) -> str | None:
        """None if the stage's folder fits settings and inputs; else the reason in words."""
        meta = self.meta(stage)
        if meta is None:
            return "has not been built"
        settings = section_dict(getattr(self.config, stage))
        built = as_of_today(stage, meta["settings"])
        if problem := gone(stage, built):
            return f"was built by an earlier version: {problem}"
        if built != settings:  # the first reason that a user can do something about
            keys = [k for k in settings | built if settings.get(k) != built.get(k)]
            pairs = [f"{stage}.{k} {built.get(k)!r} -> {settings.get(k)!r}" for k in keys]
            return f"was built with other settings ({', '.join(pairs)})"
        # depth first: the message names the stage furthest upstream that is to blame
        for name in INPUTS[stage]:
            reason = self.why_stale(name)
            if reason:
                return f"stands on {name}, which {reason}"
            if meta["inputs"][name] != self.meta(name)["digest"]:
                return f"was built before {name} changed"
        return None

    def why_rebuild(
        self, stage: str, outside: dict[str, Path], now: Sources | None = None
    ) -> str | None:
        """None if `Workspace.build` would reuse the stage's folder, else the reason in words.

        now  what the stage reads, where that was looked at already
        """
        reason = self.why_stale(stage)
        if reason:
            return reason
        # then the user's own files, then our own: digests of large folders come last
        recorded = self.meta(stage).get("outside", {})
        read = (now or self.sources(stage, outside)).outside
        edited = [name for name in recorded | read if recorded.get(name) != read.get(name)]
        if edited:
            return f"was built from other {' and '.join(edited)}, which changed since"
        return damage(self.folder(stage), self.meta(stage))

    def require(self, stage: str) -> Path:
        """The stage's folder, checked against settings, inputs and its own file hashes.

        Raises `ArtifactError` naming the notebook and the command to rerun.
        """
        reason = self.why_stale(stage) or damage(self.folder(stage), self.meta(stage))
        if reason:
            raise ArtifactError(f"{stage}: {self.place(stage)} {reason}. {self._advice(stage)}")
        return self.folder(stage)

    def _advice(self, stage: str) -> str:
        """The next step; never one that would put another source into a run that holds one."""
        # building this stage again would begin with data, so data decides what may be advised
        held = (self.meta("data") or {}).get("settings", {}).get("source")
        wanted = self.config.data.source
        if held in (None, wanted):
            return self.again(stage)
        return (
            f"The run {self.run} holds the source {held}, these settings name {wanted}. Go on "
            f"with the run as it is: gensar {stage} --run {shlex.quote(self.run)}; or choose "
            "another name for this one (--run NAME)."
        )

    def again(self, stage: str) -> str:
        """How to build a stage again, for the end of a message."""
        return f"Run {LESSON[stage]} again, or: {self.command(stage)}"

    def command(self, verb: str) -> str:
        """The shell line that runs `verb` here: preset, run, and each setting that differs."""
        # from the nearest preset, so that the line is as short as it can be
        base, changed = changed_settings(self.config)
        run = [] if self.run == base else ["--run", self.run]
        sets = [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
        return shlex.join(["gensar", verb, "--preset", base, *run, *sets])
