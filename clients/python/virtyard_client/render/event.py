"""An event as a watch tells it: the fact in a line, or what has become of it."""

from __future__ import annotations

from typing import Any

from virtyard.api.inventory.v1 import event_pb2
from virtyard_client.command.quantities import show_time
from virtyard_client.render.line import Line, Span
from virtyard_client.render.words import STYLES

__all__ = ["badge", "became", "event_line", "severity"]


def severity(event: Any) -> str:
    """Return an event's severity as a word, as warning."""
    return event_pb2.Severity.Name(event.severity).removeprefix("SEVERITY_").lower()


def badge(activity: Any) -> str:
    """Return the severity of an object's worst open event as a word; empty if none is open."""
    return str(activity.worst_severity).lower()


def became(event: Any) -> str:
    """Return what has become of an event, in words; empty if nothing has and nothing is to be done."""
    parts = []
    if event.count > 1:
        parts.append(f"came {event.count} times, last at {show_time(event.last_time.ToDatetime())}")
    if event.HasField("acknowledge_time"):
        comment = f": {event.comment}" if event.comment else ""
        parts.append(f"acknowledged by {event.acknowledged_by}{' by force' if event.forced else ''}{comment}")
    if event.cleared:
        parts.append(f"over, as {event.cleared_by} tells")
    return "; ".join(parts) or ("open" if event.open else "")


def event_line(event: Any, *, revised: bool) -> Line:
    """Return the line that a watch shows for an event, or for what has become of one that it showed before."""
    word = severity(event)
    said = became(event) if revised else event.message
    mark = " (open)" if event.open and not revised else ""
    return (
        Span(f"{event.name}  "),
        Span(word, STYLES.get(word, "")),
        Span(f"  {event.type} on {event.object}: {said}{mark}"),
    )
