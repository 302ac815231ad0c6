"""Every source by name: settings in, `Tables` out.

This file only knows which reader belongs to which name; a reader is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from data_download import DownloadError
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.own.filetext import own_path
from gensar_lite.data.tables import Tables

# name -> file of this room and its function, which takes the settings
SOURCES = {
    "shop": ("shop.synthetic", "make_shop"),
    "files": ("own.files", "load_files"),
    "beauty": ("published.beauty", "load_beauty"),
    "amazon": ("published.amazon", "load_amazon"),
    "electronics": ("published.amazon", "load_amazon"),
    "kuaisar": ("published.kuaisar", "load_kuaisar"),
    "kuaisar-small": ("published.kuaisar", "load_kuaisar"),
    "movielens-small": ("published.movielens", "load_movielens"),
    "movielens-25m": ("published.movielens", "load_movielens"),
}


def load_source(settings: DataConfig) -> Tables:
    """The tables of ``settings.source``.

    Raises `ArtifactError` where its files cannot be had or used, with the next step.
    """
    file, function = SOURCES[settings.source]
    load = getattr(importlib.import_module(f"gensar_lite.data.{file}"), function)
    try:
        return load(settings)
    except DownloadError as problem:  # of any reader: to a stage it is one more input that lacks
        raise ArtifactError(str(problem)) from None


def source_files(settings: DataConfig) -> dict[str, Path]:
    """Files outside the project's folders that a source reads, by table: edited ones make the
    corpus stale."""
    if settings.source != "files":
        return {}
    named = {name: getattr(settings, name) for name in ("items", "events", "queries")}
    return {name: own_path(path) for name, path in named.items() if path}
