"""A server that is forgotten keeps nothing of machines whose guests ended there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from tests.integration.jobs.site import LIMIT, Site
from tests.integration.jobs.test_deaths import WEB, make_machine, start
from tests.invariants.check import lasting_findings
from virtyard.agent.drivers.hypervisor.sim import SimHypervisor
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.operations.v1 import (
    delete_virtual_machine_pb2,
    forget_server_pb2,
    remove_server_from_server_pool_pb2,
)
from virtyard.api.type.v1 import annotations_pb2
from virtyard.internal.inventory.v1 import host_service_pb2, host_service_pb2_grpc
from virtyard.kernel.permissions import Principal
from virtyard.kernel.view import select
from virtyard.runtime.local import LocalChannel

S2 = "servers/s2"
FORGET = forget_server_pb2.ForgetServerRequest(name=S2)


@contextlib.asynccontextmanager
async def reports(site: Site) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Send reports of s2, each when it is asked for; it tells whether the inventory knew the server."""
    principal = Principal.of("agent/s2", frozenset({annotations_pb2.ROLE_AGENT}))
    agent = site.agents["s2"]
    async with LocalChannel(site.inventory.services, principal) as channel:
        stub = host_service_pb2_grpc.HostServiceStub(channel)

        async def report() -> bool:
            request = host_service_pb2.ReportHostRequest(host=await agent.facts.look())
            answer: host_service_pb2.ReportHostResponse = await stub.ReportHost(request)
            agent.spent.take(answer)
            return answer.known

        yield report


async def guests(site: Site) -> list[str]:
    """The guests of s2 that there is a record of."""
    return [guest.uid for guest in await site.agents["s2"].host.hypervisor.guests()]


async def ended_guest(site: Site, report: Callable[[], Awaitable[bool]]) -> None:
    """Have the guest of a machine on s2 end by itself, and take the server out of its pool."""
    await report()
    await make_machine(site)
    await site.succeed(start(S2))
    await site.wait_released()
    hypervisor = site.agents["s2"].host.hypervisor
    assert isinstance(hypervisor, SimHypervisor)
    hypervisor.end((await guests(site))[0])

    async def is_stopped() -> bool:
        await report()
        found = (await site.view(select(WEB))).get(WEB, virtual_machine_pb2.VirtualMachine)
        return found.state == virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED

    await site.wait_until(is_stopped)
    await site.succeed(
        remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(name="serverPools/Finance", server=S2)
    )


async def wait_bare(site: Site, report: Callable[[], Awaitable[bool]]) -> None:
    """Report until s2 has no record of a guest."""

    async def is_bare() -> bool:
        await report()
        return not await guests(site)

    await site.wait_until(is_bare)


async def test_a_forgotten_server_keeps_no_ended_guest(site: Site) -> None:
    """Once it is out of the inventory, its agent forgets them, and its machine can be deleted; nothing is left."""
    async with reports(site) as report:
        await ended_guest(site, report)
        await report()
        assert await guests(site), "while its server is known it is kept, for who asks how it ended"
        await site.succeed(FORGET)
        await wait_bare(site, report)
        assert not await report()
        await site.succeed(delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=WEB))
        await site.wait_released()
    assert lasting_findings(site.folder, site.share, site.folder / "effects", patience=LIMIT) == []


async def test_a_server_that_is_not_forgotten_after_all_keeps_its_ended_guests(site: Site) -> None:
    """The release of the host is undone, as the record could not be removed: the guest is there as before."""
    async with reports(site) as report:
        await ended_guest(site, report)
        before = await guests(site)
        agent = site.agents["s2"]
        owner = agent.host.claim.owner_id
        agent.host.claim.release(owner)
        assert await report(), "the inventory knows it until the last step"
        agent.host.claim.take(owner, "1/1/1")
        await report()
        assert await guests(site) == before
