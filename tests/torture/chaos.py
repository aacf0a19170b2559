"""The faults of the torture, and how often each hit something that was under way.

Each fault comes upon a victim that stands still, mostly with a transaction open (see `aim`), and first looks at the
databases: whether a step was running, a lock was held, and whether the victim had a transaction open. A fault that
hits nothing proves nothing.
"""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from tests.acceptance.site import Site
from tests.faults.killing import steps_in_flight
from tests.torture.aim import Aim, is_writing
from tests.torture.cuts import Wire
from tools import processes

HITS = ("a running step", "a held lock", "an open transaction")
WANTED = 100
"""A run in which a fault hit one of these less often says that it is void."""
SILENCE_SECONDS = 3
"""After how long a silent server counts as offline here; a stop lasts longer than that."""
_PAUSE_SECONDS = 2.0
"""The longest time between two faults of a kind."""
_TINY = 4096
"""While a disk is full, no file grows beyond so many bytes."""


class Chaos:
    """Does harm to a site at random, and undoes it."""

    def __init__(
        self, site: Site, wires: Mapping[str, Wire], lines: Mapping[tuple[str, str], Wire], rng: random.Random
    ) -> None:
        """Choose by `rng`; agents are reached through `wires`, and services reach each other through `lines`."""
        self._site = site
        self._wires = wires
        self._lines = lines
        self._rng = rng
        self._taken: set[str] = set()
        self.aim = Aim(site, rng)
        self.killed: set[processes.Record] = set()
        """The processes that were killed."""
        self.filled: set[processes.Record] = set()
        """The processes whose disk was full."""
        self.count: Counter[str] = Counter()
        """How often each fault came."""
        self.hits: dict[str, Counter[str]] = defaultdict(Counter)
        """By fault, how often it hit what."""
        self.kinds: Mapping[str, Callable[[processes.Record], Awaitable[None]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "cut": self._cut,
            "cut between services": self._cut_between,
            "full disk": self._fill,
            "failing step": self._fail,
        }

    async def run(self, kind: str, stop: asyncio.Event) -> None:
        """Let one kind of fault come again and again until told to stop."""
        while not stop.is_set():
            await asyncio.sleep(self._rng.random() * _PAUSE_SECONDS)
            async with self._standing(kind) as victim:
                if victim is not None:
                    await self.kinds[kind](victim)

    def _choose(self, kind: str) -> str:
        if kind == "failing step":
            return "jobs"
        if kind == "cut between services":
            return self._rng.choice(list(self._site.control_plane))
        agents = list(self._wires)
        # As often one of the services as one of the agents.
        return self._rng.choice(agents if kind == "cut" else self._rng.choice([list(self._site.control_plane), agents]))

    @asynccontextmanager
    async def _standing(self, kind: str) -> AsyncIterator[processes.Record | None]:
        """Have a victim stand still, note what a fault hits now, and let it go on afterwards; None if there is none."""
        name = self._choose(kind)
        record = self._site.record(name)
        if name in self._taken or not processes.is_alive(record):
            yield None
            return
        self._taken.add(name)
        try:
            if await self.aim.stand_still(record):
                # In a thread, as the clients go on meanwhile.
                await asyncio.to_thread(self._look, kind, name)
                yield record
            else:
                yield None
        finally:
            processes.send(record, signal.SIGCONT)
            self._taken.discard(name)

    def _look(self, kind: str, victim: str) -> None:
        self.count[kind] += 1
        try:
            self.hits[kind][HITS[0]] += bool(steps_in_flight(self._site))
            self.hits[kind][HITS[1]] += bool(_count(self._site, "locks.db", "lock WHERE token > 0"))
            self.hits[kind][HITS[2]] += is_writing(self._site, victim)
        except sqlite3.Error:
            self.count[f"{kind}, not looked at"] += 1

    async def _kill(self, victim: processes.Record) -> None:
        self.killed.add(victim)
        processes.send(victim, signal.SIGKILL)

    async def _stop(self, victim: processes.Record) -> None:
        await asyncio.sleep(self._rng.choice((0.1, 0.1, 0.5, 0.5, SILENCE_SECONDS * 2)))

    async def _cut(self, victim: processes.Record) -> None:
        self._wires[victim.name].cut(self._rng.choice((0.0, 0.0, 0.5, 0.5, SILENCE_SECONDS * 2)))

    async def _cut_between(self, victim: processes.Record) -> None:
        line = self._rng.choice([ends for ends in self._lines if victim.name in ends])
        self._lines[line].cut(self._rng.choice((0.0, 0.0, 0.5, 0.5, SILENCE_SECONDS * 2)))

    async def _fill(self, victim: processes.Record) -> None:
        self.filled.add(victim)
        with suppress(ProcessLookupError):
            resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (_TINY, resource.RLIM_INFINITY))
            processes.send(victim, signal.SIGCONT)
            await asyncio.sleep(self._rng.random() * 0.5)
            resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    async def _fail(self, victim: processes.Record) -> None:
        lines = [f"{self._rng.randrange(1, 6)}/{self._rng.randrange(1, 4)} {when}".strip() for when in ("", "acted")]
        lines += [f"{self._rng.randrange(1, 5)}/1 undo"] if self._rng.random() < 0.1 else []
        self._site.fail_file.write_text("\n".join(self._rng.sample(lines, 1)))
        processes.send(victim, signal.SIGCONT)
        await asyncio.sleep(self._rng.random())
        self._site.fail_file.unlink(missing_ok=True)

    def void(self) -> list[str]:
        """Return what was not hit often enough for the run to say anything."""
        return [
            f"{kind} hit {what} {self.hits[kind][what]} times"
            for kind in self.kinds
            for what in HITS
            if self.hits[kind][what] < WANTED
        ]


def _database(site: Site, name: str) -> Path:
    (path,) = (site.folder / "state").glob(f"**/{name}")
    return path


def _count(site: Site, name: str, what: str) -> int:
    with closing(sqlite3.connect(_database(site, name), timeout=1)) as sql:
        (found,) = sql.execute(f"SELECT count(*) FROM {what}").fetchone()
        return int(found)
