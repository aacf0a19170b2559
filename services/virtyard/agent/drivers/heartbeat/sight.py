"""The sight of one slot: what a reader concludes from reads of it on its own monotonic clock. Pure.

Silence is counted only while the reader really looked: a reader that was itself stopped for an hour has not seen an
hour of silence.
"""

from __future__ import annotations

from typing import Any

from virtyard.agent.drivers.heartbeat.contract import MemberState


class Sight:
    """What has been seen of one slot."""

    def __init__(self, io_timeout: float, watchdog: float) -> None:
        """Judge by the device's T and W, in seconds."""
        self._io_timeout = io_timeout
        self._watchdog = watchdog
        self._content: dict[str, Any] | None = None
        self._looked = 0.0
        self._silent = 0.0
        self._changed = False

    @property
    def server(self) -> str:
        """The server that the slot names; empty if it is free."""
        return self._content["server"] if self._content else ""

    def look(self, content: dict[str, Any] | None, now: float) -> None:
        """Take in one read, made at `now` of the reader's monotonic clock."""
        if content is None or self._content is None or content["server"] != self._content["server"]:
            self._changed, self._silent = False, 0.0
        elif content != self._content:
            self._changed, self._silent = True, 0.0
        else:
            self._silent += min(now - self._looked, 2 * self._io_timeout)
        self._content, self._looked = content, now

    @property
    def state(self) -> MemberState | None:
        """How the member looks; None if the slot is free."""
        if self._content is None:
            return None
        if self._silent >= 8 * self._io_timeout + self._watchdog:
            return MemberState.DEAD
        if self._silent >= 8 * self._io_timeout:
            return MemberState.FAIL
        return MemberState.LIVE if self._changed else MemberState.JOINING
