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


SOURCES: dict[str, Callable[[DataConfig], Tables]] = {"shop": _shop, "beauty": _beauty}


def load_source(settings: DataConfig) -> Tables:
    """The tables of ``settings.source``. Raises `ConfigError` that lists the sources."""
    if settings.source not in SOURCES:
        raise ConfigError(f"data.source: there is no {settings.source!r}. Choose one of: {', '.join(SOURCES)}.")
    return SOURCES[settings.source](settings)
