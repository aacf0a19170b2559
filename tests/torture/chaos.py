"""The faults of the torture, and how often each hit something that was under way.

Each fault first stops its victim for a moment and looks at the databases: whether a step was running, a lock was held,
and whether the victim had a transaction open. A fault that hits nothing proves nothing.
"""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path

from tests.acceptance.site import Site
from tests.faults.killing import steps_in_flight
from tests.torture.cuts import Wire
from tools import processes

HITS = ("a running step", "a held lock", "an open transaction")
WANTED = 100
"""A run in which a fault hit one of these less often says that it is void."""
SILENCE_SECONDS = 3
"""After how long a silent server counts as offline here; a stop lasts longer than that."""
_WRITER_BYTE = 120
"""The byte of a database's index that whoever writes has locked, as SQLite lays it out."""
_TINY = 4096
"""While a disk is full, no file grows beyond so many bytes."""
_POINTS: Mapping[str, tuple[str, ...]] = {
    "jobs": ("jobs.C1", "jobs.C2", "jobs.Ck", "jobs.Ct", "jobs.Cf", "jobs.Cu", "jobs.settled", "jobs.abort"),
    "locks": ("locks.L0", "locks.L1", "locks.L2"),
    "inventory": ("inventory.I", "inventory.settled", "inventory.events"),
    "agent": ("agent.A1", "agent.acted", "agent.A2", "agent.settled"),
}


class Chaos:
    """Does harm to a site at random, and undoes it."""

    def __init__(self, site: Site, wires: Mapping[str, Wire], rng: random.Random) -> None:
        """Choose by `rng`; agents are reached through `wires`."""
        self._site = site
        self._wires = wires
        self._rng = rng
        self.count: Counter[str] = Counter()
        """How often each fault came."""
        self.hits: dict[str, Counter[str]] = defaultdict(Counter)
        """By fault, how often it hit what."""
        self.kinds: Mapping[str, Callable[[], Awaitable[None]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "cut": self._cut,
            "full disk": self._fill,
            "failing step": self._fail,
        }

    async def run(self, kind: str, stop: asyncio.Event) -> None:
        """Let one kind of fault come again and again until told to stop."""
        while not stop.is_set():
            await asyncio.sleep(self._rng.random() * 1.5)
            await self.kinds[kind]()

    def _any(self) -> str:
        # As often one of the services as one of the agents.
        return self._rng.choice(self._rng.choice([list(self._site.control_plane), list(self._wires)]))

    async def _look(self, kind: str, victim: str, *, stay: bool = False) -> None:
        """Stop a victim, for a moment unless it is to stay so, and note what a fault hits now."""
        # In a thread, as the clients go on meanwhile.
        await asyncio.to_thread(self._look_now, kind, self._site.record(victim), stay=stay)

    def _look_now(self, kind: str, record: processes.Record, *, stay: bool) -> None:
        victim = record.name
        deadline = time.monotonic() + 0.2 * self._rng.randrange(2)
        while not _is_writing(self._site, victim) and time.monotonic() < deadline:
            # Every other fault waits a little for a transaction, as these are short.
            time.sleep(0.0005)
        processes.send(record, signal.SIGSTOP)
        self.count[kind] += 1
        try:
            steps, held = steps_in_flight(self._site), _count(self._site, "locks.db", "lock WHERE token > 0")
            self.hits[kind][HITS[0]] += bool(steps)
            self.hits[kind][HITS[1]] += bool(held)
            self.hits[kind][HITS[2]] += _is_writing(self._site, victim)
        except sqlite3.Error:
            self.count[f"{kind}, not looked at"] += 1
        finally:
            if not stay:
                processes.send(record, signal.SIGCONT)

    async def _kill(self) -> None:
        """Kill at any time, or where a process stands still at a transition that nobody has heard of."""
        victim = self._any()
        if not self._site.is_alive(victim):
            return
        if self._rng.random() < 0.5 and not await self._stands_still(victim):
            return
        await self._look("kill", victim, stay=True)
        processes.send(self._site.record(victim), signal.SIGKILL)

    async def _stands_still(self, victim: str) -> bool:
        """Have a process stand still at a transition; False if it did not come to it."""
        names = _POINTS["agent" if victim in self._wires else victim]
        order = self._site.moments / f"{victim}.at"
        order.write_text(f"stop {self._rng.choice(names)}#{self._rng.randrange(1, 4)}")
        for _ in range(60):
            if not order.exists():
                self.count["kills at a transition"] += 1
                return self._site.is_alive(victim)
            await asyncio.sleep(0.05)
        order.unlink(missing_ok=True)
        return False

    async def _stop(self) -> None:
        victim = self._any()
        if self._site.is_alive(victim):
            await self._look("stop", victim)
            record = self._site.record(victim)
            processes.send(record, signal.SIGSTOP)
            await asyncio.sleep(self._rng.choice((0.1, 0.5, SILENCE_SECONDS * 2)))
            processes.send(record, signal.SIGCONT)

    async def _cut(self) -> None:
        victim = self._rng.choice(list(self._wires))
        if self._site.is_alive(victim):
            await self._look("cut", victim)
            self._wires[victim].cut(self._rng.choice((0.0, 0.5, SILENCE_SECONDS * 2)))
            await asyncio.sleep(0.5)

    async def _fill(self) -> None:
        victim = self._any()
        if self._site.is_alive(victim):
            await self._look("full disk", victim)
            pid = self._site.record(victim).pid
            try:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (_TINY, resource.RLIM_INFINITY))
                await asyncio.sleep(self._rng.random() * 0.5)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            except ProcessLookupError:
                return

    async def _fail(self) -> None:
        lines = [f"{self._rng.randrange(1, 6)}/{self._rng.randrange(1, 4)} {when}".strip() for when in ("", "acted")]
        lines += [f"{self._rng.randrange(1, 5)}/1 undo"] if self._rng.random() < 0.1 else []
        await self._look("failing step", "jobs")
        self._site.fail_file.write_text("\n".join(self._rng.sample(lines, 1)))
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


def _is_writing(site: Site, victim: str) -> bool:
    """Tell whether a process has a transaction open: it holds the lock of writers, a byte of its database's index."""
    try:
        index = next((site.folder / "state" / victim).glob("*.db-shm")).stat()
    except (StopIteration, FileNotFoundError):
        return False
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[3] == "WRITE" and fields[5].endswith(f":{index.st_ino}") and int(fields[6]) <= _WRITER_BYTE:
            return fields[7] == "EOF" or int(fields[7]) >= _WRITER_BYTE
    return False
