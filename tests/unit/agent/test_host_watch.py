"""The watch over a host: what it expects outlives the agent, and storage that hangs is unknown and stops nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from virtyard.agent import storage_watch
from virtyard.agent.drivers.network.contract import Bridge
from virtyard.agent.drivers.network.sim import SimNetwork
from virtyard.agent.drivers.storage.contract import Place
from virtyard.agent.drivers.storage.directory import DirectoryStorage
from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.agent.host_watch import HostWatch
from virtyard.agent.storage_watch import StorageWatch
from virtyard.api.inventory.v1 import server_pb2
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.runtime.durable_file import read_record, write_record

PRESENT = server_pb2.STORAGE_STATE_PRESENT
LOST = server_pb2.STORAGE_STATE_LOST
UNKNOWN = server_pb2.STORAGE_STATE_UNKNOWN


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def made(root: Path, uid: str) -> host_service_pb2.PresentedRepository:
    """Lay out a repository, and return it as it is expected."""
    storage = DirectoryStorage(roots=StorageRoots([root]), program="")
    await storage.create_repository(Place(path=str(root / uid), uid=uid), "1/1/1")
    storage.close()
    return host_service_pb2.PresentedRepository(repository=f"repositories/{uid}", uid=uid, path=str(root / uid))


def states(watch: StorageWatch | HostWatch) -> dict[str, int]:
    """Return the state of each repository by its uid."""
    return {each.uid: each.state for each in watch.repositories()}


async def test_what_is_expected_outlives_the_agent(tmp_path: Path) -> None:
    """The next agent's first word on storage and links is of what the last one was told to watch."""
    root = tmp_path / "root"
    root.mkdir()
    network = SimNetwork(state=tmp_path / "sim")
    await network.probe()
    await network.create_bridge(Bridge(name="br0", uid="lan", uplink="eth1"), "1/1/1")

    def watch() -> HostWatch:
        return HostWatch(path=tmp_path / "watched.json", roots=StorageRoots([root]), network=network)

    first, changes = watch(), []
    first.on_change(lambda: changes.append("change"))
    await first.open()
    assert (states(first), list(first.links())) == ({}, [])
    answer = host_service_pb2.ReportHostResponse(known=True, report_interval_seconds=10)
    answer.repositories.append(await made(root, "r"))
    answer.networks.add(uid="lan", bridge="br0", uplink="eth1")
    first.expect(answer)
    await until(lambda: states(first) == {"r": PRESENT} and len(first.links()) == 2)
    count = len(changes)
    answer.report_interval_seconds = 1
    first.expect(answer)
    first.expect(host_service_pb2.ReportHostResponse(known=False))
    assert len(changes) == count, "an answer that expects nothing new is no change, nor is one that knows no server"
    await first.close()

    (root / "r").rename(tmp_path / "aside")
    record = read_record(tmp_path / "sim/bridges/br0.json") or {}
    write_record(tmp_path / "sim/bridges/br0.json", {**record, "down": ["eth1"]})
    second = watch()
    await second.open()
    assert states(second) == {"r": LOST}
    assert {link.interface: link.state for link in second.links()} == {
        "br0": server_pb2.LINK_STATE_UP,
        "eth1": server_pb2.LINK_STATE_DOWN,
    }
    write_record(tmp_path / "sim/bridges/br0.json", record)
    await until(lambda: all(link.state == server_pb2.LINK_STATE_UP for link in second.links()))
    await second.close()
    network.close()


async def test_storage_that_hangs_is_unknown_and_stops_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once until it answers; what it says then counts, and the others are watched all the time."""
    monkeypatch.setattr(storage_watch, "_ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(storage_watch, "_LOOK_SECONDS", 0.02)
    expected = [await made(tmp_path, uid) for uid in ("good", "hung")]
    free, asked = threading.Event(), []
    find = DirectoryStorage._find

    def hang(storage: DirectoryStorage, place: Place) -> object:
        if place.uid == "hung":
            asked.append(place)
            free.wait(20)
        return find(storage, place)

    monkeypatch.setattr(DirectoryStorage, "_find", hang)
    watch = StorageWatch(StorageRoots([tmp_path]), lambda: None)
    watch.expect(expected)
    await watch.open()
    try:
        assert states(watch) == {"good": PRESENT, "hung": UNKNOWN}
        (tmp_path / "good").rename(tmp_path / "aside")
        await until(lambda: states(watch) == {"good": LOST, "hung": UNKNOWN})
        assert len(asked) == 1
        free.set()
        await until(lambda: states(watch)["hung"] == PRESENT)
    finally:
        free.set()
        await watch.close()


async def test_another_repository_in_its_place_is_a_loss(tmp_path: Path) -> None:
    """The folder counts by its marker: what was mounted there by mistake is not the repository."""
    expected = await made(tmp_path, "r")
    expected.uid = "other"
    watch = StorageWatch(StorageRoots([tmp_path]), lambda: None)
    watch.expect([expected])
    await watch.open()
    assert states(watch) == {"other": LOST}
    await watch.close()
