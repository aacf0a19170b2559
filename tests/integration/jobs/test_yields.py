"""A stop that yields to a kill: whoever else waits, and whatever becomes of the kill, the inventory is true (P12)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_control import hold, release
from tests.invariants.records import read
from tests.invariants.services import ALWAYS
from virtyard.agent.actions.contract import Context
from virtyard.api.actions.v1 import shut_down_guest_pb2
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import (
    job_pb2,
    job_service_pb2,
    lock_control_service_pb2,
    lock_control_service_pb2_grpc,
    operation_pb2,
)
from virtyard.api.operations.v1 import (
    kill_virtual_machine_pb2,
    rename_virtual_machine_pb2,
    start_virtual_machine_pb2,
    stop_virtual_machine_pb2,
)
from virtyard.internal.inventory.v1 import host_service_pb2, host_service_pb2_grpc
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.inventory.model import EndedGuest
from virtyard.jobs import preemption
from virtyard.jobs.lock_break import BreakRequest
from virtyard.jobs.preemption import Preemption
from virtyard.kernel.permissions import Principal
from virtyard.kernel.plan import update
from virtyard.locks import table
from virtyard.operations import running
from virtyard.runtime.local import LocalChannel

WEB = "virtualMachines/web"
KILL = kill_virtual_machine_pb2.KillVirtualMachineRequest(name=WEB)
RENAME = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=WEB, display_name="other")
RUNNING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
STOPPED = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
CANCELLED = operation_pb2.OPERATION_STATE_CANCELLED
PARTIAL = job_pb2.OUTCOME_PARTIAL


class HungShutdown:
    """A shutdown that ends neither by itself nor, until `let_go`, by being stopped; the guest may be down by then."""

    def __init__(self, *, down: bool) -> None:
        """Hang before the guest is down, or after it."""
        self.down = down
        self.hung = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, message: Message, context: Context) -> None:
        """Hang."""
        assert isinstance(message, shut_down_guest_pb2.ShutDownGuest)
        if self.down:
            await context.host.hypervisor.shut_down(message.uid, message.grace_seconds, on_wait=lambda _: None)
        self.hung.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.let_go.wait()


async def hang(site: Site, *, down: bool) -> tuple[HungShutdown, str]:
    """Have the machine web run, and a stop of it hang; return how to let it go on, and the stop."""
    (site.share / "vmlinuz").write_bytes(b"a kernel")
    web = machine("web", disks=0, vnics=0)
    web.virtual_machine.boot.kernel_path = str(site.share / "vmlinuz")
    await site.succeed(web)
    await site.succeed(start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB, server="servers/s1"))
    await site.wait_released()
    hung = site.faults.before["ShutDownGuest"] = HungShutdown(down=down)
    stop = (await site.submit(stop_virtual_machine_pb2.StopVirtualMachineRequest(name=WEB, grace_seconds=600))).name
    async with asyncio.timeout(LIMIT):
        await hung.hung.wait()
    return hung, stop


async def record_of(site: Site, name: str) -> record_pb2.OperationRecord:
    """Return the record of an operation, as it is stored."""
    return (await site.jobs.scheduler.world.store.get(int(name.partition("/")[2]))).record


async def preempt(site: Site, stop: str) -> str:
    """Submit a kill, and return it once the stop yields to it."""
    kill = (await site.submit(KILL)).name

    async def yields() -> bool:
        return (await record_of(site, stop)).superseded_by == kill

    await site.wait_until(yields)
    return kill


async def waits(site: Site, name: str) -> None:
    """Wait until the lock service has queued an operation."""

    async def queued() -> bool:
        return any(
            view.owner == name and view.granted is None for view in await site.jobs.scheduler.world.locks.locks()
        )

    await site.wait_until(queued)


async def abort(site: Site, name: str) -> None:
    """Ask for an abort of the only job of an operation."""
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=f"jobs/{name.partition('/')[2]}-1"))


async def guest_runs(site: Site) -> bool:
    """Tell whether the guest of the machine runs on its host."""
    found = (await site.objects())[WEB]
    assert isinstance(found, virtual_machine_pb2.VirtualMachine)
    return not await site.agents["s1"].host.hypervisor.is_down(found.uid)


async def state_of(site: Site) -> tuple[virtual_machine_pb2.VirtualMachineState.ValueType, bool]:
    """Return the state that is recorded of the machine, and whether its guest runs."""
    found = (await site.objects())[WEB]
    assert isinstance(found, virtual_machine_pb2.VirtualMachine)
    return found.state, await guest_runs(site)


def meta(operation: operations_pb2.Operation) -> operation_pb2.OperationMetadata:
    """Return what an operation shows of itself."""
    found = operation_pb2.OperationMetadata()
    assert operation.metadata.Unpack(found)
    return found


async def test_a_kill_goes_before_whoever_waited_longer(site: Site) -> None:
    """The stop's locks pass to the kill, not to the rename before it, which gets them then (P12)."""
    hung, stop = await hang(site, down=True)
    rename = (await site.submit(RENAME)).name
    await waits(site, rename)
    kill = await preempt(site, stop)
    hung.let_go.set()
    for each in (kill, rename):
        assert not (await site.wait(each)).HasField("error")
    assert meta(await site.wait(stop)).superseded_by == kill
    killed, renamed = await record_of(site, kill), await record_of(site, rename)
    assert min(each.fencing_token for each in renamed.tokens) > max(each.fencing_token for each in killed.tokens)
    assert await state_of(site) == (STOPPED, False)


