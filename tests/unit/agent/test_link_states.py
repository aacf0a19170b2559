"""Links read from a dump of interfaces: what is up, what is down, and what belongs to no network of ours."""

from __future__ import annotations

from typing import Any

from virtyard.agent.drivers.network.contract import Bridge, Link, LinkKind
from virtyard.agent.drivers.network.link_states import read_links

ON, CARRIER = 0x1, 0x10000
LAN = Bridge(name="br0", uid="lan", uplink="eth1")


def interface(name: str, index: int, flags: int, master: int = 0, kind: str = "") -> dict[str, Any]:
    """Return an interface as the kernel tells of it."""
    info = {"linkinfo": {"kind": kind}} if kind else {}
    return {"ifname": name, "index": index, "flags": flags, **({"master": master} if master else {}), **info}


def states(*interfaces: dict[str, Any]) -> dict[str, bool]:
    """Return which links of the network are up."""
    return {link.interface: link.up for link in read_links(interfaces, [LAN])}


def test_a_whole_network_is_up() -> None:
    """A bridge needs no carrier of its own, uplink and taps do; other interfaces are nobody's business."""
    found = read_links(
        [
            interface("br0", 2, ON, kind="bridge"),
            interface("eth1", 3, ON | CARRIER, master=2),
            interface("vt1", 4, ON | CARRIER, master=2, kind="tun"),
            interface("eth0", 5, ON | CARRIER),
            interface("vt2", 6, ON, master=9, kind="tun"),
        ],
        [LAN],
    )
    assert found == [
        Link(interface="br0", network_uid="lan", kind=LinkKind.BRIDGE, up=True),
        Link(interface="eth1", network_uid="lan", kind=LinkKind.UPLINK, up=True),
        Link(interface="vt1", network_uid="lan", kind=LinkKind.TAP, up=True),
    ]


def test_what_cannot_carry_is_down() -> None:
    """Switched off, without a carrier, taken out of the bridge, or gone."""
    bridge, joined = interface("br0", 2, ON), interface("eth1", 3, ON | CARRIER, master=2)
    assert states(bridge, joined) == {"br0": True, "eth1": True}
    assert states(interface("br0", 2, 0), joined) == {"br0": False, "eth1": True}
    assert states(bridge, interface("eth1", 3, ON, master=2)) == {"br0": True, "eth1": False}
    assert states(bridge, interface("eth1", 3, CARRIER, master=2)) == {"br0": True, "eth1": False}
    assert states(bridge, interface("eth1", 3, ON | CARRIER)) == {"br0": True, "eth1": False}
    assert states(bridge) == {"br0": True, "eth1": False}
    assert states() == {"br0": False, "eth1": False}
