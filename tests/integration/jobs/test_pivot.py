"""The point of no return (P6): before it everything is put back, after it the operation goes on to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from google.longrunning import operations_pb2

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_failure import Gate, Tries, state_of
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import delete_virtual_machine_pb2, rename_virtual_machine_pb2
from virtyard.api.participant.v1.participant_service_pb2 import EffectRecord
from virtyard.jobs.model import Operation
from virtyard.jobs.roll_call import Answers, call_roll
from virtyard.kernel.errors import Unavailable

DELETE = delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web")


@pytest.fixture
async def furnished(site: Site) -> Site:
    """Return a site with a machine that has two disks."""
    await site.succeed(machine("web"))
    await site.wait_released()
    return site


def metadata_of(operation: operations_pb2.Operation) -> operation_pb2.OperationMetadata:
    """Return what an operation tells of its run."""
    return operation_pb2.OperationMetadata.FromString(operation.metadata.value)


def abort(name: str) -> job_service_pb2.AbortJobRequest:
    """Return the request to abort an operation by its first job."""
    return job_service_pb2.AbortJobRequest(name=f"jobs/{name.partition('/')[2]}-1", reason="changed mind")


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_abort_after_the_pivot_is_too_late(furnished: Site, restarted: bool) -> None:
    """It is recorded and answered so, also by the next scheduler, and everything is completed."""
    site = furnished
    gate = site.faults.before["EraseDiskFiles"] = Gate()
    name = (await site.submit(DELETE)).name
    await gate.reached.wait()
    if restarted:
        await site.close_jobs()
        await site.open_jobs()
    assert (await site.service.AbortJob(abort(name))).too_late
    gate.opened.set()
    operation = await site.wait(name)
    metadata = metadata_of(operation)
    assert not operation.HasField("error"), operation.error
    assert (metadata.state, metadata.outcome) == (operation_pb2.OPERATION_STATE_SUCCEEDED, job_pb2.OUTCOME_COMPLETE)
    assert metadata.too_late
    job = await site.service.GetJob(job_service_pb2.GetJobRequest(name=f"jobs/{name.partition('/')[2]}-1"))
    assert (job.state, job.abort_requested) == (job_pb2.JOB_STATE_COMPLETED, True)
    assert not [each for each in await site.objects() if "web" in each]
    assert site.faults.done["EraseDiskFiles"] == 1
    await site.wait_released()


async def test_an_abort_before_the_pivot_puts_everything_back(furnished: Site) -> None:
    """The disk that lies in the trash already is back in its place, the machine as it was."""
    site = furnished
    before = await state_of(site)
    gate = Gate()
    tries = Tries()

    async def second_waits(message: object, context: object) -> None:
        await tries(message, context)
        if tries.count == 2:
            await gate(message, context)

    site.faults.before["TrashDiskFile"] = second_waits
    name = (await site.submit(DELETE)).name
    await gate.reached.wait()
    await site.wait_until(lambda: _done(site, "TrashDiskFile"))
    assert not (await site.service.AbortJob(abort(name))).too_late
    operation = await site.wait(name)
    assert metadata_of(operation).state == operation_pb2.OPERATION_STATE_CANCELLED
    assert await state_of(site) == before
    await site.wait_released()


async def _done(site: Site, action: str) -> bool:
    return site.faults.done[action] > 0


@pytest.mark.parametrize("error", [None, Unavailable("the storage is away")])
async def test_a_pivot_that_fails_is_tried_until_it_is_done(furnished: Site, error: Exception | None) -> None:
    """A definite refusal too: there is no way back any more."""
    site = furnished
    tries = site.faults.before["EraseDiskFiles"] = Tries(1, 2, error=error)
    operation = await site.run(DELETE)
    assert not operation.HasField("error"), operation.error
    assert tries.count == 3
    assert site.faults.done["EraseDiskFiles"] == 1
    assert not [each for each in await site.objects() if "web" in each]
    await site.wait_released()


async def test_a_failure_before_the_pivot_puts_everything_back(furnished: Site) -> None:
    """The second disk cannot be moved: the first is back, nothing was erased."""
    site = furnished
    before = await state_of(site)
    site.faults.before["TrashDiskFile"] = Tries(2)
    assert (await site.run(DELETE)).error.message == "the disk is full"
    assert await state_of(site) == before
    assert not site.faults.done["EraseDiskFiles"]
    await site.wait_released()


@pytest.mark.parametrize(
    ("request_", "last"),
    [
        (DELETE, 3),
        (rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="virtualMachines/web", display_name="W"), 1),
    ],
    ids=["pivot", "end"],
)
async def test_an_abort_that_came_in_time_is_kept(
    furnished: Site, monkeypatch: pytest.MonkeyPatch, request_: Any, last: int
) -> None:
    """It is durable before the `last` result, after which the pivot or the end would come: neither comes."""
    site = furnished
    before = await state_of(site)
    answers: list[bool] = []

    async def abort_first(operation: Operation, results: Mapping[str, EffectRecord], **others: Any) -> Answers:
        if operation.record.done_count + len(results) == last:
            answers.append((await site.service.AbortJob(abort(operation.name))).too_late)
        return await call_roll(operation, results, **others)

    monkeypatch.setattr("virtyard.jobs.runner.call_roll", abort_first)
    operation = await site.run(request_)
    assert answers == [False]
    assert metadata_of(operation).state == operation_pb2.OPERATION_STATE_CANCELLED
    assert await state_of(site) == before
    await site.wait_released()
