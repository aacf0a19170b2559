"""The lock service keeps its contract, whether it is called in process or over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from tests.contract.locks.conftest import Site
from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub
from virtyard.api.type.v1 import watch_pb2
from virtyard.kernel.errors import (
    InvalidRequest,
    OwnerClosed,
    PayloadMismatch,
    PermissionDenied,
    StaleEpoch,
    Superseded,
    VirtyardError,
    WrongState,
)
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import Grant, LockSet, LockWish, QueuePlace, Release
from virtyard.locks.proxy import LocksProxy
from virtyard.runtime.status import errors_named

X, IX, S = LockMode.X, LockMode.IX, LockMode.S


def wanted(owner: str, *names: str, epoch: int = 1, priority: int = 0, turn: int = 0, mode: LockMode = X) -> LockSet:
    """Return a set that asks for these objects in one mode."""
    wishes = tuple(LockWish(object=name, mode=mode, job=f"{owner}/jobs/1") for name in names)
    return LockSet(owner=owner, epoch=epoch, locks=wishes, priority=priority, purpose=f"work of {owner}", round=turn)


class Waiting:
    """A set that is asked for in the background, and the places it was told."""

    def __init__(self, proxy: LocksProxy, asked: LockSet, tasks: asyncio.TaskGroup) -> None:
        """Ask."""
        self.places: list[QueuePlace] = []
        self._told = asyncio.Event()
        self.grant = tasks.create_task(proxy.acquire(asked, self._note))

    def _note(self, place: QueuePlace) -> None:
        self.places.append(place)
        self._told.set()

    async def placed(self, fits: Callable[[QueuePlace], bool] = lambda place: True) -> QueuePlace:
        """Wait for a place that fits."""
        async with asyncio.timeout(10):
            while True:
                for place in self.places:
                    if fits(place):
                        return place
                self._told.clear()
                await self._told.wait()


def tokens(grant: Grant) -> dict[str, int]:
    """Return the tokens of a grant."""
    return {lock.object: lock.token for lock in grant.locks}


async def close(proxy: LocksProxy, *owners: str) -> None:
    """Release owners for ever."""
    await proxy.release([Release(owner=owner, epoch=1) for owner in owners])


async def test_a_grant_names_every_object_with_mode_and_token(proxy: LocksProxy) -> None:
    """What a participant needs for its check."""
    grant = await proxy.acquire(wanted("a", "vm1", "vm2"))
    assert [(lock.object, lock.mode, lock.token) for lock in grant.locks] == [("vm1", X, 1), ("vm2", X, 2)]


async def test_a_waiter_hears_its_place_and_is_granted_after_the_release(proxy: LocksProxy) -> None:
    """Who is in the way, over what and doing what; then the locks."""
    async with asyncio.TaskGroup() as tasks:
        await proxy.acquire(wanted("a", "vm1"))
        second = Waiting(proxy, wanted("b", "vm1"), tasks)
        third = Waiting(proxy, wanted("c", "vm1"), tasks)
        place = await third.placed(lambda place: place.position == 2)
        assert [(each.owner, each.waiting, each.object) for each in place.blockers] == [
            ("a", False, "vm1"),
            ("b", True, "vm1"),
        ]
        assert (place.blockers[0].purpose, place.blockers[0].job) == ("work of a", "a/jobs/1")
        await close(proxy, "a")
        assert tokens(await second.grant) == {"vm1": 2}
        await third.placed(lambda place: place.position == 1 and place.blockers[0].owner == "b")
        await close(proxy, "b")
        assert tokens(await third.grant) == {"vm1": 3}


async def test_a_lock_names_the_job_that_uses_it_now(proxy: LocksProxy, site: Site) -> None:
    """The owner tells as its jobs take turns; it costs no commit, and watchers and waiters are shown it."""
    await proxy.acquire(wanted("a", "vm1", "vm2"))
    commits = site.locks.database.commits
    proxy.note_uses("a", {"vm2": "jobs/12-3", "nothing": "jobs/12-3"})
    proxy.note_uses("nobody", {"vm2": "jobs/13-1"})
    async with asyncio.timeout(10):
        while (used := {lock.object: lock.job for lock in await proxy.locks()})["vm2"] != "jobs/12-3":
            await asyncio.sleep(0)
    assert used == {"vm1": "a/jobs/1", "vm2": "jobs/12-3"}
    assert site.locks.database.commits == commits
    async with asyncio.TaskGroup() as tasks:
        other = Waiting(proxy, wanted("b", "vm2"), tasks)
        assert [blocker.job for blocker in (await other.placed()).blockers] == ["jobs/12-3"]
        await close(proxy, "a")
        await other.grant


async def test_an_owner_under_another_does_not_wait_for_it(proxy: LocksProxy) -> None:
    """A person has no token, what runs under the lock has one; the lock is not released before that (P23)."""
    held = await proxy.acquire(wanted("locks/ann", "server1"))
    assert tokens(held) == {"server1": 0}
    own = replace(wanted("a", "server1", "vm1"), under="locks/ann")
    async with asyncio.TaskGroup() as tasks:
        other = Waiting(proxy, wanted("b", "server1", priority=20), tasks)
        await other.placed()
        assert set(tokens(await proxy.acquire(own))) == {"server1", "vm1"}
        with pytest.raises(WrongState, match="before a"):
            await close(proxy, "locks/ann")
        await other.placed(lambda place: {blocker.owner for blocker in place.blockers} == {"locks/ann", "a"})
        await close(proxy, "a")
        await close(proxy, "locks/ann")
        await other.grant
    with pytest.raises(WrongState, match="not held any more"):
        await proxy.acquire(replace(own, owner="c"))


async def test_many_owners_share_one_stream(proxy: LocksProxy, site: Site) -> None:
    """Three hundred sets at once take a handful of commits."""
    before = site.locks.database.commits
    grants = await asyncio.gather(*[proxy.acquire(wanted(f"o{number}", f"vm{number}")) for number in range(300)])
    assert len({lock.token for grant in grants for lock in grant.locks}) == 300
    await asyncio.gather(*[close(proxy, f"o{number}") for number in range(300)])
    assert site.locks.database.commits - before < 60
    assert await proxy.locks() == []


async def test_the_same_set_gets_the_same_tokens_from_anywhere(proxy: LocksProxy, site: Site) -> None:
    """A scheduler that has adopted the operation asks again with a higher epoch."""
    first = await proxy.acquire(wanted("a", "vm1"))
    again = await (await site.proxy()).acquire(wanted("a", "vm1", epoch=2))
    assert tokens(again) == tokens(first)
    with pytest.raises(StaleEpoch):
        await close(proxy, "a")


async def test_a_waiter_that_is_adopted_keeps_its_place(proxy: LocksProxy, site: Site) -> None:
    """Both who wait for it are told, and the rank is the first one's."""
    async with asyncio.TaskGroup() as tasks:
        await proxy.acquire(wanted("a", "vm1"))
        first = Waiting(proxy, wanted("b", "vm1"), tasks)
        await first.placed()
        later = Waiting(proxy, wanted("c", "vm1"), tasks)
        await later.placed()
        adopted = Waiting(await site.proxy(), wanted("b", "vm1", epoch=2), tasks)
        assert (await adopted.placed()).position == 1
        await close(proxy, "a")
        assert tokens(await first.grant) == tokens(await adopted.grant)
        await proxy.release([Release(owner="b", epoch=2)])
        await later.grant


