"""What no record explains is taken off hosts: what a dead one did, and what one kept that was forgotten meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from tests.integration.jobs.site import LIMIT, Site, furnish, running
from tests.integration.jobs.test_deaths import confirm, die, wait_lost
from tests.integration.jobs.test_origins import by_return
from tests.invariants.check import lasting_findings
from virtyard.agent.actions import create_bridge, remove_bridge
from virtyard.agent.actions.catalogue import AnyAction
from virtyard.agent.attachments import Attachments
from virtyard.agent.drivers.network.contract import Bridge
from virtyard.agent.drivers.network.sim import SimNetwork
from virtyard.api.inventory.v1 import network_pb2, server_pb2
from virtyard.api.operations.v1 import (
    create_network_pb2,
    delete_network_pb2,
    discover_server_pb2,
    forget_server_pb2,
    present_repository_pb2,
    refresh_server_pb2,
    remove_server_from_server_pool_pb2,
)

S2 = "servers/s2"
NETWORK = create_network_pb2.CreateNetworkRequest(
    network_id="N", network=network_pb2.Network(), servers=["servers/s1", S2]
)
DELETE = delete_network_pb2.DeleteNetworkRequest(name="networks/N")
REMOVE = remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(name="serverPools/Finance", server=S2)
REFRESH = refresh_server_pb2.RefreshServerRequest(name=S2)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a site of two servers with a pool and a repository."""
    async with running(tmp_path, "s1", "s2") as site:
        await furnish(site)
        yield site


async def findings(site: Site, patience: float = 3.0) -> list[str]:
    """Return where records and hosts differ, once nothing runs."""
    await site.wait_released()
    found = lasting_findings(site.folder, site.share, site.folder / "effects", patience=patience)
    return [str(each) for each in found]


async def dies_in(site: Site, action: AnyAction, request: Message) -> str:
    """Have s2 do an action, and die before it has told; return the operation once the death is confirmed."""
    begun = asyncio.Event()

    async def act(message: Any, context: Any) -> None:
        if context.host.server == S2:
            await action.do(message, context)
            begun.set()
            await asyncio.Event().wait()

    site.faults.before[action.message.DESCRIPTOR.name] = act
    name = (await site.submit(request)).name
    async with asyncio.timeout(LIMIT):
        await begun.wait()
    await die(site, S2)
    await wait_lost(site, name)
    await site.succeed(confirm(S2))
    ended = await site.wait(name)
    assert "the power cable is pulled" in ended.error.message
    site.faults.before.clear()
    return name


async def come_back(site: Site) -> None:
    """Let s2 return and report, and wait until the trigger that every site has for that has it refreshed."""
    await site.open_agent("s2")
    refresh = await site.wait(await by_return(site))
    assert not refresh.HasField("error"), refresh.error


@pytest.fixture(params=[True, False], ids=["on", "off"])
def on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Switch the look for what should not be there on a host off, in a second run of the test."""
    if not request.param:

        async def none(_: SimNetwork) -> list[Bridge]:
            return []

        monkeypatch.setattr(SimNetwork, "bridges", none)
        monkeypatch.setattr(Attachments, "give_up_others", lambda *_: [])
    return bool(request.param)


async def test_what_a_dead_host_made_is_taken_off_it_when_it_returns(site: Site, on: bool) -> None:
    """Its operation left nothing by the records, and so it does on the host, once that is refreshed."""
    await dies_in(site, create_bridge.ACTION, NETWORK)
    await come_back(site)
    assert (await findings(site) == []) is on


async def test_what_a_dead_host_removed_is_made_again_when_it_returns(site: Site) -> None:
    """The deletion went back without it, so the network is recorded, and the host gets its bridge."""
    await site.succeed(NETWORK)
    await dies_in(site, remove_bridge.ACTION, DELETE)
    await come_back(site)
    assert await findings(site) == []
    assert list((site.folder / "agents/s2/sim/bridges").glob("*.json"))


async def forget_by_force(site: Site) -> None:
    """Give s2 a bridge and a repository, and forget it while it is offline."""
    await site.succeed(NETWORK)
    await site.succeed(present_repository_pb2.PresentRepositoryRequest(name="repositories/R", servers=[S2]))
    await site.close_agent("s2")
    await site.show_offline("s2")
    await site.succeed(REMOVE)
    await site.succeed(forget_server_pb2.ForgetServerRequest(name=S2, force=True))
    await site.open_agent("s2")


def discovery(site: Site) -> discover_server_pb2.DiscoverServerRequest:
    """Return the request to discover s2 again."""
    server = server_pb2.Server(agent_address=site.addresses["s2"])
    return discover_server_pb2.DiscoverServerRequest(server_id="s2", server=server)


async def test_a_host_that_was_forgotten_by_force_gives_all_up_when_it_is_discovered_again(
    site: Site, on: bool
) -> None:
    """It could not be asked before, and no record names what it has any more."""
    await forget_by_force(site)
    await site.succeed(discovery(site))
    assert (await findings(site) == []) is on


async def test_a_discovery_that_fails_leaves_the_host_as_it_was(site: Site) -> None:
    """What it gave up and can be put back is, and the host is given back to whom it was claimed by."""
    await forget_by_force(site)
    before = (site.folder / "agents/s2/repositories.json").read_text().partition('"given_up"')[0]
    site.faults.refused = "1/4"
    assert (await site.run(discovery(site))).error.message == "step 1/4 is refused"
    await site.wait_released()
    assert (site.folder / "agents/s2/repositories.json").read_text().partition('"given_up"')[0] == before
    site.faults.refused = ""
    await site.succeed(discovery(site))
    assert await findings(site) == []


async def test_a_refresh_takes_off_what_was_left_before(site: Site, on: bool) -> None:
    """Also of a server that is not behind: nothing else tells of it."""
    left = Bridge(name="vyleft", uid="left")
    await site.agents["s2"].host.network.create_bridge(left, "1/1/1")
    await site.succeed(NETWORK)
    await site.succeed(REFRESH)
    assert (await findings(site) == []) is on


async def test_force_leaves_nothing_on_a_host_that_answers(site: Site) -> None:
    """Whatever was asked for, only a host that is offline keeps what it has."""
    await site.succeed(NETWORK)
    await site.succeed(REMOVE)
    await site.succeed(forget_server_pb2.ForgetServerRequest(name=S2, force=True))
    assert await findings(site) == []


async def test_force_on_a_host_that_falls_silent_fails_before_anything_is_sent(site: Site) -> None:
    """It counts as online still: whoever forces it then waits for nothing, and may do so once it is offline."""
    await site.succeed(NETWORK)
    await site.succeed(REMOVE)
    await site.close_agent("s2")
    forget = forget_server_pb2.ForgetServerRequest(name=S2, force=True)
    assert "servers/s2 cannot be reached at" in (await site.run(forget)).error.message
    await site.show_offline("s2")
    await site.succeed(forget)
