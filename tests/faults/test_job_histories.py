"""Histories of a counter that people raise under their own locks, while the services that keep it are harmed.

The counter is a label of a schedule. Each person takes its lock, reads it, works, and has a job write what was read and
one more, under the lock. Meanwhile the scheduler, the inventory and the lock service are killed, stand still for longer
than a lock has, and are cut off from one another; and locks are lost: they end, or are broken by the next one. Whoever
has lost a lock is refused. A checker over the jobs that succeeded finds no update that was lost; once somebody writes
without the lock that was lost, it does.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.protobuf.duration_pb2 import Duration
from typing_extensions import override

from tests.acceptance.asking import LIMIT, SUCCEEDED
from tests.acceptance.site import Site, until
from tests.faults.nursery import Nursery
from tests.faults.shared_disk import Write, lost
from tests.invariants.records import read
from tests.invariants.services import ALWAYS
from tests.torture.cuts import Wire
from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.api.jobs.v1 import lock_control_service_pb2 as pb
from virtyard.api.jobs.v1 import lock_control_service_pb2_grpc
from virtyard.api.operations.v1 import create_schedule_pb2, refresh_server_pb2, update_schedule_pb2
from virtyard.kernel.plan import pack
from virtyard.processes.site import prepare_authority
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

T = TypeVar("T")
LONG = 60.0 * float(os.environ.get("MINUTES", "10")) if os.environ.get("VIRTYARD_TORTURE") else 0.0
"""Seconds that histories are made for; one short one if 0."""
NAME = "schedules/counter"
SERVICES = ("locks", "inventory", "jobs")
LINES = (("inventory", "locks"), ("jobs", "inventory"), ("jobs", "locks"))
"""Who calls whom over a wire that is cut."""
PEOPLE = 3
LIFE_SECONDS = 3.0
"""How long a lock is taken for that is to end by itself."""
STILL_SECONDS = 40.0 if LONG else 4.0
"""For how long a service stands still: beyond the life of a lock and, when there is time, of all contact."""
HOST_STILL_SECONDS = 4.0
"""For how long a host does, of which nothing may be taken for lost."""
CUT_SECONDS = 1.0
ANSWER_SECONDS = 5.0
"""How long anybody waits for an answer before he asks again."""
LOSSES = ("outlive", "broken")
HARMS = tuple(f"{how} {whom}" for how in ("kill", "stop") for whom in SERVICES)
FAULTS = (*HARMS, *(f"cut {caller} {called}" for caller, called in LINES), *LOSSES)


class WiredSite(Site):
    """The services of a control plane, each a process, with a wire between each two that call."""

    def __init__(self, folder: Path) -> None:
        """Start nothing yet."""
        super().__init__(folder, "split")
        self.wires: dict[tuple[str, str], Wire] = {}

    @override
    def _command(self, name: str, memory_bytes: int) -> list[str]:
        words = super()._command(name, memory_bytes)
        for (caller, called), wire in self.wires.items():
            if caller == name and f"--{called}" in words:
                words[words.index(f"--{called}") + 1] = wire.address
        return words


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call again until it is answered; it must be one that may be made twice."""
    async with asyncio.timeout(LIMIT + 2 * STILL_SECONDS):
        while True:
            try:
                return await call()
            except ClientError as error:
                if not error.unreachable:
                    raise
                await asyncio.sleep(0.05)


