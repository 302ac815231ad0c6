"""What this machine has, and what the project would find on it.

In: nothing but the machine. Out: `report()`, lines of (what, finding), for the caller to print.
This file repairs nothing, downloads nothing and trains nothing; a finding that needs a step names
it.
"""

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
from gensar_lite.machine.measured import WORTH, answers_file
from gensar_lite.machine.precision import bf16_speedup, use_bf16
from gensar_lite.machine.threads import preferred_threads, threads_speedup, usable_cores

_PACKAGES = (
    *("gensar-lite", "torch", "transformers", "accelerate", "sentence-transformers"),
    *("tokenizers", "numpy", "pandas", "scikit-learn", "faiss-cpu"),
    *("papermill", "jupyterlab", "umap-learn", "pytest"),
)
GIB = 2**30
_WIDTH = 64  # of SASRec, the smallest model that the presets train


def report() -> list[tuple[str, str]]:
    """(what, finding) lines: software, hardware, disk, where files come from, what is here."""
    memory = psutil.virtual_memory()
    free = shutil.disk_usage(Path.cwd()).free
    offline = os.environ.get("GENSAR_OFFLINE", "").lower() not in ("", "0", "false")
    return [
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((name, _version(name)) for name in _PACKAGES),
        ("cores", f"{usable_cores()} usable of {os.cpu_count()}"),
        ("memory", f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB available"),
        ("GPU", _gpu()),
        ("bf16", _bf16()),
        ("threads", _threads()),
        ("measured", f"{answers_file()} keeps it; delete the file to measure again"),
        ("free disk", f"{free / GIB:.1f} GiB in the current folder"),
        ("mirror", _mirror()),
        ("offline mode", "on (GENSAR_OFFLINE)" if offline else "off"),
        ("data folder", str(data_folder())),
        *((f"source {name}", _source(name)) for name in SOURCES),
        ("text encoder", _encoder()),
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"missing. Run: pip install {name}"


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none that torch can use; every preset but beauty and paper is made for the CPU"
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return ", ".join(f"{gpu.name} ({gpu.total_memory / GIB:.0f} GiB)" for gpu in gpus)


def _bf16() -> str:
    choice = f"precision=auto uses {'bf16' if use_bf16('auto') else 'fp32'}"
    if torch.cuda.is_available():
        return f"{choice} on this GPU"
    speedup = bf16_speedup()
    if not speedup:
        return f"{choice}: this processor does not know bf16"
    return f"{choice}: bf16 is {speedup:.2f} times as fast as fp32 here, worth it from {WORTH}"


def _threads() -> str:
    threads, speedup = torch.get_num_threads(), threads_speedup(_WIDTH)
    if speedup is None:
        return f"torch uses {threads}"
    chosen = preferred_threads(_WIDTH)
    return f"small models use {chosen}: {threads} are {speedup:.2f} times as fast as one here"


def _mirror() -> str:
    mirror = os.environ.get("GENSAR_MIRROR", "")
    if not mirror:
        return "not set (GENSAR_MIRROR)"
    # a mirror is an address or a folder
    address = urlsplit(mirror)
    if "://" in mirror and address.scheme != "file":
        return f"{mirror}, a server that is asked only when a file is needed"
    there = Path(address.path if address.scheme == "file" else mirror).is_dir()
    return f"{mirror}, " + ("there" if there else "which does not exist. Correct GENSAR_MIRROR.")


def _source(name: str) -> str:
    # only looks whether files are there and whole: nothing is fetched
    source, missing = SOURCES[name], missing_files(name)
    if not missing:
        return f"downloaded, {len(source.files)} files intact"
    count = f"{len(missing)} of {len(source.files)} files to fetch ({source.size_text})"
    return f"{count}. Run: gensar download {name}"


def _encoder() -> str:
    # its files are compared with the hashes that the project knows, no model is loaded
    try:
        return f"all-MiniLM-L6-v2 verified, in package {minilm_folder().parent.name}"
    except (ArtifactError, OSError) as problem:
        return str(problem)
