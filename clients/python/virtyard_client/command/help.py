"""Help texts: made from the comments of the protos, wrapped to the width of the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from virtyard_client.command.flags import Flag
from virtyard_client.command.options import EXIT_CODES
from virtyard_client.command.parse import Option
from virtyard_client.command.verbs import Verbs
from virtyard_client.schema.model import Kind, Method
from virtyard_client.schema.schema import Schema

Row = tuple[str, str]


def paragraph(text: str, width: int, indent: str = "") -> str:
    """One wrapped paragraph."""
    return textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(rows: Sequence[Row], width: int) -> str:
    """Terms with their explanations in two columns; a long term has its explanation on the next line."""
    column = min(max((len(term) for term, _ in rows), default=0), 26) + 4
    lines: list[str] = []
    for term, text in rows:
        wrapped = textwrap.wrap(text, max(width - column, 30), break_long_words=False, break_on_hyphens=False) or [""]
        first = f"  {term}".ljust(column)
        if len(first.rstrip()) + 2 > column:
            lines.append(first.rstrip())
            first = " " * column
        lines.append(f"{first}{wrapped[0]}".rstrip())
        lines.extend(" " * column + line for line in wrapped[1:])
    return "\n".join(lines)


def root(verbs: Verbs, commands: Iterable[Row], width: int) -> str:
    """The help of `virtyard` itself."""
    nouns = []
    for noun in verbs.nouns():
        aliases = verbs.aliases(noun)
        term = f"{noun} ({', '.join(aliases)})" if aliases else noun
        nouns.append((term, ", ".join(method.verb for method in verbs.verbs(noun))))
    parts = [
        "Usage: virtyard NOUN VERB [WORDS] [FLAGS]",
        paragraph(
            "Virtyard: server pools and virtual machines; every change is an operation that is planned, locked, "
            "shown while it runs and undone if it fails.",
            width,
        ),
        f"Nouns and their verbs:\n{table(nouns, width)}",
    ]
    others = sorted(commands)
    if others:
        parts.append(f"Commands:\n{table(others, width)}")
    parts.append(
        "Help:\n"
        + table(
            [
                ("virtyard NOUN --help", "what the verbs do"),
                ("virtyard NOUN VERB --help", "all flags of a verb"),
                ("virtyard --version", "the version of this client"),
            ],
            width,
        )
    )
    parts.append(_exit_codes(width))
    return "\n\n".join(parts)


def noun(verbs: Verbs, word: str, width: int) -> str:
    """The help of one noun."""
    name = verbs.noun(word)
    aliases = verbs.aliases(name)
    parts = [f"Usage: virtyard {word} VERB [WORDS] [FLAGS]"]
    if aliases:
        parts.append(f"{name} is also called {', '.join(aliases)}.")
    parts.append("Verbs:\n" + table([(method.verb, method.comment) for method in verbs.verbs(name)], width))
    parts.append(f"virtyard {word} VERB --help shows the flags of a verb.")
    return "\n\n".join(parts)


def verb(schema: Schema, method: Method, flags: Sequence[Flag], options: Sequence[Option], width: int) -> str:
    """The help of one verb with all its flags."""
    places = [flag for flag in flags if flag.field.positional]
    named = [flag for flag in flags if not flag.field.positional]
    words = [flag.metavar if flag.required else f"[{flag.metavar}]" for flag in places]
    words += [f"{flag.shown} {flag.metavar}" for flag in named if flag.required]
    usage = " ".join(("Usage: virtyard", method.noun, method.verb, *words, "[FLAGS]"))
    said = (method.comment, schema.message(method.request).comment if method.title else "")
    comment = " ".join(filter(None, said))
    parts = [paragraph(usage, width, "")]
    if comment:
        parts.append(paragraph(comment, width))
    groups = (
        ("Words", places),
        ("Required", [flag for flag in named if flag.required]),
        ("Flags", [flag for flag in named if not flag.required and not flag.advanced]),
    )
    for title, group in groups:
        if group:
            parts.append(f"{title}:\n{table(_rows(schema, group), width)}")
    parts.append("Of the command line:\n" + table([_option_row(option) for option in options], width))
    advanced = [flag for flag in named if flag.advanced and not flag.required]
    if advanced:
        parts.append("Advanced:\n" + table(_rows(schema, advanced), width))
    parts.append(_exit_codes(width))
    return "\n\n".join(parts)


def _rows(schema: Schema, flags: Iterable[Flag]) -> list[Row]:
    rows: list[Row] = []
    for flag in flags:
        rows.append(_row(schema, flag))
        rows.extend(_key(schema, key) for key in flag.keys)
    return rows


def _row(schema: Schema, flag: Flag) -> Row:
    text = flag.field.comment
    if flag.field.kind is Kind.CHOICE:
        text = _join(text, f"One of {', '.join(value.short for value in schema.enum(flag.field.type_name).choices)}.")
    if flag.field.upload:
        text = _join(text, "A local file is uploaded first.")
    if flag.field.repeated or flag.field.kind is Kind.MAP:
        text = _join(text, "Can be repeated.")
    if flag.field.positional:
        return flag.metavar, text
    if flag.field.kind is Kind.TRUTH:
        return (flag.shown if flag.field.name == "validate_only" else f"{flag.shown}, --no-{flag.name}"), text
    return f"{flag.shown} {flag.metavar}", text


def _key(schema: Schema, key: Flag) -> Row:
    word = key.metavar
    if key.field.kind is Kind.CHOICE:
        word = "|".join(value.short for value in schema.enum(key.field.type_name).choices)
    return f"  {key.name}={word}", f"Required. {key.field.comment}" if key.required else key.field.comment


def _join(text: str, more: str) -> str:
    return f"{text} {more}" if text else more


def _option_row(option: Option) -> Row:
    term = f"--{option.name}, --no-{option.name}" if option.negatable else f"--{option.name} {option.metavar}".strip()
    return term, option.comment


def _exit_codes(width: int) -> str:
    return "Exit codes:\n" + table([(str(code), text) for code, text in EXIT_CODES], width)
