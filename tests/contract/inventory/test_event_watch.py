"""Watching events: a log that begins with its tail, goes on after any cut, and loses nothing that is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.inventory.conftest import Dump
from tests.contract.inventory.samples import create, delete, effect, machine, pool, server, update, vnic
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_reads import execute
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import inventory_service_pb2 as pb
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.inventory import event_log
from virtyard.inventory.belonging import Belonging
from virtyard.inventory.event_frames import watch_events
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.kernel.errors import InvalidRequest
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.status import errors_named
from virtyard.runtime.subscription import Bounds

SNAPSHOT = watch_pb2.FRAME_KIND_SNAPSHOT
BOOKMARK = watch_pb2.FRAME_KIND_BOOKMARK
CHANGED = watch_pb2.FRAME_KIND_CHANGED
GAP = watch_pb2.FRAME_KIND_GAP


class Frames:
    """The frames of a watch over events, each awaited with a deadline."""

    def __init__(
        self,
        served: Served,
        text: str = "",
        token: str = "",
        *,
        skip_snapshot: bool = False,
        within: str = "",
        show_belongs_to: bool = False,
    ) -> None:
        options = watch_pb2.WatchOptions(resume_token=token, skip_snapshot=skip_snapshot)
        asked = pb.WatchEventsRequest(options=options, filter=text, within=within, show_belongs_to=show_belongs_to)
        call = served.reads.WatchEvents(asked)
        self._frames: AsyncIterator[pb.WatchEventsResponse] = aiter(call)

    async def next(self) -> pb.WatchEventsResponse:
        """Return the next frame."""
        async with asyncio.timeout(5):
            return await anext(self._frames)

    async def take(self, count: int) -> list[pb.WatchEventsResponse]:
        """Return the next frames."""
        return [await self.next() for _ in range(count)]

    async def until(self, kind: watch_pb2.FrameKind.ValueType) -> list[pb.WatchEventsResponse]:
        """Return the frames up to one of this kind, it included."""
        found = [await self.next()]
        while found[-1].kind != kind:
            found.append(await self.next())
        return found


async def pools(served: Served, operation: int, names: str) -> None:
    """Make pools, each of which is an event."""
    await execute(served, effect(f"{operation}/1/1", *(create(pool(name)) for name in names)))


def subjects(frames: list[pb.WatchEventsResponse]) -> str:
    """Return the pools that the frames are about, one letter each."""
    return "".join(frame.event.object.rpartition("/")[2] for frame in frames)


async def test_it_begins_with_the_log_and_goes_on(served: Served) -> None:
    """What is there comes as a snapshot in order, what follows as changes, each with its name and itself."""
    await pools(served, 1, "abc")
    watch = Frames(served)
    snapshot = await watch.until(BOOKMARK)
    assert [frame.kind for frame in snapshot] == [SNAPSHOT] * 3 + [BOOKMARK]
    assert subjects(snapshot) == "abc"
    await pools(served, 2, "de")
    changes = await watch.take(2)
    assert [frame.kind for frame in changes] == [CHANGED, CHANGED]
    assert subjects(changes) == "de"
    listed = (await served.reads.ListEvents(pb.ListEventsRequest(order_by="name"))).events
    assert [frame.event for frame in (*snapshot[:3], *changes)] == list(listed)
    assert [frame.name for frame in (*snapshot[:3], *changes)] == [event.name for event in listed]


async def test_it_begins_with_the_latest_that_match(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log is not read from its beginning, and other events do not count."""
    monkeypatch.setattr(event_log, "TAIL", 3)
    await execute(served, effect("1/1/1", create(pool("a")), create(machine("m")), create(pool("b"))))
    await pools(served, 2, "cde")
    assert subjects(await Frames(served).until(BOOKMARK)) == "cde"
    assert subjects(await Frames(served, "object = serverPools/a").until(BOOKMARK)) == "a"
    assert subjects(await Frames(served, "operation = operations/1").until(BOOKMARK)) == "amb"
    assert (await Frames(served, skip_snapshot=True).next()).kind == BOOKMARK


@pytest.mark.parametrize("text", ["", "object:serverPools", "object != serverPools/c"])
async def test_it_resumes_after_any_frame(served: Served, text: str) -> None:
    """Cut after any frame, inside the snapshot too, a watcher is told exactly what followed it."""
    await pools(served, 1, "abc")
    watch = Frames(served, text)
    frames = await watch.until(BOOKMARK)
    await pools(served, 2, "de")
    await execute(served, effect("3/1/1", create(machine("m"))), effect("4/1/1", create(pool("f"))))
    frames += await watch.take(4 if text != "object:serverPools" else 3)
    for cut, frame in enumerate(frames[:-1], 1):
        again = await Frames(served, text, frame.resume_token).take(len(frames) - cut)
        assert [(one.kind, one.name) for one in again] == [(one.kind, one.name) for one in frames[cut:]]


