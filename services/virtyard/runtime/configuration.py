"""The configuration of a process: each setting's value and where it came from: flag, environment, file or default.

A flag goes before the environment, that before the file, the file before the default. What is wrong is gathered, each
problem with its place and what is allowed, so that a person mends all of it at once.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from typing_extensions import override

from virtyard.runtime.setting import Setting

__all__ = ["FILE", "VARIABLE", "Configuration", "Found", "Problem", "find_file", "load", "unknown_variables"]

T = TypeVar("T")
FILE = "virtyard.toml"
VARIABLE = "VIRTYARD_CONFIG"
_SYSTEM = Path("/etc/virtyard")
_DEFAULT = "default"
_PREFIX = "VIRTYARD_"
_CLOSE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a configuration."""

    where: str
    """The place, as `--cpus`, `VIRTYARD_AGENT_CPUS` or `/etc/virtyard/virtyard.toml, line 3, [agent] cpus`."""
    message: str
    """What is wrong and what is allowed."""

    @override
    def __str__(self) -> str:
        """Return both."""
        return f"{self.where}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A value with its source."""

    value: Any
    """The value, of the setting's type."""
    source: str
    """`flag --listen`, `environment VIRTYARD_UP_LISTEN`, `FILE, line 3`, or `default`."""


class Configuration:
    """The values of one process."""

    def __init__(self, environ: Mapping[str, str], file: Path | None, found: Mapping[Setting[Any], Found]) -> None:
        """Take what was found; `load` makes one."""
        self.environ = environ
        self.file = file
        self._found = found

    def __getitem__(self, setting: Setting[T]) -> T:
        """Return the value of a setting."""
        return cast(T, self.found(setting).value)

    def found(self, setting: Setting[Any]) -> Found:
        """Return the value of a setting and its source.

        Raises:
            LookupError: it has no default and nobody has set it.
        """
        return self._found.get(setting) or Found(value=setting.default_for(self), source=_DEFAULT)


def find_file(environ: Mapping[str, str], *, user: int | None = None) -> Path | None:
    """Return the file that is read when no flag names one; None if there is none.

    VIRTYARD_CONFIG names it outright. Else it is the user's own or that of the system, whichever is there, the
    system's first for root. One file is read, never two.
    """
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE])
    base = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    own = [Path(base) / "virtyard" / FILE] if base else []
    root = (os.getuid() if user is None else user) == 0
    places = [_SYSTEM / FILE, *own] if root else [*own, _SYSTEM / FILE]
    return next(filter(_is_there, places), None)


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:  # a folder that this user may not enter
        return False


def load(
    settings: Collection[Setting[Any]],
    process: str,
    *,
    flags: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    file: Path | None,
) -> tuple[Configuration, list[Problem]]:
    """Return the configuration of a process, and everything that is wrong with it.

    Args:
        settings: all settings that there are; those that the process does not read are checked, too.
        process: which one, as `agent`; nothing is required of an empty one.
        flags: the texts that were given to each flag, as `--cpus`.
        environ: the environment.
        file: the file; None for none.
    """
    problems: list[Problem] = []
    stored, lines = _read_file(settings, file, problems)
    found: dict[Setting[Any], Found] = {}
    for setting in settings:
        # All are read, so that a mistake in the file is told though a flag goes before it.
        sources = (
            _from_flag(setting, process, flags, problems),
            _from_environment(setting, environ, problems),
            _from_file(setting, stored, lines, file, problems),
        )
        one = next(filter(None, sources), None)
        if one is not None:
            found[setting] = one
        elif (
            setting.required and process in setting.readers and not _was_tried(setting, process, flags, environ, stored)
        ):
            problems.append(Problem(where=setting.name, message=f"must be set: {_ways(setting, process)}"))
    return Configuration(environ, file, found), problems


def unknown_variables(settings: Collection[Setting[Any]], environ: Mapping[str, str]) -> list[Problem]:
    """Return a problem for each variable that looks like a setting's and is none.

    Others are left alone: Kubernetes sets VIRTYARD_JOBS_PORT and the like by itself.
    """
    known = {name.removeprefix(_PREFIX) for setting in settings for name in setting.variables}
    problems = []
    for name in sorted(environ):
        bare = name.removeprefix(_PREFIX)
        if name.startswith(_PREFIX) and name != VARIABLE and bare not in known:
            near = difflib.get_close_matches(bare, known, 1, _CLOSE)
            if near:
                problems.append(Problem(where=name, message=f"is no setting; did you mean {_PREFIX}{near[0]}?"))
    return problems


def _read_file(
    settings: Collection[Setting[Any]], file: Path | None, problems: list[Problem]
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], int]]:
    """Return the tables of the file and the line of each key, and note what does not belong there."""
    if file is None:
        return {}, {}
    try:
        content = file.read_text(encoding="utf-8")
        tables = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(where=str(file), message=f"is not TOML: {error}"))
        return {}, {}
    except (OSError, ValueError) as error:
        problems.append(
            Problem(where=str(file), message=f"cannot be read: {getattr(error, 'strerror', None) or error}")
        )
        return {}, {}
    lines = _lines(content)
    sections = {setting.section for setting in settings}
    names = {(setting.section, setting.key) for setting in settings}
    for section, table in tables.items():
        if section not in sections or not isinstance(table, dict):
            where = _place(file, lines.get((section, "")) or lines.get(("", section)), f"[{section}]")
            problems.append(Problem(where=where, message=_unknown_section(section, sections, names)))
            continue
        for key in table:
            if (section, key) not in names:
                where = _place(file, lines.get((section, key)), f"[{section}] {key}")
                problems.append(Problem(where=where, message=_unknown_key(section, key, names)))
    return {name: table for name, table in tables.items() if isinstance(table, dict)}, lines


