"""The abort of one job under CONTINUE: what is lost with it is stopped and undone, and the others go on."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.integration.jobs import test_pool_failure
from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_failure import Gate, rival, state_of
from tests.integration.jobs.test_on_failure import CONTINUE, STATES, STOP, SecondWaits, held_back, remove_machine
from virtyard.api.jobs.v1 import job_control_pb2, job_pb2, job_service_pb2, operation_pb2
from virtyard.jobs import runner
from virtyard.jobs.job_stops import JobStops
from virtyard.jobs.roll_call import call_roll
from virtyard.jobs.under_way import Rounds
from virtyard.kernel.errors import Unavailable
from virtyard.runtime.status import named

poolless = test_pool_failure.site
"""A site whose three servers are in no pool."""
CANCELLED, PARTIAL, SUCCEEDED = (
    operation_pb2.OPERATION_STATE_CANCELLED,
    operation_pb2.OPERATION_STATE_PARTIAL,
    operation_pb2.OPERATION_STATE_SUCCEEDED,
)
SECOND_DISK = "CCCCAAC"
"""How the jobs of a machine end whose second disk is given up."""


def job_of(operation: str, job: int) -> str:
    """Return the name of a job of an operation."""
    return f"jobs/{operation.partition('/')[2]}-{job}"


async def abort(site: Site, operation: str, job: int, **fields: Any) -> job_service_pb2.AbortJobResponse:
    """Ask for the abort of a job."""
    request = job_service_pb2.AbortJobRequest(name=job_of(operation, job), reason="too big", **fields)
    answer: job_service_pb2.AbortJobResponse = await site.service.AbortJob(request)
    return answer


async def check_end(
    site: Site, name: str, states: str, state: operation_pb2.OperationState.ValueType
) -> operation_pb2.OperationMetadata:
    """Wait for the end of an operation, compare it and those of its jobs, and return its metadata."""
    operation = await site.wait(name)
    metadata = operation_pb2.OperationMetadata.FromString(operation.metadata.value)
    assert await site.job_states(name) == [STATES[letter] for letter in states]
    assert metadata.state == state
    await site.wait_released()
    return metadata


async def begin(site: Site, gate: Any) -> str:
    """Begin a machine of two disks, and return the operation's name once a disk is being made."""
    site.faults.before["CreateDiskFile"] = gate
    name = str((await site.submit(held_back(CONTINUE))).name)
    await gate.reached.wait()
    return name


async def is_told(site: Site) -> bool:
    """Tell whether there is one event of an abort on the second disk, with its reason."""
    events = await site.events("virtualDisks/web-disk1", least="INFORMATIONAL")
    told = [event.message for event in events if event.type == "ABORT_REQUESTED"]
    return len(told) == 1 and "too big" in told[0]


def step_states(job: job_pb2.Job) -> list[str]:
    """Return the states of a job's steps."""
    return [job_pb2.StepState.Name(step.state).removeprefix("STEP_STATE_") for step in job.steps]


async def test_the_others_go_on_past_a_job_that_is_aborted(site: Site) -> None:
    """The second disk is stopped and undone with its attachment, the card is made, the end names what is missing."""
    name = await begin(site, SecondWaits())
    files = len(site.files())
    answer = await abort(site, name, 5)
    assert not answer.too_late
    assert list(answer.jobs) == [job_of(name, 5), job_of(name, 6)]
    metadata = await check_end(site, name, SECOND_DISK, PARTIAL)
    assert metadata.outcome == job_pb2.OUTCOME_PARTIAL
    assert not metadata.abort_requested
    jobs = await site.jobs_of(name)
    assert [job.cause for job in jobs if job.cause] == [job_of(name, 5)]
    assert [job.name for job in jobs if job.abort_requested] == [job_of(name, 5), job_of(name, 6)]
    assert jobs[4].reason_trail[-1].reason == "too big"
    assert jobs[4].reason_trail[-1].HasField("time")
    assert [text for text in metadata.residue if "was aborted on request: too big" in text]
    assert [text for text in metadata.residue if f"{job_of(name, 5)} was aborted" in text]
    assert len(metadata.residue) == 2
    left = {each for each in await site.objects() if "web" in each}
    assert left == {"virtualMachines/web", "virtualDisks/web-disk0", "vnics/web-vnic0"}
    assert len(site.files()) <= files
    await site.wait_until(lambda: is_told(site))


