"""Members that cannot be reached: put off before their first intent, waited for after it, and caught up with (P16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from tests.integration.jobs.site import LIMIT, Site, furnish, machine, running
from tests.integration.jobs.test_failure import Gate, Tries, state_of
from tests.invariants.check import lasting_findings
from virtyard.api.inventory.v1 import event_pb2, repository_pb2, server_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2, plan_pb2
from virtyard.api.operations.v1 import (
    add_server_to_server_pool_pb2,
    delete_repository_pb2,
    forget_server_pb2,
    present_repository_pb2,
    refresh_server_pb2,
    remove_server_from_server_pool_pb2,
    start_virtual_machine_pb2,
    unpresent_repository_pb2,
)
from virtyard.internal.jobs.v1.record_pb2 import OperationRecord
from virtyard.jobs import roll_call, schedule
from virtyard.jobs.model import Shape
from virtyard.jobs.participants import Link
from virtyard.kernel.view import select

ACTIVE, PARTIAL = operation_pb2.OPERATION_STATE_ACTIVE, operation_pb2.OPERATION_STATE_PARTIAL
SKIPPED, DONE = job_pb2.STEP_STATE_SKIPPED, job_pb2.STEP_STATE_DONE
ALL = ("servers/s1", "servers/s2", "servers/s3")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a second for a server that does not answer."""
    monkeypatch.setattr(roll_call, "PATIENCE", 1.0)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a site of three servers, with a repository that none of them has."""
    async with running(tmp_path, "s1", "s2", "s3") as site:
        await furnish(site)
        await site.succeed(unpresent(*ALL))
        await site.wait_released()
        site.transitions.clear()
        yield site


def present(*servers: str) -> present_repository_pb2.PresentRepositoryRequest:
    """Return the request to present the repository."""
    return present_repository_pb2.PresentRepositoryRequest(name="repositories/R", servers=servers)


def unpresent(*servers: str) -> unpresent_repository_pb2.UnpresentRepositoryRequest:
    """Return the request to take the repository off."""
    return unpresent_repository_pb2.UnpresentRepositoryRequest(name="repositories/R", servers=servers)


def metadata_of(operation: operations_pb2.Operation) -> operation_pb2.OperationMetadata:
    """Return the metadata of an operation."""
    return operation_pb2.OperationMetadata.FromString(operation.metadata.value)


async def server(site: Site, name: str) -> server_pb2.Server:
    """Return a server."""
    return (await site.view(select(name))).get(name, server_pb2.Server)


async def presented(site: Site) -> list[str]:
    """Return the servers that the repository is presented to."""
    view = await site.view(select("repositories/R"))
    return list(view.get("repositories/R", repository_pb2.Repository).servers)


def attached(site: Site) -> list[str]:
    """Return the servers whose hosts have the repository, by their own record."""
    folder = site.folder / "agents"
    return sorted(path.parent.name for path in folder.glob("*/repositories.json") if '"path"' in _here(path))


def _here(path: Path) -> str:
    return path.read_text().partition('"given_up"')[0]


async def test_a_member_that_does_not_answer_is_put_off_and_the_operation_ends_partial(site: Site) -> None:
    """The others have it, the record names all, the missing one is behind, and everybody is told."""
    await site.close_agent("s3")
    operation = await site.run(present(*ALL))
    metadata = metadata_of(operation)
    assert (metadata.state, metadata.outcome) == (PARTIAL, job_pb2.OUTCOME_PARTIAL)
    assert operation.WhichOneof("result") == "response"
    assert repository_pb2.Repository.FromString(operation.response.value).name == "repositories/R"
    (missing,) = metadata.residue
    assert missing.startswith("servers/s3: ")
    parent, first, second, third = await site.jobs_of(operation.name)
    assert [job.state for job in (parent, first, second, third)] == [job_pb2.JOB_STATE_COMPLETED] * 4
    assert [job.deferred for job in (parent, first, second, third)] == [False, False, False, True]
    assert [step.state for step in third.steps] == [SKIPPED, DONE]
    assert [step.state for step in first.steps] == [DONE, SKIPPED]
    assert {job.progress.percent for job in (parent, first, second, third)} == {100}
    assert (await presented(site), attached(site)) == (list(ALL), ["s1", "s2"])
    late = await server(site, "servers/s3")
    assert (late.desired_revision, late.applied_revision) == (1, 0)
    assert (await server(site, "servers/s1")).desired_revision == 0
    await site.wait_released()

    async def told() -> bool:
        return bool(await site.events("servers/s3"))

    await site.wait_until(told)  # what is due to the inventory is delivered behind the end
    events = await site.events("servers/s3")
    assert [(event.type, event.severity) for event in events] == [("JOB_DEFERRED", event_pb2.SEVERITY_WARNING)]
    assert events[0].operation == operation.name


async def test_a_server_that_is_behind_runs_no_machine_until_it_was_refreshed(site: Site) -> None:
    """A start on it is refused with that reason; after a refresh it has the repository and runs the machine."""
    await site.close_agent("s3")
    await site.run(present(*ALL))
    await site.open_agent("s3")
    web = machine("web", disks=1)
    web.virtual_machine.boot.kernel_path = str(site.share / "vmlinuz")
    (site.share / "vmlinuz").write_text("simulated hosts boot nothing")
    await site.succeed(web)
    start = start_virtual_machine_pb2.StartVirtualMachineRequest(name="virtualMachines/web", server="servers/s3")
    with pytest.raises(grpc.aio.AioRpcError, match="servers/s3 is 1 change behind and must be refreshed first"):
        await site.submit(start)
    await site.succeed(refresh_server_pb2.RefreshServerRequest(name="servers/s3"))
    caught_up = await server(site, "servers/s3")
    assert (caught_up.desired_revision, caught_up.applied_revision) == (1, 1)
    assert attached(site) == ["s1", "s2", "s3"]
    (deferred,) = await site.events("servers/s3")
    assert (deferred.type, deferred.open, deferred.cleared) == ("JOB_DEFERRED", False, True)
    await site.succeed(start)


async def test_presenting_again_brings_the_returned_server_up_to_date(site: Site) -> None:
    """The same request, once the server is back, succeeds whole."""
    await site.close_agent("s3")
    await site.run(present(*ALL))
    await site.open_agent("s3")
    operation = await site.succeed(present(*ALL))
    assert metadata_of(operation).state == operation_pb2.OPERATION_STATE_SUCCEEDED
    assert (await server(site, "servers/s3")).applied_revision == 1
    assert attached(site) == ["s1", "s2", "s3"]


async def test_what_was_taken_off_while_it_was_away_is_given_up_at_its_refresh(site: Site) -> None:
    """A server catches up with what it should have, and with what not."""
    await site.succeed(present(*ALL))
    await site.close_agent("s2")
    operation = await site.run(unpresent("servers/s2"))
    assert metadata_of(operation).state == PARTIAL
    assert (await presented(site), attached(site)) == (["servers/s1", "servers/s3"], ["s1", "s2", "s3"])
    await site.open_agent("s2")
    await site.succeed(refresh_server_pb2.RefreshServerRequest(name="servers/s2"))
    assert attached(site) == ["s1", "s3"]


async def test_what_was_deleted_while_it_was_away_is_given_up_at_its_refresh(site: Site) -> None:
    """No list says any more what the server still has, so it gives up all that it should not have."""
    await site.succeed(present(*ALL))
    folder = site.share / "R"
    await site.close_agent("s2")
    await site.show_offline("s2")
    operation = await site.run(delete_repository_pb2.DeleteRepositoryRequest(name="repositories/R"))
    assert metadata_of(operation).state == PARTIAL
    assert (folder.exists(), attached(site)) == (False, ["s2"])
    late = await server(site, "servers/s2")
    assert (late.desired_revision, late.applied_revision) == (1, 0)
    await site.open_agent("s2")
    await site.inventory.presence._store_state("servers/s2", server_pb2.SERVER_STATE_ONLINE, None)
    await site.succeed(refresh_server_pb2.RefreshServerRequest(name="servers/s2"))
    assert attached(site) == []
    await site.wait_released()
    assert lasting_findings(site.folder, site.share, site.folder / "effects", patience=5.0) == []


ADD = add_server_to_server_pool_pb2.AddServerToServerPoolRequest(name="serverPools/Finance", server="servers/s2")
REMOVE = remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
    name="serverPools/Finance", server="servers/s2"
)


async def test_what_a_server_kept_when_it_left_its_pool_offline_is_given_up_on_its_return(site: Site) -> None:
    """It could not be asked then; it is behind until it was, whether it joins again, is refreshed, or is forgotten."""
    forget = forget_server_pb2.ForgetServerRequest(name="servers/s2")
    await site.succeed(present("servers/s2"))
    for returning, before in (
        (ADD, None),
        (refresh_server_pb2.RefreshServerRequest(name="servers/s2"), None),
        (forget, ADD),
    ):
        if before is not None:
            await site.succeed(before)
        await site.close_agent("s2")
        await site.show_offline("s2")
        await site.succeed(REMOVE)
        assert attached(site) == ["s2"]
        left = await server(site, "servers/s2")
        assert left.desired_revision == left.applied_revision + 1
        await site.open_agent("s2")
        await site.inventory.presence._store_state("servers/s2", server_pb2.SERVER_STATE_ONLINE, None)
        await site.succeed(returning)
        assert attached(site) == (["s2"] if returning is ADD else [])
        await site.wait_released()
        assert lasting_findings(site.folder, site.share, site.folder / "effects", patience=5.0) == []


async def test_a_member_that_falls_silent_after_its_first_intent_is_waited_for(site: Site) -> None:
    """The job shows that contact is lost, the locks are kept, and it ends succeeded once the server is back."""
    gone = asyncio.Event()
    stopping: list[asyncio.Task[None]] = []

    def stop_s3(transition: str) -> None:
        # The first intents have just become durable, and nothing was sent yet.
        if transition == "jobs.C2" and not gone.is_set():
            gone.set()
            site.agents["s3"].end_streams()
            stopping.append(asyncio.get_running_loop().create_task(site.close_agent("s3")))

    gate = site.faults.before["AttachRepository"] = Gate()
    loop = asyncio.get_running_loop()

    def notice(transition: str) -> None:
        loop.call_soon_threadsafe(stop_s3, transition)

    site.on_transition = notice
    name = (await site.submit(present("servers/s3"))).name
    await gone.wait()

    async def contact_lost() -> bool:
        jobs = await site.jobs_of(name)
        return jobs[1].contact_lost

    await site.wait_until(contact_lost)
    await asyncio.gather(*stopping)
    assert not (await site.jobs_of(name))[1].deferred
    assert "servers/s3" in await site.held_locks()
    gate.opened.set()
    await site.open_agent("s3")
    operation = await site.wait(name)
    assert metadata_of(operation).state == operation_pb2.OPERATION_STATE_SUCCEEDED
    assert (await server(site, "servers/s3")).desired_revision == 0
    assert attached(site) == ["s3"]


def not_through(shape: Shape, record: OperationRecord) -> list[plan_pb2.PlannedJob]:
    """Return every deferrable job that has neither ended nor been put off, begun or not."""
    return [
        job
        for job in shape.deferrable
        if record.jobs[job.id].state != job_pb2.JOB_STATE_COMPLETED and not record.jobs[job.id].deferred
    ]


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
async def test_without_looking_at_what_has_begun_a_member_acts_behind_the_end(
    site: Site, monkeypatch: pytest.MonkeyPatch, on: bool
) -> None:
    """That a job has begun is what keeps it: else it ends and its locks go, while its server is still at work."""
    gate, others, answers = Gate(), Gate(), Link.answers

    async def hold_s3(message: Any, context: Any) -> None:
        await (gate if context.host.server == "servers/s3" else others)(message, context)

    async def silent_s3(link: Link, patience: float) -> bool:
        return not (link.name == "servers/s3" and gate.reached.is_set()) and await answers(link, patience)

    async def s3_has_it() -> bool:
        return "s3" in attached(site)

    if not on:
        monkeypatch.setattr(schedule, "awaiting_contact", not_through)
    monkeypatch.setattr(Link, "answers", silent_s3)
    site.faults.before["AttachRepository"] = hold_s3
    name = (await site.submit(present(*ALL))).name
    async with asyncio.timeout(LIMIT):
        await gate.reached.wait()
    others.opened.set()

    async def others_are_done() -> bool:
        return [job.state for job in (await site.jobs_of(name))[1:3]] == [job_pb2.JOB_STATE_COMPLETED] * 2

    await site.wait_until(others_are_done)
    assert (await site.jobs_of(name))[3].deferred is not on
    if on:
        assert "servers/s3" in await site.held_locks()
    else:
        # Its note that the server is behind is a step like others; the end comes behind it.
        assert metadata_of(await site.wait(name)).state == PARTIAL
        await site.wait_released()
        assert attached(site) == ["s1", "s2"]
    gate.opened.set()
    await site.wait_until(s3_has_it)
    assert metadata_of(await site.wait(name)).state == (operation_pb2.OPERATION_STATE_SUCCEEDED if on else PARTIAL)


async def kill_at(site: Site, transition: str, request: Message) -> operations_pb2.Operation:
    """Submit a request, end the scheduler right after a durable transition, start another, and wait for the end."""
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def notice(name: str) -> None:
        if name == transition:
            loop.call_soon_threadsafe(reached.set)

    site.on_transition = notice
    name = (await site.submit(request)).name
    await reached.wait()
    site.on_transition = lambda _: None
    await site.close_jobs()
    await site.open_jobs()
    return await site.wait(name)


@pytest.mark.parametrize("transition", ["jobs.C1", "jobs.C2", "jobs.Ck", "inventory.I", "jobs.Ct"])
@pytest.mark.parametrize("request_", [present(*ALL), unpresent(*ALL)], ids=["present", "unpresent"])
async def test_a_scheduler_that_ends_in_between_puts_off_once(site: Site, transition: str, request_: Any) -> None:
    """Adopted between any two commits, it ends partial, with one change that is missed and one event."""
    if isinstance(request_, unpresent_repository_pb2.UnpresentRepositoryRequest):
        await site.succeed(present(*ALL))
        await site.wait_released()
    await site.close_agent("s3")
    site.transitions.clear()
    operation = await kill_at(site, transition, request_)
    assert metadata_of(operation).state == PARTIAL
    assert [job.deferred for job in await site.jobs_of(operation.name)] == [False, False, False, True]
    late = await server(site, "servers/s3")
    assert (late.desired_revision, late.applied_revision) == (1, 0)
    await site.wait_released()

    async def is_told() -> bool:
        return len(await site.events("servers/s3")) == 1

    await site.wait_until(is_told)
    assert site.transitions.count("jobs.Ct") == 1


async def test_a_failure_beside_it_takes_the_deferral_back(site: Site) -> None:
    """Of three members one fails and one is away: nothing is left, not even that the missing one is behind."""
    before = await state_of(site)
    await site.close_agent("s3")
    site.faults.before["AttachRepository"] = Tries(1)
    operation = await site.run(present(*ALL))
    assert operation.error.message == "the disk is full"
    assert metadata_of(operation).outcome == job_pb2.OUTCOME_NONE
    assert await state_of(site) == before
    jobs = await site.jobs_of(operation.name)
    assert not any(job.deferred for job in jobs)
    assert sorted(job.state for job in jobs) == [job_pb2.JOB_STATE_FAILED, *[job_pb2.JOB_STATE_ABORTED] * 3]
    assert (attached(site), await site.events("servers/s3")) == ([], [])
    await site.wait_released()


async def test_an_abort_takes_the_deferral_back(site: Site) -> None:
    """Aborted while another member still works, the operation leaves nothing, and the server is not behind."""
    before = await state_of(site)
    await site.close_agent("s3")
    gate = site.faults.before["AttachRepository"] = Gate()
    name = (await site.submit(present(*ALL))).name
    await gate.reached.wait()

    async def noted() -> bool:
        return (await server(site, "servers/s3")).desired_revision == 1

    await site.wait_until(noted)
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=f"jobs/{name.partition('/')[2]}-1"))
    operation = await site.wait(name)
    assert metadata_of(operation).state == operation_pb2.OPERATION_STATE_CANCELLED
    assert await state_of(site) == before
    assert (attached(site), (await server(site, "servers/s3")).desired_revision) == ([], 0)


async def test_if_nobody_answers_everybody_is_put_off(site: Site) -> None:
    """All that is durable is what is wanted; each server is behind."""
    for name in ("s1", "s2", "s3"):
        await site.close_agent(name)
    operation = await site.run(present(*ALL))
    metadata = metadata_of(operation)
    assert metadata.state == PARTIAL
    assert [line.partition(":")[0] for line in metadata.residue] == list(ALL)
    assert await presented(site) == list(ALL)
    assert [(await server(site, name)).desired_revision for name in ALL] == [1, 1, 1]


async def test_a_refresh_of_a_server_that_does_not_answer_fails_with_its_address(site: Site) -> None:
    """It does not wait for ever, and nothing is changed."""
    before = await state_of(site)
    await site.close_agent("s3")
    operation = await site.run(refresh_server_pb2.RefreshServerRequest(name="servers/s3"))
    assert f"servers/s3 cannot be reached at {site.addresses['s3']}" in operation.error.message
    assert await state_of(site) == before
    await site.wait_released()
