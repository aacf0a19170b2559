"""Built-in objects: what a site has from the start, made once, and from then on changed and deleted like any other."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.inventory.v1 import trigger_pb2
from virtyard.api.operations.v1 import refresh_server_pb2, start_virtual_machine_pb2
from virtyard.inventory.events import tell
from virtyard.inventory.model import FeedWriter, TypedObject
from virtyard.inventory.objects import read_row, write_row
from virtyard.kernel import event_types
from virtyard.kernel.clock import Clock
from virtyard.kernel.names import wrap
from virtyard.kernel.plan import pack
from virtyard.runtime.database import Database, Transaction

__all__ = ["built_in_objects", "install"]

_OWNER = "service/jobs"
_KNOWN = "SELECT 1 FROM built_in WHERE name = ?"
_NOTE = "INSERT INTO built_in (name) VALUES (?)"


def built_in_objects() -> Sequence[TypedObject]:
    """Return what a site has from the start, without uids and times."""
    return (
        trigger_pb2.Trigger(
            name="triggers/catch-up",
            display_name="Catch up on return",
            description="Brings a server up to date that could not be reached when a change was made.",
            state=trigger_pb2.TRIGGER_STATE_ENABLED,
            event_filter="type = SERVER_BEHIND",
            request=pack(refresh_server_pb2.RefreshServerRequest(name="{event.object}")),
            hourly_limit=1000,
            retry_limit=5,
            owner=_OWNER,
        ),
        trigger_pb2.Trigger(
            name="triggers/restart-policy",
            display_name="Restart by policy",
            description="Starts a machine again whose guest has ended, if its restart policy says so.",
            state=trigger_pb2.TRIGGER_STATE_ENABLED,
            event_filter="type = MACHINE_RESTART_DUE",
            request=pack(start_virtual_machine_pb2.StartVirtualMachineRequest(name="{event.object}")),
            hourly_limit=1000,
            retry_limit=5,
            owner=_OWNER,
        ),
    )


async def install(database: Database, clock: Clock, objects: Sequence[TypedObject]) -> None:
    """Make the objects that were never made here; a name that somebody has taken is left to him.

    Raises:
        Unavailable: it could not be stored.
    """
    missing = await database.read(
        lambda connection: [one for one in objects if connection.execute(_KNOWN, (one.name,)).fetchone() is None]
    )
    if missing:
        now = clock.now()

        def write(transaction: Transaction) -> None:
            transaction.transition("inventory.built_in")
            _make(transaction, missing, now)

        await database.write(write)


def _make(transaction: Transaction, objects: Sequence[TypedObject], now: datetime) -> None:
    writer: FeedWriter = transaction
    for each in objects:
        transaction.execute(_NOTE, (each.name,))
        if read_row(writer, each.name) is not None:
            continue
        made = type(each)()
        made.CopyFrom(each)
        made.uid, made.generation = uuid.uuid4().hex, 1
        made.create_time.FromDatetime(now)
        made.update_time.FromDatetime(now)
        write_row(writer, made, 0)
        transaction.append("object", made.name, wrap(made).SerializeToString())
        stamp = Timestamp()
        stamp.FromDatetime(now)
        text = f"{made.name} was created: it comes with Virtyard"
        tell(writer, [event_types.new_event(event_types.OBJECT_CREATED, made.name, text, create_time=stamp)])
