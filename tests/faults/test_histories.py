"""Histories of a counter that many clients raise under locks, while the lock service is killed and stands still.

Each reads, works and writes. Some work for longer than anybody waits: they are taken for dead, their locks are given to
others, and they write when they wake up. The counter takes the tokens of those who come, as every participant does
(P2). A checker over what was recorded finds an update that was lost; without tokens it does.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from tests.integration.locks.lock_server import FarServer
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.effects import check_tokens
from virtyard.kernel.errors import DeadlineExceeded, StaleEpoch, StaleToken, Unavailable
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import LockSet, LockWish, Release
from virtyard.locks.proxy import LocksProxy
from virtyard.processes.site import credentials_of
from virtyard.runtime.channel import open_channel

CLIENTS, ROUNDS, STALLS = 6, 5, 3
LONG = 60.0 * float(os.environ.get("MINUTES", "10")) if os.environ.get("VIRTYARD_TORTURE") else 0.0
"""Seconds that histories are made for; one of each kind if 0."""


@dataclass
class Counter:
    """The protected object, with what a participant keeps of tokens."""

    name: str
    checked: bool
    value: int = 0
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    history: list[tuple[str, int, int]] = field(default_factory=list)
    written: asyncio.Event = field(default_factory=asyncio.Event)

    def come(self, token: int) -> None:
        """Take note of a token; refuse one that was overtaken.

        Raises:
            StaleToken: it was.
        """
        if self.checked:
            lock = lock_pb2.LockToken(object=self.name, mode=lock_pb2.LOCK_MODE_X, fencing_token=token)
            check_tokens([lock], self.seen)
        key = (self.name, int(LockMode.X))
        self.seen[key] = max(token, self.seen.get(key, 0))

    def read(self, token: int) -> int:
        """Return the value."""
        self.come(token)
        return self.value

    def write(self, who: str, token: int, before: int) -> None:
        """Raise what was read by one."""
        self.come(token)
        self.value = before + 1
        self.history.append((who, before, self.value))
        self.written.set()

    def lost(self) -> list[tuple[str, int, int]]:
        """Return every acknowledged write that the next one did not build on: each must begin where one ended."""
        return [
            write
            for write, after in zip(self.history, [*self.history[1:], ("", self.value, 0)], strict=True)
            if after[1] != write[2]
        ]


class Clients:
    """Tasks that raise a counter, and one that takes the locks of those who stall."""

    def __init__(self, proxy: LocksProxy, counter: Counter, seed: int) -> None:
        """Raise this counter."""
        self.proxy = proxy
        self.counter = counter
        self.random = random.Random(seed)
        self.stalls = 0
        self.refused = 0

    async def run(self) -> None:
        """Let all of them do their rounds."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(self.work(number))

    async def work(self, number: int) -> None:
        """Raise the counter some times."""
        for turn in range(ROUNDS):
            owner = f"{self.counter.name}/{number}.{turn}"
            wish = LockWish(object=self.counter.name, mode=LockMode.X)
            grant = await self.proxy.acquire(LockSet(owner=owner, epoch=1, locks=(wish,)))
            token = grant.locks[0].token
            # The last ones do not stall: somebody must come after who does.
            stalls = number < CLIENTS - 1 and turn < ROUNDS - 1 and self.stalls < STALLS and self.random.random() < 0.4
            self.stalls += stalls
            before = self.counter.read(token)
            if stalls:
                await self.stall(owner)
            try:
                self.counter.write(owner, token, before)
            except StaleToken:
                self.refused += 1
            await self.release(owner, 1)

    async def stall(self, owner: str) -> None:
        """Be taken for dead: somebody with a higher epoch closes the owner, and others go on with its locks."""
        self.counter.written.clear()
        await self.release(owner, 2)
        await self.counter.written.wait()

    async def release(self, owner: str, epoch: int) -> None:
        """Release as the due worker does: until it is known to be done."""
        while True:
            try:
                await self.proxy.release([Release(owner=owner, epoch=epoch)])
            except (Unavailable, DeadlineExceeded):
                continue
            except StaleEpoch:
                assert epoch == 1
            return


@asynccontextmanager
async def faults(server: FarServer, seen: list[str]) -> AsyncIterator[None]:
    """Kill the service and let it stand still, again and again until the block ends."""
    enough = asyncio.Event()

    async def disturb() -> None:
        while not enough.is_set():
            await server.restart()
            seen.append("killed")
            os.kill(server.pid, signal.SIGSTOP)
            try:
                # It stands still for as long as anybody waits for an answer.
                await server.stub.ListLocks(lock_service_pb2.ListLocksRequest(), timeout=0.5)
            except grpc.RpcError:
                seen.append("stood still")
            finally:
                os.kill(server.pid, signal.SIGCONT)

    disturbing = asyncio.create_task(disturb())
    try:
        yield
    finally:
        enough.set()
        await disturbing


@pytest.mark.slow
@pytest.mark.timeout(180 + 2 * LONG)
async def test_no_update_is_lost_and_without_tokens_one_is(tmp_path: Path) -> None:
    """Through kills and standstills of the lock service, and stalls of those who hold locks."""
    server = FarServer(tmp_path)
    await server.start()
    seen: list[str] = []
    channel = open_channel(server._address, credentials_of(tmp_path / "pki", "service/jobs"), "service/locks")
    end, seed = time.monotonic() + LONG, 0
    try:
        async with channel, LocksProxy(channel, first_pause=0.02, longest_pause=0.2, release_timeout=2.0) as proxy:
            while not seed or time.monotonic() < end:
                seed += 1
                checked, unchecked = Counter(f"names/c{seed}", True), Counter(f"names/u{seed}", False)
                careful, careless = Clients(proxy, checked, seed), Clients(proxy, unchecked, seed)
                async with faults(server, seen):
                    await careful.run()
                await careless.run()
                assert careful.stalls == careless.stalls == STALLS
                assert checked.lost() == []
                assert checked.value == len(checked.history) == CLIENTS * ROUNDS - careful.refused
                assert careful.refused == STALLS
                assert unchecked.lost()
                assert unchecked.value < len(unchecked.history) == CLIENTS * ROUNDS
            assert {"killed", "stood still"} <= set(seen)
            assert await proxy.locks() == []
    finally:
        await server.close()
