"""R6: the lock service is killed with waiters queued; their order is kept, they re-attach, and tokens stay the same."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.faults.shared_disk import wired
from virtyard.kernel.errors import OwnerClosed, Unavailable, WrongState
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.main import open_locks
from virtyard.locks.model import Grant, LockSet, LockWish, QueuePlace, Release
from virtyard.locks.proxy import LocksProxy
from virtyard.processes.faults import KILL
from virtyard.processes.site import credentials_of, prepare_authority
from virtyard.runtime.channel import open_channel
from virtyard.runtime.server import serve

SERVE = "import sys; from virtyard.processes.serve import main; sys.exit(main(sys.argv[1:]))"


class LockProcess:
    """`virtyard serve locks`, started again whenever it dies."""

    def __init__(self, folder: Path) -> None:
        """Serve on one port, so that a new process is found where the old one was."""
        self.folder = folder
        self.deaths: list[int] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        prepare_authority(folder / "pki")

    @asynccontextmanager
    async def running(self, kill_at: str) -> AsyncIterator[None]:
        """Run it; the first process kills itself right after this transition."""
        stopping = asyncio.Event()

        async def supervise() -> None:
            environment = dict(os.environ, **{KILL: kill_at})
            while not stopping.is_set():
                process = await asyncio.create_subprocess_exec(
                    *[sys.executable, "-c", SERVE, "locks", "--listen", self.address],
                    *["--state", str(self.folder), "--context", str(self.folder / "context.json")],
                    env=environment,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                )
                environment.pop(KILL, None)
                ended, stopped = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stopping.wait())
                await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    process.terminate()
                stopped.cancel()
                self.deaths.append(await ended)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervise())
            try:
                yield
            finally:
                stopping.set()


def wanted(owner: str, *names: str, priority: int = 0) -> LockSet:
    """Return a set that asks for X on these objects."""
    wishes = tuple(LockWish(object=name, mode=LockMode.X) for name in names)
    return LockSet(owner=owner, epoch=1, locks=wishes, priority=priority)


def tokens(grant: Grant) -> dict[str, int]:
    """Return the tokens of a grant."""
    return {lock.object: lock.token for lock in grant.locks}


async def release(proxy: LocksProxy, owner: str) -> None:
    """Release an owner as the due worker does: until it is known to be done."""
    async with asyncio.timeout(30):
        while True:
            try:
                await proxy.release([Release(owner=owner, epoch=1)])
            except Unavailable:
                continue
            return


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", ["locks.L1", "locks.L0", "locks.L0#2", "locks.L2", "locks.L1#2", "locks.L2#2"])
async def test_a_killed_lock_service_loses_neither_order_nor_tokens(tmp_path: Path, kill_at: str) -> None:
    """Killed right after each kind of commit, before anybody was answered: the outcome is the same as without it."""
    process = LockProcess(tmp_path)
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        await stack.enter_async_context(process.running(kill_at))
        channel = open_channel(process.address, credentials_of(tmp_path / "pki", "service/jobs"), "service/locks")
        await stack.enter_async_context(channel)
        proxy = await stack.enter_async_context(LocksProxy(channel, first_pause=0.02, longest_pause=0.2))

        first = await proxy.acquire(wanted("a", "vm1", "vm2"))
        low, low_placed = asking(proxy, wanted("b", "vm1"))
        await low_placed.wait()
        high, high_placed = asking(proxy, wanted("c", "vm1", "vm3", priority=1))
        await high_placed.wait()
        assert tokens(await proxy.acquire(wanted("a", "vm1", "vm2"))) == tokens(first) == {"vm1": 1, "vm2": 2}
        await release(proxy, "a")
        assert tokens(await high) == {"vm1": 3, "vm3": 4}
        assert not low.done()
        await release(proxy, "c")
        assert tokens(await low) == {"vm1": 5}
        await release(proxy, "b")
        assert await proxy.locks() == []
        for owner in "abc":
            with pytest.raises(OwnerClosed):
                await proxy.acquire(wanted(owner, "vm1"))
    assert process.deaths[0] == -signal.SIGKILL
    assert len(process.deaths) == 2


@pytest.mark.slow
async def test_a_killed_lock_service_keeps_a_persons_lock_and_what_runs_under_it(tmp_path: Path) -> None:
    """Killed with a person's lock, a child of it and a waiter: the child is let in, the waiter waits (R6)."""
    process = LockProcess(tmp_path)
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        await stack.enter_async_context(process.running("locks.L0"))
        channel = open_channel(process.address, credentials_of(tmp_path / "pki", "service/jobs"), "service/locks")
        await stack.enter_async_context(channel)
        proxy = await stack.enter_async_context(LocksProxy(channel, first_pause=0.02, longest_pause=0.2))

        assert tokens(await proxy.acquire(wanted("locks/ann", "server"))) == {"server": 0}
        child = replace(wanted("a", "server", "vm"), under="locks/ann")
        first = tokens(await proxy.acquire(child))
        other, placed = asking(proxy, wanted("b", "server", priority=20))
        await placed.wait()  # answered by the second process, as the first one was killed right after this commit
        assert tokens(await proxy.acquire(child)) == first
        second = replace(wanted("c", "disk"), under="locks/ann")
        assert set(tokens(await proxy.acquire(second))) == {"disk"}
        with pytest.raises(WrongState):
            await release(proxy, "locks/ann")
        assert not other.done()
        for owner in ("a", "c", "locks/ann"):
            await release(proxy, owner)
        assert tokens(await other) == {"server": 4}
    assert process.deaths[0] == -signal.SIGKILL


def asking(proxy: LocksProxy, asked: LockSet) -> tuple[asyncio.Future[Grant], asyncio.Event]:
    """Ask in the background; the event tells that a place was heard."""
    placed = asyncio.Event()

    def note(place: QueuePlace) -> None:
        assert place.owner == asked.owner
        placed.set()

    return asyncio.ensure_future(proxy.acquire(asked, note)), placed


async def test_a_stream_that_was_cut_leaves_nobody_waiting_to_send_on_it(tmp_path: Path) -> None:
    """After cuts there is one sender, that of the present stream: grpc ends none whose call broke by itself."""
    pki = tmp_path / "pki"
    prepare_authority(pki)
    async with (
        open_locks(tmp_path / "state", FakeClock(), place_interval=0.0) as locks,
        serve(locks.services, credentials=credentials_of(pki, "service/locks"), grace=0.2) as server,
        wired(server.address, pki, "service/locks") as (wire, channel),
        LocksProxy(channel, first_pause=0.01, longest_pause=0.05) as proxy,
    ):
        for number in range(3):
            await proxy.acquire(wanted(f"operations/{number}", f"names/{number}"))
            assert senders() == 1
            assert wire.cut(0.0)


def senders() -> int:
    """Return how many tasks of grpc wait for what is to be sent on a stream."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return sum("_consume_request_iterator" in getattr(each, "__qualname__", "") for each in coroutines)
