"""The catalogue of event types as the tables of the documentation."""

from __future__ import annotations

from virtyard.api.inventory.v1 import event_pb2
from virtyard.kernel.event_type import EventType, severity_word
from virtyard.kernel.event_types import EVENT_TYPES

__all__ = ["render"]

_GRAVEST_FIRST = (
    event_pb2.SEVERITY_CRITICAL,
    event_pb2.SEVERITY_WARNING,
    event_pb2.SEVERITY_INFORMATIONAL,
    event_pb2.SEVERITY_UNKNOWN,
)


def render() -> str:
    """Return the catalogue as the tables of the documentation: the gravest types first."""
    blocks = []
    for severity in _GRAVEST_FIRST:
        rows = [_row(kind) for kind in EVENT_TYPES if kind.severity == severity]
        if rows:
            heading = f"## {severity_word(severity)}\n\n| type | about | what it means | what to do | open until |"
            heading += " looked at again |"
            columns = 6
            if severity == event_pb2.SEVERITY_CRITICAL:
                heading += " blocks |"
                columns = 7
            blocks.append("\n".join([heading, "|---" * columns + "|", *rows]))
    return "\n\n".join(blocks)


def _row(kind: EventType) -> str:
    about = ", ".join(f"`{each}`" for each in kind.about) or "any object"
    ends = ", ".join(["a person", *kind.cleared_by]) if kind.acknowledgeable else "-"
    looked = kind.condition.value if kind.condition is not None else "-"
    row = f"| `{kind.name}` | {about} | {kind.meaning} | {kind.advice} | {ends} | {looked} |"
    if kind.severity == event_pb2.SEVERITY_CRITICAL:
        row += f" {', '.join(kind.blocks) or '-'} |"
    return row
