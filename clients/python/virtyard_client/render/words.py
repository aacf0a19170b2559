"""Words, marks and styles for states; what a field's value looks like in a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from virtyard_client.command.quantities import show_bytes, show_time
from virtyard_client.schema.model import Field, Kind, Unit
from virtyard_client.schema.schema import Schema


@dataclass(frozen=True, slots=True)
class Look:
    """How a state looks."""

    word: str
    """The word for it."""
    mark: str
    """A sign of one column."""
    ascii_mark: str
    """The sign where only ASCII can be shown."""
    style: str
    """The style of mark and word."""


JOB_LOOKS = {
    1: Look("pending", "·", ".", "dim"),
    2: Look("waiting for locks", "⧗", "w", "yellow"),
    3: Look("running", "▸", ">", "cyan"),
    4: Look("rolling back", "◂", "<", "magenta"),
    5: Look("completed", "✓", "+", "green"),
    6: Look("failed", "✗", "x", "red"),
    7: Look("aborted", "■", "a", "yellow"),
    8: Look("rollback failed", "!", "!", "bold red"),
}
"""Looks by the number of JobState."""

OPERATION_LOOKS = {
    1: Look("active", "▸", ">", "cyan"),
    2: Look("succeeded", "✓", "+", "green"),
    3: Look("failed", "✗", "x", "red"),
    4: Look("cancelled", "■", "a", "yellow"),
    5: Look("partial", "!", "!", "bold yellow"),
}
"""Looks by the number of OperationState."""

UNKNOWN = Look("unknown", "?", "?", "")

DEFERRED = "put off, as its server could not be reached"
"""What is said of a job whose work is still to be done."""

STEP_WORDS = ("", "pending", "started", "done", "failed", "undoing", "undone", "undo failed", "skipped")
"""Words by the number of StepState."""

STYLES = {
    "running": "green",
    "online": "green",
    "active": "green",
    "ready": "green",
    "completed": "green",
    "succeeded": "green",
    "offline": "red",
    "failed": "red",
    "critical": "bold red",
    "rollback-failed": "bold red",
    "warning": "yellow",
    "deleting": "yellow",
    "aborted": "yellow",
    "cancelled": "yellow",
}
"""Styles of words in table cells."""


def job_look(state: int) -> Look:
    """How a job state looks."""
    return JOB_LOOKS.get(state, UNKNOWN)


def operation_look(state: int) -> Look:
    """How an operation state looks."""
    return OPERATION_LOOKS.get(state, UNKNOWN)


def short_name(name: str) -> str:
    """The last part of a resource name, which is accepted wherever the kind is known."""
    return name.rpartition("/")[2]


def show_value(schema: Schema, field: Field, value: Any, *, short: bool) -> str:
    """A value of a message as people read it; `short` leaves the collection out of resource names."""
    if field.repeated:
        return ", ".join(_show_one(schema, field, one, short=short) for one in value)
    if field.kind is Kind.MAP:
        return ", ".join(f"{key}={value[key]}" for key in sorted(value))
    return _show_one(schema, field, value, short=short)


def _show_one(schema: Schema, field: Field, value: Any, *, short: bool) -> str:
    if field.kind is Kind.CHOICE:
        return schema.enum(field.type_name).short(value)
    if field.kind is Kind.TIME:
        return show_time(value.ToDatetime()) if value.ByteSize() else ""
    if field.kind is Kind.DURATION:
        return f"{value.ToTimedelta().total_seconds():g} s" if value.ByteSize() else ""
    if field.kind is Kind.TRUTH:
        return "yes" if value else "no"
    if short and (field.reference or field.identifier):
        return short_name(value)
    return _show_number(field.unit, value)


def _show_number(unit: Unit, value: Any) -> str:
    match unit:
        case Unit.BYTES:
            return show_bytes(value)
        case Unit.PERCENT:
            return f"{value:.0f} %"
        case Unit.SECONDS:
            return f"{value:g} s"
    return str(value)
