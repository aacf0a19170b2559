"""What each action does to a host, what its undo leaves alone, and what a probe finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message

from tests.integration.agent.scenario import (
    DONE,
    FAILED,
    MIB,
    Scheduler,
    create_disk,
    create_repository,
    effect,
    place,
    scheduler,
    undoing,
)
from virtyard.agent.actions import clear_cluster_slot, join_cluster
from virtyard.agent.actions.catalogue import load
from virtyard.agent.actions.contract import Context
from virtyard.agent.drivers.heartbeat import block
from virtyard.agent.drivers.heartbeat.contract import Membership
from virtyard.agent.drivers.network.sim import SimNetwork
from virtyard.api.actions.v1 import (
    attach_repository_pb2,
    claim_host_pb2,
    clear_cluster_slot_pb2,
    create_bridge_pb2,
    create_disk_file_pb2,
    create_repository_folder_pb2,
    detach_other_repositories_pb2,
    detach_repository_pb2,
    erase_disk_files_pb2,
    join_cluster_pb2,
    kill_guest_pb2,
    lay_out_heartbeat_device_pb2,
    leave_cluster_pb2,
    leave_other_clusters_pb2,
    refresh_host_pb2,
    release_host_pb2,
    remove_heartbeat_device_pb2,
    remove_other_bridges_pb2,
    remove_repository_folder_pb2,
    restore_disk_file_pb2,
    scan_repository_pb2,
    start_guest_pb2,
    trash_disk_file_pb2,
)
from virtyard.kernel.errors import VirtyardError, WrongState
from virtyard.runtime.status import from_status

UID = "m1"
M = TypeVar("M", bound=Message)


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[Scheduler]:
    """A scheduler, with a repository and an image made."""
    async with scheduler(tmp_path) as jobs:
        await jobs.run(create_repository(tmp_path), create_disk(tmp_path, "1/2/1", after="1/1/1"))
        yield jobs


class Steps:
    """Sends messages as steps of ever later operations, under one lock."""

    def __init__(self, jobs: Scheduler) -> None:
        """Send to this agent."""
        self._jobs = jobs
        self._operation = 10

    async def do(self, message: Message, undo: Message | None = None) -> Step:
        """Carry a message out."""
        self._operation += 1
        sent = effect(f"{self._operation}/1/1", message, undo=undo)
        (record,) = await self._jobs.run(sent)
        return Step(self._jobs, sent, record)


class Step:
    """One step that was sent."""

    def __init__(self, jobs: Scheduler, sent: Any, record: Any) -> None:
        """Keep what came of it."""
        self._jobs = jobs
        self.sent = sent
        self.record = record

    @property
    def error(self) -> VirtyardError:
        """Why it failed."""
        assert self.record.state == FAILED
        return from_status(self.record.error)

    def result(self, message: M) -> M:
        """What it gave."""
        assert self.record.state == DONE, self.record
        assert self.record.result.Unpack(message)
        return message

    async def undo(self) -> bool:
        """Undo it; tells whether that changed anything."""
        (record,) = await self._jobs.run(undoing(self.sent))
        assert record.state == DONE, record
        return bool(record.changed)


@pytest.fixture
def steps(jobs: Scheduler) -> Steps:
    """The steps of the test."""
    return Steps(jobs)


def start(folder: Path, **fields: Any) -> start_guest_pb2.StartGuest:
    """A guest with the one disk."""
    disk = start_guest_pb2.GuestDisk(**place(folder), disk_uid="d1", serial="abc")
    values = {"cpus": 1, "memory_bytes": 64 * MIB, "disks": [disk], **fields}
    return start_guest_pb2.StartGuest(virtual_machine="virtualMachines/db", uid=UID, **values)


KILL = kill_guest_pb2.KillGuest(virtual_machine="virtualMachines/db", uid=UID)


async def test_a_guest_is_started_and_its_undo_ends_it(jobs: Scheduler, steps: Steps, tmp_path: Path) -> None:
    """The result names driver and accelerator; the undo ends exactly this guest."""
    step = await steps.do(start(tmp_path), KILL)
    result = step.result(start_guest_pb2.StartGuestResult())
    assert (result.hypervisor, result.accelerator) == ("sim", "none")
    assert await step.undo()
    assert await jobs.agent.host.hypervisor.guests() == []


async def test_an_undo_does_not_end_anothers_guest(jobs: Scheduler, steps: Steps, tmp_path: Path) -> None:
    """A start that was refused because the guest ran already is undone by doing nothing."""
    await steps.do(start(tmp_path), KILL)
    refused = await steps.do(start(tmp_path), KILL)
    assert refused.error.reason == "ALREADY_EXISTS"
    assert not await refused.undo()
    assert len(await jobs.agent.host.hypervisor.guests()) == 1


async def test_a_kill_says_whether_the_guest_ran(steps: Steps, tmp_path: Path) -> None:
    """The first kill found it running, the second did not, and both are done."""
    await steps.do(start(tmp_path))
    assert (await steps.do(KILL)).result(kill_guest_pb2.KillGuestResult()).was_running
    assert not (await steps.do(KILL)).result(kill_guest_pb2.KillGuestResult()).was_running


async def test_a_guest_without_its_image_is_not_started(steps: Steps, tmp_path: Path) -> None:
    """An image that is not there is a wrong state that names the repository."""
    missing = start_guest_pb2.GuestDisk(**place(tmp_path), disk_uid="none", serial="abc")
    assert (await steps.do(start(tmp_path, disks=[missing]))).error.reason == "WRONG_STATE"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kernel_path": "/etc/passwd"}, "kernel_path"),
        ({"initrd_path": "/etc/passwd"}, "initrd_path"),
        ({"cpus": 0}, "cpus"),
        ({"memory_bytes": 1}, "memory_bytes"),
        ({"nics": [start_guest_pb2.GuestNic(mac_address="no")]}, "nics[0].mac"),
    ],
)
async def test_a_wrong_guest_is_refused_by_its_field(
    steps: Steps, tmp_path: Path, fields: dict[str, Any], field: str
) -> None:
    """What cannot be is named, a kernel outside the storage roots too."""
    error = (await steps.do(start(tmp_path, **fields))).error
    assert [violation.field for violation in error.violations] == [field]


async def test_a_host_has_one_owner(steps: Steps) -> None:
    """A claim gives the facts; a second owner is refused by name; only the claim's own undo gives the host up."""
    claim = claim_host_pb2.ClaimHost(owner_id="yard-a", server="servers/s1")
    step = await steps.do(claim, release_host_pb2.ReleaseHost(owner_id="yard-a"))
    host = step.result(claim_host_pb2.ClaimHostResult()).host
    assert (host.server, host.owner_id, host.hypervisor) == ("servers/s1", "yard-a", "sim")
    other = await steps.do(claim_host_pb2.ClaimHost(owner_id="yard-b", server="servers/s1"))
    assert "yard-a" in other.error.message
    again = await steps.do(claim, release_host_pb2.ReleaseHost(owner_id="yard-a"))
    assert not again.record.changed
    assert not await again.undo()
    assert await step.undo()
    await steps.do(claim_host_pb2.ClaimHost(owner_id="yard-b", server="servers/s1"))


