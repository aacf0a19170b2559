"""Verbs that read: get one object, list many over all pages, show a job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, wait_explanation_pb2
from virtyard_client.client import Client
from virtyard_client.command.options import ExitCode
from virtyard_client.command.quantities import show_seconds, show_time
from virtyard_client.command.request import message_class
from virtyard_client.command.usage import UsageError
from virtyard_client.render.explanation import explanation
from virtyard_client.render.left import left
from virtyard_client.render.line import Line, line
from virtyard_client.render.record import record
from virtyard_client.render.table import chosen_columns, objects, table
from virtyard_client.render.words import STEP_WORDS, job_look, operation_look
from virtyard_client.run.session import Session
from virtyard_client.schema.model import Field, Kind, Message
from virtyard_client.schema.own import OPERATION
from virtyard_client.story import Story


async def get(session: Session) -> ExitCode:
    """Call a method that answers with one message, and show all of it."""
    method, schema = session.method, session.schema
    session.name_request()
    async with session.connect() as client:
        item = await session.ask(client)
    if session.structured:
        session.print_message(item)
    elif isinstance(item, job_pb2.Job):
        session.screen.write(_job(session, item))
    elif isinstance(item, job_service_pb2.AbortJobResponse):
        session.screen.text(_aborted(item, session.request))
    elif isinstance(item, wait_explanation_pb2.WaitExplanation):
        session.screen.write(explanation(item, session.screen.width, datetime.now(UTC)))
    elif (rows := _rows_of(schema.message(method.response))) is not None:
        _show_table(session, list(getattr(item, rows.name)))
    else:
        session.screen.write(record(schema, schema.message(method.response), item))
    return ExitCode.SUCCEEDED


def _rows_of(message: Message) -> Field | None:
    """The field of an answer that is nothing but a list of messages; None for any other answer."""
    if len(message.fields) != 1 or not message.fields[0].repeated or message.fields[0].kind is not Kind.MESSAGE:
        return None
    return message.fields[0]


def _aborted(response: job_service_pb2.AbortJobResponse, request: job_service_pb2.AbortJobRequest) -> str:
    name = response.job.operation or response.job.name
    ending = ", ".join(response.jobs) or "nothing"
    if response.job.done:
        return f"{response.job.name}: has ended already: {job_look(response.job.state).word}"
    if response.too_late:
        return f"{name}: too late, the job is kept or the point of no return has passed; it goes on to its end"
    if request.validate_only:
        return f"{name}: would end: {ending}; nothing was aborted"
    watch = f"virtyard operation watch {name.rpartition('/')[2]}"
    return f"{name}: abort requested, which ends {ending}; `{watch}` shows how it is undone"


def _job(session: Session, job: job_pb2.Job) -> list[Line]:
    message = session.schema.message("virtyard.api.jobs.v1.Job")
    rest = tuple(field for field in message.fields if field.name != "steps")
    without = Message(full_name=message.full_name, file=message.file, comment="", fields=rest)
    lines = list(record(session.schema, without, job))
    if job.progress.HasField("expected_end_time") and (time := left(job.progress.expected_end_time, datetime.now(UTC))):
        lines += [(), line(time)]
    if job.steps:
        rows = [
            (
                step.id,
                step.title,
                step.participant,
                STEP_WORDS[step.state] if step.state < len(STEP_WORDS) else str(step.state),
                f"{step.progress.percent:.0f} %",
                _took(step),
                str(step.attempt),
            )
            for step in job.steps
        ]
        headers = ("STEP", "TITLE", "PARTICIPANT", "STATE", "DONE", "TOOK", "ATTEMPT")
        lines += [(), *table(headers, rows, session.screen.table_width, session.screen.signs.ellipsis)]
    return lines


def _took(step: job_pb2.Step) -> str:
    """How long the last try of a step took; empty while it is under way, and where its times are not known."""
    if not (step.HasField("start_time") and step.HasField("end_time")):
        return ""
    return show_seconds((step.end_time.ToDatetime() - step.start_time.ToDatetime()).total_seconds())


async def list_all(session: Session) -> ExitCode:
    """Call a method that answers with pages, follow them all (or to --limit), and show a table."""
    limit = _limit(session)
    items: list[Any] = []
    async with session.connect() as client:
        async for item in _items(session, client):
            if limit is not None and len(items) >= limit:
                break
            items.append(item)
            if session.structured:
                session.print_message(item)
    if not session.structured:
        _show_table(session, items)
    return ExitCode.SUCCEEDED


def _limit(session: Session) -> int | None:
    text = session.arguments.text("limit")
    if not text:
        return None
    if not text.isdigit() or not int(text):
        raise UsageError(f"--limit takes a whole number from 1, not {text!r}")
    return int(text)


def items_field(session: Session) -> Field | None:
    """The field of a page that holds its items; None for google's operations."""
    if session.method.response.startswith("google.longrunning."):
        return None
    fields = session.schema.message(session.method.response).fields
    return next(field for field in fields if field.repeated and field.kind is Kind.MESSAGE)


async def _items(session: Session, client: Client) -> AsyncIterator[Any]:
    method, request = session.method, session.request
    response = message_class(session.schema, method.response)
    field = items_field(session)
    while True:
        page = await client.call(method.service, method.name, request, response, session.timeout)
        for item in getattr(page, field.name if field else "operations"):
            yield item
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _show_table(session: Session, items: list[Any]) -> None:
    screen, field = session.screen, items_field(session)
    if not items:
        kind = field.name.replace("_", " ") if field else "operations"
        screen.complain([line(f"There are no {kind}.")])
    elif field is None:
        screen.write(_operations(items, screen.table_width, screen.signs.ellipsis))
    else:
        message = session.schema.message(field.type_name)
        wanted = session.arguments.text("columns")
        chosen = chosen_columns(message, wanted) if wanted else None
        screen.write(objects(session.schema, message, items, screen.table_width, screen.signs.ellipsis, chosen))


def _operations(items: list[Any], width: int | None, ellipsis: str) -> list[Line]:
    rows = []
    for item in items:
        story = Story(item)
        metadata = story.metadata
        rows.append(
            (
                story.name,
                story.title,
                operation_look(story.state).word,
                f"{metadata.progress.percent:.0f} %",
                metadata.principal,
                show_time(metadata.create_time.ToDatetime()) if metadata.HasField("create_time") else "",
            )
        )
    return table(("NAME", "TITLE", "STATE", "DONE", "PRINCIPAL", "CREATED"), rows, width, ellipsis)


def is_list(session: Session) -> bool:
    """True for a method that answers with pages."""
    if session.method.response.startswith("google.longrunning.List"):
        return True
    if session.method.response == OPERATION or not session.schema.has_message(session.method.response):
        return False
    return session.schema.message(session.method.response).field("next_page_token") is not None
