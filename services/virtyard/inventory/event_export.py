"""The export of events: live and archived ones together, the newest first, a piece at a time.

Each piece is read from both in one snapshot, below the number at which the last one ended. An event that is archived
meanwhile keeps its number, so it is in one of the two each time: none is left out, and none is told twice.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Sequence

from virtyard.api.inventory.v1 import event_pb2
from virtyard.inventory.event_log import asks_for_archive, narrow, rows_before

__all__ = ["read_exported"]

_LOOKED_AT = 1000
"""How many events one piece looks at."""


def read_exported(
    connection: sqlite3.Connection, text: str, within: str, before: int | None
) -> tuple[Sequence[event_pb2.Event], int]:
    """Return a piece of an export.

    Args:
        connection: a snapshot.
        text: the filter.
        within: only events about this object and what belongs to it; all if empty.
        before: the number below which it goes on; None at the beginning.

    Returns:
        The events, and the number to go on with; 0 at the end.

    Raises:
        InvalidRequest: the filter cannot be read.
    """
    both = [narrow(text, archived=archived) for archived in ((True,) if asks_for_archive(text) else (False, True))]
    sources = [one.inside(within) if within else one for one in both]
    rows = heapq.merge(*(rows_before(connection, one, before) for one in sources), key=lambda row: -row[0])
    matches = both[0].matches
    found = []
    for looked_at, (number, event) in enumerate(rows, 1):
        if matches is None or matches(event):
            found.append(event)
        if looked_at == _LOOKED_AT:
            return found, number
    return found, 0