class Person:
    """Somebody who raises the counter; or something else that counts, for which this is inherited from."""

    object = NAME
    """What counts, whose lock is taken."""
    step = 1
    """By how much it is raised each time."""

    def __init__(self, client: Client, history: list[Write]) -> None:
        """Note in a history what was written."""
        self._client = client
        channel = client.channel("virtyard.api.jobs.v1.LockControlService")
        self._control: Any = lock_control_service_pb2_grpc.LockControlServiceStub(channel)
        self._history = history

    async def take(self, purpose: str, seconds: float = 600.0) -> str:
        """Take the lock of the counter and return its name, once it is held."""
        duration = Duration()
        duration.FromTimedelta(timedelta(seconds=seconds))
        wanted = pb.TakeLockRequest(object=self.object, purpose=purpose, duration=duration)

        while True:
            found = await self._locks(purpose)
            if not found:
                with suppress(ClientError):  # whether it was taken, the list says
                    await self._control.TakeLock(wanted, timeout=ANSWER_SECONDS)
            for lock in found:
                if lock.state == pb.PERSON_LOCK_STATE_HELD:
                    return lock.name
            await asyncio.sleep(0.05)

    async def leave(self, purpose: str) -> None:
        """End all locks of a purpose, as one whose taking was not answered may have been taken twice."""
        for lock in await self._locks(purpose):
            await self.give_back(lock.name)

    async def _locks(self, purpose: str) -> list[pb.PersonLock]:
        request = pb.ListPersonLocksRequest()
        listed = await answered(lambda: self._control.ListPersonLocks(request, timeout=ANSWER_SECONDS))
        alive = (pb.PERSON_LOCK_STATE_WAITING, pb.PERSON_LOCK_STATE_HELD)
        return [lock for lock in listed.locks if lock.purpose == purpose and lock.state in alive]

    async def give_back(self, lock: str, *, breaking: bool = False) -> None:
        """End a lock, one's own or another one's; one that has ended already is no concern."""
        control = self._control
        with suppress(ClientError):
            if breaking:
                request = pb.BreakLockRequest(target=lock, reason="nobody knows where its holder is")
                await answered(lambda: control.BreakLock(request, timeout=ANSWER_SECONDS))
            else:
                await answered(lambda: control.ReleaseLock(pb.ReleaseLockRequest(name=lock), timeout=ANSWER_SECONDS))

    async def count(self) -> int:
        """Read the counter."""
        request = inventory_service_pb2.GetScheduleRequest(name=NAME)
        found = await answered(lambda: self._client.inventory.GetSchedule(request, timeout=ANSWER_SECONDS))
        return int(found.labels["count"])

    def request(self, after: int) -> Any:
        """Return the request that writes so much."""
        request = update_schedule_pb2.UpdateScheduleRequest()
        request.schedule.name, request.schedule.labels["count"] = NAME, str(after)
        request.update_mask.paths.append("labels")
        return request

    async def write(self, before: int, under: str, owner: str) -> bool:
        """Write a step more than was read, under a lock or without any; False if that was refused."""
        request = self.request(before + self.step)
        request.request_id, request.options.under = str(uuid.uuid4()), under
        method = getattr(self._client.operations, type(request).__name__.removesuffix("Request"))
        try:
            operation = await answered(lambda: method(request, timeout=ANSWER_SECONDS))
        except ClientError as error:
            if error.code not in ("FAILED_PRECONDITION", "NOT_FOUND"):
                raise
            return False
        story = await self._client.wait(operation, timeout=LIMIT + 2 * STILL_SECONDS)
        if story.state != SUCCEEDED:
            # What lost its lock between the request and the grant has done nothing.
            assert story.error is not None
            return False
        self._history.append(Write(owner=owner, before=before, after=before + self.step))
        return True

    async def raise_counter(self, owner: str, fault: Callable[[], Awaitable[None]] | None = None) -> None:
        """Raise it by one; the fault comes between reading and writing."""
        lock = await self.take(owner)
        before = await self.count()
        if fault is not None:
            await fault()
        assert await self.write(before, lock, owner), "whoever holds the lock is not refused"
        await self.leave(owner)

    async def raise_late(
        self, owner: str, other: Person, lose: Callable[[str], Awaitable[None]], *, careless: bool
    ) -> bool:
        """Read under a lock that is lost then, and write when somebody else has; return whether that was taken."""
        lock = await self.take(owner, LIFE_SECONDS)
        before = await self.count()
        await lose(lock)
        await self.leave(owner)
        await other.raise_counter(f"{owner}/successor")
        return await self.write(before, "" if careless else lock, owner)


