"""The site on which disks go wrong: all are processes, and the three services and one host have disks of their own.

Each of these disks is a real file system; see `disks`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.acceptance.asking import create_machine, new_disk, prepare, run
from tests.acceptance.site import Site, open_site
from tests.faults.disks import Disks
from virtyard.api.operations.v1 import start_virtual_machine_pb2

__all__ = ["MACHINES", "OWNERS", "SERVERS", "open_disk_site", "start"]

SERVERS: Final = ("s1", "s2")
OWNERS: Final = ("jobs", "locks", "inventory", "s1")
"""The processes that have a disk of their own."""
MACHINES: Final = {"one": "s1", "two": "s2"}
"""The machines, by name, and the server of each."""


@contextmanager
def open_disk_site() -> Iterator[tuple[Site, Disks]]:
    """Open the site with a machine for each server, and give it with its disks."""
    with Disks(OWNERS) as disks, open_site("split", SERVERS, nursed=True, furnish=disks.mount) as site:

        async def furnish() -> None:
            async with site.client() as client:
                await prepare(site, client)
                for name in MACHINES:
                    await run(client, create_machine(site, name, [new_disk(4)]))

        asyncio.run(furnish())
        yield site, disks


def start(machine: str = "one") -> start_virtual_machine_pb2.StartVirtualMachineRequest:
    """Return a request to start a machine on its server."""
    return start_virtual_machine_pb2.StartVirtualMachineRequest(
        name=f"virtualMachines/{machine}", server=f"servers/{MACHINES[machine]}", request_id=str(uuid.uuid4())
    )
