"""Watching objects: what is written and what it projects onto come together, a filter hides the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.contract.inventory.samples import create, delete, disk, effect, machine, pool, repository, server, update
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_reads import execute
from virtyard.api.inventory.v1 import inventory_service_pb2 as pb
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.runtime.status import errors_named

SNAPSHOT = watch_pb2.FRAME_KIND_SNAPSHOT
BOOKMARK = watch_pb2.FRAME_KIND_BOOKMARK
CHANGED = watch_pb2.FRAME_KIND_CHANGED
REMOVED = watch_pb2.FRAME_KIND_REMOVED
GOODBYE = watch_pb2.FRAME_KIND_GOODBYE


class Frames:
    """The frames of a watch, each awaited with a deadline."""

    def __init__(self, served: Served, text: str = "", token: str = "") -> None:
        options = watch_pb2.WatchOptions(resume_token=token)
        call = served.reads.WatchObjects(pb.WatchObjectsRequest(options=options, filter=text))
        self._frames: AsyncIterator[pb.WatchObjectsResponse] = aiter(call)

    async def next(self) -> pb.WatchObjectsResponse:
        """Return the next frame."""
        async with asyncio.timeout(5):
            return await anext(self._frames)

    async def until(self, kind: watch_pb2.FrameKind.ValueType) -> list[pb.WatchObjectsResponse]:
        """Return the frames up to one of this kind, it included."""
        found = [await self.next()]
        while found[-1].kind != kind:
            found.append(await self.next())
        return found


async def test_snapshot_shows_every_object_with_its_projections(served: Served) -> None:
    """A new watcher is shown all objects in order of their names, as a get shows them."""
    await execute(
        served, effect("1/1/1", create(pool("p")), create(server("s", pool="serverPools/p")), create(machine("m")))
    )
    frames = await Frames(served).until(BOOKMARK)
    assert [frame.name for frame in frames] == ["serverPools/p", "servers/s", "virtualMachines/m", ""]
    assert list(frames[0].object.server_pool.servers) == ["servers/s"]


async def test_pool_changes_with_its_servers(served: Served) -> None:
    """A server that joins or leaves a pool gives a frame of the pool in the same commit."""
    await execute(served, effect("1/1/1", create(pool("p")), create(server("s"))))
    watch = Frames(served)
    await watch.until(BOOKMARK)
    await execute(served, effect("2/1/1", update(server("s", pool="serverPools/p"), "server_pool"), token=2))
    frames = {frame.name: frame.object for frame in (await watch.next(), await watch.next())}
    assert frames["servers/s"].server.server_pool == "serverPools/p"
    assert list(frames["serverPools/p"].server_pool.servers) == ["servers/s"]
    await execute(served, effect("3/1/1", delete("servers/s"), token=3))
    gone, left = await watch.next(), await watch.next()
    assert (gone.kind, gone.name) == (REMOVED, "servers/s")
    assert (left.name, list(left.object.server_pool.servers)) == ("serverPools/p", [])


async def test_sums_change_with_what_they_sum(served: Served) -> None:
    """A new disk gives frames of the disk, its repository and its machine."""
    await execute(served, effect("1/1/1", create(repository("r")), create(machine("m"))))
    watch = Frames(served)
    await watch.until(BOOKMARK)
    attached = disk("d", size=7, where="repositories/r", machine="virtualMachines/m")
    await execute(served, effect("2/1/1", create(attached)))
    frames = {frame.name: frame.object for frame in [await watch.next() for _ in range(3)]}
    assert frames["repositories/r"].repository.provisioned_bytes == 7
    assert list(frames["virtualMachines/m"].virtual_machine.virtual_disks) == ["virtualDisks/d"]


async def test_round_gives_one_frame_per_object(served: Served) -> None:
    """What one commit does to an object is one frame, with the state after the commit."""
    watch = Frames(served)
    await watch.until(BOOKMARK)
    changed = pool("p")
    changed.description = "second"
    first, second = effect("1/1/1", create(pool("p"))), effect("1/1/2", update(changed, "description"), after="1/1/1")
    await execute(served, first, second)
    await execute(served, effect("2/1/1", create(pool("q"))))
    frames = [await watch.next(), await watch.next()]
    assert [frame.name for frame in frames] == ["serverPools/p", "serverPools/q"]
    assert frames[0].object.server_pool.description == "second"


async def test_filter_names_kind_state_and_labels(served: Served) -> None:
    """An object that stops matching is REMOVED; others are never shown."""
    watch = Frames(served, "kind = virtualMachines AND state = RUNNING AND labels.env = test")
    assert (await watch.next()).kind == BOOKMARK
    running = machine("m")
    running.state = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
    running.labels["env"] = "test"
    await execute(served, effect("1/1/1", create(pool("p")), create(machine("n")), create(running)))
    assert (await watch.next()).name == "virtualMachines/m"
    running.state = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
    await execute(served, effect("2/1/1", update(running, "state"), token=2))
    gone = await watch.next()
    assert (gone.kind, gone.name, gone.HasField("object")) == (REMOVED, "virtualMachines/m", False)


async def test_watch_resumes_after_any_frame(served: Served) -> None:
    """Cut after any frame, a watcher is shown exactly what followed it (P29)."""
    await execute(served, effect("1/1/1", *(create(pool(name)) for name in "abc")))
    watch = Frames(served)
    frames = await watch.until(BOOKMARK)
    await execute(served, effect("2/1/1", create(pool("d"))), effect("3/1/1", create(pool("e"))))
    frames += [await watch.next(), await watch.next()]
    for cut, frame in enumerate(frames[:-1], 1):
        resumed = Frames(served, token=frame.resume_token)
        again = [await resumed.next() for _ in frames[cut:]]
        assert [(one.kind, one.name) for one in again] == [(one.kind, one.name) for one in frames[cut:]]


@pytest.mark.parametrize(("text", "token"), [("size = 1", ""), ("", "nonsense"), ("kind", "")])
async def test_bad_watch_is_refused(served: Served, text: str, token: str) -> None:
    """A filter over other fields, or a token that is none, is refused; a bare word is not."""
    if text == "kind":
        assert (await Frames(served, text).next()).kind == BOOKMARK
        return
    with pytest.raises(InvalidRequest), errors_named():
        await Frames(served, text, token).next()


async def test_closing_says_goodbye(served: Served) -> None:
    """A watcher is told before the inventory goes, with a token to come back with."""
    watch = Frames(served)
    await watch.until(BOOKMARK)
    served.inventory.feed.close()
    last = await watch.next()
    assert last.kind == GOODBYE
    assert last.resume_token
