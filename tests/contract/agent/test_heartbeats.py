"""The heartbeat contract, kept by slots on a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from virtyard.agent.drivers.heartbeat import block
from virtyard.agent.drivers.heartbeat.contract import Membership, MemberState, Slot
from virtyard.agent.drivers.heartbeat.disk import DiskHeartbeat
from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.agent.heartbeat_watch import HeartbeatWatch
from virtyard.api.inventory.v1 import server_pb2
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, NotFound, WrongState
from virtyard.runtime.clock import SystemClock

MARK, OTHER = "12/1/1", "13/1/1"
T = 0.02
CLUSTER = "c1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The one storage root."""
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@contextlib.asynccontextmanager
async def host(name: str, root: Path) -> AsyncIterator[DiskHeartbeat]:
    """The driver on one host; its memberships stay when it is left."""
    driver = DiskHeartbeat(state=root.parent / name, roots=StorageRoots([root]), clock=SystemClock(), watchdog=4 * T)
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


@pytest.fixture
async def one(root: Path) -> AsyncIterator[DiskHeartbeat]:
    """The driver on host one."""
    async with host("one", root) as driver:
        yield driver


@pytest.fixture
async def two(root: Path) -> AsyncIterator[DiskHeartbeat]:
    """The driver on host two."""
    async with host("two", root) as driver:
        yield driver


@pytest.fixture
async def path(one: DiskHeartbeat, root: Path) -> str:
    """A device with four slots."""
    path = str(root / "heartbeat")
    await one.lay_out(path, "h1", 4, T, MARK)
    return path


def membership(path: str, slot: int, server: str) -> Membership:
    """A membership of the one cluster."""
    return Membership(cluster_uid=CLUSTER, path=path, device_uid="h1", slot=slot, server=server, mark=MARK)


def states(driver: DiskHeartbeat) -> dict[str, MemberState]:
    """How the members look."""
    return {view.server: view.state for view in driver.members()}


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(T)


async def test_a_device_is_there_once_laid_out(one: DiskHeartbeat, path: str) -> None:
    """It has its numbers and mark; again under the mark it is the same, under another it is refused."""
    device = await one.find(path, "h1")
    assert device is not None
    assert (device.slots, device.io_timeout, device.watchdog, device.mark) == (4, T, 4 * T, MARK)
    assert Path(path).stat().st_size == device.size_bytes == 5 * 4096
    assert await one.lay_out(path, "h1", 4, T, MARK) == device
    with pytest.raises(AlreadyExists):
        await one.lay_out(path, "h1", 4, T, OTHER)
    assert await one.find(path, "h2") is None


async def test_a_strange_file_is_left_alone(one: DiskHeartbeat, root: Path) -> None:
    """A file that is no device is neither overwritten nor removed."""
    (root / "thesis").write_text("mine")
    with pytest.raises(AlreadyExists):
        await one.lay_out(str(root / "thesis"), "h1", 4, T, MARK)
    assert not await one.remove(str(root / "thesis"), "h1", MARK)
    assert [entry.name for entry in root.iterdir()] == ["thesis"]


async def test_a_removed_device_leaves_nothing(one: DiskHeartbeat, path: str, root: Path) -> None:
    """Only the right mark removes it; a second time there is nothing."""
    assert not await one.remove(path, "h1", OTHER)
    assert await one.remove(path, "h1", MARK)
    assert list(root.iterdir()) == []
    assert not await one.remove(path, "h1", MARK)


async def test_members_see_each_other_live(one: DiskHeartbeat, two: DiskHeartbeat, path: str) -> None:
    """Two hosts that joined are live for each other."""
    assert await one.join(membership(path, 1, "servers/a"))
    assert await two.join(membership(path, 2, "servers/b"))
    both = {"servers/a": MemberState.LIVE, "servers/b": MemberState.LIVE}
    await until(lambda: states(one) == both and states(two) == both)


