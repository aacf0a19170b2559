"""The deadline of an operation: an abort with its cause, whatever the operation waits for, and over restarts."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_failure import Gate, rival, state_of
from tests.integration.jobs.test_lock_break import deaf
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import delete_virtual_machine_pb2
from virtyard.jobs.render import render_metadata
from virtyard.runtime.status import named

SOON = 1.0
"""Seconds until the deadlines here, in which an operation certainly comes to where it waits."""


def until(request: Any, seconds: float) -> Any:
    """Return the request with a deadline so many seconds from now."""
    request.options.deadline.FromDatetime(datetime.now(UTC) + timedelta(seconds=seconds))
    return request


async def cancelled(site: Site, name: str) -> operation_pb2.OperationMetadata:
    """Wait for the end, which must be that of an abort by the deadline, and return the metadata."""
    operation = await site.wait(name)
    metadata = operation_pb2.OperationMetadata.FromString(operation.metadata.value)
    assert (metadata.state, metadata.outcome) == (operation_pb2.OPERATION_STATE_CANCELLED, job_pb2.OUTCOME_NONE)
    assert operation.error.code == code_pb2.CANCELLED
    assert operation.error.message == "aborted, as its deadline came"
    assert {(job.state, job.cause) for job in await site.jobs_of(name)} == {(job_pb2.JOB_STATE_ABORTED, "deadline")}
    return metadata


async def test_what_runs_at_its_deadline_is_undone(site: Site) -> None:
    """The running action is stopped, and everything is as before."""
    before = await state_of(site)
    site.faults.before["CreateDiskFile"] = Gate()
    name = (await site.submit(until(machine("web"), SOON))).name
    assert (await cancelled(site, name)).abort_requested
    assert await state_of(site) == before
    await site.wait_released()


async def test_what_waits_for_locks_at_its_deadline_ends(site: Site) -> None:
    """It gives its place in the queue back, and what it waited for goes on."""
    gate = site.faults.before["CreateDiskFile"] = Gate()
    first = (await site.submit(machine("web", disks=1))).name
    await gate.reached.wait()
    second = (await site.submit(until(rival(), SOON))).name
    await cancelled(site, second)
    gate.opened.set()
    assert not (await site.wait(first)).HasField("error")
    await site.wait_released()


@pytest.mark.parametrize("seconds", [SOON, -1.0], ids=["after it", "before it"])
async def test_a_deadline_survives_a_restart(site: Site, seconds: float) -> None:
    """Whether it comes while the scheduler is down, or when the next one runs already."""
    site.faults.before["CreateDiskFile"] = gate = Gate()
    name = (await site.submit(until(machine("web"), 60))).name
    await gate.reached.wait()
    await site.close_jobs()
    site.skipped += 60 - seconds
    site.jumped += 60 - seconds
    await site.open_jobs()
    await cancelled(site, name)
    await site.wait_released()


async def test_a_jump_of_the_wall_clock_is_no_deadline(site: Site) -> None:
    """An hour forward on the host aborts nothing, and refuses no new deadline that is still to come (R8)."""
    gate = site.faults.before["CreateDiskFile"] = Gate()
    name = (await site.submit(until(machine("web", disks=1), 600))).name
    await gate.reached.wait()
    site.jumped += 3600
    rivals = (await site.submit(until(rival(), 600))).name
    gate.opened.set()
    assert not (await site.wait(name)).HasField("error")
    assert "aborted" not in (await site.wait(rivals)).error.message


async def test_a_deadline_behind_the_pivot_is_too_late(site: Site) -> None:
    """It is recorded, and everything is completed (P6)."""
    await site.succeed(machine("web", disks=1))
    gate = site.faults.before["EraseDiskFiles"] = Gate()
    request = delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web")
    name = (await site.submit(until(request, SOON))).name
    await gate.reached.wait()

    async def recorded() -> bool:
        return (await site.jobs_of(name))[0].abort_requested

    await site.wait_until(recorded)
    gate.opened.set()
    operation = await site.wait(name)
    metadata = operation_pb2.OperationMetadata.FromString(operation.metadata.value)
    assert (metadata.state, metadata.too_late) == (operation_pb2.OPERATION_STATE_SUCCEEDED, True)


async def test_a_deadline_during_silence_says_what_it_waits_for(site: Site) -> None:
    """Nothing is guessed: the operation shows that it is aborted and for whom it waits, until the host is back."""
    gate = site.faults.before["CreateDiskFile"] = Gate()
    name = (await site.submit(until(machine("web", disks=1), 3 * SOON))).name
    await gate.reached.wait()
    step = (await site.jobs_of(name))[2].steps[0]
    agent = step.participant.partition("/")[2]
    await site.close_agent(agent)

    async def shown() -> bool:
        metadata = render_metadata(await site.jobs.scheduler.look(int(name.partition("/")[2])))
        return metadata.abort_requested and step.participant in metadata.waiting_for

    await site.wait_until(shown)
    assert await site.job_states(name) != ["ABORTED"] * 5
    await site.open_agent(agent)
    await cancelled(site, name)
    await site.wait_released()


async def test_an_action_that_ignores_an_abort_is_named_while_it_is_waited_for(site: Site) -> None:
    """The operation shows that it is aborted, and which host is told to stop what; the end comes with the action's."""
    gate = Gate()
    site.faults.before["CreateDiskFile"] = deaf(gate)
    name = (await site.submit(machine("web", disks=1))).name
    await gate.reached.wait()
    step = (await site.jobs_of(name))[2].steps[0]
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=f"jobs/{name.partition('/')[2]}-1"))

    async def shown() -> bool:
        metadata = render_metadata(await site.jobs.scheduler.look(int(name.partition("/")[2])))
        wanted = f"{step.participant}, which is told to stop: {step.title}"
        return (metadata.abort_requested, metadata.waiting_for) == (True, wanted)

    await site.wait_until(shown)
    assert await site.held_locks()
    gate.opened.set()
    assert (await site.wait(name)).error.message.startswith("aborted on request")
    await site.wait_released()


@pytest.mark.parametrize(
    ("deadline", "said"),
    [(Timestamp(seconds=1_600_000_000), "has passed"), (Timestamp(seconds=1 << 40), "is no time")],
)
async def test_a_deadline_that_cannot_be_kept_is_refused(site: Site, deadline: Timestamp, said: str) -> None:
    """One that has passed, and one that is no time, are refused by the field's name; nothing is kept."""
    request = machine("web")
    request.options.deadline.CopyFrom(deadline)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await site.submit(request)
    assert "options.deadline" in str(named(caught.value))
    assert said in str(named(caught.value))
    assert "virtualMachines/web" not in await site.objects()


async def test_a_request_is_repeated_after_its_deadline(site: Site) -> None:
    """The same request id gets its operation, however late it is asked again (P26)."""
    request = until(machine("web", disks=0, vnics=0), SOON)
    request.request_id = str(uuid.uuid4())
    name = (await site.submit(request)).name
    await site.wait(name)
    site.skipped += 2 * SOON
    site.jumped += 2 * SOON
    assert (await site.submit(request)).name == name
