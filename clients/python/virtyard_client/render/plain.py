"""Plain lines: one line for each change of a state, for pipes, logs and terminals that cannot redraw."""

from __future__ import annotations

from collections.abc import Iterator

from virtyard.api.jobs.v1 import job_pb2
from virtyard_client.command.quantities import show_seconds
from virtyard_client.render.tree import elapsed, waiting
from virtyard_client.render.words import DEFERRED, job_look, operation_look
from virtyard_client.story import Change, Story


def accepted(story: Story) -> str:
    """The line on an operation that was just accepted."""
    count = len(story.metadata.jobs)
    return f"{story.name}: {story.title}: accepted, {count} job{'' if count == 1 else 's'}"


def lines_of(change: Change, story: Story) -> Iterator[str]:
    """The lines on what one frame changed; none if only a percentage did."""
    if story.waiting and story.waiting != change.waiting_before:
        yield f"{story.name}: {waiting(story.waiting)}"
    if change.job is None:
        return
    job, before = change.job, change.before
    head = f"{job.name}: {job.title}: "
    if before is None and job.state == job_pb2.JOB_STATE_PENDING:
        return
    if before is None or before.state != job.state:
        why = f": {job.error.message}" if job.state == job_pb2.JOB_STATE_FAILED and job.error.message else ""
        yield f"{head}{job_look(job.state).word}{why}"
    if before is not None and before.contact_lost != job.contact_lost:
        yield f"{head}{'host is silent' if job.contact_lost else 'host answers again'}"
    if before is not None and before.stalled != job.stalled and not job.done:
        yield f"{head}{'makes no progress' if job.stalled else 'goes on'}"
    if job.deferred and not (before is not None and before.deferred):
        yield f"{head}{DEFERRED}"
    known = set(before.residue) if before is not None else set()
    for residue in job.residue:
        if residue not in known:
            yield f"{head}left behind: {residue}"


def ended(story: Story) -> str:
    """The line on how an operation ended, and after how long."""
    took = f" in {show_seconds(elapsed(story))}" if story.metadata.HasField("end_time") else ""
    return f"{story.name}: {story.title}: {operation_look(story.state).word}{took}"
