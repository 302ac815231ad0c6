"""Every source by name: settings in, `Tables` out.

This file only knows which reader belongs to which name; a reader is imported when it is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from gensar_lite.config import ConfigError, DataConfig
from gensar_lite.data.own.filetext import own_path
from gensar_lite.data.own.limits import check_limits
from gensar_lite.data.tables import Tables


def _shop(settings: DataConfig) -> Tables:
    from gensar_lite.data.shop.synthetic import make_shop

    return make_shop(settings)


def _beauty(settings: DataConfig) -> Tables:
    from gensar_lite.data.published.beauty import load_beauty

    return load_beauty(settings)


def _files(settings: DataConfig) -> Tables:
    from gensar_lite.data.own.files import load_files

    return load_files(settings)


def _amazon(settings: DataConfig) -> Tables:
    from gensar_lite.data.published.amazon import load_amazon

    return load_amazon(settings)


def _electronics(settings: DataConfig) -> Tables:
    return _amazon(dataclasses.replace(settings, category="Electronics"))


def _amazon2023(settings: DataConfig) -> Tables:
    from gensar_lite.data.published.amazon2023 import load_amazon2023

    return load_amazon2023(settings)


def _kuaisar(settings: DataConfig) -> Tables:
    from gensar_lite.data.published.kuaisar import load_kuaisar

    return load_kuaisar(settings)


def _movielens(settings: DataConfig) -> Tables:
    from gensar_lite.data.published.movielens import load_movielens

    return load_movielens(settings)


SOURCES: dict[str, Callable[[DataConfig], Tables]] = {
    "shop": _shop,
    "beauty": _beauty,
    "files": _files,
    "amazon": _amazon,
    "electronics": _electronics,
    "amazon2023": _amazon2023,
    "kuaisar": _kuaisar,
    "kuaisar-small": _kuaisar,
    "movielens-small": _movielens,
    "movielens-25m": _movielens,
}


def load_source(settings: DataConfig) -> Tables:
    """The tables of ``settings.source``. Raises `ConfigError` that lists the sources, or a setting's range."""
    check_limits(settings)
    if settings.source not in SOURCES:
        raise ConfigError(
            f"data.source: there is no {settings.source!r}. Choose one of: {', '.join(SOURCES)}."
        )
    return SOURCES[settings.source](settings)


def source_files(settings: DataConfig) -> dict[str, Path]:
    """Files outside the project's folders that a source reads, by table: edited ones make the corpus stale."""
    if settings.source != "files":
        return {}
    named = {name: getattr(settings, name) for name in ("items", "events", "queries")}
    return {name: own_path(path) for name, path in named.items() if path}
