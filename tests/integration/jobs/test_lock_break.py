"""Locks that a person breaks: what runs is stopped and settled first, and nothing of others is destroyed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest

from tests.integration.jobs.site import Fault, Site, machine
from tests.integration.jobs.test_failure import Gate, Tries, rival, state_of
from virtyard.agent.actions.catalogue import load
from virtyard.api.inventory.v1 import event_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import (
    job_pb2,
    job_service_pb2,
    lock_control_service_pb2,
    lock_control_service_pb2_grpc,
    operation_pb2,
)
from virtyard.api.operations.v1 import delete_virtual_machine_pb2, edit_virtual_machine_pb2, refresh_repository_pb2
from virtyard.jobs import lock_control_rpc
from virtyard.jobs.quarantine import Quarantine
from virtyard.kernel.errors import InvalidRequest, NotFound, VirtyardError, WrongState
from virtyard.runtime.status import named

DISK = "virtualDisks/web-disk0"
WEB = "virtualMachines/web"


async def break_lock(site: Site, target: str, *, force: bool = False, reason: str = "it hangs") -> Any:
    """Break the locks of an owner, or on an object."""
    stub: Any = lock_control_service_pb2_grpc.LockControlServiceStub(site._near["jobs"])
    request = lock_control_service_pb2.BreakLockRequest(target=target, reason=reason, force=force)
    return await stub.BreakLock(request)


async def refusal_of(call: Awaitable[Any]) -> VirtyardError:
    """Return why a call was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return named(caught.value)


async def begin(site: Site, request: Any, action: str = "CreateDiskFile") -> tuple[str, Gate]:
    """Submit, and return the operation once it is in the middle of an action."""
    gate = site.faults.before[action] = Gate()
    name = (await site.submit(request)).name
    await gate.reached.wait()
    return name, gate


async def metadata_of(site: Site, name: str) -> operation_pb2.OperationMetadata:
    """Return what an operation shows of itself."""
    operation = await site.jobs.scheduler.look(int(name.partition("/")[2]))
    return operation_pb2.OperationMetadata(
        state=operation.record.state, held=operation.record.held, epoch=operation.record.epoch
    )


async def begun(site: Site, name: str) -> bool:
    """Return whether the first job of an operation has its locks and has begun."""
    return (await site.job_states(name))[0] == "RUNNING"


async def is_stuck(site: Site, name: str) -> bool:
    """Return whether a job of an operation waits for a decision."""
    return "ROLLBACK_FAILED" in await site.job_states(name)


async def retry(site: Site, name: str) -> None:
    """Ask to undo again what was refused."""
    for job in await site.jobs_of(name):
        if job.state == job_pb2.JOB_STATE_ROLLBACK_FAILED:
            await site.service.RetryJob(job_service_pb2.RetryJobRequest(name=job.name))


async def accept(site: Site, name: str) -> None:
    """Accept whatever the operation leaves."""
    for job in await site.jobs_of(name):
        if job.state == job_pb2.JOB_STATE_ROLLBACK_FAILED:
            await site.service.AcceptJob(job_service_pb2.AcceptJobRequest(name=job.name))


async def refuse(message: Any, context: Any) -> None:
    """Refuse an undo for good."""
    raise WrongState("the disk is in use")


async def broken_events(site: Site, name: str) -> list[event_pb2.Event]:
    """Return the events that tell of a break on an object."""
    return [event for event in await site.events(name) if event.type == "LOCK_BROKEN"]


async def test_a_running_action_is_stopped_and_settled_before_the_locks_are_free(site: Site) -> None:
    """The operation is undone as by an abort, under a higher epoch; a critical event says who did it and why."""
    before = await state_of(site)
    name, _ = await begin(site, machine("web"))
    answer = await break_lock(site, DISK)
    assert (answer.owner, answer.freed, list(answer.unsettled)) == (name, True, [])
    operation = await site.wait(name)
    assert "user/admin: it hangs" in operation.error.message
    metadata = await metadata_of(site, name)
    assert (metadata.state, metadata.epoch) == (operation_pb2.OPERATION_STATE_CANCELLED, 2)
    assert set(await site.job_states(name)) == {"ABORTED"}
    assert await state_of(site) == before
    await site.wait_released()

    async def told() -> bool:
        return bool(await broken_events(site, DISK))

    await site.wait_until(told)
    (event,) = await broken_events(site, DISK)
    assert (event.severity, event.operation) == (event_pb2.SEVERITY_CRITICAL, name)
    assert "user/admin" in event.message


async def test_whoever_waited_gets_the_object_before_the_way_back(site: Site) -> None:
    """The undo asks for its locks as anybody does; the machine of the broken operation is gone in the end."""
    name, gate = await begin(site, machine("web", disks=1))
    second = (await site.submit(rival())).name
    site.faults.before["CreateDiskFile"] = Tries()
    await break_lock(site, name)
    assert not (await site.wait(second)).HasField("error")
    assert (await site.wait(name)).HasField("error")
    assert not gate.opened.is_set()
    found = await site.objects()
    assert {DISK, "virtualMachines/rival"} <= found.keys()
    assert WEB not in found
    await site.wait_released()


