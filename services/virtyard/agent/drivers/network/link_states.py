"""The states of links: what a dump of the kernel's interfaces says of the networks that a host is to carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from virtyard.agent.drivers.network.contract import Bridge, Link, LinkKind

__all__ = ["read_links"]

_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000


def read_links(interfaces: Iterable[Any], bridges: Sequence[Bridge]) -> list[Link]:
    """Return the links of these bridges, by name.

    Args:
        interfaces: the kernel's messages, as pyroute2 gives them: `get` finds `ifname`, `index`, `flags`, `master` and
            `linkinfo`.
        bridges: the bridges that the host is to have.
    """
    by_name = {each.get("ifname"): each for each in interfaces}
    return sorted((link for bridge in bridges for link in _of(bridge, by_name)), key=lambda link: link.interface)


def _of(bridge: Bridge, by_name: dict[str, Any]) -> Iterator[Link]:
    own = by_name.get(bridge.name)
    index = own.get("index") if own is not None else None
    switched_on = own is not None and bool(own.get("flags") & _IFF_UP)
    yield Link(interface=bridge.name, network_uid=bridge.uid, kind=LinkKind.BRIDGE, up=switched_on)
    if bridge.uplink:
        uplink = by_name.get(bridge.uplink)
        joined = uplink is not None and index is not None and uplink.get("master") == index
        yield Link(
            interface=bridge.uplink, network_uid=bridge.uid, kind=LinkKind.UPLINK, up=joined and _carries(uplink)
        )
    for name, each in by_name.items():
        if index is not None and each.get("master") == index and _is_tap(each):
            yield Link(interface=name, network_uid=bridge.uid, kind=LinkKind.TAP, up=_carries(each))


def _carries(interface: Any) -> bool:
    """Tell whether an interface is switched on and has a carrier."""
    wanted = _IFF_UP | _IFF_LOWER_UP
    return bool(interface.get("flags") & wanted == wanted)


def _is_tap(interface: Any) -> bool:
    info = interface.get("linkinfo")
    return info is not None and info.get("kind") == "tun"
