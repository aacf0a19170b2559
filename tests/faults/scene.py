"""A scene of real processes on which stories are told: from a moment on, transitions are noted, or one of them kills.

What comes before that moment brings the site to where a story begins, as with a host that stands still inside a step.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.asking import LIMIT, ask, list_jobs, list_locks
from tests.acceptance.site import Site
from tests.faults.killing import ask_until_answered
from tests.integration.crash.stage import ordinals
from virtyard.api.jobs.v1 import job_pb2, lock_control_service_pb2_grpc
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.story import Story

_STANDS = "agent.A1"
"""Where a host is made to stand still: its intent is durable, and nobody has heard of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A moment at which a process dies."""

    victims: Sequence[str]
    """The processes of which one has it: a service, or the agents, as another server may be chosen each time."""
    name: str
    """The transition."""
    ordinal: int
    """Which one of that name in that process, since the story's moment."""


class Scene:
    """One telling of a story."""

    def __init__(self, site: Site, client: Client, servers: Sequence[str], point: Point | None = None) -> None:
        """Tell it on a site; a process kills itself at the point, if one is given."""
        self.site = site
        self.client = client
        self.point = point
        self.dead: list[str] = []
        """The processes that have killed themselves."""
        self._over: dict[str, int] = {}
        self._servers = servers
        self._names = (*site.control_plane, *servers)
        self._seen: dict[str, int] = {}
        self._stands = ""

    @property
    def locks(self) -> Any:
        """The stub of LockControlService."""
        channel = self.client.channel("virtyard.api.jobs.v1.LockControlService")
        return lock_control_service_pb2_grpc.LockControlServiceStub(channel)

    # --- before the moment

    async def begin_and_stand(self, request: Any) -> str:
        """Ask for an operation, and return its name once a host stands still inside its first effect."""
        orders = {name: self.site.moments / f"{name}.at" for name in self._servers}
        for order in orders.values():
            order.write_text(f"stop {_STANDS}#1")
        operation = await ask(self.client, request)
        async with asyncio.timeout(LIMIT):
            while not (standing := [name for name in orders if self.site.is_stopped(name)]):
                await asyncio.sleep(0.01)
        (self._stands,) = standing
        for order in orders.values():
            order.unlink(missing_ok=True)
        return str(operation.name)

    def begin(self) -> None:
        """Be at the story's moment: from now on transitions count."""
        self._seen = self._sizes()
        for victim in self.point.victims if self.point is not None else ():
            assert self.point is not None
            (self.site.moments / f"{victim}.at").write_text(f"kill {self.point.name}#{self.point.ordinal}")

    # --- after it

    def go_on(self) -> None:
        """Let the host go on that stands still."""
        self.site.resume(self._stands)

    def kill_standing(self) -> None:
        """Kill the host that stands still; it is started again once the story has begun."""
        self.site.kill(self._stands)

    def told(self, transition: str) -> int:
        """Return how often a transition has come since the moment."""
        return sum(self._lines(name).count(transition) for name in self._names)

    async def wait_told(self, transition: str, count: int = 1) -> None:
        """Wait until a transition has come so often since the moment."""
        async with asyncio.timeout(LIMIT):
            while self.told(transition) < count:
                await asyncio.sleep(0.01)

    async def submit(self, request: Any) -> str:
        """Ask for an operation, however often that cannot be answered, and return its name."""
        return str((await ask_until_answered(self.client, request)).name)

    async def insist(self, call: Callable[[], Awaitable[Any]]) -> bool:
        """Call until there is an answer; tell whether it was a yes: what has happened already is refused."""
        async with asyncio.timeout(LIMIT):
            while True:
                try:
                    await call()
                except ClientError as error:
                    if not error.unreachable:
                        return False
                    await asyncio.sleep(0.05)
                else:
                    return True

    async def ended(self, name: str, state: int) -> Story:
        """Wait for the end of an operation, which must be this one."""
        story = await self.client.wait(name, timeout=LIMIT)
        assert story.state == state, (self.point, story.title, story.state, story.error and story.error.message)
        return story

    async def stuck_job(self, name: str) -> str:
        """Return the job of an operation whose undo is refused, once there is one."""
        async with asyncio.timeout(LIMIT):
            while True:
                jobs = await _jobs(self.client, name)
                if found := [job.name for job in jobs if job.state == job_pb2.JOB_STATE_ROLLBACK_FAILED]:
                    return str(found[0])
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Be at the story's end, once all locks are free: what is done from now on only puts the site back."""
        await self.wait_unlocked()
        self._over = self._over or self._sizes()

    async def wait_unlocked(self) -> None:
        """Wait until nothing is locked, whoever may be starting meanwhile."""
        async with asyncio.timeout(LIMIT):
            while not await self._is_unlocked():
                await asyncio.sleep(0.02)

    async def _is_unlocked(self) -> bool:
        try:
            return not await list_locks(self.client)
        except ClientError as error:
            if not error.unreachable:
                raise
            return False

    # --- of the test

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Start again whoever dies while the block runs, and leave nothing behind that would kill or stop."""
        over = threading.Event()
        watch = threading.Thread(target=self._start_again, args=(over,))
        watch.start()
        try:
            yield
        finally:
            for name in self._names:
                (self.site.moments / f"{name}.at").unlink(missing_ok=True)
                if self.site.is_alive(name) and self.site.is_stopped(name):
                    self.site.resume(name)
            self.site.fail_file.unlink(missing_ok=True)
            over.set()
            watch.join()
            for name in set(self.dead):
                self.site.wait_serving(name)

    def _start_again(self, over: threading.Event) -> None:
        while True:
            last = over.is_set()
            for name in self._names:
                # Before its moment nobody dies but by the story's own hand.
                if self._seen and not self.site.is_alive(name):
                    self.dead.append(name)
                    # It may be told to die before it serves.
                    self.site.start(name, wait=False)
            if last:
                return
            over.wait(0.01)

    def points(self, beside: Callable[[str], object]) -> list[Point]:
        """Return the transitions since the moment, without those that come beside any story."""
        found: dict[tuple[str, int], Point] = {}
        for name in self._names:
            victims = tuple(self._servers) if name in self._servers else (name,)
            for transition, ordinal in ordinals(self._lines(name)):
                if not beside(transition):
                    found[transition, ordinal] = Point(victims=victims, name=transition, ordinal=ordinal)
        return [found[key] for key in sorted(found)]

    def _sizes(self) -> dict[str, int]:
        logs = {name: self._log(name) for name in self._names}
        return {name: log.stat().st_size if log.exists() else 0 for name, log in logs.items()}

    def _lines(self, name: str) -> list[str]:
        if not (log := self._log(name)).exists():
            return []
        with log.open() as file:
            file.seek(begin := self._seen.get(name, 0))
            return file.read(self._over[name] - begin if self._over else -1).split()

    def _log(self, name: str) -> Path:
        return self.site.moments / f"{name}.log"


async def _jobs(client: Client, operation: str) -> Sequence[Any]:
    """Return an operation's jobs; none while nobody answers."""
    try:
        return await list_jobs(client, operation)
    except ClientError as error:
        if not error.unreachable:
            raise
        return ()
