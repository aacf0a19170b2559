"""The setting: one thing that an operator may set, with its kind, default, reason and readers; declared once.

Everything else follows from the declaration: parsing and refusal, flags, `config show` and `check`, and the reference.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Kind", "Reader", "Setting", "address", "choice", "decimal", "path", "paths", "text", "whole"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[T]):
    """How a value is written and what is allowed; each function raises ValueError for what is not."""

    allowed: str
    """What is allowed, as a person reads it after `it must be`."""
    from_text: Callable[[str], T]
    """Reads a flag or a variable of the environment."""
    from_toml: Callable[[Any], T]
    """Reads a value of the file."""
    unit: str = ""
    """What a number counts."""
    repeated: bool = False
    """The flag may be given several times; a variable has its values separated as in PATH."""


class Reader(Protocol):
    """A configuration, as far as a default looks at it that follows from other settings."""

    environ: Mapping[str, str]

    def __getitem__(self, setting: Setting[T]) -> T:
        """Return the value of a setting."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting(Generic[T]):
    """One setting."""

    section: str
    """The table of the file, as `agent`."""
    key: str
    """The key in that table; a quantity's ends in its unit, as `silence_seconds`."""
    kind: Kind[T]
    """How it is written."""
    summary: str
    """What it is."""
    reason: str
    """Why the default is what it is."""
    readers: Collection[str]
    """The processes that read it."""
    default: T | None = None
    """Its value when nobody sets it; None if it follows from something else, or must be set."""
    derived: Callable[[Reader], T] | None = None
    """Gives the default where that follows from something else."""
    derived_text: str = ""
    """What `derived` gives, as a person reads it."""
    flag: str = ""
    """The flag, as `--listen`; empty if it has none."""
    flagged: Collection[str] | None = None
    """The processes whose command line has the flag; all readers if None."""
    aliases: tuple[str, ...] = ()
    """Other variables of the environment that set it."""

    @property
    def name(self) -> str:
        """Return its whole name, as `agent.driver`."""
        return f"{self.section}.{self.key}"

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the variables of the environment that set it, the first one found counts."""
        return (f"VIRTYARD_{self.section}_{self.key}".upper(), *self.aliases)

    @property
    def required(self) -> bool:
        """Return whether it must be set."""
        return self.default is None and self.derived is None

    def has_flag(self, process: str) -> bool:
        """Return whether a process takes the flag."""
        return bool(self.flag) and process in (self.readers if self.flagged is None else self.flagged)

    def default_for(self, configuration: Reader) -> T:
        """Return the default.

        Raises:
            LookupError: there is none: it must be set.
        """
        if self.derived is not None:
            return self.derived(configuration)
        if self.default is None:
            raise LookupError(self.name)
        return self.default

    def written(self, value: T) -> str:
        """Return a value as the file has it."""
        return _written(value)


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value, ensure_ascii=False)


def text(allowed: str, pattern: str) -> Kind[str]:
    """Return the kind of a text that matches a pattern."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise ValueError(value)
        return value

    return Kind(allowed=allowed, from_text=read, from_toml=read)


def address(*, optional: bool = False, listening: bool = False, unix: bool = True) -> Kind[str]:
    """Return the kind of host:port.

    Args:
        optional: it may be empty.
        listening: the host may be left out, for every address of the machine.
        unix: it may be unix:PATH.
    """
    host = r"(\[[0-9a-fA-F:.]+\]|[^\s:/]+)"
    pattern = f"{host}{'?' if listening else ''}:(?P<port>\\d{{1,5}})" + (r"|unix:/\S+" if unix else "")
    allowed = [*(['""'] if optional else []), "host:port", *(["unix:PATH"] if unix else [])]

    def read(value: Any) -> str:
        if optional and value == "":
            return ""
        match = re.fullmatch(pattern, value) if isinstance(value, str) else None
        if match is None or int(match["port"] or 0) > 65535:
            raise ValueError(value)
        return match[0]

    return Kind(allowed=" or ".join(allowed), from_text=read, from_toml=read)


def choice(*values: str) -> Kind[str]:
    """Return the kind of one of several words; capitals make no difference."""

    def read(value: Any) -> str:
        word = value.lower() if isinstance(value, str) else ""
        if word not in values:
            raise ValueError(value)
        return word

    return Kind(allowed=f"one of {', '.join(values)}", from_text=read, from_toml=read)


def whole(unit: str, *, least: int = 0, most: int | None = None) -> Kind[int]:
    """Return the kind of a whole number of so many units."""

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least or (most or value) < value:
            raise ValueError(value)
        return value

    return Kind(
        allowed=f"a whole number, {_range(least, most)}",
        from_text=lambda text: check(int(text)),
        from_toml=check,
        unit=unit,
    )


def decimal(unit: str, *, least: float, most: float | None = None) -> Kind[float]:
    """Return the kind of a number of so many units."""

    def check(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(value)
        if value < least or (most if most is not None else value) < value:
            raise ValueError(value)
        return float(value)

    return Kind(
        allowed=f"a number, {_range(least, most)}",
        from_text=lambda text: check(float(text)),
        from_toml=check,
        unit=unit,
    )


def path() -> Kind[Path]:
    """Return the kind of a path; `~` is the home folder."""

    def read(value: Any) -> Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError(value)
        return _expanded(value)

    return Kind(allowed="a path", from_text=read, from_toml=read)


def paths() -> Kind[tuple[Path, ...]]:
    """Return the kind of any number of paths."""
    one = path()

    def read(value: Any) -> tuple[Path, ...]:
        if not isinstance(value, list):
            raise ValueError(value)  # noqa: TRY004 - the caller tells what is allowed, whatever is wrong
        return tuple(map(one.from_toml, value))

    return Kind(
        allowed="a list of paths",
        from_text=lambda text: tuple(map(one.from_text, filter(None, text.split(os.pathsep)))),
        from_toml=read,
        repeated=True,
    )


def _range(least: float, most: float | None) -> str:
    return f"{_number(least)} to {_number(most)}" if most is not None else f"at least {_number(least)}"


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _expanded(value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # `~` without a home
        raise ValueError(value) from error