async def test_it_goes_on_from_the_token_of_any_other_watch_or_list(served: Served) -> None:
    """Tokens of one service stand for one order, so who read objects misses no event after them."""
    await pools(served, 1, "ab")
    token = (await served.reads.ListServerPools(pb.ListServerPoolsRequest())).watch_token
    await pools(served, 2, "cd")
    assert subjects(await Frames(served, token=token).take(2)) == "cd"


async def forget_journal(served: Served) -> None:
    """Have the journal forget everything, as it does when it has grown long."""
    database = served.inventory.database
    head = database.sequence
    await database.write(lambda transaction: transaction.execute("DELETE FROM journal").close())
    await database.write(lambda transaction: transaction.execute("UPDATE feed SET oldest = ?", (head + 1,)).close())


async def test_a_gap_is_followed_by_what_the_log_still_has(served: Served) -> None:
    """Where the journal has forgotten a watcher's place, the snapshot begins behind it: no loss and no repeat."""
    await pools(served, 1, "abc")
    watch = Frames(served)
    second = (await watch.take(2))[1]
    bookmark = (await watch.until(BOOKMARK))[-1]
    await pools(served, 2, "de")
    last = (await watch.take(2))[-1]
    await pools(served, 3, "fg")
    await forget_journal(served)
    served.inventory.feed._ring.clear()
    for token, rest in ((second.resume_token, "cdefg"), (bookmark.resume_token, "defg"), (last.resume_token, "fg")):
        resumed = Frames(served, token=token)
        frames = await resumed.until(BOOKMARK)
        assert [frame.kind for frame in frames] == [GAP, *([SNAPSHOT] * len(rest)), BOOKMARK]
        assert subjects(frames) == rest
    resumed = Frames(served, token=bookmark.resume_token)
    await resumed.until(BOOKMARK)
    await pools(served, 4, "h")
    assert subjects([await resumed.next()]) == "h"


async def test_a_reader_too_slow_for_the_journal_is_told_the_rest_after_a_gap(tmp_path: Path, clock: FakeClock) -> None:
    """Whoever falls behind what is pending and behind the journal too goes on behind the last frame that it read."""
    feed = Feed("inventory", bounds=Bounds(entries=2), ring=2)
    path = tmp_path / "inventory.db"
    async with await Database.open(path, "virtyard.inventory.migrations", feed, clock) as database:
        store = SqliteStore(database, clock)

        async def make(operation: int, names: str) -> None:
            await store.execute([effect(f"{operation}/1/1", *(create(pool(name)) for name in names))])

        await make(1, "ab")
        frames = watch_events(feed, pb.WatchEventsRequest(), Belonging())
        read = [pb.WatchEventsResponse.FromString(await anext(frames)) for _ in range(3)]
        reading = asyncio.ensure_future(anext(frames))
        await asyncio.sleep(0)
        await make(2, "c")
        read.append(pb.WatchEventsResponse.FromString(await reading))
        assert subjects(read) == "abc"
        await make(3, "defg")
        head = database.sequence
        await database.write(lambda transaction: transaction.execute("DELETE FROM journal").close())
        await database.write(lambda transaction: transaction.execute("UPDATE feed SET oldest = ?", (head + 1,)).close())
        async with asyncio.timeout(5):
            rest = [pb.WatchEventsResponse.FromString(await anext(frames)) for _ in range(6)]
        assert [frame.kind for frame in rest] == [GAP, *([SNAPSHOT] * 4), BOOKMARK]
        assert subjects(rest) == "defg"
        await frames.aclose()


async def test_a_slow_reader_loses_nothing(served: Served) -> None:
    """Far more than a watcher's buffers hold is told in order once it reads, without a gap."""
    watch = Frames(served)
    await watch.until(BOOKMARK)
    for turn in range(6):
        await execute(served, effect(f"{turn + 1}/1/1", *(create(pool(f"p{turn}-{each}")) for each in range(400))))
    frames = await watch.take(2400)
    assert {frame.kind for frame in frames} == {CHANGED}
    assert [frame.event.object for frame in frames] == [
        f"serverPools/p{turn}-{each}" for turn in range(6) for each in range(400)
    ]


