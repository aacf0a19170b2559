"""A control plane in one process whose machine's clock is set: it tells, and follows what is confirmed (P33)."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.integration.gateway.conftest import House
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.processes import clock_watch, up
from virtyard.runtime.clock import SystemClock

HOUR = 3600.0
LIMIT = 60.0


class Machine:
    """The machine, whose wall clock a test sets."""

    set_by = 0.0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return the machine that the control plane is about to start on; its clock is looked at all the time."""
    made = Machine()
    monkeypatch.setattr(up, "process_clock", lambda: SystemClock(wall=lambda: time.time() + made.set_by))
    monkeypatch.setattr(clock_watch, "_EVERY", 0.05)
    return made


async def told(house: House, kind: str) -> event_pb2.Event:
    """Wait until an event of this type has been told of the process's clock, and return it."""
    request = inventory_service_pb2.ListEventsRequest(filter=f'type = {kind} AND object = "services/up"')
    async with asyncio.timeout(LIMIT):
        while not (events := (await house.client.inventory.ListEvents(request)).events):
            await asyncio.sleep(0.02)
    (event,) = events
    return event


async def test_acknowledging_a_jump_has_the_control_plane_follow(machine: Machine, house: House) -> None:
    """Its time goes on as before until then, and is that of its machine from then on."""
    machine.set_by = HOUR
    jumped = await told(house, "CLOCK_JUMPED")
    assert jumped.open
    request = inventory_service_pb2.AcknowledgeEventRequest(name=jumped.name, comment="it was wrong before")
    seen = await house.client.inventory.AcknowledgeEvent(request)
    assert (seen.acknowledge_time.seconds - jumped.create_time.seconds) < HOUR / 2
    agrees = await told(house, "CLOCK_AGREES")
    assert agrees.create_time.seconds - seen.acknowledge_time.seconds > HOUR / 2
    assert "as user/admin confirmed" in agrees.message
