"""Members of a cluster that are dead: their slots are on shared storage, so others clear them, and nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.jobs.newcomers import running_newcomers
from tests.integration.jobs.site import LIMIT, Site
from tests.integration.jobs.test_deaths import confirm, die, wait_lost
from tests.integration.jobs.test_failure import state_of
from tests.invariants.check import lasting_findings
from virtyard.agent.actions import join_cluster
from virtyard.api.inventory.v1 import cluster_pb2, heartbeat_device_pb2, server_pb2, server_pool_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2
from virtyard.api.operations.v1 import (
    create_server_pool_pb2,
    delete_server_pool_pb2,
    forget_server_pb2,
    refresh_server_pb2,
    remove_server_from_server_pool_pb2,
)
from virtyard.kernel.errors import WrongState
from virtyard.kernel.view import select

SERVERS = ("servers/s1", "servers/s2")
POOL = "serverPools/Finance"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a site whose two servers are discovered and in no pool."""
    async with running_newcomers(tmp_path, "s1", "s2") as site:
        yield site


class Victim:
    """The server that dies in the middle of an action: the one that has not laid the heartbeat device out."""

    def __init__(self, site: Site) -> None:
        """Find out by the action which server is the other one."""
        self._site = site
        self.name = ""
        self.began = asyncio.Event()
        site.faults.before["LayOutHeartbeatDevice"] = self._choose

    async def _choose(self, _: object, context: Any) -> None:
        (self.name,) = {*SERVERS} - {context.host.server}

    def hangs(self, action: str, *, done: bool = False) -> None:
        """Have an action of the victim never end, after it was done or before it began."""

        async def hang(message: Any, context: Any) -> None:
            if context.host.server == self.name:
                if done:
                    await join_cluster.do(message, context)
                self.began.set()
                await asyncio.Event().wait()

        self._site.faults.before[action] = hang

    async def dies(self, operation: str) -> None:
        """Let the victim die in that action, and somebody prove it."""
        async with asyncio.timeout(LIMIT):
            await self.began.wait()
        await die(self._site, self.name)
        await wait_lost(self._site, operation)
        await self._site.succeed(confirm(self.name))

    async def comes_back(self) -> None:
        """Start the agent of the victim again, as it was left."""
        self._site.faults.before.clear()
        await self._site.open_agent(self.name.partition("/")[2])
        await self._site.inventory.presence._store_state(self.name, server_pb2.SERVER_STATE_ONLINE, None)
        renewed = self._site.agents[self.name.partition("/")[2]].host.heartbeat.renewals()
        report = (await self._site.view(select(self.name))).get(self.name, server_pb2.Server).observed
        report.agent_start, report.look = 2, 1
        for each in renewed:
            report.heartbeats.add(cluster_uid=each.cluster_uid, slot=each.slot)
        await self._site.inventory.presence.report(self.name, report)
        await self._site.succeed(refresh_server_pb2.RefreshServerRequest(name=self.name))
        await self._site.wait_released()

    @property
    def files(self) -> list[str]:
        """The memberships that the victim keeps."""
        folder = self._site.folder / "agents" / self.name.partition("/")[2] / "heartbeat"
        return [path.name for path in folder.iterdir()]

    async def wait_no_member(self) -> None:
        """Wait until the victim keeps no membership."""

        async def none() -> bool:
            return not self.files

        await self._site.wait_until(none)


def pool(site: Site) -> create_server_pool_pb2.CreateServerPoolRequest:
    """Return the request for a clustered pool of both servers."""
    return create_server_pool_pb2.CreateServerPoolRequest(
        server_pool_id="Finance",
        server_pool=server_pool_pb2.ServerPool(clustered=True),
        servers=SERVERS,
        heartbeat_device=heartbeat_device_pb2.HeartbeatDevice(path=str(site.share / "heartbeat"), io_timeout_seconds=1),
    )


async def finds(site: Site) -> list[str]:
    """Return what is not as it must be."""
    await site.wait_released()
    return await asyncio.to_thread(lasting_findings, site.folder, site.share, site.folder / "effects")


async def members(site: Site) -> dict[str, int]:
    """Return the members of the cluster by the inventory, with their slots."""
    found = await site.view(select("clusters/Finance"))
    return {each.server: each.slot for each in found.get("clusters/Finance", cluster_pb2.Cluster).members}


