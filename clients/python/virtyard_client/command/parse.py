"""The parser: from the words after noun and verb to values by field path.

Flags are `--flag VALUE` or `--flag=VALUE`, `--flag/--no-flag` for yes and no; `--` ends them. Names are never
abbreviated, so that a new flag cannot change what an old script means.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from virtyard_client.command.flags import Flag
from virtyard_client.command.usage import UsageError, suggest
from virtyard_client.command.values import BadValueError, Reader
from virtyard_client.schema.model import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A flag of the command line itself, which is no field of a request."""

    name: str
    """The name without hyphens in front."""
    comment: str
    """What it does, for help."""
    metavar: str = ""
    """The word for its value in help; empty if it is given alone."""
    negatable: bool = False
    """True if `--no-NAME` is understood too."""


@dataclass(slots=True)
class Arguments:
    """What a command line says."""

    values: dict[tuple[str, ...], Any] = field(default_factory=dict)
    """Values by field path; a list for what repeats."""
    options: dict[str, str | bool] = field(default_factory=dict)
    """Options of the command line itself by name."""

    def given(self, name: str) -> bool:
        """True if the option was given, and not in its negative form."""
        return bool(self.options.get(name, False))

    def text(self, name: str, default: str = "") -> str:
        """The option's text."""
        value = self.options.get(name, default)
        return value if isinstance(value, str) else default


class Parser:
    """Parses the words of one verb."""

    def __init__(self, flags: Sequence[Flag], options: Sequence[Option], reader: Reader) -> None:
        self._places = [flag for flag in flags if flag.field.positional]
        self._flags = {flag.name: flag for flag in flags if not flag.field.positional}
        self._options = {option.name: option for option in options}
        self._all = tuple(flags)
        self._reader = reader

    def parse(self, words: Sequence[str]) -> Arguments:
        """Read the words.

        Raises:
            UsageError: a word is unknown, a value is wrong or missing, or a required flag is absent.
        """
        arguments = Arguments()
        self._read(list(words), arguments)
        if not arguments.given("help"):
            self._check(arguments)
        return arguments

    def _read(self, words: list[str], arguments: Arguments) -> None:
        places = list(self._places)
        while words:
            word = words.pop(0)
            if word == "--":
                for rest in words:
                    self._place(places, rest, arguments)
                return
            if word == "-h":
                word = "--help"
            if word.startswith("--"):
                self._flag(word, words, arguments)
            elif word.startswith("-") and len(word) > 1:
                raise UsageError(f"{word} is not known; flags begin with two hyphens")
            else:
                self._place(places, word, arguments)

    def _place(self, places: list[Flag], word: str, arguments: Arguments) -> None:
        if not places:
            raise UsageError(f"{word!r} is one word too many")
        flag = places[0] if places[0].field.repeated else places.pop(0)
        self._set(flag, word, arguments)

    def _flag(self, word: str, words: list[str], arguments: Arguments) -> None:
        name, equals, text = word[2:].partition("=")
        positive = name.removeprefix("no-")
        option = self._options.get(name) or self._options.get(positive)
        if option is not None and (option.name == name or option.negatable):
            self._option(option, name == option.name, text if equals else None, words, arguments)
            return
        flag = self._flags.get(name)
        if flag is None:
            negated = self._flags.get(positive)
            if name != positive and negated is not None and negated.field.kind is Kind.TRUTH and not equals:
                self._set(negated, "no", arguments)
                return
            raise UsageError(f"--{name} is not known{suggest(f'--{name}', self._known())}")
        if flag.field.kind is Kind.TRUTH and not equals:
            text = "yes"
        elif not equals:
            if not words:
                raise UsageError(f"--{name} needs a value: {flag.metavar}")
            text = words.pop(0)
        self._set(flag, text, arguments)

    def _option(self, option: Option, positive: bool, text: str | None, words: list[str], arguments: Arguments) -> None:
        if not option.metavar:
            if text is not None:
                raise UsageError(f"--{option.name} takes no value")
            arguments.options[option.name] = positive
            return
        if text is None:
            if not words:
                raise UsageError(f"--{option.name} needs a value: {option.metavar}")
            text = words.pop(0)
        arguments.options[option.name] = text

    def _known(self) -> list[str]:
        return [f"--{name}" for name in (*self._flags, *self._options)]

    def _set(self, flag: Flag, text: str, arguments: Arguments) -> None:
        many = flag.field.repeated or flag.field.kind is Kind.MAP
        texts = [text]
        if flag.field.repeated and not flag.keys:
            texts = next(csv.reader([text])) if text else []
        for one in texts:
            try:
                value = self._reader.read(flag, one)
            except BadValueError as error:
                raise UsageError(f"{flag.shown} takes {error}") from error
            if many:
                arguments.values.setdefault(flag.path, []).append(value)
            elif flag.path in arguments.values:
                raise UsageError(f"{flag.shown} is given twice")
            else:
                arguments.values[flag.path] = value

    def _check(self, arguments: Arguments) -> None:
        missing = [flag for flag in self._all if flag.required and flag.path not in arguments.values]
        if missing:
            names = ", ".join(flag.shown for flag in missing)
            why = f": {missing[0].field.comment}" if len(missing) == 1 else ""
            raise UsageError(f"{names} {'is' if len(missing) == 1 else 'are'} missing{why}")
        chosen: dict[tuple[str, ...], str] = {}
        for flag in self._all:
            if flag.oneof and flag.path in arguments.values:
                other = chosen.setdefault(flag.oneof, flag.shown)
                if other != flag.shown:
                    raise UsageError(f"only one of {other} and {flag.shown} can be given")