async def test_an_agent_speaks_for_its_own_server(steps: Steps, tmp_path: Path) -> None:
    """A claim or a membership for another server is refused by the field."""
    claim = await steps.do(claim_host_pb2.ClaimHost(owner_id="yard-a", server="servers/s2"))
    join = await steps.do(join_cluster_pb2.JoinCluster(cluster_uid="c1", server="servers/s2"))
    assert [claim.error.violations[0].field, join.error.violations[0].field] == ["server", "server"]


async def test_a_repository_goes_with_its_undo_and_by_its_removal(steps: Steps, tmp_path: Path) -> None:
    """Made and undone, nothing is left; removed, it is not found; with images in it, it stays."""
    where = {"repository_path": str(tmp_path / "share" / "other"), "repository_uid": "r2"}
    create = create_repository_folder_pb2.CreateRepositoryFolder(**where, capacity_bytes=MIB)
    remove = remove_repository_folder_pb2.RemoveRepositoryFolder(**where)
    step = await steps.do(create, remove)
    assert step.result(create_repository_folder_pb2.CreateRepositoryFolderResult()).free_bytes > 0
    assert await step.undo()
    assert not Path(where["repository_path"]).exists()
    await steps.do(create)
    assert (await steps.do(remove)).record.changed
    full = await steps.do(remove_repository_folder_pb2.RemoveRepositoryFolder(**place(tmp_path)))
    assert full.error.reason == "WRONG_STATE"