@pytest.mark.parametrize("undo", [False, True])
async def test_a_member_that_died_while_it_joined_leaves_nothing(site: Site, undo: bool) -> None:
    """The other one clears its slot, in the join or in its undo; when it is back it notices that it is no member."""
    before = await state_of(site)
    victim = Victim(site)
    if undo:
        victim.hangs("undo LeaveCluster")

        async def refuse(_: object, context: Any) -> None:
            if context.host.server != victim.name:
                async with asyncio.timeout(LIMIT):
                    while not site.faults.done["JoinCluster"]:
                        await asyncio.sleep(0)
                raise WrongState("it does not want to")

        site.faults.before["JoinCluster"] = refuse
    else:
        victim.hangs("JoinCluster", done=True)
    operation = (await site.submit(pool(site))).name
    await victim.dies(operation)
    assert victim.files
    ended = await site.wait(operation)
    assert ("does not want" if undo else "the power cable is pulled") in ended.error.message
    await site.wait_released()
    assert not (site.share / "heartbeat").exists()
    await victim.comes_back()
    await victim.wait_no_member()
    assert await state_of(site) == before
    assert await finds(site) == []
    await site.succeed(pool(site))
    assert await finds(site) == []


async def test_a_slot_that_is_renewed_is_not_cleared_whatever_a_person_says(site: Site) -> None:
    """The agent cannot be reached, and its host is not off: the join is settled when it answers again."""
    victim = Victim(site)
    victim.hangs("JoinCluster", done=True)
    operation = (await site.submit(pool(site))).name
    async with asyncio.timeout(LIMIT):
        await victim.began.wait()
    link = site.jobs.scheduler.world.participants.link(victim.name)
    connect = link._connect

    async def refuse(*_: object) -> Any:
        raise WrongState("the network is down", resource=victim.name)

    link._connect = refuse
    await link._disconnect()
    await site.show_offline(victim.name.partition("/")[2])
    await wait_lost(site, operation)
    await site.succeed(confirm(victim.name))

    async def told() -> bool:
        jobs = [job.name for job in await site.jobs_of(operation) if job.contact_lost]
        asked = [wait_explanation_pb2.ExplainWaitRequest(name=name) for name in jobs]
        answers = [await site.service.ExplainWait(each) for each in asked]
        return any("still renews slot" in answer.summary for answer in answers)

    await site.wait_until(told)
    assert victim.files
    link._connect = connect
    del site.faults.before["JoinCluster"]
    await site.close_agent(victim.name.partition("/")[2])
    await site.open_agent(victim.name.partition("/")[2])
    assert not (await site.wait(operation)).HasField("error")
    await site.inventory.presence._store_state(victim.name, server_pb2.SERVER_STATE_ONLINE, None)
    await site.wait_released()
    assert await finds(site) == []


async def test_a_member_that_died_while_it_left_has_left(site: Site) -> None:
    """Its slot is cleared for it, so its operation goes on, and it notices that when it is back."""
    victim = Victim(site)
    await site.succeed(pool(site))
    victim.hangs("LeaveCluster")
    operation = (await site.submit(leaving(victim))).name
    await victim.dies(operation)
    assert not (await site.wait(operation)).HasField("error")
    assert victim.name not in await members(site)
    await victim.comes_back()
    await victim.wait_no_member()
    assert await finds(site) == []


async def test_a_member_that_is_gone_for_good_leaves_the_records(site: Site) -> None:
    """Removed and forgotten on the proof of its death; if its disk turns up all the same, it is no member."""
    victim = Victim(site)
    await site.succeed(pool(site))
    await die(site, victim.name)
    await site.succeed(confirm(victim.name))
    await site.succeed(leaving(victim))
    assert victim.name not in await members(site)
    await site.succeed(forget_server_pb2.ForgetServerRequest(name=victim.name, force=True))
    site.faults.before.clear()
    assert victim.files
    await site.open_agent(victim.name.partition("/")[2])
    await victim.wait_no_member()
    (claimed,) = await finds(site)
    assert f"{victim.name.partition('/')[2]} is claimed" in claimed, "a server that is forgotten by force stays claimed"


async def test_a_pool_is_deleted_without_its_dead_member(site: Site) -> None:
    """Its slot is cleared and the device removed; when it is back, its refresh has it leave the cluster."""
    victim = Victim(site)
    await site.succeed(pool(site))
    await die(site, victim.name)
    await site.succeed(confirm(victim.name))
    await site.succeed(delete_server_pool_pb2.DeleteServerPoolRequest(name=POOL))
    assert not (site.share / "heartbeat").exists()
    await victim.comes_back()
    assert not victim.files
    assert await finds(site) == []


async def test_a_slot_that_was_cleared_is_put_back_with_the_rest(site: Site) -> None:
    """The removal fails after it, so the server is a member as before, and goes on as one when it is back."""
    victim = Victim(site)
    await site.succeed(pool(site))
    await die(site, victim.name)
    await site.succeed(confirm(victim.name))
    before = await members(site)
    site.faults.refused = "2/1"
    ended = await site.run(leaving(victim))
    assert "step 2/1 is refused" in ended.error.message
    assert await members(site) == before
    site.faults.refused = ""
    await victim.comes_back()
    assert await finds(site) == []


def leaving(victim: Victim) -> remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest:
    """Return the request that takes the victim out of the pool."""
    return remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(name=POOL, server=victim.name)
