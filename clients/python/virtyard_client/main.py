"""The console script `virtyard`: finds the verb, reads its flags, runs it, and turns every ending into an exit code.

What is not needed is not loaded: a help text imports no grpc, and added operations are looked for only where they can
matter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

from virtyard_client.command import help as help_text
from virtyard_client.command.flags import flags_of
from virtyard_client.command.inner import read_request
from virtyard_client.command.options import ExitCode, options_of
from virtyard_client.command.parse import Parser
from virtyard_client.command.quantities import read_seconds
from virtyard_client.command.request import build
from virtyard_client.command.usage import UsageError, complain, terminal_width
from virtyard_client.command.values import Reader
from virtyard_client.command.verbs import Verbs
from virtyard_client.schema.model import Method
from virtyard_client.schema.own import own_schema
from virtyard_client.schema.schema import Schema

_HELP = frozenset({"--help", "-h", "help"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        return int(_dispatch(words))
    except UsageError as error:
        complain(str(error), json="--json" in words)
        return ExitCode.REFUSED
    except KeyboardInterrupt:
        return ExitCode.DETACHED
    except BrokenPipeError:
        # The reader of a pipe has gone, as `head` does; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.SUCCEEDED


def _dispatch(words: list[str]) -> int:
    if words and words[0] in ("--version", "-V"):
        from importlib.metadata import version

        print(f"virtyard {version('virtyard')}")
        return ExitCode.SUCCEEDED
    schema = own_schema()
    verbs = Verbs(schema.methods())
    asks_help = not words or words[0] in _HELP
    if asks_help:
        return _root_help(schema)
    if words[:2] == ["operation", "preview"] and len(words) > 2 and not _asks_help(words[2:3]):
        words = [*words[2:], "--preview"]
    noun, rest = words[0], words[1:]
    method = verbs.find(noun, rest[0]) if rest else None
    if method is None:
        from virtyard_client.command.others import run_other

        code = None if verbs.known(noun) else run_other(noun, rest)
        if code is not None:
            return code
        verbs = all_verbs(schema)
        method = _find(verbs, noun, rest)
    if method is None:
        print(help_text.noun(verbs, noun, terminal_width()))
        return ExitCode.SUCCEEDED if rest else ExitCode.REFUSED
    return _run_verb(schema, method, rest[1:])


def _asks_help(words: Sequence[str]) -> bool:
    return bool(words) and words[0] in _HELP


def _root_help(schema: Schema) -> int:
    from virtyard_client.command.others import other_commands

    print(help_text.root(all_verbs(schema), other_commands(), terminal_width()))
    return ExitCode.SUCCEEDED


def all_verbs(schema: Schema) -> Verbs:
    """Return all verbs, those of added operations included."""
    from virtyard_client.schema.added import AddedOperationError, added_files

    try:
        for file in added_files():
            schema.add(file)
    except AddedOperationError as error:
        complain(str(error), json=False)
    return Verbs(schema.methods())


def _find(verbs: Verbs, noun: str, rest: Sequence[str]) -> Method | None:
    """The method, or None where the noun's help is wanted.

    Raises:
        UsageError: noun or verb is unknown.
    """
    if not verbs.known(noun):
        from virtyard_client.command.others import other_commands

        raise verbs.refuse_noun(noun, (name for name, _ in other_commands()))
    if not rest or rest[0] in _HELP:
        return None
    method = verbs.find(noun, rest[0])
    if method is None:
        raise verbs.refuse_verb(noun, rest[0])
    return method


def _run_verb(schema: Schema, method: Method, words: Sequence[str]) -> int:
    flags, options = flags_of(schema, method.request), options_of(method)
    try:
        reader = Reader(schema, request=partial(read_request, schema))
        arguments = Parser(flags, options, reader).parse(words)
    except UsageError as error:
        raise UsageError(f"{method.noun} {method.verb}: {error}") from None
    if arguments.given("help"):
        print(help_text.verb(schema, method, flags, options, terminal_width()))
        return ExitCode.SUCCEEDED
    timeout = _timeout(arguments.text("timeout"))
    request = build(schema, method.request, flags, arguments.values)
    # What gRPC logs of a handshake that failed is said in the error; it reads this as it is loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from virtyard_client.render.screen import Screen
    from virtyard_client.run.session import Session
    from virtyard_client.run.verb import run

    session = Session(
        schema=schema,
        screen=Screen(),
        method=method,
        flags=flags,
        arguments=arguments,
        request=request,
        timeout=timeout,
    )
    return run(session)


def _timeout(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(read_seconds(text))
    except ValueError as error:
        raise UsageError(f"--timeout takes {error}, not {text!r}") from None
