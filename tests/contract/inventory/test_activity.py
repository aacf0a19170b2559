"""Who locks an object is shown with it, while the lock service can be followed, and is never stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.contract.inventory.samples import create, effect, pool, server
from tests.contract.inventory.served import Served, wait_until
from tests.contract.inventory.test_reads import execute
from tests.contract.inventory.test_watch import BOOKMARK, Frames
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.api.locks.v1 import lock_service_pb2 as locks_pb
from virtyard.api.type.v1 import activity_pb2, lock_pb2, watch_pb2
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.inventory import activity as activity_module
from virtyard.inventory.main import open_inventory
from virtyard.kernel.errors import Unavailable
from virtyard.kernel.permissions import Principal
from virtyard.runtime.call import Call
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.resume_point import TokenStem
from virtyard.runtime.rpc import Service

X, IX = lock_pb2.LOCK_MODE_X, lock_pb2.LOCK_MODE_IX


class Locks:
    """A lock service that shows what the test says, and can be down."""

    def __init__(self) -> None:
        self.held: dict[str, locks_pb.Lock] = {}
        self.down = False
        self._news: asyncio.Queue[locks_pb.WatchLocksResponse | None] = asyncio.Queue()
        self._stem, self.sequence = TokenStem("locks", "1.1"), 0

    def hold(self, name: str, owner: str, mode: lock_pb2.LockMode.ValueType = X, *, waiting: bool = False) -> None:
        """Grant a lock, or queue a waiter."""
        lock = locks_pb.Lock(object=name, owner=owner, mode=mode, waiting=waiting, purpose=f"purpose of {owner}")
        self.held[f"{name}|{owner}"] = lock
        self._tell(watch_pb2.FRAME_KIND_CHANGED, f"{name}|{owner}", lock)

    def release(self, name: str, owner: str) -> None:
        """Release a lock."""
        self._tell(watch_pb2.FRAME_KIND_REMOVED, f"{name}|{owner}", self.held.pop(f"{name}|{owner}"))

    def cut(self) -> None:
        """Break the stream."""
        self._news.put_nowait(None)

    async def WatchLocks(  # noqa: N802 - named as the rpc
        self, request: locks_pb.WatchLocksRequest, call: Call
    ) -> AsyncIterator[locks_pb.WatchLocksResponse]:
        """Show what is held, then what changes."""
        if self.down:
            raise Unavailable("down")
        self._news = asyncio.Queue()
        for key, lock in sorted(self.held.items()):
            yield locks_pb.WatchLocksResponse(kind=watch_pb2.FRAME_KIND_SNAPSHOT, name=key, lock=lock)
        yield locks_pb.WatchLocksResponse(kind=watch_pb2.FRAME_KIND_BOOKMARK, resume_token=self._stem.at(self.sequence))
        while (frame := await self._news.get()) is not None:
            yield frame
        raise Unavailable("cut")

    def _tell(self, kind: watch_pb2.FrameKind.ValueType, key: str, lock: locks_pb.Lock) -> None:
        self.sequence += 1
        token = self._stem.at(self.sequence)
        self._news.put_nowait(locks_pb.WatchLocksResponse(kind=kind, resume_token=token, name=key, lock=lock))


@pytest.fixture
def locks() -> Locks:
    """Return a lock service where the pool is held and waited for."""
    made = Locks()
    made.hold("serverPools/p", "operations/1")
    made.hold("serverPools/p", "operations/2", waiting=True)
    made.hold("servers/s", "operations/1", IX)
    return made


@pytest.fixture
async def served(tmp_path: Path, clock: FakeClock, locks: Locks) -> AsyncIterator[Served]:
    """Run an inventory that follows that lock service."""
    descriptor = locks_pb.DESCRIPTOR.services_by_name["LockService"]
    async with AsyncExitStack() as stack:
        to_locks = await stack.enter_async_context(
            LocalChannel([Service(descriptor, locks)], Principal.of("service/inventory"))
        )
        inventory = await stack.enter_async_context(open_inventory(tmp_path, clock, to_locks))
        viewer = Principal.of("user/viewer", frozenset({Role.ROLE_VIEWER}))
        channels = {
            "user/viewer": await stack.enter_async_context(LocalChannel(inventory.services, viewer)),
            "service/jobs": await stack.enter_async_context(
                LocalChannel(inventory.services, Principal.of("service/jobs"))
            ),
        }
        running = Served(inventory=inventory, dial=channels.__getitem__)
        await execute(running, effect("1/1/1", create(pool("p")), create(server("s"))))
        activity = inventory.activity
        assert activity is not None
        await wait_until(lambda: activity.known)
        yield running


async def activity_of_pool(served: Served) -> activity_pb2.Activity:
    """Return the activity of the pool, as a get shows it."""
    request = inventory_service_pb2.GetServerPoolRequest(name="serverPools/p")
    return (await served.reads.GetServerPool(request)).activity


async def wait_for_holders(served: Served, *holders: str) -> None:
    """Wait until the pool is shown to be locked by these."""
    async with asyncio.timeout(5):
        while [info.holder for info in (await activity_of_pool(served)).locked_by] != list(holders):
            await asyncio.sleep(0)


async def test_reads_show_holders_and_waiters(served: Served) -> None:
    """A get and a list name the holder first, then who waits; only a holder's operation is under way."""
    shown = await activity_of_pool(served)
    assert [(info.holder, info.waiting, info.mode) for info in shown.locked_by] == [
        ("operations/1", False, X),
        ("operations/2", True, X),
    ]
    assert list(shown.current_operations) == ["operations/1"]
    page = await served.reads.ListServers(inventory_service_pb2.ListServersRequest())
    assert [info.mode for info in page.servers[0].activity.locked_by] == [IX]
    assert not page.servers[0].activity.current_operations


