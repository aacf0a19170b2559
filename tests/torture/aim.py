"""Aiming of faults: a victim is made to stand still with a transaction open, or right behind one nobody has heard of.

A process obeys `moments/NAME.at` at its durable transitions (see `processes/faults.py`). With `obedience` it also
obeys `moments/NAME.open`: it stands still before its next COMMIT. Whoever removes such a file has decided, so that no
process stands still for somebody who has given up waiting.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.acceptance.site import Site
from tools import processes

_WAIT_SECONDS = 2.0
_POLL = 0.01
_WRITER_BYTE = 120
"""The byte of a database's index that whoever writes has locked, as SQLite lays it out."""
_POINTS: Mapping[str, tuple[str, ...]] = {
    "jobs": ("jobs.C1", "jobs.C2", "jobs.Ck", "jobs.Ct", "jobs.Cf", "jobs.Cu", "jobs.settled", "jobs.abort"),
    "locks": ("locks.L0", "locks.L1", "locks.L2"),
    "inventory": ("inventory.I", "inventory.settled", "inventory.events"),
    "agent": ("agent.A1", "agent.acted", "agent.A2", "agent.settled"),
}
_WAYS = ("open",) * 3 + ("at", "")
"""How a victim is chosen a moment: mostly with a transaction open, else at a transition, else whatever it does."""
_WAYS_OF_AGENTS = ("open",) * 5 + ("at",)


class Aim:
    """Has processes of a site stand still."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        """Choose moments by `rng`."""
        self._site = site
        self._rng = rng
        self.count: Counter[str] = Counter()
        """How often each kind of moment was asked for, and came."""

    async def stand_still(self, record: processes.Record) -> bool:
        """Make a process stand still, at a moment that is worth it if one comes; False if it is gone."""
        # An agent writes less often than a service, so that fewer of its moments come.
        way = self._rng.choice(_WAYS if record.name in _POINTS else _WAYS_OF_AGENTS)
        came = await self._asked(record, way) if way else False
        if way:
            self.count[f"{way}: {'came' if came else 'did not come'}"] += 1
        if not came:
            processes.send(record, signal.SIGSTOP)
        deadline = time.monotonic() + _WAIT_SECONDS
        while processes.is_alive(record) and time.monotonic() < deadline:
            if is_stopped(record):
                return True
            await asyncio.sleep(_POLL)
        return False

    async def _asked(self, record: processes.Record, way: str) -> bool:
        """Ask for a moment, and tell whether it came."""
        order = self._site.moments / f"{record.name}.{way}"
        names = _POINTS.get(record.name, _POINTS["agent"])
        aside = order.with_suffix(".new")
        aside.write_text(f"stop {self._rng.choice(names)}#{self._rng.randrange(1, 4)}")
        aside.replace(order)
        deadline = time.monotonic() + _WAIT_SECONDS
        while order.exists() and processes.is_alive(record) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL)
        try:
            order.unlink()
        except FileNotFoundError:
            return True
        return False


def is_stopped(record: processes.Record) -> bool:
    """Tell whether a process stands still; one that is gone does not."""
    try:
        fields = Path(f"/proc/{record.pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] == "T"


def is_writing(site: Site, victim: str) -> bool:
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
