"""The network interfaces of a demo's site, as the kernel shows them: its bridges, and what is plugged into each.

A bridge is the site's if its alias bears a uid that stands in one of the site's databases, so that an interrupted demo,
or `make demo-stop`, removes these and no other; the plan is durable before a bridge is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.demo_site import Site
from virtyard.agent.drivers.network.bridge import BridgeNetwork
from virtyard.kernel.errors import VirtyardError

_TRIAL = "trial"
"""The uid of a bridge by which an agent, of any site, finds out whether it can make one."""
NETWORKS = Path("/sys/class/net")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One bridge of the site."""

    name: str
    """Its name on this machine."""
    uid: str
    """The uid of the network that it carries."""
    ports: tuple[str, ...]
    """What is plugged into it: the taps of guests."""


def refusal() -> str:
    """Return why this machine and user cannot carry a network by a bridge, found out by trying; empty if they can."""

    async def ask() -> str:
        driver = BridgeNetwork()
        try:
            await driver.probe()
            return driver.unsupported
        finally:
            driver.close()

    return asyncio.run(ask())


def links(site: Site) -> list[Link]:
    """Return the bridges of the site in the order of their names, without those that agents make on trial."""
    known = [path.read_bytes() for path in (site.folder / "state").glob("**/*.db*") if path.is_file()]
    made = [link for link in _marked() if link.uid != _TRIAL]
    return [link for link in made if any(link.uid.encode() in content for content in known)]


def _marked() -> Iterator[Link]:
    """Yield every bridge of this machine that some agent has made."""
    for alias in sorted(NETWORKS.glob("vy*/ifalias")):
        try:
            words = alias.read_text().split()
            ports = tuple(sorted(port.name for port in (alias.parent / "brif").iterdir()))
        except OSError:
            continue  # it went while it was looked at, or is no bridge
        if len(words) == 3 and words[0] == "virtyard":
            yield Link(name=alias.parent.name, uid=words[1], ports=ports)


def taps_of(pid: int) -> list[str]:
    """Return the taps that a process has open, as the kernel tells it."""
    found = []
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        found += [line.split()[1] for line in info.read_text().splitlines() if line.startswith("iff:")]
    return sorted(found)


def remove(site: Site) -> list[str]:
    """Remove the site's bridges, whose guests have ended, and return those that would not go, with the reason."""
    left = []
    for link in links(site):
        try:
            asyncio.run(_remove(link))
        except VirtyardError as error:
            left.append(f"bridge {link.name} ({error})")
    return left


async def _remove(link: Link) -> None:
    driver = BridgeNetwork()
    try:
        await driver.remove_bridge(link.name, link.uid)
    finally:
        driver.close()
