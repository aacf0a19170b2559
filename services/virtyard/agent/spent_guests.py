"""Spent guests: those that have ended, and whose machines were deleted or run elsewhere by now, are not kept.

While its machine is stopped, an ended guest's record and log stay here, for whoever wants to know how it ended.
"""

from __future__ import annotations

import logging

from virtyard.agent.drivers.hypervisor.contract import Hypervisor
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.scope import TaskScope

__all__ = ["SpentGuests"]

_log = logging.getLogger(__name__)


class SpentGuests:
    """Forgets the guests of one host that the inventory names."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        """Forget guests of this driver."""
        self._hypervisor = hypervisor
        self._scope = TaskScope("agent.spent")

    def take(self, answer: host_service_pb2.ReportHostResponse) -> None:
        """Forget the guests that the answer to a report names, each if the run that ended is still its last."""
        for guest in answer.spent_guests:
            _ = self._scope.start(self._forget(guest), name=f"spent {guest.uid}")

    async def close(self) -> None:
        """Leave what is not forgotten yet to the next report."""
        await self._scope.close()

    async def _forget(self, guest: host_service_pb2.SpentGuest) -> None:
        try:
            if await self._hypervisor.forget(guest.uid, guest.run):
                _log.info("the ended guest %s is forgotten, as no machine needs it", guest.uid)
        except (VirtyardError, OSError) as error:
            _log.warning("the ended guest %s is not forgotten yet: %s", guest.uid, error)
