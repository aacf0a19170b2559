"""Conditions: every type of event that may last says what is looked at again, and every condition has its look."""

from __future__ import annotations

import pytest

from virtyard.inventory.conditions import LOOKS
from virtyard.kernel.event_type import Condition
from virtyard.kernel.event_types import EVENT_TYPES, EventType

WITHOUT_A_LOOK = (Condition.HAPPENED, Condition.UNSEEN)
LASTING = {
    "SERVER_DISCONNECTED": Condition.SERVER_SILENT,
    "SERVER_OFFLINE": Condition.SERVER_SILENT,
    "SERVER_PROVEN_DEAD": Condition.SERVER_SILENT,
    "STORAGE_LOST": Condition.STORAGE_LOST,
    "LINK_DOWN": Condition.LINK_DOWN,
    "HEARTBEAT_LATE": Condition.HEARTBEAT_LATE,
    "CERTIFICATE_ENDING": Condition.CERTIFICATE_ENDING,
    "CLOCK_JUMPED": Condition.CLOCK_JUMPED,
    "DATABASE_UNWRITABLE": Condition.DATABASE_UNWRITABLE,
    "HOST_CLOCK_DIFFERS": Condition.HOST_CLOCK_DIFFERS,
    "JOB_DEFERRED": Condition.SERVER_BEHIND,
}


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.name)
def test_an_acknowledgeable_type_says_what_is_looked_at(kind: EventType) -> None:
    """It cannot be left out, for a new type neither; what needs no acknowledging has nothing to look at."""
    assert (kind.condition is not None) == kind.acknowledgeable
    assert kind.acknowledgeable or not kind.blocks


def test_every_condition_has_its_look() -> None:
    """And only those two have one that sees nothing, which no type has that tells of something lasting."""
    assert set(LOOKS) == set(Condition)
    nothing = LOOKS[Condition.HAPPENED]
    assert {condition for condition, look in LOOKS.items() if look is nothing} == set(WITHOUT_A_LOOK)
    by_name = {kind.name: kind.condition for kind in EVENT_TYPES}
    assert {name: by_name[name] for name in LASTING} == LASTING


def test_what_a_return_ends_has_a_look() -> None:
    """A type that another one ends by telling that all is well, as online ends offline, tells of something lasting."""
    ended = [kind for kind in EVENT_TYPES if set(kind.cleared_by) & {"SERVER_ONLINE", "STORAGE_BACK", "LINK_UP"}]
    ended += [
        kind
        for kind in EVENT_TYPES
        if set(kind.cleared_by) & {"HEARTBEAT_IN_TIME", "CERTIFICATE_RENEWED", "CLOCK_AGREES"}
    ]
    assert ended
    assert all(kind.condition not in (None, *WITHOUT_A_LOOK) for kind in ended)
