"""A lock service behind a real socket and mutual TLS that a test stops, kills and starts again, with its client."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import sys
from asyncio.subprocess import Process
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Protocol

import grpc.aio

from tests.fakes.clock import FakeClock
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub
from virtyard.locks.main import open_locks
from virtyard.processes.faults import KILL
from virtyard.processes.site import credentials_of, prepare_authority
from virtyard.runtime.channel import open_channel
from virtyard.runtime.server import serve

_SERVE = "import sys; from virtyard.processes.serve import main; sys.exit(main(sys.argv[1:]))"
_START_SECONDS = 50.0


class LockServer(Protocol):
    """What a history needs of a lock service."""

    stub: LockServiceStub
    killable: bool
    """True where `restart` is a kill -9, and the service can be made to die by itself."""

    async def start(self) -> None:
        """Start it, and connect."""
        ...

    async def restart(self, kill_at: str = "") -> None:
        """End it, start it again and connect; with `kill_at` it kills itself at that transition."""
        ...

    async def revive(self) -> None:
        """Start it again and connect if it has died."""
        ...

    def fail_next_commit(self, *, durable: bool) -> None:
        """Have the next commit fail, after or before it was made."""
        ...

    async def restore(self) -> None:
        """End it, and start it again with a database that was put back and is just as it was."""
        ...

    async def close(self) -> None:
        """End it for good."""
        ...


def mark_restored(folder: Path) -> None:
    """Mark a database as put back, without another life: its tokens stay, so that each can be told from a new one."""
    (path,) = folder.rglob("locks.db")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT OR REPLACE INTO restored (one, incarnation) VALUES (1, 1)")


class NearServer:
    """The service in this process, so that tests can plant bugs in it; a restart is an orderly one."""

    killable = False

    def __init__(self, folder: Path) -> None:
        """Keep its state, and the authority of its certificates, in a folder."""
        self._folder = folder
        self._stack = AsyncExitStack()
        self._failing: list[bool] = []
        prepare_authority(folder / "pki")

    async def start(self) -> None:
        """Start it, and connect."""
        pki = self._folder / "pki"
        self._stack = AsyncExitStack()
        locks = await self._stack.enter_async_context(
            open_locks(self._folder / "state", FakeClock(), place_interval=0.0, commit_hook=self._commit)
        )
        server = await self._stack.enter_async_context(
            serve(locks.services, credentials=credentials_of(pki, "service/locks"), feeds=[locks.feed], grace=0.2)
        )
        channel = open_channel(server.address, credentials_of(pki, "service/jobs"), "service/locks")
        self._channel = await self._stack.enter_async_context(channel)
        self.stub = LockServiceStub(self._channel)

    async def restart(self, kill_at: str = "") -> None:
        """Stop it in order and start it again."""
        assert not kill_at
        await self.close()
        await self.start()

    async def revive(self) -> None:
        """Wait until it is connected; it lives as long as the test."""
        async with asyncio.timeout(_START_SECONDS):
            await self._channel.channel_ready()

    def fail_next_commit(self, *, durable: bool) -> None:
        """Have the next commit fail, after or before it was made."""
        self._failing = [durable]

    async def restore(self) -> None:
        """Stop it in order, mark its database as put back, and start it again."""
        await self.close()
        mark_restored(self._folder)
        await self.start()

    async def close(self) -> None:
        """Stop it."""
        self._failing.clear()
        await self._stack.aclose()

    def _commit(self, connection: sqlite3.Connection) -> None:
        if not self._failing:
            connection.execute("COMMIT")
            return
        if self._failing.pop():
            connection.execute("COMMIT")
        raise sqlite3.OperationalError("disk I/O error")


class FarServer:
    """`virtyard serve locks`, a process of its own; a restart is a kill -9."""

    killable = True

    def __init__(self, folder: Path) -> None:
        """Serve on one port, so that a new process is found where the old one was."""
        self.kills = 0
        self._folder = folder
        self._process: Process | None = None
        self._channel: grpc.aio.Channel | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"
        prepare_authority(folder / "pki")

    async def start(self, kill_at: str = "") -> None:
        """Start a process, and connect."""
        self._process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", _SERVE, "locks", "--listen", self._address],
            *["--state", str(self._folder), "--context", str(self._folder / "context.json")],
            env=dict(os.environ, **{KILL: kill_at}),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        if self._channel is not None:
            await self._channel.close()
        credentials = credentials_of(self._folder / "pki", "service/jobs")
        self._channel = open_channel(self._address, credentials, "service/locks")
        async with asyncio.timeout(_START_SECONDS):
            await self._channel.channel_ready()
        self.stub = LockServiceStub(self._channel)

    async def restart(self, kill_at: str = "") -> None:
        """Kill it, and start it again."""
        await self._end()
        await self.start(kill_at)

    async def revive(self) -> None:
        """Start it again if it has killed itself; else there was no reason not to answer."""
        assert self._process is not None
        async with asyncio.timeout(_START_SECONDS):
            await self._process.wait()
        self.kills += 1
        await self.start()

    def fail_next_commit(self, *, durable: bool) -> None:
        """Refuse: nobody reaches into another process."""
        raise NotImplementedError

    async def restore(self) -> None:
        """Kill it, mark its database as put back, and start it again."""
        await self._end()
        mark_restored(self._folder)
        await self.start()

    async def close(self) -> None:
        """Kill it for good."""
        await self._end()
        if self._channel is not None:
            await self._channel.close()

    async def _end(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            self.kills += 1
        await self._process.wait()
