"""`describe`: one object with its jobs, events and locks, and what may be done with it now, or why not.

What may be done is found out by asking for a preview of every verb that needs no more than the object's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard_client.client import Client
from virtyard_client.command.flags import flags_of
from virtyard_client.command.options import ExitCode
from virtyard_client.command.quantities import show_time
from virtyard_client.command.request import message_class
from virtyard_client.errors import ClientError
from virtyard_client.render import json_line
from virtyard_client.render.event import badge, became, severity
from virtyard_client.render.line import Line, Span, line
from virtyard_client.render.record import COLUMN, record
from virtyard_client.render.table import table
from virtyard_client.render.words import DEFERRED, STYLES, job_look
from virtyard_client.run.session import Session
from virtyard_client.schema.model import Message, Method
from virtyard_client.schema.own import OPERATION

_EVENT_HEADERS = ("NAME", "SEVERITY", "TYPE", "MESSAGE", "WHAT BECAME OF IT", "TIME")
_MOST = 10
"""Jobs and events that are shown; `job list` and `event list` have the others."""


async def describe(session: Session) -> ExitCode:
    """Show an object with everything that concerns it."""
    schema, name = session.schema, session.request.name
    async with session.connect() as client:
        response = message_class(schema, session.method.response)
        get = session.reading("get")
        item = await client.call(get.service, get.name, session.request, response, session.timeout)
        jobs, events, locks, allowed = await asyncio.gather(
            _jobs(client, name), _events(client, name), _locks(client, name), _allowed(session, client, item)
        )
    if session.structured:
        parts = {"jobs": jobs, "events": events, "locks": locks}
        body: dict[str, Any] = {"object": json_line.body(schema, item)}
        body |= {part: [json_line.body(schema, one) for one in found] for part, found in parts.items()}
        body["operations"] = [{"verb": verb, "allowed": not reason, "reason": reason} for verb, reason in allowed]
        session.print_body(body)
        return ExitCode.SUCCEEDED
    screen = session.screen
    screen.write(record(schema, _without_activity(session), item))
    screen.write(_worst(item))
    screen.write(_section("Locks", ("MODE", "HELD BY", "WHAT FOR"), [_lock_row(lock) for lock in locks], session))
    screen.write(_section("Jobs", ("NAME", "TITLE", "STATE", "CREATED"), [_job_row(job) for job in jobs], session))
    screen.write(_section("Events", _EVENT_HEADERS, [_event_row(event) for event in events], session))
    rows = [(verb, "yes" if not reason else "no", reason) for verb, reason in allowed]
    screen.write(_section("Operations", ("VERB", "NOW", "WHY NOT"), rows, session))
    return ExitCode.SUCCEEDED


def _without_activity(session: Session) -> Message:
    message = session.schema.message(session.method.response)
    rest = tuple(field for field in message.fields if field.name != "activity")
    return Message(full_name=message.full_name, file=message.file, comment="", fields=rest)


async def _jobs(client: Client, name: str) -> Sequence[Any]:
    request = job_service_pb2.ListJobsRequest(filter=f'object = "{name}"', page_size=_MOST)
    return (await client.jobs.ListJobs(request)).jobs


async def _events(client: Client, name: str) -> Sequence[Any]:
    request = inventory_service_pb2.ListEventsRequest(
        filter=f'object = "{name}"', page_size=_MOST, order_by="create_time desc"
    )
    return (await client.inventory.ListEvents(request)).events


async def _locks(client: Client, name: str) -> Sequence[Any]:
    return (await client.locks.ListLocks(lock_service_pb2.ListLocksRequest(filter=f'object = "{name}"'))).locks


async def _allowed(session: Session, client: Client, item: Any) -> list[tuple[str, str]]:
    """Return (verb, why not) of every operation on this object; the reason is empty where it may be asked for now."""
    verbs = [method for method in session.verbs() if method.response == OPERATION]
    found = await asyncio.gather(*(_why_not(session, client, method, item) for method in verbs))
    return [(method.verb, reason) for method, reason in zip(verbs, found, strict=True) if reason is not None]


async def _why_not(session: Session, client: Client, method: Method, item: Any) -> str | None:
    """Return why an operation is refused now; None for one that is not about an object that is there."""
    fields = {field.name: field for field in session.schema.message(method.request).fields}
    changed = next((field for field in fields.values() if field.settable), None)
    if "name" not in fields and changed is None:
        return None
    flags = flags_of(session.schema, method.request)
    needs_more = any(flag.required and flag.path[-1] != "name" for flag in flags)
    request: Any = message_class(session.schema, method.request)()
    request.validate_only = True
    if changed is not None:
        # The object as it is: what is refused then is refused whatever is to be changed.
        wanted = getattr(request, changed.name)
        wanted.CopyFrom(item)
        request.update_mask.paths.append(changed.settable[0])
    else:
        request.name = item.name
    response = message_class(session.schema, OPERATION)
    try:
        await client.call(method.service, method.name, request, response, session.timeout)
    except ClientError as error:
        if needs_more and error.reason == "INVALID_REQUEST":
            return ""
        return error.message.removeprefix(f"{changed.name}." if changed is not None else "").removeprefix("name: ")
    return ""


def _section(title: str, headers: Sequence[str], rows: Sequence[tuple[str, ...]], session: Session) -> list[Line]:
    heading: list[Line] = [(), (Span(f"{title}:", "bold"),)]
    if not rows:
        return [*heading, line("  none")]
    width = session.screen.table_width
    indented = table(headers, rows, width - 2 if width else None, session.screen.signs.ellipsis)
    return [*heading, *((Span("  ", ""), *row) for row in indented)]


def _lock_row(lock: Any) -> tuple[str, ...]:
    mode = lock_mode(lock.mode)
    return (mode, f"{lock.owner} (waiting)" if lock.waiting else lock.owner, lock.purpose)


def lock_mode(mode: int) -> str:
    """Return a lock mode as people write it, as SIX."""
    from virtyard.api.type.v1 import lock_pb2

    return lock_pb2.LockMode.Name(mode).removeprefix("LOCK_MODE_")  # type: ignore[arg-type]  # a number of the enum


def _job_row(job: job_pb2.Job) -> tuple[str, ...]:
    return (job.name, job.title, job_look(job.state).word, show_time(job.create_time.ToDatetime()))


def _event_row(event: Any) -> tuple[str, ...]:
    return (
        event.name,
        severity(event),
        event.type,
        event.message,
        became(event),
        show_time(event.create_time.ToDatetime()),
    )


def _worst(item: Any) -> list[Line]:
    """Return a badge for the worst open event of an object; nothing if none is open."""
    word = badge(item.activity)
    if not word:
        return []
    text = f" {item.activity.worst_event} is open, one of {item.activity.open_events}"
    return [(Span("event:".ljust(COLUMN) + " ", "dim"), Span(word, STYLES.get(word, "")), Span(text))]


async def transcript(session: Session) -> ExitCode:
    """Tell the whole story of a job's operation: what was asked, each step with its tries and times, and the events."""
    from google.longrunning import operations_pb2

    async with session.connect() as client:
        job = await client.jobs.GetJob(job_service_pb2.GetJobRequest(name=session.request.name))
        operation = await client.longrunning.GetOperation(operations_pb2.GetOperationRequest(name=job.operation))
        matching = f'operation = "{job.operation}"'
        jobs = (await client.jobs.ListJobs(job_service_pb2.ListJobsRequest(filter=matching, page_size=1000))).jobs
        asked = inventory_service_pb2.ListEventsRequest(filter=matching, page_size=1000, order_by="create_time")
        events = (await client.inventory.ListEvents(asked)).events
    schema = session.schema
    ordered = sorted(jobs, key=lambda each: [int(part) for part in each.name.rpartition("-")[2].split(".")])
    if session.structured:
        session.print_body(
            {
                "operation": json_line.body(schema, operation),
                "jobs": [json_line.body(schema, each) for each in ordered],
                "events": [json_line.body(schema, each) for each in events],
            }
        )
        return ExitCode.SUCCEEDED
    metadata = operation_pb2.OperationMetadata.FromString(operation.metadata.value)
    screen = session.screen
    screen.text(f"{job.operation}: {metadata.title}")
    screen.text(f"  asked for by {metadata.principal or 'nobody known'} at {_moment(metadata.create_time)}")
    for hop in metadata.reason_trail:
        if hop.source != metadata.principal:
            screen.text(f"  caused by {hop.source} at {_moment(hop.time)}: {hop.reason}")
    for each in ordered:
        screen.write(_told(each))
    for event in events:
        screen.text(f"  event {event.type} at {_moment(event.create_time)}: {event.message}")
    if operation.HasField("error"):
        screen.text(f"  ended with an error: {operation.error.message}")
    for missing in metadata.residue:
        screen.text(f"  missing: {missing}")
    return ExitCode.SUCCEEDED


