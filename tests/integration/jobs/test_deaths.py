"""The proof of death (P17): without it a step of a silent host stays open; with it the step is settled, for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_failure import Tries, rival
from tests.integration.jobs.test_late_messages import Post
from tests.integration.jobs.test_lock_break import DISK, begin, break_lock
from virtyard.agent.actions.catalogue import load
from virtyard.api.inventory.v1 import server_pb2, virtual_disk_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2, wait_explanation_pb2
from virtyard.api.operations.v1 import (
    confirm_server_dead_pb2,
    create_virtual_disk_pb2,
    refresh_server_pb2,
    start_virtual_machine_pb2,
    stop_virtual_machine_pb2,
)
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs import lock_control_rpc
from virtyard.jobs.deaths import Deaths
from virtyard.jobs.participants import Link, Listener
from virtyard.kernel.errors import Unavailable
from virtyard.kernel.view import select

S1 = "servers/s1"
WEB = "virtualMachines/web"


def confirm(server: str = S1, **rest: Any) -> confirm_server_dead_pb2.ConfirmServerDeadRequest:
    """Return a request that proves the death of a server."""
    return confirm_server_dead_pb2.ConfirmServerDeadRequest(name=server, proof="the power cable is pulled", **rest)


def start(server: str) -> start_virtual_machine_pb2.StartVirtualMachineRequest:
    """Return a request to start the machine on a server."""
    return start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB, server=server)


async def make_machine(site: Site) -> None:
    """Make a machine that can be started."""
    (site.share / "vmlinuz").touch()
    request = machine("web", disks=0, vnics=0)
    request.virtual_machine.boot.kernel_path = str(site.share / "vmlinuz")
    await site.succeed(request)


class Held:
    """Holds an action of a host, from its begin on until it is let go."""

    def __init__(self, site: Site, action: str) -> None:
        """Hold every action of that name."""
        self.began, self.gate = asyncio.Event(), asyncio.Event()
        site.faults.before[action] = self._hold

    async def _hold(self, *_: object) -> None:
        self.began.set()
        await self.gate.wait()

    async def wait(self) -> None:
        """Wait until the action has begun."""
        async with asyncio.timeout(LIMIT):
            await self.began.wait()


async def begin_start(site: Site) -> tuple[str, Held]:
    """Have a machine made, and return the operation that is in the middle of its start on s1."""
    await make_machine(site)
    held = Held(site, "StartGuest")
    operation = (await site.submit(start(S1))).name
    await held.wait()
    return operation, held


async def offline(site: Site, server: str = S1) -> None:
    """Let the inventory find that a server has been silent for long enough."""
    await site.show_offline(server.partition("/")[2])


async def die(site: Site, server: str = S1) -> None:
    """Let the host of a server end, and its silence be noticed."""
    await site.close_agent(server.partition("/")[2])
    await offline(site, server)


async def cut_off(site: Site) -> None:
    """Let nobody reach the agent of s1 any more, which goes on with what it does."""
    link = site.jobs.scheduler.world.participants.link(S1)

    async def refuse(*_: object) -> Any:
        raise Unavailable("the network is down", resource=S1)

    link._connect = refuse
    await link._disconnect()
    await offline(site)


async def wait_lost(site: Site, operation: str) -> None:
    """Wait until it is shown that the contact with a host of the operation is lost."""

    async def lost() -> bool:
        return any(job.contact_lost for job in await site.jobs_of(operation))

    await site.wait_until(lost)


async def state_of(site: Site) -> str:
    """Return the state of the machine."""
    found = (await site.view(select(WEB))).get(WEB, virtual_machine_pb2.VirtualMachine)
    return virtual_machine_pb2.VirtualMachineState.Name(found.state).removeprefix("VIRTUAL_MACHINE_STATE_")


async def test_a_step_of_a_dead_host_came_to_nothing_and_its_late_message_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its operation goes back and its locks are free; when the host is back it has that in its ledger first of all."""
    sent: list[tuple[str, participant.Effect]] = []
    send = Link.send

    def note(link: Link, effects: list[participant.Effect], listener: Listener) -> None:
        sent.extend((link.name, effect) for effect in effects)
        send(link, effects, listener)

    monkeypatch.setattr(Link, "send", note)
    # While an older operation is open its number keeps the floor down, which would refuse the late message as well.
    older = Held(site, "RefreshHost")
    await site.submit(refresh_server_pb2.RefreshServerRequest(name="servers/s2"))
    await older.wait()
    operation, held = await begin_start(site)
    await die(site)
    await wait_lost(site, operation)
    preview = operation_pb2.OperationMetadata()
    (await site.submit(confirm(validate_only=True))).metadata.Unpack(preview)
    assert [(each.title, each.verdict) for each in preview.settlements] == [
        ("Start the guest", "it came to nothing, and its operation goes back")
    ]
    assert await site.held_locks()
    await site.succeed(confirm())
    ended = await site.wait(operation)
    assert "the power cable is pulled" in ended.error.message

    async def released() -> bool:
        return WEB not in await site.held_locks()

    await site.wait_until(released)
    assert await state_of(site) == "STOPPED"
    assert "SERVER_PROVEN_DEAD" in [event.type for event in await site.events(S1) if event.open]
    held.gate.set()
    await site.open_agent("s1")
    post = Post.__new__(Post)
    post.held = [each for each in sent if each[0] == S1 and each[1].target == WEB][-1:]
    site.jobs.scheduler.world.participants.link(S1)._wake.set()

    async def told() -> bool:
        records = site.jobs.scheduler.world.store.database
        rows = await records.read(lambda sql: sql.execute("SELECT count(*) FROM settled_without").fetchone())
        return bool(rows[0] == 0)

    await site.wait_until(told)
    late = await post.deliver(site)
    assert late.state == participant.EFFECT_STATE_FAILED
    assert "the power cable is pulled" in late.error.message
    assert site.faults.done["StartGuest"] == 0
    older.gate.set()


