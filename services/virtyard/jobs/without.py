"""Going without a participant: what is open at one is settled without it while it is silent and proven dead (P17).

Nobody is greeted between the look at the proof and the commit of what follows from it: who can be greeted is not dead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.death_records import Key
from virtyard.jobs.deaths import Deaths, OpenStep
from virtyard.kernel.errors import VirtyardError

__all__ = ["Without"]

_log = logging.getLogger(__name__)


class Without:
    """Knows whether one participant has been greeted, and goes without it where that is allowed."""

    def __init__(self, name: str, deaths: Deaths | None) -> None:
        """Nobody is gone without if there is no `deaths`."""
        self._name = name
        self._deaths = deaths
        self._greeting = asyncio.Lock()
        self._greeted = False

    async def greet(self, greeting: Callable[[], Awaitable[int]]) -> int:
        """Shake hands, and return the number of the handshake."""
        async with self._greeting:
            hello = await greeting()
            self._greeted = True
            return hello

    def parted(self) -> None:
        """Note that the stream of the last handshake has ended."""
        self._greeted = False

    async def settle(self, steps: Iterable[OpenStep], *, silent: bool) -> dict[Key, participant.EffectRecord]:
        """Return what those of the steps came to that can be told without the participant, durably."""
        if self._deaths is None or not silent:
            return {}
        async with self._greeting:
            try:
                return {} if self._greeted else await self._deaths.settle(self._name, steps)
            except VirtyardError as error:
                _log.warning("what is open at %s is not settled yet: %s", self._name, error)
                return {}

    async def is_proven_dead(self) -> bool:
        """Tell whether there is a proof that counts."""
        try:
            return self._deaths is not None and await self._deaths.proof(self._name) is not None
        except VirtyardError:
            return False
