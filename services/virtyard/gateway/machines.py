"""The machines whose consoles are asked for: where they run, and the agents there, asked in the caller's name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import inventory_service_pb2, server_pb2, virtual_machine_pb2
from virtyard.gateway.forward import speaking_for
from virtyard.kernel.errors import Unavailable, WrongState
from virtyard.kernel.names import id_of
from virtyard.kernel.permissions import Principal

__all__ = ["Machines"]

_INVENTORY = "/virtyard.api.inventory.v1.InventoryService"
_AGENT = "/virtyard.api.agent.v1.AgentService"
_SECONDS = 10.0


class Machines:
    """Finds machines and calls the agents of their servers."""

    def __init__(self, inventory: grpc.aio.Channel, dial: Callable[[str, str], grpc.aio.Channel]) -> None:
        """Ask this inventory where machines are.

        Args:
            inventory: a channel to it.
            dial: opens a channel, given an address and the identity that must answer there.
        """
        self._machine: Any = inventory.unary_unary(
            f"{_INVENTORY}/GetVirtualMachine",
            inventory_service_pb2.GetVirtualMachineRequest.SerializeToString,
            virtual_machine_pb2.VirtualMachine.FromString,
        )
        self._server: Any = inventory.unary_unary(
            f"{_INVENTORY}/GetServer",
            inventory_service_pb2.GetServerRequest.SerializeToString,
            server_pb2.Server.FromString,
        )
        self._dial = dial
        self._channels: dict[tuple[str, str], grpc.aio.Channel] = {}

    async def close(self) -> None:
        """Close the channels to agents."""
        for channel in self._channels.values():
            await channel.close()

    async def open_display(self, name: str, principal: Principal) -> tuple[Any, str]:
        """Return an open call of the display's two directions, and the uid of the machine, which it has to begin with.

        Raises:
            WrongState: the machine runs nowhere.
            Unavailable: its server's address is not known.
            grpc.aio.AioRpcError: the inventory refused.
        """
        channel, uid = await self._find(name, principal)
        stub: Any = channel.stream_stream(
            f"{_AGENT}/OpenDisplay",
            agent_service_pb2.OpenDisplayRequest.SerializeToString,
            agent_service_pb2.OpenDisplayResponse.FromString,
        )
        return stub(metadata=speaking_for(principal)), uid

    async def serial_log(
        self, name: str, offset: int, principal: Principal, *, follow: bool
    ) -> AsyncIterator[agent_service_pb2.ReadSerialLogResponse]:
        """Yield a machine's serial log; see `open_display`."""
        channel, uid = await self._find(name, principal)
        stub: Any = channel.unary_stream(
            f"{_AGENT}/ReadSerialLog",
            agent_service_pb2.ReadSerialLogRequest.SerializeToString,
            agent_service_pb2.ReadSerialLogResponse.FromString,
        )
        request = agent_service_pb2.ReadSerialLogRequest(uid=uid, offset_bytes=offset, follow=follow)
        call = stub(request, metadata=speaking_for(principal))
        try:
            async for piece in call:
                yield piece
        finally:
            call.cancel()

    async def _find(self, name: str, principal: Principal) -> tuple[grpc.aio.Channel, str]:
        """Return a channel to the agent where a machine runs, and the machine's uid."""
        said = {"metadata": speaking_for(principal), "timeout": _SECONDS}
        machine = await self._machine(inventory_service_pb2.GetVirtualMachineRequest(name=name), **said)
        if not machine.server:
            raise WrongState(f"{name} runs nowhere, so it has no console", resource=name)
        server = await self._server(inventory_service_pb2.GetServerRequest(name=machine.server), **said)
        address = server.observed.agent_address or server.agent_address
        if not address:
            raise Unavailable(f"the address of {machine.server} is not known", resource=machine.server, retry_after=1.0)
        identity = f"agent/{id_of(machine.server)}"
        known = self._channels.get((address, identity))
        if known is None:
            known = self._channels[address, identity] = self._dial(address, identity)
        return known, machine.uid
