"""The reports of a host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from virtyard.agent.reports import Reporter
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.kernel.errors import Unavailable


class Inventory:
    """Takes reports, or refuses them."""

    def __init__(self) -> None:
        """Take them."""
        self.taken: list[agent_service_pb2.Host] = []
        self.refusing = False
        self.refused = 0

    async def look(self) -> agent_service_pb2.Host:
        """The facts of the host."""
        return agent_service_pb2.Host(server="servers/s1", ledger_sequence=len(self.taken))

    async def send(self, request: host_service_pb2.ReportHostRequest) -> host_service_pb2.ReportHostResponse:
        """Take a report."""
        if self.refusing:
            self.refused += 1
            raise Unavailable("not now")
        self.taken.append(request.host)
        return host_service_pb2.ReportHostResponse(known=True, report_interval_seconds=3600)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_change_is_reported_without_waiting_for_the_interval() -> None:
    """The first report comes at once; a burst of changes is one more."""
    inventory = Inventory()
    reporter = Reporter(inventory.look, inventory.send)
    await reporter.open()
    await until(lambda: len(inventory.taken) == 1)
    for _ in range(20):
        reporter.change()
    await until(lambda: len(inventory.taken) == 2)
    await asyncio.sleep(0.3)
    assert len(inventory.taken) == 2
    await reporter.close()


async def test_a_report_that_is_not_taken_is_made_anew() -> None:
    """After a refusal the next report says what is true then."""
    inventory = Inventory()
    inventory.refusing = True
    reporter = Reporter(inventory.look, inventory.send)
    await reporter.open()
    await until(lambda: inventory.refused > 0)
    inventory.refusing = False
    await until(lambda: len(inventory.taken) == 1)
    await reporter.close()
