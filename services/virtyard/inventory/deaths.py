"""Deaths: a person's proof that a server is off is part of what is observed of it, until it reports again (P17)."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.inventory.v1 import event_pb2, server_pb2
from virtyard.inventory.events import raise_event
from virtyard.inventory.model import FeedWriter, TypedObject
from virtyard.kernel import event_types
from virtyard.kernel.errors import WrongState

__all__ = ["prove_death", "return_from_death"]


def prove_death(server: TypedObject, principal: str, operation: int, now: Timestamp) -> event_pb2.Event:
    """Complete the proof that a server is to get, and return the event that tells of it.

    Raises:
        WrongState: the server reports, so it is not dead.
    """
    if server.state != server_pb2.SERVER_STATE_OFFLINE:
        raise WrongState(f"{server.name} reports again, so it is not dead", resource=server.name)
    death = server.observed.death
    death.time.CopyFrom(now)
    death.principal, death.operation = principal, f"operations/{operation}"
    message = f"{principal} has made sure that {server.name} is off: {death.reason}"
    return event_types.new_event(
        event_types.SERVER_PROVEN_DEAD, server.name, message, create_time=now, operation=death.operation
    )


def return_from_death(transaction: FeedWriter, server: str, key: str, now: datetime) -> None:
    """Tell that a server reports which was proven dead: it is looked at anew, as what it has may differ."""
    text = f"{server} reports again after it was proven dead: what was settled without it may be there all the same"
    raise_event(transaction, key, event_types.new_event(event_types.SERVER_BEHIND, server, text), now)
