"""The catalogue of event types: what each means, how grave it is, and what a person should do about it.

Every event is made by `new_event` from a type of this table; one of another type is refused where it is stored.
`docs/events.md` is rendered from it. A new type is one more entry of `EVENT_TYPES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virtyard.api.inventory.v1 import event_pb2

__all__ = ["EVENT_TYPES", "EventType", "find", "new_event", "render"]

_UNKNOWN = event_pb2.SEVERITY_UNKNOWN
_INFORMATIONAL = event_pb2.SEVERITY_INFORMATIONAL
_WARNING = event_pb2.SEVERITY_WARNING
_CRITICAL = event_pb2.SEVERITY_CRITICAL
_ANY: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One kind of fact that events tell."""

    name: str
    """In capitals, as SERVER_OFFLINE."""
    severity: event_pb2.Severity.ValueType
    """How grave it is; every event of the type has it."""
    meaning: str
    """The fact, in a sentence."""
    advice: str
    """What a person should do, in a sentence."""
    about: Sequence[str] = _ANY
    """The kinds of object that it is about, as `servers`; empty for all."""
    acknowledgeable: bool = False
    """Whether it stays open until somebody has taken note of it, or it is cleared; nothing acts on this yet."""
    cleared_by: Sequence[str] = ()
    """The types whose event on the same object ends the condition; nothing acts on this yet."""


OBJECT_CREATED = EventType(
    name="OBJECT_CREATED",
    severity=_INFORMATIONAL,
    meaning="A job made the object.",
    advice="Nothing.",
)
OBJECT_CHANGED = EventType(
    name="OBJECT_CHANGED",
    severity=_INFORMATIONAL,
    meaning="A job changed the object's configuration; `changed_fields` says which fields.",
    advice="Nothing; `virtyard job show` says who asked for it and why.",
)
OBJECT_DELETED = EventType(
    name="OBJECT_DELETED",
    severity=_INFORMATIONAL,
    meaning="A job removed the object; with `undone`, an object that the same operation had made.",
    advice="Nothing.",
)
OBJECT_RESTORED = EventType(
    name="OBJECT_RESTORED",
    severity=_INFORMATIONAL,
    meaning="The object is back with the same uid: its removal was undone with the rest of its operation.",
    advice="Look at the operation to see why it was undone.",
)
MACHINE_STARTED = EventType(
    name="MACHINE_STARTED",
    severity=_INFORMATIONAL,
    meaning="A job started the machine, and it runs on the server that the message names.",
    advice="Nothing.",
    about=("virtualMachines",),
)
MACHINE_RESTARTED = EventType(
    name="MACHINE_RESTARTED",
    severity=_INFORMATIONAL,
    meaning="A job ended the guest and booted it again on the same server.",
    advice="Nothing.",
    about=("virtualMachines",),
)
MACHINE_STOPPED = EventType(
    name="MACHINE_STOPPED",
    severity=_INFORMATIONAL,
    meaning="A job stopped or killed the machine; with `undone`, one that the same operation had started.",
    advice="Nothing.",
    about=("virtualMachines",),
)
MACHINE_STOPPED_UNEXPECTEDLY = EventType(
    name="MACHINE_STOPPED_UNEXPECTEDLY",
    severity=_WARNING,
    meaning=(
        "The machine's server has reported twice that its guest does not run, though no operation stopped it: "
        "it crashed, was shut down from inside, or was ended by hand. The machine's state is left as it was recorded."
    ),
    advice="Read the guest's console log; then `virtyard vm kill` records it as stopped, and `vm start` runs it again.",
    about=("virtualMachines",),
    acknowledgeable=True,
    cleared_by=("MACHINE_STARTED", "MACHINE_RESTARTED", "MACHINE_STOPPED", "OBJECT_DELETED"),
)
SERVER_ADDED_TO_POOL = EventType(
    name="SERVER_ADDED_TO_POOL",
    severity=_INFORMATIONAL,
    meaning="A job added the server to the pool that the message names.",
    advice="Nothing.",
    about=("servers",),
)
SERVER_REMOVED_FROM_POOL = EventType(
    name="SERVER_REMOVED_FROM_POOL",
    severity=_INFORMATIONAL,
    meaning="A job removed the server from the pool that the message names; with `undone`, one that it had joined.",
    advice="Nothing.",
    about=("servers",),
)
SERVER_ONLINE = EventType(
    name="SERVER_ONLINE",
    severity=_INFORMATIONAL,
    meaning="The agent of a server that was offline reports again.",
    advice="Nothing; operations that waited for it go on by themselves.",
    about=("servers",),
)
SERVER_OFFLINE = EventType(
    name="SERVER_OFFLINE",
    severity=_WARNING,
    meaning="The server's agent has not reported for 35 seconds. Its machines may well be running.",
    advice="See whether the host, its network and its agent are up. Nothing is guessed: operations on it wait.",
    about=("servers",),
    acknowledgeable=True,
    cleared_by=("SERVER_ONLINE", "OBJECT_DELETED"),
)
JOB_FAILED = EventType(
    name="JOB_FAILED",
    severity=_WARNING,
    meaning="A job on the object failed, and what its operation had done was undone; `causes` says why.",
    advice="Read `virtyard job transcript`, remove the cause, and ask for the operation again.",
    acknowledgeable=True,
)
ROLLBACK_FAILED = EventType(
    name="ROLLBACK_FAILED",
    severity=_CRITICAL,
    meaning="An undo on the object was refused again and again: its operation stays open, with its locks.",
    advice="Read the job's `residue`, remove the cause and `virtyard job retry`, or leave it: `virtyard job accept`.",
    acknowledgeable=True,
    cleared_by=("JOB_FAILED", "OPERATION_ABORTED"),
)
JOB_DEFERRED = EventType(
    name="JOB_DEFERRED",
    severity=_WARNING,
    meaning="The server could not be reached when its turn came, so a change is still to be made on it: it is behind.",
    advice="When it is back, `virtyard server refresh`, or ask for the operation again; it runs no machine until then.",
    about=("servers",),
    acknowledgeable=True,
    cleared_by=("OBJECT_DELETED",),
)
IMAGE_MISSING = EventType(
    name="IMAGE_MISSING",
    severity=_WARNING,
    meaning="A refresh of the repository did not find the file that the object names.",
    advice="Put the file back, or delete the object; look for who changed the repository by hand.",
    acknowledgeable=True,
    cleared_by=("OBJECT_DELETED",),
)
FOREIGN_FILE = EventType(
    name="FOREIGN_FILE",
    severity=_WARNING,
    meaning="A refresh of the repository found a file that no object names; it takes space and is left alone.",
    advice="Move it out of the repository if nobody needs it there.",
    about=("repositories",),
    acknowledgeable=True,
    cleared_by=("OBJECT_DELETED",),
)
RESTORED_UNKNOWN_EFFECT = EventType(
    name="RESTORED_UNKNOWN_EFFECT",
    severity=_CRITICAL,
    meaning=(
        "The databases were restored, and the ledger of a server has something that they do not know: it was done "
        "after the backup was made, and has not been undone. The message names server, step, action and object."
    ),
    advice="Refresh its server or repository, compare the object with what is recorded, and remove it or do it again.",
    acknowledgeable=True,
)
RESTORED_UNKNOWN_GUEST = EventType(
    name="RESTORED_UNKNOWN_GUEST",
    severity=_CRITICAL,
    meaning="The databases were restored, and a server runs a guest whose machine is not recorded as running there.",
    advice="Start the machine: its guest is taken over where it runs. End the guest of one that is not recorded.",
    acknowledgeable=True,
    cleared_by=("MACHINE_STARTED", "OBJECT_DELETED"),
)
OPERATION_ABORTED = EventType(
    name="OPERATION_ABORTED",
    severity=_INFORMATIONAL,
    meaning="A person or a deadline ended an operation on the object, and what it had done was undone.",
    advice="Nothing, if that was intended.",
)

