"""The gateway of a split site: its watch outlives every process behind it, and the gateway itself."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from tests.acceptance.asking import LIMIT, prepare, run
from tests.acceptance.front_door import Program, let_in
from tests.acceptance.site import Site, open_site
from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.api.inventory.v1 import inventory_service_pb2, server_pb2
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.operations.v1 import update_server_pb2
from virtyard.api.type.v1.watch_pb2 import FrameKind

pytestmark = pytest.mark.timeout(240)

SERVERS = inventory_service_pb2.WatchObjectsRequest(filter="kind = servers")
ALL = [
    pb.Subscription(id="inventory", objects=SERVERS),
    pb.Subscription(id="jobs", jobs=job_service_pb2.WatchJobsRequest()),
    pb.Subscription(id="locks", locks=lock_service_pb2.WatchLocksRequest()),
]
LIVE, NOT_LIVE = pb.SOURCE_STATE_LIVE, pb.SOURCE_STATE_NOT_LIVE


class Tab:
    """A tab that watches everything, and shows what it was told."""

    def __init__(self, program: Program) -> None:
        """Nothing is watched yet."""
        self.program = program
        self.token = ""
        self.states: dict[str, int] = {}
        self.kinds: list[tuple[str, int]] = []
        self.descriptions: list[str] = []

    def handle(self, response: pb.WatchResponse) -> None:
        """Show a response."""
        self.token = response.resume_token
        which = response.WhichOneof("frame")
        if which == "status":
            self.states[response.subscription] = response.status.state
            return
        frame = getattr(response, str(which))
        if which in ("objects", "jobs", "locks"):
            self.kinds.append((response.subscription, frame.kind))
        if which == "objects" and frame.object.server.description:
            self.descriptions.append(frame.object.server.description)


async def describe(site: Site, words: str) -> None:
    """Change the description of the server, by a job."""
    async with site.client() as client:
        server = server_pb2.Server(name="servers/s1", description=words)
        await run(
            client, update_server_pb2.UpdateServerRequest(server=server, update_mask=FieldMask(paths=["description"]))
        )


async def test_a_tab_lives_through_the_death_of_everything_behind_it() -> None:
    """Each service is killed in turn, then the gateway: it is shown, and the tab goes on without a snapshot."""
    with open_site("split", ("s1",)) as site:
        site.start("gateway")
        async with site.client() as client:
            await prepare(site, client)
        program = await let_in(site)
        tab = Tab(program)
        async with asyncio.timeout(3 * LIMIT), aclosing(program.watch(ALL)) as stream:

            async def watch_until(subscription: str, state: int) -> None:
                while tab.states.get(subscription) != state:
                    tab.handle(await anext(stream))

            for one in ALL:
                await watch_until(one.id, LIVE)
            while [kind for _, kind in tab.kinds].count(FrameKind.FRAME_KIND_BOOKMARK) < len(ALL):
                tab.handle(await anext(stream))
            tab.kinds.clear()
            for service in ("inventory", "locks", "jobs"):
                site.kill(service)
                await watch_until(service, NOT_LIVE)
                live = {name for name, state in tab.states.items() if state == LIVE}
                assert live == {one.id for one in ALL} - {service}
                site.start(service)
                await watch_until(service, LIVE)
            describing = asyncio.create_task(describe(site, "after all of them"))
            while "after all of them" not in tab.descriptions:
                tab.handle(await anext(stream))
            await describing
        assert {kind for _, kind in tab.kinds} <= {FrameKind.FRAME_KIND_CHANGED, FrameKind.FRAME_KIND_REMOVED}

        site.kill("gateway")
        await describe(site, "while nobody watched")
        site.start("gateway")
        tab.kinds.clear()
        async with asyncio.timeout(LIMIT), aclosing(program.watch(ALL, tab.token)) as stream:
            while "while nobody watched" not in tab.descriptions:
                tab.handle(await anext(stream))
        assert {kind for _, kind in tab.kinds} <= {FrameKind.FRAME_KIND_CHANGED, FrameKind.FRAME_KIND_REMOVED}

        async with asyncio.timeout(LIMIT), aclosing(program.watch(ALL, tab.token)) as stream:
            tab.handle(await anext(stream))
            stopping = asyncio.create_task(asyncio.to_thread(site.stop, "gateway"))
            last = [response.WhichOneof("frame") async for response in stream]
            await stopping
        assert last[-1] == "goodbye"
