"""The `bridge` network driver: bridges of the Linux kernel, made through rtnetlink, and taps for guests.

A bridge bears the uid of its network and the mark of the step that made it in its alias. It is made aside, under a name
of the moment, and gets its own name last: who finds it by its name finds it whole. A tap lives as long as the process
that has its descriptor: no guest leaves one behind.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from virtyard.agent.drivers.network.contract import Bridge, Link
from virtyard.agent.drivers.network.link_news import LinkNews
from virtyard.agent.drivers.network.link_states import read_links
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, Unavailable, WrongState
from virtyard.runtime.threads import Threads

_TUN = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_ALIAS = "virtyard"
_ASIDE = re.compile(r"vyt[0-9a-f]{8}")


class _Route(Protocol):
    """What is used of pyroute2's `IPRoute`."""

    def link(self, command: str, **values: Any) -> Any: ...

    def link_lookup(self, **values: Any) -> list[int]: ...

    def get_links(self, *indexes: int, **values: Any) -> Any: ...

    def get_addr(self, **values: Any) -> Any: ...


class BridgeNetwork:
    """Carries networks by bridges of the network namespace that the agent runs in."""

    name = "bridge"

    def __init__(self) -> None:
        """Make a driver that is not probed."""
        self._unsupported = "it has not been tried yet"
        self._threads = Threads("network", workers=1)
        self._news: LinkNews | None = None

    @property
    def unsupported(self) -> str:
        """Why bridges do not work here; empty if they do."""
        return self._unsupported

    async def probe(self) -> None:
        """Make a bridge with a tap, and remove both."""
        self._unsupported = await self._threads.run(_try)

    async def create_bridge(self, bridge: Bridge, mark: str) -> bool:
        """Make the bridge; see the contract."""
        return await self._threads.run(_create, bridge, mark)

    async def find_bridge(self, name: str, uid: str) -> str | None:
        """Read the mark from the bridge's alias."""
        return await self._threads.run(_find, name, uid)

    async def bridges(self) -> list[Bridge]:
        """Read the aliases of all interfaces; see the contract."""
        return await self._threads.run(_bridges)

    async def remove_bridge(self, name: str, uid: str, mark: str | None = None) -> bool:
        """Remove the bridge; see the contract."""
        return await self._threads.run(_remove, name, uid, mark)

    async def open_tap(self, bridge: str, name: str) -> int:
        """Open a tap that is plugged into the bridge; see the contract."""
        return await self._threads.run(_open_tap, bridge, name)

    async def links(self, bridges: Sequence[Bridge]) -> list[Link]:
        """Read the interfaces of networks; see the contract."""
        return await self._threads.run(_links, bridges)

    def watch(self, changed: Callable[[], None]) -> None:
        """Have the kernel tell of every interface that changes; see the contract."""
        try:
            self._news = LinkNews(changed)
        except OSError as error:
            raise Unavailable(f"the kernel does not tell of interfaces: {error}") from error

    def close(self) -> None:
        """Let running calls end."""
        if self._news is not None:
            self._news.close()
        self._threads.close()


@contextmanager
def _route(what: str) -> Iterator[_Route]:
    """Open rtnetlink; what the kernel refuses is raised as Unavailable, with its words."""
    from pyroute2 import IPRoute  # an optional extra, and slow to import
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise Unavailable(f"{what}: {error}", resource=what) from error


def _links(bridges: Sequence[Bridge]) -> list[Link]:
    with _route("the interfaces of this host") as route:
        return read_links(route.get_links(), bridges)


def _try() -> str:
    name = _aside()
    try:
        with _making(name):
            _create(Bridge(name=name, uid="trial"), "trial")
            try:
                os.close(_open_tap(name, f"{name}t"))
            finally:
                _remove(name, "trial", None)
    except ImportError:
        return "the Python package pyroute2 is not installed"
    except (OSError, Unavailable) as error:
        return f"a trial bridge could not be made: {error}"
    return ""


