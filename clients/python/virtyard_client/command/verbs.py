"""Nouns and verbs: every command that the schema offers, found by the words of a command line."""

from __future__ import annotations

from collections.abc import Iterable

from virtyard_client.command.usage import UsageError, suggest
from virtyard_client.schema.model import Method


class Verbs:
    """The commands by noun and verb."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._verbs: dict[str, dict[str, Method]] = {}
        self._aliases: dict[str, str] = {}
        for method in methods:
            self._verbs.setdefault(method.noun, {}).setdefault(method.verb, method)
            for alias in method.aliases:
                self._aliases.setdefault(alias, method.noun)

    def find(self, noun: str, verb: str) -> Method | None:
        """The method of a command, or None."""
        return self._verbs.get(self.noun(noun), {}).get(verb)

    def noun(self, word: str) -> str:
        """The noun that a word means: itself, or what it is an alias of."""
        return word if word in self._verbs else self._aliases.get(word, word)

    def known(self, word: str) -> bool:
        """True if the word is a noun or an alias of one."""
        return self.noun(word) in self._verbs

    def nouns(self) -> list[str]:
        """All nouns by the alphabet, aliases left out."""
        return sorted(self._verbs)

    def aliases(self, noun: str) -> list[str]:
        """The other words for a noun."""
        return sorted(alias for alias, meant in self._aliases.items() if meant == noun)

    def verbs(self, noun: str) -> list[Method]:
        """The verbs of a noun by the alphabet."""
        found = self._verbs.get(self.noun(noun), {})
        return [found[verb] for verb in sorted(found)]

    def refuse_noun(self, word: str, others: Iterable[str] = ()) -> UsageError:
        """The error for a first word that is no noun."""
        known = [*self._verbs, *self._aliases, *others]
        return UsageError(f"{word!r} is no command{suggest(word, known)}; `virtyard --help` lists them")

    def refuse_verb(self, noun: str, word: str) -> UsageError:
        """The error for a second word that is no verb of its noun."""
        known = [method.verb for method in self.verbs(noun)]
        return UsageError(f"{noun} has no verb {word!r}{suggest(word, known)}; it has {', '.join(known)}")
