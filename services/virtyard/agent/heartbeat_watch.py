"""The watch over a host's own slots: whether each is renewed in time, told as it changes.

It reads nothing but the clock and what the driver has done, so a heartbeat device that hangs does not hold it up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from virtyard.agent.drivers.heartbeat.contract import Heartbeat, Renewal
from virtyard.api.inventory.v1 import server_pb2
from virtyard.runtime.scope import TaskScope

__all__ = ["HeartbeatWatch"]

_LOOK_SECONDS = 0.5
_STATES = {
    None: server_pb2.HEARTBEAT_STATE_UNSPECIFIED,
    False: server_pb2.HEARTBEAT_STATE_IN_TIME,
    True: server_pb2.HEARTBEAT_STATE_LATE,
}


class HeartbeatWatch:
    """Watches the slots of one host; use `open` and `close`."""

    def __init__(self, heartbeat: Heartbeat, changed: Callable[[], None]) -> None:
        """Watch nothing yet; `changed` is called whenever a slot is found otherwise than before."""
        self._heartbeat = heartbeat
        self._changed = changed
        self._found = self._look()
        self._scope = TaskScope("agent.heartbeat-watch")

    def open(self) -> None:
        """Look again and again."""
        _ = self._scope.start(self._follow(), vital=True)

    async def close(self) -> None:
        """Look no more."""
        await self._scope.close()

    def heartbeats(self) -> list[server_pb2.ObservedHeartbeat]:
        """Return the host's own slots as they are now, by cluster."""
        return [_observed(each) for each in self._heartbeat.renewals()]

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            found = self._look()
            if found != self._found:
                self._found = found
                self._changed()

    def _look(self) -> dict[str, bool | None]:
        return {each.cluster_uid: each.late for each in self._heartbeat.renewals()}


def _observed(renewal: Renewal) -> server_pb2.ObservedHeartbeat:
    return server_pb2.ObservedHeartbeat(
        cluster_uid=renewal.cluster_uid, slot=renewal.slot, state=_STATES[renewal.late], reason=renewal.reason
    )
