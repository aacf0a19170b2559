"""What only the simulated hypervisor has: settings, and very many guests."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from virtyard.agent.drivers.hypervisor import sim
from virtyard.agent.drivers.hypervisor.contract import GuestSpec
from virtyard.agent.drivers.hypervisor.sim import SimHypervisor, SimSettings
from virtyard.kernel.errors import CapacityExhausted, Unavailable
from virtyard.runtime.durable_file import Record, read_record


def spec(number: int) -> GuestSpec:
    """A small guest."""
    return GuestSpec(uid=f"m{number}", name=f"virtualMachines/m{number}", cpus=1, memory_bytes=1 << 30)


async def test_memory_is_limited_where_it_is_set(tmp_path: Path) -> None:
    """A guest that does not fit is refused with the sizes; one that ended takes nothing."""
    driver = SimHypervisor(state=tmp_path, clock=FakeClock(), settings=SimSettings(memory_bytes=3 << 30))
    await driver.open()
    for number in range(3):
        await driver.start(spec(number), "1/1/1")
    with pytest.raises(CapacityExhausted, match="0 are free"):
        await driver.start(spec(3), "1/1/1")
    driver.end("m0")
    await driver.start(spec(3), "1/1/1")


async def test_settings_are_read_while_it_runs(tmp_path: Path) -> None:
    """A file in the state folder makes starts or kills fail from then on, with its words."""
    driver = SimHypervisor(state=tmp_path, clock=FakeClock())
    await driver.open()
    await driver.start(spec(1), "1/1/1")
    (tmp_path / "settings.json").write_text(json.dumps({"refuse_start": "no power", "refuse_kill": "stuck", "new": 1}))
    with pytest.raises(Unavailable, match="no power"):
        await driver.start(spec(2), "1/1/1")
    with pytest.raises(Unavailable, match="stuck"):
        await driver.kill("m1")
    (tmp_path / "settings.json").unlink()
    assert await driver.kill("m1")


async def test_settings_that_are_half_written_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for crashes meanwhile goes on looking."""
    looked = asyncio.Event()

    def read(path: Path) -> Record | None:
        if path.name == "settings.json":
            looked.set()
        return read_record(path)

    monkeypatch.setattr(sim, "read_record", read)
    driver = SimHypervisor(state=tmp_path, clock=FakeClock())
    await driver.open()
    await driver.start(spec(1), "1/1/1")
    written = json.dumps({"crash": ["m1"]})
    (tmp_path / "settings.json").write_text(written[:4])
    async with asyncio.timeout(20):
        await looked.wait()
        (tmp_path / "settings.json").write_text(written)
        while [guest.uid for guest in await driver.guests() if guest.running]:
            await asyncio.sleep(0.01)
    await driver.close()


async def test_a_thousand_guests_are_cheap(tmp_path: Path) -> None:
    """They all are found again by the next driver."""
    driver = SimHypervisor(state=tmp_path, clock=FakeClock())
    await driver.open()
    for number in range(1000):
        await driver.start(spec(number), "1/1/1")
    again = SimHypervisor(state=tmp_path, clock=FakeClock())
    await again.open()
    assert await again.guests() == await driver.guests()
