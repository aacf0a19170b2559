"""What the scheduler asks of the inventory beside effects: views to plan from, addresses of agents, and events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import grpc.aio

from virtyard.api.inventory.v1 import (
    event_pb2,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    server_pb2,
)
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.inventory.v1 import control_service_pb2, control_service_pb2_grpc
from virtyard.kernel.view import View, changed_objects, select
from virtyard.runtime.status import errors_named, named

_TIMEOUT = 10.0


class InventoryPort:
    """The inventory, near or far."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Ask over this channel."""
        self._stub: Any = control_service_pb2_grpc.ControlServiceStub(channel)
        self._reads: Any = inventory_service_pb2_grpc.InventoryServiceStub(channel)

    async def view(self, selections: Sequence[participant.Selection]) -> View:
        """Return the objects that the selections lead to, all read at one moment.

        Raises:
            Unavailable: the inventory cannot be reached.
        """
        view, _ = await self.view_with_token(selections)
        return view

    async def view_with_token(self, selections: Sequence[participant.Selection]) -> tuple[View, str]:
        """Return a view with the resume token of the moment at which it was read."""
        try:
            answer = await self._stub.View(control_service_pb2.ViewRequest(selections=selections), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise named(error) from error
        view = View(
            answer.objects,
            selections,
            sequence=answer.sequence,
            owner_id=answer.owner_id,
            blocking=answer.blocking_events,
        )
        return view, cast(str, answer.resume_token)

    async def has_changed(self, requirement: participant.Requirement, sequence: int) -> bool:
        """Tell whether what a plan was made from, at this position of the inventory's feed, is different now.

        Raises:
            Unavailable: the inventory cannot be reached.
        """
        selections = requirement.selections
        request = control_service_pb2.ViewRequest(selections=selections, unless_sequence=sequence)
        with errors_named():
            answer = await self._stub.View(request, timeout=_TIMEOUT)
        if answer.unchanged:
            return False
        if {event.name for event in answer.blocking_events} - set(requirement.blocking_events):
            return True
        return bool(changed_objects(requirement, View(answer.objects, selections).requirement()))

    async def address_of(self, server: str) -> str:
        """Return host:port of a server's agent as last reported, or as discovered; empty if it is not known."""
        view = await self.view([select(server)])
        found = view.find(server, server_pb2.Server)
        return (found.observed.agent_address or found.agent_address) if found is not None else ""

    async def events_of(self, operation: str) -> list[event_pb2.Event]:
        """Return the events of an operation that are still kept, the oldest first; at most a thousand.

        Raises:
            Unavailable: the inventory cannot be reached.
        """
        request = inventory_service_pb2.ListEventsRequest(
            filter=f'operation = "{operation}"', order_by="name", page_size=1000
        )
        with errors_named():
            answer = await self._reads.ListEvents(request, timeout=_TIMEOUT)
        return list(answer.events)

    async def raise_events(self, request: control_service_pb2.RaiseEventsRequest) -> None:
        """Raise events, each once for its key.

        Raises:
            Unavailable: the inventory cannot be reached; it is safe to repeat.
        """
        try:
            await self._stub.RaiseEvents(request, timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise named(error) from error
