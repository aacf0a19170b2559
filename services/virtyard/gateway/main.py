"""The composition root of the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from virtyard.api.gateway.v1 import gateway_service_pb2
from virtyard.gateway.connect import ConnectApp
from virtyard.gateway.descriptor import described
from virtyard.gateway.displays import Displays
from virtyard.gateway.door import Door, bearer_of
from virtyard.gateway.files import CONSOLE, ConsoleFiles
from virtyard.gateway.forward import Forward
from virtyard.gateway.machines import Machines
from virtyard.gateway.native import NativeHandler
from virtyard.gateway.port import bind, open_port
from virtyard.gateway.public import PublicMethod, public_methods, public_services
from virtyard.gateway.rpc import GatewayRpc
from virtyard.gateway.sessions import Grant, Sessions
from virtyard.kernel.clock import Clock
from virtyard.kernel.permissions import Principal
from virtyard.runtime.channel import open_channel
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.pki import Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.scope import TaskScope

__all__ = ["Gateway", "open_gateway"]

_SERVICE = gateway_service_pb2.DESCRIPTOR.services_by_name["GatewayService"]
_IDENTITY = "service/gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """An open gateway."""

    services: tuple[Service, ...]
    """What it serves to whoever has a certificate, over the wire or within the process: GatewayService."""
    sessions: Sessions
    """Who is let in at the front door."""
    rpc: GatewayRpc
    """The implementation of GatewayService."""
    forward: Forward
    """Calls the services behind."""
    methods: Mapping[str, PublicMethod]
    """What can be called through it, by path."""
    displays: Displays
    """Shows the screens of machines."""
    console: Path
    """The folder of the web console's files."""
    folder: Path
    """Where it keeps who is signed in, and its port."""

    def end_streams(self) -> None:
        """Have every watch end with its GOODBYE, those too that begin later."""
        self.rpc.close()
        self.forward.close()

    def make_link(self, principal: Principal) -> str:
        """Return a link that signs somebody in once; the front door must be open."""
        secret, _ = self.sessions.make_link(principal)
        return self.rpc.link_of(secret)

    @asynccontextmanager
    async def front_door(self, listen: str, *, grace: float = 5.0) -> AsyncIterator[str]:
        """Open the front door until the block ends, and yield its address, as host:port.

        Args:
            listen: host:port of loopback; with port 0 it is that of the last time.
            grace: seconds in which calls in flight may end.

        Raises:
            InvalidRequest: other machines could reach it.
            WrongState: the address is taken.
        """
        listening = bind(listen, self.folder / "port")
        connect, files = ConnectApp(self.methods, self.forward), described(ConsoleFiles(self.console))
        door = Door(self.sessions, listening.getsockname()[1], self.methods, connect, files, self.displays)
        native = NativeHandler(self.methods, self.forward, self._grant_of)
        async with open_port(listening, door, native, self.end_streams, grace=grace) as port:
            self.rpc.address = port.address
            yield port.address

    def _grant_of(self, metadata: Mapping[str, str | bytes]) -> Grant:
        return self.sessions.of_bearer(bearer_of(metadata))


@asynccontextmanager
async def open_gateway(
    state_dir: Path,
    clock: Clock,
    channels: Mapping[str, grpc.aio.Channel],
    credentials: Credentials,
    *,
    console: Path = CONSOLE,
    keepalive: float = 15.0,
) -> AsyncIterator[Gateway]:
    """Open the gateway until the block ends; its front door is another step.

    Args:
        state_dir: below it, in `gateway`, it keeps who is signed in, and its port.
        clock: the process's clock.
        channels: to inventory, jobs and locks, near or far, each as `service/gateway`.
        credentials: of `service/gateway`, with which agents are called.
        console: the folder of the web console's files.
        keepalive: seconds of silence after which a watcher is shown that its stream is alive.
    """
    folder = state_dir / "gateway"
    sessions = Sessions(folder / "sessions.json", clock)
    methods = public_methods(public_services())
    async with AsyncExitStack() as stack:
        scope = await stack.enter_async_context(TaskScope("gateway"))
        _ = scope.start(sessions.end_in_time(), name="gateway sessions", vital=True)
        known = dict(channels)
        forward = Forward(known)
        machines = Machines(channels["inventory"], lambda address, who: open_channel(address, credentials, who))
        stack.push_async_callback(machines.close)
        rpc = GatewayRpc(methods, forward, sessions, machines, keepalive=keepalive)
        service = Service(_SERVICE, rpc)
        known["gateway"] = await stack.enter_async_context(LocalChannel([service], Principal.of(_IDENTITY)))
        yield Gateway(
            services=(service,),
            sessions=sessions,
            rpc=rpc,
            forward=forward,
            methods=methods,
            displays=Displays(machines),
            console=console,
            folder=folder,
        )
