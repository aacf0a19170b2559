"""Verbs that change something: submit, preview, follow to the end, and the exit code by how it ended."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

from virtyard.api.jobs.v1 import operation_pb2
from virtyard_client.client import Client
from virtyard_client.command.options import ExitCode
from virtyard_client.command.quantities import show_seconds
from virtyard_client.command.request import load_module, message_class
from virtyard_client.render import plain
from virtyard_client.render.causes import causes, facts, failed_object
from virtyard_client.render.line import line
from virtyard_client.render.plan import plan
from virtyard_client.render.refusal import refusal
from virtyard_client.render.table import columns_of
from virtyard_client.render.tree import tree
from virtyard_client.render.words import short_name, show_value
from virtyard_client.run.session import Session
from virtyard_client.run.uploading import send_files
from virtyard_client.story import Story

FEED = "jobs"
"""The feed whose resume token in the metadata lets a watch tell the whole story."""

_CODES = {
    operation_pb2.OPERATION_STATE_SUCCEEDED: ExitCode.SUCCEEDED,
    operation_pb2.OPERATION_STATE_FAILED: ExitCode.FAILED,
    operation_pb2.OPERATION_STATE_CANCELLED: ExitCode.CANCELLED,
    operation_pb2.OPERATION_STATE_PARTIAL: ExitCode.PARTIAL,
}


async def submit(session: Session) -> ExitCode:
    """Ask for the operation, then follow it unless --no-wait or --preview says otherwise."""
    request, method = session.request, session.method
    names = {field.name for field in session.schema.message(method.request).fields}
    session.name_request()
    async with session.connect() as client:
        await send_files(session, client)
        operation = await session.ask(client)
        story = Story(operation)
        if "validate_only" in names and request.validate_only:
            _show_preview(session, story)
            return ExitCode.SUCCEEDED
        if session.arguments.options.get("wait") is False:
            if session.structured:
                session.print_message(operation)
            else:
                session.screen.text(story.name)
            return ExitCode.SUCCEEDED
        return await follow(session, client, operation, story.metadata.resume_tokens.get(FEED, ""))


def _show_preview(session: Session, story: Story) -> None:
    if session.structured:
        session.print_message(story.operation)
    else:
        session.screen.write(plan(story, session.screen.width))


async def follow(session: Session, client: Client, operation: Any, resume_token: str = "") -> ExitCode:
    """Show the operation until it has ended, and say how; ends early by --timeout, and by Ctrl-C in `main`."""
    session.following = operation.name
    try:
        async with asyncio.timeout(session.timeout):
            story = await _show(session, client, operation, resume_token)
    except TimeoutError:
        after = show_seconds(session.timeout or 0)
        session.screen.complain([line(f"virtyard: {operation.name} has not ended after {after}; it goes on")])
        return ExitCode.UNREACHABLE
    session.following = ""
    conclude(session, story)
    return exit_code(story)


async def _show(session: Session, client: Client, operation: Any, resume_token: str) -> Story:
    """Show every change until the operation has ended, as a live tree or as plain lines; with --json, show nothing."""
    screen = session.screen
    story = Story(operation)
    live = screen.terminal and not session.structured
    quiet = live or session.structured
    if not quiet:
        screen.text(plain.accepted(story))
    with screen.live(lambda: tree(story, screen.width, screen.signs)) if live else nullcontext():
        while True:
            async for change, told in client.watch_operation(operation, resume_token):
                story = told
                for text in () if quiet else plain.lines_of(change, story):
                    screen.text(text)
            if story.done:
                return story
            # The stream ended in good order before the operation did: the server is going down.
            await asyncio.sleep(0.2)


def conclude(session: Session, story: Story) -> None:
    """Print how the operation ended: the result object, or the error on standard error."""
    screen = session.screen
    if session.structured:
        session.print_message(story.operation)
        return
    if not screen.terminal:
        screen.text(plain.ended(story))
    error = story.error
    if error is not None:
        screen.complain(
            refusal(error, session.flags, screen.width, f"{story.name} {story.title}", failed_object(story))
        )
        if session.verbose:
            screen.complain([*causes(story, screen.width), *facts(error)])
        return
    if story.metadata.residue:
        screen.complain([line(f"virtyard: {missing}") for missing in story.metadata.residue])
    summary = _summary(session, story)
    if summary:
        screen.text(summary)


def _summary(session: Session, story: Story) -> str:
    """The object that the operation answers with, in one line; empty if it answers with none."""
    packed = story.operation.response
    full_name = packed.type_url.rpartition("/")[2]
    if not full_name or not session.schema.has_message(full_name):
        return ""
    load_module(session.schema, full_name)
    message = session.schema.message(full_name)
    item: Any = message_class(session.schema, full_name)()
    if not message.resource or not packed.Unpack(item):
        return ""
    parts = []
    for field in columns_of(message):
        shown = show_value(session.schema, field, getattr(item, field.name), short=True)
        if shown and not field.identifier and shown != short_name(item.name):
            parts.append(f"{field.name.removesuffix('_bytes').replace('_', ' ')} {shown}")
    return f"{item.name}: {', '.join(parts)}"


def exit_code(story: Story) -> ExitCode:
    """The exit code by how an operation ended."""
    code = _CODES.get(story.metadata.state)
    if code is not None:
        return code
    error = story.error
    if error is None:
        return ExitCode.SUCCEEDED
    return ExitCode.CANCELLED if error.code == "CANCELLED" else ExitCode.FAILED
