"""Pages of the ledger: for a scheduler whose database was restored (P32), and for the auditor (P36)."""

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
_ROW = "SELECT step_key, phase, attempt, state, record, effect, accepted"
# Each part has an index. Behind the slash comes the zero: a key of operation 1 lies between them, one of 10 does not.
_ENTRIES = f"""
    {_ROW} FROM ledger WHERE state <> 2 AND operation > :above AND accepted > :after
    UNION ALL
    {_ROW} FROM ledger WHERE state = 2 AND operation > :above AND accepted > :after
    UNION ALL
    {_ROW} FROM (SELECT DISTINCT value AS number FROM json_each(:operations))
    JOIN ledger ON step_key >= number || '/' AND step_key < number || '0'
    WHERE number <= :above AND accepted > :after
    ORDER BY accepted LIMIT :most
"""  # noqa: S608 - constants
_REACHED = """
    SELECT max(
        coalesce((SELECT max(operation) FROM ledger), 0), coalesce((SELECT max(operation) FROM epoch), 0),
        settled_below - 1, sealed_below - 1
    ), settled_below FROM floor
"""


def list_ledger(connection: sqlite3.Connection, request: pb.ListLedgerRequest) -> pb.ListLedgerResponse:
    """Return a page of what was accepted; what was refused before it came, a tombstone, is left out."""
    wanted = {
        "after": request.after_sequence,
        "above": request.operation_above,
        "operations": json.dumps(list(request.operations)),
        "most": PAGE,
    }
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
