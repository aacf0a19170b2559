"""How soon the inventory follows what happens on hosts: guests that are killed or ended by hand, storage, links.

Real sites with QEMU: a storage that is mounted, two servers in network namespaces. Each is done again and again, and
timed from the deed to the frame of WatchObjects that shows it; that the event of it is there is looked at as well.

Usage: python -m tools.bench.host_events CYCLES, prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.acceptance.asking import create_machine, create_repository, prepare, run, start_machine, wait_unlocked
from tests.acceptance.site import Site, open_site
from tests.acceptance.test_events import listed
from tests.acceptance.test_host_troubles import bound
from tests.acceptance.test_networks import create_network
from tests.acceptance.wires import UPLINK, Wired, ip, wired
from virtyard.agent.drivers.hypervisor.trial import stub
from virtyard.api.inventory.v1 import server_pb2, virtual_machine_pb2
from virtyard.runtime import loop
from virtyard_client.client import Client

LIMIT = 60.0
WEB, MOUNTED = "virtualMachines/web", "repositories/mounted"
SERVERS = ("servers/s1", "servers/s2")
STOPPED, RUNNING = (
    virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED,
    virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING,
)


class Sight:
    """The objects of the inventory as a watch shows them."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self.objects: dict[str, Any] = {}
        self._news = asyncio.Event()

    async def follow(self, client: Client) -> None:
        """Follow until cancelled."""
        async for frame in client.watch_objects():
            if frame.HasField("object"):
                shown = getattr(frame.object, str(frame.object.WhichOneof("object")))
                self.objects[shown.name] = shown
                self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what is shown is so."""
        async with asyncio.timeout(LIMIT):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def machine_is(self, state: int) -> bool:
        """Tell whether the machine is shown in this state."""
        return WEB in self.objects and self.objects[WEB].state == state

    def lost(self, count: int) -> bool:
        """Tell whether so many servers are shown to lack the storage."""
        return MOUNTED in self.objects and len(self.objects[MOUNTED].lost_servers) == count

    def storage_is_watched(self) -> bool:
        """Tell whether both servers look at the storage, and find it."""
        present = server_pb2.STORAGE_STATE_PRESENT
        return all(
            any(each.repository == MOUNTED and each.state == present for each in self._observed(name).repositories)
            for name in SERVERS
        )

    def links_are(self, state: int) -> bool:
        """Tell whether the uplink of each server is shown in this state."""
        links = [self._observed(name).links for name in SERVERS]
        uplinks = [[each for each in one if each.kind == server_pb2.LINK_KIND_UPLINK] for one in links]
        return all(uplinks) and all(each.state == state for one in uplinks for each in one)

    def _observed(self, server: str) -> server_pb2.ServerObservation:
        shown: server_pb2.Server = self.objects.get(server) or server_pb2.Server(name=server)
        return shown.observed


async def time_of(sight: Sight, deed: Callable[[], object], shown: Callable[[], bool]) -> float:
    """Do something and return how many milliseconds later it is shown."""
    began = time.monotonic()
    _ = await asyncio.to_thread(deed)
    await sight.until(shown)
    return 1000 * (time.monotonic() - began)


async def end_guest(client: Client, sight: Sight, by: signal.Signals) -> float:
    """Send a signal to the process of a guest, and start its machine again."""
    process = sight.objects[WEB].placement.process_id
    took = await time_of(sight, lambda: os.kill(process, by), lambda: sight.machine_is(STOPPED))
    await wait_unlocked(client)
    await run(client, start_machine("web"))
    await sight.until(lambda: sight.machine_is(RUNNING))
    return took


async def lose_storage(sight: Sight, mount: Callable[[], None], unmount: Callable[[], None]) -> float:
    """Unmount the storage of both servers, and mount it again."""
    took = await time_of(sight, unmount, lambda: sight.lost(2))
    mount()
    await sight.until(lambda: sight.lost(0))
    return took


async def break_link(sight: Sight, wires: Wired) -> float:
    """Switch the uplink of one server off, which takes the carrier from the other's, and on again."""
    end = ("-n", wires.namespaces["s2"], "link", "set", UPLINK)
    took = await time_of(sight, lambda: ip(*end, "down"), lambda: sight.links_are(server_pb2.LINK_STATE_DOWN))
    ip(*end, "up")
    await sight.until(lambda: sight.links_are(server_pb2.LINK_STATE_UP))
    return took


async def start_web(client: Client, site: Site) -> None:
    """Make a machine that nothing starts again, and start it."""
    kernel = site.shared / "halt"
    kernel.write_bytes(stub())
    request = create_machine(site, "web", boot=virtual_machine_pb2.BootSource(kernel_path=str(kernel)))
    request.virtual_machine.restart_policy = virtual_machine_pb2.RESTART_POLICY_NEVER
    await run(client, request)
    await run(client, start_machine("web"))
    await wait_unlocked(client)


@asynccontextmanager
async def watching(site: Site) -> AsyncIterator[tuple[Client, Sight]]:
    """Discover the servers and watch the site."""
    async with site.client() as client:
        await prepare(site, client)
        sight = Sight()
        following = asyncio.create_task(sight.follow(client))
        yield client, sight
        following.cancel()


async def measure_machines(cycles: int) -> dict[str, float]:
    """Measure guests that end, and storage that goes: on servers that see the mounts of this machine."""
    with (
        open_site("embedded", ("s1", "s2"), driver="qemu") as site,
        bound(site.folder / "storage", site.shared / "mounted") as (mount, unmount),
    ):
        async with watching(site) as (client, sight):
            await run(client, create_repository(site, "mounted"))
            await start_web(client, site)
            await sight.until(lambda: sight.machine_is(RUNNING) and sight.storage_is_watched())
            found = {
                **await repeat("crash", cycles, lambda: end_guest(client, sight, signal.SIGKILL)),
                **await repeat("by_hand", cycles, lambda: end_guest(client, sight, signal.SIGTERM)),
                **await repeat("storage", cycles, lambda: lose_storage(sight, mount, unmount)),
            }
            await see_events(client, "MACHINE_CRASHED", "STORAGE_LOST")
    return found


async def measure_links(cycles: int) -> dict[str, float]:
    """Measure links that break: between servers that are network namespaces."""
    with (
        wired() as wires,
        open_site("embedded", ("s1", "s2"), driver="qemu", homes=wires.homes, namespaces=wires.namespaces) as site,
    ):
        async with watching(site) as (client, sight):
            await run(client, create_network(UPLINK))
            await sight.until(lambda: sight.links_are(server_pb2.LINK_STATE_UP))
            found = await repeat("link", cycles, lambda: break_link(sight, wires))
            await see_events(client, "LINK_DOWN")
    return found


async def repeat(kind: str, cycles: int, cycle: Callable[[], Awaitable[float]]) -> dict[str, float]:
    """Return the median and the 99th percentile of one kind, in milliseconds."""
    took = sorted([await cycle() for _ in range(cycles)])
    return {
        f"host_{kind}_p50_ms": took[cycles // 2],
        f"host_{kind}_p99_ms": took[min(cycles * 99 // 100, cycles - 1)],
    }


async def see_events(client: Client, *kinds: str) -> None:
    """See that each of these was told by an event."""
    missing = set(kinds) - {event.type for event in await listed(client, "")}
    if missing:
        raise RuntimeError(f"no event told of {', '.join(sorted(missing))}")


async def measure(cycles: int) -> dict[str, float]:
    """Measure everything, each thing so often."""
    return {**await measure_machines(cycles), **await measure_links(cycles)}


if __name__ == "__main__":
    print(json.dumps(loop.run(measure(int(sys.argv[1])))))