async def test_an_image_goes_through_the_trash(steps: Steps, tmp_path: Path) -> None:
    """Trashed and undone it is back; trashed and erased it is gone, and the space is told."""
    trash = trash_disk_file_pb2.TrashDiskFile(**place(tmp_path), disk_uid="d1")
    restore = restore_disk_file_pb2.RestoreDiskFile(**place(tmp_path), disk_uid="d1")
    step = await steps.do(trash, restore)
    assert step.result(trash_disk_file_pb2.TrashDiskFileResult()).trash_path == ".trash/d1/d1.raw"
    assert await step.undo()
    image = tmp_path / "share" / "repo" / "disks" / "d1.raw"
    assert image.exists()
    image.write_bytes(b"x" * MIB)
    await steps.do(trash, restore)
    erased = await steps.do(erase_disk_files_pb2.EraseDiskFiles(**place(tmp_path), disk_uids=["d1", "d2"]))
    assert erased.result(erase_disk_files_pb2.EraseDiskFilesResult()).freed_bytes >= MIB
    assert not image.exists()


async def test_a_cluster_is_joined_and_left(jobs: Scheduler, steps: Steps, tmp_path: Path) -> None:
    """Join and leave undo each other by their marks, and a device in use is not removed."""
    path = str(tmp_path / "share" / "heartbeat")
    lay_out = lay_out_heartbeat_device_pb2.LayOutHeartbeatDevice(path=path, uid="h1", slots=4, io_timeout_seconds=1)
    remove = remove_heartbeat_device_pb2.RemoveHeartbeatDevice(path=path, uid="h1")
    device = await steps.do(lay_out, remove)
    result = device.result(lay_out_heartbeat_device_pb2.LayOutHeartbeatDeviceResult())
    assert result.size_bytes == 5 * 4096
    join = join_cluster_pb2.JoinCluster(cluster_uid="c1", path=path, device_uid="h1", slot=1, server="servers/s1")
    leave = leave_cluster_pb2.LeaveCluster(cluster_uid="c1")
    joined = await steps.do(join, leave)
    again = await steps.do(join, leave)
    assert not again.record.changed
    assert not await again.undo()
    assert (await steps.do(remove)).error.reason == "WRONG_STATE"
    left = await steps.do(leave, join)
    assert left.result(leave_cluster_pb2.LeaveClusterResult()).was_member
    assert await left.undo()
    assert jobs.agent.host.heartbeat.joined("c1") is not None
    assert not await joined.undo(), "the membership is no longer the one that this step took"
    await steps.do(leave)
    assert await device.undo()
    assert not Path(path).exists()


async def test_the_slot_of_a_dead_member_is_cleared_and_put_back(jobs: Scheduler, steps: Steps, tmp_path: Path) -> None:
    """The undo gives it back; a slot of another server is left as it is; only its own host leaves for a server."""
    path = tmp_path / "share" / "heartbeat"
    await steps.do(
        lay_out_heartbeat_device_pb2.LayOutHeartbeatDevice(path=str(path), uid="h1", slots=4, io_timeout_seconds=1)
    )
    taken = {"server": "servers/s2", "cluster_uid": "c1", "incarnation": "x", "counter": 7, "mark": "9/1/1"}
    block.write(path, 2, taken)
    where: dict[str, Any] = {"cluster_uid": "c1", "path": str(path), "device_uid": "h1", "slot": 2}
    clear = clear_cluster_slot_pb2.ClearClusterSlot(**where, server="servers/s2")
    leave = await steps.do(leave_cluster_pb2.LeaveCluster(**where, server="servers/s2"))
    assert leave.error.violations[0].field == "server"
    other = await steps.do(clear_cluster_slot_pb2.ClearClusterSlot(**where, server="servers/s3"), clear)
    assert not other.result(clear_cluster_slot_pb2.ClearClusterSlotResult()).was_member
    assert block.read(path, 2, 1) == [taken]
    step = await steps.do(clear, clear)
    assert step.result(clear_cluster_slot_pb2.ClearClusterSlotResult()).was_member
    assert not (await steps.do(clear, clear)).record.changed
    assert await step.undo()
    assert block.read(path, 2, 1) == [taken]


