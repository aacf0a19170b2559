"""What only the QEMU driver promises: no process, file or socket is left or lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from virtyard.agent.drivers import process
from virtyard.agent.drivers.hypervisor import trial
from virtyard.agent.drivers.hypervisor.choice import choose
from virtyard.agent.drivers.hypervisor.contract import DiskSpec, GuestSpec
from virtyard.agent.drivers.hypervisor.qemu import QemuHypervisor
from virtyard.agent.drivers.hypervisor.qemu_command import Emulator, architecture
from virtyard.kernel.errors import InvalidRequest, Unavailable, Unsupported, WrongState
from virtyard.runtime.threads import Threads

BINARY = shutil.which(f"qemu-system-{architecture()}") or ""
pytestmark = [pytest.mark.qemu, pytest.mark.skipif(not BINARY, reason="qemu is not installed")]
MARK = "12/1/2"


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="vy-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
async def driver(tmp_path: Path, sockets: Path) -> AsyncIterator[QemuHypervisor]:
    """The driver, open; every guest is killed afterwards."""
    driver = QemuHypervisor(state=tmp_path / "qemu", sockets=sockets, clock=FakeClock())
    assert (await driver.probe()).supported
    await driver.open()
    yield driver
    for guest in await driver.guests():
        await driver.kill(guest.uid)
    await driver.close()


@pytest.fixture
def spec(tmp_path: Path) -> GuestSpec:
    """A guest that boots the trial's kernel and halts in it."""
    kernel = tmp_path / "kernel"
    kernel.write_bytes(trial.stub())
    return GuestSpec(uid="db", name="virtualMachines/db", cpus=1, memory_bytes=64 << 20, kernel=kernel)


def processes(driver: QemuHypervisor, uid: str) -> list[process.ProcessIdentity]:
    """Every process of a guest."""
    return list(process.find_by_argument(str(driver._files(uid).pidfile)))


async def test_the_stub_runs_under_emulation() -> None:
    """The trial's kernel itself is sound: where it does not answer under KVM, KVM is to blame."""
    assert await trial.run_trial(Emulator(binary=BINARY, version="")) == ""


async def test_a_trial_that_hangs_is_given_up() -> None:
    """A guest that does not answer within the limit is a refusal with the limit in its words."""
    assert "0.001 s" in await trial.run_trial(Emulator(binary=BINARY, version=""), limit=0.001)


async def test_kvm_counts_only_after_a_trial(tmp_path: Path) -> None:
    """A KVM device that is not there, or runs nothing, gives tcg and the reason; the verdict is remembered."""
    threads = Threads("test", workers=1)
    emulator = Emulator(binary=BINARY, version="any")
    cache = tmp_path / "trial.json"
    verdict = await trial.judge(emulator, cache, threads, kvm_device=tmp_path / "no-kvm")
    assert (verdict.supported, verdict.emulator.accelerator) == (True, "tcg")
    assert "no-kvm is missing" in verdict.reason
    stored = json.loads(cache.read_text())
    cache.write_text(json.dumps({**stored, "reason": "remembered"}))
    assert (await trial.judge(emulator, cache, threads)).reason == "remembered"
    assert (await trial.judge(replace(emulator, version="newer"), cache, threads)).reason != "remembered"


async def test_a_guest_is_in_a_session_of_its_own(driver: QemuHypervisor, spec: GuestSpec) -> None:
    """A signal to the agent's process group or terminal does not reach the guest."""
    info = await driver.start(spec, MARK)
    assert os.getsid(info.pid) == info.pid
    assert os.getsid(info.pid) != os.getsid(0)


async def test_the_record_is_durable_before_the_process(
    driver: QemuHypervisor, spec: GuestSpec, tmp_path: Path, sockets: Path
) -> None:
    """An agent killed after it spawned QEMU and before it noted the process finds the process and its mark."""
    info = await driver.start(spec, MARK)
    path = driver._files(spec.uid).record
    path.write_text(json.dumps({**json.loads(path.read_text()), "process": None}))
    await driver.close()
    again = QemuHypervisor(state=tmp_path / "qemu", sockets=sockets, clock=FakeClock())
    await again.open()
    assert await again.find(spec.uid) == info
    assert await again.kill(spec.uid)
    assert processes(again, spec.uid) == []
    await again.close()


async def test_a_record_without_a_process_is_a_guest_that_does_not_run(
    driver: QemuHypervisor, spec: GuestSpec, tmp_path: Path, sockets: Path
) -> None:
    """An agent killed before it spawned QEMU finds its mark on a guest that does not run, and can clear it away."""
    await driver.start(spec, MARK)
    await driver.close()
    for identity in processes(driver, spec.uid):
        process.kill(identity)
        await process.wait_ended(identity)
    path = driver._files(spec.uid).record
    path.write_text(json.dumps({**json.loads(path.read_text()), "process": None}))
    again = QemuHypervisor(state=tmp_path / "qemu", sockets=sockets, clock=FakeClock())
    await again.open()
    found = await again.find(spec.uid)
    assert found is not None
    assert (found.mark, found.running) == (MARK, False)
    assert not await again.kill(spec.uid)
    assert await again.guests() == []
    await again.close()