async def test_joining_twice_is_joining_once(one: DiskHeartbeat, path: str) -> None:
    """The second time changes nothing; another slot in the same cluster is refused."""
    assert await one.join(membership(path, 1, "servers/a"))
    assert not await one.join(membership(path, 1, "servers/a"))
    with pytest.raises(AlreadyExists):
        await one.join(membership(path, 2, "servers/a"))


async def test_a_taken_slot_is_refused(one: DiskHeartbeat, two: DiskHeartbeat, path: str) -> None:
    """Who has it is said, and nothing of the refused host stays."""
    await one.join(membership(path, 1, "servers/a"))
    with pytest.raises(AlreadyExists, match="servers/a"):
        await two.join(membership(path, 1, "servers/b"))
    assert two.members() == []
    assert two.joined(CLUSTER) is None


async def test_a_member_that_left_is_seen_no_more(one: DiskHeartbeat, two: DiskHeartbeat, path: str) -> None:
    """Its slot is free; a mark that did not take it does not clear it; then the device can go."""
    await one.join(membership(path, 1, "servers/a"))
    await two.join(membership(path, 2, "servers/b"))
    await until(lambda: len(states(two)) == 2)
    with pytest.raises(WrongState, match="servers/a, servers/b"):
        await one.remove(path, "h1", MARK)
    assert not await one.leave(CLUSTER, OTHER)
    assert await one.leave(CLUSTER, MARK)
    assert not await one.leave(CLUSTER, MARK)
    await until(lambda: list(states(two)) == ["servers/b"])
    assert await two.leave(CLUSTER)
    assert await one.remove(path, "h1", MARK)


async def test_a_silent_member_fails_and_dies(one: DiskHeartbeat, root: Path, path: str) -> None:
    """A host whose agent stopped is FAIL and then DEAD for the others, and LIVE again when it returns."""
    await one.join(membership(path, 1, "servers/a"))
    seen: list[MemberState] = []
    async with host("two", root) as two:
        await two.join(membership(path, 2, "servers/b"))
        await until(lambda: states(one).get("servers/b") is MemberState.LIVE)

    def look() -> MemberState:
        seen.append(states(one)["servers/b"])
        return seen[-1]

    await until(lambda: look() is MemberState.DEAD)
    assert MemberState.FAIL in seen
    async with host("two", root) as again:
        assert again.joined(CLUSTER) == membership(path, 2, "servers/b")
        await until(lambda: states(one)["servers/b"] is MemberState.LIVE)


async def test_a_device_that_goes_away_fails_the_member_itself(one: DiskHeartbeat, path: str) -> None:
    """A member that cannot renew knows it by its own clock, and lives again when the device is back."""
    await one.join(membership(path, 1, "servers/a"))
    await until(lambda: states(one) == {"servers/a": MemberState.LIVE})
    Path(path).rename(path + ".away")
    await until(lambda: states(one) == {"servers/a": MemberState.FAIL})
    Path(path + ".away").rename(path)
    await until(lambda: states(one) == {"servers/a": MemberState.LIVE})


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"path": "/etc/heartbeat"}, "path"),
        ({"slots": 0}, "slots"),
        ({"slots": 5000}, "slots"),
        ({"io_timeout": 0.0}, "io_timeout_seconds"),
        ({"uid": "../x"}, "uid"),
    ],
)
async def test_a_wrong_value_is_refused_by_its_field(
    one: DiskHeartbeat, root: Path, values: dict[str, object], field: str
) -> None:
    """Nothing is made, and the field is named."""
    arguments: dict[str, object] = {"path": str(root / "x"), "uid": "h1", "slots": 4, "io_timeout": T, "mark": MARK}
    with pytest.raises(InvalidRequest) as refusal:
        await one.lay_out(**{**arguments, **values})  # type: ignore[arg-type]  # wrong on purpose
    assert refusal.value.violations[0].field == field
    assert list(root.iterdir()) == []


