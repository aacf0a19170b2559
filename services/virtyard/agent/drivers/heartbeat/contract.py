"""The heartbeat contract: a device on shared storage, a slot for each member, and how the members look from here.

Timing follows sanlock's arithmetic from one number T, the I/O timeout: a member renews its slot every 2T, is warned
about after 4T, must have stopped its machines after 8T, and is dead for others after 8T + W, W being the watchdog's
time. All of it runs on the reader's own monotonic clock; no wall clock crosses hosts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

DEFAULT_WATCHDOG_SECONDS = 60.0
"""W: how long a host's watchdog waits before it resets the host; sanlock's fixed value."""


USUAL_IO_TIMEOUT_SECONDS = 10.0
"""T, where a device has not been read yet that would say it; sanlock's usual value."""


class MemberState(Enum):
    """How a member looks from one host."""

    JOINING = "JOINING"
    """Its slot is taken; it has not been seen to change yet."""
    LIVE = "LIVE"
    """Two reads of its slot, less than 8T apart, differed."""
    FAIL = "FAIL"
    """Its slot has not changed for 8T."""
    DEAD = "DEAD"
    """Its slot has not changed for 8T + W."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What the header of a heartbeat device says."""

    uid: str
    """The uid of the heartbeat device."""
    slots: int
    """How many members there can be."""
    io_timeout: float
    """T in seconds."""
    watchdog: float
    """W in seconds."""
    mark: str
    """The step key of the effect that laid it out."""
    size_bytes: int
    """Size of the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """This host's place in a cluster; kept on disk, so that an agent that starts again renews it."""

    cluster_uid: str
    """The uid of the cluster."""
    path: str
    """The heartbeat device."""
    device_uid: str
    """The uid that the device must have."""
    slot: int
    """The slot, from 1."""
    server: str
    """The resource name of this server."""
    mark: str
    """The step key of the effect that joined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A slot that some server has, or had."""

    path: str
    """The heartbeat device."""
    device_uid: str
    """The uid that the device must have."""
    number: int
    """The slot, from 1."""
    server: str
    """The resource name of the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """One member as this host sees it."""

    cluster_uid: str
    """The uid of the cluster."""
    server: str
    """The resource name of the member's server."""
    slot: int
    """Its slot."""
    state: MemberState
    """How it looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """How this host renews its own slot in one cluster."""

    cluster_uid: str
    """The uid of the cluster."""
    slot: int
    """The slot, from 1."""
    late: bool | None
    """Whether the last renewal is more than 4T ago; None where this agent has not renewed yet and is not late yet."""
    reason: str
    """Why it is late; empty if it is not."""


class Heartbeat(Protocol):
    """Membership of clusters by one kind of device; every method may be repeated safely."""

    @property
    def name(self) -> str:
        """The driver's name, as it is reported: `disk`."""
        ...

    async def open(self) -> None:
        """Go on with the memberships of an earlier agent."""
        ...

    async def close(self) -> None:
        """Stop renewing; the memberships stay."""
        ...

    async def lay_out(self, path: str, uid: str, slots: int, io_timeout: float, mark: str) -> Device:
        """Make a device; the same one under the same mark is left as it is.

        Raises:
            AlreadyExists: something else is there; it is left alone.
            InvalidRequest: a value cannot be, or the path is not under a storage root.
        """
        ...

    async def remove(self, path: str, uid: str, mark: str | None = None) -> bool:
        """Remove a device, if a mark is given only one with that mark; False if there was none.

        Raises:
            WrongState: members use it.
        """
        ...

    async def find(self, path: str, uid: str) -> Device | None:
        """Return the device, or None where it is not."""
        ...

    async def join(self, membership: Membership) -> bool:
        """Take the slot and renew it from now on; False if this host is that member already.

        Raises:
            AlreadyExists: another server has the slot, or this host another one.
            WrongState: the device is not there or not the right one.
            InvalidRequest: there is no such slot.
        """
        ...

    async def leave(self, cluster_uid: str, mark: str | None = None) -> bool:
        """Clear the slot, if a mark is given only one that this mark took; False if there is nothing to leave."""
        ...

    async def clear(self, slot: Slot, mark: str, joined: str | None = None) -> bool:
        """Free the slot of a server that is off, if `joined` is given only one that was taken under that mark.

        It watches the slot for 4T first. The server notices when it returns, and is no member then. False if the slot
        is not the server's; True also where this mark cleared it before.

        Raises:
            WrongState: the server renews it, or the device is not there or not the right one.
        """
        ...

    async def put_back(self, slot: Slot, mark: str) -> bool:
        """Give a slot back that was cleared under this mark; False if it was not, or is in use again.

        Raises:
            WrongState: the device is not there or not the right one.
        """
        ...

    async def was_cleared(self, slot: Slot, mark: str) -> bool:
        """Tell whether a slot is free since this mark cleared it.

        Raises:
            WrongState: the device is not there or not the right one.
        """
        ...

    async def forget_join(self, slot: Slot, mark: str) -> None:
        """Clear the slot of this host that a join under this mark took before the agent was killed in it, if it did."""
        ...

    def joined(self, cluster_uid: str) -> Membership | None:
        """Return this host's membership of a cluster."""
        ...

    def members(self) -> list[MemberView]:
        """Return every member of every cluster that this host is in, itself too, by cluster and slot."""
        ...

    def renewals(self) -> list[Renewal]:
        """Return how this host renews each of its own slots, by cluster; nothing is read for it."""
        ...
