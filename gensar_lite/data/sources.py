"""Every source by name: settings in, `Tables` out.

This file only knows which reader belongs to which name; a reader is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from gensar_lite.config import ConfigError, DataConfig
from gensar_lite.data.tables import Tables


def _shop(settings: DataConfig) -> Tables:
    from gensar_lite.data.synthetic import make_shop

    return make_shop(settings)


def _beauty(settings: DataConfig) -> Tables:
    from gensar_lite.data.beauty import load_beauty

    return load_beauty(settings)


def _files(settings: DataConfig) -> Tables:
    from gensar_lite.data.files import load_files

    return load_files(settings)


SOURCES: dict[str, Callable[[DataConfig], Tables]] = {"shop": _shop, "beauty": _beauty, "files": _files}


def load_source(settings: DataConfig) -> Tables:
    """The tables of ``settings.source``. Raises `ConfigError` that lists the sources."""
    if settings.source not in SOURCES:
        raise ConfigError(f"data.source: there is no {settings.source!r}. Choose one of: {', '.join(SOURCES)}.")
    return SOURCES[settings.source](settings)


def source_state(settings: DataConfig) -> dict[str, str]:
    """Digests of files outside the project's folders that a source reads: edited ones make the corpus stale."""
    if settings.source != "files":
        return {}
    from gensar_lite.data.files import source_files

    return source_files(settings)