async def test_a_silent_host_keeps_the_locks_and_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is guessed: until it is back the operation is held, over a restart of the scheduler too."""
    monkeypatch.setattr(lock_control_rpc, "_PATIENCE", 0.2)
    before = await state_of(site)
    name, _ = await begin(site, machine("web"))
    (silent,) = [each for each in site.agents if site.agents[each].runner.running]
    await site.close_agent(silent)

    async def noticed() -> bool:
        return f"servers/{silent}" in site.jobs.scheduler.world.participants.silent()

    await site.wait_until(noticed)
    answer = await break_lock(site, DISK)
    assert not answer.freed
    assert [(step.participant, step.reason) for step in answer.unsettled] == [
        (f"servers/{silent}", "it does not answer")
    ]
    assert DISK in await site.held_locks()
    assert (await metadata_of(site, name)).held == job_pb2.HELD_REASON_BROKEN
    await site.close_jobs()
    await site.open_jobs()
    assert DISK in await site.held_locks()
    del site.faults.before["CreateDiskFile"]
    await site.open_agent(silent)
    assert (await site.wait(name)).HasField("error")
    assert (await metadata_of(site, name)).held == job_pb2.HELD_REASON_UNSPECIFIED
    assert await state_of(site) == before
    assert site.faults.done["undo CreateDiskFile"] == 0
    await site.wait_released()


async def test_force_frees_and_puts_into_quarantine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others get the lock, but no effect on the object, until the host has answered; a refresh is let through."""
    monkeypatch.setattr(lock_control_rpc, "_PATIENCE", 0.2)
    name, _ = await begin(site, machine("web", disks=1))
    (silent,) = [each for each in site.agents if site.agents[each].runner.running]
    await site.close_agent(silent)
    answer = await break_lock(site, DISK)
    assert not answer.freed
    monkeypatch.setattr(lock_control_rpc, "_PATIENCE", 20.0)
    answer = await break_lock(site, DISK, force=True)
    assert (answer.freed, list(answer.quarantined)) == (True, [DISK])
    site.faults.before["CreateDiskFile"] = Tries()
    refused = await site.run(rival())
    assert "quarantine" in refused.error.message
    assert name in refused.error.message
    await site.close_jobs()
    await site.open_jobs()
    assert "quarantine" in (await site.run(rival())).error.message
    refresh = (await site.submit(refresh_repository_pb2.RefreshRepositoryRequest(name="repositories/R"))).name
    await site.wait_until(lambda: begun(site, refresh))
    await site.open_agent(silent)
    assert not (await site.wait(refresh)).HasField("error")
    assert (await site.wait(name)).HasField("error")
    await site.succeed(rival())
    await site.wait_released()


def deaf(gate: Gate) -> Fault:
    """Return a fault that holds an action however often it is told to stop, as a write into a storage that hangs."""

    async def hold(_message: object, _context: object) -> None:
        gate.reached.set()
        while not gate.opened.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.opened.wait()

    return hold


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
async def test_without_the_quarantine_the_next_one_acts_beside_the_old(
    site: Site, monkeypatch: pytest.MonkeyPatch, on: bool
) -> None:
    """The lock is free by force while the action hangs: only the quarantine keeps the next owner off its object."""
    monkeypatch.setattr(lock_control_rpc, "_PATIENCE", 0.2)
    if not on:
        monkeypatch.setattr(Quarantine, "check", lambda *_: None)

    async def acted(times: int) -> bool:
        return site.faults.done["CreateDiskFile"] == times

    gate = Gate()
    site.faults.before["CreateDiskFile"] = deaf(gate)
    await site.submit(machine("web", disks=1))
    await gate.reached.wait()
    site.faults.before["CreateDiskFile"] = Tries()
    assert (await break_lock(site, DISK)).unsettled
    monkeypatch.setattr(lock_control_rpc, "_PATIENCE", 20.0)
    assert (await break_lock(site, DISK, force=True)).quarantined
    next_one = await site.run(rival())
    assert not gate.opened.is_set()
    assert ("quarantine" in next_one.error.message) is on
    assert await acted(0 if on else 1)
    gate.opened.set()
    await site.wait_until(lambda: acted(1 if on else 2))


