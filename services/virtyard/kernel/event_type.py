"""The event type: one kind of fact that events tell, how grave it is, what ends it, and what it blocks."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from virtyard.api.inventory.v1 import event_pb2

__all__ = ["Condition", "EventType", "severity_word"]


class Condition(enum.Enum):
    """What is looked at again before an event is acknowledged; `inventory.conditions` knows how."""

    NONE = "nothing"
    """What it tells of has happened and is over, or cannot be looked at from here."""
    LOCKS_HELD = "whether its operation holds locks still"
    """An operation that is set aside or stuck keeps the locks that it has."""
    GUEST_UNRECORDED = "whether a server still reports the guest, and its machine is not recorded as running there"
    """A guest that no record knows of is reported until it is taken over or ended."""


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
    condition: Condition = Condition.NONE
    """What acknowledging a CRITICAL event of the type looks at again."""
    blocks: Sequence[str] = ()
    """The operation types, as StartVirtualMachine, that are refused on the object while a CRITICAL event is open."""


def severity_word(severity: int) -> str:
    """Return a severity as people write it, as WARNING."""
    return event_pb2.Severity.Name(event_pb2.Severity.ValueType(severity)).removeprefix("SEVERITY_")
