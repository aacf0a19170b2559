"""Pages of the ledger for a scheduler whose database was restored, and which asks what it does not know (P32)."""

from __future__ import annotations

import json
import sqlite3

from virtyard.api.agent.v1 import agent_service_pb2 as pb
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.any import type_of
from virtyard.kernel.effects import payload

__all__ = ["PAGE", "list_ledger"]

PAGE = 1000
"""At most so many entries are in a page."""
_ENTRIES = """
    SELECT step_key, phase, attempt, state, record, effect, accepted FROM ledger
    WHERE accepted > ? AND (operation > ? OR operation IN (SELECT value FROM json_each(?)))
    ORDER BY accepted LIMIT ?
"""
_REACHED = """
    SELECT max(
        coalesce((SELECT max(operation) FROM ledger), 0), coalesce((SELECT max(operation) FROM epoch), 0),
        settled_below - 1, sealed_below - 1
    ), settled_below FROM floor
"""


def list_ledger(connection: sqlite3.Connection, request: pb.ListLedgerRequest) -> pb.ListLedgerResponse:
    """Return a page of what was accepted; what was refused before it came, a tombstone, is left out."""
    wanted = (request.after_sequence, request.operation_above, json.dumps(list(request.operations)), PAGE)
    rows = connection.execute(_ENTRIES, wanted).fetchall()
    highest, forgotten = connection.execute(_REACHED).fetchone()
    answer = pb.ListLedgerResponse(highest_operation=highest, forgotten_below=forgotten)
    for step_key, phase, attempt, state, record, body, _ in rows:
        if not body:
            continue
        effect = participant.Effect.FromString(body)
        answer.entries.add(
            step_key=step_key,
            phase=phase,
            attempt=attempt,
            state=state,
            action=type_of(payload(effect)).rpartition(".")[2],
            target=effect.target,
            job=effect.job,
            changed=participant.EffectRecord.FromString(record).changed if record else False,
        )
    if len(rows) == PAGE:
        answer.next_sequence = rows[-1][-1]
    return answer
