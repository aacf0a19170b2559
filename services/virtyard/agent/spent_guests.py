"""Spent guests: those that have ended, and whose machines were deleted or run elsewhere by now, are not kept.

While its machine is stopped, an ended guest's record and log stay here, for whoever wants to know how it ended. A host
that is free, and that the inventory does not know, is told of none: it keeps no ended guests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from virtyard.agent.drivers.hypervisor.contract import GuestEnd, Hypervisor
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.scope import TaskScope

__all__ = ["SpentGuests"]

_log = logging.getLogger(__name__)


class SpentGuests:
    """Forgets the guests of one host that the inventory names."""

    def __init__(self, hypervisor: Hypervisor, is_free: Callable[[], bool]) -> None:
        """Forget guests of this driver.

        Args:
            hypervisor: has the guests.
            is_free: tells whether no Virtyard owns the host, so that its guests are nobody's.
        """
        self._hypervisor = hypervisor
        self._is_free = is_free
        self._scope = TaskScope("agent.spent")

    def take(self, answer: host_service_pb2.ReportHostResponse) -> None:
        """Forget the guests that the answer to a report names, each if the run that ended is still its last."""
        for guest in answer.spent_guests:
            _ = self._scope.start(self._forget(guest.uid, guest.run), name=f"spent {guest.uid}")
        # While the inventory knows the server, its release may still be undone.
        if not answer.known and self._is_free():
            _ = self._scope.start(self._forget_all(), name="spent, all")

    async def close(self) -> None:
        """Leave what is not forgotten yet to the next report."""
        await self._scope.close()

    async def _forget_all(self) -> None:
        try:
            guests = await self._hypervisor.guests()
        except (VirtyardError, OSError) as error:
            _log.warning("the ended guests are not forgotten yet: %s", error)
            return
        for guest in guests:
            if not guest.running and guest.run and guest.end is not GuestEnd.BY_ACTION:
                await self._forget(guest.uid, guest.run)

    async def _forget(self, uid: str, run: str) -> None:
        try:
            if await self._hypervisor.forget(uid, run):
                _log.info("the ended guest %s is forgotten, as no machine needs it", uid)
        except (VirtyardError, OSError) as error:
            _log.warning("the ended guest %s is not forgotten yet: %s", uid, error)
