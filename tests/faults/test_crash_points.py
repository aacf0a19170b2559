"""kill -9 at every durable transition of every operation type (R1, R2), of the process that owns it.

One run of an example lists the transitions of each process, those between an agent's effect and its ledger too. Then
there is one run for each: the process kills itself there, is started again, the operation succeeds, and the invariant
checker finds the site as it must be.

All types share one site, as making one costs more than a dozen points: each begins with the disks as they were kept.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import (
    LIMIT,
    SUCCEEDED,
    ask,
    create_pool,
    create_repository,
    list_jobs,
    run,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from tests.examples.contract import Example
from tests.faults.killing import ask_until_answered
from tests.integration.crash.stage import EXAMPLES, TORTURE, WHOLE, chosen, ordinals
from tests.invariants.check import lasting_findings
from tools import processes
from tools.points import note
from virtyard.api.inventory.v1 import inventory_service_pb2, server_pb2
from virtyard.api.operations.v1 import discover_server_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(6000 if TORTURE else 600)
SERVERS = ("s1", "s2", "s3", "s4")
BESIDE = re.compile(
    r"inventory\.(observed|guests|events|retention|archive|behind|built_in)|\w+\.(hello|floor)"
    r"|jobs\.(adopt|run_state|event_tail|archive|forget|forget_ids|stopped)"
)
"""Transitions of reports, handshakes, starts and keepers, which come when they come, whatever runs."""
SILENCE = {"VIRTYARD_INVENTORY_REPORT_INTERVAL_SECONDS": "1", "VIRTYARD_INVENTORY_SILENCE_SECONDS": "8"}
"""After how long a server is offline whose agent was ended: nobody waits for that longer than need be."""
TRIES = 3
"""How often an example is run to come to a point: children that come together may share a commit, and then do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A moment at which a process dies."""

    victims: Sequence[str]
    """The processes of which one has it: a service, or the agents, as another server may be chosen each time."""
    name: str
    """The transition."""
    ordinal: int
    """Which one of that name in that process."""


class Stage:
    """A site on which an example can be asked again and again."""

    def __init__(self, site: Site, client: Client, example: Example) -> None:
        """Use `staged`."""
        self.site = site
        self.client = client
        self.example = example
        self._agents = list(SERVERS)
        """The servers whose agents run."""
        self._kept = site.folder.parent / "kept"
        self._parts = (site.folder / "state", site.shared, site.effect_log)

    async def furnish(self) -> None:
        """Bring the site to where the example can be asked, from what an example before it has kept."""
        pool = "clustered" if self.example.clustered else "plain"
        if not (self._kept / "new").exists():
            await self.keep("new")
        if (self._kept / pool).exists():
            await self.restore(pool)
        else:
            await self.restore("new")
            for server in SERVERS:
                address = server_pb2.Server(agent_address=self.site.addresses[server])
                await run(self.client, discover_server_pb2.DiscoverServerRequest(server_id=server, server=address))
            await run(self.client, create_pool(self.site, "pool", ["s1", "s2"], clustered=self.example.clustered))
            await run(self.client, create_repository(self.site, "shared"))
            await self.keep(pool)
        for request in self.example.prepare(self.site):
            await run(self.client, request)
        if self.example.gone:
            await self._lose(self.example.gone)
        await self.keep("example")

    async def _lose(self, server: str) -> None:
        """End the agent of a server, and wait until the example is accepted, as the server is offline."""
        self.site.kill(server)
        self._agents.remove(server)
        self.site.stop("inventory")
        self.site.settings.update(SILENCE)
        try:
            self.site.start("inventory")
        finally:
            self.site.settings.clear()
        async with asyncio.timeout(LIMIT):
            while not await self._serves(accepted=True):
                await asyncio.sleep(0.1)

    async def keep(self, name: str) -> None:
        """Copy the site's disks as they are now, under a name, to come back to them."""
        await wait_unlocked(self.client)
        self._stop()
        (self._kept / name).mkdir(parents=True, exist_ok=True)
        _copy(self._parts, self._kept / name)
        await self._start()

    async def restore(self, name: str) -> None:
        """Make the site's disks what they were, and start every process on them."""
        self._stop()
        _copy([self._kept / name / part.name for part in self._parts], self.site.folder)
        await self._start()

    async def ready(self) -> None:
        """See to it that the example can be asked: as it is, after what undoes it, or on the site that was kept."""
        if await self._can_ask():
            return
        try:
            for request in (self.example.again or self.example.prepare)(self.site):
                await run(self.client, request)
        except ClientError:
            pass
        if not await self._can_ask():
            await self.restore("example")
        await wait_unlocked(self.client)

    async def _can_ask(self) -> bool:
        """Tell whether the example is accepted; a proof of death would be, but would prove nothing a second time."""
        request = self.example.request(self.site)
        asked: Any = type(request)()
        asked.CopyFrom(request)
        asked.validate_only = True
        try:
            await ask(self.client, asked)
            if self.example.gone:
                server = inventory_service_pb2.GetServerRequest(name=f"servers/{self.example.gone}")
                return not (await self.client.inventory.GetServer(server)).observed.HasField("death")
        except ClientError as error:
            if error.unreachable:
                raise
            return False
        return True

    def _stop(self) -> None:
        processes.end([self.site.record(name) for name in (*self.site.control_plane, *SERVERS)], 10.0)

    async def _start(self) -> None:
        for name in (*self.site.control_plane, *self._agents):
            self.site.start(name, wait=False)
        for name in (*self.site.control_plane, *self._agents):
            await asyncio.to_thread(self.site.wait_serving, name)
        async with asyncio.timeout(LIMIT):
            while not await self._serves():
                await asyncio.sleep(0.05)

    async def _serves(self, *, accepted: bool = False) -> bool:
        """Tell whether the services answer; with `accepted`, whether they take the example, too."""
        try:
            await wait_unlocked(self.client)
            return await self._can_ask() or not accepted
        except ClientError:
            return False

    async def points(self) -> list[Point]:
        """Run the example, and return the durable transitions of every process during it."""
        await self.ready()
        names = (*self.site.control_plane, *self._agents)
        logs = {name: self.site.moments / f"{name}.log" for name in names}
        before = {name: log.stat().st_size if log.exists() else 0 for name, log in logs.items()}
        await run(self.client, self.example.request(self.site))
        await wait_unlocked(self.client)
        found: dict[tuple[str, int], Point] = {}
        for name, log in logs.items():
            with log.open() as file:
                file.seek(before[name])
                for transition, ordinal in ordinals(file.read().split()):
                    victims = self._agents if name in SERVERS else (name,)
                    if BESIDE.fullmatch(transition) is None:
                        found[transition, ordinal] = Point(victims=victims, name=transition, ordinal=ordinal)
        return [found[key] for key in sorted(found)]

    async def run_killed(self, point: Point) -> bool:
        """Run the example while a process dies at a point and is started again; False if it was not reached."""
        orders = [self.site.moments / f"{victim}.at" for victim in point.victims]
        for order in orders:
            order.write_text(f"kill {point.name}#{point.ordinal}")
        ended = threading.Event()
        watch = asyncio.create_task(asyncio.to_thread(start_again, self.site, point.victims, ended))
        try:
            operation = await ask_until_answered(self.client, self.example.request(self.site))
            story = await self.client.wait(operation.name, timeout=LIMIT)
            assert story.state == SUCCEEDED, (point, story.error)
            found = await asyncio.to_thread(lasting_findings, self.site.folder, self.site.shared, self.site.effect_log)
            assert found == [], (point, found)
        finally:
            for order in orders:
                order.unlink(missing_ok=True)
            ended.set()
            dead = await watch
        async with asyncio.timeout(LIMIT):
            while not await self._serves():
                # One that was still on its way out at the last look.
                dead += await asyncio.to_thread(start_dead, self.site, point.victims)
                await asyncio.sleep(0.02)
        assert [job.title for job in await list_jobs(self.client, story.name)] == list(self.example.titles), point
        return bool(dead)


