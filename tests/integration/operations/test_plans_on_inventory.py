"""Plans meet the inventory: a site's life is planned from what is stored, carried out, undone and carried out again.

Hosts are stood in for by canned results; every effect on the inventory is real, with its locks, versions and ledger.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from tests.fakes.clock import FakeClock
from virtyard.api.actions.v1 import (
    claim_host_pb2,
    create_disk_file_pb2,
    create_repository_folder_pb2,
    refresh_host_pb2,
    scan_repository_pb2,
    start_guest_pb2,
)
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import (
    heartbeat_device_pb2,
    repository_pb2,
    server_pb2,
    server_pool_pb2,
    virtual_machine_pb2,
)
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import (
    create_repository_pb2,
    create_server_pool_pb2,
    create_virtual_machine_pb2,
    delete_repository_pb2,
    delete_server_pool_pb2,
    delete_virtual_machine_pb2,
    discover_server_pb2,
    kill_virtual_machine_pb2,
    present_repository_pb2,
    refresh_repository_pb2,
    refresh_server_pb2,
    rename_virtual_machine_pb2,
    start_virtual_machine_pb2,
    unpresent_repository_pb2,
)
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.kernel.any import get_path, set_path, unpack
from virtyard.kernel.errors import CapacityExhausted, VirtyardError
from virtyard.kernel.names import INVENTORY, collection_of, kinds, unwrap
from virtyard.kernel.plan import Ids, pack, steps_of
from virtyard.kernel.plan_rules import Order
from virtyard.kernel.relations import ancestor_collections
from virtyard.kernel.validation import validate
from virtyard.kernel.view import View, select
from virtyard.operations.catalogue import load
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.status import from_status

GIB = 1 << 30
SERVICE = "virtyard.api.operations.v1.OperationService."
HOST_RESULTS: Mapping[str, Message] = {
    "ClaimHost": claim_host_pb2.ClaimHostResult(
        host=agent_service_pb2.Host(memory_bytes=4 * GIB, cpus=8, hypervisor="sim", host_id="h", ledger_sequence=3)
    ),
    "CreateRepositoryFolder": create_repository_folder_pb2.CreateRepositoryFolderResult(
        total_bytes=9 * GIB, free_bytes=8 * GIB
    ),
    "RefreshHost": refresh_host_pb2.RefreshHostResult(
        host=agent_service_pb2.Host(memory_bytes=4 * GIB, cpus=16, hypervisor="sim", ledger_sequence=4)
    ),
    "ScanRepository": scan_repository_pb2.ScanRepositoryResult(total_bytes=9 * GIB, free_bytes=7 * GIB),
    "CreateDiskFile": create_disk_file_pb2.CreateDiskFileResult(path="disks/x.qcow2", allocated_bytes=4096),
    "StartGuest": start_guest_pb2.StartGuestResult(hypervisor="sim", accelerator="none", process_id=77),
}
"""What hosts answer where a later step is bound to it."""


class Site:
    """Plans requests over a real store and carries the plans out, one operation after the other."""

    def __init__(self, store: SqliteStore) -> None:
        """Begin with what the store has."""
        self._store = store
        self._types = load()
        self._number = 0

    async def do(self, request: Message, *, undo: bool = False) -> plan_pb2.Plan:
        """Plan a request and carry it out; then undo it, last step first, if that is asked for."""
        validate(request)
        kind = self._types[SERVICE + request.DESCRIPTOR.name.removesuffix("Request")]
        selections = list(kind.selections(request))
        reading = await self._store.view(selections)
        view = View(reading.objects, selections, sequence=reading.sequence, owner_id=reading.owner_id)
        self._number += 1
        plan = kind.plan(request, view, Ids(uuid.uuid5(uuid.NAMESPACE_OID, str(self._number))))
        steps = {f"{job.id}/{step.id}": step for job, step in steps_of(plan)}
        order = [reference for reference in Order(plan).sequence() if not steps[reference].if_deferred]
        results: dict[str, AnyMessage] = {}
        for reference in order:
            results[reference] = await self._carry_out(plan, reference, steps[reference], results)
        if undo:
            for reference in reversed(order):
                await self._carry_out(plan, reference, steps[reference], results, participant.PHASE_UNDO)
        return plan

    async def _carry_out(
        self,
        plan: plan_pb2.Plan,
        reference: str,
        step: plan_pb2.PlannedStep,
        results: Mapping[str, AnyMessage],
        phase: participant.Phase.ValueType = participant.PHASE_DO,
    ) -> AnyMessage:
        if step.participant != INVENTORY:
            return pack(HOST_RESULTS.get(step.do.TypeName().rpartition(".")[2], participant.EffectRecord()))
        do = unpack(step.do)
        for binding in step.bindings:
            set_path(do, binding.field_path, get_path(unpack(results[binding.step]), binding.result_path))
        above = {step.target} | {
            lock.object
            for lock in plan.locks
            if collection_of(lock.object) in ancestor_collections(collection_of(step.target))
        }
        effect = participant.Effect(
            step_key=f"{self._number}/{reference}",
            attempt=1,
            epoch=1,
            phase=phase,
            target=step.target,
            do=pack(do),
            undo=step.undo,
            locks=[
                lock_pb2.LockToken(object=lock.object, mode=lock.mode, fencing_token=self._number)
                for lock in plan.locks
                if lock.object in above
            ],
        )
        if phase == participant.PHASE_DO:
            effect.require.CopyFrom(plan.read_set)
        (record,) = (await self._store.execute([effect])).records
        if record.HasField("error"):
            raise from_status(record.error)
        assert record.state == participant.EFFECT_STATE_DONE
        return record.result

    async def get(self, name: str) -> Any:
        """Return an object as clients see it."""
        return await self._store.get(name)

    async def objects(self) -> dict[str, Any]:
        """Return every object, without what every write changes."""
        found: dict[str, Any] = {}
        for collection in kinds():
            for identifier in ("a", "b", "c", "P", "R", "web", "web-disk0", "web-disk1", "web-vnic0"):
                for wrapped in (await self._store.view([select(f"{collection}/{identifier}")])).objects:
                    item: Any = unwrap(wrapped)
                    for field in ("generation", "etag", "update_time"):
                        item.ClearField(field)
                    found[item.name] = item
        return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Return a site over a new database."""
    clock = FakeClock()
    async with await Database.open(
        tmp_path / "inventory.db", migrations="virtyard.inventory.migrations", feed=Feed("inventory"), clock=clock
    ) as database:
        yield Site(SqliteStore(database, clock))