async def test_a_reused_pid_is_not_the_guest(
    driver: QemuHypervisor, spec: GuestSpec, tmp_path: Path, sockets: Path
) -> None:
    """A record whose pid belongs to another process now is a guest that does not run; the other is not killed."""
    await driver.start(spec, MARK)
    await driver.kill(spec.uid)
    info = await driver.start(spec, MARK)
    path = driver._files(spec.uid).record
    stored = json.loads(path.read_text())
    await driver.close()
    for identity in processes(driver, spec.uid):
        process.kill(identity)
        await process.wait_ended(identity)
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        path.write_text(json.dumps({**stored, "process": {**stored["process"], "pid": bystander.pid}}))
        again = QemuHypervisor(state=tmp_path / "qemu", sockets=sockets, clock=FakeClock())
        await again.open()
        assert await again.find(spec.uid) == replace(info, running=False, pid=0, display=None)
        assert not await again.kill(spec.uid)
        assert bystander.returncode is None
        await again.close()
    finally:
        bystander.kill()
        await bystander.wait()


async def test_a_cancelled_start_leaves_nothing(driver: QemuHypervisor, spec: GuestSpec) -> None:
    """Whenever a start is cancelled, no process, folder or socket stays."""
    for milliseconds in (0, 2, 5, 10, 20, 40):
        starting = asyncio.ensure_future(driver.start(spec, MARK))
        await asyncio.wait([starting], timeout=milliseconds / 1000)
        starting.cancel()
        await asyncio.wait([starting])
        if not starting.cancelled():
            await driver.kill(spec.uid)
        assert processes(driver, spec.uid) == []
        assert not driver._files(spec.uid).folder.exists()
        assert not driver._files(spec.uid).monitor.exists()
        assert await driver.guests() == []


async def test_a_hung_qemu_is_killed(driver: QemuHypervisor, spec: GuestSpec) -> None:
    """A process that is stopped and answers nothing is killed all the same."""
    info = await driver.start(spec, MARK)
    os.kill(info.pid, 19)
    assert await driver.kill(spec.uid)
    assert processes(driver, spec.uid) == []


async def test_what_qemu_says_is_in_the_error(driver: QemuHypervisor, spec: GuestSpec, tmp_path: Path) -> None:
    """A kernel that QEMU cannot load gives its own words, and nothing is left of the guest."""
    (tmp_path / "bad.qcow2").write_bytes(b"no image at all")
    bad = replace(spec, disks=(DiskSpec(path=tmp_path / "bad.qcow2", format="qcow2", serial="a"),))
    with pytest.raises(Unavailable, match="qcow2"):
        await driver.start(bad, MARK)
    assert await driver.guests() == []
    assert not driver._files(spec.uid).folder.exists()


async def test_a_disk_in_use_is_told_as_such(driver: QemuHypervisor, spec: GuestSpec, tmp_path: Path) -> None:
    """A second guest on the same disk is refused as a wrong state by the image's lock."""
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    shared = replace(spec, disks=(DiskSpec(path=disk, format="raw", serial="a"),))
    await driver.start(shared, MARK)
    with pytest.raises(WrongState, match="in use"):
        await driver.start(replace(shared, uid="other"), "13/1/1")
    assert [guest.uid for guest in await driver.guests()] == ["db"]


async def test_a_missing_kernel_is_refused_by_its_field(driver: QemuHypervisor, spec: GuestSpec) -> None:
    """A kernel that is not there is the request's fault, not QEMU's."""
    with pytest.raises(InvalidRequest) as refusal:
        await driver.start(replace(spec, kernel=Path("/no/such/kernel")), MARK)
    assert refusal.value.violations[0].field == "kernel"


async def test_a_runtime_folder_with_a_long_path_is_unsupported(tmp_path: Path) -> None:
    """A socket path above 107 bytes is said at the probe, not at the first guest."""
    driver = QemuHypervisor(state=tmp_path, sockets=tmp_path / ("x" * 120), clock=FakeClock())
    probe = await driver.probe()
    assert not probe.supported
    assert "too long" in probe.reason


async def test_a_missing_qemu_gives_the_simulation(
    tmp_path: Path, sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` without QEMU simulates and says why; `qemu` refuses with the same reason."""
    monkeypatch.setenv("PATH", str(tmp_path))
    choice = await choose("auto", state=tmp_path, sockets=sockets, clock=FakeClock())
    assert choice.hypervisor.name == "sim"
    assert "is not installed" in choice.reason
    with pytest.raises(Unsupported, match="is not installed"):
        await choose("qemu", state=tmp_path, sockets=sockets, clock=FakeClock())


async def test_auto_takes_qemu_where_a_guest_ran(tmp_path: Path, sockets: Path) -> None:
    """`auto` says which QEMU, which accelerator and why."""
    choice = await choose("auto", state=tmp_path, sockets=sockets, clock=FakeClock())
    assert choice.hypervisor.name == "qemu"
    assert choice.hypervisor.accelerator in choice.reason
