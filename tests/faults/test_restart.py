"""Restarts of a whole site: asked or killed, in whatever order its processes come back."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.asking import LIMIT, ask, create_machine, new_disk, prepare, run, start_machine, wait_unlocked
from tests.acceptance.site import Site, open_site
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(120)

PROCESSES = ("jobs", "s1", "inventory", "locks")


def come_back(site: Site) -> None:
    """Start every process, the scheduler first, which needs all the others."""
    for name in PROCESSES:
        site.start(name, wait=False)
    for name in PROCESSES:
        site.wait_serving(name)


async def wait_answered(site: Site, client: Client) -> None:
    """Wait until a client that was connected before is planned for again: between attempts to connect gRPC pauses."""
    preview = create_machine(site, "probe")
    preview.validate_only = True
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                _ = await ask(client, preview)
            except ClientError as error:
                if not error.unreachable:
                    raise
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_site_comes_back_in_any_order_with_all_that_it_had() -> None:
    """After a stop of everything, and after a kill of everything, the site goes on where it was."""
    with open_site("split") as site:
        async with site.client() as client:
            await prepare(site, client)
            for name in PROCESSES:
                site.stop(name)
            come_back(site)
            await wait_answered(site, client)
            await run(client, create_machine(site, "web", [new_disk(4)], cards=1))
            for name in PROCESSES:
                site.kill(name)
            come_back(site)
            await wait_answered(site, client)
            await run(client, start_machine("web"))
            await wait_unlocked(client)
        assert len(site.guests()) == 1
        assert len(site.images()) == 1
