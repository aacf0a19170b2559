"""`export` of a noun: every message of a stream as one line of JSON, for a file or another program."""

from __future__ import annotations

import asyncio

from virtyard_client.command.options import ExitCode
from virtyard_client.command.request import message_class
from virtyard_client.render.json_line import body, text_of
from virtyard_client.run.session import Session


async def export(session: Session) -> ExitCode:
    """Print the stream to its end; a file that is there is complete if the exit code is 0."""
    method, schema = session.method, session.schema
    response = message_class(schema, method.response)
    async with asyncio.timeout(session.timeout), session.connect() as client:
        async for item in client.stream(method.service, method.name, session.request, response):
            if session.structured:
                session.print_message(item)
            else:
                session.screen.text(text_of(body(schema, item), "json"))
    return ExitCode.SUCCEEDED
