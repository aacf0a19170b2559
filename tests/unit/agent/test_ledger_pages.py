"""Pages of the ledger: what is asked for, each row once, in the order of acceptance, and no more is read than that."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from virtyard.agent import ledger_pages
from virtyard.agent.ledger import Ledger
from virtyard.agent.ledger_pages import list_ledger
from virtyard.api.agent.v1 import agent_service_pb2 as pb
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.status import to_status

NONE_ABOVE = (1 << 63) - 1
RUNNING, DONE, FAILED = participant.EFFECT_STATE_RUNNING, participant.EFFECT_STATE_DONE, participant.EFFECT_STATE_FAILED
ROWS = [
    ("1/1/1", 1, DONE, True),
    ("10/1/1", 10, DONE, True),
    ("2/1/1", 2, RUNNING, True),
    ("2/1/2", 2, FAILED, False),
    ("11/1/1", 11, RUNNING, True),
    ("1/2/1", 1, FAILED, True),
]
"""Step key, operation, state, and whether the effect ever came, in the order of acceptance."""


@pytest.fixture
async def ledger(tmp_path: Path) -> sqlite3.Connection:
    """Return a ledger with these rows."""
    await (await Ledger.open(tmp_path / "ledger.db", SystemClock(), to_status)).close()
    effect = participant.Effect(phase=participant.PHASE_DO, target="networks/n")
    effect.do.Pack(participant.ListActionsRequest())
    body = effect.SerializeToString()
    with sqlite3.connect(tmp_path / "ledger.db") as sql:
        sql.executemany(
            "INSERT INTO ledger (step_key, phase, attempt, operation, payload_hash, effect, state, record, accepted,"
            " accept_time) VALUES (?, 1, 1, ?, x'', ?, ?, x'', ?, 0)",
            [(key, number, body if came else b"", state, at) for at, (key, number, state, came) in enumerate(ROWS, 1)],
        )
    return sql


def keys(sql: sqlite3.Connection, *numbers: int, above: int = NONE_ABOVE, after: int = 0) -> list[str]:
    """Return the step keys of a page."""
    request = pb.ListLedgerRequest(operation_above=above, operations=numbers, after_sequence=after)
    return [entry.step_key for entry in list_ledger(sql, request).entries]


async def test_only_what_is_asked_for_is_listed_and_each_row_once(ledger: sqlite3.Connection) -> None:
    """By operation, above one, or both; what was refused before it came is left out."""
    assert keys(ledger, 1) == ["1/1/1", "1/2/1"]
    assert keys(ledger, 2, 2) == ["2/1/1"]
    assert keys(ledger) == []
    assert keys(ledger, above=2) == ["10/1/1", "11/1/1"]
    assert keys(ledger, 1, 11, above=2) == ["1/1/1", "10/1/1", "11/1/1", "1/2/1"]
    assert keys(ledger, 1, after=1) == ["1/2/1"]
    assert keys(ledger, above=0) == ["1/1/1", "10/1/1", "2/1/1", "11/1/1", "1/2/1"]


async def test_pages_follow_each_other(ledger: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is full names where the next one begins; the last one names none."""
    whole = keys(ledger, above=0)
    monkeypatch.setattr(ledger_pages, "PAGE", 2)
    found, request = [], pb.ListLedgerRequest()
    while True:
        page = list_ledger(ledger, request)
        found += [entry.step_key for entry in page.entries]
        request.after_sequence = page.next_sequence
        if not page.next_sequence:
            break
    assert found == whole != []


async def test_no_part_reads_the_whole_ledger(ledger: sqlite3.Connection) -> None:
    """The auditor asks every half minute: each part of the statement goes by an index."""
    wanted = {"after": 0, "above": NONE_ABOVE, "operations": json.dumps([1]), "most": 1000}
    plan = [row[3] for row in ledger.execute(f"EXPLAIN QUERY PLAN {ledger_pages._ENTRIES}", wanted)]
    assert sum("SEARCH ledger" in line for line in plan) == 3, plan
    assert not [line for line in plan if "SCAN ledger" in line], plan
