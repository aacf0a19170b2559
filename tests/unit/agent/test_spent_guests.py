"""Spent guests: what the inventory names is forgotten, and on a host that is nobody's whatever has ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from virtyard.agent.drivers.hypervisor.contract import GuestSpec
from virtyard.agent.drivers.hypervisor.sim import SimHypervisor
from virtyard.agent.spent_guests import SpentGuests
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.runtime.clock import SystemClock


@pytest.mark.parametrize(
    ("known", "free", "left"),
    [
        (True, False, ["kept", "runs"]),
        (True, True, ["kept", "runs"]),
        (False, False, ["kept", "runs"]),
        (False, True, ["runs"]),
    ],
)
async def test_only_a_free_host_that_nobody_knows_forgets_all_that_ended(
    tmp_path: Path, known: bool, free: bool, left: list[str]
) -> None:
    """A host that is known, or owned by another Virtyard, forgets what is named; what runs is never forgotten."""
    hypervisor = SimHypervisor(state=tmp_path, clock=SystemClock())
    await hypervisor.open()
    spent = SpentGuests(hypervisor, is_free=lambda: free)
    try:
        for uid in ("kept", "runs", "named"):
            await hypervisor.start(
                GuestSpec(uid=uid, name=f"virtualMachines/{uid}", cpus=1, memory_bytes=1 << 20), f"{uid}/1/1"
            )
        hypervisor.end("kept")
        hypervisor.end("named")
        named = await hypervisor.find("named")
        assert named is not None
        spent.take(host_service_pb2.ReportHostResponse(known=known))
        answer = host_service_pb2.ReportHostResponse(known=True)
        answer.spent_guests.add(uid="named", run=named.run)
        spent.take(answer)
        async with asyncio.timeout(10):
            while await hypervisor.find("named") is not None:
                await asyncio.sleep(0)
        assert [guest.uid for guest in await hypervisor.guests()] == left
    finally:
        await spent.close()
        await hypervisor.close()
