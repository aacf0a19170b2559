"""Create Server Pool, clustered, made to fail in its actions: nothing is left, and the same request then succeeds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc.aio import AioRpcError

from tests.integration.jobs.newcomers import running_newcomers
from tests.integration.jobs.site import Site
from tests.integration.jobs.test_failure import Tries, state_of
from virtyard.api.inventory.v1 import heartbeat_device_pb2, repository_pb2, server_pool_pb2
from virtyard.api.operations.v1 import (
    create_repository_pb2,
    create_server_pool_pb2,
    delete_server_pool_pb2,
    remove_server_from_server_pool_pb2,
)
from virtyard.api.type.v1 import submission_pb2

SERVERS = ("s1", "s2", "s3")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a site whose three servers are discovered and in no pool."""
    async with running_newcomers(tmp_path, *SERVERS) as site:
        yield site


def pool(site: Site) -> create_server_pool_pb2.CreateServerPoolRequest:
    """Return the request for a clustered pool of all servers."""
    return create_server_pool_pb2.CreateServerPoolRequest(
        server_pool_id="Finance",
        server_pool=server_pool_pb2.ServerPool(clustered=True),
        servers=[f"servers/{name}" for name in SERVERS],
        heartbeat_device=heartbeat_device_pb2.HeartbeatDevice(path=str(site.share / "heartbeat"), io_timeout_seconds=1),
    )


def memberships(site: Site) -> list[str]:
    """Return which servers are members of a cluster, by their agents."""
    return [name for name, agent in site.agents.items() if agent.host.heartbeat.members()]


@pytest.mark.parametrize(
    ("action", "wrong"), [("LayOutHeartbeatDevice", 1), ("JoinCluster", 1), ("JoinCluster", 2), ("JoinCluster", 3)]
)
async def test_a_clustered_pool_that_fails_leaves_nothing(site: Site, action: str, wrong: int) -> None:
    """Proves that pool, device, memberships, files and locks are gone whichever job or child fails."""
    before = await state_of(site)
    site.faults.before[action] = Tries(wrong)
    operation = await site.run(pool(site))
    assert operation.error.message == "the disk is full"
    assert await state_of(site) == before
    assert memberships(site) == []
    await site.wait_released()
    states = await site.job_states(operation.name)
    assert states.count("FAILED") == 1
    assert set(states) == {"FAILED", "ABORTED"}
    del site.faults.before[action]
    await site.succeed(pool(site))
    assert memberships(site) == list(SERVERS)


async def test_a_clustered_pool_that_was_kept_in_part_can_be_taken_apart(site: Site) -> None:
    """It has a device and no cluster: servers can be removed but the last, which the deletion of the pool needs."""
    before = await state_of(site)
    site.faults.before["JoinCluster"] = Tries(1, 2, 3)
    request = pool(site)
    request.options.on_failure = submission_pb2.ON_FAILURE_CONTINUE
    kept = await site.run(request)
    assert "FAILED" in await site.job_states(kept.name)
    del site.faults.before["JoinCluster"]
    repository = repository_pb2.Repository(path=str(site.share / "R"), server_pool="serverPools/Finance")
    create = create_repository_pb2.CreateRepositoryRequest(repository_id="R", repository=repository)
    with pytest.raises(AioRpcError, match="it must be active"):
        await site.submit(create)
    for name in ("s1", "s2"):
        await site.succeed(remove(name))
    with pytest.raises(AioRpcError, match="last server of serverPools/Finance; delete serverPools/Finance instead"):
        await site.submit(remove("s3"))
    await site.succeed(delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/Finance"))
    await site.wait_released()
    assert await state_of(site) == before
    assert not (site.share / "heartbeat").exists()


def remove(server: str) -> remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest:
    """Return the request that takes a server out of the pool."""
    return remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
        name="serverPools/Finance", server=f"servers/{server}"
    )