async def test_without_a_proof_nothing_is_settled(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is looked at: the host may be doing it, so the operation waits with its locks."""
    looks = asyncio.Semaphore(0)
    settle = Deaths.settle

    async def look(self: Deaths, *rest: Any) -> Any:
        found = await settle(self, *rest)
        looks.release()
        return found

    monkeypatch.setattr(Deaths, "settle", look)
    operation, held = await begin_start(site)
    await cut_off(site)
    await wait_lost(site, operation)
    (job,) = await site.jobs_of(operation)
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=job.name))
    async with asyncio.timeout(LIMIT):
        for _ in range(3):
            await looks.acquire()
    (job,) = await site.jobs_of(operation)
    assert job.state == job_pb2.JOB_STATE_ROLLING_BACK
    assert WEB in await site.held_locks()
    held.gate.set()


async def test_with_the_proof_switched_off_a_machine_runs_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof is what prevents it: settled by mere silence, a start goes on behind the back of the next one."""

    async def always(*_: object) -> server_pb2.ProvenDeath:
        return server_pb2.ProvenDeath(reason="it is silent")

    monkeypatch.setattr(Deaths, "proof", always)
    operation, held = await begin_start(site)
    await cut_off(site)
    assert (await site.wait(operation)).HasField("error")
    del site.faults.before["StartGuest"]
    await site.succeed(start("servers/s2"))
    held.gate.set()

    async def twice() -> bool:
        return site.faults.done["StartGuest"] == 2

    await site.wait_until(twice)


async def test_who_answers_or_reports_is_not_dead(site: Site) -> None:
    """Whether by the inventory's word or by the server's own: nothing is recorded."""
    await site.inventory.presence._store_state(S1, server_pb2.SERVER_STATE_ONLINE, None)
    with pytest.raises(Exception, match="must have been silent") as refused:
        await site.submit(confirm())
    assert refused.value is not None
    await offline(site)
    with pytest.raises(Exception, match="answers, so it is not dead"):
        await site.submit(confirm())
    server = (await site.view(select(S1))).get(S1, server_pb2.Server)
    assert not server.observed.HasField("death")


async def test_a_return_ends_the_proof(site: Site) -> None:
    """The machines that ran there are stopped; the report of the server clears the proof and has it refreshed."""
    await make_machine(site)
    await site.succeed(start(S1))
    await site.wait_released()
    await die(site)
    assert await state_of(site) == "RUNNING"
    await site.succeed(confirm())

    async def stopped() -> bool:
        return await state_of(site) == "STOPPED"

    await site.wait_until(stopped)
    assert [event.type for event in await site.events(WEB)] == ["MACHINE_CRASHED"]
    await site.open_agent("s1")
    report = server_pb2.ServerObservation(agent_address=site.addresses["s1"], agent_start=2)
    await site.inventory.presence.report(S1, report)
    server = (await site.view(select(S1))).get(S1, server_pb2.Server)
    assert not server.observed.HasField("death")
    assert not [event.type for event in await site.events(S1) if event.open and event.type == "SERVER_PROVEN_DEAD"]
    assert [event.type for event in await site.events(S1, "INFORMATIONAL")].count("SERVER_BEHIND") == 1


async def test_a_stop_is_done_where_its_host_has_ended(site: Site) -> None:
    """What was to bring the guest down has come about by the death of its host, also past the pivot."""
    await make_machine(site)
    await site.succeed(start(S1))
    held = Held(site, "KillGuest")
    operation = (await site.submit(stop_virtual_machine_pb2.StopVirtualMachineRequest(name=WEB, force=True))).name
    await held.wait()
    await die(site)
    await site.succeed(confirm())
    assert not (await site.wait(operation)).HasField("error")
    assert await state_of(site) == "STOPPED"


async def new_disk_dies(site: Site, *, made: bool) -> tuple[str, str, Held]:
    """Have a host end in the middle of making a disk's image, or with it made and not told; return who, and what."""
    began, gate = asyncio.Event(), asyncio.Event()
    held = Held.__new__(Held)
    held.began, held.gate = began, gate

    async def hold(message: Any, context: Any) -> None:
        if made and not began.is_set():
            await load()["virtyard.api.actions.v1.CreateDiskFile"].do(message, context)
        await held._hold()

    site.faults.before["CreateDiskFile"] = hold
    disk = virtual_disk_pb2.VirtualDisk(repository="repositories/R", size_bytes=1 << 20)
    request = create_virtual_disk_pb2.CreateVirtualDiskRequest(virtual_disk_id="d", virtual_disk=disk)
    operation = (await site.submit(request)).name
    await held.wait()
    (job,) = await site.jobs_of(operation)
    (host,) = {step.participant for step in job.steps} - {"inventory"}
    await die(site, host)
    await wait_lost(site, operation)
    return operation, host, held


async def come_back(site: Site, host: str, held: Held) -> None:
    """Let a host return, with nothing that stops it, and wait until it was told what was settled without it."""
    site.faults.before.clear()
    held.gate.set()
    await site.open_agent(host.partition("/")[2])
    site.jobs.scheduler.world.participants.link(host)._wake.set()

    async def told() -> bool:
        records = site.jobs.scheduler.world.store.database
        rows = await records.read(lambda sql: sql.execute("SELECT count(*) FROM settled_without").fetchone())
        return bool(rows[0] == 0)

    await site.wait_until(told)


async def test_an_image_that_a_dead_host_made_is_found_through_another_member(site: Site) -> None:
    """Its operation goes on with what the other one found, as if its own host had answered."""
    operation, host, held = await new_disk_dies(site, made=True)
    before = [file for file in site.files() if file.startswith("R/disks/")]
    await site.succeed(confirm(host))
    assert not (await site.wait(operation)).HasField("error")
    assert [file for file in site.files() if file.startswith("R/disks/")] == before
    await come_back(site, host, held)
    assert site.faults.done["CreateDiskFile"] == 0
    assert [file for file in site.files() if file.startswith("R/disks/")] == before


async def test_an_image_that_a_dead_host_made_is_undone_through_another_member(site: Site) -> None:
    """An operation that goes back has it removed there, and its late effect makes nothing."""
    empty = site.files()
    operation, host, held = await new_disk_dies(site, made=True)
    assert site.files() != empty
    (job,) = await site.jobs_of(operation)
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=job.name))
    preview = operation_pb2.OperationMetadata()
    (await site.submit(confirm(host, validate_only=True))).metadata.Unpack(preview)
    assert "another server that reaches it looks for it" in preview.settlements[0].verdict
    await site.succeed(confirm(host))
    assert (await site.wait(operation)).HasField("error")
    await site.wait_released()
    assert site.files() == empty
    await come_back(site, host, held)
    assert site.files() == empty
    assert site.faults.done["CreateDiskFile"] == 0


