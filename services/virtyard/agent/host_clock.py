"""The clock of a host beside the control plane's: measured over the answers to reports, and what the agent follows.

An agent's time does not follow a jump of its machine's clock (P33) until that clock agrees with the control plane's:
then two clocks that know nothing of each other say the same, and nobody needs to be asked. Where they do not agree, the
inventory tells a person by how much.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, timedelta

from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.runtime.clock import JUMP, SystemClock

__all__ = ["HostClock"]

_SLOWEST = 2.0
"""Seconds that an answer may take to be measured by; half of that is by how much the measurement may be wrong."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """When a report was sent."""

    machine: float
    """By the machine's clock, in seconds since 1970."""
    steady: float
    """By the steady one, in seconds."""


class HostClock:
    """Measures, tells with the next report, and has the agent's clock follow a machine's that is right."""

    def __init__(self, clock: SystemClock) -> None:
        """Compare the machine's clock, as the agent's own one knows it."""
        self._clock = clock
        self._ahead: float | None = None
        self._sent: _Sent | None = None

    def stamp(self, request: host_service_pb2.ReportHostRequest) -> None:
        """Put into a report that is about to be sent what was measured last, and begin to measure."""
        if self._ahead is not None:
            request.clock_ahead.FromTimedelta(timedelta(seconds=self._ahead))
        self._sent = _Sent(machine=self._machine(), steady=self._clock.monotonic())

    def take(self, answer: host_service_pb2.ReportHostResponse) -> None:
        """Measure by an answer, unless it took so long that nobody knows when its time was read."""
        sent, self._sent = self._sent, None
        if sent is None or not answer.HasField("time"):
            return
        took = self._clock.monotonic() - sent.steady
        moved = self._machine() - sent.machine - took
        if took > _SLOWEST or abs(moved) > _SLOWEST:
            return  # the machine's clock was set just now
        self._ahead = sent.machine + took / 2 - answer.time.ToDatetime(UTC).timestamp()
        if self._clock.jumped and abs(self._ahead) <= JUMP / 2:
            _log.warning(
                "the clock follows the machine's by %.0f s, as that agrees with the control plane's", self._clock.offset
            )
            self._clock.follow()

    def _machine(self) -> float:
        return self._clock.now().timestamp() + self._clock.offset
