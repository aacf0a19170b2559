"""The hypervisor contract, kept by every driver."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from virtyard.agent.drivers.hypervisor.contract import DiskSpec, GuestInfo, GuestSpec, Hypervisor, NicSpec
from virtyard.agent.drivers.hypervisor.qemu import QemuHypervisor
from virtyard.agent.drivers.hypervisor.qemu_command import architecture
from virtyard.agent.drivers.hypervisor.sim import SimHypervisor
from virtyard.agent.drivers.hypervisor.trial import stub
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, WrongState

Make = Callable[[], Hypervisor]
MARK = "12/1/2"
OTHER = "13/1/1"
UID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="vy-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(params=["sim", pytest.param("qemu", marks=pytest.mark.qemu)])
def make(request: pytest.FixtureRequest, tmp_path: Path, short_folder: Path) -> Make:
    """Something that makes the driver again, as an agent that starts again does."""
    if request.param == "sim":
        return lambda: SimHypervisor(state=tmp_path / "sim", clock=FakeClock())
    if shutil.which(f"qemu-system-{architecture()}") is None:
        pytest.skip("qemu is not installed")
    return lambda: QemuHypervisor(state=tmp_path / "qemu", sockets=short_folder, clock=FakeClock())


@contextlib.asynccontextmanager
async def opened(make: Make) -> AsyncIterator[Hypervisor]:
    """A driver that is probed and open; its guests stay when it is left."""
    driver = make()
    assert (await driver.probe()).supported
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


@pytest.fixture
async def driver(make: Make) -> AsyncIterator[Hypervisor]:
    """A driver that works; no guest of it survives the test."""
    try:
        async with opened(make) as driver:
            yield driver
    finally:
        async with opened(make) as last:
            for guest in await last.guests():
                await last.kill(guest.uid)


@pytest.fixture
def spec(tmp_path: Path) -> GuestSpec:
    """A guest that boots the trial's kernel, halts in it, and has a comma in its disk's path."""
    kernel = tmp_path / "kernel"
    kernel.write_bytes(stub())
    disk = tmp_path / "a,b=c.raw"
    disk.write_bytes(bytes(1 << 20))
    return GuestSpec(
        uid=UID,
        name="virtualMachines/db",
        cpus=1,
        memory_bytes=64 << 20,
        kernel=kernel,
        kernel_arguments="console=ttyS0,115200",
        disks=(DiskSpec(path=disk, format="raw", serial="0123456789abcdefghij"),),
        nics=(NicSpec(mac="52:54:00:12:34:56"),),
    )


async def until(condition: Callable[[], bool], limit: float = 10.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.01)


async def end_by_itself(driver: Hypervisor, info: GuestInfo) -> None:
    """Have a guest end that nobody asked to, and wait until the driver has told."""
    told: list[str] = []
    driver.on_change(lambda: told.append("change"))
    if isinstance(driver, SimHypervisor):
        driver.end(UID)
    else:
        os.kill(info.pid, signal.SIGKILL)
    await until(lambda: bool(told))


async def test_a_started_guest_runs_and_is_found(driver: Hypervisor, spec: GuestSpec) -> None:
    """A start gives the guest with its mark; find and guests give the same."""
    info = await driver.start(spec, MARK)
    assert (info.uid, info.name, info.mark, info.running) == (UID, "virtualMachines/db", MARK, True)
    assert info.accelerator == driver.accelerator
    assert await driver.find(UID) == info
    assert await driver.guests() == [info]


async def test_a_killed_guest_is_gone(driver: Hypervisor, spec: GuestSpec) -> None:
    """Kill says whether it ran; afterwards nothing is known of it and a second kill is False."""
    await driver.start(spec, MARK)
    assert await driver.kill(UID)
    assert await driver.find(UID) is None
    assert await driver.guests() == []
    assert not await driver.kill(UID)


async def test_a_start_under_the_same_mark_is_the_same_guest(driver: Hypervisor, spec: GuestSpec) -> None:
    """A repeated start finds what it did; another mark is refused and changes nothing."""
    info = await driver.start(spec, MARK)
    assert await driver.start(spec, MARK) == info
    with pytest.raises(AlreadyExists):
        await driver.start(spec, "13/1/1")
    assert await driver.guests() == [info]


async def test_nothing_is_kept_of_guests_that_are_gone(driver: Hypervisor, spec: GuestSpec) -> None:
    """Of two starts at once the second waits for the first; once the guest is killed, no lock is left."""
    first, second = await asyncio.gather(driver.start(spec, MARK), driver.start(spec, MARK))
    assert first == second
    assert await driver.kill(UID)
    assert not await driver.kill("nobody")
    assert await driver.guests() == []
    assert len(driver._locks) == 0  # type: ignore[attr-defined]  # what would grow for ever


async def test_guests_outlive_the_agent(make: Make, driver: Hypervisor, spec: GuestSpec) -> None:
    """A driver that is opened again has the guest, with its mark and its process, and can kill it."""
    info = await driver.start(spec, MARK)
    await driver.close()
    async with opened(make) as again:
        assert await again.find(UID) == info
        assert await again.start(spec, MARK) == info
        assert await again.kill(UID)
    async with opened(make) as third:
        assert await third.guests() == []


async def test_a_change_is_told(driver: Hypervisor, spec: GuestSpec) -> None:
    """A listener hears of a start and of a kill."""
    told: list[str] = []
    driver.on_change(lambda: told.append("change"))
    await driver.start(spec, MARK)
    assert told
    told.clear()
    await driver.kill(UID)
    assert told


async def test_a_guest_that_ends_by_itself_is_noticed(driver: Hypervisor, spec: GuestSpec) -> None:
    """A guest whose process is killed is reported as not running, keeps its record, and can be started again."""
    info = await driver.start(spec, MARK)
    await end_by_itself(driver, info)
    ended = await driver.find(UID)
    assert ended == replace(info, running=False, pid=0, display=None)
    again = await driver.start(spec, "13/1/1")
    assert again.running
    assert again.mark == "13/1/1"


async def test_a_guest_that_ended_is_forgotten_by_kill(driver: Hypervisor, spec: GuestSpec) -> None:
    """Killing a guest that ended already answers False and removes its record."""
    info = await driver.start(spec, MARK)
    await end_by_itself(driver, info)
    assert not await driver.kill(UID)
    assert await driver.guests() == []


async def test_only_an_ended_guest_of_that_run_is_forgotten(driver: Hypervisor, spec: GuestSpec) -> None:
    """One that runs stays, and so does one whose last run is another than the one that was told of."""
    info = await driver.start(spec, MARK)
    assert not await driver.forget(UID, info.run)
    await end_by_itself(driver, info)
    assert not await driver.forget(UID, "another")
    assert not await driver.forget("nobody", info.run)
    assert [guest.uid for guest in await driver.guests()] == [UID]
    assert await driver.forget(UID, info.run)
    assert await driver.guests() == []


async def test_a_guest_boots_again_where_it_is(make: Make, driver: Hypervisor, spec: GuestSpec) -> None:
    """Booted under a mark it runs on, in its process, also for the next agent; under the same mark nothing happens."""
    started = await driver.start(spec, MARK)
    assert not await driver.is_down(UID)
    booted = await driver.boot(UID, OTHER)
    assert (booted.pid, booted.mark, booted.running) == (started.pid, MARK, True)
    async with opened(make) as again:
        assert (await again.boot(UID, OTHER)).pid == started.pid


async def test_a_guest_that_ended_is_started_as_it_was(driver: Hypervisor, spec: GuestSpec) -> None:
    """A boot of a guest that is gone gives it a process again; one that never was is refused."""
    started = await driver.start(spec, MARK)
    if started.pid:
        os.kill(started.pid, signal.SIGKILL)
        while not await driver.is_down(UID):
            await asyncio.sleep(0.01)
    elif isinstance(driver, SimHypervisor):
        driver.end(UID)
    assert (await driver.boot(UID, OTHER)).running
    found = await driver.find(UID)
    assert found is not None
    assert found.running
    with pytest.raises(WrongState):
        await driver.boot("nobody", OTHER)


async def test_a_guest_that_does_not_listen_is_told(driver: Hypervisor, spec: GuestSpec, tmp_path: Path) -> None:
    """The wait ends with the grace, or with a cancellation, and the guest runs as before; one that is gone is down."""
    if isinstance(driver, SimHypervisor):
        (tmp_path / "sim" / "settings.json").write_text(json.dumps({"shutdown_seconds": 100}))
    await driver.start(spec, MARK)
    waits: list[int] = []
    assert not await driver.shut_down(UID, 0.2, on_wait=waits.append)
    assert waits
    waiting = asyncio.ensure_future(driver.shut_down(UID, 60, on_wait=waits.append))
    before = len(waits)
    while len(waits) == before:
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    found = await driver.find(UID)
    assert found is not None
    assert found.running
    assert await driver.kill(UID)
    assert await driver.shut_down(UID, 60, on_wait=waits.append)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"uid": "../x"}, "uid"),
        ({"cpus": 0}, "cpus"),
        ({"memory_bytes": 5}, "memory_bytes"),
        ({"disks": (DiskSpec(path=Path("/x"), format="vmdk", serial="a"),)}, "disks[0].format"),
        ({"disks": (DiskSpec(path=Path("/x"), format="raw", serial="a" * 21),)}, "disks[0].serial"),
        ({"nics": (NicSpec(mac="52:54:00:12:34:56,x=y"),)}, "nics[0].mac"),
        ({"nics": (NicSpec(mac="52:54:00:12:34:56", model="shell"),)}, "nics[0].model"),
    ],
)
async def test_a_wrong_value_is_refused_by_its_field(
    driver: Hypervisor, spec: GuestSpec, wrong: dict[str, object], field: str
) -> None:
    """Values that cannot be are refused with the field's name, and nothing is left of the guest."""
    with pytest.raises(InvalidRequest) as refusal:
        await driver.start(replace(spec, **wrong), MARK)  # type: ignore[arg-type]  # wrong on purpose
    assert [violation.field for violation in refusal.value.violations] == [field]
    assert await driver.guests() == []


async def test_guests_start_side_by_side(driver: Hypervisor, spec: GuestSpec) -> None:
    """Several starts at once give several guests."""
    specs = [replace(spec, uid=f"guest-{number}", disks=(), nics=()) for number in range(3)]
    async with asyncio.TaskGroup() as group:
        for one in specs:
            group.create_task(driver.start(one, MARK))
    assert [guest.uid for guest in await driver.guests()] == ["guest-0", "guest-1", "guest-2"]