async def test_an_image_that_a_dead_host_did_not_make_came_to_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its operation goes back, and the effect is refused when it comes late to the host that is back."""
    sent: list[tuple[str, participant.Effect]] = []
    send = Link.send

    def note(link: Link, effects: list[participant.Effect], listener: Listener) -> None:
        sent.extend((link.name, effect) for effect in effects if effect.target == "virtualDisks/d")
        send(link, effects, listener)

    monkeypatch.setattr(Link, "send", note)
    # As above; one on each server, since the one on the host that dies ends with it.
    older = Held(site, "RefreshHost")
    for name in site.addresses:
        await site.submit(refresh_server_pb2.RefreshServerRequest(name=f"servers/{name}"))
    await older.wait()
    empty = site.files()
    operation, host, held = await new_disk_dies(site, made=False)
    await site.succeed(confirm(host))
    ended = await site.wait(operation)
    assert "the power cable is pulled" in ended.error.message
    await come_back(site, host, held)
    post = Post.__new__(Post)
    post.held = [each for each in sent if each[0] == host and each[1].phase == participant.PHASE_DO][-1:]
    late = await post.deliver(site)
    assert late.state == participant.EFFECT_STATE_FAILED
    assert "the power cable is pulled" in late.error.message
    assert site.files() == empty
    older.gate.set()


async def test_a_step_on_storage_waits_and_says_so_while_nobody_else_reaches_it(site: Site) -> None:
    """The repository that only its own host has is looked at by nobody else, and the wait says why."""
    operation, host, held = await new_disk_dies(site, made=True)
    other = next(name for name in site.addresses if f"servers/{name}" != host)
    await die(site, f"servers/{other}")
    await site.succeed(confirm(host))
    (job,) = await site.jobs_of(operation)

    async def told() -> bool:
        explained = await site.service.ExplainWait(wait_explanation_pb2.ExplainWaitRequest(name=job.name))
        return "must be looked for by another server: no other server that is online" in explained.summary

    await site.wait_until(told)
    (job,) = await site.jobs_of(operation)
    assert job.contact_lost
    site.faults.before.clear()
    held.gate.set()
    await site.open_agent(host.partition("/")[2])
    assert not (await site.wait(operation)).HasField("error")
    await site.wait_released()


async def test_a_proof_ends_a_quarantine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that were broken by force beside a silent host leave a quarantine, until its death is proven."""
    operation, _ = await begin(site, machine("web", disks=1))
    (silent,) = [each for each in site.agents if site.agents[each].runner.running]
    await die(site, f"servers/{silent}")
    monkeypatch.setattr(lock_control_rpc, "_PATIENCE", 0.2)
    assert not (await break_lock(site, DISK)).freed
    monkeypatch.setattr(lock_control_rpc, "_PATIENCE", LIMIT)
    answer = await break_lock(site, DISK, force=True)
    assert (answer.freed, list(answer.quarantined)) == (True, [DISK])
    site.faults.before["CreateDiskFile"] = Tries()
    assert "quarantine" in (await site.run(rival())).error.message
    await site.succeed(confirm(f"servers/{silent}"))
    assert (await site.wait(operation)).HasField("error")
    ended = await site.run(rival())
    assert "quarantine" not in ended.error.message
    await site.wait_released()
