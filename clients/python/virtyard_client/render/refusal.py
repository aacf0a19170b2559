"""An error as people read it: the sentence, the reason, the flags that are wrong, and who is in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from virtyard_client.command.flags import Flag
from virtyard_client.command.request import flag_of_field
from virtyard_client.errors import ClientError
from virtyard_client.render.advice import advice
from virtyard_client.render.line import Line, Span, wrap

_FOR_LOCKS = (
    "ask for it without --no-wait, so that it waits its turn; `virtyard lock list` shows who holds what, and why"
)
"""What a person does where locks are in the way, whatever the reason is called."""


def refusal(
    error: ClientError, flags: Sequence[Flag], width: int, subject: str = "", about: str = ""
) -> Iterator[Line]:
    """The error as lines: what failed, why, on which object, who is in the way, and what to do.

    Args:
        error: what a service said.
        flags: those of the command, which people know fields by.
        width: columns of the terminal.
        subject: what failed, if that is not the command itself.
        about: the object that it failed on, if the error does not name one.
    """
    message = error.message
    rest = []
    for violation in error.violations:
        name = flag_of_field(flags, violation.field) or violation.field
        # Services begin the sentence with the field's path; a person knows it by its flag.
        said = f"{violation.field}: {violation.description}"
        if said in message:
            message = message.replace(said, f"{name}: {violation.description}")
        else:
            rest.append(f"{name}: {violation.description}")
    path, colon, sentence = message.partition(": ")
    if colon and (name := flag_of_field(flags, path)):
        message = f"{name}: {sentence}"
    yield from wrap(f"virtyard: {f'{subject}: ' if subject else ''}{message} ({error.reason})", width, style="red")
    for text in rest:
        yield from wrap(text, width, indent="  ")
    resource = error.resource or about
    if resource and resource not in error.message:
        yield (Span(f"  resource: {resource}"),)
    for lock in error.locks:
        if lock.object in error.message and lock.holder in error.message:
            continue
        verb = "is waited for by" if lock.waiting else "is held by"
        percent = f", {lock.percent:.0f} %" if lock.percent else ""
        purpose = f" ({lock.purpose})" if lock.purpose else ""
        yield from wrap(f"{lock.object} {verb} {lock.holder}{purpose}{percent}", width, indent="  ")
    if error.retry_after:
        yield (Span(f"  try again in {error.retry_after:g} s"),)
    elif error.locks:
        yield from wrap(f"to do: {_FOR_LOCKS}", width, indent="  ", style="dim")
    elif to_do := advice(error.reason):
        yield from wrap(f"to do: {to_do}", width, indent="  ", style="dim")
