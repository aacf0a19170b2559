"""The floor of a participant: below it every operation has ended, so what is remembered of them is forgotten (P18).

A key below the floor is refused for ever, and that comes first: the floor is raised in memory before it is written, and
written in the commit that begins to forget. So a key is either remembered or refused, whenever the process dies.

What is forgotten leaves free pages, which the next entries fill. Once no entries come for a while, a database that was
opened to shrink gives them back: its file is as large as what is remembered, not as the busiest moment of its life.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.database import Database, Transaction

__all__ = ["FLOOR_BATCH", "FloorKeeper", "Floors"]

FLOOR_BATCH = 500
"""At most so many rows of a table are forgotten in one commit."""
_STEP = 256
_INTERVAL = 30.0
_PAUSE = 0.05
_GIVE_BACK = "PRAGMA incremental_vacuum(1)"
_SHRINKS = 2
"""What `PRAGMA auto_vacuum` says of a database that was opened to shrink when it was new."""
_MOST_PAGES = 1000
"""At most so many pages are given back in one commit."""
_READ = "SELECT settled_below, tokens_below FROM floor"
_RAISE = "UPDATE floor SET settled_below = max(settled_below, ?), tokens_below = max(tokens_below, ?)"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """What need not be remembered any more."""

    settled_below: int = 0
    """The lowest number of an operation that is open."""
    tokens_below: int = 0
    """The lowest fencing token that an open operation can have."""

    def joined(self, other: Floors) -> Floors:
        """Return the higher of both, each by itself: a floor never falls."""
        return Floors(
            settled_below=max(self.settled_below, other.settled_below),
            tokens_below=max(self.tokens_below, other.tokens_below),
        )


Forget = Callable[[Transaction, Floors], bool]
"""Deletes at most a batch of what is below the floors; returns whether there may be more."""


class FloorKeeper:
    """Keeps the floor of one database, in its table `floor`, and forgets what is below, a little with each commit."""

    def __init__(self, database: Database, forget: Forget, transition: str, *, step: int = _STEP) -> None:
        """Use `open`.

        Args:
            database: an open database that has a table `floor`.
            forget: deletes what is below.
            transition: the name of the durable transition.
            step: by how many operations an offered floor must exceed the written one to be written at once.
        """
        self._database = database
        self._forget = forget
        self._transition = transition
        self._step = step
        self._refused = Floors()
        self._written = Floors()
        self._offered = Floors()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = False

    async def open(self) -> None:
        """Read the floor that is durable."""
        settled_below, tokens_below = await self._database.read(lambda sql: sql.execute(_READ).fetchone())
        self._refused = self._written = Floors(settled_below=settled_below, tokens_below=tokens_below)

    @property
    def settled_below(self) -> int:
        """Return the number of the operation below which every key is refused."""
        return self._refused.settled_below

    def offer(self, floors: Floors) -> None:
        """Take a floor that came with a message; it is written by `run`, at once if it is far above the last one."""
        self._offered = self._offered.joined(floors)
        ahead = self._offered.settled_below - self._written.settled_below
        if ahead >= self._step:
            self._wake.set()
        elif ahead > 0 and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._look)

    async def raise_to(self, floors: Floors, *, quiet: bool = False) -> None:
        """Make a floor durable and forget a batch of what is below it; `run` forgets the rest.

        Args:
            floors: what was offered.
            quiet: whether little comes in, so that free pages are not needed again at once.

        Raises:
            Unavailable: the commit failed; what is below the floor is refused all the same.
        """
        self._refused = self._refused.joined(floors)
        reached = self._refused
        if reached == self._written:
            return

        def write(transaction: Transaction) -> bool:
            transaction.execute(_RAISE, (reached.settled_below, reached.tokens_below))
            transaction.transition(self._transition)
            more = self._forget(transaction, reached)
            if quiet and not more:
                _give_back(transaction)
            return more

        if await self._database.write(write):
            self._wake.set()
        else:
            self._written = self._written.joined(reached)

    async def run(self) -> None:
        """Write what is offered, until cancelled; nothing is done while nothing is offered."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._cancel_timer()
                try:
                    await self.raise_to(self._offered, quiet=self._quiet)
                    self._quiet = self._quiet and self._wake.is_set()
                    await asyncio.sleep(_PAUSE)
                except VirtyardError as error:
                    _log.warning("old entries of %s could not be forgotten: %s", self._database.path.name, error)
                    self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._look)
        finally:
            self._cancel_timer()

    def _look(self) -> None:
        self._quiet = True
        self._wake.set()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _give_back(transaction: Transaction) -> None:
    """Give free pages back, one with each statement: of a pragma the sqlite3 module takes but the first step."""
    (mode,) = transaction.execute("PRAGMA auto_vacuum").fetchone()
    if mode != _SHRINKS:
        return
    (free,) = transaction.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(free, _MOST_PAGES)):
        transaction.execute(_GIVE_BACK)
