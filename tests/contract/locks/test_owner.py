"""One owner in the lock service: its priority, and what it waits for, in process and over the wire."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.locks.conftest import Site
from tests.contract.locks.test_lock_service import Waiting, wanted
from virtyard.api.locks.v1 import owner_pb2 as pb
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.errors import InvalidRequest, NotFound, PermissionDenied, StaleEpoch
from virtyard.locks.explaining import MOST_OWNERS
from virtyard.locks.model import Release, Rerank
from virtyard.locks.proxy import LocksProxy
from virtyard.runtime.status import errors_named


async def test_a_waiter_of_higher_priority_is_granted_first(proxy: LocksProxy) -> None:
    """Its place is told as soon as it moves, the row says so too, and the release of the holder goes to it."""
    await proxy.acquire(wanted("operations/1", "vm"))
    async with asyncio.TaskGroup() as tasks:
        early = Waiting(proxy, wanted("operations/2", "vm"), tasks)
        await early.placed()
        late = Waiting(proxy, wanted("operations/3", "vm"), tasks)
        await late.placed(lambda place: place.position == 2)
        await proxy.set_priority(Rerank(owner="operations/3", epoch=1, priority=1))
        await late.placed(lambda place: place.position == 1)
        await early.placed(lambda place: place.position == 2)
        await proxy.release([Release(owner="operations/1", epoch=1)])
        await late.grant
        assert not early.grant.done()
        await proxy.release([Release(owner="operations/3", epoch=1)])


async def test_a_priority_is_refused_by_field(site: Site, proxy: LocksProxy) -> None:
    """Out of range, of nobody, by an overtaken scheduler, or by a person: nothing is changed."""
    await proxy.acquire(wanted("operations/1", "vm", epoch=2))
    with pytest.raises(InvalidRequest, match="priority: 21 is not allowed; -20 to 20 is"):
        await proxy.set_priority(Rerank(owner="operations/1", epoch=2, priority=21))
    with pytest.raises(InvalidRequest, match="owner: is required"):
        await proxy.set_priority(Rerank(owner="", epoch=2, priority=1))
    with pytest.raises(NotFound):
        await proxy.set_priority(Rerank(owner="operations/2", epoch=1, priority=1))
    with pytest.raises(StaleEpoch):
        await proxy.set_priority(Rerank(owner="operations/1", epoch=1, priority=1))
    people = LockServiceStub(await site.dial("user/ann", "administrator"))
    with pytest.raises(PermissionDenied), errors_named():
        await people.SetPriority(pb.SetPriorityRequest(owner="operations/1", epoch=2, priority=1))


async def test_an_owner_is_explained_with_the_blockers_of_its_blockers(proxy: LocksProxy) -> None:
    """The nearest come first, each once, with modes, places and times; holders are in nobody's queue."""
    await proxy.acquire(wanted("operations/1", "vm"))
    async with asyncio.TaskGroup() as tasks:
        for number, names in ((2, ("vm", "disk")), (3, ("disk",))):
            waiting = Waiting(proxy, wanted(f"operations/{number}", *names), tasks)
            await waiting.placed()
            waiting.grant.cancel()  # who leaves stays queued
        story = await proxy.explain("operations/3")
        assert [told.owner for told in story.owners] == ["operations/3", "operations/2", "operations/1"]
        asked, between, holder = story.owners
        (blocker,) = asked.blockers
        assert (blocker.info.holder, blocker.info.object, blocker.info.waiting) == ("operations/2", "disk", True)
        assert blocker.wanted_mode == blocker.info.mode == lock_pb2.LOCK_MODE_X
        assert (asked.position, between.position, holder.position) == (2, 1, 0)
        assert [each.info.holder for each in between.blockers] == ["operations/1"]
        assert not holder.waiting
        assert not holder.blockers
        assert holder.HasField("grant_time")
        assert not story.truncated
    with pytest.raises(NotFound):
        await proxy.explain("operations/9")


async def test_a_long_queue_is_told_from_its_near_end(proxy: LocksProxy) -> None:
    """An answer is bounded, and says that there is more."""
    await proxy.acquire(wanted("operations/0", "vm"))
    count = MOST_OWNERS + 10
    async with asyncio.TaskGroup() as tasks:
        for number in range(1, count):
            last = Waiting(proxy, wanted(f"operations/{number}", "vm"), tasks)
            await last.placed()
            last.grant.cancel()  # who leaves stays queued
        story = await proxy.explain(f"operations/{count - 1}")
        assert story.truncated
        assert len(story.owners) <= MOST_OWNERS
        assert "operations/0" in [told.owner for told in story.owners]
