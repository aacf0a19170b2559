"""The `sim` network driver: bridges that exist as files only."""

from __future__ import annotations

import os
from pathlib import Path

from virtyard.agent.drivers.network.contract import Bridge
from virtyard.kernel.errors import AlreadyExists, WrongState
from virtyard.runtime.durable_file import read_record, remove_file, write_record


class SimNetwork:
    """Keeps bridges as files."""

    name = "sim"
    unsupported = ""

    def __init__(self, *, state: Path) -> None:
        """Keep bridges below `state`."""
        self._folder = state / "bridges"

    async def probe(self) -> None:
        """Make the folder; it works everywhere."""
        self._folder.mkdir(parents=True, exist_ok=True)

    async def create_bridge(self, bridge: Bridge, mark: str) -> bool:
        """Write the bridge's file."""
        present = read_record(self._path(bridge.name))
        if present is not None:
            if present["uid"] != bridge.uid:
                raise AlreadyExists(f"an interface {bridge.name} is there, for something else", resource=bridge.name)
            return False
        write_record(self._path(bridge.name), {"uid": bridge.uid, "mark": mark, "uplink": bridge.uplink})
        return True

    async def find_bridge(self, name: str, uid: str) -> str | None:
        """Read the mark from the bridge's file."""
        present = read_record(self._path(name))
        return str(present["mark"]) if present is not None and present["uid"] == uid else None

    async def remove_bridge(self, name: str, uid: str, mark: str | None = None) -> bool:
        """Remove the bridge's file."""
        own = await self.find_bridge(name, uid)
        if own is None or mark not in {None, own}:
            return False
        remove_file(self._path(name))
        return True

    async def open_tap(self, bridge: str, name: str) -> int:  # noqa: ARG002 - every driver has this shape
        """Open nothing in place of a tap."""
        if read_record(self._path(bridge)) is None:
            raise WrongState(f"this host has no bridge {bridge}", resource=bridge)
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Do nothing; there is nothing to let go."""

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