async def test_lock_comes_and_goes_without_a_commit(served: Served, locks: Locks) -> None:
    """Neither etag nor generation know of locks, and watchers are shown them all the same."""
    watch = Frames(served)
    frames = await watch.until(BOOKMARK)
    assert [info.holder for info in frames[0].object.server_pool.activity.locked_by] == ["operations/1", "operations/2"]
    commits = served.inventory.database.commits
    locks.release("serverPools/p", "operations/1")
    locks.hold("serverPools/p", "operations/2")
    frame = await watch.next()
    assert [(info.holder, info.waiting) for info in frame.object.server_pool.activity.locked_by] == [
        ("operations/2", False)
    ]
    assert frame.object.server_pool.etag == frames[0].object.server_pool.etag
    await wait_for_holders(served, "operations/2")
    locks.release("serverPools/p", "operations/2")
    assert not (await watch.next()).object.server_pool.activity.locked_by
    assert served.inventory.database.commits == commits


async def test_reads_say_as_of_when_locks_are_known(served: Served, locks: Locks) -> None:
    """The position of the last news of the object's own locks, or of the snapshot; others' news move it not."""
    known = locks.sequence
    assert (await activity_of_pool(served)).locks_sequence == known
    locks.release("serverPools/p", "operations/1")
    locks.hold("servers/s", "operations/3", IX)
    await wait_for_holders(served, "operations/2")
    assert (await activity_of_pool(served)).locks_sequence == known + 1
    # Before the stream breaks, so that it is told only by the snapshot that follows.
    locks.held.pop("serverPools/p|operations/2")
    locks.sequence += 1
    locks.cut()
    async with asyncio.timeout(30):
        while (shown := await activity_of_pool(served)).locks_sequence != known + 3:
            await asyncio.sleep(0)
    assert not shown.locked_by


async def test_what_is_remembered_of_sequences_is_bounded(
    served: Served, locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects that were locked once are forgotten, and no object is shown as known of earlier than it was."""
    monkeypatch.setattr(activity_module, "_MOST_NEWS", 3)
    follower = served.inventory.activity
    assert follower is not None
    seen = 0
    for number in range(10):
        locks.hold(f"virtualMachines/m{number}", "operations/9")
        async with asyncio.timeout(30):
            while not (last := follower.of(f"virtualMachines/m{number}")) or not last.locked_by:
                await asyncio.sleep(0)
        assert last.locks_sequence == locks.sequence
        shown = follower.of("serverPools/p")
        assert shown is not None
        assert seen <= shown.locks_sequence <= locks.sequence
        seen = shown.locks_sequence
        assert len(follower._news) <= 3
    assert seen > 3


async def test_locks_are_unknown_while_the_lock_service_is_away(served: Served, locks: Locks) -> None:
    """Nothing stale is shown as present; after the return everything is shown again."""
    activity = served.inventory.activity
    assert activity is not None
    locks.down = True
    locks.cut()
    await wait_until(lambda: not activity.known)
    shown = await activity_of_pool(served)
    assert (shown.locks_unknown, shown.locks_sequence) == (True, 0)
    assert not shown.locked_by
    del locks.held["serverPools/p|operations/1"]
    locks.down = False
    await wait_for_holders(served, "operations/2")
