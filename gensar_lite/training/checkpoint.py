"""Checkpoints that are whole or absent: weights, optimiser and progress of a training run.

In: tensors and a manifest. Out: a folder, renamed into place when complete. No pickle.
This file does not know what is trained.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gensar_lite.artifacts import file_digest, write_json


def fingerprint(value: object) -> str:
    """A short digest of JSON-ready settings: a checkpoint of other settings must not be resumed."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save_checkpoint(folder: Path, tensors: dict[str, dict[str, torch.Tensor]], progress: dict) -> None:
    """Write ``<name>.safetensors`` for each group and ``manifest.json`` last, then swap the folder in.

    The folder of the step before is removed only after the new one stands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".draft-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    for name, group in tensors.items():
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in group.items()}, draft / f"{name}.safetensors")
    files = {p.name: file_digest(p) for p in sorted(draft.iterdir())}
    write_json(draft / "manifest.json", progress | {"files": files})
    target = folder / f"step-{progress['step']:08d}"
    shutil.rmtree(target, ignore_errors=True)
    os.rename(draft, target)
    for old in folder.glob("step-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, wanted: str) -> tuple[dict[str, dict[str, torch.Tensor]], dict] | None:
    """The newest complete checkpoint whose fingerprint is `wanted`, or None."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            progress = json.loads((path / "manifest.json").read_text())
        except (OSError, ValueError):  # half written, or damaged: as good as absent
            continue
        whole = all((path / n).exists() and file_digest(path / n) == d for n, d in progress["files"].items())
        if whole and progress["fingerprint"] == wanted:
            return {Path(n).stem: load_file(path / n) for n in progress["files"]}, progress
    return None


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An Adam-like optimiser's state as flat named tensors."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": torch.as_tensor(v) for i, entry in state.items() for name, v in entry.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """The reverse of `optimiser_tensors`."""
    whole = optimiser.state_dict()
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(whole | {"state": entries})
