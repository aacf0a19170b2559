"""Pages of the inventory's ledger: what is asked for, in order, by an index."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.inventory import ledger_pages
from virtyard.inventory.ledger_pages import list_ledger
from virtyard.inventory.main import open_inventory
from virtyard.runtime.clock import SystemClock

DONE, FAILED, NOT_BEGUN = (
    participant.EFFECT_STATE_DONE,
    participant.EFFECT_STATE_FAILED,
    participant.EFFECT_STATE_NOT_BEGUN,
)
ROWS = [
    ("1/1/1", 1, DONE, b"hash"),
    ("10/1/1", 10, DONE, b"hash"),
    ("2/1/1", 2, FAILED, b"hash"),
    ("2/1/2", 2, NOT_BEGUN, b""),
    ("1/2/1", 1, DONE, b"hash"),
]
"""Step key, operation, state, and the hash of what came; a tombstone has none."""


@pytest.fixture
async def ledger(tmp_path: Path) -> sqlite3.Connection:
    """Return a ledger with these rows."""
    async with open_inventory(tmp_path, SystemClock()):
        pass
    sql = sqlite3.connect(tmp_path / "inventory.db")
    sql.executemany(
        "INSERT INTO ledger (step_key, operation, phase, attempt, payload_hash, state, record, prior)"
        " VALUES (?, ?, 1, 1, ?, ?, x'', x'')",
        [(key, number, came, state) for key, number, state, came in ROWS],
    )
    sql.execute("INSERT INTO epoch VALUES (10, 1)")
    sql.execute("UPDATE floor SET settled_below = 1")
    return sql


def keys(sql: sqlite3.Connection, *numbers: int, after: int = 0) -> list[str]:
    """Return the step keys of a page."""
    return [entry.step_key for entry in list_ledger(sql, numbers, after).entries]


async def test_only_what_is_asked_for_is_listed_in_the_order_of_the_ledger(ledger: sqlite3.Connection) -> None:
    """An operation's number begins another's; what was settled before it came is left out."""
    assert keys(ledger, 1) == ["1/1/1", "1/2/1"]
    assert keys(ledger, 2) == ["2/1/1"]
    assert keys(ledger, 10, 1) == ["1/1/1", "10/1/1", "1/2/1"]
    assert keys(ledger) == []
    answer = list_ledger(ledger, [2], 0)
    assert (answer.entries[0].state, answer.highest_operation, answer.forgotten_below) == (FAILED, 10, 1)


async def test_pages_follow_each_other(ledger: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full page names where the next one begins, a page of tombstones too."""
    monkeypatch.setattr(ledger_pages, "PAGE", 1)
    found, after = [], 0
    while True:
        page = list_ledger(ledger, [1, 2], after)
        found += [entry.step_key for entry in page.entries]
        if not page.next_sequence:
            break
        after = page.next_sequence
    assert found == ["1/1/1", "2/1/1", "1/2/1"]


async def test_a_page_is_found_by_keys(ledger: sqlite3.Connection) -> None:
    """The auditor asks every half minute; it never reads the whole ledger."""
    wanted = {"operations": json.dumps([1]), "after": 0, "most": 10}
    plan = [row[3] for row in ledger.execute(f"EXPLAIN QUERY PLAN {ledger_pages._ENTRIES}", wanted)]
    assert any("SEARCH ledger USING INDEX" in line for line in plan), plan
    assert not any("SCAN ledger" in line for line in plan), plan
