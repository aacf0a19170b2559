"""When something fails, is aborted, or the scheduler ends: everything is undone or goes on, nothing is done twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.jobs.site import Site, machine
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import create_virtual_machine_pb2
from virtyard.kernel.errors import CapacityExhausted, Unavailable


class Tries:
    """A fault that comes at one of the calls."""

    def __init__(self, *wrong: int, error: Exception | None = None) -> None:
        """Fail at these calls, counted from 1."""
        self.count = 0
        self._wrong = wrong
        self._error = error or CapacityExhausted("the disk is full", resource="repositories/R")

    async def __call__(self, message: object, context: object) -> None:
        """Count, and fail if it is one of them."""
        self.count += 1
        if self.count in self._wrong:
            raise self._error


class Gate:
    """A fault that holds an action until it is opened or stopped."""

    def __init__(self) -> None:
        """Make a closed gate."""
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, message: object, context: object) -> None:
        """Wait."""
        self.reached.set()
        await self.opened.wait()


def rival() -> create_virtual_machine_pb2.CreateVirtualMachineRequest:
    """Return a request that wants the name of the first disk of the machine `web`."""
    request = machine("rival", disks=1)
    request.disks[0].virtual_disk_id = "web-disk0"
    return request


async def state_of(site: Site) -> dict[str, Any]:
    """Return everything that a failed operation must leave as it was."""
    objects = await site.objects()
    for found in objects.values():
        # An undo puts the content back under a higher revision.
        for volatile in ("activity", "generation", "revision", "etag", "update_time", "observed"):
            if volatile in found.DESCRIPTOR.fields_by_name:
                found.ClearField(volatile)
    return {"objects": {name: str(found) for name, found in objects.items()}, "files": site.files()}


@pytest.mark.parametrize("wrong", [1, 2, 3])
async def test_whatever_disk_fails_everything_is_undone(site: Site, wrong: int) -> None:
    """The first, second or third disk does not fit: objects, files and locks are as before, and the cause is named."""
    before = await state_of(site)
    site.faults.before["CreateDiskFile"] = Tries(wrong)
    operation = await site.run(machine("web", disks=3))
    assert operation.error.message == "the disk is full"
    assert await state_of(site) == before
    await site.wait_released()
    states = await site.job_states(operation.name)
    failed = 2 * wrong  # after Create, Add to Pool, and two jobs for each disk before it
    assert states[failed] == "FAILED"
    assert {state for index, state in enumerate(states) if index != failed} == {"ABORTED"}
    assert site.faults.done["undo RemoveDiskFile"] == wrong - 1


async def test_the_name_is_free_again_after_a_failure(site: Site) -> None:
    """The same request succeeds once its cause is gone."""
    site.faults.before["CreateDiskFile"] = Tries(2)
    assert (await site.run(machine("web"))).HasField("error")
    await site.succeed(machine("web"))


async def test_a_transient_failure_is_tried_again(site: Site) -> None:
    """An action that was unavailable for a moment costs another attempt, not the operation (P8)."""
    tries = Tries(1, error=Unavailable("not now"))
    site.faults.before["CreateDiskFile"] = tries
    await site.succeed(machine("web", disks=1))
    assert tries.count == 2
    assert site.faults.done["CreateDiskFile"] == 1


async def test_an_abort_in_the_middle_of_a_disk_undoes_everything(site: Site) -> None:
    """The running action is stopped, what was done is undone, and the operation ends CANCELLED."""
    before = await state_of(site)
    gate = site.faults.before["CreateDiskFile"] = Gate()
    name = (await site.submit(machine("web"))).name
    await gate.reached.wait()
    number = name.partition("/")[2]
    answer = await site.service.AbortJob(
        job_service_pb2.AbortJobRequest(name=f"jobs/{number}-1", reason="changed mind")
    )
    assert not answer.too_late
    operation = await site.wait(name)
    metadata = operation_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)
    assert metadata.state == operation_pb2.OPERATION_STATE_CANCELLED
    assert "changed mind" in operation.error.message
    assert await state_of(site) == before
    assert set(await site.job_states(name)) == {"ABORTED"}
    await site.wait_released()


async def test_an_abort_while_waiting_for_locks_leaves_nothing(site: Site) -> None:
    """An operation that has done nothing ends at once, and gives its place in the queue back."""
    gate = site.faults.before["CreateDiskFile"] = Gate()
    first = (await site.submit(machine("web", disks=1))).name
    await gate.reached.wait()
    second = (await site.submit(rival())).name
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=f"jobs/{second.partition('/')[2]}-1"))
    assert (await site.wait(second)).HasField("error")
    gate.opened.set()
    assert not (await site.wait(first)).HasField("error")
    await site.wait_released()


async def test_of_two_on_one_name_the_second_waits_and_says_for_whom(site: Site) -> None:
    """The second shows the first as what it waits for; under the lock it is planned again, and refused."""
    gate = site.faults.before["CreateDiskFile"] = Gate()
    first = (await site.submit(machine("web", disks=1))).name
    await gate.reached.wait()
    second = (await site.submit(rival())).name
    number = second.partition("/")[2]

    async def says_for_whom() -> bool:
        job = await site.service.GetJob(job_service_pb2.GetJobRequest(name=f"jobs/{number}-1"))
        return job.state == job_pb2.JOB_STATE_WAITING_FOR_LOCKS and first in job.waiting_for

    await site.wait_until(says_for_whom)
    gate.opened.set()
    assert not (await site.wait(first)).HasField("error")
    refused = await site.wait(second)
    assert "disks[0].virtual_disk_id" in refused.error.message
    assert (await site.job_states(second))[0] == "FAILED"
    await site.wait_released()


async def test_a_restarted_scheduler_takes_up_what_runs_with_a_higher_epoch(site: Site) -> None:
    """The action goes on meanwhile; its result is taken over and nothing is done twice."""
    gate = site.faults.before["CreateDiskFile"] = Gate()
    name = (await site.submit(machine("web"))).name
    await gate.reached.wait()
    await site.close_jobs()
    gate.opened.set()
    await site.open_jobs()
    operation = await site.wait(name)
    assert not operation.HasField("error"), operation.error
    metadata = operation_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)
    assert metadata.epoch == 2
    assert site.faults.done["CreateDiskFile"] == 2
    assert set(await site.job_states(name)) == {"COMPLETED"}
    await site.wait_released()


async def test_a_restarted_scheduler_goes_on_undoing(site: Site) -> None:
    """A rollback that was interrupted is finished by the next scheduler."""
    before = await state_of(site)
    site.faults.before["CreateDiskFile"] = Tries(2)
    turned = asyncio.Event()
    site.on_transition = lambda transition: turned.set() if transition == "jobs.Cf" else None
    name = (await site.submit(machine("web"))).name
    await turned.wait()
    await site.close_jobs()
    await site.open_jobs()
    assert (await site.wait(name)).error.message == "the disk is full"
    assert await state_of(site) == before
    await site.wait_released()


async def test_a_finished_operation_is_watched_to_its_end_at_once(site: Site) -> None:
    """Whoever comes late is shown the end and no more."""
    name = (await site.succeed(machine("web", disks=0))).name
    assert (await site.wait(name)).done