async def test_what_others_did_since_is_not_undone(site: Site) -> None:
    """The way back stops where the object was changed in between: a person decides, and the change stays."""
    name, _ = await begin(site, machine("web", disks=1))
    edit = edit_virtual_machine_pb2.EditVirtualMachineRequest(
        virtual_machine=virtual_machine_pb2.VirtualMachine(name=WEB, cpus=2)
    )
    second = (await site.submit(edit)).name
    await break_lock(site, name)
    assert not (await site.wait(second)).HasField("error")
    await site.wait_until(lambda: is_stuck(site, name))
    found: Any = (await site.objects())[WEB]
    assert found.cpus == 2
    residue = [text for job in await site.jobs_of(name) for text in job.residue]
    assert residue
    assert all(f"{WEB} changed since" in text for text in residue)
    refused = await refusal_of(retry(site, name))
    assert isinstance(refused, WrongState)
    assert f"{WEB} changed since" in refused.message
    assert await is_stuck(site, name)
    await accept(site, name)
    assert (await site.wait(name)).HasField("error")
    assert WEB in await site.objects()
    await site.wait_released()


async def test_past_the_point_of_no_return_it_waits_for_a_person(site: Site) -> None:
    """It cannot be undone and must not resume, so it is left to a person, who is told so."""
    await site.succeed(machine("web"))
    gate = Gate()

    async def erase_and_wait(message: Any, context: Any) -> None:
        await load()["virtyard.api.actions.v1.EraseDiskFiles"].do(message, context)
        await gate(message, context)

    site.faults.before["EraseDiskFiles"] = erase_and_wait
    name = (await site.submit(delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=WEB))).name
    await gate.reached.wait()
    assert (await break_lock(site, name)).freed
    await site.wait_until(lambda: is_stuck(site, name))
    jobs = await site.jobs_of(name)
    assert all("past the point of no return" in text for job in jobs for text in job.residue)
    refused = await refusal_of(retry(site, name))
    assert isinstance(refused, WrongState)
    assert "accept what it left" in refused.message
    assert await is_stuck(site, name)
    await accept(site, name)
    assert (await site.wait(name)).HasField("error")
    await site.wait_released()


async def test_before_the_point_of_no_return_it_is_undone(site: Site) -> None:
    """A pivot that never began is none: what was moved to the trash is back."""
    await site.succeed(machine("web"))
    await site.wait_released()
    before = await state_of(site)
    request = delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=WEB)
    name, _ = await begin(site, request, action="TrashDiskFile")
    assert (await break_lock(site, name)).freed
    assert (await site.wait(name)).HasField("error")
    assert await state_of(site) == before
    await site.wait_released()


async def test_an_undo_that_hangs_is_stopped_too(site: Site) -> None:
    """The way back that was under way is settled, and goes on under the new owner's locks."""
    before = await state_of(site)
    site.faults.before["CreateDiskFile"] = Tries(2)
    gate = site.faults.before["undo RemoveDiskFile"] = Gate()
    name = (await site.submit(machine("web"))).name
    await gate.reached.wait()
    del site.faults.before["undo RemoveDiskFile"]
    assert (await break_lock(site, name)).freed
    operation = await site.wait(name)
    assert operation.error.message == "the disk is full"
    assert await state_of(site) == before
    await site.wait_released()


async def test_what_waits_for_a_person_is_not_undone_once_its_locks_are_broken(site: Site) -> None:
    """Nothing is undone without locks: a retry is refused, what was done before is left too, until it is accepted."""
    site.faults.before["CreateDiskFile"] = Tries(2)
    site.faults.before["undo RemoveDiskFile"] = refuse
    name = (await site.submit(machine("web", disks=2))).name
    await site.wait_until(lambda: is_stuck(site, name))
    del site.faults.before["undo RemoveDiskFile"]
    assert (await break_lock(site, name)).freed

    async def is_left() -> bool:
        return WEB in await site.objects() and not await site.held_locks()

    await site.wait_until(is_left)
    refused = await refusal_of(retry(site, name))
    assert isinstance(refused, WrongState)
    assert "without them: accept what it left" in refused.message
    assert site.faults.done["undo RemoveDiskFile"] == 0
    while await is_stuck(site, name):
        await accept(site, name)
    assert (await site.wait(name)).HasField("error")
    assert site.faults.done["undo RemoveDiskFile"] == 0
    await site.wait_released()


async def test_a_break_that_names_nothing_is_refused(site: Site) -> None:
    """Nobody holds it, several hold it, no reason is given, the operation is over: each says what is wrong."""
    assert isinstance(await refusal_of(break_lock(site, DISK)), NotFound)
    first, gate = await begin(site, machine("web", disks=1))
    second = (await site.submit(machine("other", disks=1))).name
    waiting = (await site.submit(rival())).name
    several = await refusal_of(break_lock(site, "serverPools/Finance"))
    assert isinstance(several, InvalidRequest)
    assert first in several.message
    assert second in several.message
    assert "only waits" in (await refusal_of(break_lock(site, waiting))).message
    assert "reason" in (await refusal_of(break_lock(site, first, reason=""))).message
    gate.opened.set()
    await site.wait(first)
    await site.wait(second)
    await site.wait(waiting)
    await site.wait_released()
    assert isinstance(await refusal_of(break_lock(site, first)), NotFound | WrongState)
