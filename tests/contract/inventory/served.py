"""The inventory as its callers meet it: stubs over a channel, with the identity that each of them has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import grpc.aio

from virtyard.api.inventory.v1 import inventory_service_pb2_grpc, upload_service_pb2_grpc
from virtyard.api.participant.v1 import participant_service_pb2_grpc
from virtyard.internal.inventory.v1 import control_service_pb2_grpc, host_service_pb2_grpc
from virtyard.inventory.main import Inventory

__all__ = ["Served", "wait_until"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running inventory with a way to dial it."""

    inventory: Inventory
    """The inventory itself."""
    dial: Callable[[str], grpc.aio.Channel]
    """Returns a channel for an identity, as `service/jobs` or `agent/s`."""

    @property
    def reads(self) -> inventory_service_pb2_grpc.InventoryServiceStub:
        """Return the stub that people read with."""
        return inventory_service_pb2_grpc.InventoryServiceStub(self.dial("user/viewer"))

    @property
    def participant(self) -> participant_service_pb2_grpc.ParticipantServiceStub:
        """Return the stub that the scheduler sends effects with."""
        return participant_service_pb2_grpc.ParticipantServiceStub(self.dial("service/jobs"))

    @property
    def control(self) -> control_service_pb2_grpc.ControlServiceStub:
        """Return the stub that the scheduler reads with."""
        return control_service_pb2_grpc.ControlServiceStub(self.dial("service/jobs"))

    @property
    def uploads(self) -> upload_service_pb2_grpc.UploadServiceStub:
        """Return the stub that people upload with."""
        return upload_service_pb2_grpc.UploadServiceStub(self.dial("user/operator"))

    def host(self, name: str) -> host_service_pb2_grpc.HostServiceStub:
        """Return the stub that a host's agent reports with."""
        return host_service_pb2_grpc.HostServiceStub(self.dial(f"agent/{name}"))


async def wait_until(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0)