class Faults:
    """What happens to the services and between them, one fault at a time; each ends by itself."""

    def __init__(self, site: WiredSite) -> None:
        """Harm this site."""
        self._site = site
        self._one_at_a_time = asyncio.Lock()
        self.seen: Counter[str] = Counter()

    async def come(self, fault: str) -> None:
        """Let a fault come, and return once it is over, but for what it has begun elsewhere."""
        how, *whom = fault.split()
        async with self._one_at_a_time:
            if how == "cut":
                self._site.wires[whom[0], whom[1]].cut(CUT_SECONDS)
            elif how == "kill":
                await asyncio.to_thread(self._site.kill, whom[0])
                await asyncio.to_thread(self._site.start, whom[0])
            else:
                await self.stand_still(whom[0])
        self.seen[fault] += 1

    async def stand_still(self, service: str) -> None:
        """Have a service stand still for longer than a lock has."""
        with self._site.paused(service):
            await asyncio.to_thread(until, lambda: self._site.is_stopped(service), LIMIT, f"{service} stands still")
            await asyncio.sleep(STILL_SECONDS if service in SERVICES else HOST_STILL_SECONDS)

    async def lose(self, how: str, person: Person, lock: str) -> None:
        """Have a lock end while its service stands still, or be broken."""
        if how == "broken":
            await person.give_back(lock, breaking=True)
        else:
            async with self._one_at_a_time:
                await self.stand_still("jobs")
        self.seen[how] += 1


async def make_history(site: WiredSite, client: Client, seed: int) -> list[Write]:
    """Have people raise the counter while every fault comes, in an order by the seed; return what they wrote."""
    turns = random.Random(seed).sample(FAULTS, len(FAULTS))
    history: list[Write] = []
    faults, people = Faults(site), [Person(client, history) for _ in range(PEOPLE + 1)]

    async def work(number: int) -> None:
        for turn, fault in enumerate([*turns[number::PEOPLE], ""]):
            owner, person = f"{seed}.{number}.{turn}", people[number]
            if fault in LOSSES:
                lose = partial(faults.lose, fault, people[-1])
                assert not await person.raise_late(owner, people[-1], lose, careless=False), "a lost lock still holds"
            else:
                await person.raise_counter(owner, partial(faults.come, fault) if fault else None)

    async with asyncio.TaskGroup() as tasks:
        for number in range(PEOPLE):
            tasks.create_task(work(number))
    assert faults.seen == Counter(FAULTS)
    return history


@asynccontextmanager
async def wired_site() -> AsyncIterator[WiredSite]:
    """Run the services with wires between them; no host is needed."""
    folder = Path(tempfile.mkdtemp(prefix="vya-", dir="/tmp")) / "site"
    site = WiredSite(folder)
    try:
        async with AsyncExitStack() as stack:
            site.nursery = Nursery(folder)
            prepare_authority(folder / "pki")
            for name in SERVICES:
                for line in LINES:
                    if line[0] == name:
                        wire = site.wires[line] = Wire(site.addresses[line[1]])
                        await wire.open()
                        stack.push_async_callback(wire.close)
                await asyncio.to_thread(site.start, name)
            yield site
    finally:
        site.close()
        if site.nursery is not None:
            site.nursery.close()
        shutil.rmtree(folder.parent, ignore_errors=True)


async def make_counter(client: Client) -> None:
    """Make the counter, at nought."""
    request = create_schedule_pb2.CreateScheduleRequest(schedule_id="counter", request_id=str(uuid.uuid4()))
    request.schedule.cron = "0 0 1 1 *"
    request.schedule.labels["count"] = "0"
    request.schedule.request.CopyFrom(pack(refresh_server_pb2.RefreshServerRequest(name="servers/s1")))
    operation = await answered(lambda: client.operations.CreateSchedule(request, timeout=ANSWER_SECONDS))
    assert (await client.wait(operation, timeout=LIMIT)).state == SUCCEEDED


@pytest.mark.slow
@pytest.mark.timeout(400 + 3 * LONG)
async def test_no_update_is_lost_and_of_the_careless_one_is() -> None:
    """Through kills, standstills and cuts of all services, and locks that end or are broken under their holder."""
    async with wired_site() as site, site.client() as client:
        await make_counter(client)
        end, seed, history = time.monotonic() + LONG, 0, list[Write]()
        while not seed or time.monotonic() < end:
            seed += 1
            history += await make_history(site, client, seed)
            # A turn of each fault, one without for each person; of a lost lock it is the successor's.
            assert len(history) == seed * (len(FAULTS) + PEOPLE)
            assert lost(history, await Person(client, history).count()) == []
        assert [line for check in ALWAYS for line in check(read(site.folder))] == []
        person, other = Person(client, history), Person(client, history)
        assert await person.raise_late("careless", other, partial(other.give_back, breaking=True), careless=True)
        assert lost(history, await person.count())
