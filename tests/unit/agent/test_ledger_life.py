"""The life of a ledger: another one once it was found to have forgotten something, and the same for every start."""

from __future__ import annotations

from pathlib import Path

from virtyard.agent.ledger import Ledger
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.status import to_status


async def test_a_sealed_ledger_begins_another_life(tmp_path: Path) -> None:
    """It is the identity at first; sealing changes it, for the next agent too, and another ledger has its own."""
    lives, ids = [], []
    for _ in range(2):
        ledger = await Ledger.open(tmp_path / "ledger.db", SystemClock(), to_status)
        lives.append(ledger.life)
        await ledger.seal(participant.ResyncRequest(next_operation=7))
        lives.append(ledger.life)
        ids.append(ledger.id)
        await ledger.close()
    assert [lives[0]] * 2 == ids
    assert lives[1] == lives[2]
    assert len({*lives}) == 3
    other = await Ledger.open(tmp_path / "other.db", SystemClock(), to_status)
    assert other.life not in lives
    await other.close()