@pytest.mark.parametrize("down", [True, False])
async def test_a_kill_that_is_aborted_before_its_grant_leaves_a_true_inventory(site: Site, *, down: bool) -> None:
    """What nobody takes over is undone as after any abort: the guest runs, as is recorded."""
    hung, stop = await hang(site, down=down)
    kill = await preempt(site, stop)
    await abort(site, kill)
    assert meta(await site.wait(kill)).state == CANCELLED
    hung.let_go.set()
    ended = meta(await site.wait(stop))
    assert (ended.state, ended.outcome) == (CANCELLED, job_pb2.OUTCOME_NONE)
    assert ended.superseded_by == ""  # its way back has made its record true again
    assert site.faults.done["undo BootGuest"] == int(down)
    assert await state_of(site) == (RUNNING, True)
    await site.wait_released()


async def is_broken(site: Site, name: str) -> bool:
    """Return whether somebody breaks the locks of an operation."""
    return (await record_of(site, name)).HasField("broken")


@pytest.mark.parametrize(("kept", "broken"), [(True, False), (True, True), (False, False), (False, True)])
async def test_a_guest_that_was_reported_down_in_a_stop_is_recorded_as_it_runs_afterwards(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, kept: bool, broken: bool
) -> None:
    """An inventory that has not heard of the stop takes the guest for ended; the way back has the last word."""
    if not kept:
        monkeypatch.setattr(running, "update", lambda machine, *_: update(machine, "description"))
    hung, stop = await hang(site, down=True)
    store = site.inventory.presence._store
    (recorded,) = await store.recorded_guests("servers/s1")
    by_guest = agent_service_pb2.GUEST_END_BY_GUEST
    await store.record_ended("servers/s1", [EndedGuest(guest=recorded, end=by_guest, reason="it is down")])
    assert await state_of(site) == (STOPPED, False)
    if broken:
        stub: Any = lock_control_service_pb2_grpc.LockControlServiceStub(site._near["jobs"])
        asked = asyncio.ensure_future(
            stub.BreakLock(lock_control_service_pb2.BreakLockRequest(target=stop, reason="it hangs"))
        )
        await site.wait_until(lambda: is_broken(site, stop))
        hung.let_go.set()
        assert (await asked).freed
    else:
        await abort(site, stop)
        hung.let_go.set()
    assert meta(await site.wait(stop)).state == CANCELLED
    assert await state_of(site) == (RUNNING if kept else STOPPED, True)
    await site.wait_released()


