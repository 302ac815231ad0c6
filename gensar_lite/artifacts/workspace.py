"""A run's folders: built once, published whole, refused when they no longer fit.

In: a `Config` and a function that fills a folder. Out: ``artifacts/<run>/<stage>/`` with a ``meta.json`` written last.
This file does not know how any artefact is computed, nor what a model is.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gensar_lite.artifacts.building import build_stage
from gensar_lite.machine.console import say
from gensar_lite.artifacts.folders import damage, read_meta
from gensar_lite.artifacts.guards import rebuild_reason, sources_of
from gensar_lite.artifacts.layout import INPUTS, LESSON, check_run
from gensar_lite.artifacts.records import ArtifactError
from gensar_lite.config import Config, changed_settings, preset, section_dict, without_constants


@dataclass(frozen=True)
class Workspace:
    """One run's folders. `root` holds ``artifacts/`` and ``reports/``; `run` names the run."""

    root: Path
    config: Config
    run: str

    @staticmethod
    def open(config: Config | None = None, root: Path | str = ".", run: str | None = None) -> Workspace:
        """Raises `ConfigError` for a run's name that is no plain name of a folder."""
        config = config or preset()
        return Workspace(Path(root).resolve(), config, config.name if run is None else run)

    def __post_init__(self) -> None:
        check_run(self.run)

    def folder(self, stage: str) -> Path:
        return self.root / "artifacts" / self.run / stage

    @property
    def report(self) -> Path:
        """Where the run's page, figures and metrics go."""
        return self.root / "reports" / self.run

    def meta(self, stage: str) -> dict | None:
        """The stage's ``meta.json``, or None when the stage was never finished."""
        return read_meta(self.folder(stage))

    def why_stale(self, stage: str) -> str | None:
        """None if the stage's folder fits settings and inputs; else the reason in words."""
        meta = self.meta(stage)
        if meta is None:
            return "has not been built"
        settings, built = section_dict(getattr(self.config, stage)), without_constants(stage, meta["settings"])
        if built != settings:
            keys = [k for k in settings | built if settings.get(k) != built.get(k)]
            pairs = ", ".join(f"{stage}.{k} {built.get(k)!r} -> {settings.get(k)!r}" for k in keys)
            return f"was built with other settings ({pairs})"
        for name in INPUTS[stage]:
            reason = self.why_stale(name)
            if reason:
                return f"stands on {name}, which {reason}"
            if meta["inputs"][name] != self.meta(name)["digest"]:
                return f"was built before {name} changed"
        return None

    def require(self, stage: str) -> Path:
        """The stage's folder, checked against settings, inputs and its own file hashes.

        Raises `ArtifactError` naming the notebook and the command to rerun.
        """
        reason = self.why_stale(stage) or damage(self.folder(stage), self.meta(stage))
        if reason:
            place = f"artifacts/{self.run}/{stage}"
            raise ArtifactError(f"{stage}: {place} {reason}. {self._advice(stage)}")
        return self.folder(stage)

    def _advice(self, stage: str) -> str:
        """The next step; never a command that would put another source into a run that holds one."""
        held = (self.meta("data") or {}).get("settings", {}).get("source")
        wanted = self.config.data.source
        if held in (None, wanted):
            return f"Run {LESSON[stage]} again, or: {self.command(stage)}"
        return (
            f"The run {self.run} holds the source {held}, these settings name {wanted}. Go on with the run as it is: "
            f"gensar {stage} --run {shlex.quote(self.run)}; or choose another name for this one (--run NAME)."
        )

    def command(self, verb: str) -> str:
        """The shell line that runs `verb` here: preset, run name and every setting that differs from the preset."""
        base, changed = changed_settings(self.config)
        words = ["gensar", verb, "--preset", base] + (["--run", self.run] if self.run != base else [])
        for key, value in changed.items():
            words += ["--set", f"{key}={value}"]
        return shlex.join(words)

    def why_rebuild(self, stage: str, outside: dict[str, Path] | None = None) -> str | None:
        """None if `build` would reuse the stage's folder, else the reason in words. `outside`: see `build`."""
        return rebuild_reason(self, stage, sources_of(self, stage, outside or {}))

    def build(
        self,
        stage: str,
        make: Callable[[Path], dict],
        say: Callable[[str], None] = say,
        rank: int = 0,
        outside: dict[str, Path] | None = None,
    ) -> Path:
        """Run `make(folder)` for a stage unless its folder is fresh; publish the result atomically.

        `make` fills an empty folder and returns statistics for ``meta.json``, which is written last. A lock
        lets one process build while others wait and then reuse. Where several processes compute one stage
        together, each passes its `rank`: all of them run `make`, and rank 0 publishes. `outside` names files and
        folders of the user's own that `make` reads: when one of them changes, the stage is built again.

        What is read is compared before and after: where it changed meanwhile nothing is published. A folder in the
        stage's place that is not ours is never replaced. Raises `ArtifactError` for both, for inputs that are missing
        or stale, and for what the disk refuses. Returns the folder.
        """
        return build_stage(self, stage, make, say, rank, outside or {})
