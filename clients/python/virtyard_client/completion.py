"""`virtyard completion`: scripts for shells, which ask `virtyard complete` what can come next.

What can come next is read off the schema, added operations included; names of objects are asked of the inventory,
and left out if that does not answer at once.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from virtyard_client.command.flags import Flag, flags_of
from virtyard_client.command.options import options_of
from virtyard_client.command.verbs import Verbs
from virtyard_client.schema.model import Kind, Method
from virtyard_client.schema.schema import Schema

_SECONDS = 1.0
_MOST_NAMES = 200

SCRIPTS = {
    "bash": """\
_virtyard() {
    local IFS=$'\\n'
    COMPREPLY=($(virtyard complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _virtyard virtyard
""",
    "zsh": """\
#compdef virtyard
_virtyard() {
    local -a found
    found=("${(@f)$(virtyard complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -- $found
}
compdef _virtyard virtyard
""",
    "fish": """\
complete -c virtyard -f -a '(virtyard complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
""",
}
"""The script of each shell."""


def main(argv: Sequence[str]) -> int:
    """Print what a shell needs to complete commands: eval "$(virtyard completion bash)"."""
    parser = argparse.ArgumentParser(prog="virtyard completion", description=main.__doc__)
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="the shell")
    print(SCRIPTS[parser.parse_args(argv).shell], end="")
    return 0


def complete(argv: Sequence[str]) -> int:
    """Print what can stand in place of the last word, one a line; the scripts of `completion` call it."""
    from virtyard_client.command.others import other_commands
    from virtyard_client.main import all_verbs
    from virtyard_client.schema.own import own_schema

    words = list(argv) or [""]
    schema = own_schema()
    verbs = all_verbs(schema)
    *before, last = words
    for word in sorted(set(_candidates(schema, verbs, before, last, [name for name, _ in other_commands()]))):
        if word.startswith(last):
            print(word)
    return 0


def _candidates(schema: Schema, verbs: Verbs, before: list[str], last: str, others: list[str]) -> Iterable[str]:
    if not before:
        aliases = [alias for noun in verbs.nouns() for alias in verbs.aliases(noun)]
        return [*verbs.nouns(), *aliases, *others, "--help", "--version"]
    noun, *rest = before
    if noun == "completion":
        return sorted(SCRIPTS)
    if not rest:
        return [method.verb for method in verbs.verbs(noun)]
    method = verbs.find(noun, rest[0])
    return [] if method is None else _words(schema, verbs, method, rest[1:], last)


def _words(schema: Schema, verbs: Verbs, method: Method, given: list[str], last: str) -> Iterable[str]:
    flags = flags_of(schema, method.request)
    named = {flag.shown: flag for flag in flags if not flag.field.positional}
    if given and given[-1] in named and named[given[-1]].field.kind is not Kind.TRUTH:
        return _values(schema, verbs, named[given[-1]], last)
    if last.startswith("-"):
        options = [f"--{option.name}" for option in options_of(method)]
        negated = [f"--no-{flag.name}" for flag in named.values() if flag.field.kind is Kind.TRUTH]
        return [*named, *negated, *options]
    places = [flag for flag in flags if flag.field.positional]
    taken = len([word for word in given if not word.startswith("-")])
    return _values(schema, verbs, places[min(taken, len(places) - 1)], last) if places else []


def _values(schema: Schema, verbs: Verbs, flag: Flag, last: str) -> Iterable[str]:
    """What a flag's value can be: words of an enum, keys, names of objects that are there."""
    if flag.keys:
        head, comma, _ = last.rpartition(",")
        return [f"{head}{comma}{key.name}=" for key in flag.keys]
    if flag.field.kind is Kind.CHOICE:
        return [value.short for value in schema.enum(flag.field.type_name).choices]
    if flag.field.reference:
        return _names(schema, verbs, flag.field.reference)
    return []


def _names(schema: Schema, verbs: Verbs, reference: str) -> list[str]:
    """The ids of the objects of a kind, if the inventory tells at once."""
    for noun in verbs.nouns():
        method = verbs.find(noun, "list")
        if method is None or not schema.has_message(method.response):
            continue
        items = next(
            (field for field in schema.message(method.response).fields if field.repeated and field.type_name), None
        )
        if items is not None and schema.message(items.type_name).resource == reference:
            try:
                return asyncio.run(_ask(schema, method, items.name))
            except Exception:  # noqa: BLE001 - without an answer there is nothing to offer, and nobody to tell
                return []
    return []


async def _ask(schema: Schema, method: Method, items: str) -> list[str]:
    from virtyard_client.client import Client
    from virtyard_client.command.request import message_class

    request: Any = message_class(schema, method.request)(page_size=_MOST_NAMES)
    async with asyncio.timeout(_SECONDS), Client.connect() as client:
        page = await client.call(method.service, method.name, request, message_class(schema, method.response))
        return [item.name.rpartition("/")[2] for item in getattr(page, items)]
