"""Local files of a request: uploaded before it is sent, once the request has been found good without them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from virtyard_client.client import Client
from virtyard_client.command.flags import Flag
from virtyard_client.command.quantities import show_bytes
from virtyard_client.command.request import message_class
from virtyard_client.command.usage import UsageError
from virtyard_client.render.line import Line, Span, fit
from virtyard_client.render.tree import bar
from virtyard_client.run.session import Session
from virtyard_client.schema.own import OPERATION

_NAMES = "uploads/"
_PLACEHOLDER = "uploads/preview"


async def send_files(session: Session, client: Client) -> None:
    """Put the name of an upload into each field for which a local file was given.

    A request that would be refused is refused before anything is sent; a preview sends nothing.

    Raises:
        UsageError: there is no such file.
        ClientError: the request or an upload is refused.
    """
    files = [(flag, _file_of(flag, session)) for flag in _given(session)]
    for flag, _ in files:
        _put(session.request, flag, _PLACEHOLDER)
    if not files or session.request.validate_only:
        return
    asked = type(session.request)()
    asked.CopyFrom(session.request)
    asked.validate_only = True
    method, response = session.method, message_class(session.schema, OPERATION)
    await client.call(method.service, method.name, asked, response, session.timeout)
    async with asyncio.timeout(session.timeout):
        for flag, file in files:
            _put(session.request, flag, await _send(session, client, file))


def _given(session: Session) -> Sequence[Flag]:
    """The flags that name a file; what names an upload stays as it is."""
    flags = [flag for flag in session.flags if flag.field.upload and flag.path in session.arguments.values]
    return [flag for flag in flags if not session.arguments.values[flag.path].startswith(_NAMES)]


def _file_of(flag: Flag, session: Session) -> Path:
    file = Path(session.arguments.values[flag.path])
    if not file.is_file():
        raise UsageError(f"{flag.shown} takes a file, or the name of an upload, as uploads/ID; {file} is neither")
    return file


def _put(request: Any, flag: Flag, value: str) -> None:
    for part in flag.path[:-1]:
        request = getattr(request, part)
    setattr(request, flag.path[-1], value)


async def _send(session: Session, client: Client, file: Path) -> str:
    screen = session.screen
    sent, total = 0, 0

    def advance(done: int, size: int) -> None:
        nonlocal sent, total
        sent, total = done, size

    def lines() -> list[Line]:
        units = f"  {show_bytes(sent)} of {show_bytes(total)}"
        shown = [Span(f"Uploading {file.name}  "), *bar(100 * sent / max(total, 1), screen.signs, "cyan"), Span(units)]
        return [fit(shown, screen.width, screen.signs.ellipsis)]

    with screen.live(lines) if screen.terminal and not session.structured else nullcontext():
        return (await client.upload(file, advance)).name
