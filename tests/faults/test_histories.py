"""Histories of a disk that many clients grow under locks, while services are killed, stand still, and are cut off.

Each client takes the lock, reads the disk at its host, works, and writes what it has read and a step more. Some are cut
off while they work: they are taken for dead, others go on with their locks, and their writes arrive when the wires are
mended. Nobody settles these (P1), so that the host's check of tokens alone stands between them and the disk (P2). A
checker over what the host has acknowledged finds an update that was lost; with the check switched off it does.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.acceptance.site import Site, until
from tests.faults.nursery import Nursery
from tests.faults.shared_disk import ANSWER_SECONDS, Disk, Port, lost, wired
from tests.torture.bugs import VARIABLE
from tests.torture.cuts import Wire
from tools import processes
from virtyard.kernel.errors import DeadlineExceeded, StaleEpoch, Unavailable
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import LockSet, LockView, LockWish, Release
from virtyard.locks.proxy import LocksProxy
from virtyard.processes.site import credentials_of, prepare_authority
from virtyard.runtime.channel import open_channel

LONG = 60.0 * float(os.environ.get("MINUTES", "10")) if os.environ.get("VIRTYARD_TORTURE") else 0.0
"""Seconds that histories are made for; one of each kind if 0."""
CLIENTS = 4
IDENTITIES = {"locks": "service/locks", "s1": "agent/s1"}
TAKEN_FOR_DEAD = "taken for dead"
FAULTS = (*(f"{how} {whom}" for how in ("kill", "stop", "cut") for whom in IDENTITIES), TAKEN_FOR_DEAD, TAKEN_FOR_DEAD)
_CUT_SECONDS = 0.2


class Client:
    """Somebody who grows the disk, with a wire to the lock service and one to the host."""

    def __init__(self, proxy: LocksProxy, port: Port, disk: Disk, wires: dict[str, Wire]) -> None:
        """Reach both by these."""
        self._proxy = proxy
        self._port = port
        self._disk = disk
        self._wires = wires
        self._away = False

    async def grow(self, owner: str, fault: Callable[[], Awaitable[None]] | None = None) -> None:
        """Grow the disk once; a fault comes between reading and writing."""
        number, token, before = await self._begin(owner)
        if fault is not None:
            await fault()
        assert await self._port.write(number, token, owner, before), "who holds the lock is not refused"
        await self.release(owner, 1)

    async def grow_late(self, owner: str, successor: Client) -> bool:
        """Be cut off after reading, and be taken for dead; tell whether the host took what then was written.

        Somebody with a higher epoch closes the owner, and goes on with the disk.
        """
        number, token, before = await self._begin(owner)
        self.cut(math.inf)
        self._away = True
        async with asyncio.TaskGroup() as tasks:
            late = tasks.create_task(self._port.write(number, token, owner, before))
            await successor.release(owner, 2)
            await successor.grow(f"{owner}/successor")
            assert not late.done()
            self._away = False
            self.cut(0)
        await self.release(owner, 1)
        return late.result()

    async def create(self) -> None:
        """Make the disk."""
        await self._port.create()

    async def locks(self) -> list[LockView]:
        """Return what is held and waited for."""
        return await self._proxy.locks()

    async def _begin(self, owner: str) -> tuple[int, int, int]:
        """Take the lock and read; return the operation's number, its token, and the size."""
        wish = LockWish(object=self._disk.object, mode=LockMode.X)
        grant = await self._proxy.acquire(LockSet(owner=owner, epoch=1, locks=(wish,)))
        number, token = next(self._disk.numbers), grant.locks[0].token
        return number, token, await self._port.read(number, token)

    async def release(self, owner: str, epoch: int) -> None:
        """Release as the due worker does: until it is known to be done."""
        while True:
            try:
                await self._proxy.release([Release(owner=owner, epoch=epoch)])
            except (Unavailable, DeadlineExceeded):
                continue
            except StaleEpoch:
                assert epoch == 1, "only who was taken for dead is overtaken"
            return

    def cut(self, seconds: float, whom: str = "") -> int:
        """Cut this client off, from everybody or from one; return how many ends were dropped."""
        if self._away:
            return 0
        return sum(wire.cut(seconds) for name, wire in self._wires.items() if whom in ("", name))


