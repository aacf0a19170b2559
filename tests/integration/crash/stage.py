"""A stage for one operation type: a site on which its example can be asked again and again, and what is seen of it.

The site is one process, so that a moment is exact: the hook of a durable transition is called before anybody hears of
the commit. Real kills of real processes are in `tests/faults`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.longrunning import operations_pb2

from tests.examples.contract import Example, load
from tests.integration.jobs.site import Site, running
from tests.invariants.check import lasting_findings
from tools.operation_costs import SERVERS, furnish
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import job_service_pb2, operation_pb2, plan_pb2
from virtyard.kernel.plan import pack
from virtyard.kernel.view import select

T = TypeVar("T")
EXAMPLES = load()
WHOLE = frozenset(
    {
        "add_server_to_server_pool",
        "create_server_pool",
        "create_virtual_machine",
        "delete_virtual_machine",
        "start_virtual_machine",
    }
)
"""The types of which every point is tried in CI; of the others a few, by the seed."""
TORTURE = bool(os.environ.get("VIRTYARD_TORTURE"))
SEED = int(os.environ.get("VIRTYARD_SEED") or (random.SystemRandom().randrange(1 << 30) if TORTURE else 1))
"""Chooses the points, in CI the same ones each time; printed where they are chosen, and set by VIRTYARD_SEED."""
FEW = 2
_PASSING = ("generation", "etag", "update_time", "activity", "observed", "state_time")
"""Fields that show that an object was written, and those of which an operation is not the only writer."""


class Stage:
    """A site with an example; open it with `opened`."""

    def __init__(self, folder: Path, example: Example) -> None:
        """Use `opened`."""
        self.site: Any = None
        self.example = example
        self._folder = folder
        self._sites = 0
        self._stack = AsyncExitStack()

    async def renew(self) -> None:
        """Build the site anew."""
        await self.close()
        self._sites += 1
        self.site = await self._stack.enter_async_context(running(self._folder / str(self._sites), *SERVERS))
        self.site.shared = self.site.share
        await furnish(self.site, self.site, self.example)

    async def close(self) -> None:
        """End the site."""
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def ready(self) -> None:
        """See to it that the example can be asked: as it is, or after what it prepares, or on a new site."""
        if self.site is None or not await self._can_ask():
            if self.site is not None:
                for request in self.example.prepare(self.site):
                    try:
                        await self.site.succeed(request)
                    except grpc.aio.AioRpcError:
                        break
            if self.site is None or not await self._can_ask():
                await self.renew()
        await self.site.wait_released()

    async def _can_ask(self) -> bool:
        """Tell whether the example is accepted; a proof of death would be, but would prove nothing a second time."""
        if self.example.gone:
            name = f"servers/{self.example.gone}"
            server = (await self.site.view(select(name))).get(name, server_pb2.Server)
            if server.observed.HasField("death"):
                return False
        try:
            await self.plan()
        except grpc.aio.AioRpcError:
            return False
        return True

    async def plan(self) -> plan_pb2.Plan:
        """Return the plan of the example, which changes nothing."""
        request = self.request()
        request.validate_only = True
        submit = job_service_pb2.SubmitOperationRequest(request=pack(request))
        operation = await self.site.service.SubmitOperation(submit)
        return operation_pb2.OperationMetadata.FromString(operation.metadata.value).plan

    def request(self) -> Any:
        """Return the example's request."""
        made = self.example.request(self.site)
        asked: Any = type(made)()
        asked.CopyFrom(made)
        return asked

    async def next_name(self) -> str:
        """Return the name that the next operation will have."""
        rows = await self.site.jobs.database.read(
            lambda sql: sql.execute("SELECT coalesce(max(number), 0) FROM operation").fetchone()
        )
        return f"operations/{rows[0] + 1}"

    async def points(self) -> list[tuple[str, int]]:
        """Run the example to its end, and return its durable transitions as (name, which one of that name)."""
        await self.ready()
        self.site.transitions.clear()
        await self.site.succeed(self.request())
        await self.site.wait_released()
        return ordinals(self.site.transitions)

    async def picture(self) -> dict[str, bytes]:
        """Return every object as it looks, less what shows only that it was written."""
        seen = {}
        for name, message in (await self.site.objects()).items():
            if isinstance(message, server_pb2.Server) and message.observed.HasField("death"):
                # The rest of what is observed comes from agents; this is what an operation says.
                seen[f"{name} is dead"] = message.observed.death.SerializeToString(deterministic=True)
            for field in _PASSING:
                if field in message.DESCRIPTOR.fields_by_name:
                    message.ClearField(field)
            seen[name] = message.SerializeToString(deterministic=True)
        return seen

    def findings(self, *, running: bool = False) -> list[str]:
        """Return what the invariant checker finds on the site's disks."""
        folder = self.site.folder
        return lasting_findings(folder, folder / "share", folder / "effects", running=running, patience=5.0)

    async def check(self) -> None:
        """See that nothing breaks an invariant, once what is due has been done."""
        await self.site.wait_released()
        found = await asyncio.to_thread(self.findings)
        assert found == [], "\n".join(found)


def ordinals(transitions: Iterable[str]) -> list[tuple[str, int]]:
    """Return transitions, those of single steps apart, each with how many of its name there were by then."""
    count: Counter[str] = Counter()
    points = []
    for name in transitions:
        if "@" not in name:
            count[name] += 1
            points.append((name, count[name]))
    return points


def chosen(name: str, found: Sequence[T], few: int = FEW) -> Sequence[T]:
    """Return the points to try of a type: all, or a few by the seed, which is printed."""
    if TORTURE or name in WHOLE or len(found) <= few:
        return found
    sys.stdout.write(f"points of {name} by VIRTYARD_SEED={SEED}\n")
    picked = sorted(random.Random(f"{SEED}{name}").sample(range(len(found)), few))
    return [found[index] for index in picked]


def at(point: tuple[str, int], act: Callable[[], None]) -> Callable[[str], None]:
    """Return a hook that acts at a point, once."""
    left = point[1]

    def hook(transition: str) -> None:
        nonlocal left
        if transition == point[0]:
            left -= 1
            if left == 0:
                act()

    return hook


async def ended(site: Site, name: str) -> tuple[operations_pb2.Operation, operation_pb2.OperationMetadata]:
    """Wait for the end of an operation; return it with its metadata."""
    operation = await site.wait(name)
    return operation, operation_pb2.OperationMetadata.FromString(operation.metadata.value)


@asynccontextmanager
async def opened(folder: Path, example: Example) -> AsyncIterator[Stage]:
    """Yield a stage on which the example can be asked."""
    stage = Stage(folder, example)
    try:
        await stage.ready()
        yield stage
    finally:
        await stage.close()
