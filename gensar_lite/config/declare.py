"""How one setting is declared, and how a value for it is read and refused.

In: the line of a section that declares a setting, and a value, as text or from Python.
Out: the value in the declared type, or a `ConfigError` with the valid values and the nearest name.
This file does not know which settings there are, nor what they need of each other.
"""

import contextlib
import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Iterable
from typing import Literal, NamedTuple

_BOOLS = {"true": True, "1": True, "false": False, "0": False}


class ConfigError(ValueError):
    """An unknown setting, or a value that it cannot have; the message lists what is valid."""


class Setting(NamedTuple):
    """The declaration of one setting.

    kind        int, float, bool or str: of the value, or of each value of a list
    choices     the valid values, () where they are not counted
    low, high   the least and the greatest number; above, below: the same without the bound
    needed      a text that may not be blank; a list that is not empty and has no value twice
    """

    key: str
    kind: type
    is_list: bool
    default: object
    choices: tuple[str, ...]
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    needed: bool = False

    @property
    def valid(self) -> str:
        """What its values may be, in words, e.g. ``1 or more`` or ``level, vocabulary``."""
        words = "true, false" if self.kind is bool else "text"
        if self.choices:
            words = ", ".join(self.choices)
        elif self.kind in (int, float):
            words = self._range()
        return f"list of: {words}" if self.is_list else words

    def _range(self) -> str:
        kind = "whole number" if self.kind is int else "number"
        if math.isfinite(self.high):
            return f"{kind}, {self.low:,} to {self.high:,}"
        low = f"{self.low:,} or more" if math.isfinite(self.low) else f"above {self.above:,}"
        return f"{kind}, {low}" + (
            f" and below {self.below:,}" if math.isfinite(self.below) else ""
        )

    def parse(self, value: object) -> object:
        """`value` in the declared type. Raises `ConfigError` for what it cannot be."""
        if not self.is_list:
            return self._checked(value)
        if isinstance(value, str):  # as the command line gives it: a,b,c
            value = value.split(",") if value.strip() else []
        if not isinstance(value, list | tuple):
            raise ConfigError(
                f"settings: {self.key} expects a list of {self.kind.__name__}, got {value!r}. "
                f"Write it as a,b,c. Valid is a {self.valid}."
            )
        parts = [part.strip() if isinstance(part, str) else part for part in value]
        values = tuple(map(self._checked, parts))
        if self.needed and (not values or len(set(values)) < len(values)):
            raise ConfigError(
                f"{self.key}: {', '.join(map(str, values)) or 'nothing'} is no valid list. "
                f"Name one or more, each once. Valid is a {self.valid}."
            )
        return values

    def _checked(self, value: object) -> object:
        """One value of the right type, or a `ConfigError` where it is no choice or out of range."""
        value = self._typed(value)
        if self.choices:
            return one_of(self.key, value, self.choices)
        if self.kind is str and self.needed and not value.strip():
            raise ConfigError(f"{self.key}: it may not be empty. It is {self.meaning}.")
        # nothing infinite, and no NaN, passes all four comparisons
        if self.kind in (int, float) and not (
            self.low <= value <= self.high and self.above < value < self.below
        ):
            raise ConfigError(f"{self.key}: {value} is not valid. Set it to a {self._range()}.")
        return value

    def _typed(self, value: object) -> object:
        """Text is parsed, an int may stand for a float, nothing else is bent."""
        kind = self.kind
        if isinstance(value, str) and kind is not str:
            with contextlib.suppress(ValueError, KeyError):  # refused below
                return _BOOLS[value.lower()] if kind is bool else kind(value)
        elif type(value) is kind or (type(value) is int and kind is float):
            return kind(value)
        raise ConfigError(
            f"settings: {self.key} expects {kind.__name__}, got {value!r} ({type(value).__name__})."
        )


def setting(default: object, meaning: str, **bounds: object) -> typing.Any:
    """A dataclass field that declares a setting; its type hint names type and choices.

    bounds  ``low, high, above, below, needed`` of `Setting`
    """
    return dataclasses.field(default=default, metadata={"meaning": meaning, **bounds})


@functools.cache  # type hints are slow to resolve, and asked for with every setting
def declared(stage: str, section: type) -> dict[str, Setting]:
    """The declarations of a section, ``{name: Setting}``, in order."""
    hints = typing.get_type_hints(section)
    rows = {}
    for field in dataclasses.fields(section):
        hint = hints[field.name]
        is_list = typing.get_origin(hint) is tuple
        kind = typing.get_args(hint)[0] if is_list else hint
        choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
        kind = str if choices else kind
        key = f"{stage}.{field.name}"
        rows[field.name] = Setting(key, kind, is_list, field.default, choices, **field.metadata)
    return rows


def one_of(key: str, value: str, choices: Iterable[str]) -> str:
    """`value` if it is among `choices`; else raises `ConfigError` with the nearest and all."""
    choices = tuple(choices)
    if value not in choices:
        raise ConfigError(
            f"{key}: there is no {value!r}.{nearest(str(value), choices)} "
            f"Choose one of: {', '.join(choices)}."
        )
    return value


def nearest(name: str, names: Iterable[str]) -> str:
    """`` Did you mean x or y?`` of the names most like `name`, ``""`` where none is."""
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""