def start_again(site: Site, victims: Sequence[str], ended: threading.Event) -> list[str]:
    """Start again whoever has killed itself, until told that all has ended, and return who that was."""
    dead: list[str] = []
    while True:
        last = ended.is_set()
        dead += start_dead(site, victims)
        if last:
            return dead
        ended.wait(0.01)


def start_dead(site: Site, victims: Sequence[str]) -> list[str]:
    """Start again whoever is dead, and return who that was."""
    dead = [victim for victim in victims if not site.is_alive(victim)]
    for victim in dead:
        site.start(victim)
    return dead


def _copy(parts: Sequence[Path], folder: Path) -> None:
    """Make what lies in a folder under the names of these parts a copy of them, or remove what is not there."""
    for part in parts:
        copy = folder / part.name
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink(missing_ok=True)
        if part.is_dir():
            shutil.copytree(part, copy)
        elif part.exists():
            shutil.copy2(part, copy)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Run a site in which every service is a process."""
    with open_site("split", SERVERS, nursed=True) as site:
        yield site


@asynccontextmanager
async def staged(site: Site, example: Example) -> AsyncIterator[Stage]:
    """Furnish the site as the example needs it."""
    async with site.client() as client:
        stage = Stage(site, client, example)
        await stage.furnish()
        yield stage


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_it_is_done_once_wherever_a_process_is_killed(name: str, site: Site) -> None:
    """Killed at each of its durable transitions, and started again, every process takes part to the end."""
    async with staged(site, EXAMPLES[name]) as stage:
        found = await stage.points()
        points = chosen(name, found)
        missed = []
        for point in points:
            for _ in range(TRIES):
                await stage.ready()
                if await stage.run_killed(point):
                    break
            else:
                missed.append(point)
        note(name, "crash", len(points) - len(missed), len(found))
        # Results of children that come together share a commit, so the last of a name may be missing.
        assert len(missed) * 4 <= len(points) or name not in WHOLE, missed


def test_the_headline_types_are_tried_whole() -> None:
    """The types of which every point is tried are types that exist."""
    assert set(EXAMPLES) >= WHOLE