def discover(name: str) -> discover_server_pb2.DiscoverServerRequest:
    """Return the request for a server."""
    return discover_server_pb2.DiscoverServerRequest(
        server_id=name, server=server_pb2.Server(agent_address="127.0.0.1:7443")
    )


POOL = create_server_pool_pb2.CreateServerPoolRequest(
    server_pool_id="P",
    server_pool=server_pool_pb2.ServerPool(clustered=True),
    servers=["servers/a", "servers/b", "servers/c"],
    heartbeat_device=heartbeat_device_pb2.HeartbeatDevice(path="/storage/hb"),
)
REPOSITORY = create_repository_pb2.CreateRepositoryRequest(
    repository_id="R",
    repository=repository_pb2.Repository(path="/storage/r", server_pool="serverPools/P", capacity_bytes=3 * GIB),
)
PRESENT = present_repository_pb2.PresentRepositoryRequest(name="repositories/R", servers=["servers/c"])
UNPRESENT = unpresent_repository_pb2.UnpresentRepositoryRequest(name="repositories/R", servers=["servers/c"])
WEB = "virtualMachines/web"


def machine(size_bytes: int = GIB) -> create_virtual_machine_pb2.CreateVirtualMachineRequest:
    """Return the request for a machine with two disks of this size and a card."""
    disk = create_virtual_machine_pb2.NewVirtualDisk(repository="repositories/R", size_bytes=size_bytes)
    return create_virtual_machine_pb2.CreateVirtualMachineRequest(
        virtual_machine_id="web",
        virtual_machine=virtual_machine_pb2.VirtualMachine(
            server_pool="serverPools/P",
            memory_bytes=3 * GIB,
            cpus=1,
            boot=virtual_machine_pb2.BootSource(kernel_path="/storage/vmlinuz"),
        ),
        disks=[disk, disk],
        vnics=[create_virtual_machine_pb2.NewVnic()],
    )


START = start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB)
RENAME = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=WEB, display_name="Web 1")
KILL = kill_virtual_machine_pb2.KillVirtualMachineRequest(name=WEB)
DELETIONS: list[Message] = [
    delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=WEB),
    delete_repository_pb2.DeleteRepositoryRequest(name="repositories/R"),
    delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/P"),
]


async def test_undo_of_every_operation_puts_back_what_was_there(site: Site) -> None:
    """Each is carried out, undone last step first, compared, and carried out for good."""
    shared = [UNPRESENT, PRESENT, refresh_repository_pb2.RefreshRepositoryRequest(name="repositories/R")]
    made = [discover("a"), discover("b"), discover("c"), POOL, REPOSITORY, *shared, machine(), START, RENAME]
    for request in made:
        before = await site.objects()
        await site.do(request, undo=True)
        assert await site.objects() == before
        await site.do(request)


