"""Histories of a disk at a host that people grow by jobs, while the services, the host and the wires are harmed.

Each person takes the disk's lock, reads its size, and has a job write what was read and a step of his own more, under
the lock. While the host works on that, somebody is killed, stands still, or is cut off; locks are lost under their
holders; and what the host did for earlier ones comes again, late. The host's file, its ledger, the record and what was
acknowledged are compared: no update is lost, and none done twice. With the host's check of tokens switched off one is.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from typing_extensions import override

from tests.acceptance.asking import FULL, LIMIT, MIB, SUCCEEDED, ask, create_pool, create_repository, run
from tests.acceptance.site import until
from tests.faults.shared_disk import Write, lost
from tests.faults.test_job_histories import (
    ANSWER_SECONDS,
    LONG,
    LOSSES,
    Faults,
    Person,
    WiredSite,
    answered,
    wired_site,
)
from tests.invariants.records import read
from tests.invariants.services import ALWAYS
from tests.torture.bugs import VARIABLE
from tests.torture.cuts import Wire
from tests.torture.late import Latecomer
from virtyard.api.actions.v1 import resize_disk_file_pb2
from virtyard.api.inventory.v1 import inventory_service_pb2, server_pb2, virtual_disk_pb2
from virtyard.api.operations.v1 import create_virtual_disk_pb2, discover_server_pb2, resize_virtual_disk_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard_client.client import Client

HOST = "s1"
DISK, SPARE = "virtualDisks/grown", "virtualDisks/spare"
STEPS = (2 * MIB, 3 * MIB, 1 * MIB)
"""By how much each person grows the disk. The last one follows those that lost a lock, who still want more than there
is then: only their lock is in their way, not the refusal to make a disk smaller."""
FAULTS = ("kill jobs", f"kill {HOST}", "kill inventory", f"stop {HOST}", f"cut jobs {HOST}", "cut jobs locks", *LOSSES)
REFUSED = "late effects refused by their tokens"
_DONE = "SELECT effect FROM ledger WHERE phase = 1 AND state = 3 ORDER BY accepted"
_NO_ANSWER = (sqlite3.Error, grpc.aio.AioRpcError, TimeoutError)


class Grower(Person):
    """Somebody who grows the disk, or another one."""

    def __init__(self, client: Client, history: list[Write], step: int, name: str = DISK) -> None:
        """Note in a history what was written; each time it is a step of so many bytes."""
        super().__init__(client, history)
        self.step = step
        self.object = name

    @override
    async def count(self) -> int:
        request = inventory_service_pb2.GetVirtualDiskRequest(name=self.object)
        found = await answered(lambda: self._client.inventory.GetVirtualDisk(request, timeout=ANSWER_SECONDS))
        return int(found.size_bytes)

    @override
    def request(self, after: int) -> Any:
        return resize_virtual_disk_pb2.ResizeVirtualDiskRequest(name=self.object, size_bytes=after)


class Host:
    """What lies at the host."""

    def __init__(self, site: WiredSite, uid: str) -> None:
        """Look at the disk of this uid."""
        self._ledger = site.folder / "state" / HOST / "ledger.db"
        self._uid = uid
        self._image = next(site.shared.glob(f"**/{uid}.raw"))

    @property
    def size(self) -> int:
        """Return how large the file is, in bytes."""
        return self._image.stat().st_size

    def sizes(self) -> list[int]:
        """Return the sizes that were given to the disk, in bytes and in their order, as the ledger has it."""
        with closing(sqlite3.connect(self._ledger, timeout=10)) as sql:
            effects = [participant.Effect.FromString(body) for (body,) in sql.execute(_DONE)]
        resized = resize_disk_file_pb2.ResizeDiskFile()
        return [resized.size_bytes for each in effects if each.do.Unpack(resized) and resized.disk_uid == self._uid]

    def position(self) -> int:
        """Return the position of the ledger, which rises with all that is begun."""
        with closing(sqlite3.connect(self._ledger, timeout=10)) as sql:
            return int(sql.execute("SELECT value FROM position").fetchone()[0])


@asynccontextmanager
async def remembering(client: Client) -> AsyncIterator[None]:
    """Have an operation wait all the time, so that no host forgets what it did for later ones (P18)."""
    holder = Grower(client, [], MIB, SPARE)
    lock = await holder.take("remember", 3600.0)
    waiting = await ask(client, holder.request(await holder.count() + MIB))
    yield
    await holder.give_back(lock)
    assert (await client.wait(waiting, timeout=LIMIT)).state == SUCCEEDED


async def make_history(site: WiredSite, host: Host, people: list[Grower], seed: int) -> None:
    """Have people grow the disk while every fault comes, in an order by the seed."""
    turns = random.Random(seed).sample(FAULTS, len(FAULTS))
    faults, successor, harm = Faults(site), people[-1], list[asyncio.Task[None]]()

    async def come(fault: str, position: int) -> None:
        """Let a fault come once the host has begun."""
        with suppress(AssertionError):  # who stands still meanwhile, or was killed, begins later
            await asyncio.to_thread(until, lambda: host.position() > position, ANSWER_SECONDS, "the host works")
        await faults.come(fault)

    async def begin(fault: str) -> None:
        harm.append(asyncio.create_task(come(fault, host.position())))

    async def work(number: int) -> None:
        for turn, fault in enumerate([*turns[number :: len(people) - 1], ""]):
            owner, person = f"{seed}.{number}.{turn}", people[number]
            if fault in LOSSES:
                lose = partial(faults.lose, fault, successor)
                assert not await person.raise_late(owner, successor, lose, careless=False), "a lost lock still holds"
            else:
                await person.raise_counter(owner, partial(begin, fault) if fault else None)

    async with asyncio.TaskGroup() as tasks:
        for number in range(len(people) - 1):
            tasks.create_task(work(number))
    await asyncio.gather(*harm)
    assert faults.seen == Counter(FAULTS)


@asynccontextmanager
async def furnished() -> AsyncIterator[tuple[WiredSite, Client, Host]]:
    """Run the services and a host that is reached over a wire, with the disk and a spare one."""
    async with wired_site() as site, site.client() as client:
        await asyncio.to_thread(site.issue, HOST)
        await asyncio.to_thread(site.start, HOST)
        wire = site.wires["jobs", HOST] = Wire(site.addresses[HOST])
        await wire.open()
        try:
            server = server_pb2.Server(agent_address=wire.address)
            await run(client, discover_server_pb2.DiscoverServerRequest(server_id=HOST, server=server))
            await run(client, create_pool(site, "pool", [HOST]))
            await run(client, create_repository(site, "shared"))
            wanted = virtual_disk_pb2.VirtualDisk(repository="repositories/shared", size_bytes=MIB, allocation=FULL)
            for name in (DISK, SPARE):
                await run(
                    client,
                    create_virtual_disk_pb2.CreateVirtualDiskRequest(
                        virtual_disk_id=Path(name).name, virtual_disk=wanted
                    ),
                )
            disk = await client.inventory.GetVirtualDisk(inventory_service_pb2.GetVirtualDiskRequest(name=DISK))
            yield site, client, Host(site, disk.uid)
        finally:
            await wire.close()


async def send_until(late: Latecomer, arrived: Callable[[], bool]) -> None:
    """Send late messages until it can be seen that one has arrived."""
    async with asyncio.timeout(LIMIT):
        while not arrived():
            with suppress(*_NO_ANSWER):
                await late.send_one(HOST)


@pytest.mark.slow
@pytest.mark.timeout(400 + 3 * LONG)
async def test_no_update_is_lost_or_doubled_and_without_the_token_check_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through kills, standstills and cuts, lost locks and late messages; then a late one acts, and the file tells."""
    async with furnished() as (site, client, host):
        history = list[Write]()
        people = [Grower(client, history, step) for step in STEPS]
        late, stop = Latecomer(site, [HOST], random.Random(1)), asyncio.Event()
        end, seed, first = time.monotonic() + LONG, 0, host.size
        while not seed or time.monotonic() < end:
            seed += 1
            size, told = host.size, len(history)
            async with remembering(client), asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(late.run(stop))
                await make_history(site, host, people, seed)
                stop.set()
                await sender
                stop.clear()
                refused = late.count[REFUSED]
                await send_until(late, lambda: late.count[REFUSED] > refused)  # noqa: B023 - at once
                made = history[told:]
                # A turn of each fault, one without for each person; of a lost lock it is the successor's.
                assert len(made) == len(FAULTS) + len(people) - 1
                # What the host did in earlier rounds it may forget at any time.
                assert [each for each in host.sizes() if each > size] == [write.after for write in made]
            assert late.wrong == []
            assert lost(history, host.size) == []
            assert host.size == await people[0].count() == first + sum(each.after - each.before for each in history)
        assert [line for check in ALWAYS for line in check(read(site.folder))] == []
        async with remembering(client):
            for _ in range(2):
                await people[0].raise_counter("remembered")
            site.kill(HOST)
            monkeypatch.setenv(VARIABLE, "token-check-dropped")
            site.start(HOST)
            size = host.size
            await send_until(late, lambda: host.size != size)
            assert late.wrong
            assert lost(history, host.size)
            assert host.size != await people[0].count()
