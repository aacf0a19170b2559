"""What is durable of proofs of death."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.death_records import DeathRecords, Settlement
from virtyard.jobs.main import scope_of
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.database import Database, Transaction
from virtyard.runtime.feed import Feed

S1 = "servers/s1"
KEY = ("12/3/1", int(participant.PHASE_DO), 1)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty jobs.db."""
    feed = Feed("jobs", scope_of=scope_of)
    opened = await Database.open(tmp_path / "jobs.db", "virtyard.jobs.migrations", feed, SystemClock())
    async with opened:
        yield opened


async def ask(database: Database, number: int, hello: int) -> None:
    """Note that an operation is to record a proof."""
    note = DeathRecords.asking(S1, hello)
    operation: Any = SimpleNamespace(number=number)

    def write(transaction: Transaction) -> None:
        note(transaction, operation)
        transaction.transition("jobs.C1")

    await database.write(write)


async def test_a_return_ends_a_proof_for_ever(database: Database) -> None:
    """The same request asked again does not revive it; a later one is another proof."""
    records = DeathRecords(database)
    await ask(database, 7, hello=3)
    assert await records.proof_of(S1) == (7, 3)
    await records.told(S1, [], proven=True)
    assert await records.proof_of(S1) is None
    await ask(database, 7, hello=4)
    assert await records.proof_of(S1) is None
    await ask(database, 8, hello=4)
    assert await records.proof_of(S1) == (8, 4)


async def test_what_was_settled_is_told_until_it_is_in_the_ledger(database: Database) -> None:
    """Over a restart too."""
    record = participant.EffectRecord(step_key=KEY[0], state=participant.EFFECT_STATE_FAILED)
    await DeathRecords(database).settle(S1, [Settlement(key=KEY, record=record)])
    records = DeathRecords(database)
    await records.recall()
    assert [each.told.record for each in records.settled_of(S1).values()] == [record]
    await records.told(S1, [KEY], proven=False)
    assert not records.settled_of(S1)
    later = DeathRecords(database)
    await later.recall()
    assert not later.settled_of(S1)