async def test_without_looking_for_the_kill_a_machine_counts_as_running_that_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switched off, the test above would fail: a stop that trusts in its kill leaves a guest that is down."""

    async def trust(self: Preemption, yielding: str, by: str) -> bool:
        return True

    monkeypatch.setattr(Preemption, "take_over", trust)
    hung, stop = await hang(site, down=True)
    kill = await preempt(site, stop)
    await abort(site, kill)
    await site.wait(kill)
    hung.let_go.set()
    await site.wait(stop)
    assert await state_of(site) == (RUNNING, False)


async def test_without_inheritance_the_one_that_waited_longer_goes_first(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switched off, the first test would fail: the rename, queued before the kill, has the machine first."""
    monkeypatch.setattr(table, "inherits", lambda heir, left, objects: False)
    hung, stop = await hang(site, down=True)
    rename = (await site.submit(RENAME)).name
    await waits(site, rename)
    kill = await preempt(site, stop)
    hung.let_go.set()
    for each in (kill, rename):
        await site.wait(each)
    killed, renamed = await record_of(site, kill), await record_of(site, rename)
    assert max(each.fencing_token for each in renamed.tokens) < min(each.fencing_token for each in killed.tokens)


async def test_a_kill_that_has_taken_over_is_not_aborted(site: Site) -> None:
    """From the take-over on an abort is too late, though the kill has no locks yet: the stop is not undone any more."""
    hung, stop = await hang(site, down=True)
    kill = await preempt(site, stop)
    late: list[str] = []
    take_over = Preemption.take_over

    async def abort_right_after(self: Preemption, yielding: str, by: str) -> bool:
        taken = await take_over(self, yielding, by)
        await abort(site, kill)
        late.append(by)
        return taken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preemption, "take_over", abort_right_after)
        hung.let_go.set()
        killed = meta(await site.wait(kill))
        stopped = meta(await site.wait(stop))
    assert late == [kill]
    assert (killed.state, killed.too_late) == (operation_pb2.OPERATION_STATE_SUCCEEDED, True)
    assert stopped.superseded_by == kill
    assert await state_of(site) == (STOPPED, False)


async def break_locks(site: Site, name: str) -> None:
    """Break the locks of an operation, as an administrator does."""
    asked = BreakRequest(principal="user/admin", reason="it is in the way", object=WEB)
    assert await site.jobs.scheduler.break_locks(int(name.partition("/")[2]), asked, LIMIT) == []


async def report_guests(site: Site) -> None:
    """Have the host of the machine report its guests, often enough for any conclusion."""
    async with LocalChannel(site.inventory.services, Principal.of("agent/s1")) as channel:
        stub: Any = host_service_pb2_grpc.HostServiceStub(channel)
        for _ in range(3):
            host = await site.agents["s1"].facts.look()
            assert (await stub.ReportHost(host_service_pb2.ReportHostRequest(host=host))).known


@pytest.mark.parametrize("forget", [False, True], ids=["told", "forgotten"])
async def test_a_kill_whose_locks_are_broken_owes_what_it_took_over(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, forget: bool
) -> None:
    """It says what was given up for it, and the host's report makes the record true; forgotten, the checker tells."""
    hung, stop = await hang(site, down=True)
    kill = await preempt(site, stop)
    take_over = Preemption.take_over

    async def break_right_after(self: Preemption, yielding: str, by: str) -> bool:
        taken = await take_over(self, yielding, by)
        await break_locks(site, kill)
        return taken

    monkeypatch.setattr(Preemption, "take_over", break_right_after)
    if forget:
        monkeypatch.setattr(preemption, "mark_unfinished", lambda shape, record: None)
    hung.let_go.set()
    assert meta(await site.wait(stop)).superseded_by == kill
    killed = await site.wait(kill)
    assert killed.error.message.startswith("its locks were broken by user/admin")
    await site.wait_released()
    found = [line for check in ALWAYS for line in check(read(site.folder)) if "operations/" in line]
    assert bool(found) is forget, found
    if not forget:
        assert (meta(killed).state, meta(killed).outcome) == (operation_pb2.OPERATION_STATE_FAILED, PARTIAL)
        (job,) = await site.jobs_of(kill)
        assert (job.outcome, list(job.residue)) == (
            PARTIAL,
            [f"{stop} gave up its undo for this; {WEB} is recorded as its host reports it"],
        )
    assert await state_of(site) == (RUNNING, False)
    await report_guests(site)
    assert await state_of(site) == (STOPPED, False)
    (told,) = [each for each in await site.events(WEB, "INFORMATIONAL") if each.type.startswith("MACHINE_STOPPED_")]
    assert not told.operation


