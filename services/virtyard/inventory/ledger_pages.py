"""Pages of the inventory's ledger, for the auditor (P36); those of a host's are in `agent/ledger_pages.py`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant

__all__ = ["PAGE", "list_ledger"]

PAGE = 1000
"""At most so many entries are in a page."""
# By the index of keys. Behind the slash comes the zero: a key of operation 1 lies between them, one of 10 does not.
_ENTRIES = """
    SELECT step_key, phase, attempt, state, record, sequence, payload_hash
    FROM (SELECT DISTINCT value AS number FROM json_each(:operations))
    JOIN ledger ON step_key >= number || '/' AND step_key < number || '0'
    WHERE sequence > :after ORDER BY sequence LIMIT :most
"""
_REACHED = "SELECT coalesce((SELECT max(operation) FROM epoch), 0), settled_below FROM floor"


def list_ledger(
    connection: sqlite3.Connection, operations: Collection[int], after: int
) -> agent_service_pb2.ListLedgerResponse:
    """Return a page of what was carried out, in that order; a tombstone, of what never was, is left out.

    Args:
        connection: inventory.db.
        operations: the numbers of the operations.
        after: the sequence after which the page begins; 0 for the first one.
    """
    wanted = {"operations": json.dumps(sorted(operations)), "after": after, "most": PAGE}
    rows = connection.execute(_ENTRIES, wanted).fetchall()
    highest, forgotten = connection.execute(_REACHED).fetchone()
    answer = agent_service_pb2.ListLedgerResponse(highest_operation=highest, forgotten_below=forgotten)
    for step_key, phase, attempt, state, record, _, payload_hash in rows:
        if payload_hash:
            changed = participant.EffectRecord.FromString(record).changed
            answer.entries.add(step_key=step_key, phase=phase, attempt=attempt, state=state, changed=changed)
    if len(rows) == PAGE:
        answer.next_sequence = rows[-1][5]
    return answer