async def test_refusals_come_as_the_errors_they_are(proxy: LocksProxy) -> None:
    """Each owner is told its own, on the stream that all share."""
    await proxy.acquire(wanted("a", "vm1", epoch=2))
    await close(proxy, "gone")
    refused: list[tuple[LockSet, type[VirtyardError]]] = [
        (wanted("a", "vm1", epoch=1), StaleEpoch),
        (wanted("a", "vm2", epoch=2), PayloadMismatch),
        (wanted("gone", "vm2"), OwnerClosed),
        (wanted("b"), InvalidRequest),
        (wanted("b", ""), InvalidRequest),
        (wanted("b", "vm2", priority=21), InvalidRequest),
        (wanted("b", "vm2", mode=LockMode.UNSPECIFIED), InvalidRequest),
        (wanted("", "vm2"), InvalidRequest),
    ]
    for asked, kind in refused:
        with pytest.raises(kind):
            await proxy.acquire(asked)
    assert tokens(await proxy.acquire(wanted("b", "vm2"))) == {"vm2": 2}


async def test_a_release_is_final_and_may_be_repeated(proxy: LocksProxy) -> None:
    """Whoever still waits for the owner hears so; nothing ever comes back (P5)."""
    await proxy.acquire(wanted("a", "vm1"))
    placed = asyncio.Event()
    waiting = asyncio.ensure_future(proxy.acquire(wanted("b", "vm1"), lambda place: placed.set()))
    await placed.wait()
    await asyncio.gather(close(proxy, "b"), close(proxy, "b"))
    with pytest.raises(OwnerClosed):
        await waiting
    with pytest.raises(OwnerClosed):
        await proxy.acquire(wanted("b", "vm1"))