async def test_life_of_a_site_leaves_nothing_but_its_servers(site: Site) -> None:
    """Discovered, pooled, used and taken apart again; at every stage people see the state that they expect."""
    for request in (discover("a"), discover("b"), discover("c")):
        await site.do(request)
    beginning = await site.objects()
    server = await site.get("servers/a")
    assert (server.state, server.observed.memory_bytes) == (server_pb2.SERVER_STATE_ONLINE, 4 * GIB)
    await site.do(POOL)
    pool = await site.get("serverPools/P")
    assert list(pool.servers) == ["servers/a", "servers/b", "servers/c"]
    assert (pool.cluster, pool.state) == ("clusters/P", server_pool_pb2.SERVER_POOL_STATE_ACTIVE)
    await site.do(REPOSITORY)
    await site.do(machine())
    await site.do(START)
    running = await site.get(WEB)
    assert (running.state, running.server) == (virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING, "servers/a")
    assert (running.placement.hypervisor, running.placement.process_id) == ("sim", 77)
    assert list(running.virtual_disks) == ["virtualDisks/web-disk0", "virtualDisks/web-disk1"]
    assert (await site.get("servers/a")).reserved_memory_bytes == 3 * GIB
    await site.do(KILL)
    killed = await site.get(WEB)
    assert (killed.state, killed.server) == (virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED, "")
    assert not killed.HasField("placement")
    for deletion in DELETIONS:
        await site.do(deletion)
    assert await site.objects() == beginning


async def test_disk_that_does_not_fit_is_refused_in_its_own_step(site: Site) -> None:
    """The repository's capacity is a sum that the inventory checks; the first disk fits, the second does not."""
    for request in (discover("a"), discover("b"), discover("c"), POOL, REPOSITORY):
        await site.do(request)
    with pytest.raises(CapacityExhausted):
        await site.do(machine(2 * GIB))
    assert (await site.get("virtualDisks/web-disk0")).size_bytes == 2 * GIB


async def test_second_machine_goes_to_another_server(site: Site) -> None:
    """What the first reserved is seen by the next plan; when all are full, each server's reason is given."""
    for first in (discover("a"), discover("b"), discover("c"), POOL):
        await site.do(first)
    chosen, request = [], machine()
    del request.disks[:]
    for name in ("one", "two", "three"):
        request.virtual_machine_id = name
        await site.do(request)
        plan = await site.do(start_virtual_machine_pb2.StartVirtualMachineRequest(name=f"virtualMachines/{name}"))
        chosen += list(plan.servers)
    assert chosen == ["servers/a", "servers/b", "servers/c"]
    request.virtual_machine_id = "four"
    await site.do(request)
    with pytest.raises(VirtyardError) as caught:
        await site.do(start_virtual_machine_pb2.StartVirtualMachineRequest(name="virtualMachines/four"))
    assert {"servers/a", "servers/b", "servers/c"} <= caught.value.metadata.keys()


async def test_servers_of_a_repository_are_those_that_it_was_presented_to(site: Site) -> None:
    """All of the pool at first; taken off one and presented again; its space is that of the last look."""
    for request in (discover("a"), discover("b"), discover("c"), POOL, REPOSITORY):
        await site.do(request)
    made = await site.get("repositories/R")
    assert list(made.servers) == ["servers/a", "servers/b", "servers/c"]
    assert (made.total_bytes, made.free_bytes) == (9 * GIB, 8 * GIB)
    await site.do(UNPRESENT)
    assert list((await site.get("repositories/R")).servers) == ["servers/a", "servers/b"]
    await site.do(PRESENT)
    assert list((await site.get("repositories/R")).servers) == ["servers/a", "servers/b", "servers/c"]
    await site.do(refresh_repository_pb2.RefreshRepositoryRequest(name="repositories/R"))
    assert (await site.get("repositories/R")).free_bytes == 7 * GIB


async def test_a_refreshed_server_shows_what_was_seen_and_keeps_its_generation(site: Site) -> None:
    """Facts are no configuration (P27); whoever read the etag before is told that something changed."""
    await site.do(discover("a"))
    before = await site.get("servers/a")
    await site.do(refresh_server_pb2.RefreshServerRequest(name="servers/a"))
    after = await site.get("servers/a")
    assert (before.observed.cpus, after.observed.cpus) == (8, 16)
    assert after.generation == before.generation
    assert after.etag != before.etag
    assert after.state == server_pb2.SERVER_STATE_ONLINE