async def test_a_slot_that_is_not_there_is_refused(one: DiskHeartbeat, root: Path, path: str) -> None:
    """Slots count from 1 to the device's number; a device of another uid, or none, is a wrong state."""
    with pytest.raises(InvalidRequest):
        await one.join(membership(path, 5, "servers/a"))
    with pytest.raises(WrongState):
        await one.join(replace(membership(path, 1, "servers/a"), device_uid="h2"))
    with pytest.raises(WrongState):
        await one.join(membership(str(root / "none"), 1, "servers/a"))
    with pytest.raises(NotFound):
        await one.lay_out(str(root / "a" / "b"), "h1", 4, T, MARK)
    assert one.members() == []


def slot(path: str, number: int, server: str) -> Slot:
    """A slot of the one device."""
    return Slot(path=path, device_uid="h1", number=number, server=server)


def holder(path: str, number: int) -> str:
    """Which server a slot names; empty if it is free."""
    (content,) = block.read(Path(path), number, 1)
    return content["server"] if content else ""


@pytest.mark.parametrize("taken", [False, True])
async def test_a_member_whose_slot_was_cleared_notices_it_when_it_returns(
    one: DiskHeartbeat, root: Path, path: str, taken: bool
) -> None:
    """It is no member any more, and renews nothing, whether the slot is free or another server's by then."""
    async with host("two", root) as two:
        await two.join(membership(path, 2, "servers/b"))
    assert await one.clear(slot(path, 2, "servers/b"), OTHER)
    assert await one.clear(slot(path, 2, "servers/b"), OTHER), "asked again it says the same"
    async with contextlib.AsyncExitStack() as stack:
        if taken:
            three = await stack.enter_async_context(host("three", root))
            await three.join(replace(membership(path, 2, "servers/c"), mark=OTHER))
        again = await stack.enter_async_context(host("two", root))
        await until(lambda: again.joined(CLUSTER) is None)
        assert list((root.parent / "two").iterdir()) == []
        if taken:
            await until(lambda: states(three).get("servers/c") is MemberState.LIVE)
        assert holder(path, 2) == ("servers/c" if taken else "")


async def test_a_live_member_that_finds_its_slot_cleared_stops(one: DiskHeartbeat, path: str) -> None:
    """It was stopped for so long that others took it for dead, and goes on now; it can join anew."""
    await one.join(membership(path, 1, "servers/a"))
    block.write(Path(path), 1, {"server": "", "mark": OTHER, "cleared": None})
    await until(lambda: one.joined(CLUSTER) is None)
    assert holder(path, 1) == ""
    assert await one.join(replace(membership(path, 1, "servers/a"), mark=OTHER))
    block.write(Path(path), 1, None)
    assert await one.join(replace(membership(path, 2, "servers/a"), mark=OTHER)), "what it lost does not hold it up"
    assert (holder(path, 1), holder(path, 2)) == ("", "servers/a")


async def test_a_slot_torn_in_the_middle_of_a_renewal_is_renewed(root: Path, path: str) -> None:
    """The host lost its power while it wrote; the slot is its own still."""
    async with host("two", root) as two:
        await two.join(membership(path, 2, "servers/b"))
    device = os.open(path, os.O_WRONLY)
    os.pwrite(device, b"torn", 2 * block.SIZE)
    os.close(device)
    async with host("two", root) as again:
        await until(lambda: holder(path, 2) == "servers/b")
        assert again.joined(CLUSTER) is not None


async def test_a_slot_that_is_renewed_is_not_cleared(one: DiskHeartbeat, two: DiskHeartbeat, path: str) -> None:
    """The proof that its server is off was wrong; nothing is changed."""
    await two.join(membership(path, 2, "servers/b"))
    with pytest.raises(WrongState, match="servers/b still renews slot 2"):
        await one.clear(slot(path, 2, "servers/b"), OTHER)
    assert holder(path, 2) == "servers/b"


