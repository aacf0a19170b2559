"""Our tests are tested: each of five bugs is put in, and what they would lead to is found by the invariant checker."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import grpc
import pytest

from tests.integration.crash.stage import EXAMPLES, Stage, opened
from tests.invariants.check import findings
from tests.invariants.records import read
from tests.torture.bugs import BUGS
from virtyard.api.operations.v1 import kill_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import WrongState

pytestmark = pytest.mark.timeout(120)
NO_BUG = "none"
KILL = kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/web")
TOLD = {
    NO_BUG: "",
    "token-check-dropped": "which is no step of its operation's plan",
    "answer-before-commit": "was acknowledged and is not there",
    "undo-skipped": "counts as undone; the ledger has it done",
    "step-key-reused": "the ledger has it not done",
    "lock-forgotten": "has ended, its locks are held, and their release is not due",
}


@pytest.mark.parametrize("bug", [NO_BUG, *BUGS])
async def test_a_seeded_bug_is_found_and_nothing_without_one(
    bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that fails, one that succeeds, a kill, and a start that comes late: enough for each of them."""
    async with opened(tmp_path, EXAMPLES["start_virtual_machine"]) as stage:
        if bug != NO_BUG:
            BUGS[bug](monkeypatch.setattr)
        found = await tell(stage)
    assert found == [] if bug == NO_BUG else any(TOLD[bug] in line for line in found), found


async def tell(stage: Stage) -> list[str]:
    """Run the story, and return what is found; a bug may keep it from going on."""
    site = stage.site
    found = []
    with suppress(TimeoutError, AssertionError, grpc.aio.AioRpcError):
        async with asyncio.timeout(10):
            name = await stage.next_name()
            site.faults.on_step = refuse_last
            await site.submit(stage.request())
            if name not in {operation.name for operation in read(site.folder).operations.values()}:
                found.append(f"{name} was acknowledged and is not there")
            await site.wait(name)
            site.faults.on_step = lambda _key, _when: None
            for request in (stage.request(), KILL):
                await site.run(request)
            await site.wait_released()
            await send_late(stage)
    if await asyncio.to_thread(stage.findings):
        found += findings(site.folder, site.share, site.folder / "effects")
    return found


def refuse_last(key: str, when: str) -> None:
    """Refuse the third step, so that what came before it is undone."""
    if key.endswith("/1/3") and when == "":
        raise WrongState("it is refused, for a test", resource=key)


async def send_late(stage: Stage) -> None:
    """Let a message arrive at a host after its operation has ended, and after another had the machine."""
    (server, effect) = first_effect(stage.site.folder)
    effect.step_key = effect.step_key.rpartition("/")[0] + "/9"
    heard = asyncio.Event()

    def hear(report: participant.EffectReport) -> None:
        if report.HasField("result"):
            heard.set()

    await stage.site.agents[server].runner.execute([effect], hear)
    await heard.wait()


def first_effect(folder: Path) -> tuple[str, participant.Effect]:
    """Return the first start of a guest that a host did, and its server."""
    for path in folder.glob("agents/*/ledger.db"):
        with closing(sqlite3.connect(path)) as sql:
            for (body,) in sql.execute("SELECT effect FROM ledger WHERE phase = 1 AND state = 3 ORDER BY accepted"):
                effect = participant.Effect.FromString(body)
                if effect.do.type_url.endswith("StartGuest"):
                    return path.parent.name, effect
    raise AssertionError("no guest was started")
