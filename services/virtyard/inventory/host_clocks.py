"""The clocks of hosts: one that differs from the control plane's is told of, and told again where it agrees.

An agent measures by how much its machine's clock is ahead of the inventory's time, over the answers to its reports. So
what stands still between the two, or is slow, is no difference.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Protocol

from virtyard.inventory.model import FeedWriter, Reader
from virtyard.inventory.objects import read_row
from virtyard.inventory.troubles import begin_trouble, end_trouble, has_trouble
from virtyard.kernel import event_types

__all__ = ["MOST", "HostClocks", "differs", "read_differing", "tell_host_clock"]

MOST = timedelta(seconds=60)
"""A difference above this is told; one of half as much or less is none any more."""
_PART = "agent/clock"
"""What is wrong with the server, in the table of troubles; no interface has a slash in its name."""
_ALL = "SELECT object FROM trouble WHERE part = ?"


class ClockStore(Protocol):
    """Where it is kept whose clocks were told to differ."""

    async def differing_clocks(self) -> Collection[str]:
        """Return the servers whose clocks were told to differ, and not to agree since."""
        ...

    async def tell_host_clock(self, server: str, ahead: timedelta | None) -> None:
        """Raise the event that a host's clock differs, or with None that it agrees, if there is such a server."""
        ...


class HostClocks:
    """Takes what agents have measured; what tells nothing new costs nothing."""

    def __init__(self, store: ClockStore) -> None:
        """Keep what is told there."""
        self._store = store
        self._told: dict[str, timedelta | None] | None = None

    def forget(self, server: str) -> None:
        """Forget what was told of a server that is none any more: if it comes again it is told of anew."""
        if self._told is not None:
            self._told.pop(server, None)

    async def take(self, server: str, ahead: timedelta) -> None:
        """Take a measurement: by how much a host's clock is ahead of the inventory's, below nought if it is behind."""
        if self._told is None:
            # An earlier life may have told of some; by how much those differed then does not matter.
            self._told = dict.fromkeys(await self._store.differing_clocks())
        if abs(ahead) > MOST:
            told = self._told.get(server)
            if told is None or abs(ahead - told) > MOST:
                await self._store.tell_host_clock(server, ahead)
                self._told[server] = ahead
        elif server in self._told and abs(ahead) <= MOST / 2:
            await self._store.tell_host_clock(server, None)
            del self._told[server]


def read_differing(reader: Reader) -> frozenset[str]:
    """Return the servers whose clocks were told to differ, and not to agree since."""
    return frozenset(name for (name,) in reader.execute(_ALL, (_PART,)))


def differs(reader: Reader, server: str) -> bool:
    """Return whether it was told that the clock of a server differs, and not that it agrees."""
    return has_trouble(reader, server, _PART)


def tell_host_clock(transaction: FeedWriter, server: str, ahead: timedelta | None, now: datetime) -> None:
    """Tell that a server's clock differs, by so much, or agrees; a server that is not there is let be."""
    row = read_row(transaction, server)
    if row is None or row.deleted:
        return
    told = differs(transaction, server)
    if ahead is None:
        if told:
            text = f"the clock of {server} agrees with that of the control plane again"
            end_trouble(transaction, server, _PART, event_types.HOST_CLOCK_AGREES, text, now)
        return
    if told:
        end_trouble(transaction, server, _PART, None, "", now)
    far = timedelta(seconds=round(abs(ahead).total_seconds()))
    text = f"the clock of {server} is {far} {'ahead of' if ahead > timedelta() else 'behind'} that of the control plane"
    begin_trouble(transaction, server, _PART, event_types.HOST_CLOCK_DIFFERS, text, now)