async def test_a_killed_agent_finds_what_it_had_cleared(jobs: Scheduler, tmp_path: Path) -> None:
    """By the mark, so that it can be put back; a join that had taken its slot and no more is cleared away."""
    host, path = jobs.agent.host, str(tmp_path / "share" / "heartbeat")
    await host.heartbeat.lay_out(path, "h1", 4, 0.05, "9/1/1")
    where: dict[str, Any] = {"cluster_uid": "c1", "path": path, "device_uid": "h1", "slot": 2}

    def context(mark: str, *, undoing: bool = False) -> Context:
        return Context(host=host, mark=mark, undoing=undoing, progress=lambda done, total, stage: None)

    taken = {"server": "servers/s2", "cluster_uid": "c1", "incarnation": "x", "counter": 7, "mark": "9/2/1"}
    block.write(Path(path), 2, taken)
    message = clear_cluster_slot_pb2.ClearClusterSlot(**where, server="servers/s2")
    assert await clear_cluster_slot.probe(message, context("10/1/1")) is None
    await clear_cluster_slot.do(message, context("10/1/1"))
    assert await clear_cluster_slot.probe(message, context("10/1/1")) is not None
    assert await clear_cluster_slot.probe(message, context("11/1/1")) is None
    undone = await clear_cluster_slot.probe(message, context("10/1/1", undoing=True))
    assert undone is not None
    assert undone.changed
    block.write(Path(path), 2, {**taken, "server": "servers/s1"})
    join = join_cluster_pb2.JoinCluster(**where, server="servers/s1")
    assert await join_cluster.probe(join, context("11/1/1")) is None
    assert block.read(Path(path), 2, 1) != [None]
    assert await join_cluster.probe(join, context("9/2/1")) is None
    assert block.read(Path(path), 2, 1) == [None]
    with pytest.raises(WrongState, match="only servers/s2 itself"):
        await join_cluster.probe(join_cluster_pb2.JoinCluster(**where, server="servers/s2"), context("9", undoing=True))


async def test_a_host_leaves_clusters_that_no_record_has_it_in(jobs: Scheduler, steps: Steps, tmp_path: Path) -> None:
    """Also where the device is gone, of which it cannot tell by itself; those that it is to be in stay; no way back."""
    heartbeat = jobs.agent.host.heartbeat
    for name in ("one", "two"):
        path = str(tmp_path / "share" / name)
        await heartbeat.lay_out(path, name, 4, 1.0, "9/1/1")
        member = Membership(cluster_uid=name, path=path, device_uid=name, slot=1, server="servers/s1", mark="9/1/2")
        await heartbeat.join(member)
    (tmp_path / "share" / "two").unlink()
    others = leave_other_clusters_pb2.LeaveOtherClusters(cluster_uids=["one"])
    step = await steps.do(others, others)
    assert list(step.result(leave_other_clusters_pb2.LeaveOtherClustersResult()).cluster_uids) == ["two"]
    assert [each.cluster_uid for each in heartbeat.renewals()] == ["one"]
    assert not await step.undo()
    assert [each.cluster_uid for each in heartbeat.renewals()] == ["one"]


async def test_a_leave_that_left_nothing_is_not_undone_by_joining(
    jobs: Scheduler, steps: Steps, tmp_path: Path
) -> None:
    """The step changed nothing, so its undo does not either."""
    join = join_cluster_pb2.JoinCluster(cluster_uid="c1", path="/x", device_uid="h1", slot=1, server="servers/s1")
    step = await steps.do(leave_cluster_pb2.LeaveCluster(cluster_uid="c1"), join)
    assert not step.record.changed
    assert not await step.undo()


