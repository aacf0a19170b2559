"""What a participant forgets, it refuses for ever (P18): at the ports of an agent and of the inventory.

Each is shown twice: with the check, and with the check switched off, where a late duplicate runs as new.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.contract.participant.ports import DONE, KINDS, Port, opened
from tests.contract.participant.test_stale_effects import FAILED, pki
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.runtime.status import from_status

NOT_BEGUN = participant.EFFECT_STATE_NOT_BEGUN
__all__ = ["pki"]
ABOVE = {"settled_below": 4, "tokens_below": 10}
"""Everything that `Kind.earlier` did is settled: operations 1 to 3, with tokens up to 9."""


def rows(folder: Path) -> dict[str, int]:
    """Return how many rows each table of the ledger has."""
    (path,) = (path for path in folder.rglob("*.db") if path.name in ("ledger.db", "inventory.db"))
    with contextlib.closing(sqlite3.connect(path)) as sql:
        return {
            table: sql.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("ledger", "epoch", "token")
        }


async def late_duplicate(port: Port, folder: Path) -> None:
    """Have everything forgotten and send an effect that was done again; see that it is refused without a trace."""
    assert min(rows(folder).values()) > 0
    await port.greet(**ABOVE)
    assert rows(folder) == {"ledger": 0, "epoch": 0, "token": 0}
    before = port.picture()
    (record,) = await port.send(port.kind.earlier(folder)[-1])
    assert (record.state, from_status(record.error).reason) == (FAILED, "KEY_REFUSED")
    assert port.picture() == before


@pytest.mark.parametrize("name", KINDS)
async def test_what_is_forgotten_is_refused_for_ever(tmp_path: Path, pki: Path, name: str) -> None:
    """Below the floor nothing is remembered, and a late duplicate is refused; also by the next process."""
    async with opened(KINDS[name], tmp_path, pki) as port:
        await late_duplicate(port, tmp_path)
        (record,) = await port.send(port.late("lock"))
        assert from_status(record.error).reason != "KEY_REFUSED", "an operation above the floor is heard"
    async with opened(KINDS[name], tmp_path, pki, earlier=False) as port:
        (record,) = await port.send(port.kind.earlier(tmp_path)[-1])
        assert (record.state, from_status(record.error).reason) == (FAILED, "KEY_REFUSED")


@pytest.mark.parametrize("name", KINDS)
async def test_without_the_check_a_late_duplicate_runs_as_new(
    tmp_path: Path,
    pki: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """The check is what refuses: with it switched off the proof above fails, and the effect is in the ledger again."""
    async with opened(KINDS[name], tmp_path, pki) as port:
        monkeypatch.setattr(port.kind.checks, "check_settled", lambda *_: None)
        with pytest.raises(AssertionError):
            await late_duplicate(port, tmp_path)
        assert rows(tmp_path)["ledger"] == 1


@pytest.mark.parametrize("name", KINDS)
async def test_a_settlement_below_the_floor_leaves_no_tombstone(tmp_path: Path, pki: Path, name: str) -> None:
    """Its key is refused as it is, so NOT_BEGUN is true without a row."""
    async with opened(KINDS[name], tmp_path, pki) as port:
        await port.greet(**ABOVE)
        before = port.picture()
        record = await port.settle(port.kind.earlier(tmp_path)[0])
        assert record.state == NOT_BEGUN
        assert port.picture() == before


@pytest.mark.parametrize("name", KINDS)
async def test_tokens_that_an_open_operation_may_be_below_are_kept(tmp_path: Path, pki: Path, name: str) -> None:
    """A token is forgotten by itself, not with the operation that brought it: a stale one is still refused."""
    async with opened(KINDS[name], tmp_path, pki) as port:
        await port.greet(settled_below=1, tokens_below=9)
        (record,) = await port.send(port.late("token"))
        assert from_status(record.error).reason == "STALE_TOKEN"
        assert record.state != DONE