class Faults:
    """What happens to the services and to the wires; each has begun when it has come, and ends by itself."""

    def __init__(self, site: Site, clients: list[Client]) -> None:
        """Do harm to the processes of a site, and to the wires of its clients."""
        self._site = site
        self._clients = clients
        self._repair: asyncio.Task[None] | None = None
        self.seen: Counter[str] = Counter()

    async def come(self, fault: str) -> None:
        """Let a fault come, after the one before it has ended."""
        await self.repaired()
        how, _, whom = fault.partition(" ")
        if how == "cut":
            assert sum([client.cut(_CUT_SECONDS, whom) for client in self._clients])
        elif how == "kill":
            await asyncio.to_thread(self._site.kill, whom)
            self._repair = asyncio.create_task(asyncio.to_thread(self._site.start, whom))
        else:
            processes.send(self._site.record(whom), signal.SIGSTOP)
            # Threads of a process run on until its first one has taken the signal.
            await asyncio.to_thread(until, lambda: self._site.is_stopped(whom), 20.0, f"{whom} stands still")
            self._repair = asyncio.create_task(self._go_on(whom))
        self.seen[fault] += 1

    async def repaired(self) -> None:
        """Wait until what was killed or stopped goes on."""
        if self._repair is not None:
            await self._repair

    async def _go_on(self, whom: str) -> None:
        """Let a process go on once somebody has waited for it in vain."""
        credentials = credentials_of(self._site.folder / "pki", "service/jobs")
        try:
            async with open_channel(self._site.addresses[whom], credentials, IDENTITIES[whom]) as channel:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(channel.channel_ready(), ANSWER_SECONDS)
        finally:
            self._site.resume(whom)


@asynccontextmanager
async def opened(site: Site, disk: Disk) -> AsyncIterator[Client]:
    """Open a client."""
    async with AsyncExitStack() as stack:
        ends = {
            name: await stack.enter_async_context(wired(site.addresses[name], site.folder / "pki", identity))
            for name, identity in IDENTITIES.items()
        }
        proxy = LocksProxy(ends["locks"][1], first_pause=0.02, longest_pause=0.2, release_timeout=ANSWER_SECONDS)
        await stack.enter_async_context(proxy)
        yield Client(proxy, Port(ends["s1"][1], disk), disk, {name: wire for name, (wire, _) in ends.items()})


async def make_history(site: Site, disk: Disk, seed: int) -> Counter[str]:
    """Have clients grow a disk while every fault comes, in an order by the seed; return which came."""
    turns = random.Random(seed).sample(FAULTS, len(FAULTS))
    async with AsyncExitStack() as stack:
        successor, *clients = [await stack.enter_async_context(opened(site, disk)) for _ in range(1 + CLIENTS)]
        faults = Faults(site, [successor, *clients])

        async def work(number: int, client: Client) -> None:
            for turn, fault in enumerate([*turns[number::CLIENTS], ""]):
                owner = f"{disk.object}/{number}.{turn}"
                if fault == TAKEN_FOR_DEAD:
                    assert not await client.grow_late(owner, successor), "the host takes a stale write"
                    faults.seen[fault] += 1
                else:
                    await client.grow(owner, partial(faults.come, fault) if fault else None)

        await successor.create()
        try:
            async with asyncio.TaskGroup() as tasks:
                for number, client in enumerate(clients):
                    tasks.create_task(work(number, client))
        finally:
            await faults.repaired()
        assert await successor.locks() == []
    return faults.seen


@pytest.fixture
def site() -> Iterator[Site]:
    """A lock service and the agent of a host, each a process, and nobody else."""
    folder = Path(tempfile.mkdtemp(prefix="vya-", dir="/tmp")) / "site"
    made = Site(folder)
    try:
        made.nursery = Nursery(folder)
        prepare_authority(folder / "pki")
        made.issue("s1")
        for name in IDENTITIES:
            made.start(name)
        yield made
    finally:
        made.close()
        if made.nursery is not None:
            made.nursery.close()
        shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(400 + 2 * LONG)
async def test_no_update_is_lost_and_without_the_token_check_one_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through kills, standstills and cuts of both services, and of those who hold the lock."""
    end, numbers, seed = time.monotonic() + LONG, count(1), 0
    while not seed or time.monotonic() < end:
        seed += 1
        disk = Disk(site, f"c{seed}", numbers)
        assert await make_history(site, disk, seed) == Counter(FAULTS)
        # A turn of each fault, one without for each client, and one of each successor; not the stale ones.
        assert len(disk.history) == len(FAULTS) + CLIENTS
        assert lost(disk.history, disk.size) == []
    site.kill("s1")
    monkeypatch.setenv(VARIABLE, "token-check-dropped")
    site.start("s1")
    disk = Disk(site, "unchecked", numbers)
    async with opened(site, disk) as client, opened(site, disk) as successor:
        await client.create()
        assert await client.grow_late(f"{disk.object}/late", successor)
        assert len(disk.history) == 2
        assert lost(disk.history, disk.size)