def test_every_message_of_the_package_has_an_action() -> None:
    """Each action message that is not a result, or a part of one, is served by a file of its own name."""
    catalogue = load()
    packages = [
        claim_host_pb2,
        create_disk_file_pb2,
        create_repository_folder_pb2,
        erase_disk_files_pb2,
        join_cluster_pb2,
        kill_guest_pb2,
        lay_out_heartbeat_device_pb2,
        leave_cluster_pb2,
        release_host_pb2,
        remove_heartbeat_device_pb2,
        remove_repository_folder_pb2,
        restore_disk_file_pb2,
        start_guest_pb2,
        trash_disk_file_pb2,
    ]
    for package in packages:
        names = list(package.DESCRIPTOR.message_types_by_name)
        asked = [name for name in names if f"{name}Result" in names]
        assert len(asked) == 1
        assert f"virtyard.api.actions.v1.{asked[0]}" in catalogue


@pytest.mark.parametrize("running", [True, False])
async def test_a_probe_finds_a_guest_by_its_mark(jobs: Scheduler, tmp_path: Path, running: bool) -> None:
    """A running guest of the mark is the outcome; one that ended is cleared away; another mark's is left alone."""
    action = load()["virtyard.api.actions.v1.StartGuest"]

    def context(mark: str) -> Context:
        return Context(host=jobs.agent.host, mark=mark, undoing=False, progress=lambda done, total, stage: None)

    message = start(tmp_path)
    await action.do(message, context("50/1/1"))
    if not running:
        jobs.agent.host.hypervisor.end(UID)  # type: ignore[attr-defined]  # the simulation's way to crash a guest
    assert await action.probe(message, context("51/1/1")) is None
    assert len(await jobs.agent.host.hypervisor.guests()) == 1
    found = await action.probe(message, context("50/1/1"))
    assert (found is not None) == running
    assert len(await jobs.agent.host.hypervisor.guests()) == running


def attach(folder: Path, **fields: str) -> attach_repository_pb2.AttachRepository:
    """The attachment of the one repository."""
    return attach_repository_pb2.AttachRepository(**{"repository": "repositories/r", **place(folder), **fields})


DETACH = detach_repository_pb2.DetachRepository(repository_uid="r1")


async def test_a_repository_is_attached_once_and_its_undo_lets_it_go(
    jobs: Scheduler, steps: Steps, tmp_path: Path
) -> None:
    """The second time it is there already, and undoing that does nothing."""
    first = await steps.do(attach(tmp_path), DETACH)
    again = await steps.do(attach(tmp_path), DETACH)
    assert (first.record.changed, again.record.changed) == (True, False)
    assert not await again.undo()
    assert jobs.agent.host.attachments.mark("r1") is not None
    assert await first.undo()
    assert jobs.agent.host.attachments.mark("r1") is None


async def test_a_folder_that_is_not_the_repository_is_not_attached(
    jobs: Scheduler, steps: Steps, tmp_path: Path
) -> None:
    """Another uid, an empty folder, and one outside the storage roots are refused with their reason."""
    other = await steps.do(attach(tmp_path, repository_uid="r2"), DETACH)
    assert "another repository" in other.error.message
    absent = await steps.do(attach(tmp_path, repository_path=str(tmp_path / "share" / "no")), DETACH)
    assert "not mounted" in absent.error.message
    outside = await steps.do(attach(tmp_path, repository_path="/etc"), DETACH)
    assert outside.error.reason == "INVALID_REQUEST"
    assert jobs.agent.host.attachments.mark("r1") is None


async def test_a_repository_that_was_given_up_is_put_back_by_the_undo(
    jobs: Scheduler, steps: Steps, tmp_path: Path
) -> None:
    """With the mark of before, even where its storage is gone meanwhile; nothing is put back that was not there."""
    await steps.do(attach(tmp_path), DETACH)
    mark = jobs.agent.host.attachments.mark("r1")
    given_up = await steps.do(DETACH, attach(tmp_path))
    nothing = await steps.do(DETACH, attach(tmp_path))
    assert (given_up.record.changed, nothing.record.changed) == (True, False)
    assert not await nothing.undo()
    (tmp_path / "share" / "repo").rename(tmp_path / "share" / "away")
    assert await given_up.undo()
    assert jobs.agent.host.attachments.mark("r1") == mark