async def test_what_runs_is_stopped_beside_the_others(site: Site) -> None:
    """Its step is settled at once, though nothing else of the operation is through; with no stop it would run on."""
    name = await begin(site, SecondWaits())
    await site.service.HoldJob(job_control_pb2.HoldJobRequest(name=job_of(name, 1)))
    await abort(site, name, 5)

    async def is_settled() -> bool:
        return "STARTED" not in step_states((await site.jobs_of(name))[4])

    await site.wait_until(is_settled)
    assert (await site.job_states(name))[4:] == ["ROLLING_BACK", "ABORTED", "PENDING"]
    await site.service.ReleaseJob(job_control_pb2.ReleaseJobRequest(name=job_of(name, 1)))
    await check_end(site, name, SECOND_DISK, PARTIAL)


async def test_a_family_that_has_not_begun_is_given_up_at_once(site: Site) -> None:
    """While the first disk is made the second is aborted: no step of it is ever tried."""
    gate = Gate()
    name = await begin(site, gate)
    answer = await abort(site, name, 6)
    assert list(answer.jobs) == [job_of(name, 6)]
    await abort(site, name, 5)
    assert (await site.job_states(name))[4:] == ["ABORTED", "ABORTED", "PENDING"]
    gate.opened.set()
    await check_end(site, name, SECOND_DISK, PARTIAL)
    assert site.faults.done["CreateDiskFile"] == 1
    assert all(step.attempt == 0 for job in (await site.jobs_of(name))[4:6] for step in job.steps)


async def test_a_child_takes_its_family_with_it(poolless: Site) -> None:
    """The abort of one member gives up the cluster with all members; the device, which is being made, is kept."""
    site = poolless
    gate = site.faults.before["LayOutHeartbeatDevice"] = Gate()
    request = test_pool_failure.pool(site)
    request.options.on_failure = CONTINUE
    name = (await site.submit(request)).name
    await gate.reached.wait()
    answer = await abort(site, name, 5)
    assert list(answer.jobs) == [job_of(name, each) for each in (3, 4, 5, 6)]
    gate.opened.set()
    await check_end(site, name, "CCAAAA", PARTIAL)
    assert test_pool_failure.memberships(site) == []


async def test_a_family_that_is_through_is_kept(site: Site) -> None:
    """It is too late for the first disk while the second is made: nothing is aborted, and nothing is recorded."""
    gate = SecondWaits()
    name = await begin(site, gate)
    answer = await abort(site, name, 3)
    assert answer.too_late
    assert not answer.jobs
    gate.opened.set()
    metadata = await check_end(site, name, "CCCCCCC", SUCCEEDED)
    assert not metadata.abort_requested


async def test_where_nothing_else_would_go_on_the_operation_is_aborted(site: Site) -> None:
    """With no card behind it the second disk is all that is left: the operation is CANCELLED, what is through stays."""
    gate = site.faults.before["CreateDiskFile"] = SecondWaits()
    request = machine("web", vnics=0)
    request.options.on_failure = CONTINUE
    name = (await site.submit(request)).name
    await gate.reached.wait()
    answer = await abort(site, name, 5)
    assert list(answer.jobs) == [job_of(name, 5), job_of(name, 6)]
    metadata = await check_end(site, name, "CCCCAA", CANCELLED)
    assert metadata.abort_requested


@pytest.mark.parametrize("policy", [STOP, CONTINUE])
async def test_a_preview_aborts_nothing(site: Site, policy: Any) -> None:
    """It lists the jobs that would end, of the job, or of the whole operation where that is asked or the rule."""
    gate = site.faults.before["CreateDiskFile"] = SecondWaits()
    name = (await site.submit(held_back(policy))).name
    await gate.reached.wait()
    whole = [job_of(name, each) for each in (5, 6, 7)]
    one = await abort(site, name, 5, validate_only=True)
    assert list(one.jobs) == (whole[:2] if policy == CONTINUE else whole)
    assert list((await abort(site, name, 3, validate_only=True, whole_operation=True)).jobs) == whole
    gate.opened.set()
    await check_end(site, name, "CCCCCCC", SUCCEEDED)