def _create(bridge: Bridge, mark: str) -> bool:
    aside = _aside()
    with _route(f"bridge {bridge.name}") as route, _making(aside):
        _clear_asides(route)
        if _index(route, bridge.name):
            if _marks(route, bridge.name)[0] != bridge.uid:
                raise AlreadyExists(f"an interface {bridge.name} is there, for something else", resource=bridge.name)
            return False
        uplink = _free_uplink(route, bridge.uplink) if bridge.uplink else 0
        route.link("add", ifname=aside, kind="bridge", br_stp_state=0, br_forward_delay=0)
        index = _index(route, aside)
        try:
            if uplink:
                route.link("set", index=uplink, master=index, state="up")
            # One message: the kernel has carried out all of it before this process can be killed.
            alias = f"{_ALIAS} {bridge.uid} {mark}"
            route.link("set", index=index, ifname=bridge.name, IFLA_IFALIAS=alias, state="up")
        except BaseException:
            route.link("del", index=index)
            raise
        return True


def _aside() -> str:
    return f"vyt{uuid.uuid4().hex[:8]}"


@contextmanager
def _making(aside: str) -> Iterator[None]:
    """Hold a name of the moment in this network namespace, for as long as this process lives at most.

    Raises:
        OSError: another process holds it.
    """
    with socket.socket(socket.AF_UNIX) as holder:
        # The abstract names of sockets are those of the network namespace, as the names of interfaces are.
        holder.bind(f"\0virtyard/{aside}")
        yield


def _clear_asides(route: _Route) -> None:
    """Remove the bridges whose makers were killed while they made them."""
    for name in [link.get("ifname") for link in route.get_links()]:
        if _ASIDE.fullmatch(name):
            with suppress(OSError), _making(name):
                # Looked up only now: before, its maker could have given it its own name.
                if index := _index(route, name):
                    route.link("del", index=index)


def _free_uplink(route: _Route, name: str) -> int:
    index = _index(route, name)
    if not index:
        raise InvalidRequest.of("uplink", f"{name} is not an interface of this host")
    (link,) = route.get_links(index)
    if link.get("master"):
        raise WrongState(f"{name} belongs to another bridge", resource=name)
    if any(address.get("scope") == 0 for address in route.get_addr(index=index)):
        raise WrongState(f"{name} has addresses, so the host itself uses it; choose another uplink", resource=name)
    return index


def _find(name: str, uid: str) -> str | None:
    with _route(f"bridge {name}") as route:
        found, mark = _marks(route, name)
        return mark if found == uid else None


def _bridges() -> list[Bridge]:
    with _route("the interfaces of this host") as route:
        found = [(link.get("ifname"), _alias(link)[0]) for link in route.get_links()]
        return sorted((Bridge(name=name, uid=uid) for name, uid in found if uid), key=lambda each: each.name)


def _remove(name: str, uid: str, mark: str | None) -> bool:
    with _route(f"bridge {name}") as route:
        found, own = _marks(route, name)
        if found != uid or mark not in {None, own}:
            return False
        index = _index(route, name)
        taps = [port.get("ifname") for port in route.get_links() if port.get("master") == index and _is_tap(port)]
        if taps:
            raise WrongState(f"guests are plugged into {name}: {', '.join(sorted(taps))}", resource=name)
        route.link("del", index=index)
        return True


def _is_tap(link: Any) -> bool:
    info = link.get("linkinfo")
    return info is not None and info.get("kind") == "tun"


def _index(route: _Route, name: str) -> int:
    found = route.link_lookup(ifname=name)
    return found[0] if found else 0


def _bridge(route: _Route, name: str) -> int:
    index = _index(route, name)
    if not index:
        raise WrongState(f"this host has no bridge {name}", resource=name)
    return index


def _marks(route: _Route, name: str) -> tuple[str, str]:
    """Return the network's uid and the mark in a bridge's alias; empty where there is none."""
    index = _index(route, name)
    if not index:
        return "", ""
    (link,) = route.get_links(index)
    return _alias(link)


def _alias(link: Any) -> tuple[str, str]:
    """Return the network's uid and the mark in an interface's alias; empty where it is no bridge of a network."""
    words = (link.get("ifalias") or "").split(" ")
    return (words[1], words[2]) if len(words) == 3 and words[0] == _ALIAS else ("", "")


def _open_tap(bridge: str, name: str) -> int:
    descriptor = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        try:
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise WrongState(f"the tap {name} is in use", resource=name) from error
            raise Unavailable(f"tap {name}: {error}", resource=name) from error
        with _route(f"tap {name}") as route:
            route.link("set", index=_index(route, name), master=_bridge(route, bridge), state="up")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