async def test_another_round_keeps_the_rank_and_refuses_the_earlier_one(proxy: LocksProxy, site: Site) -> None:
    """Re-planning asks for another set at the original place (P4)."""
    other = await site.proxy()
    await proxy.acquire(wanted("a", "vm1"))
    placed = asyncio.Event()
    earlier = asyncio.ensure_future(other.acquire(wanted("b", "vm1"), lambda place: placed.set()))
    await placed.wait()
    async with asyncio.TaskGroup() as tasks:
        later = Waiting(proxy, wanted("c", "vm1"), tasks)
        await later.placed(lambda place: place.position == 2)
        moved = Waiting(proxy, wanted("b", "vm1", "vm2", turn=1), tasks)
        await moved.placed(lambda place: place.position == 1)
        with pytest.raises(Superseded):
            await earlier
        await close(proxy, "a")
        assert set(tokens(await moved.grant)) == {"vm1", "vm2"}
        await close(proxy, "b")
        await later.grant


async def test_one_refused_release_does_not_hold_the_others_up(proxy: LocksProxy) -> None:
    """Releases that share a call are told each its own outcome."""
    await proxy.acquire(wanted("a", "vm1", epoch=2))
    await proxy.acquire(wanted("b", "vm2"))
    await proxy.acquire(wanted("c", "vm3"))
    outcomes = await asyncio.gather(*[close(proxy, owner) for owner in "abc"], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StaleEpoch, type(None), type(None)]
    assert [lock.owner for lock in await proxy.locks()] == ["a"]


async def test_a_part_can_be_given_back_early(proxy: LocksProxy) -> None:
    """What stays keeps its token, in an equal or weaker mode."""
    async with asyncio.TaskGroup() as tasks:
        held = await proxy.acquire(wanted("a", "vm1", "vm2"))
        waiting = Waiting(proxy, wanted("b", "vm2"), tasks)
        await waiting.placed()
        await proxy.release([Release(owner="a", epoch=1, keep={"vm1": S})])
        await waiting.grant
    left = await proxy.acquire(wanted("a", "vm1", "vm2"))
    assert tokens(left) == {"vm1": tokens(held)["vm1"]}
    with pytest.raises(InvalidRequest):
        await proxy.release([Release(owner="a", epoch=1, keep={"vm1": X})])


