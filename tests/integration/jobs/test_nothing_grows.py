"""The life of everything that a site has, again and again: no table and no folder of any part is larger for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.message import Message

from tests.integration.jobs.site import Site, furnish, machine, running
from tests.integration.jobs.test_history import tidy
from tests.unit.operations.estate import new_filter, new_schedule, new_trigger
from virtyard.api.inventory.v1 import heartbeat_device_pb2, network_pb2, repository_pb2, server_pb2, server_pool_pb2
from virtyard.api.operations.v1 import (
    add_server_to_server_pool_pb2,
    create_network_pb2,
    create_repository_pb2,
    create_server_pool_pb2,
    delete_filter_pb2,
    delete_network_pb2,
    delete_repository_pb2,
    delete_schedule_pb2,
    delete_server_pool_pb2,
    delete_trigger_pb2,
    delete_virtual_machine_pb2,
    discover_server_pb2,
    forget_server_pb2,
    kill_virtual_machine_pb2,
    present_repository_pb2,
    remove_server_from_server_pool_pb2,
    start_virtual_machine_pb2,
)
from virtyard.jobs.history import HistoryRetention, Keep
from virtyard.runtime.floor import Floors

POOL, S2 = "serverPools/Finance", "servers/s2"
KEPT = Keep(age=timedelta(days=1), count=5)
BOUNDED_BY_COUNT = {"journal", "event"}


def storage_and_machines(site: Site, turn: int) -> Iterator[Message]:
    """Yield the life of a repository, a network, and a machine with a disk and a card in them."""
    repository, network, web = f"repositories/R{turn}", f"networks/lan{turn}", f"virtualMachines/web{turn}"
    folder = repository_pb2.Repository(path=str(site.share / f"R{turn}"), server_pool=POOL)
    yield create_repository_pb2.CreateRepositoryRequest(repository_id=f"R{turn}", repository=folder)
    yield present_repository_pb2.PresentRepositoryRequest(name=repository, servers=["servers/s1", S2])
    yield create_network_pb2.CreateNetworkRequest(
        network_id=f"lan{turn}", network=network_pb2.Network(), servers=["servers/s1"]
    )
    wanted = machine(f"web{turn}", disks=1, vnics=1)
    wanted.disks[0].repository = repository
    wanted.vnics[0].bridged_network = network
    wanted.virtual_machine.boot.kernel_path = str(site.share / "vmlinuz")
    yield wanted
    yield start_virtual_machine_pb2.StartVirtualMachineRequest(name=web)
    yield kill_virtual_machine_pb2.KillVirtualMachineRequest(name=web)
    yield delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=web)
    yield delete_repository_pb2.DeleteRepositoryRequest(name=repository)
    yield delete_network_pb2.DeleteNetworkRequest(name=network)


def pools_and_servers(site: Site, turn: int) -> Iterator[Message]:
    """Yield a server's way into a cluster of its own, out of it, out of the site, and back."""
    yield remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(name=POOL, server=S2)
    yield create_server_pool_pb2.CreateServerPoolRequest(
        server_pool_id=f"P{turn}",
        server_pool=server_pool_pb2.ServerPool(clustered=True),
        servers=[S2],
        heartbeat_device=heartbeat_device_pb2.HeartbeatDevice(
            path=str(site.share / f"P{turn}.heartbeat"), io_timeout_seconds=1
        ),
    )
    yield delete_server_pool_pb2.DeleteServerPoolRequest(name=f"serverPools/P{turn}")
    yield forget_server_pb2.ForgetServerRequest(name=S2)
    again = server_pb2.Server(agent_address=site.addresses["s2"])
    yield discover_server_pb2.DiscoverServerRequest(server_id="s2", server=again)
    yield add_server_to_server_pool_pb2.AddServerToServerPoolRequest(name=POOL, server=S2)


def definitions(turn: int) -> Iterator[Message]:
    """Yield the life of a trigger, a schedule and a filter."""
    trigger, schedule, job_filter = new_trigger(), new_schedule(), new_filter()
    trigger.trigger_id, schedule.schedule_id, job_filter.filter_id = f"t{turn}", f"s{turn}", f"f{turn}"
    job_filter.filter.matches = 'type = "Nothing"'
    yield from (trigger, schedule, job_filter)
    yield delete_trigger_pb2.DeleteTriggerRequest(name=f"triggers/t{turn}")
    yield delete_schedule_pb2.DeleteScheduleRequest(name=f"schedules/s{turn}")
    yield delete_filter_pb2.DeleteFilterRequest(name=f"filters/f{turn}")


async def sizes(site: Site) -> dict[tuple[str, str], int]:
    """Return the rows of each table, and the files of each kind in each folder of the services and agents."""
    retention = HistoryRetention(live=KEPT, archive=KEPT, request_ids=timedelta(0), interval=60.0)
    await site.wait_released()
    await tidy(site, retention)
    settled = site.jobs.scheduler.world.store.settled
    await site.raise_floors(Floors(settled_below=settled.below, tokens_below=settled.tokens_below))
    rows = {name: count for name, count in (await site.row_counts()).items() if name[1] not in BOUNDED_BY_COUNT}
    # SQLite's own files beside a database come and go.
    files = [path for path in site.folder.rglob("*") if path.is_file() and path.suffix not in (".db-wal", ".db-shm")]
    return rows | Counter((str(path.parent.relative_to(site.folder)), path.suffix) for path in files)


@pytest.mark.timeout(240)
async def test_what_came_and_went_leaves_no_row_and_no_file(tmp_path: Path) -> None:
    """After three lives there is as much as after one."""
    async with running(tmp_path, "s1", "s2") as site:
        await furnish(site)
        (site.share / "vmlinuz").touch()
        seen = []
        for turn in range(3):
            for request in (*storage_and_machines(site, turn), *pools_and_servers(site, turn), *definitions(turn)):
                await site.succeed(request)
            seen.append(await sizes(site))
        grown = {name: [size.get(name, 0) for size in seen] for name in seen[2] if seen[2][name] > seen[0].get(name, 0)}
        assert grown == {}
        for host in ("s1", "s2"):
            # The file has an entry for what an open operation gave up, and for nothing that is gone.
            assert (site.folder / "agents" / host / "repositories.json").stat().st_size < 1000
