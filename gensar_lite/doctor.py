"""What this machine has, and what the project would find on it.

In: nothing but the machine. Out: `report()`, lines of (what, finding), for the caller to print. This file
repairs nothing, downloads nothing and trains nothing; a finding that needs a step names it.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import torch

from data_download import SOURCES, data_folder, missing_files
from gensar_lite.artifacts import ArtifactError
from gensar_lite.embeddings import minilm_folder
from gensar_lite.machine.precision import use_bf16

_PACKAGES = (
    "gensar-lite", "torch", "transformers", "accelerate", "sentence-transformers", "tokenizers", "numpy", "pandas",
    "scikit-learn", "faiss-cpu", "papermill", "jupyterlab", "umap-learn", "pytest",
)  # fmt: skip


def report() -> list[tuple[str, str]]:
    """(what, finding) lines: software, hardware, disk, where files come from, what is already here."""
    return [
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((name, _version(name)) for name in _PACKAGES),
        ("cores", f"{_cores()} usable of {os.cpu_count()}, torch uses {torch.get_num_threads()}"),
        ("memory", "{:.1f} GiB, {:.1f} GiB available".format(*_memory())),
        ("GPU", _gpu()),
        (
            "bf16",
            "yes, training uses it" if use_bf16("auto") else "not native here, training uses fp32",
        ),
        (
            "free disk",
            f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB in the current folder",
        ),
        ("mirror", _mirror()),
        ("offline mode", "on (GENSAR_OFFLINE)" if _is_on("GENSAR_OFFLINE") else "off"),
        ("data folder", str(data_folder())),
        *((f"source {name}", _source(name)) for name in SOURCES),
        ("text encoder", _encoder()),
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"missing. Run: pip install {name}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> tuple[float, float]:
    memory = psutil.virtual_memory()
    return memory.total / 2**30, memory.available / 2**30


def _gpu() -> str:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in names)
    return "none that torch can use; every preset but beauty and paper is made for the CPU"


def _mirror() -> str:
    mirror = os.environ.get("GENSAR_MIRROR", "")
    if not mirror:
        return "not set (GENSAR_MIRROR)"
    if mirror.startswith("file:") or "://" not in mirror:
        folder = Path(urlsplit(mirror).path if mirror.startswith("file:") else mirror)
        return f"{mirror}, " + (
            "there" if folder.is_dir() else "which does not exist. Correct GENSAR_MIRROR."
        )
    return f"{mirror}, a server that is asked only when a file is needed"


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").lower() not in ("", "0", "false")


def _source(name: str) -> str:
    source, missing = SOURCES[name], missing_files(name)
    if not missing:
        return f"downloaded, {len(source.files)} files intact"
    todo = f"{len(missing)} of {len(source.files)} files to fetch ({source.size_text})"
    return f"{todo}. Run: gensar download {name}"


def _encoder() -> str:
    try:
        return f"all-MiniLM-L6-v2 verified, in package {minilm_folder().parent.name}"
    except (ArtifactError, OSError) as problem:
        return str(problem)
