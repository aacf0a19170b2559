"""The network contract: what an agent asks of whatever carries networks on its host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """One bridge of a host."""

    name: str
    """Its name on the host, at most 15 characters."""
    uid: str
    """The uid of the network that it carries."""
    uplink: str = ""
    """The interface that is joined to it; none if empty."""


class LinkKind(Enum):
    """What an interface is to the network that it carries."""

    BRIDGE = "bridge"
    """The bridge of the network itself; one that is switched on is up, whatever is plugged in."""
    UPLINK = "uplink"
    """The interface that is joined to the bridge."""
    TAP = "tap"
    """The interface of a guest's card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One interface of a network, as it is now."""

    interface: str
    """Its name on the host."""
    network_uid: str
    """The uid of the network."""
    kind: LinkKind
    """What it is to the network."""
    up: bool
    """Whether it can carry anything: it is there, switched on, has a carrier, and belongs to the bridge."""


class Network(Protocol):
    """Carries networks on this host; every method may be repeated safely."""

    @property
    def name(self) -> str:
        """The driver's name, as it is reported: `bridge` or `sim`."""
        ...

    @property
    def unsupported(self) -> str:
        """Why it does not work on this host, found out by trying; empty if it does, known after `probe`."""
        ...

    async def probe(self) -> None:
        """Find out, by trying, whether it works here."""
        ...

    async def create_bridge(self, bridge: Bridge, mark: str) -> bool:
        """Make a bridge and join its uplink; False if it is there already, under whatever mark.

        When it fails or is cancelled, nothing of it is left.

        Raises:
            AlreadyExists: an interface of this name carries something else.
            InvalidRequest: there is no such uplink; the violation names `uplink`.
            WrongState: the uplink has addresses of its own, or belongs to another bridge.
            Unavailable: the kernel refused; its words are in the message.
        """
        ...

    async def find_bridge(self, name: str, uid: str) -> str | None:
        """Return the mark of the bridge that carries this network; None if there is none."""
        ...

    async def bridges(self) -> list[Bridge]:
        """Return the bridges of networks that this host has, by name, whatever network they carry; no uplinks.

        Raises:
            Unavailable: the kernel refused; its words are in the message.
        """
        ...

    async def remove_bridge(self, name: str, uid: str, mark: str | None = None) -> bool:
        """Remove a bridge; False if there is none, or if it was made under another mark.

        Raises:
            WrongState: guests are plugged into it.
            Unavailable: the kernel refused; its words are in the message.
        """
        ...

    async def open_tap(self, bridge: str, name: str) -> int:
        """Return the descriptor of a new tap device that is plugged into a bridge; closed, the device is gone.

        Raises:
            WrongState: there is no such bridge.
            Unavailable: the kernel refused; its words are in the message.
        """
        ...

    async def links(self, bridges: Sequence[Bridge]) -> list[Link]:
        """Return the interfaces of networks: their bridges and uplinks, those that are gone too, and their taps.

        Raises:
            Unavailable: the kernel refused; its words are in the message.
        """
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` on the event loop whenever any interface of the host may have changed, until `close`.

        Raises:
            Unavailable: the kernel does not tell.
        """
        ...

    def close(self) -> None:
        """Let go of what the driver holds; bridges stay."""
        ...
