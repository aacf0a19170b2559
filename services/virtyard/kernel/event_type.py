"""The event type: one kind of fact that events tell, how grave it is, what ends it, and what it blocks."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from virtyard.api.inventory.v1 import event_pb2

__all__ = ["Condition", "EventType", "severity_word"]


class Condition(enum.Enum):
    """What is looked at again before an event is acknowledged; `inventory.conditions` knows how."""

    HAPPENED = "nothing, as it has happened and is over"
    """What it tells of does not last: there is nothing that could still hold."""
    UNSEEN = "nothing, as the inventory cannot see it"
    """What it tells of may last, and only the one that raised it, or a job, could look."""
    LOCKS_HELD = "whether its operation holds locks still"
    """An operation that is set aside or stuck keeps the locks that it has."""
    GUEST_UNRECORDED = "whether a server still reports the guest, and its machine is not recorded as running there"
    """A guest that no record knows of is reported until it is taken over or ended."""
    GUEST_DOWN = "whether no server reports that the guest runs"
    """A machine that ended by itself stays down until something starts it."""
    SERVER_SILENT = "whether the server is offline or disconnected"
    """A server that was lost is silent until its agent is heard again."""
    SERVER_BEHIND = "whether the server has missed changes"
    """A server that was away is behind until a job has brought it up to date."""
    STORAGE_LOST = "whether a server still lacks the repository's storage"
    """Storage is lost until each server that lacked it has reported it again."""
    LINK_DOWN = "whether a link of the server is down"
    """A link is down until the server has reported it as up, or gone with what it was for."""
    HEARTBEAT_LATE = "whether the server renews a slot late"
    """A member is late until it has reported that it renews its slots in time."""
    CERTIFICATE_ENDING = "whether a renewed certificate was reported"
    """A certificate is near its end until its process has found another one in its place."""
    HOST_CLOCK_DIFFERS = "whether the server's clock agrees again"
    """A host's clock differs until its agent has reported that it agrees with the control plane's."""
    CLOCK_JUMPED = "whether the clocks agree again"
    """A clock has jumped until the service whose time it left has told that both agree."""
    DATABASE_UNWRITABLE = "whether the service could write again"
    """A database cannot be written until its service has tried again, and told that it can."""


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
    about: Sequence[str] = ()
    """The kinds of object that it is about, as `servers`; empty for all."""
    acknowledgeable: bool = False
    """Whether it stays open until somebody has taken note of it, or it is cleared."""
    cleared_by: Sequence[str] = ()
    """The types whose event ends what it tells of: on the same object or, if `of_operation`, of the same operation."""
    of_operation: bool = False
    """Whether it tells of an operation as a whole: it clears what is open of that operation, on whatever object."""
    condition: Condition | None = None
    """What acknowledging an event of the type looks at again; every acknowledgeable type says it, and no other."""
    blocks: Sequence[str] = ()
    """The operation types, as StartVirtualMachine, that are refused on the object while a CRITICAL event is open."""


def severity_word(severity: int) -> str:
    """Return a severity as people write it, as WARNING."""
    return event_pb2.Severity.Name(event_pb2.Severity.ValueType(severity)).removeprefix("SEVERITY_")
