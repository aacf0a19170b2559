"""The open CRITICAL events of objects that block operation types, read with the objects that a plan is made from.

Usually there is none at all, which one look at an empty index tells.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from virtyard.api.inventory.v1 import event_pb2
from virtyard.inventory.model import Reader

__all__ = ["read_blocking"]

_ANY = "SELECT 1 FROM event INDEXED BY event_critical WHERE open = 1 AND severity = 4 LIMIT 1"
_OF = """
    SELECT event.body FROM json_each(?) AS wanted JOIN event INDEXED BY event_critical ON event.object = wanted.value
    WHERE event.open = 1 AND event.severity = 4 ORDER BY event.number
"""


def read_blocking(reader: Reader, names: Collection[str]) -> list[event_pb2.Event]:
    """Return the open events of these objects that block operation types, the oldest first."""
    if reader.execute(_ANY).fetchone() is None:
        return []
    rows = reader.execute(_OF, (json.dumps(list(names)),)).fetchall()
    return [event for (body,) in rows if (event := event_pb2.Event.FromString(body)).blocks]
