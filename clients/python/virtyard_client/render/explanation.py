"""The explanation of a wait: why, who is in the way and who in theirs, and what can be done, each with its command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard_client.command.quantities import show_seconds
from virtyard_client.render.left import left
from virtyard_client.render.line import Line, Span, line, wrap
from virtyard_client.render.words import job_look

_KINDS = {
    pb.WAIT_EDGE_KIND_HOLDER: "has",
    pb.WAIT_EDGE_KIND_BARRIER: "goes first for",
}


def explanation(told: pb.WaitExplanation, width: int, now: datetime) -> list[Line]:
    """The lines that explain a wait, none longer than `width` where words allow."""
    job = told.job
    lines: list[Line] = [(Span(f"{job.job}: {job.title} on {job.object}", "bold"), Span(f": {_state(job)}"))]
    lines += wrap(f"asked for by {job.principal}{_quoted(job.reason)}, {_progress(job, now)}", width, indent="  ")
    place = f" (place {told.queue_place} in the queue)" if told.queue_place else ""
    lines += [(), *wrap(f"Why: {told.summary}{place}.", width)]
    if told.parties:
        lines += [(), line("In the way:", "bold")]
        for party in told.parties:
            lines += _party(party, told.edges, width, now)
    if told.truncated:
        lines += wrap("There are more; these are the nearest.", width, indent="  ")
    if told.remedies:
        lines += [(), line("What can be done:", "bold")]
        for remedy in told.remedies:
            lines += _listed(remedy.text, width)
            if remedy.command:
                lines.append(line(f"      {remedy.command}", "cyan"))
    return lines


def _party(party: pb.WaitParty, edges: Sequence[pb.WaitEdge], width: int, now: datetime) -> Iterator[Line]:
    if party.job:
        what = f"{party.job}: {party.title} on {party.object}"
        yield from _listed(f"{what}: {_state(party)}, {_progress(party, now)}", width)
    else:
        yield from _listed(f"{party.owner}: {party.reason or party.title}", width)
    asked = f"asked for by {party.principal}{_quoted(party.reason if party.job else '')}, " if party.principal else ""
    since = f"since {_ago(party.since_time, now)}" if party.HasField("since_time") else ""
    yield from wrap(f"{asked}{since}".rstrip(", "), width, indent="    ", style="dim")
    names = {party.owner, party.job} - {""}
    for edge in edges:
        if edge.blocker in names and edge.kind in _KINDS:
            modes = f"in mode {_mode(edge.mode)}; {edge.waiter} wants {_mode(edge.wanted_mode)}"
            yield from wrap(f"{_KINDS[edge.kind]} {edge.object} {modes}", width, indent="    ", style="dim")
    blockers = list(dict.fromkeys(edge.blocker for edge in edges if edge.waiter in names))
    if blockers:
        yield from wrap(f"waits for {', '.join(blockers)} itself", width, indent="    ", style="dim")


def _listed(text: str, width: int) -> list[Line]:
    first, *rest = wrap(text, width - 4) or [()]
    return [(Span("  - "), *first), *((Span("    "), *each) for each in rest)]


def _state(party: pb.WaitParty) -> str:
    words = [job_look(party.state).word]
    if party.held:
        words.append(f"held by {party.held_by}" if party.held_by else "held")
    if party.silent_servers:
        words.append(f"{', '.join(party.silent_servers)} silent")
    if party.aborting:
        words.append("aborting")
    if party.too_late:
        words.append("past the point of no return")
    return ", ".join(words)


def _progress(party: pb.WaitParty, now: datetime) -> str:
    text = f"{party.percent:.0f} % done"
    if party.HasField("expected_end_time"):
        text = ", ".join(filter(None, (text, left(party.expected_end_time, now))))
    return text


def _ago(stamp: Any, now: datetime) -> str:
    return show_seconds(max(round((now - stamp.ToDatetime(UTC)).total_seconds()), 0))


def _quoted(text: str) -> str:
    return f' ("{text}")' if text else ""


def _mode(mode: int) -> str:
    from virtyard_client.run.describing import lock_mode

    return lock_mode(mode)