async def test_an_abort_of_a_job_is_refused_while_it_may_be_planned_again(site: Site) -> None:
    """While the operation waits for its locks its jobs are provisional; the whole can be aborted."""
    await begin(site, Gate())
    request = rival()
    request.options.on_failure = CONTINUE
    second = (await site.submit(request)).name
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await abort(site, second, 3)
    assert named(caught.value).reason == "WRONG_STATE"
    assert not (await abort(site, second, 3, whole_operation=True)).too_late
    await site.wait(second)
    assert set(await site.job_states(second)) == {"ABORTED"}


async def test_the_whole_operation_can_be_aborted_after_a_job(site: Site) -> None:
    """While the aborted disk is undone the rest is held; then the whole is aborted, and what is through stays."""
    name = await begin(site, SecondWaits())
    await site.service.HoldJob(job_control_pb2.HoldJobRequest(name=job_of(name, 1)))
    await abort(site, name, 5)
    again = await abort(site, name, 5)
    assert not again.too_late, "asked for twice it is the same abort"
    await abort(site, name, 1, whole_operation=True)
    await check_end(site, name, "CCCCAAA", CANCELLED)


async def test_a_step_that_waits_for_its_next_try_is_not_sent_again(site: Site) -> None:
    """Aborted in the pause between two tries, the disk is settled and the card made."""
    calls = 0
    tried = asyncio.Event()

    async def away(message: object, context: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            tried.set()
            raise Unavailable("the storage is away", resource="repositories/R")

    site.faults.before["CreateDiskFile"] = away
    name = (await site.submit(held_back(CONTINUE))).name
    await tried.wait()
    await abort(site, name, 5)
    await check_end(site, name, SECOND_DISK, PARTIAL)
    assert calls < 5


@pytest.mark.parametrize("nth", range(1, 6))
async def test_a_restart_remembers_what_was_aborted(site: Site, nth: int) -> None:
    """A scheduler that takes over after the abort, or after any commit behind it, comes to the same end."""
    count, reached = 0, asyncio.Event()

    def notice(transition: str) -> None:
        nonlocal count
        if count or transition == "jobs.abort":
            count += transition.startswith("jobs.")
            if count == nth:
                reached.set()

    name = await begin(site, SecondWaits())
    site.on_transition = notice
    await abort(site, name, 5)
    await reached.wait()
    await site.close_jobs()
    await site.open_jobs()
    await check_end(site, name, SECOND_DISK, PARTIAL)


async def test_a_scheduler_that_dies_before_the_stop_leaves_it_to_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The abort is durable and nothing was done about it: the next one stops the step beside what is held."""
    name = await begin(site, SecondWaits())
    await site.service.HoldJob(job_control_pb2.HoldJobRequest(name=job_of(name, 1)))
    with monkeypatch.context() as dead:
        dead.setattr(JobStops, "note", lambda _: None)
        await abort(site, name, 5)
        assert "STARTED" in step_states((await site.jobs_of(name))[4])
        await site.close_jobs()
    await site.open_jobs()

    async def is_settled() -> bool:
        return "STARTED" not in step_states((await site.jobs_of(name))[4])

    await site.wait_until(is_settled)
    await site.service.ReleaseJob(job_control_pb2.ReleaseJobRequest(name=job_of(name, 1)))
    await check_end(site, name, SECOND_DISK, PARTIAL)


async def test_wherever_a_job_is_aborted_its_operation_ends_as_it_was_answered(site: Site) -> None:
    """At each durable transition: refused before anything has begun, then in time, then too late; nothing is left."""
    before = await state_of(site)
    told: list[str] = []
    site.on_transition = told.append
    await end_after_abort(site, told, None)
    assert await state_of(site) == before
    points = [f"{name}#{told[:place].count(name)}" for place, name in enumerate(told)]
    answers = []
    for point in points:
        answers.append(await end_after_abort(site, told, point))
        assert await state_of(site) == before, point
    assert {"refused", "in time", "too late"} <= {*answers}, dict(zip(points, answers, strict=True))


async def end_after_abort(site: Site, told: list[str], point: str | None) -> str:
    """Make a machine and abort its second disk at a point; compare the end with the answer, and delete what is left."""
    asked: list[asyncio.Task[str]] = []
    number: list[str] = []

    async def ask() -> str:
        while not number:
            await asyncio.sleep(0)
        try:
            return "too late" if (await abort(site, number[0], 5)).too_late else "in time"
        except grpc.aio.AioRpcError as error:
            assert named(error).reason == "WRONG_STATE"  # noqa: PT017 - one of three good answers
            return "refused"

    def notice(name: str) -> None:
        if f"{name}#{told.count(name)}" == point and not asked:
            asked.append(asyncio.ensure_future(ask()))
        told.append(name)

    told.clear()
    site.on_transition = notice
    name = (await site.submit(held_back(CONTINUE))).name
    number.append(name)
    await site.wait(name)
    site.on_transition = lambda _: None
    run = list(told)
    answer = await asked[0] if asked else ""
    states = SECOND_DISK if answer == "in time" else "CCCCCCC"
    metadata = await check_end(site, name, states, PARTIAL if answer == "in time" else SUCCEEDED)
    assert not metadata.abort_requested
    left = {each for each in await site.objects() if "web" in each}
    assert ("virtualDisks/web-disk1" in left) is (answer != "in time"), point
    await remove_machine(site, left)
    told[:] = run
    return answer


async def test_a_result_that_comes_with_the_abort_counts_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Made durable while the abort is, the disk is done and undone; the answer to its stop changes nothing more."""
    take_complete, note = Rounds.take_complete, JobStops.note
    aborts: list[asyncio.Task[Any]] = []
    stopping: list[JobStops] = []

    def take(rounds: Rounds) -> dict[str, Any]:
        found = take_complete(rounds)
        if "5/1" in found and not aborts:
            aborts.append(asyncio.ensure_future(abort(site, name, 5)))
        return found

    async def call_late(*arguments: Any, **fields: Any) -> Any:
        if aborts and not aborts[0].done():
            await aborts[0]
        return await call_roll(*arguments, **fields)

    def note_stops(stops: JobStops) -> None:
        note(stops)
        stopping.append(stops)

    async def is_answered() -> bool:
        return bool(stopping) and all(stop.done() for stop in stopping[0]._stopping.values())

    monkeypatch.setattr(Rounds, "take_complete", take)
    monkeypatch.setattr(JobStops, "note", note_stops)
    monkeypatch.setattr(runner, "call_roll", call_late)
    gate = SecondWaits()
    name = await begin(site, gate)
    await site.service.HoldJob(job_control_pb2.HoldJobRequest(name=job_of(name, 1)))
    gate.opened.set()
    await site.wait_until(is_answered)
    assert set(stopping[0]._stopping) == {"5/1"}
    await site.service.ReleaseJob(job_control_pb2.ReleaseJobRequest(name=job_of(name, 1)))
    await check_end(site, name, SECOND_DISK, PARTIAL)
    assert not (await aborts[0]).too_late
    assert step_states((await site.jobs_of(name))[4])[0] == "UNDONE"
    assert "was interrupted" not in caplog.text


async def test_what_shared_a_round_with_an_aborted_job_is_sent_once_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of the disk ends the round in which the card stands; the card is made, and nobody failed."""
    wait_news = Rounds.wait_news
    names: list[str] = []
    asked: list[bool] = []

    async def wait_and_abort(rounds: Rounds) -> None:
        await wait_news(rounds)
        if "5/2" in rounds._results and not asked:
            asked.append(True)
            await abort(site, names[0], 5)

    monkeypatch.setattr(Rounds, "wait_news", wait_and_abort)
    site.faults.refused = "5/2"
    gate = Gate()
    names.append(await begin(site, gate))
    gate.opened.set()
    await check_end(site, names[0], SECOND_DISK, PARTIAL)
    assert asked
    assert [step.attempt for step in (await site.jobs_of(names[0]))[6].steps] == [2]
    assert "vnics/web-vnic0" in await site.objects()