def _told(job: job_pb2.Job) -> list[Line]:
    from virtyard_client.render.words import STEP_WORDS

    lines = [(), line(f"{job.name}: {job.title} on {job.object}: {job_look(job.state).word}")]
    for what, moment in (("accepted", job.create_time), ("begun", job.start_time), ("ended", job.end_time)):
        if moment.ByteSize():
            lines.append(line(f"  {what} at {_moment(moment)}"))
    for step in job.steps:
        tries = f", {step.attempt} tries" if step.attempt > 1 else ""
        word = STEP_WORDS[step.state] if step.state < len(STEP_WORDS) else str(step.state)
        lines.append(line(f"  step {step.id}: {step.title} (by {step.participant}): {word}{tries}"))
        if step.error.message:
            lines.append(line(f"    {step.error.message}"))
    if job.error.message:
        lines.append(line(f"  error: {job.error.message}"))
    if job.cause:
        lines.append(line(f"  because of {job.cause}"))
    if job.deferred:
        lines.append(line(f"  {DEFERRED}"))
    lines.extend(line(f"  left behind: {one}") for one in job.residue)
    return lines


def _moment(time: Any) -> str:
    return time.ToDatetime().isoformat(timespec="milliseconds") + "Z" if time.ByteSize() else "an unknown time"
