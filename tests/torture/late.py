"""Messages that come late: a scheduler that was away sends hosts what its operation was to do before it lost its locks.

Such an effect must be refused by its fencing token alone (P2): its operation is still remembered, its key was never
used, and another operation has had the object since. So it is one that was done once, sent under a key of its own.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc

from tests.acceptance.site import Site
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.kernel.effects import check_tokens
from virtyard.kernel.errors import StaleToken
from virtyard.processes.site import credentials_of
from virtyard.runtime.channel import open_channel

_PAUSE_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_RECENT = 200
_DONE = """
    SELECT effect FROM ledger WHERE phase = 1 AND state = 3 AND operation >= (SELECT settled_below FROM floor)
    ORDER BY accepted DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """What comes late at a host."""

    hello: int
    """The number of the host's last handshake, so that the message is looked at."""
    effect: participant.Effect
    """An effect whose lock was overtaken."""


class Latecomer:
    """Sends late effects."""

    def __init__(self, site: Site, servers: Sequence[str], rng: random.Random) -> None:
        """Send them to these hosts, chosen by `rng`."""
        self._site = site
        self._servers = servers
        self._rng = rng
        self._sent = 0
        self._credentials = credentials_of(site.folder / "pki", "service/jobs")
        self.count: Counter[str] = Counter()
        """How many were sent, and were refused because another had the object since."""
        self.wrong: list[str] = []
        """Those that were accepted."""

    async def run(self, stop: asyncio.Event) -> None:
        """Send one after another until told to stop."""
        while not stop.is_set():
            await asyncio.sleep(self._rng.random() * _PAUSE_SECONDS)
            server = self._rng.choice(self._servers)
            try:
                await self.send_one(server)
            except (sqlite3.Error, grpc.aio.AioRpcError, TimeoutError):
                self.count["late effects not answered"] += 1

    async def send_one(self, server: str) -> None:
        """Send one to a host, if its ledger has what may come late.

        Raises:
            sqlite3.Error, grpc.aio.AioRpcError, TimeoutError: the host or its ledger did not answer.
        """
        ledger = self._site.folder / "state" / server / "ledger.db"
        late = await asyncio.to_thread(find_overtaken, ledger, self._rng)
        if late is None:
            return
        self._sent += 1
        # A step that no plan has, so that the key is nobody else's.
        key = f"{late.effect.step_key.rpartition('/')[0]}/{900 + self._sent}"
        late.effect.step_key = key
        self.count["late effects sent"] += 1
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._send(server, late)
        finally:
            if await asyncio.to_thread(_has, ledger, key):
                self.wrong.append(f"{server} accepted {key}, which came after another had {late.effect.target}")

    async def _send(self, server: str, late: Late) -> None:
        request = participant.ExecuteRequest(effects=[late.effect], hello=late.hello)
        async with open_channel(self._site.addresses[server], self._credentials, f"agent/{server}") as channel:
            stream = cast(Any, participant_grpc.ParticipantServiceStub(channel)).Execute()
            await stream.write(request)
            await stream.done_writing()
            async for answer in stream:
                stale = any("was overtaken by" in report.result.error.message for report in answer.reports)
                self.count["late effects refused by their tokens"] += stale


def find_overtaken(ledger: Path, rng: random.Random) -> Late | None:
    """Return an effect that a host did and must not do again, as its ledger shows; None if there is none now."""
    with closing(sqlite3.connect(ledger, timeout=1, isolation_level=None)) as sql:
        sql.execute("BEGIN")
        seen = {(name, mode): token for name, mode, token in sql.execute("SELECT object, mode, token FROM token")}
        (hello,) = sql.execute("SELECT hello FROM floor").fetchone()
        effects = [participant.Effect.FromString(body) for (body,) in sql.execute(_DONE, (_RECENT,))]
    rng.shuffle(effects)
    for effect in effects:
        try:
            check_tokens(effect.locks, seen)
        except StaleToken:
            effect.ClearField("after")
            return Late(hello=hello, effect=effect)
    return None


def _has(ledger: Path, key: str) -> bool:
    with closing(sqlite3.connect(ledger, timeout=10)) as sql:
        return sql.execute("SELECT 1 FROM ledger WHERE step_key = ?", (key,)).fetchone() is not None
