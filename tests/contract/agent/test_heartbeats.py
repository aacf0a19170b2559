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
from virtyard.agent.drivers.heartbeat.contract import Membership, MemberState
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
