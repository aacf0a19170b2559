"""A plan as a preview shows it: jobs with their steps, the locks it would take, the servers it would touch."""

from __future__ import annotations

from collections.abc import Iterator

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.type.v1 import lock_pb2
from virtyard_client.render.line import Line, Span, fit, line, plain, wrap
from virtyard_client.story import Story


def plan(story: Story, width: int) -> Iterator[Line]:
    """The preview of an operation that was asked for with validate_only."""
    planned = story.metadata.plan
    count, servers = len(planned.jobs), len(planned.servers)
    yield line(
        f"{story.title}: would run {count} job{'' if count == 1 else 's'}"
        f"{f' on {servers} server' if servers else ''}{'s' if servers > 1 else ''}; nothing was changed",
        "bold",
    )
    for job in planned.jobs:
        yield from _job(job, width)
    # A mode and its object stay on one line: the blank between them is no place to break.
    locks = ", ".join(f"{_mode(lock.mode)}\N{NO-BREAK SPACE}{lock.object}" for lock in planned.locks)
    for text in wrap(f"Locks: {locks}", width) if locks else ():
        yield line(plain(text).replace("\N{NO-BREAK SPACE}", " "))
    if planned.servers:
        yield from wrap(f"Servers: {', '.join(planned.servers)}", width)


def _job(job: plan_pb2.PlannedJob, width: int) -> Iterator[Line]:
    indent = "    " if job.parent else "  "
    after = f"  after {', '.join(job.after)}" if job.after else ""
    child = f"  child of {job.parent}" if job.parent else ""
    yield fit([Span(f"{indent}{job.id}. {job.title}", ""), Span(f"  {job.object}{after}{child}", "dim")], width)
    for step in job.steps:
        note = "  (no way back)" if step.kind == plan_pb2.STEP_KIND_PIVOT else ""
        note = note or ("  (only if it cannot be reached)" if step.if_deferred else "")
        words = step.title or step.do.type_url.rpartition(".")[2]
        yield fit([Span(f"{indent}     - {words}"), Span(f"  {step.participant}{note}", "dim")], width)


def _mode(mode: int) -> str:
    try:
        return lock_pb2.LockMode.Name(mode).removeprefix("LOCK_MODE_")  # type: ignore[arg-type] # a newer server's mode
    except ValueError:
        return str(mode)
