"""An agent that is killed with SIGKILL in a real process: the next one finds what it did by its mark (R2)."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.agent.removals import removals
from tests.integration.agent.scenario import DONE, FAILED, create_disk, scheduler, settlement, undoing
from tests.integration.agent.victim import SIZE
from virtyard.agent.actions import contract
from virtyard.agent.drivers import process
from virtyard.runtime.status import from_status

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.qemu]


async def kill_at(folder: Path, point: str, module: str = "victim") -> None:
    """Run an agent in a process until it has killed itself."""
    victim = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.integration.agent.{module}", str(folder), point), cwd=ROOT
    )
    async with asyncio.timeout(60):
        assert await victim.wait() == -signal.SIGKILL


def disks(folder: Path) -> list[str]:
    """The images of the repository."""
    return sorted(path.name for path in (folder / "share" / "repo" / "disks").iterdir())


@pytest.mark.parametrize("point", ["acted", "recorded"])
async def test_what_was_done_is_done_once(tmp_path: Path, point: str) -> None:
    """Killed after the effect, before or after its record: the step is DONE with one image, and can be undone."""
    await kill_at(tmp_path, point)
    sent = create_disk(tmp_path, size=SIZE, full=True)
    made = (tmp_path / "share" / "repo" / "disks" / "d1.qcow2").stat()
    async with scheduler(tmp_path, driver="qemu") as jobs:
        (record,) = await jobs.run(sent)
        assert (record.state, record.changed) == (DONE, True)
        assert disks(tmp_path) == ["d1.json", "d1.qcow2"]
        assert (tmp_path / "share" / "repo" / "disks" / "d1.qcow2").stat().st_ino == made.st_ino
        (record,) = await jobs.run(undoing(sent))
        assert (record.state, record.changed) == (DONE, True)
        assert disks(tmp_path) == []


@pytest.mark.parametrize("point", ["accepted", "acting"])
async def test_what_was_not_done_left_nothing(tmp_path: Path, point: str) -> None:
    """Killed before the effect or in the middle of it: nothing is left, nobody writes on, a new attempt succeeds."""
    await kill_at(tmp_path, point)
    sent = create_disk(tmp_path, size=SIZE, full=True)
    async with scheduler(tmp_path, driver="qemu") as jobs:
        record = await jobs.settle(settlement(sent))
        assert (record.state, from_status(record.error).reason) == (FAILED, "UNAVAILABLE")
        assert disks(tmp_path) == []
        assert list(process.find_by_argument(str(tmp_path / "share" / "repo" / "disks" / "d1.qcow2.part"))) == []
        (record,) = await jobs.run(create_disk(tmp_path, attempt=2, size=SIZE, full=True))
        assert record.state == DONE
        assert disks(tmp_path) == ["d1.json", "d1.qcow2"]


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
@pytest.mark.parametrize("name", ["bridge", "claim", "membership"])
async def test_what_was_taken_away_is_put_back_by_the_undo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, on: bool
) -> None:
    """Killed before its record: that it is not there now does not mean that it was not there before."""
    await kill_at(tmp_path, name, "removals")
    sent = removals(tmp_path)[name].sent
    if not on:
        monkeypatch.setattr(contract, "replace", lambda outcome, **_: outcome)
    async with scheduler(tmp_path) as jobs:
        host = jobs.agent.host

        async def is_there() -> bool:
            if name == "bridge":
                return await host.network.find_bridge("vylan", "n1") is not None
            return bool(host.claim.owner_id) if name == "claim" else host.heartbeat.joined("c1") is not None

        (record,) = await jobs.run(sent)
        assert (record.state, record.changed, await is_there()) == (DONE, on, False)
        (record,) = await jobs.run(undoing(sent))
        assert (record.state, await is_there()) == (DONE, on)
