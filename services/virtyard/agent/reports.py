"""The reports of a host: its facts, sent to the inventory on every change and every few seconds.

A report that cannot be sent is not kept: the next one says what is true then. So what happens on a host while the
inventory is away is queued by folding: one state for each guest, repository and link, the last one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.scope import TaskScope

Send = Callable[[host_service_pb2.ReportHostRequest], Awaitable[host_service_pb2.ReportHostResponse]]
"""Sends one report to the inventory; raises a VirtyardError where that fails."""

_INTERVAL = 5.0
_SHORTEST = 0.1
_log = logging.getLogger(__name__)


class Reporter:
    """Sends the reports of one host; use `open` and `close`."""

    def __init__(
        self,
        look: Callable[[], Awaitable[agent_service_pb2.Host]],
        send: Send,
        metrics: Metrics | None = None,
        answered: Sequence[Callable[[host_service_pb2.ReportHostResponse], None]] = (),
        stamp: Callable[[host_service_pb2.ReportHostRequest], None] = lambda _: None,
    ) -> None:
        """Send what `look` finds by `send`.

        Args:
            look: finds the facts of the host.
            send: sends a report.
            metrics: count how it went.
            answered: are told what came back.
            stamp: is given each report just before it is sent.
        """
        self._metrics = metrics or Metrics()
        self._answered = answered
        self._stamp = stamp
        self._look = look
        self._send = send
        self._changed = asyncio.Event()
        self._scope = TaskScope("agent.reports")
        self._in_contact = True

    async def open(self) -> None:
        """Send the first report, and go on."""
        self._task = self._scope.start(self._report_all(), vital=True)

    async def close(self) -> None:
        """Send no more."""
        await self._scope.close()

    def change(self) -> None:
        """Send the next report soon."""
        self._changed.set()

    async def _report_all(self) -> None:
        while True:
            self._changed.clear()
            interval = await self._report()
            await asyncio.sleep(_SHORTEST)  # a burst of changes is one report
            try:
                async with asyncio.timeout(interval):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _report(self) -> float:
        """Send one report and return the seconds to the next."""
        try:
            request = host_service_pb2.ReportHostRequest(host=await self._look())
            self._stamp(request)
            answer = await self._send(request)
        except VirtyardError as error:
            if self._in_contact:
                _log.warning("the inventory does not take reports: %s", error)
            self._in_contact = False
            self._metrics.reports.add("failed")
            return 1.0
        if not self._in_contact:
            _log.info("the inventory takes reports again")
        self._in_contact = True
        self._metrics.reports.add("taken")
        for take in self._answered:
            take(answer)
        return float(answer.report_interval_seconds) or _INTERVAL