async def test_a_probe_finds_an_attachment_by_its_mark(jobs: Scheduler, steps: Steps, tmp_path: Path) -> None:
    """Its own is done; another's is not, and neither is a giving up that never happened."""
    await steps.do(attach(tmp_path), DETACH)
    host = jobs.agent.host
    found = {name.rpartition(".")[2]: action for name, action in load().items()}

    def context(mark: str) -> Context:
        return Context(host=host, mark=mark, undoing=False, progress=lambda done, total, stage: None)

    mark = str(host.attachments.mark("r1"))
    assert await found["AttachRepository"].probe(attach(tmp_path), context(mark)) is not None
    assert await found["AttachRepository"].probe(attach(tmp_path), context("99/1/1")) is None
    assert await found["DetachRepository"].probe(DETACH, context("99/1/1")) is None
    await steps.do(DETACH, attach(tmp_path))
    by = str(host.attachments.given_up_by("r1"))
    assert await found["DetachRepository"].probe(DETACH, context(by)) is not None


async def test_all_but_what_a_host_should_have_is_given_up_and_put_back_by_its_undo(
    jobs: Scheduler, steps: Steps, tmp_path: Path
) -> None:
    """By uid, so that what nobody knows any more goes too; its probe finds what it did by the mark."""
    await steps.do(attach(tmp_path), DETACH)
    attachments = jobs.agent.host.attachments
    mark = attachments.mark("r1")
    keep = detach_other_repositories_pb2.DetachOtherRepositories(repository_uids=["r1"])
    nothing = await steps.do(keep, keep)
    assert (nothing.record.changed, attachments.mark("r1")) == (False, mark)
    others = detach_other_repositories_pb2.DetachOtherRepositories(repository_uids=["r2"])
    probe = load()[others.DESCRIPTOR.full_name].probe
    given_up = await steps.do(others, others)
    result = given_up.result(detach_other_repositories_pb2.DetachOtherRepositoriesResult())
    assert (list(result.repositories), attachments.mark("r1")) == (["repositories/r"], None)
    context = Context(
        host=jobs.agent.host, mark=given_up.sent.step_key, undoing=False, progress=lambda done, total, stage: None
    )
    found = await probe(others, context)
    assert found is not None
    assert found.result == result
    assert await probe(others, replace(context, mark="99/1/1")) is None
    assert not await nothing.undo()
    assert await given_up.undo()
    assert attachments.mark("r1") == mark


def bridge(uid: str) -> create_bridge_pb2.CreateBridge:
    """The bridge of a network."""
    return create_bridge_pb2.CreateBridge(network=f"networks/{uid}", uid=uid, bridge=f"vy{uid}")


async def bridges(jobs: Scheduler) -> list[str]:
    """The bridges that the host has."""
    return [each.name for each in await jobs.agent.host.network.bridges()]


async def test_all_bridges_but_those_that_a_host_should_have_are_removed_for_good(
    jobs: Scheduler, steps: Steps
) -> None:
    """By uid, so that what nobody knows any more goes too; no record explains it, so no undo brings it back."""
    for uid in ("n1", "n2", "n3"):
        await steps.do(bridge(uid))
    others = remove_other_bridges_pb2.RemoveOtherBridges(network_uids=["n2"])
    removed = await steps.do(others, others)
    result = removed.result(remove_other_bridges_pb2.RemoveOtherBridgesResult())
    assert (list(result.removed), list(result.used)) == (["vyn1", "vyn3"], [])
    assert not (await steps.do(others, others)).record.changed
    assert not await removed.undo()
    assert await bridges(jobs) == ["vyn2"]