async def test_leaving_early_keeps_the_owner_queued(proxy: LocksProxy) -> None:
    """Cancelling the wait gives nothing up; only a release does."""
    await proxy.acquire(wanted("a", "vm1"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await proxy.acquire(wanted("b", "vm1"))
    assert [(lock.owner, lock.granted is None) for lock in await proxy.locks()] == [("a", False), ("b", True)]
    await close(proxy, "a")
    assert tokens(await proxy.acquire(wanted("b", "vm1"))) == {"vm1": 2}


async def test_locks_are_listed_with_a_filter_and_in_pages(proxy: LocksProxy, site: Site) -> None:
    """Holders before waiters; the last page has no token."""
    await asyncio.gather(*[proxy.acquire(wanted(f"o{number}", f"vm{number}", "pool", mode=IX)) for number in range(5)])
    assert [lock.object for lock in await proxy.locks('owner = "o3"')] == ["pool", "vm3"]
    stub = LockServiceStub(await site.dial("user/ann", "viewer"))
    seen, page_token = [], ""
    while True:
        page = await stub.ListLocks(pb.ListLocksRequest(page_size=3, page_token=page_token, filter="mode = IX"))
        seen += [lock.object for lock in page.locks]
        page_token = page.next_page_token
        assert page.watch_token
        if not page_token:
            break
    assert seen == ["pool"] * 5 + [f"vm{number}" for number in range(5)]
    for wrong in (
        pb.ListLocksRequest(page_size=1001),
        pb.ListLocksRequest(page_token="?"),
        pb.ListLocksRequest(filter="x ="),
    ):
        with pytest.raises(InvalidRequest), errors_named():
            await stub.ListLocks(wrong)


async def frames(stub: LockServiceStub, request: pb.WatchLocksRequest) -> AsyncIterator[pb.WatchLocksResponse]:
    """Yield the frames of a watch, keepalives left out."""
    async for frame in stub.WatchLocks(request):
        if frame.kind != watch_pb2.FRAME_KIND_KEEPALIVE:
            yield frame


async def test_a_watch_shows_locks_as_they_are_asked_for_granted_and_released(proxy: LocksProxy, site: Site) -> None:
    """Snapshot, bookmark, then every change; a waiter has its place; a resume goes on where it was cut."""
    await proxy.acquire(wanted("a", "vm1"))
    stub = LockServiceStub(await site.dial("user/ann", "viewer"))
    watch = frames(stub, pb.WatchLocksRequest())
    first = await anext(watch)
    assert (first.kind, first.name, first.lock.fencing_token) == (watch_pb2.FRAME_KIND_SNAPSHOT, "vm1|a", 1)
    assert (await anext(watch)).kind == watch_pb2.FRAME_KIND_BOOKMARK
    async with asyncio.TaskGroup() as tasks:
        waiting = Waiting(proxy, wanted("b", "vm1"), tasks)
        queued = await anext(watch)
        assert (queued.kind, queued.name) == (watch_pb2.FRAME_KIND_CHANGED, "vm1|b")
        assert (queued.lock.waiting, queued.lock.queue_place, queued.lock.blockers[0].holder) == (True, 1, "a")
        await close(proxy, "a")
        await waiting.grant
    gone, granted = await anext(watch), await anext(watch)
    assert (gone.kind, gone.name) == (watch_pb2.FRAME_KIND_REMOVED, "vm1|a")
    assert (granted.name, granted.lock.waiting, granted.lock.fencing_token) == ("vm1|b", False, 2)
    again = frames(stub, pb.WatchLocksRequest(options=watch_pb2.WatchOptions(resume_token=queued.resume_token)))
    assert [await anext(again), await anext(again)] == [gone, granted]


async def test_a_snapshot_shows_waiters_with_their_place(proxy: LocksProxy, site: Site) -> None:
    """Whoever begins to watch late knows the same."""
    async with asyncio.TaskGroup() as tasks:
        await proxy.acquire(wanted("a", "vm1", "vm2"))
        waiting = Waiting(proxy, wanted("b", "vm2"), tasks)
        await waiting.placed()
        stub = LockServiceStub(await site.dial("user/ann", "viewer"))
        watch = frames(stub, pb.WatchLocksRequest(filter="waiting = true"))
        frame = await anext(watch)
        assert (frame.name, frame.lock.queue_place, frame.lock.blockers[0].holder) == ("vm2|b", 1, "a")
        await close(proxy, "a")
        await waiting.grant
        assert (await anext(watch)).kind == watch_pb2.FRAME_KIND_BOOKMARK
        frame = await anext(watch)
        assert (frame.kind, frame.name) == (watch_pb2.FRAME_KIND_REMOVED, "vm2|b")


async def test_only_services_may_ask_and_release(site: Site) -> None:
    """A person can look at locks and nothing more, and an agent not even that."""
    stub = LockServiceStub(await site.dial("user/ann", "viewer", "operator", "administrator"))
    with pytest.raises(PermissionDenied), errors_named():
        await stub.Release(pb.ReleaseRequest(owners=[pb.OwnerRelease(owner="a", epoch=9)]))

    async def one() -> AsyncIterator[pb.AcquireRequest]:
        yield pb.AcquireRequest()

    with pytest.raises(PermissionDenied), errors_named():
        await anext(aiter(stub.Acquire(one())))
    with pytest.raises(PermissionDenied), errors_named():
        await LockServiceStub(await site.dial("agent/s1")).ListLocks(pb.ListLocksRequest())
