"""The verbs over operations: show, wait and abort one, and watch it or any stream."""

from __future__ import annotations

import asyncio
from typing import Any

from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard_client.client import Client
from virtyard_client.command.options import ExitCode
from virtyard_client.command.quantities import show_seconds
from virtyard_client.command.request import message_class
from virtyard_client.errors import ClientError
from virtyard_client.render import plain
from virtyard_client.render.event import event_line
from virtyard_client.render.line import line
from virtyard_client.render.record import record
from virtyard_client.render.refusal import refusal
from virtyard_client.render.table import chosen_columns, columns_of
from virtyard_client.render.tree import tree
from virtyard_client.render.words import operation_look, show_value
from virtyard_client.run.operation import conclude, exit_code, follow
from virtyard_client.run.session import Session
from virtyard_client.schema.model import Kind, Message
from virtyard_client.story import Change, Story
from virtyard_client.watch import resume

ROUND = 20.0
"""Seconds that one WaitOperation asks the server to wait; shorter than what proxies cut."""


async def _get(client: Client, name: str) -> Any:
    from google.longrunning import operations_pb2

    return await client.longrunning.GetOperation(operations_pb2.GetOperationRequest(name=name))


async def show(session: Session) -> ExitCode:
    """Show an operation with its jobs as they are now."""
    async with session.connect() as client:
        operation = await _get(client, session.request.name)
        story = Story(operation)
        if session.structured:
            session.print_message(operation)
            return ExitCode.SUCCEEDED
        request = job_service_pb2.WatchOperationRequest(name=story.name)
        async for frame in client.jobs.WatchOperation(request):
            if frame.kind == watch_pb2.FRAME_KIND_BOOKMARK:
                break
            story.apply(frame)
    screen = session.screen
    screen.write(tree(story, screen.width, screen.signs))
    screen.write([(), *record(session.schema, _metadata_message(session), story.metadata)])
    if story.error is not None:
        screen.write(refusal(story.error, (), screen.width, subject=story.name))
    return ExitCode.SUCCEEDED


def _metadata_message(session: Session) -> Message:
    """The metadata without what the tree shows already or nobody reads."""
    message = session.schema.message(operation_pb2.OperationMetadata.DESCRIPTOR.full_name)
    left_out = {
        "request",
        "jobs",
        "resume_tokens",
        "plan",
        "state",
        "title",
        "progress",
        "validate_only",
        "waiting_for",
    }
    kept = tuple(field for field in message.fields if field.name not in left_out)
    return Message(full_name=message.full_name, file=message.file, comment="", fields=kept)


async def wait(session: Session) -> ExitCode:
    """Wait without a word, then say how it ended."""
    from google.longrunning import operations_pb2
    from google.protobuf import duration_pb2

    name = session.request.name
    request = operations_pb2.WaitOperationRequest(name=name, timeout=duration_pb2.Duration(seconds=int(ROUND)))
    session.following = name
    try:
        async with asyncio.timeout(session.timeout), session.connect() as client:
            outages = 0
            while True:
                try:
                    operation = await client.longrunning.WaitOperation(request, timeout=ROUND + 10)
                    outages = 0
                except ClientError as error:
                    outages += 1
                    if not error.unreachable or outages > 30:
                        raise
                    await asyncio.sleep(min(0.1 * 2**outages, 2.0))
                    continue
                if operation.done:
                    break
    except TimeoutError:
        after = show_seconds(session.timeout or 0)
        session.screen.complain([line(f"virtyard: {name} has not ended after {after}; it goes on")])
        return ExitCode.UNREACHABLE
    session.following = ""
    story = Story(operation)
    if session.screen.terminal and not session.structured:
        session.screen.text(plain.ended(story))
    conclude(session, story)
    return exit_code(story)


