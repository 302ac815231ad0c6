"""Every source by name: settings in, `Tables` out.

This file only knows which reader belongs to which name; a reader is imported when it is asked for.
"""

import importlib
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from data_download import DownloadError
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.own.filetext import own_path
from gensar_lite.data.report import Report

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


class Tables(NamedTuple):
    """One data set as its source delivers it, before splitting.

    items      ``item_id, title, text, brand, category``; row number = id; levels of a category
               joined by `` > ``
    queries    ``query_id, text``; row number = id; ``kind`` where there are kinds of queries
    events     ``user_id, time, task, item_id, query_id``; one row per event (a search event is one
               query with one click), any order; ``query_id`` is -1 for recommendation
    relevance  ``query_id, item_id, grade``: every item that answers a query (grade >= 1)
    facts      numbers and sentences for the data report, e.g. ``{"search": "semi-synthetic"}``
    truth      tensors of the generating process (built-in shop only), saved beside the corpus
    users      ``user_id, source_id``: whose row is whose (the user's files only)
    report     what was fixed, dropped and warned about (the user's files only)
    """

    items: pd.DataFrame
    queries: pd.DataFrame
    events: pd.DataFrame
    relevance: pd.DataFrame
    facts: dict[str, object]
    truth: dict | None = None
    users: pd.DataFrame | None = None
    report: Report | None = None


def load_source(settings: DataConfig) -> Tables:
    """The tables of ``settings.source``. Raises `ArtifactError` where its files cannot be had or
    used, with the next step."""
    file, function = SOURCES[settings.source]
    load = getattr(importlib.import_module(f"gensar_lite.data.{file}"), function)
    try:
        return load(settings)
    except DownloadError as problem:  # of any reader: to a stage it is one more input that lacks
        raise ArtifactError(str(problem)) from None


def source_files(settings: DataConfig) -> dict[str, Path]:
    """A user's files that a source reads, by table: edited ones make the corpus stale."""
    if settings.source != "files":
        return {}
    named = {name: getattr(settings, name) for name in ("items", "events", "queries")}
    return {name: own_path(path) for name, path in named.items() if path}
