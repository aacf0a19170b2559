"""The watch over a host: its storage, links and heartbeats, and what the inventory expects of it.

What is expected is kept on disk, so an agent that starts again says in its first report what happened meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from google.protobuf import json_format

from virtyard.agent.drivers.heartbeat.contract import Heartbeat
from virtyard.agent.drivers.network.contract import Bridge, Link, LinkKind, Network
from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.agent.heartbeat_watch import HeartbeatWatch
from virtyard.agent.storage_watch import StorageWatch
from virtyard.api.inventory.v1 import server_pb2
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.durable_file import read_record, write_record
from virtyard.runtime.scope import TaskScope

__all__ = ["HostWatch"]

_KINDS = {
    LinkKind.BRIDGE: server_pb2.LINK_KIND_BRIDGE,
    LinkKind.UPLINK: server_pb2.LINK_KIND_UPLINK,
    LinkKind.TAP: server_pb2.LINK_KIND_TAP,
}
_log = logging.getLogger(__name__)


class HostWatch:
    """Watches one host; use `open` and `close`."""

    def __init__(
        self, *, path: Path, roots: StorageRoots, network: Network, heartbeat: Heartbeat | None = None
    ) -> None:
        """Watch what an earlier agent was told to.

        Args:
            path: the file that keeps what is expected.
            roots: the folders that may be touched.
            network: tells of links.
            heartbeat: renews the slots of clusters; nothing is said of them without it.
        """
        self._path = path
        self._network = network
        self._listeners: list[Callable[[], None]] = []
        self._storage = StorageWatch(roots, self._tell)
        self._heartbeats = HeartbeatWatch(heartbeat, self._tell) if heartbeat is not None else None
        self._bridges: list[Bridge] = []
        self._links: list[Link] | None = None
        self._dirty = asyncio.Event()
        self._scope = TaskScope("agent.watch")
        self._expected: host_service_pb2.ReportHostResponse = _kept(path)
        self._take()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop whenever something is otherwise than before."""
        self._listeners.append(listener)

    async def open(self) -> None:
        """Look for the first time, then follow what happens."""
        await self._storage.open()
        if self._heartbeats is not None:
            self._heartbeats.open()
        if not self._network.unsupported:
            await self._read_links()
            try:
                self._network.watch(self._dirty.set)
            except VirtyardError as error:
                _log.warning("links are looked at only when a report is expected to change: %s", error)
            _ = self._scope.start(self._follow_links(), name="links", vital=True)

    async def close(self) -> None:
        """Watch no more."""
        await self._scope.close()
        if self._heartbeats is not None:
            await self._heartbeats.close()
        await self._storage.close()

    def expect(self, answer: host_service_pb2.ReportHostResponse) -> None:
        """Watch what the inventory expects of this host from now on."""
        if not answer.known:
            return
        expected = host_service_pb2.ReportHostResponse(repositories=answer.repositories, networks=answer.networks)
        if expected != self._expected:
            try:
                write_record(self._path, json_format.MessageToDict(expected))
            except OSError as error:
                _log.error("what is to be watched is not kept for the next agent: %s", error)
            self._expected = expected
            self._take()
            self._dirty.set()
            self._tell()

    def repositories(self) -> Sequence[server_pb2.ObservedRepository]:
        """Return the repositories of the host as they were found last."""
        return self._storage.repositories()

    def heartbeats(self) -> Sequence[server_pb2.ObservedHeartbeat]:
        """Return the slots that the host itself renews, as they are now."""
        return self._heartbeats.heartbeats() if self._heartbeats is not None else ()

    def links(self) -> Sequence[server_pb2.ObservedLink]:
        """Return the links of the host as they were found last; without a state where they could not be."""
        if self._links is None:
            return [
                server_pb2.ObservedLink(interface=each.name, network_uid=each.uid, kind=server_pb2.LINK_KIND_BRIDGE)
                for each in self._bridges
            ]
        return [
            server_pb2.ObservedLink(
                interface=link.interface,
                network_uid=link.network_uid,
                kind=_KINDS[link.kind],
                state=server_pb2.LINK_STATE_UP if link.up else server_pb2.LINK_STATE_DOWN,
            )
            for link in self._links
        ]

    def _take(self) -> None:
        self._storage.expect(self._expected.repositories)
        self._bridges = [Bridge(name=each.bridge, uid=each.uid, uplink=each.uplink) for each in self._expected.networks]

    async def _follow_links(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._read_links()

    async def _read_links(self) -> None:
        if not self._bridges:
            links: list[Link] | None = []
        else:
            try:
                links = await self._network.links(self._bridges)
            except VirtyardError as error:
                _log.warning("the links of this host are not known: %s", error)
                links = None
        if links != self._links:
            self._links = links
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _kept(path: Path) -> host_service_pb2.ReportHostResponse:
    expected = host_service_pb2.ReportHostResponse()
    kept = read_record(path)
    if kept is not None:
        json_format.ParseDict(kept, expected, ignore_unknown_fields=True)
    return expected
