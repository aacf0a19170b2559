"""The tree of an operation: its jobs and their children with state, bar, stage, and whom it waits for.

It is laid out here as lines of a given width; live display and final print show the same lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from virtyard.api.jobs.v1 import job_pb2
from virtyard_client.command.quantities import show_bytes, show_seconds
from virtyard_client.render.left import left
from virtyard_client.render.line import Line, Span, fit, shorten
from virtyard_client.render.words import DEFERRED, job_look, operation_look, short_name
from virtyard_client.story import Story

BAR = 14
"""Columns of a progress bar."""
_MOVING = (job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_ROLLING_BACK)


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters that a tree is drawn with."""

    branch: str
    """Before a job that has a later sibling."""
    last: str
    """Before the last job of its siblings."""
    rail: str
    """Beside the children of a job that has a later sibling."""
    full: str
    """The done part of a bar."""
    empty: str
    """The open part of a bar."""
    ellipsis: str
    """What ends a text that was cut."""
    ascii: bool
    """True if only ASCII can be shown."""


UNICODE = Signs("├─ ", "└─ ", "│  ", "━", "╌", "…", False)
ASCII = Signs("|- ", "`- ", "|  ", "#", "-", "...", True)


@dataclass(frozen=True, slots=True)
class _Row:
    guide: str
    rail: str
    job: job_pb2.Job
    title: str


def tree(story: Story, width: int, signs: Signs = UNICODE, now: datetime | None = None) -> list[Line]:
    """The operation as lines of at most `width` columns, as it looks now unless another time is given."""
    rows = list(_rows(story, story.roots(), "", signs))
    left = min(max((len(row.guide) + 2 + len(row.title) for row in rows), default=0), max(width - 38, 20))
    lines = [_head(story, width, signs, now or datetime.now(UTC))]
    if story.waiting:
        lines.append(fit([Span(f"   {waiting(story.waiting)}", "yellow")], width, signs.ellipsis))
    for row in rows:
        lines.append(_job_line(row, left, width, signs))
        lines.extend(_notes(row, story, width, signs))
    return lines


def waiting(text: str) -> str:
    """The sentence on whom somebody waits for."""
    return text if text.startswith("waits") else f"waits for {text}"


def _head(story: Story, width: int, signs: Signs, now: datetime) -> Line:
    look = operation_look(story.state)
    word = look.word
    if story.state == 1:
        progress = story.metadata.progress
        word = f"{'aborting' if story.metadata.abort_requested else 'active'} {progress.percent:3.0f} %"
        if progress.HasField("expected_end_time") and (rest := left(progress.expected_end_time, now)):
            word = f"{word}, {rest}"
    elif story.done and story.metadata.HasField("end_time"):
        word = f"{word} in {show_seconds(elapsed(story))}"
    spans = [
        Span(story.title, "bold"),
        Span(f"  {story.name}  " if story.name else "  ", "dim"),
        Span(word, look.style),
    ]
    return fit(spans, width, signs.ellipsis)


def elapsed(story: Story) -> float:
    """Seconds from when the operation was accepted to its end."""
    metadata = story.metadata
    return (metadata.end_time.ToDatetime() - metadata.create_time.ToDatetime()).total_seconds()


def _rows(story: Story, jobs: Sequence[job_pb2.Job], rail: str, signs: Signs) -> Iterator[_Row]:
    titles = [job.title for job in jobs]
    for place, job in enumerate(jobs):
        is_last = place == len(jobs) - 1
        guide = rail + (signs.last if is_last else signs.branch)
        below = rail + ("   " if is_last else signs.rail)
        title = f"{job.title} {short_name(job.object)}" if titles.count(job.title) > 1 else job.title
        yield _Row(guide, below, job, title)
        yield from _rows(story, story.children(job), below, signs)


def _job_line(row: _Row, left: int, width: int, signs: Signs) -> Line:
    look = job_look(row.job.state)
    mark = look.ascii_mark if signs.ascii else look.mark
    room = left - len(row.guide) - 2
    spans = [
        Span(row.guide, "dim"),
        Span(f"{mark} ", look.style),
        Span(shorten(row.title, room, signs.ellipsis).ljust(room) + "  "),
        *_progress(row.job, signs, width - left - 2),
    ]
    return fit(spans, width, signs.ellipsis)


def _progress(job: job_pb2.Job, signs: Signs, width: int) -> Iterator[Span]:
    look = job_look(job.state)
    if job.state not in _MOVING or (job.state == job_pb2.JOB_STATE_ROLLING_BACK and not job.progress.percent):
        yield Span(look.word, look.style)
        return
    yield from bar(job.progress.percent, signs, look.style)
    if job.contact_lost:
        yield Span("  host is silent", "bold yellow")
    elif job.stalled:
        yield Span("  no progress", "bold yellow")
    else:
        yield Span(f"  {_stage(job, width - BAR - 8)}", "dim")


def bar(percent: float, signs: Signs, style: str) -> Iterator[Span]:
    """A progress bar with its per cent behind it."""
    percent = max(0.0, min(percent, 100.0))
    done = round(percent * BAR / 100)
    yield Span(signs.full * done, style)
    yield Span(signs.empty * (BAR - done), "dim")
    yield Span(f" {percent:3.0f} %")


def _stage(job: job_pb2.Job, room: int) -> str:
    """Stage and units if both fit; else the units, which tell more; else what there is."""
    rolling = job.state == job_pb2.JOB_STATE_ROLLING_BACK
    stage, units = job_look(job.state).word if rolling else job.progress.stage, _units(job)
    both = ", ".join(filter(None, (stage, units)))
    return next((text for text in (both, units) if text and len(text) <= room), stage or units)


def _units(job: job_pb2.Job) -> str:
    total = job.progress.total_units
    if not total:
        return ""
    # Small totals are counts of things, large ones are bytes: the message has one field for both.
    if total < 1 << 20:
        return f"{job.progress.done_units} of {total}"
    rate = job.progress.units_per_second
    speed = f", {show_bytes(rate)}/s" if rate else ""
    return f"{show_bytes(job.progress.done_units)} of {show_bytes(total)}{speed}"


def _notes(row: _Row, story: Story, width: int, signs: Signs) -> Iterator[Line]:
    """What a job line has no room for: whom it waits for, why it failed, what it left behind."""
    notes: list[tuple[str, str]] = []
    if row.job.waiting_for and row.job.waiting_for != story.waiting:
        notes.append((waiting(row.job.waiting_for), "yellow"))
    if row.job.HasField("error") and row.job.error.message and not row.job.cause:
        notes.append((row.job.error.message, "red"))
    if row.job.deferred:
        notes.append((DEFERRED, "yellow"))
    notes.extend((f"left behind: {residue}", "bold red") for residue in row.job.residue)
    for text, style in notes:
        yield fit([Span(f"{row.rail}  ", "dim"), Span(text, style)], width, signs.ellipsis)