async def test_a_kill_whose_locks_are_broken_before_it_took_over_takes_over_nothing(site: Site) -> None:
    """The stop is undone, as nobody is left whose end would make that void."""
    hung, stop = await hang(site, down=True)
    kill = await preempt(site, stop)
    await break_locks(site, kill)
    hung.let_go.set()
    for each in (kill, stop):
        ended = meta(await site.wait(each))
        assert (ended.state, ended.outcome, ended.superseded_by) == (CANCELLED, job_pb2.OUTCOME_NONE, "")
    assert await state_of(site) == (RUNNING, True)


async def test_a_kill_that_has_taken_over_waits_for_its_host(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is lost after the take-over is waited for; ending then would leave a guest down for good."""
    hung, stop = await hang(site, down=True)
    kill = await preempt(site, stop)
    take_over = Preemption.take_over

    async def lose_host(self: Preemption, yielding: str, by: str) -> bool:
        taken = await take_over(self, yielding, by)
        await site.close_agent("s1")
        return taken

    monkeypatch.setattr(Preemption, "take_over", lose_host)
    hung.let_go.set()
    assert meta(await site.wait(stop)).superseded_by == kill

    async def begun() -> bool:
        return (await site.job_states(kill)) == ["RUNNING"]

    await site.wait_until(begun)
    await site.open_agent("s1")
    assert not (await site.wait(kill)).HasField("error")
    assert await state_of(site) == (STOPPED, False)


async def test_a_kill_that_is_set_aside_takes_nothing_over(site: Site) -> None:
    """Nobody knows how long it stays so, or whether it goes on at all: the stop is undone, and the kill comes later."""
    hung, stop = await hang(site, down=True)
    kill = await preempt(site, stop)
    await hold(site, kill)
    hung.let_go.set()
    assert meta(await site.wait(stop)).superseded_by == ""
    assert await state_of(site) == (RUNNING, True)
    await release(site, kill)
    assert not (await site.wait(kill)).HasField("error")
    assert await state_of(site) == (STOPPED, False)


async def die_at(site: Site, moment: str) -> None:
    """Return once the scheduler has ended right after the next commit of this name, before anybody heard of it."""
    dead = asyncio.Event()

    def die(transition: str) -> None:
        if transition == moment and not dead.is_set():
            site.jobs.scheduler.stop()
            dead.set()

    site.on_transition = die
    async with asyncio.timeout(LIMIT):
        await dead.wait()
    await site.close_jobs()


@pytest.mark.parametrize("moment", ["jobs.superseded", "jobs.takes_over", "jobs.Ct", "locks.L1"])
async def test_a_scheduler_that_dies_between_yield_and_grant_is_followed_by_one_that_goes_on(
    site: Site, moment: str
) -> None:
    """After each commit of the hand-over another scheduler brings it to the same end, past the one that waits."""
    hung, stop = await hang(site, down=True)
    rename = (await site.submit(RENAME)).name
    await waits(site, rename)
    async with asyncio.TaskGroup() as tasks:
        dying = tasks.create_task(die_at(site, moment))
        await asyncio.sleep(0)  # it listens from here on
        kill = (await site.submit(KILL)).name
        hung.let_go.set()
        await dying
    await site.open_jobs()
    for each in (kill, rename):
        assert not (await site.wait(each)).HasField("error")
    assert meta(await site.wait(stop)).superseded_by == kill
    killed, renamed = await record_of(site, kill), await record_of(site, rename)
    assert min(each.fencing_token for each in renamed.tokens) > max(each.fencing_token for each in killed.tokens)
    assert await state_of(site) == (STOPPED, False)


async def test_a_kill_that_is_aborted_after_the_scheduler_died_leaves_a_true_inventory(site: Site) -> None:
    """The next scheduler asks the kill again, and not what the last one knew of it."""
    hung, stop = await hang(site, down=True)
    async with asyncio.TaskGroup() as tasks:
        dying = tasks.create_task(die_at(site, "jobs.Cf"))
        await asyncio.sleep(0)  # it listens from here on
        kill = (await site.submit(KILL)).name
        await dying
    await site.open_jobs()
    await abort(site, kill)
    hung.let_go.set()
    for each in (kill, stop):
        ended = meta(await site.wait(each))
        assert (ended.state, ended.superseded_by) == (CANCELLED, "")
    assert await state_of(site) == (RUNNING, True)