async def test_only_the_slot_that_is_meant_is_cleared(one: DiskHeartbeat, root: Path, path: str) -> None:
    """One of another server, or taken under another mark, stays; so does what this host cannot see."""
    async with host("two", root) as two:
        await two.join(membership(path, 2, "servers/b"))
    assert not await one.clear(slot(path, 2, "servers/c"), OTHER)
    assert not await one.clear(slot(path, 2, "servers/b"), OTHER, joined=OTHER)
    assert not await one.clear(slot(path, 3, "servers/b"), OTHER)
    with pytest.raises(WrongState):
        await one.clear(slot(str(root / "none"), 2, "servers/b"), OTHER)
    with pytest.raises(InvalidRequest):
        await one.clear(slot(path, 5, "servers/b"), OTHER)
    assert holder(path, 2) == "servers/b"
    assert await one.clear(slot(path, 2, "servers/b"), OTHER, joined=MARK)
    assert await one.remove(path, "h1"), "nobody uses the device any more"


async def test_a_slot_that_is_put_back_is_its_members_again(one: DiskHeartbeat, root: Path, path: str) -> None:
    """Only by the mark that cleared it; the member goes on when it returns."""
    async with host("two", root) as two:
        await two.join(membership(path, 2, "servers/b"))
    assert await one.clear(slot(path, 2, "servers/b"), OTHER)
    assert await one.was_cleared(slot(path, 2, "servers/b"), OTHER)
    assert not await one.put_back(slot(path, 2, "servers/b"), MARK)
    assert await one.put_back(slot(path, 2, "servers/b"), OTHER)
    assert not await one.put_back(slot(path, 2, "servers/b"), OTHER)
    await one.join(membership(path, 1, "servers/a"))
    async with host("two", root) as again:
        await until(lambda: states(one).get("servers/b") is MemberState.LIVE)
        assert again.joined(CLUSTER) == membership(path, 2, "servers/b")


async def test_a_join_that_was_killed_half_way_leaves_no_slot(one: DiskHeartbeat, root: Path, path: str) -> None:
    """The slot was taken and no membership kept: it is found by the mark, and only by it."""
    async with host("two", root) as two:
        await two.join(membership(path, 2, "servers/b"))
    (root.parent / "two" / f"{CLUSTER}.json").unlink()
    await one.forget_join(slot(path, 2, "servers/b"), OTHER)
    assert holder(path, 2) == "servers/b"
    await one.forget_join(slot(path, 2, "servers/b"), MARK)
    assert holder(path, 2) == ""


def test_a_torn_block_is_nobodys_life() -> None:
    """A block with a flipped bit, or half of one, reads as empty."""
    whole = block.pack({"server": "servers/a", "counter": 7})
    assert block.unpack(whole) == {"server": "servers/a", "counter": 7}
    assert block.unpack(whole[:20] + b"X" + whole[21:]) is None
    assert block.unpack(bytes(4096)) is None


async def test_a_slot_is_late_while_its_device_hangs(path: str, root: Path) -> None:
    """It is told late while the device hangs, and in time once it answers; a new agent says nothing yet."""
    device, aside, hanging = Path(path), root / "aside", root / "hanging"
    os.mkfifo(hanging)
    async with host("one", root) as driver:
        await driver.join(membership(path, 1, "servers/a"))
        await until(lambda: lateness(driver) is False)
        told: list[bool | None] = []
        watch = HeartbeatWatch(driver, lambda: told.append(lateness(driver)))
        watch.open()
        device.rename(aside)
        hanging.rename(device)
        await until(lambda: True in told)
        assert path in driver.renewals()[0].reason
        assert [each.state for each in watch.heartbeats()] == [server_pb2.HEARTBEAT_STATE_LATE]
        freed = os.open(device, os.O_RDWR | os.O_NONBLOCK)
        aside.rename(device)
        await until(lambda: told[-1] is False)
        os.close(freed)
        await watch.close()
    device.rename(aside)
    async with host("one", root) as driver:
        assert lateness(driver) is None
        aside.rename(device)
        await until(lambda: lateness(driver) is False)


def lateness(driver: DiskHeartbeat) -> bool | None:
    """Whether the one slot of a host is late."""
    (renewal,) = driver.renewals()
    return renewal.late
