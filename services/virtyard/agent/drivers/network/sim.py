"""The `sim` network driver: bridges that exist as files only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from virtyard.agent.drivers.network.contract import Bridge, Link, LinkKind
from virtyard.kernel.errors import AlreadyExists, WrongState
from virtyard.runtime.durable_file import read_record, remove_file, write_record

_LOOK_SECONDS = 0.1


class SimNetwork:
    """Keeps bridges as files."""

    name = "sim"
    unsupported = ""

    def __init__(self, *, state: Path) -> None:
        """Keep bridges below `state`."""
        self._folder = state / "bridges"
        self._changed: Callable[[], None] = lambda: None
        self._seen: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

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

    async def bridges(self) -> list[Bridge]:
        """Read the bridges' files."""
        found = [(path.stem, read_record(path)) for path in sorted(self._folder.glob("*.json"))]
        return [Bridge(name=name, uid=str(present["uid"])) for name, present in found if present is not None]

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

    async def links(self, bridges: Sequence[Bridge]) -> list[Link]:
        """Read the bridges' files: what `down` names there is down, as is a bridge without a file."""
        return [link for bridge in bridges for link in self._links(bridge)]

    def watch(self, changed: Callable[[], None]) -> None:
        """Look at the files again and again, as nothing tells of a change."""
        self._changed, self._seen = changed, self._times()
        self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def close(self) -> None:
        """Look at the files no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        seen, self._seen = self._seen, self._times()
        self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)
        if seen != self._seen:
            self._changed()

    def _times(self) -> dict[str, int]:
        return {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(self._folder)}

    def _links(self, bridge: Bridge) -> Iterator[Link]:
        try:
            present = read_record(self._path(bridge.name))
        except ValueError:
            return  # somebody is just writing it
        down = present.get("down", ()) if present is not None else (bridge.name, bridge.uplink)
        for name, kind in ((bridge.name, LinkKind.BRIDGE), (bridge.uplink, LinkKind.UPLINK)):
            if name:
                yield Link(interface=name, network_uid=bridge.uid, kind=kind, up=name not in down)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
