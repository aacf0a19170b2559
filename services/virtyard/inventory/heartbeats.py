"""Heartbeats of servers: a slot that its member renews late is told once, and once more when it is in time again.

They are found as other troubles of hosts are, by holding a report against what was told. It is the member itself that
says so: one whose agent says nothing is disconnected, and what others see of its slot is theirs to act upon.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from virtyard.api.inventory.v1 import server_pb2
from virtyard.inventory.model import FeedWriter, Reader
from virtyard.inventory.troubles import begin_trouble, end_trouble
from virtyard.kernel import event_types

__all__ = ["follow_heartbeats", "late_clusters"]

_PREFIX = "heartbeat/"
"""Before the uid of the cluster, in the table of troubles; no interface has a slash in its name."""
_TOLD = "SELECT part FROM trouble WHERE object = ? AND part LIKE 'heartbeat/%'"
_CLUSTERS = "SELECT uid, name FROM object WHERE kind = 'clusters' AND deleted = 0"
_IN_TIME = server_pb2.HEARTBEAT_STATE_IN_TIME
_LATE = server_pb2.HEARTBEAT_STATE_LATE


def late_clusters(reader: Reader, server: str) -> list[str]:
    """Return the uids of the clusters in which it was told that a server is late, until it is in time again."""
    return [part.removeprefix(_PREFIX) for (part,) in reader.execute(_TOLD, (server,)).fetchall()]


def follow_heartbeats(
    transaction: FeedWriter, server: str, observed: Iterable[server_pb2.ObservedHeartbeat], now: datetime
) -> None:
    """Tell of clusters in which a server renews its slot late, and in which it is in time again or no member any more.

    Of a cluster that is not recorded, as it is just being made or removed, nothing is told.
    """
    told = late_clusters(transaction, server)
    states = {each.cluster_uid: each for each in observed}
    if not told and all(each.state != _LATE for each in states.values()):
        return
    for uid in told:
        if uid not in states or states[uid].state == _IN_TIME:
            text = f"{server} renews its slot in time again" if uid in states else f"{server} has no slot any more"
            kind = event_types.HEARTBEAT_IN_TIME if len(late_clusters(transaction, server)) == 1 else None
            end_trouble(transaction, server, _PREFIX + uid, kind, text, now)
    names = dict(transaction.execute(_CLUSTERS).fetchall())
    for uid, each in states.items():
        if each.state == _LATE and uid not in told and uid in names:
            text = f"{server} has not renewed slot {each.slot} of {names[uid]} for longer than 4T: {each.reason}"
            begin_trouble(transaction, server, _PREFIX + uid, event_types.HEARTBEAT_LATE, text, now)
