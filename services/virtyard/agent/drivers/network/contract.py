"""The network contract: what an agent asks of whatever carries networks on its host."""

from __future__ import annotations

from dataclasses import dataclass
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

    def close(self) -> None:
        """Let go of what the driver holds; bridges stay."""
        ...
