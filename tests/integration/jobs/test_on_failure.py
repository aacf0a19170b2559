"""The policies of an operation towards its other jobs when one fails, with a failure in every step of every job."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from tests.integration.jobs import test_pool_failure
from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_failure import Gate, Tries, state_of
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import (
    delete_server_pool_pb2,
    delete_virtual_disk_pb2,
    delete_virtual_machine_pb2,
)
from virtyard.api.type.v1 import submission_pb2
from virtyard.runtime.status import named

poolless = test_pool_failure.site
"""A site whose three servers are in no pool."""

ROLL_BACK, STOP = submission_pb2.ON_FAILURE_ROLL_BACK, submission_pb2.ON_FAILURE_STOP
CONTINUE = submission_pb2.ON_FAILURE_CONTINUE
POLICIES = pytest.mark.parametrize("policy", [ROLL_BACK, STOP, CONTINUE], ids=["roll_back", "stop", "continue"])
MACHINE_STEPS = ("1/1", "2/1", "3/1", "3/2", "4/1", "5/1", "5/2", "6/1", "7/1")
"""Machine, pool, disk, its record, its attachment, the other disk likewise, card."""
POOL_STEPS = ("1/1", "2/1", "2/2", "3/1", "4/1", "5/1", "6/1")
"""Pool, device, its record, the cluster's record, and the three members, which are children of the cluster."""
STATES = {"C": "COMPLETED", "F": "FAILED", "A": "ABORTED"}
MACHINE_LEFT: dict[int, dict[str, str]] = {
    STOP: {
        "1": "FAAAAAA",
        "2": "CFAAAAA",
        "3": "CCFAAAA",
        "4": "CCCFAAA",
        "5": "CCCCFAA",
        "6": "CCCCCFA",
        "7": "CCCCCCF",
    },
    CONTINUE: {
        "1": "FAAAAAA",  # without the machine nothing else has a purpose
        "2": "CFAAAAA",
        "3": "CCFACCC",
        "4": "CCCFCCC",
        "5": "CCCCFAC",
        "6": "CCCCCFC",
        "7": "CCCCCCF",
    },
}
"""By the job that fails: how each job ends."""
MACHINE_OBJECTS = {
    "virtualMachines/web": 0,
    "virtualDisks/web-disk0": 2,
    "virtualDisks/web-disk1": 4,
    "vnics/web-vnic0": 6,
}
"""Each object with the place of the job that makes it."""
POOL_LEFT = {"1": "FAAAAA", "2": "CFAAAA", "3": "CCFAAA", "4": "CCAFAA", "5": "CCAAFA", "6": "CCAAAF"}
"""The cluster needs its device and its members need each other, so both policies keep the same."""


def expected_states(
    left: dict[str, str], step: str, jobs: int, policy: submission_pb2.OnFailure.ValueType
) -> list[str]:
    """Return how the jobs are to end when a step fails."""
    failed = step.partition("/")[0]
    if policy == ROLL_BACK:
        return ["FAILED" if str(number) == failed else "ABORTED" for number in range(1, jobs + 1)]
    return [STATES[letter] for letter in left[failed]]


async def fail(
    site: Site, request: Any, step: str, policy: submission_pb2.OnFailure.ValueType
) -> tuple[Any, operation_pb2.OperationMetadata]:
    """Run an operation of which a step is refused, and return it with its metadata."""
    request.options.on_failure = policy
    site.faults.refused = step
    operation = await site.run(request)
    site.faults.refused = ""
    await site.wait_released()
    return operation, operation_pb2.OperationMetadata.FromString(operation.metadata.value)


def check_end(operation: Any, metadata: operation_pb2.OperationMetadata, states: list[str], step: str) -> None:
    """Compare the operation's end with those of its jobs: an error, or a response and what is missing."""
    kept = "COMPLETED" in states
    state = operation_pb2.OPERATION_STATE_PARTIAL if kept else operation_pb2.OPERATION_STATE_FAILED
    outcome = job_pb2.OUTCOME_PARTIAL if kept else job_pb2.OUTCOME_NONE
    assert (metadata.state, metadata.outcome) == (state, outcome), step
    assert operation.HasField("response") is kept
    if not kept:
        assert operation.error.message == f"step {step} is refused"
    wrong = [text for text in metadata.residue if f"failed: step {step} is refused" in text]
    assert len(wrong) == kept, metadata.residue
    assert len(metadata.residue) == (len(states) - states.count("COMPLETED") if kept else 0)