EVENT_TYPES = (
    OBJECT_CREATED,
    OBJECT_CHANGED,
    OBJECT_DELETED,
    OBJECT_RESTORED,
    MACHINE_STARTED,
    MACHINE_RESTARTED,
    MACHINE_STOPPED,
    MACHINE_STOPPED_UNEXPECTEDLY,
    SERVER_ADDED_TO_POOL,
    SERVER_REMOVED_FROM_POOL,
    SERVER_ONLINE,
    SERVER_OFFLINE,
    JOB_FAILED,
    JOB_DEFERRED,
    IMAGE_MISSING,
    FOREIGN_FILE,
    ROLLBACK_FAILED,
    RESTORED_UNKNOWN_EFFECT,
    RESTORED_UNKNOWN_GUEST,
    OPERATION_ABORTED,
)
"""Every type, in the order in which the documentation shows them."""

_BY_NAME = {kind.name: kind for kind in EVENT_TYPES}


def find(name: str) -> EventType | None:
    """Return the type of this name; None if the catalogue has none."""
    return _BY_NAME.get(name)


def new_event(kind: EventType, subject: str, message: str, **rest: Any) -> event_pb2.Event:
    """Return an event without its name and time, which the inventory gives it.

    Args:
        kind: its type.
        subject: resource name of the object that it is about.
        message: the fact in one sentence, as a person reads it.
        rest: other fields of the event.
    """
    return event_pb2.Event(type=kind.name, severity=kind.severity, object=subject, message=message, **rest)


def severity_word(severity: int) -> str:
    """Return a severity as people write it, as WARNING."""
    return event_pb2.Severity.Name(event_pb2.Severity.ValueType(severity)).removeprefix("SEVERITY_")


def render() -> str:
    """Return the catalogue as the tables of the documentation: the gravest types first."""
    blocks = []
    for severity in (_CRITICAL, _WARNING, _INFORMATIONAL, _UNKNOWN):
        rows = [_row(kind) for kind in EVENT_TYPES if kind.severity == severity]
        if rows:
            heading = f"## {severity_word(severity)}\n\n| type | about | what it means | what to do | ends with |"
            blocks.append("\n".join([heading, "|---|---|---|---|---|", *rows]))
    return "\n\n".join(blocks)


def _row(kind: EventType) -> str:
    about = ", ".join(f"`{each}`" for each in kind.about) or "any object"
    ends = ", ".join(kind.cleared_by) or ("a person" if kind.acknowledgeable else "-")
    return f"| `{kind.name}` | {about} | {kind.meaning} | {kind.advice} | {ends} |"
