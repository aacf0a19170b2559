"""A site whose servers are discovered and in no pool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.integration.jobs.site import Site, running
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.operations.v1 import discover_server_pb2


@asynccontextmanager
async def running_newcomers(folder: Path, *servers: str) -> AsyncIterator[Site]:
    """Run a site with these servers, each discovered, and nothing locked."""
    async with running(folder, *servers) as site:
        for name, address in site.addresses.items():
            discovered = server_pb2.Server(agent_address=address)
            await site.succeed(discover_server_pb2.DiscoverServerRequest(server_id=name, server=discovered))
        await site.wait_released()
        yield site