def _unknown_section(section: str, sections: Collection[str], names: Collection[tuple[str, str]]) -> str:
    at = sorted(f"[{known}] {key}" for known, key in names if key == section)
    if at:
        return f"is no table; did you mean {' or '.join(at)}?"
    near = difflib.get_close_matches(section, sections, 1)
    return (
        f"is no table; did you mean [{near[0]}]?" if near else f"is no table; known are {', '.join(sorted(sections))}"
    )


def _unknown_key(section: str, key: str, names: Collection[tuple[str, str]]) -> str:
    own = sorted(known for table, known in names if table == section)
    near = difflib.get_close_matches(key, own, 1)
    if near:
        return f"is no setting; did you mean {near[0]}?"
    elsewhere = sorted(f"[{table}] {known}" for table, known in names if known == key)
    if elsewhere:
        return f"is no setting; did you mean {' or '.join(elsewhere)}?"
    return f"is no setting; known in [{section}] are {', '.join(own)}"


def _lines(content: str) -> dict[tuple[str, str], int]:
    """Return the line of each (table, key), and of each table under an empty key, where they are written plainly."""
    found: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(content.splitlines(), 1):
        if heading := re.match(r"\s*\[\s*([\w-]+)\s*\]", line):
            section = heading[1]
            found.setdefault((section, ""), number)
        elif key := re.match(r"\s*(?:([\w-]+)\s*\.\s*)?[\"']?([\w-]+)[\"']?\s*=", line):
            found.setdefault((section or key[1] or "", key[2]), number)
    return found


def _place(file: Path, line: int | None, name: str) -> str:
    return f"{file}, line {line}, {name}" if line else f"{file}, {name}"


def _from_flag(
    setting: Setting[Any], process: str, flags: Mapping[str, Sequence[str]], problems: list[Problem]
) -> Found | None:
    given = flags.get(setting.flag, ()) if setting.has_flag(process) else ()
    if not given:
        return None
    # Each value of a repeated flag is taken whole: a path may have a colon in it.
    value = _read(
        setting, list(given) if setting.kind.repeated else given[-1], setting.flag, problems, setting.kind.repeated
    )
    return value and Found(value=value[0], source=f"flag {setting.flag}")


def _from_environment(setting: Setting[Any], environ: Mapping[str, str], problems: list[Problem]) -> Found | None:
    name = next((name for name in setting.variables if environ.get(name)), "")
    if not name:
        return None
    value = _read(setting, environ[name], name, problems, False)
    return value and Found(value=value[0], source=f"environment {name}")


def _from_file(
    setting: Setting[Any],
    stored: Mapping[str, Mapping[str, Any]],
    lines: Mapping[tuple[str, str], int],
    file: Path | None,
    problems: list[Problem],
) -> Found | None:
    table = stored.get(setting.section, {})
    if file is None or setting.key not in table:
        return None
    line = lines.get((setting.section, setting.key))
    value = _read(setting, table[setting.key], _place(file, line, f"[{setting.section}] {setting.key}"), problems, True)
    source = f"{file}, line {line}" if line else str(file)
    return value and Found(value=_anchored(value[0], file.absolute().parent), source=source)


def _read(setting: Setting[Any], given: Any, where: str, problems: list[Problem], typed: bool) -> tuple[Any] | None:
    """Return the value in a tuple; None, with a problem noted, if it is not allowed."""
    kind = setting.kind
    try:
        return (kind.from_toml(given) if typed else kind.from_text(given),)
    except ValueError:
        unit = f" of {kind.unit}" if kind.unit else ""
        allowed = kind.allowed.replace("number,", f"number{unit},") if unit else kind.allowed
        problems.append(Problem(where=where, message=f"{given!r} is not allowed; it must be {allowed}"))
        return None


def _anchored(value: Any, folder: Path) -> Any:
    """Return the value; a relative path of a file counts from the file's folder."""
    if isinstance(value, Path):
        return folder / value
    return tuple(_anchored(one, folder) for one in value) if isinstance(value, tuple) else value


def _was_tried(
    setting: Setting[Any],
    process: str,
    flags: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    stored: Mapping[str, Mapping[str, Any]],
) -> bool:
    """Return whether somebody set it to what is not allowed, which is a problem already."""
    return (
        (setting.has_flag(process) and bool(flags.get(setting.flag)))
        or any(environ.get(name) for name in setting.variables)
        or setting.key in stored.get(setting.section, {})
    )


def _ways(setting: Setting[Any], process: str) -> str:
    ways = [setting.flag] if setting.has_flag(process) else []
    return f"{', '.join([*ways, setting.variables[0]])} or {setting.key} in [{setting.section}] of the file"
