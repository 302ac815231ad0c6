"""How one setting is declared, and how a value for it is read and refused.

In: the line of a section that declares a setting, and a value, as text or from Python.
Out: the value in the declared type, or a `ConfigError` with the valid values and the nearest name.
This file does not know which settings there are, nor what they need of each other.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Iterable
from typing import Literal, NamedTuple


class ConfigError(ValueError):
    """An unknown setting, or a value that it cannot have; the message lists what is valid."""


class Setting(NamedTuple):
    """The declaration of one setting.

    kind             int, float, bool or str: of the value, or of each value of a list
    is_list          whether the value is a tuple of such values
    choices          the valid values, () where they are not counted
    low, high        the least and the greatest number; above, below: the same without the bound
    needed           a text that may not be blank; a list that is not empty and has no value twice
    """

    key: str
    kind: type
    is_list: bool
    default: object
    meaning: str
    choices: tuple[str, ...]
    low: float | None
    high: float | None
    above: float | None
    below: float | None
    needed: bool

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
        low = f"above {self.above:,}" if self.low is None else f"{self.low:,} or more"
        if self.high is not None:
            return f"{kind}, {self.low:,} to {self.high:,}"
        return f"{kind}, {low}" + ("" if self.below is None else f" and below {self.below:,}")

    def parse(self, value: object) -> object:
        """`value` in the declared type. Raises `ConfigError` for what it cannot be."""
        if not self.is_list:
            return self._checked(_typed(self.key, value, self.kind))
        if isinstance(value, str):  # as the command line gives it: a,b,c
            value = value.split(",") if value.strip() else []
        if not isinstance(value, list | tuple):
            raise ConfigError(
                f"settings: {self.key} expects a list of {self.kind.__name__}, got {value!r}. "
                f"Write it as a,b,c. Valid is a {self.valid}."
            )
        parts = [part.strip() if isinstance(part, str) else part for part in value]
        values = tuple(self._checked(_typed(self.key, part, self.kind)) for part in parts)
        if self.needed and (not values or len(set(values)) < len(values)):
            raise ConfigError(
                f"{self.key}: {', '.join(map(str, values)) or 'nothing'} is no valid list. "
                f"Name one or more, each once. Valid is a {self.valid}."
            )
        return values

    def _checked(self, value: object) -> object:
        """One value of the right type, or a `ConfigError` where it is no choice or out of range."""
        if self.choices:
            return one_of(self.key, value, self.choices)
        if self.kind is str and self.needed and not value.strip():
            raise ConfigError(f"{self.key}: it may not be empty. It is {self.meaning}.")
        if self.kind in (int, float) and not self._in_range(value):
            raise ConfigError(f"{self.key}: {value} is not valid. Set it to a {self._range()}.")
        return value

    def _in_range(self, number: float) -> bool:
        return (
            math.isfinite(number)
            and (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )


def setting(
    default: object,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    needed: bool = False,
) -> typing.Any:
    """A dataclass field that declares a setting; its type hint names type and choices."""
    words = {"meaning": meaning, "low": low, "high": high, "above": above, "below": below}
    return dataclasses.field(default=default, metadata=words | {"needed": needed})


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
        rows[field.name] = Setting(
            key, kind, is_list, field.default, choices=choices, **field.metadata
        )
    return rows


def one_of(key: str, value: str, choices: Iterable[str]) -> str:
    """`value` if it is among `choices`; else raises `ConfigError` with the nearest and all."""
    choices = tuple(choices)
    if value in choices:
        return value
    choice_list = ", ".join(choices)
    raise ConfigError(
        f"{key}: there is no {value!r}.{nearest(str(value), choices)} Choose one of: {choice_list}."
    )


def nearest(name: str, names: Iterable[str]) -> str:
    """`` Did you mean x or y?`` of the names most like `name`, ``""`` where none is."""
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _typed(key: str, value: object, kind: type) -> object:
    """`value` as `kind`: text is parsed, an int may stand for a float, nothing else is bent."""
    if isinstance(value, str) and kind is bool and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    try:
        if isinstance(value, str) and kind in (int, float):
            return kind(value)
    except ValueError:
        pass  # refused below
    if type(value) is int and kind is float:
        return float(value)
    if type(value) is kind:
        return value
    raise ConfigError(
        f"settings: {key} expects {kind.__name__}, got {value!r} ({type(value).__name__})."
    )
