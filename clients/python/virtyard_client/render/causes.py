"""The causes beneath an error: the jobs of an operation that failed, their steps, and what else a service said.

Shown on request, each beneath what it led to; what only says the same again is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from virtyard_client.errors import ClientError
from virtyard_client.render.line import Line, Span, wrap
from virtyard_client.story import Story

__all__ = ["causes", "facts", "failed_object"]


def failed_object(story: Story) -> str:
    """Return the object of the job that failed; empty if that cannot be told."""
    failed = [job for job in story.jobs.values() if job.error.code and not job.cause]
    return str(failed[0].object) if failed else ""


def causes(story: Story, width: int) -> Iterator[Line]:
    """Yield what led to an operation's error: its jobs that failed, and beneath each the steps that did."""
    told = {story.error.message} if story.error is not None else set()
    for job in sorted(story.jobs.values(), key=lambda each: each.name):
        errors = [(step, step.error) for step in job.steps if step.error.code]
        if not job.error.code and not errors:
            continue
        head = f"{job.name} {job.title} on {job.object}"
        if job.error.code:
            said = "" if job.error.message in told and errors else f": {_said(job.error)}"
            yield from wrap(f"because {head}{said}", width, indent="  ")
            told.add(job.error.message)
        for step, error in errors:
            text = f"because step {step.id}, {step.title} (by {step.participant}): {_said(error)}"
            yield from wrap(text, width, indent="    ")


def facts(error: ClientError) -> Iterator[Line]:
    """Yield what a service said besides: the code, and the facts that it gave for programs."""
    yield (Span(f"  code: {error.code}"),)
    for key in sorted(error.metadata):
        yield (Span(f"  {key}: {error.metadata[key]}"),)


def _said(status: object) -> str:
    error = ClientError.from_status(status)  # type: ignore[arg-type]  # a google.rpc.Status
    return f"{error.message} ({error.reason})"