async def test_a_bridge_that_guests_are_plugged_into_stays(
    jobs: Scheduler, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the records say, nobody's guest loses its network by a cleaning; the others go all the same."""
    remove = SimNetwork.remove_bridge

    async def refuse_n1(network: SimNetwork, name: str, uid: str, mark: str | None = None) -> bool:
        if uid == "n1":
            raise WrongState(f"guests are plugged into {name}: vyt1")
        return await remove(network, name, uid, mark)

    monkeypatch.setattr(SimNetwork, "remove_bridge", refuse_n1)
    for uid in ("n1", "n2"):
        await steps.do(bridge(uid))
    removed = await steps.do(remove_other_bridges_pb2.RemoveOtherBridges())
    result = removed.result(remove_other_bridges_pb2.RemoveOtherBridgesResult())
    assert (list(result.removed), list(result.used)) == (["vyn2"], ["vyn1"])
    assert await bridges(jobs) == ["vyn1"]


async def test_a_host_that_cannot_carry_networks_is_no_worse_for_being_asked(
    jobs: Scheduler, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no bridges to lose, so that it can be discovered, refreshed and forgotten like others."""
    monkeypatch.setattr(jobs.agent.host.network, "unsupported", "there is no rtnetlink")
    removed = await steps.do(remove_other_bridges_pb2.RemoveOtherBridges())
    assert (removed.record.state, removed.record.changed) == (DONE, False)


async def test_a_removed_repository_is_attached_no_more(jobs: Scheduler, steps: Steps, tmp_path: Path) -> None:
    """The host that removes the folder forgets it with it."""
    await steps.do(attach(tmp_path), DETACH)
    await steps.do(trash_disk_file_pb2.TrashDiskFile(**place(tmp_path), disk_uid="d1"))
    await steps.do(erase_disk_files_pb2.EraseDiskFiles(**place(tmp_path), disk_uids=["d1"]))
    await steps.do(remove_repository_folder_pb2.RemoveRepositoryFolder(**place(tmp_path)))
    assert jobs.agent.host.attachments.mark("r1") is None


def scan(folder: Path, *uids: str) -> scan_repository_pb2.ScanRepository:
    """A scan that looks for the images of these disks."""
    files = [scan_repository_pb2.ScannedFile(object=f"virtualDisks/{uid}", uid=uid) for uid in uids]
    return scan_repository_pb2.ScanRepository(repository="repositories/r", **place(folder), files=files)


async def test_a_scan_tells_what_is_missing_and_what_does_not_belong(steps: Steps, tmp_path: Path) -> None:
    """One finding for each, on the disk or the repository; no file is changed, and there is nothing to undo."""
    repository = tmp_path / "share" / "repo"
    (repository / "thesis.txt").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    look = scan(tmp_path, "d1", "d2")
    step = await steps.do(look, look)
    result = step.result(scan_repository_pb2.ScanRepositoryResult())
    assert (list(result.images), list(result.missing), list(result.foreign_files)) == (["d1"], ["d2"], ["thesis.txt"])
    assert 0 < result.free_bytes <= result.total_bytes
    assert [(found.type, found.object) for found in result.findings] == [
        ("IMAGE_MISSING", "virtualDisks/d2"),
        ("FOREIGN_FILE", "repositories/r"),
    ]
    assert not await step.undo()
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


async def test_a_folder_of_strangers_is_told_in_few_words(steps: Steps, tmp_path: Path) -> None:
    """A hundred are named, the rest is a number."""
    for number in range(103):
        (tmp_path / "share" / "repo" / f"stranger{number:03}").write_text("")
    result = (await steps.do(scan(tmp_path, "d1"))).result(scan_repository_pb2.ScanRepositoryResult())
    assert (len(result.foreign_files), result.foreign_count, len(result.findings)) == (100, 103, 101)
    assert result.findings[-1].message.startswith("3 more files in repositories/r")


async def test_a_look_at_the_host_tells_its_facts(steps: Steps, tmp_path: Path) -> None:
    """As they are now, with the guests that run; asked of another server it is refused."""
    await steps.do(start(tmp_path), KILL)
    seen = await steps.do(refresh_host_pb2.RefreshHost(server="servers/s1"))
    result = seen.result(refresh_host_pb2.RefreshHostResult())
    assert (result.host.server, result.running_guests) == ("servers/s1", 1)
    assert not seen.record.changed
    other = await steps.do(refresh_host_pb2.RefreshHost(server="servers/s2"))
    assert other.error.reason == "INVALID_REQUEST"