async def test_a_filtered_watch_keeps_nothing_of_what_it_was_told(served: Served) -> None:
    """However many events come, a watcher's memory of them stays empty: each is an item by itself."""
    watch = Frames(served, "object:serverPools/a")
    await watch.until(BOOKMARK)
    await pools(served, 1, "abcdefgh")
    await pools(served, 2, "ijk")
    await execute(served, effect("3/1/1", create(pool("az"))))
    assert subjects(await watch.take(2)) == "aaz"
    (subscription,) = served.inventory.feed._watchers
    assert not subscription._shown
    assert not subscription.pending


@pytest.mark.parametrize(("text", "token"), [("size = 1", ""), ("", "nonsense")])
async def test_bad_watch_is_refused(served: Served, text: str, token: str) -> None:
    """A filter over other fields, or a token that is none, is refused."""
    with pytest.raises(InvalidRequest), errors_named():
        await Frames(served, text, token).next()


async def test_count_is_by_type_and_severity_the_gravest_first(served: Served, dump_of: Dump) -> None:
    """Sorts of which there are none are left out; a filter that cannot be read is refused; counting changes nothing."""
    await pools(served, 1, "ab")
    before = await dump_of()
    counted = (await served.reads.CountEvents(pb.CountEventsRequest())).counts
    assert [(each.type, each.severity, each.count) for each in counted] == [("OBJECT_CREATED", 2, 2)]
    assert not (await served.reads.CountEvents(pb.CountEventsRequest(filter="severity > WARNING"))).counts
    with pytest.raises(InvalidRequest), errors_named():
        await served.reads.CountEvents(pb.CountEventsRequest(filter="("))
    assert await dump_of() == before


async def test_events_within_an_object_are_watched_and_counted(served: Served) -> None:
    """Of a pool: its own, its servers' while they belong to it, and their end; by list, watch and count."""
    made = [create(pool("a")), create(pool("b")), create(server("s", pool="serverPools/a")), create(server("t"))]
    await execute(served, effect("1/1/1", *made))
    watch = Frames(served, "type:OBJECT_", within="serverPools/a")
    first = await watch.until(BOOKMARK)
    assert subjects(first[:-1]) == "as"
    listed = await served.reads.ListEvents(pb.ListEventsRequest(filter="type:OBJECT_", within="serverPools/a"))
    assert [event.object for event in listed.events] == ["servers/s", "serverPools/a"]
    counted = await served.reads.CountEvents(pb.CountEventsRequest(filter="type:OBJECT_", within="serverPools/a"))
    assert [(each.type, each.count) for each in counted.counts] == [("OBJECT_CREATED", 2)]
    for number, name in enumerate("ts", 2):
        await execute(served, effect(f"{number}/1/1", delete(f"servers/{name}"), token=number))
    (gone,) = await watch.take(1)
    assert (gone.event.type, gone.event.object) == ("OBJECT_DELETED", "servers/s")
    again = Frames(served, "type:OBJECT_", first[-1].resume_token, within="serverPools/a")
    assert [frame.event for frame in await again.take(1)] == [gone.event]
    with pytest.raises(InvalidRequest, match="within"), errors_named():
        await served.reads.CountEvents(pb.CountEventsRequest(within="pool"))
    with pytest.raises(InvalidRequest, match="within"), errors_named():
        await Frames(served, within="pool").next()


async def test_who_asks_is_told_what_each_object_belongs_to(served: Served) -> None:
    """As it is when the frame comes, the nearest first; what was removed as it was last; others are told nothing."""
    made = [create(pool("a")), create(server("s", pool="serverPools/a")), create(machine("m"))]
    await execute(served, effect("1/1/1", *made, create(vnic("v", of="virtualMachines/m"))))
    asking, plain = Frames(served, show_belongs_to=True), Frames(served)
    told = {frame.event.object: list(frame.belongs_to) for frame in (await asking.until(BOOKMARK))[:-1]}
    apart: dict[str, list[str]] = {"serverPools/a": [], "virtualMachines/m": []}
    assert told == {**apart, "servers/s": ["serverPools/a"], "vnics/v": ["virtualMachines/m"]}
    assert not any(frame.belongs_to for frame in await plain.until(BOOKMARK))
    moved = virtual_machine_pb2.VirtualMachine(name="virtualMachines/m", server_pool="serverPools/a")
    await execute(served, effect("2/1/1", update(moved, "server_pool"), token=2))
    await execute(served, effect("3/1/1", delete("vnics/v"), token=3))
    changes = [await asking.next(), await asking.next()]
    assert [list(each.belongs_to) for each in changes] == [["serverPools/a"], ["virtualMachines/m", "serverPools/a"]]
    unasked = [await plain.next(), await plain.next()]
    assert [(each.event, list(each.belongs_to)) for each in unasked] == [(each.event, []) for each in changes]
