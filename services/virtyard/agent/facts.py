"""The facts of a host: what it is, what it can do, what is on it now.

They carry the position of the ledger from before the look, so an older look never overwrites a newer result (P27), and
the numbers of the agent's start and of the look, so that looks which overtake each other are told apart.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from virtyard.agent.claim import HostClaim
from virtyard.agent.drivers.heartbeat.contract import Heartbeat
from virtyard.agent.drivers.hypervisor.contract import Hypervisor
from virtyard.agent.drivers.network.contract import Network
from virtyard.agent.drivers.storage.contract import Storage
from virtyard.agent.host_watch import HostWatch
from virtyard.agent.views import guest_view, member_view
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.kernel.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What the host has for machines."""

    memory_bytes: int
    """Memory."""
    cpus: int
    """Processors online."""


class Facts:
    """Looks at one host."""

    def __init__(
        self,
        *,
        server: str,
        resources: Resources,
        hypervisor: Hypervisor,
        hypervisor_reason: str,
        storage: Storage,
        heartbeat: Heartbeat,
        network: Network,
        claim: HostClaim,
        clock: Clock,
        position: Callable[[], int],
        life: Callable[[], str] = str,
        start: int = 0,
        watch: HostWatch | None = None,
    ) -> None:
        """Take what is to be looked at.

        Args:
            server: resource name of the server.
            resources: what machines may use.
            hypervisor: runs guests.
            hypervisor_reason: why it was chosen.
            storage: keeps repositories.
            heartbeat: keeps memberships.
            network: carries networks.
            claim: whose host it is.
            clock: gives the time of a look.
            position: gives the ledger's position.
            life: gives the ledger's identity, which is another one once positions begin anew.
            start: how often agents of this host have started.
            watch: knows what is there of storage and links; nothing is said of them without it.
        """
        self._server = server
        self._resources = resources
        self._hypervisor = hypervisor
        self._hypervisor_reason = hypervisor_reason
        self._storage = storage
        self._heartbeat = heartbeat
        self._network = network
        self._claim = claim
        self._clock = clock
        self._position = position
        self._life = life
        self._start = start
        self._watch = watch
        self._looks = 0
        self.address = ""
        """Where the agent listens, as host:port; known once it does."""

    async def look(self) -> agent_service_pb2.Host:
        """Return the host as it is now."""
        life, position = self._life(), self._position()
        self._looks += 1
        look = self._looks
        guests = await self._hypervisor.guests()
        host = agent_service_pb2.Host(
            server=self._server,
            memory_bytes=self._resources.memory_bytes,
            cpus=self._resources.cpus,
            capabilities=self._capabilities(),
            hypervisor=self._hypervisor.name,
            hypervisor_reason=self._hypervisor_reason,
            accelerator=self._hypervisor.accelerator,
            agent_version=metadata.version("virtyard"),
            agent_address=self.address,
            guests=[guest_view(guest) for guest in guests],
            cluster_members=[member_view(view) for view in self._heartbeat.members()],
            ledger_sequence=position,
            ledger_id=life,
            host_id=self._claim.host_id,
            owner_id=self._claim.owner_id,
            repositories=self._watch.repositories() if self._watch else (),
            links=self._watch.links() if self._watch else (),
            heartbeats=self._watch.heartbeats() if self._watch else (),
            agent_start=self._start,
            look=look,
        )
        host.observe_time.FromDatetime(self._clock.now())
        return host

    def _capabilities(self) -> list[agent_service_pb2.Capability]:
        return [
            agent_service_pb2.Capability(
                name=f"hypervisor.{self._hypervisor.name}", supported=True, reason=self._hypervisor_reason
            ),
            agent_service_pb2.Capability(
                name=f"storage.{self._storage.name}", supported=True, reason=self._storage.reason
            ),
            agent_service_pb2.Capability(name=f"heartbeat.{self._heartbeat.name}", supported=True),
            agent_service_pb2.Capability(name="network.user", supported=True),
            agent_service_pb2.Capability(
                name=f"network.{self._network.name}",
                supported=not self._network.unsupported,
                reason=self._network.unsupported,
            ),
        ]


def resources_of_host() -> Resources:
    """Return what this host has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Resources(memory_bytes=memory, cpus=os.cpu_count() or 1)