async def check_jobs(site: Site, name: str, states: list[str], step: str) -> None:
    """Compare what each job says of itself: state, outcome, error, cause, and steps that are done or undone."""
    jobs = await site.jobs_of(name)
    assert [job_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_") for job in jobs] == states, step
    failed = f"jobs/{name.partition('/')[2]}-{step.partition('/')[0]}"
    for job in jobs:
        done = job.state == job_pb2.JOB_STATE_COMPLETED
        assert job.outcome == (job_pb2.OUTCOME_COMPLETE if done else job_pb2.OUTCOME_NONE)
        assert job.cause == ("" if done or job.name == failed else failed)
        assert (job.error.message == f"step {step} is refused") is (job.name == failed)
        assert all((each.state == job_pb2.STEP_STATE_DONE) is done for each in job.steps)
        assert job.done
        assert job.summary_done


@POLICIES
async def test_a_machine_keeps_what_its_policy_says_whichever_step_fails(
    site: Site, policy: submission_pb2.OnFailure.ValueType
) -> None:
    """Proves ends, objects and files for a failure in each of the nine steps of Create Virtual Machine."""
    before = await state_of(site)
    for step in MACHINE_STEPS:
        operation, metadata = await fail(site, machine("web"), step, policy)
        states = expected_states(MACHINE_LEFT.get(policy, {}), step, 7, policy)
        check_end(operation, metadata, states, step)
        await check_jobs(site, operation.name, states, step)
        left = {name for name in await site.objects() if "web" in name}
        made = {
            "virtualMachines/web": 0,
            "virtualDisks/web-disk0": 2,
            "virtualDisks/web-disk1": 4,
            "vnics/web-vnic0": 6,
        }
        assert left == {name for name, job in made.items() if states[job] == "COMPLETED"}, step
        disks = [name for name in left if name.startswith("virtualDisks")]
        assert len(site.files()) == len(before["files"]) + 2 * len(disks), step  # an image and its mark
        objects = await site.objects()
        for number, name in enumerate(("virtualDisks/web-disk0", "virtualDisks/web-disk1")):
            if name in left:
                attached = states[3 + 2 * number] == "COMPLETED"
                assert bool(objects[name].virtual_machine) is attached, step  # type: ignore[attr-defined]
        if step == "3/1" and policy != ROLL_BACK:
            told = [event.type for event in await site.events("virtualDisks/web-disk0")]
            assert told == ["JOB_FAILED"] * len(told)
            assert told
        await remove_machine(site, left)
        assert await state_of(site) == before, step


async def remove_machine(site: Site, left: set[str]) -> None:
    """Delete what a creation kept."""
    if "virtualMachines/web" in left:
        await site.succeed(delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web"))
    for name in await site.objects():
        if "web-disk" in name:
            await site.succeed(delete_virtual_disk_pb2.DeleteVirtualDiskRequest(name=name))
    await site.wait_released()


@POLICIES
async def test_a_clustered_pool_keeps_what_its_policy_says_whichever_step_fails(
    poolless: Site, policy: submission_pb2.OnFailure.ValueType
) -> None:
    """Proves ends, objects, files and members for a failure in each step; what is kept can be deleted."""
    site = poolless
    before = await state_of(site)
    for step in POOL_STEPS:
        operation, metadata = await fail(site, test_pool_failure.pool(site), step, policy)
        states = expected_states(POOL_LEFT, step, 6, policy)
        check_end(operation, metadata, states, step)
        await check_jobs(site, operation.name, states, step)
        assert test_pool_failure.memberships(site) == []
        left = {name for name in await site.objects() if name.endswith("/Finance")}
        made = {"serverPools/Finance": 0, "heartbeatDevices/Finance": 1}
        assert left == {name for name, job in made.items() if states[job] == "COMPLETED"}, step
        if left:
            await site.succeed(delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/Finance"))
        assert await state_of(site) == before, step


async def test_a_policy_that_makes_no_sense_is_refused(site: Site) -> None:
    """What has a point of no return is undone or followed by all the rest: STOP and CONTINUE are refused by name."""
    await site.succeed(machine("web"))
    request = delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web")
    for policy, word in ((STOP, "stop"), (CONTINUE, "continue")):
        request.options.on_failure = policy
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await site.submit(request)
        error = named(caught.value)
        assert error.reason == "INVALID_REQUEST"
        assert "options.on_failure" in str(error)
        assert word in str(error)
    assert "virtualMachines/web" in await site.objects()
    request.options.on_failure = ROLL_BACK
    await site.succeed(request)


def held_back(policy: submission_pb2.OnFailure.ValueType) -> Any:
    """Return the request for a machine of two disks under a policy."""
    request = machine("web")
    request.options.on_failure = policy
    return request


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("policy", [ROLL_BACK, STOP])
async def test_locks_that_nothing_needs_go_early_where_finished_jobs_are_kept(
    site: Site, policy: submission_pb2.OnFailure.ValueType, restarted: bool
) -> None:
    """While the second disk is made the first is free under STOP, and still locked where it may have to be undone."""
    gate = SecondWaits()
    site.faults.before["CreateDiskFile"] = gate
    name = (await site.submit(held_back(policy))).name
    await gate.reached.wait()
    if policy == STOP:
        await site.wait_until(lambda: is_free(site, "virtualDisks/web-disk0"))
    held = set(await site.held_locks())
    assert ("virtualDisks/web-disk0" in held) is (policy == ROLL_BACK)
    assert held >= {
        *("virtualDisks/web-disk1", "vnics/web-vnic0", "virtualMachines/web"),
        *("serverPools/Finance", "repositories/R"),
    }
    if restarted:
        await site.close_jobs()
        await site.open_jobs()
    gate.opened.set()
    operation = await site.wait(name)
    assert not operation.HasField("error"), operation.error
    assert set(await site.job_states(name)) == {"COMPLETED"}
    await site.wait_released()


class SecondWaits:
    """A fault that holds the second call until it is opened or stopped."""

    def __init__(self) -> None:
        """Make a closed gate behind the first call."""
        self._calls, self._gate = Tries(), Gate()
        self.reached, self.opened = self._gate.reached, self._gate.opened

    async def __call__(self, message: object, context: object) -> None:
        """Wait at the second call."""
        await self._calls(message, context)
        if self._calls.count == 2:
            await self._gate(message, context)


async def is_free(site: Site, name: str) -> bool:
    """Return whether nobody has an object locked."""
    return name not in await site.held_locks()


@pytest.mark.parametrize("policy", [STOP, CONTINUE])
async def test_an_abort_keeps_what_is_finished(site: Site, policy: submission_pb2.OnFailure.ValueType) -> None:
    """What runs is stopped and undone, jobs that are through stay, and the operation is CANCELLED and partial."""
    gate = site.faults.before["CreateDiskFile"] = SecondWaits()
    name = (await site.submit(held_back(policy))).name
    await gate.reached.wait()
    job = f"jobs/{name.partition('/')[2]}-1"
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=job, whole_operation=True))
    operation = await site.wait(name)
    metadata = operation_pb2.OperationMetadata.FromString(operation.metadata.value)
    assert (metadata.state, metadata.outcome) == (operation_pb2.OPERATION_STATE_CANCELLED, job_pb2.OUTCOME_PARTIAL)
    assert operation.error.code == code_pb2.CANCELLED
    assert await site.job_states(name) == ["COMPLETED"] * 4 + ["ABORTED"] * 3
    assert len(metadata.residue) == 3
    assert all("the operation was aborted" in text for text in metadata.residue)
    assert {each for each in await site.objects() if "web" in each} == {"virtualMachines/web", "virtualDisks/web-disk0"}
    await site.wait_released()


@pytest.mark.parametrize("moment", ["jobs.given_up", "jobs.Ck"])
async def test_a_restart_remembers_what_was_given_up(site: Site, moment: str) -> None:
    """A scheduler that takes over right after a job was given up, or right after that, comes to the same end."""
    given_up, reached = asyncio.Event(), asyncio.Event()

    def notice(transition: str) -> None:
        if given_up.is_set() or transition == "jobs.given_up":
            given_up.set()
            if transition == moment:
                reached.set()

    site.on_transition = notice
    site.faults.refused = "3/1"
    name = (await site.submit(held_back(CONTINUE))).name
    await reached.wait()
    await site.close_jobs()
    await site.open_jobs()
    await site.wait(name)
    assert await site.job_states(name) == [STATES[letter] for letter in MACHINE_LEFT[CONTINUE]["3"]]
    assert site.faults.done["CreateDiskFile"] == 1
    await site.wait_released()


async def test_steps_refused_only_for_the_one_before_them_are_done(site: Site) -> None:
    """The card shares a round with the record of the disk that fails; it is sent once more, and is there once."""
    operation, _ = await fail(site, machine("web"), "5/2", CONTINUE)
    (card,) = [job for job in await site.jobs_of(operation.name) if job.object == "vnics/web-vnic0"]
    assert [step.attempt for step in card.steps] == [2]
    assert "vnics/web-vnic0" in await site.objects()