async def abort(session: Session) -> ExitCode:
    """Ask that an operation be aborted; with --wait, follow it until it is undone."""
    method, name = session.method, session.request.name
    async with session.connect() as client:
        response = message_class(session.schema, method.response)
        await client.call(method.service, method.name, session.request, response, session.timeout)
        if session.arguments.given("wait"):
            return await follow(session, client, await _get(client, name))
        story = Story(await _get(client, name))
    if session.structured:
        session.print_message(story.operation)
    else:
        session.screen.text(_aborted(story))
    return ExitCode.SUCCEEDED


def _aborted(story: Story) -> str:
    if story.done:
        return f"{story.name}: has ended already: {operation_look(story.state).word}"
    if story.metadata.too_late:
        return f"{story.name}: too late, the point of no return has passed; it goes on to its end"
    short = story.name.rpartition("/")[2]
    return f"{story.name}: abort requested; `virtyard operation watch {short}` shows how it is undone"


async def watch(session: Session) -> ExitCode:
    """Watch one operation to its end, or any other stream until Ctrl-C."""
    async with session.connect() as client:
        if session.method.name == "WatchOperation" and not session.structured:
            operation = await _get(client, session.request.name)
            return await follow(session, client, operation, session.request.options.resume_token)
        return await _watch_frames(session, client)


async def _watch_frames(session: Session, client: Client) -> ExitCode:
    method, request = session.method, session.request
    response = message_class(session.schema, method.response)
    story = Story(_nameless())

    def start(options: watch_pb2.WatchOptions) -> Any:
        request.options.CopyFrom(options)
        return client.stream(method.service, method.name, request, response)

    try:
        async with asyncio.timeout(session.timeout):
            async for frame in resume(start, request.options):
                if session.structured:
                    session.print_message(frame)
                    if method.name == "WatchOperation":
                        story.apply(frame)
                else:
                    _show_frame(session, frame, story)
    except TimeoutError:
        return ExitCode.SUCCEEDED
    return exit_code(story) if story.done else ExitCode.SUCCEEDED


def _nameless() -> Any:
    from google.longrunning import operations_pb2

    return operations_pb2.Operation()


def _columns(session: Session, frame: Any) -> str:
    """What a table shows of the item that a frame brings, in one line; empty if it brings none."""
    schema = session.schema
    for field in schema.message(session.method.response).fields:
        if field.kind is Kind.MESSAGE and not field.repeated and frame.HasField(field.name):
            item = getattr(frame, field.name)
            columns = columns_of(schema.message(field.type_name))
            values = [show_value(schema, column, getattr(item, column.name), short=False) for column in columns]
            return "  ".join(value for value in values if value)
    return ""


def _show_frame(session: Session, frame: Any, story: Story) -> None:
    """A line for a frame: of a job what changed, of anything else what a table shows, or what became of it."""
    screen = session.screen
    if frame.kind == watch_pb2.FRAME_KIND_BOOKMARK:
        return
    job = getattr(frame, "job", None)
    if isinstance(job, job_pb2.Job) and job.name:
        before = story.jobs.get(job.name)
        story.jobs[job.name] = job
        for text in plain.lines_of(Change(job, before, 0, ""), story):
            screen.text(text)
        return
    event = getattr(frame, "event", None)
    if event is not None and event.name:
        screen.write([event_line(event, revised=frame.revised)])
        return
    lock = getattr(frame, "lock", None)
    if lock is not None and lock.object:
        screen.text(f"{lock.object}: {_shown(session, lock)}")
        return
    shown = _columns(session, frame)
    if shown:
        screen.text(shown)
        return
    kind = watch_pb2.FrameKind.Name(frame.kind).removeprefix("FRAME_KIND_").lower()
    screen.text(f"{getattr(frame, 'name', '')}: {kind}".removeprefix(": "))


def _shown(session: Session, item: Any) -> str:
    """The columns of a message that a table would show, as words in a row; what names it stands before them."""
    schema = session.schema
    columns = chosen_columns(schema.message(item.DESCRIPTOR.full_name), "")[1:]
    shown = [
        (field.name.replace("_", " "), show_value(schema, field, getattr(item, field.name), short=False))
        for field in columns
    ]
    return ", ".join(f"{name} {value}" for name, value in shown if value)
